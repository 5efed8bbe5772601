"""The table of the screen: columns that fit, a heading for each place, the rows in view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from accepttrace.model.grains import GRAINS
from accepttrace.views import formats
from accepttrace.views.columns.column import Column
from accepttrace.views.columns.tcp import TABLE, TcpRow
from accepttrace.views.formats import rates, seconds, span
from accepttrace.views.screen.board import Board, Item, Section
from accepttrace.views.screen.glyphs import Glyphs, bar, fair_at, trend
from accepttrace.views.screen.state import State
from accepttrace.views.screen.words import queue, server, waiting
from accepttrace.views.text import Align, Line, Span, cells, clip, cut, pad
from accepttrace.views.verdicts import style

GAP: Final = " "
BAR_LEAST, BAR_COMFORT, BAR_MOST = 6, 15, 40
WHO_LEAST, WHO_COMFORT, WHO_MOST = 7, 14, 32
# The most important first: what does not fit any more is left out, and so is all after it.
FIELDS: Final = ("who", "part", "ratio", "queue", "rate", "bar", "p99", "open", "trend")
ORDER: Final = ("who", "bar", "part", "ratio", "rate", "trend", "open", "queue", "p99")
# Of columns.tcp, what has a field here already.
_SHOWN: Final = frozenset(
    (
        *("pid", "tid", "name", "listener", "share", "fair_ratio", "rate", "open_connections"),
        *("queue", "wait_p99_us", "recent_accepts", "recent_share", "recent_ratio", "netns"),
    )
)
SORTS: Final = {
    "ratio": "fair_ratio",
    "rate": "rate",
    "open": "open_connections",
    "queue": "queue",
    "p99": "wait_p99_us",
    "who": "name",
}


@dataclass(slots=True)
class Field:
    """A column: its title, a cell for each row in view, what stands in the line of totals."""

    key: str
    title: str
    cells: list[list[Span]]
    total: str = ""
    align: Align = "right"
    width: int = field(init=False)

    def __post_init__(self) -> None:
        texts = ["".join(text for text, _ in spans) for spans in self.cells]
        self.width = max(map(cells, (self.title, self.total, *texts)))


class View(NamedTuple):
    """What is in view: headings and items, and how the table was cut to that."""

    entries: Sequence[Section | Item]
    top: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Canvas:
    """What lines are made for."""

    width: int
    glyphs: Glyphs


def entries(board: Board) -> list[Section | Item]:
    """Headings with their items, where there are several places."""
    found: list[Section | Item] = []
    for section in board.sections:
        if section.has_heading and len(board.sections) > 1:
            found.append(section)
        found += section.items
    return found


def in_view(everything: Sequence[Section | Item], selected: Item, top: int, room: int) -> View:
    """So many lines of them that the selected one is among them."""
    room = max(room, 1)
    at = next(i for i, one in enumerate(everything) if one is selected)
    headed = bool(at) and isinstance(everything[at - 1], Section) and room > 1
    top = max(min(top, at - headed), at - room + 1)
    top = max(min(top, len(everything) - room), 0)
    part = everything[top : top + room]
    return View(part, top, len(everything) - len(part))


class Table:
    """The lines of one picture; `sorts`: columns of it that rows can be sorted by.

    `columns`: these and no others.
    """

    def __init__(
        self,
        board: Board,
        view: View,
        state: State,
        selected: Item,
        canvas: Canvas,
        columns: Sequence[str] = (),
    ) -> None:
        self._board, self._state, self._canvas = board, state, canvas
        self._view, self._selected = view, selected
        self._items = [one for one in view.entries if isinstance(one, Item)]
        self._headed = {id(s) for s in board.sections if s.has_heading}
        self._called = TABLE.column("name")
        self._section = {id(item): s for s in board.sections for item in s.items}
        self._fields = self._named(columns) if columns else self._fitted(canvas.width - 1)
        shown = [one.key for one in self._fields]
        self.sorts = [None, *(SORTS.get(k, k) for k in shown if k not in ("bar", "part", "trend"))]

    def lines(self) -> list[Line]:
        """All of it."""
        rows = iter(self._rows())
        body = [
            self._heading(one) if isinstance(one, Section) else next(rows)
            for one in self._view.entries
        ]
        return [self._titles(), *body, self._total()]

    def _titles(self) -> Line:
        spans: list[Span] = [(" ", "")]
        sorted_by = self._state.sort
        for one in self._fields:
            style = "reverse" if sorted_by and SORTS.get(one.key, one.key) == sorted_by else "bold"
            text = pad(one.title, one.width, one.align)
            spans += [(text, style), (GAP, "")]
        return cut(tuple(spans[:-1]), self._canvas.width)

    def _rows(self) -> list[Line]:
        found: list[Line] = []
        for number, item in enumerate(self._items):
            here = item is self._selected
            spans: list[Span] = [(self._canvas.glyphs.here if here else " ", "bold")]
            for one in self._fields:
                spans += [*_padded(one.cells[number], one.width, one.align), (GAP, "")]
            spans = [(text, style) for text, style in spans[:-1] if text]
            if here:
                spans = [(text, f"{style} reverse".strip()) for text, style in spans]
            found.append(tuple(spans))
        return found

    def _total(self) -> Line:
        parts = [pad(one.total, one.width, one.align) for one in self._fields]
        return cut(((" " + GAP.join(parts), "bold"),), self._canvas.width)

    def _heading(self, section: Section) -> Line:
        """`0.0.0.0:443  UNEVEN  queue 43/3066  2,003/s  nginx, 6 reuseport sockets by hash`."""
        rate = formats.rate(sum(item.row.rate for item in section.items))
        spans: list[Span] = [(f" {section.endpoint}", "bold")]
        if section.word:
            spans += [("  ", ""), (section.word, style(section.word))]
        full = any(socket.queue_full_s is not None for socket in section.open_sockets)
        there = queue(section.open_sockets)
        if there:
            text = f"queue {there}{' FULL' if full else ''}"
            spans += [("  ", ""), (text, "bad" if full else "")]
        spans.append((f"  {rate}/s  {server(section)}", ""))
        return cut(tuple(spans), self._canvas.width)

    def _named(self, keys: Sequence[str]) -> list[Field]:
        """Those that were asked for, as other tables have them, where they fit."""
        lines, room = [item.line for item in self._items], self._canvas.width - 1
        fields: list[Field] = []
        for key in keys:
            column = replace(TABLE.column(key), hide_if=())
            one = _of_column(column, lines, self._board.lines)
            if one is not None and (not fields or _used([*fields, one]) <= room):
                fields.append(one)
        return fields

    def _fitted(self, width: int) -> list[Field]:
        """As many as fit, their widths set."""
        made = {key: one for key in FIELDS if (one := self._field(key)) is not None}
        natural = made["who"].width
        taken: dict[str, Field] = {}
        for key, one in made.items():
            one.width = _least(key, one)
            if taken and _used([*taken.values(), one]) > width:
                break
            taken[key] = one
        extra: list[Field] = []
        _widen(taken["who"], min(natural, WHO_COMFORT), width - _used(taken.values()))
        if "bar" in taken:
            _widen(taken["bar"], BAR_COMFORT, width - _used(taken.values()))
        _widen(taken["who"], min(natural, WHO_MOST), width - _used(taken.values()))
        self._shorten(taken["who"], natural)
        if "bar" in taken:
            if len(taken) == len(made):
                extra = self._extra(width - _used(taken.values()))
            _widen(taken["bar"], BAR_MOST, width - _used([*taken.values(), *extra]))
            self._draw_bars(taken["bar"])
        elif "part" in taken:
            taken["part"].title = clip("SHARE", taken["part"].width)
        return [*(taken[key] for key in ORDER if key in taken), *extra]

    def _extra(self, room: int) -> list[Field]:
        """Columns of all tables that have something to show, while there is room."""
        base, more = TABLE.chosen(self._board.snapshot.by)
        found: list[Field] = []
        lines = [item.line for item in self._items]
        for column in (*base, *more):
            if column.key in _SHOWN or column.unit == "endpoint" or self._is_one_label(column):
                continue
            one = _of_column(column, lines, self._board.lines)
            if one is None:
                continue
            room -= one.width + len(GAP)
            if room < 0:
                return found
            found.append(one)
        return found

    def _is_one_label(self, column: Column[TcpRow]) -> bool:
        """Whether it names the same thing in each of several rows."""
        lines = self._board.lines
        return column.kind == "label" and len({*map(column.value, lines)}) < len(lines[:2])

    def _field(self, key: str) -> Field | None:
        make: Callable[[], Field | None] = getattr(self, f"_of_{key}")
        return make()

    def _of_who(self) -> Field:
        by = self._board.snapshot.by
        grain = GRAINS[by]
        title = "WORKER" if by in ("worker", "process") else by.upper()
        texts = [self._label(item, grain.identity) for item in self._items]
        workers = [item for item in self._board.items if not item.row.serves]
        number = len({_identity(item, grain.identity) for item in workers})
        return Field("who", title, [[(t, "")] for t in texts], f"TOTAL {number}", "left")

    def _label(self, item: Item, identity: str, room: int | None = None) -> str:
        """Who it is, and where, if no heading says that: by its port alone where that is as much
        as there is `room` for.
        """
        number, port = getattr(item.row, identity), item.row.local_port
        parts = [] if number is None else [str(number)]
        parts += self._called.text(self._called.shown([item.line]))
        section = self._section[id(item)]
        at, place = len(parts), ""
        if id(section) not in self._headed and len(self._board.sections) > 1:
            at, place = 1, section.endpoint
        elif self._board.snapshot.by in ("process", "group"):
            place = _place(item)
        parts.insert(at, place)
        if place and port and room is not None and cells(" ".join(parts[: at + 1])) > room:
            parts[at] = f":{port}"
        return " ".join(filter(None, parts))

    def _shorten(self, one: Field, natural: int) -> None:
        """Where all are called the same, and that is in the header, their numbers are enough; else
        an address goes before its port does.
        """
        if one.width >= natural:
            return
        identity = GRAINS[self._board.snapshot.by].identity
        names = {item.row.name for item in self._board.items}
        numbers = [getattr(item.row, identity) for item in self._items]
        if len(names) == 1 and len(self._board.sections) == 1 and None not in numbers:
            texts = [str(number) for number in numbers]
        else:
            texts = [self._label(item, identity, one.width) for item in self._items]
        one.cells = [[(text, "")] for text in texts]

    def _of_part(self) -> Field:
        texts = formats.shares([item.part for item in self._items])
        return Field("part", "", [[(text, "")] for text in texts], self._whole())

    def _whole(self) -> str:
        return "100.0%" if len(self._board.sections) == 1 and self._board.items[0].part else ""

    def _of_bar(self) -> Field:
        return Field("bar", self._share_title(), [[] for _ in self._items], "", "left")

    def _share_title(self) -> str:
        board = self._board
        window_s = board.snapshot.window_s
        if board.in_window and window_s is not None:
            return f"SHARE, LAST {seconds(window_s)}"
        return f"SHARE, ALL {span(board.snapshot.elapsed_s)}"

    def _draw_bars(self, one: Field) -> None:
        most = max((max(i.part or 0, i.fair or 0) for i in self._board.items), default=0) or 1.0
        for number, item in enumerate(self._items):
            fair = None if item.fair is None else item.fair / most
            one.cells[number] = bar((item.part or 0) / most, fair, one.width, self._canvas.glyphs)
        one.title = clip(one.title, one.width)
        fairs = [item.fair for item in self._board.items if item.fair is not None]
        if len({round(fair, 4) for fair in fairs}) == 1:
            at = fair_at(fairs[0] / most, one.width)
            mark = f"{self._canvas.glyphs.fair}fair"
            if at > cells(one.title) and at + len(mark) <= one.width:
                one.title = one.title.ljust(at) + mark

    def _of_ratio(self) -> Field | None:
        if all(item.ratio is None for item in self._board.items):
            return None
        texts = formats.ratios([item.ratio for item in self._items])
        return Field("ratio", "xFAIR", [[(text, "")] for text in texts])

    def _of_rate(self) -> Field:
        total = sum(row.rate for row in self._board.snapshot.acceptors)
        *texts, whole = rates([*(item.row.rate for item in self._items), total])
        return Field("rate", "/s", [[(text, "")] for text in texts], whole)

    def _of_trend(self) -> Field | None:
        if not any(item.row.trend for item in self._board.items):
            return None
        rows = [item.row.trend for item in self._board.items]
        top = max((max(filter(None, row), default=0) for row in rows), default=0)
        glyphs = self._canvas.glyphs
        texts = [trend(item.row.trend, top, glyphs) for item in self._items]
        return Field("trend", "TREND", [[(text, "")] for text in texts], align="left")

    def _of_open(self) -> Field | None:
        return self._column("open", "open_connections")

    def _of_p99(self) -> Field | None:
        return self._column("p99", "wait_p99_us")

    def _of_queue(self) -> Field | None:
        found = [self._queue_of(item) for item in self._items]
        return Field("queue", "QUEUE", found, waiting(self._board.open_sockets))

    def _queue_of(self, item: Item) -> list[Span]:
        """Of its own sockets; blank where they are those of other rows, too."""
        if self._section[id(item)].shares_one or self._board.snapshot.by == "process":
            return [("", "")]
        sockets = item.line.open_ones
        text = waiting(sockets)
        full = any(socket.queue_full_s is not None for socket in sockets)
        return [(f"{text} FULL", "bad")] if full else [(text, "")]

    def _column(self, key: str, name: str) -> Field | None:
        lines = [item.line for item in self._items]
        one = _of_column(TABLE.column(name), lines, self._board.lines)
        if one is not None and key == "p99":
            one = replace(one, title="WAIT p99")
        return None if one is None else replace(one, key=key)


def _of_column(
    column: Column[TcpRow], lines: Sequence[TcpRow], everyone: Sequence[TcpRow]
) -> Field | None:
    """One of the other tables' columns; None: there is nothing in it for anybody in view."""
    values = column.shown(lines)
    if all(value in column.hide_if for value in values):
        return None
    total = TABLE.total(column, everyone)
    texts = column.text(values if total is None else [*values, total])
    whole = texts.pop() if total is not None else ""
    return Field(column.key, column.title, [[(t, "")] for t in texts], whole, column.align)


def _place(item: Item) -> str:
    row = item.row
    if row.local_address is None and row.local_port is None:
        return ""
    return formats.endpoint(row.local_address, row.local_port, row.family, None, row.device)


def _identity(item: Item, identity: str) -> object:
    found = getattr(item.row, identity)
    return item.key if found is None else found


def _least(key: str, one: Field) -> int:
    if key == "who":
        return min(one.width, WHO_LEAST)
    return BAR_LEAST if key == "bar" else one.width


def _used(fields: Iterable[Field]) -> int:
    widths = [one.width for one in fields]
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widen(one: Field, wanted: int, room: int) -> None:
    one.width += max(min(wanted - one.width, room), 0)


def _padded(spans: Sequence[Span], width: int, align: Align) -> list[Span]:
    used = sum(cells(text) for text, _ in spans)
    if used > width:
        return list(cut(tuple(spans), width))
    space: list[Span] = [(" " * (width - used), "")]
    return [*space, *spans] if align == "right" else [*spans, *space]
