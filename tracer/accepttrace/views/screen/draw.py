"""The whole screen: never wider or higher than the window, the first things kept longest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from accepttrace.model.grains import GRAINS
from accepttrace.model.snapshot import Snapshot
from accepttrace.views.formats import plural
from accepttrace.views.frame import nothing
from accepttrace.views.layout import TITLE_AND_TOTAL
from accepttrace.views.screen import foot, pages
from accepttrace.views.screen.board import Board, board
from accepttrace.views.screen.glyphs import Glyphs, trend
from accepttrace.views.screen.head import TALL, head
from accepttrace.views.screen.state import Drawn, Page, State
from accepttrace.views.screen.table import Canvas, Table, entries, in_view
from accepttrace.views.text import Line, clip, cut, flow


class Window(NamedTuple):
    """Of the terminal, in cells."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What there is to draw. `threads`: the same by thread, where that was asked for.

    `cost`: processor time of the tracer, as a part of one processor. `rows`: at most so many.
    `columns`: these and no others.
    """

    snapshot: Snapshot
    threads: Snapshot | None = None
    cost: float | None = None
    windows: Sequence[float | None] = (None,)
    rows: int | None = None
    columns: Sequence[str] = ()


class Picture(NamedTuple):
    """Lines, and what the next key is to know of them."""

    lines: list[Line]
    drawn: Drawn


class Drawing:
    """Draws pictures; keeps what only changes with the snapshot or the order."""

    def __init__(self, glyphs: Glyphs) -> None:
        self._glyphs = glyphs
        self._board: Board
        self._made_of: tuple[object, ...] = ()

    def draw(self, sight: Sight, state: State, window: Window) -> Picture:
        """One picture."""
        canvas = Canvas(window.width, self._glyphs)
        one = self._sorted(sight.snapshot, state)
        at = _selected(one, state)
        above = head(one, state, canvas, window.height)
        below = self._below(one, sight, state, canvas, window.height)
        room = window.height - len(above) - len(below)
        if state.page == "table":
            body, drawn = _table(one, sight, state, at, canvas, room)
            drawn = drawn._replace(windows=sight.windows)
        else:
            body, drawn = _page(one, sight, state, at, canvas, room)
        if window.height >= TALL:
            body += [()] * (room - len(body))
        lines = [cut(line, window.width) for line in (*above, *body, *below)]
        lines += [()] * (window.height - len(lines))
        return Picture(lines[: window.height], drawn)

    def _sorted(self, snapshot: Snapshot, state: State) -> Board:
        made_of = (id(snapshot), state.sort, state.reverse, state.filter)
        if self._made_of != made_of:
            self._board = board(snapshot, state.sort, reverse=state.reverse, text=state.filter)
            self._made_of = made_of
        return self._board

    def _below(
        self, one: Board, sight: Sight, state: State, canvas: Canvas, height: int
    ) -> list[Line]:
        sort = "" if state.sort is None else f":{state.sort.split('_')[0]}"
        line = foot.keys(state, one.snapshot.by, sort, canvas)
        if height < TALL:
            return [line] if height > 9 or state.typing else []
        return [*foot.footer(one.snapshot, sight.cost, canvas), line]


def _selected(one: Board, state: State) -> int:
    """The place of who it was, wherever he stands now; if he is gone, his place; 0 for nobody."""
    if state.selected is None:
        return 0
    found = (at for at, item in enumerate(one.items) if item.key == state.selected)
    return next(found, max(min(state.at, len(one.items) - 1), 0))


def _table(
    one: Board, sight: Sight, state: State, at: int, canvas: Canvas, room: int
) -> tuple[list[Line], Drawn]:
    snapshot, width = one.snapshot, canvas.width
    if not one.items:
        empty = "no row has this text" if state.filter else nothing(snapshot)
        lines = [*([()] if room > 4 else []), *flow([(f" {empty}", "")], width)]
        more = foot.gone(one, width) + foot.notes(snapshot, width, max(room // 3, 1))
        return [*lines, *more][: max(room, 1)], Drawn()
    tall = room >= 10
    after = foot.gone(one, width) if tall else []
    everything = entries(one)
    left = room - TITLE_AND_TOTAL - len(after) - len(everything) - 2 * tall
    told = foot.notes(snapshot, width, max(room // 3, left)) if room >= 6 else []
    free = room - TITLE_AND_TOTAL - len(after) - len(told) - 2 * tall
    if len(everything) > free and tall:
        free -= 1  # for the strip
    if sight.rows is not None:
        free = min(free, sight.rows)
    selected = one.items[at]
    is_bare = room <= TITLE_AND_TOTAL  # nothing but rows
    view = in_view(everything, selected, state.top, room if is_bare else free)
    made = Table(one, view, state, selected, canvas, sight.columns)
    lines = made.lines()[1:-1] if is_bare else made.lines()
    strip = _strip(one, view.top, len(view.entries), canvas) if view.hidden and tall else []
    space: list[Line] = [()] if tall else []
    body = [*space, *strip, *lines, *after, *space, *told]
    drawn = Drawn(
        order=[item.key for item in one.items],
        room=max(len(view.entries) - 1, 1),
        top=view.top,
        at=at,
        sorts=made.sorts,
    )
    return body, drawn


def _strip(one: Board, top: int, shown: int, canvas: Canvas) -> list[Line]:
    """The whole distribution in a line: what each took, the most first."""
    grain = GRAINS[one.snapshot.by]
    taken = sorted((item.taken for item in one.items), reverse=True)
    noun = plural(len(taken), one.snapshot.by if not grain.of_sockets else "row")
    idle = sum(not number for number in taken)
    end = f" {top + 1}-{top + shown} of {len(entries(one))} lines" + (
        f", {idle:,} took nothing" if idle else ""
    )
    text = f" {noun} "
    width = canvas.width - len(text) - len(end)
    if width < 8:
        return [((clip(text + end, canvas.width), ""),)]
    return [((text, ""), (distribution(taken, width, canvas.glyphs), ""), (end, ""))]


def distribution(taken: Sequence[int], width: int, glyphs: Glyphs) -> str:
    """A level for each number, of several where there are more than cells: their mean."""
    cells = min(width, len(taken))
    edges = [number * len(taken) // cells for number in range(cells + 1)]
    means = [sum(taken[low:high]) / (high - low) for low, high in pairwise(edges)]
    return trend(means, max(means), glyphs)


def _page(
    one: Board, sight: Sight, state: State, at: int, canvas: Canvas, room: int
) -> tuple[list[Line], Drawn]:
    width = canvas.width
    selected = one.items[at] if one.items else None
    made: Mapping[Page, Callable[[], list[Line]]] = {
        "worker": lambda: pages.worker(one, selected, sight.threads, canvas),
        "histogram": lambda: pages.histograms(one.snapshot, width),
        "explain": lambda: pages.explained(one.snapshot, width),
        "keys": lambda: pages.keys(width, replays=state.replays),
    }
    lines = made[state.page]()
    room = max(room - 1, 1)
    order = [item.key for item in one.items]
    drawn = Drawn(order, room, len(lines), at=at, windows=sight.windows)
    above, body = pages.part(lines, state.scroll, room, width)
    return [above, *body], drawn
