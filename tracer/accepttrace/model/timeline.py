"""What a run looks like over time: its snapshots, in a few hundred parts of equal length."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Final, NamedTuple, TypeVar

from accepttrace.model.endpoint import Endpoint, endpoint_of
from accepttrace.model.histogram import octaves
from accepttrace.model.losses import lost
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot

PARTS: Final = 240  # at most, of a run
WORKERS: Final = 20  # of a place that have a line of their own
PLACES: Final = 4  # the busiest
LEAST: Final = 100  # the part of all connections below which none is drawn: one of so many
DEVIATIONS: Final = 2.576  # of the normal law: 99 of 100 values lie within so many

Row = TypeVar("Row", AcceptorRow, ListenerRow)


class Worker(NamedTuple):
    """One process, or those of a program that share a row."""

    pid: int | None
    name: str


@dataclass(slots=True)
class Part:
    """A stretch of time at one place.

    `taken`: accepts by worker. `waits`: connections by power of two of microseconds (bit length).
    `queue`: the longest that was seen, `limit` what it may hold; `takers`: how many could take
    connections at its end. None: not known.
    """

    began_s: float
    until_s: float
    taken: Counter[Worker] = field(default_factory=Counter)
    waits: Counter[int] = field(default_factory=Counter)
    queue: int | None = None
    limit: int | None = None
    opened: int | None = None
    lost: int = 0
    takers: int = 0

    @property
    def accepts(self) -> int:
        """Of all workers."""
        return sum(self.taken.values())

    @property
    def fair(self) -> tuple[float, float] | None:
        """Where chance alone leaves a worker's share 99 times of 100; None: nobody shares."""
        if self.takers < 2 or not self.accepts:
            return None
        even = 1 / self.takers
        spread = DEVIATIONS * sqrt(even * (1 - even) / self.accepts)
        return max(even - spread, 0.0), min(even + spread, 1.0)

    def join(self, later: Part) -> None:
        """Let it reach to the end of the next one."""
        self.until_s, self.takers = later.until_s, later.takers
        self.taken += later.taken
        self.waits += later.waits
        self.lost += later.lost
        self.opened = later.opened
        self.queue, self.limit = _most(self.queue, later.queue), _most(self.limit, later.limit)


class Timeline:
    """Takes in one snapshot by process after the other; memory does not grow with their number."""

    def __init__(self) -> None:
        self._parts: defaultdict[Endpoint, list[Part]] = defaultdict(list)
        self._sums: dict[Endpoint, tuple[Counter[int], int]] = {}
        self._merged = 1  # snapshots in a part
        self._taken = 0

    def take(self, snapshot: Snapshot) -> None:
        """The next one; its interval begins where that of the last one ended."""
        rows, listeners = _by_place(snapshot.acceptors), _by_place(snapshot.listeners)
        until_s = snapshot.elapsed_s
        for place in {*rows, *listeners, *self._parts}:
            part = self._part(place, rows[place], listeners[place])
            part.began_s, part.until_s = max(until_s - snapshot.interval_s, 0.0), until_s
            self._add(place, part)
        self._taken += 1
        if self._taken >= PARTS * self._merged:
            self._merge()

    def busiest(self) -> list[tuple[Endpoint, Sequence[Part]]]:
        """Endpoints and their parts, those that took most first."""
        total = {place: sum(part.accepts for part in parts) for place, parts in self._parts.items()}
        least = sum(total.values()) / LEAST
        order = sorted((one for one in total if total[one] > least), key=lambda one: -total[one])
        return [(place, self._parts[place]) for place in order[:PLACES]]

    def _part(
        self, place: Endpoint, rows: Sequence[AcceptorRow], listeners: Sequence[ListenerRow]
    ) -> Part:
        part = Part(0.0, 0.0)
        for row in rows:
            part.taken[Worker(row.pid, row.name)] += row.accepts_interval
        part.taken = +part.taken
        waits, gone = _waits(rows), sum(map(lost, listeners))
        before, gone_before = self._sums.get(place, (Counter(), 0))
        part.waits, part.lost = waits - before, max(gone - gone_before, 0)
        self._sums[place] = waits, gone
        part.queue = _sum(row.queue for row in listeners if row.open)
        part.limit = _sum(row.capacity for row in listeners if row.open)
        part.opened = _sum(row.open_connections for row in rows if row.alive)
        part.takers = sum(row.alive and bool(row.waits) for row in rows)
        return part

    def _add(self, place: Endpoint, part: Part) -> None:
        parts = self._parts[place]
        if parts and self._taken % self._merged:
            parts[-1].join(part)
        else:
            parts.append(part)

    def _merge(self) -> None:
        """Parts of twice the length."""
        self._merged *= 2
        for place, parts in self._parts.items():
            for first, second in zip(parts[::2], parts[1::2], strict=False):
                first.join(second)
            self._parts[place] = parts[::2]


def leading(parts: Sequence[Part]) -> list[Worker]:
    """Those that took most of a place, the others left out."""
    total: Counter[Worker] = Counter()
    for part in parts:
        total += part.taken
    return [worker for worker, _ in total.most_common(WORKERS)]


def _by_place(rows: Iterable[Row]) -> defaultdict[Endpoint, list[Row]]:
    found: defaultdict[Endpoint, list[Row]] = defaultdict(list)
    for row in rows:
        place = endpoint_of(row)
        if place is not None:
            found[place].append(row)
    return found


def _waits(rows: Sequence[AcceptorRow]) -> Counter[int]:
    found: Counter[int] = Counter()
    for row in rows:
        for low, _, count in octaves(row.wait_histogram):
            found[low.bit_length()] += count
    return found


def _most(one: int | None, other: int | None) -> int | None:
    known = [number for number in (one, other) if number is not None]
    return max(known, default=None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [one for one in values if one is not None]
    return sum(known) if known else None
