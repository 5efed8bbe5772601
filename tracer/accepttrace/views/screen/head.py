"""Above the table: what is watched, whether it is fair, what waits say, how much is lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from textwrap import wrap
from typing import Final

from accepttrace.model.histogram import add, percentiles
from accepttrace.model.losses import verdict as loss_verdict
from accepttrace.model.snapshot import AcceptorRow, Snapshot, Verdict
from accepttrace.model.verdict import FAULTS
from accepttrace.views import verdicts
from accepttrace.views.formats import duration, known, plural, rate, seconds, span
from accepttrace.views.header import belonging, loss, unread_lines
from accepttrace.views.losses import fullness, lost_by_clients
from accepttrace.views.screen.board import Board
from accepttrace.views.screen.glyphs import trend
from accepttrace.views.screen.state import State
from accepttrace.views.screen.table import Canvas
from accepttrace.views.screen.words import name_of, queue, sharing
from accepttrace.views.text import Line, Span, cells, clean, clip, cut, flow

P99: Final = (0.99,)
_CHOSEN_BY: Final = re.compile(r"(?<=reuseport sockets) by .*")
ENDLESS: Final = 1_000  # cells of a line that is cut, not broken
TALL: Final = 16  # lines of a window with room for more than the first of everything


def head(board: Board, state: State, canvas: Canvas, height: int) -> list[Line]:
    """As many lines as a window of this height has room for, the most important kept."""
    snapshot, width = board.snapshot, canvas.width
    first = _title(board, state, width)
    total = _totals(board, canvas)
    if height >= TALL:
        judged = _judged(snapshot, width, height // 4)
        waits, unread = _waits(board, width), unread_lines(snapshot.unread, width)
        return [first, *judged, *waits, *total, *unread]
    short = verdicts.lines(snapshot, ENDLESS, 1)
    return [*short[:1], *total[: 1 + (height > 5)], *([first] if height > 7 else [])]


def _judged(snapshot: Snapshot, width: int, most: int) -> list[Line]:
    """The gravest; of several places the others too where something is wrong there."""
    faults = sum(one.finding.word in FAULTS for one in snapshot.verdicts)
    return verdicts.lines(snapshot, width, min(max(faults, 1), verdicts.SHOWN))[:most]


def _title(board: Board, state: State, width: int) -> Line:
    """What is watched on the left, of which time on the right."""
    snapshot = board.snapshot
    right = [_state_of(board, state), clock(snapshot.time)]
    end = "  ".join(part for part in right if part)
    own = "accepttrace replay" if state.replays else "accepttrace"
    parts = [f"{own} {clean(snapshot.meta.asked)}", *_constants(board)]
    left, room = "", width - cells(end)
    for part in parts:
        texts = (part, _CHOSEN_BY.sub("", part))
        fits = [text for text in texts if cells(f"{left}{text}  ") <= room]
        left += f"{fits[0]}  " if fits else ""
        if fits[:1] != [part]:
            break
    left = left.rstrip()
    if not left:
        return (("accepttrace", "bold"), (" " + end, ""))
    space = " " * max(width - cells(left) - cells(end), 1)
    name, gap, rest = left.partition("  ")
    return cut(((name, "bold"), (gap + rest + space, ""), (end, "")), width)


def _constants(board: Board) -> list[str]:
    """What all rows have in common, the most important first."""
    if len(board.sections) != 1:
        there = sum(row.folded or row.open for row in board.snapshot.listeners)
        places = len(board.sections)
        return [f"{plural(there, 'listener')} at {places} addresses"] if places else []
    (section,) = board.sections
    belongs = belonging(board.snapshot)
    parts = [name_of(section), sharing(section.open_sockets), belongs]
    if section.place:
        parts.append(f"on {section.endpoint}")
        parts.append(f"netns {section.place[0]}")
    return [part for part in parts if part]


def _state_of(board: Board, state: State) -> str:
    """`last 60s`, and what is on its way."""
    snapshot = board.snapshot
    text = f"{_window(snapshot.window_s)}"
    if not board.in_window:
        so_far = span(snapshot.elapsed_s)
        of = snapshot.window_s
        text = f"all {so_far}" if of is None else f"{so_far} of {seconds(of)}"
    if snapshot.by != state.wish.by:
        text = f"by {state.wish.by} ..."
    elif snapshot.window_s != state.wish.window_s:
        text = f"{_window(state.wish.window_s)} ..."
    return f"{'PAUSED  ' if state.stands else ''}{text}"


def _window(window_s: float | None) -> str:
    return "all" if window_s is None else f"last {seconds(window_s)}"


def clock(time: str) -> str:
    """`2026-01-02T12:00:01.250Z` → `12:00:01Z`."""
    text = time.partition("T")[2] or time
    whole, dot, _ = text.partition(".")
    return f"{whole}Z" if dot else text


def _waits(board: Board, width: int) -> list[Line]:
    """How long connections of the one that stands out waited, beside those of the others."""
    first = next(iter(board.snapshot.verdicts), None)
    odd = first.finding.standouts[0] if first and first.finding.standouts else None
    if first is None or odd is None:
        return []
    there = [row for row in board.snapshot.acceptors if row.alive and _belongs(row, first)]
    mine = [r for r in there if (r.pid, r.listener_inode) == (odd.pid, odd.listener_inode)]
    mine = mine or [r for r in there if odd.pid is not None and r.pid == odd.pid]
    if not mine:
        return []
    own, others = _p99(mine), _p99([row for row in there if row.pid != mine[0].pid])
    if own is None:
        return []
    beside = "" if others is None else f" (others {duration(others)})"
    text = f"  its connections wait {duration(own)} at p99{beside}"
    hint = "e: explain"
    space = width - cells(text) - len(hint)
    return [((clip(text, width), ""), *([(" " * space + hint, "")] if space > 1 else ()))]


def _belongs(row: AcceptorRow, one: Verdict) -> bool:
    place = (one.netns, one.family, one.local_address, one.local_port)
    return (row.netns, row.family, row.local_address, row.local_port) == place


def _p99(rows: Sequence[AcceptorRow]) -> int | None:
    """Of all together; None: no wait of theirs was measured."""
    histogram: Sequence[int] = reduce(add, (row.wait_histogram for row in rows), ())
    longest = max((0, *(row.wait_max_us for row in rows if row.wait_max_us)))
    (bound,) = percentiles(histogram, P99, longest)
    return bound


def _totals(board: Board, canvas: Canvas) -> list[Line]:
    """How much comes, what is held and waits, what is lost."""
    snapshot = board.snapshot
    cells_of = board.trend
    top = max((value or 0 for value in cells_of), default=0)
    number = rate(sum(row.rate for row in snapshot.acceptors))
    line = trend(cells_of, top, canvas.glyphs).strip()
    spans: list[Span] = [(f" {number}/s", "bold"), (line, "")]
    held = open_connections(snapshot)
    if held is not None:
        spans.append((f"open {known(held)}", ""))
    waiting = queue(board.open_sockets)
    if waiting:
        spans.append((f"queue {waiting}", ""))
    full = fullness(snapshot)
    bad = [*([(full, "warn")] if full else []), *_lost(snapshot)]
    return flow([*spans, *_broken(bad, canvas.width)], canvas.width, indent="  ")


def _broken(spans: Sequence[Span], width: int) -> list[Span]:
    """What must not be cut, in parts that fit."""
    return [(part, style) for text, style in spans for part in wrap(text, max(width - 4, 1))]


def open_connections(snapshot: Snapshot) -> int | None:
    """Of all processes together; None: they are not known of each, or not of such rows."""
    rows = [row for row in snapshot.acceptors if row.alive and not row.left]
    found = [row.open_connections for row in rows]
    numbers = [number for number in found if number is not None]
    return sum(numbers) if numbers and len(numbers) == len(found) else None


def _lost(snapshot: Snapshot) -> list[Span]:
    """By clients and by the tracer, or that nothing was."""
    by_clients = loss_verdict(snapshot)
    spans: list[Span] = []
    if by_clients == "lost":
        spans.append((f"LOST {lost_by_clients(snapshot)}", "bad"))
    elif by_clients == "unclear":
        spans.append(("losses not clear", "warn"))
    own = loss(snapshot.books.losses, ("", "") if spans else None)
    return [*spans, *((text, "bad" if "red" in style else style) for text, style in own)]
