"""Below the table: who is gone, what happened, how the tracer does, which keys there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from accepttrace.model.grains import GRAINS
from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.views import books, changes, losses
from accepttrace.views.events import line_of
from accepttrace.views.formats import plural, seconds, span
from accepttrace.views.screen.board import Board, taken
from accepttrace.views.screen.glyphs import Glyphs
from accepttrace.views.screen.state import State
from accepttrace.views.screen.table import Canvas
from accepttrace.views.text import Line, Span, cells, clean, clip, cut, flow
from accepttrace.views.verdicts import clock

PROGRAMS: Final = 3  # that have a line of their own once their workers have ended
NOTES: Final = (
    losses.full_queues,
    losses.delays,
    books.unbalanced,
    changes.uncounted,
    changes.unattributed,
    changes.unseen,
    changes.moved,
    changes.selectors,
)


def gone(board: Board, width: int) -> list[Line]:
    """`3 ended workers took 41,220`, by program; and who holds a listener without waiting."""
    piles: defaultdict[tuple[str, bool], list[AcceptorRow]] = defaultdict(list)
    for row in board.ended:
        piles[clean(row.name), row.alive].append(row)
    all_taken = sum(map(taken, board.snapshot.acceptors))
    found = sorted(piles.items(), key=lambda one: -sum(row.accepts for row in one[1]))
    texts = [_ended(board, *one, all_taken) for one in found[:PROGRAMS]]
    if len(found) > PROGRAMS:
        rows = [row for _, those in found[PROGRAMS:] for row in those]
        texts.append(f"{_number(rows):,} more took {sum(row.accepts for row in rows):,}")
    return _beside(texts, _holders(board), width)


def _ended(board: Board, who: tuple[str, bool], rows: list[AcceptorRow], all_taken: int) -> str:
    name, alive = who
    noun = "socket" if GRAINS[board.snapshot.by].of_sockets else "worker"
    if board.snapshot.by == "thread":
        noun = "thread"
    how = "that let go of the socket" if alive else "closed" if noun == "socket" else "ended"
    number = _number(rows)
    what = plural(number, noun) if alive else plural(number, f"{how} {noun}")
    about = ", ".join(part for part in (name, "" if alive else _reload(board)) if part)
    text = f"{what} {how} took" if alive else f"{what} ({about}) took" if about else f"{what} took"
    text += f" {sum(row.accepts for row in rows):,}"
    recent = sum(map(taken, rows))
    if board.in_window and recent:
        text += f", {recent / all_taken:.1%} of the last {seconds(board.snapshot.window_s or 0)}"
    return text


def _reload(board: Board) -> str:
    """`reload 12:01:02Z`: the last one."""
    snapshot = board.snapshot
    times = [event.began_s for event in snapshot.events if event.kind == "RELOAD"]
    return f"reload {clock(snapshot, times[-1])}" if times else ""


def _number(rows: list[AcceptorRow]) -> int:
    return sum(max(row.ended, 1) for row in rows)


def _holders(board: Board) -> str:
    names = {row.pid: clean(row.name) for row in board.aside}
    if not names:
        return ""
    shown = [f"{name} {pid}" for pid, name in list(names.items())[:3]]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"holds, not waiting: {', '.join(shown)}{more}"


def _beside(left: list[str], right: str, width: int) -> list[Line]:
    """The right one at the end of the last line, if it fits."""
    if not right:
        return [((clip(f" {text}", width), ""),) for text in left]
    last = f" {left[-1]}" if left else ""
    space = width - cells(last) - cells(right)
    if left and space >= 3:
        return [*_beside(left[:-1], "", width), ((last + " " * space + right, ""),)]
    return [*_beside(left, "", width), ((clip(f" {right}", width), ""),)]


def notes(snapshot: Snapshot, width: int, limit: int) -> list[Line]:
    """What happened, the latest first, and what is not as it should be; at most so many lines."""
    found: list[Line] = []
    for event in reversed(snapshot.events):
        if len(found) >= limit:
            break
        found += line_of(snapshot, event, width - 1)
    if not any(event.kind == "LOST" for event in snapshot.events):
        found += losses.losses(snapshot, width - 1)
    found += [line for note in NOTES for line in note(snapshot, width - 1)]
    lines = [((" ", ""), *line) for line in found]
    if len(lines) <= limit:
        return lines
    text = " ... more of this in the summary at the end"
    return [*lines[: limit - 1], ((clip(text, width), ""),)][:limit]


def footer(snapshot: Snapshot, cost: float | None, canvas: Canvas) -> list[Line]:
    """A rule; how the tracer is attached, what it lost and what it costs."""
    meta, own = snapshot.meta, snapshot.books.losses.total
    spans: list[Span] = [
        (f" {meta.attach}/{meta.loader}", ""),
        (f"tracer lost {own:,}", "bad" if own else ""),
        _books(snapshot),
    ]
    if cost is not None:
        spans.append((f"cost {cost:.1%} CPU", ""))
    end = f"up {span(snapshot.elapsed_s)}"
    (first, *_) = flow(spans, canvas.width) or [()]
    used = sum(cells(text) for text, _ in first)
    space = canvas.width - used - len(end) - 1
    right: Line = ((" " * space + end, ""),) if space > 0 else ()
    return [((canvas.glyphs.rule * canvas.width, ""),), (*first, *right)]


def _books(snapshot: Snapshot) -> Span:
    word = snapshot.books.word
    if word == "unbalanced":
        return ("books UNBALANCED", "bad")
    return ("books ok" if word == "balanced" else f"books {word}", "")


def keys(state: State, by: str, sort: str, canvas: Canvas) -> Line:
    """What can be pressed, the most useful first: the window's edge cuts the rest."""
    glyphs = canvas.glyphs
    if state.typing or state.filter:
        cursor = "_" if state.typing else ""
        end = "Enter keeps it, Esc clears it" if state.typing else "Esc clears it, / changes it"
        begin = f" filter: {clean(state.filter)}{cursor}"
        return cut(((begin, "bold"), (f"   {end}", "")), canvas.width)
    parts = _on_table(by, sort, glyphs) if state.page == "table" else _on_page(glyphs)
    if state.replays:
        quits, *others = (part for part in parts if part[0] != "p")
        stop = ("p", "go on" if state.stands else "stop")
        parts = [quits, (glyphs.sideways, "time"), stop, *others]
    *first, last = [
        ((" ", ""), (key, "bold"), (f" {what} " if what else "", "")) for key, what in parts
    ]
    room = canvas.width - _width(last)
    spans: list[Span] = []
    for one in first:
        if _width(spans) + _width(one) <= room:
            spans += one
    return cut((*spans, *last), canvas.width)


def _width(spans: Iterable[Span]) -> int:
    return sum(cells(text) for text, _ in spans)


def _on_table(by: str, sort: str, glyphs: Glyphs) -> list[tuple[str, str]]:
    return [
        ("q", "quit"),
        (glyphs.arrows, "select"),
        (glyphs.enter, "worker"),
        ("g", f"by {by}"),
        ("s", f"sort{sort}"),
        ("w", "window"),
        ("/", "filter"),
        ("h", "hist"),
        ("?", ""),
    ]


def _on_page(glyphs: Glyphs) -> list[tuple[str, str]]:
    return [("q", "back"), (glyphs.arrows, "scroll"), ("p", "pause"), ("?", "keys")]
