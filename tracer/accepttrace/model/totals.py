"""Counters of a run of months, which never go back: by listener, and by worker.

A snapshot has sums since the start, of rows that come, go and are added to others. Here only what
is new of each snapshot is added, by where it was accepted and by whom. Who has not been seen for a
while is forgotten, and what is remembered does not grow with those who come and go.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal, NamedTuple, TypeVar

from accepttrace.model.histogram import octaves
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, NamespaceLoss, Snapshot

Naming = Literal["name", "slot", "pid"]
K = TypeVar("K", bound=tuple[object, ...])

COUNTERS: Final = (
    *("arrived", "dropped_overflow", "overflow_syn", "overflow_ack", "dropped_syn_queue"),
    *("dropped_other", "lost_on_close", "half_open_lost", "refused_accepts"),
    *("migrated_in", "migrated_out"),
)  # of a ListenerRow
MOST_GONE: Final = 4096  # sites and workers that are remembered, beside those that are there
MOST_NAMES: Final = 256  # of workers at one site
OTHERS: Final = "other programs"
_SHORTEST: Final = 3  # waits below 2^3 µs are in one bucket
_LONGEST: Final = 26  # and those from 2^26 µs (67 s) on in the last one
BOUNDS_US: Final = tuple(1 << bits for bits in range(_SHORTEST, _LONGEST + 1))  # exclusive


class Site(NamedTuple):
    """Where connections are accepted. `ELSEWHERE`: at one of those that are summed up together."""

    netns: int | None = None
    address: str | None = None
    port: int | None = None


ELSEWHERE: Final = Site()


class Member(NamedTuple):
    """A worker as a series has it. `part`: its slot or PID, "" if it has none or is one of many."""

    site: Site
    name: str
    part: str = ""


class Belongs(NamedTuple):
    """Where a worker runs, by the names that people use; see `facts.records.Holder`."""

    unit: str | None = None
    container: str | None = None
    pod: str | None = None


NOWHERE: Final = Belongs()


@dataclass(slots=True)
class Worker:
    """`open_connections`, `pid` and `belongs` are those of now; None: not known, or it is gone.

    `belongs`: what all processes of that name have in common, where they are one series.
    """

    accepts: int = 0
    open_connections: int | None = None
    pid: int | None = None
    belongs: Belongs = NOWHERE
    since_s: float = 0.0
    seen_s: float = 0.0


@dataclass(slots=True)
class Listening:
    """The sockets of one site. `rows`: those that are open now. Times as in `elapsed_s`."""

    accepts: int = 0
    rows: list[ListenerRow] = field(default_factory=list)
    since_s: float = 0.0
    seen_s: float = 0.0


class Steady:
    """One counter by site, of sums that may move from a site to ELSEWHERE."""

    def __init__(self) -> None:
        self.values: dict[Site, int] = {}
        self.unknown: frozenset[Site] = frozenset()  # at the last update
        self._sums: dict[Site, int] = {}

    def update(self, sums: Mapping[Site, int | None]) -> None:
        """Take in the sums of all rows, by site; None: not"""
        self.unknown = frozenset(site for site, now in sums.items() if now is None)
        elsewhere = sums.get(ELSEWHERE)
        if elsewhere is None:
            elsewhere = self._sums.get(ELSEWHERE, 0)
        new = self._without_moved(elsewhere - self._sums.get(ELSEWHERE, 0), sums)
        self._sums[ELSEWHERE] = elsewhere
        if new > 0:
            self.values[ELSEWHERE] = self.values.get(ELSEWHERE, 0) + new
        for site, now in sums.items():
            if now is not None and site != ELSEWHERE:
                grown = max(now - self._sums.get(site, 0), 0)
                self.values[site] = self.values.get(site, 0) + grown
                self._sums[site] = max(now, self._sums.get(site, 0))

    def _without_moved(self, new: int, sums: Mapping[Site, int | None]) -> int:
        """Of what is `new` elsewhere, that which was not counted at a site before."""
        for site, before in self._sums.items() if new > 0 else ():
            if site == ELSEWHERE or site in self.unknown:
                continue
            moved = min(max(before - (sums.get(site) or 0), 0), new)
            self._sums[site] -= moved
            new -= moved
        return new

    def forget(self, sites: Iterable[Site]) -> None:
        """They are not there any more."""
        for site in sites:
            self.values.pop(site, None)
            self._sums.pop(site, None)


class Slots:
    """Numbers for the workers of one name at one site: the lowest that is free."""

    def __init__(self) -> None:
        self._of: dict[int, int] = {}
        self._free: Iterator[int] = count()

    def take(self, pid: int) -> int:
        """That of a process, which keeps it."""
        if pid not in self._of:
            self._of[pid] = next(self._free)
        return self._of[pid]

    def keep(self, pids: Collection[int]) -> None:
        """All others are gone."""
        self._of = {pid: slot for pid, slot in self._of.items() if pid in pids}
        taken = set(self._of.values())
        self._free = (slot for slot in count() if slot not in taken)

    def __bool__(self) -> bool:
        return bool(self._of)


class Totals:
    """`naming`: what makes a worker. `keep_s`: how long who is gone is remembered."""

    def __init__(self, naming: Naming = "slot", keep_s: float = 300.0) -> None:
        self.naming, self._keep_s = naming, keep_s
        self._now_s = 0.0
        self.sites: dict[Site, Listening] = {}
        self.workers: dict[Member, Worker] = {}
        self.counters = {name: Steady() for name in COUNTERS}
        self.waits = [Steady() for _ in range(len(BOUNDS_US) + 1)]  # by octave
        self.waited_us = Steady()
        self.namespace_drops: dict[tuple[int, str], int] = {}  # by netns and cause
        self._slots: defaultdict[tuple[Site, str], Slots] = defaultdict(Slots)

    def update(self, snapshot: Snapshot) -> None:
        """Take in the next one; rows are by worker, and their intervals follow one another."""
        self._now_s = snapshot.elapsed_s
        self._take_listeners(snapshot.listeners)
        self._take_waits(snapshot.acceptors)
        self._take_accepts(snapshot.acceptors)
        self._take_shared(snapshot.namespace_losses)
        self._forget(snapshot)

    def shows(self, site: Site) -> bool:
        """Whether somebody listens at one of `sites`, or did so a moment ago."""
        return site == ELSEWHERE or not self._is_old(self.sites[site].seen_s)

    def wait_counts(self, site: Site) -> list[int]:
        """Waits by octave: below each of BOUNDS_US, then the longer ones; empty: none measured."""
        counts = [octave.values.get(site, 0) for octave in self.waits]
        return counts if any(counts) else []

    def _take_listeners(self, rows: Iterable[ListenerRow]) -> None:
        for known in self.sites.values():
            known.rows = []
        sums: dict[str, dict[Site, int | None]] = {name: {} for name in COUNTERS}
        for row in rows:
            if row.folded and row.local_address is None:  # idle ones at several addresses
                continue
            site = site_of(row)
            known = self.sites.setdefault(site, Listening(since_s=self._now_s))
            if row.open:
                known.rows.append(row)
                known.seen_s = self._now_s
            for name, found in sums.items():
                found[site] = _plus(found.get(site, 0), getattr(row, name))
        for name, found in sums.items():
            self.counters[name].update(found)

    def _take_waits(self, rows: Iterable[AcceptorRow]) -> None:
        sums: list[dict[Site, int | None]] = [{} for _ in self.waits]
        waited: dict[Site, int | None] = {}
        for row in rows:
            if row.wait_sum_us is None:
                continue
            site = site_of(row)
            waited[site] = _plus(waited.get(site, 0), row.wait_sum_us)
            for _, high, number in octaves(row.wait_histogram):
                bits = min(max(high.bit_length(), _SHORTEST), _LONGEST + 1)
                found = sums[bits - _SHORTEST]
                found[site] = _plus(found.get(site, 0), number)
        for steady, found in zip(self.waits, sums, strict=True):
            steady.update(found)
        self.waited_us.update(waited)

    def _take_accepts(self, rows: Iterable[AcceptorRow]) -> None:
        for worker in self.workers.values():
            worker.open_connections = worker.pid = None
            worker.belongs = NOWHERE
        names: defaultdict[Site, set[str]] = defaultdict(set)
        for member in self.workers:
            names[member.site].add(member.name)
        opened: dict[Member, int | None] = {}
        there: defaultdict[tuple[Site, str], set[int]] = defaultdict(set)
        for row in rows:
            if not (row.accepts_interval or (row.alive and _takes_part(row))):
                continue
            site = site_of(row)
            member = self._member(site, _name(row.name, names[site]), row.pid)
            worker = self.workers.setdefault(member, Worker(since_s=self._now_s))
            worker.accepts += row.accepts_interval
            worker.seen_s = self._now_s
            self._count_at(site, row.accepts_interval)
            if row.alive and row.pid is not None:
                belongs = Belongs(row.unit, row.container, row.pod)
                worker.belongs = belongs if worker.pid is None else _common(worker.belongs, belongs)
                worker.pid = row.pid
                there[site, member.name].add(row.pid)
                opened[member] = _plus(opened.get(member, 0), row.open_connections)
        for member, number in opened.items():
            self.workers[member].open_connections = number
        self._free(there)

    def _count_at(self, site: Site, accepts: int) -> None:
        if accepts:
            listening = self.sites.setdefault(site, Listening(since_s=self._now_s))
            listening.accepts += accepts
            listening.seen_s = self._now_s

    def _member(self, site: Site, name: str, pid: int | None) -> Member:
        if self.naming == "name" or pid is None:
            return Member(site, name)
        if self.naming == "pid":
            return Member(site, name, str(pid))
        return Member(site, name, str(self._slots[site, name].take(pid)))

    def _free(self, there: Mapping[tuple[Site, str], Collection[int]]) -> None:
        """The slots of those who are gone."""
        for key, slots in list(self._slots.items()):
            slots.keep(there.get(key, ()))
            if not slots:
                del self._slots[key]

    def _take_shared(self, losses: Iterable[NamespaceLoss]) -> None:
        """Of those that are sure; a listener may turn out to have lost a part of them."""
        now: Counter[tuple[int, str]] = Counter()
        for loss in losses:
            if loss.sure:
                now[loss.netns, loss.cause] += loss.packets
        before = self.namespace_drops
        self.namespace_drops = {key: max(n, before.get(key, 0)) for key, n in now.items()}

    def _forget(self, snapshot: Snapshot) -> None:
        there = {*map(site_of, snapshot.listeners), *map(site_of, snapshot.acceptors)}
        gone = {s: known.seen_s for s, known in self.sites.items() if s not in there}
        old = self._old(gone)
        for site in old:
            del self.sites[site]
        for steady in (*self.counters.values(), *self.waits, self.waited_us):
            steady.forget(old)
        left = {one: w.seen_s for one, w in self.workers.items() if w.seen_s < self._now_s}
        for member in self._old(left):
            del self.workers[member]

    def _old(self, gone: Mapping[K, float]) -> list[K]:
        """Of those who are `gone`, by when they were seen last: who is not remembered."""
        by_age = sorted(gone, key=lambda one: gone[one])
        most = max(len(gone) - MOST_GONE, 0)
        return [*by_age[:most], *(one for one in by_age[most:] if self._is_old(gone[one]))]

    def _is_old(self, seen_s: float) -> bool:
        return self._now_s - seen_s > self._keep_s


def site_of(row: ListenerRow | AcceptorRow) -> Site:
    """Where the sockets of a row are."""
    if row.local_address is None:
        return ELSEWHERE
    return Site(row.netns, row.local_address, row.local_port)


def _takes_part(row: AcceptorRow) -> bool:
    """Not so who only holds the socket, as a master does."""
    return bool(row.accepts or row.waits or row.open_connections)


def _name(name: str, there: set[str]) -> str:
    """Whoever has a name chose it: of those at one site not too many are told apart."""
    if name not in there and len(there) >= MOST_NAMES:
        return OTHERS
    there.add(name)
    return name


def _common(one: Belongs, other: Belongs) -> Belongs:
    return Belongs(*(mine if mine == its else None for mine, its in zip(one, other, strict=True)))


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
