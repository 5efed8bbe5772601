"""A snapshot sorted for the screen: rows by the place where they listen, the ended apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from accepttrace.facts.record import record
from accepttrace.facts.records import STUCK_US
from accepttrace.model.grains import GRAINS
from accepttrace.model.recent import Trend, together
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot, Verdict
from accepttrace.model.verdict import FAULTS, Word
from accepttrace.views.columns.tcp import TABLE, TcpRow
from accepttrace.views.formats import endpoint
from accepttrace.views.screen.state import RowKey
from accepttrace.views.sockets import Sockets
from accepttrace.views.text import clean

Place = tuple[object, ...]  # netns, family, address, port, device; empty where rows have several


@record(frozen=True, slots=False)
class Item:
    """A row that can be selected. `taken` and `ratio`: in the window, else since the start.

    `part`: of all that was taken at its place (0..1); None: nothing was.
    """

    line: TcpRow
    taken: int
    part: float | None
    ratio: float | None

    @property
    def row(self) -> AcceptorRow:
        """As the model has it."""
        return self.line.row

    @cached_property
    def key(self) -> RowKey:
        """Who it is, wherever it stands."""
        row = self.row
        who = row.name if row.pid is None else row.pid
        return (who, row.tid, row.listener_inode, row.group, *place_of(row))

    @property
    def is_behind(self) -> bool:
        """Whether the queue of a socket of its own is full, or has waited long."""
        return any(
            one.queue_full_s is not None or (one.oldest_wait_us or 0) >= STUCK_US
            for one in self.line.open_ones
        )

    @property
    def fair(self) -> float | None:
        """The part that an even split gives; None: it shares with nobody, or took nothing."""
        if not self.ratio or self.part is None:
            return None
        return min(self.part / self.ratio, 1.0)


@dataclass(frozen=True)
class Section:
    """All rows of one place. `verdicts`: of its sharing sets, the gravest first."""

    place: Place
    items: Sequence[Item]
    sockets: Sequence[ListenerRow]
    verdicts: Sequence[Verdict]

    @property
    def word(self) -> Word | None:
        """The gravest that is said of it; None: nothing is."""
        return self.verdicts[0].finding.word if self.verdicts else None

    @cached_property
    def open_sockets(self) -> list[ListenerRow]:
        """Those that are not closed."""
        return [socket for socket in self.sockets if socket.open]

    @property
    def endpoint(self) -> str:
        """Where it is, as `ss` has it."""
        if not self.place:
            return ""
        row = self.items[0].row
        return endpoint(row.local_address, row.local_port, row.family, None, row.device)

    @property
    def has_heading(self) -> bool:
        """A line of its own, where more than one row belongs to it."""
        return len(self.items) > 1

    @property
    def shares_one(self) -> bool:
        """Whether several rows wait on one socket, so that its queue is no row's own."""
        return len(self.items) > 1 and len(self.open_sockets) == 1


@dataclass(frozen=True)
class Board:
    """`ended`: rows of those that are gone. `aside`: of those that only hold a listener."""

    snapshot: Snapshot
    sections: Sequence[Section]
    ended: Sequence[AcceptorRow]
    aside: Sequence[AcceptorRow]

    @cached_property
    def items(self) -> list[Item]:
        """In the order of the screen."""
        return [item for section in self.sections for item in section.items]

    @cached_property
    def lines(self) -> list[TcpRow]:
        """The same, for columns."""
        return [item.line for item in self.items]

    @property
    def in_window(self) -> bool:
        """Whether shares are of the window; else they are of all since the start."""
        return self.snapshot.window_s is not None and any(
            row.recent_accepts is not None for row in self.snapshot.acceptors
        )

    @property
    def trend(self) -> Trend:
        """Of all together."""
        return together([row.trend for row in self.snapshot.acceptors if row.trend])

    @cached_property
    def open_sockets(self) -> list[ListenerRow]:
        """Every listener that is not closed."""
        return [row for row in self.snapshot.listeners if row.open or row.folded]


def taken(row: AcceptorRow) -> int:
    """In the window; since the start where there is none, or where it is longer than the run."""
    return row.accepts if row.recent_accepts is None else row.recent_accepts


def board(
    snapshot: Snapshot, sort: str | None = None, *, reverse: bool = False, text: str = ""
) -> Board:
    """The rows whose name, PID or place has the `text`, by place and sorted by a column."""
    of_sockets = GRAINS[snapshot.by].of_sockets
    ended = [row for row in snapshot.acceptors if not row.alive or row.left]
    there = [row for row in snapshot.acceptors if row.alive and not row.left]
    aside = (
        [] if of_sockets else [r for r in there if r.waits is False and not (r.accepts or r.serves)]
    )
    lonely = {id(row) for row in aside}
    shown = [row for row in there if id(row) not in lonely]
    piles: defaultdict[Place, list[AcceptorRow]] = defaultdict(list)
    several = snapshot.by in ("process", "group")
    for row in shown:
        piles[() if several else place_of(row)].append(row)
    sums: defaultdict[Place, int] = defaultdict(int)
    for row in snapshot.acceptors:
        sums[() if several else place_of(row)] += taken(row)
    sockets = Sockets(snapshot.listeners)
    by_place: defaultdict[Place, list[ListenerRow]] = defaultdict(list)
    for socket in snapshot.listeners:
        by_place[() if several else place_of(socket)].append(socket)
    verdicts: defaultdict[Place, list[Verdict]] = defaultdict(list)
    for one in snapshot.verdicts:
        verdicts[() if several else _place_of_verdict(one)].append(one)
    sections = []
    for place, rows in piles.items():
        items = [_item(TcpRow(row, sockets), sums[place]) for row in rows]
        chosen = [item for item in items if _has(item, text)] if text else items
        if chosen:
            those = verdicts[place[:4]]
            sections.append(Section(place, _sorted(chosen, sort, reverse), by_place[place], those))
    ranks = {id(one): rank for rank, one in enumerate(snapshot.verdicts)}
    sections.sort(key=lambda section: _gravest(section, ranks))
    return Board(snapshot, sections, ended, aside)


def place_of(row: AcceptorRow | ListenerRow) -> Place:
    """Where clients reach it."""
    return (row.netns, row.family, row.local_address, row.local_port, row.device)


def _place_of_verdict(one: Verdict) -> Place:
    return (one.netns, one.family, one.local_address, one.local_port)


def _item(line: TcpRow, of_all: int) -> Item:
    row, number = line.row, taken(line.row)
    ratio = row.fair_ratio if row.recent_accepts is None else row.recent_ratio
    return Item(line, number, number / of_all if of_all else None, ratio)


def _has(item: Item, text: str) -> bool:
    row = item.row
    place = endpoint(row.local_address, row.local_port, row.family, None, row.device)
    about = (str(row.pid or ""), str(row.tid or ""), clean(row.name), row.comm, place)
    wanted = text.casefold()
    return any(wanted in each.casefold() for each in about)


def _sorted(items: Sequence[Item], sort: str | None, reverse: bool) -> list[Item]:
    """Where nobody takes what waits first, then the most taken, equal ones as the model has them,
    unless a column is named; the unknown last in either direction.
    """
    found = sorted(items, key=lambda item: -item.taken)
    if sort is None:
        found.sort(key=lambda item: not item.is_behind)
        return found[::-1] if reverse else found
    by_line = {id(item.line): item for item in found}
    found = [by_line[id(line)] for line in TABLE.ordered([i.line for i in found], sort)]
    value = TABLE.column(sort).value
    known = [item for item in found if value(item.line) is not None]
    return (known[::-1] if reverse else known) + found[len(known) :]


def _gravest(section: Section, ranks: Mapping[int, int]) -> tuple[int, int]:
    """Those at fault as their verdicts stand above the table (`ranks`), then the busiest."""
    faults = [ranks[id(one)] for one in section.verdicts if one.finding.word in FAULTS]
    return min(faults, default=len(ranks)), -sum(item.taken for item in section.items)
