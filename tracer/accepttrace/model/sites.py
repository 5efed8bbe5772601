"""Who accepts where: the sockets and the workers of each address, and how they change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from accepttrace.facts.records import Family
from accepttrace.model.census import Census, ProcessKey
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.listeners import Listeners, Socket

LONGEST_S: Final = 60.0  # what changes for longer is not one change any more


class SiteKey(NamedTuple):
    """Where clients connect to. None: not known, or several."""

    netns: int | None
    family: Family | None
    local_address: str | None
    local_port: int | None


@dataclass(slots=True)
class Site:
    """What is there at one reading. `workers`: of the holders, those who take connections.

    `busy`: somebody came there, so that it matters where it goes.
    """

    sockets: set[int] = field(default_factory=set)
    holders: set[ProcessKey] = field(default_factory=set)
    workers: dict[ProcessKey, str] = field(default_factory=dict)  # with their names
    busy: bool = False


def sites(
    listeners: Listeners, census: Census, shown: Iterable[Socket], entries: Iterable[Entry]
) -> dict[SiteKey, Site]:
    """As they are now."""
    found: defaultdict[SiteKey, Site] = defaultdict(Site)
    places: dict[Socket, Site] = {}
    for socket in shown:
        known = listeners.known.get(socket) if isinstance(socket, int) else None
        if known is None or not isinstance(socket, int):
            continue
        facts = known.facts
        key = SiteKey(facts.netns, facts.family, facts.local_address, facts.local_port)
        site = places[socket] = found[key]
        site.busy = site.busy or not known.untouched
        if known.open:
            site.sockets.add(socket)
            site.holders.update(known.waits)
    for entry in entries:
        at, process = places.get(entry.socket), entry.process
        if at is None or isinstance(process, Bygone):
            continue
        at.busy = at.busy or entry.accepts > 0
        if entry.takes_part and process in at.holders:
            at.workers[process] = census.process(process).name
    return dict(found)


@dataclass(slots=True)
class Change:
    """What changed at one place, in steps that follow each other soon.

    `workers` and `sockets`: those before. `left`: of these. `came`: those that are still there.
    `began_s` and `until_s`: the first and the last step.
    """

    began_s: float
    until_s: float
    workers: frozenset[ProcessKey]
    sockets: int
    left: set[ProcessKey] = field(default_factory=set)
    came: set[ProcessKey] = field(default_factory=set)
    closed: int = 0
    opened: int = 0
    program: str | None = None

    @property
    def sockets_now(self) -> int:
        """How many there are after it."""
        return self.sockets + self.opened - self.closed

    @property
    def all_left(self) -> bool:
        """Whether nobody is there any more who was before."""
        return bool(self.workers) and self.workers <= self.left


@dataclass(slots=True)
class _Known:
    """`complete_s`: what comes until then is its start. `held_s`: since when each process has held
    a socket of it."""

    since_s: float
    complete_s: float
    sockets: set[int]
    workers: dict[ProcessKey, str]
    held_s: dict[ProcessKey, float]
    busy: bool
    change: Change | None = None

    def is_new(self, process: ProcessKey) -> bool:
        """Not one that was there from the start, and took no part so far."""
        return self.held_s.get(process, self.since_s) > self.since_s


class Sites:
    """Every address that is known. Steps at most `soon_s` apart are one change."""

    def __init__(self, soon_s: float) -> None:
        self._soon_s = soon_s
        self._known: dict[SiteKey, _Known] = {}
        self._looked = False

    def update(
        self, there: Mapping[SiteKey, Site], is_open: Callable[[int], bool], now_s: float
    ) -> list[tuple[SiteKey, Change]]:
        """Take in one reading; returns those where something changed that matters.

        `is_open`: also of a socket that is not shown any more.
        """
        found: list[tuple[SiteKey, Change]] = []
        for key, known in self._known.items():
            site = there.get(key, Site())
            site.sockets |= set(filter(is_open, known.sockets))
            change = self._step(known, site, now_s)
            if change is not None and (known.busy or site.sockets):
                found.append((key, change))
        for key in there.keys() - self._known.keys():
            self._known[key] = self._met(there[key], now_s)
        self._looked = True
        for key in [key for key, known in self._known.items() if self._is_over(known, now_s)]:
            del self._known[key]
        return found

    def _met(self, site: Site, now_s: float) -> _Known:
        """One that begins while tracing runs may take a while until all of it is there."""
        held_s = dict.fromkeys(site.holders, now_s)
        complete_s = now_s + self._soon_s if self._looked else now_s
        return _Known(now_s, complete_s, site.sockets, site.workers, held_s, site.busy)

    def _is_over(self, known: _Known, now_s: float) -> bool:
        """Nothing is there, and nothing has been for a while."""
        if known.sockets:
            return False
        return known.change is None or now_s - known.change.until_s > self._soon_s

    def _step(self, known: _Known, site: Site, now_s: float) -> Change | None:
        """What changed, with what came before it; None: nothing did."""
        known.busy = known.busy or site.busy
        for process in site.holders:
            known.held_s.setdefault(process, now_s)
        left = known.workers.keys() - site.holders
        came = {p for p in site.workers.keys() - known.workers.keys() if known.is_new(p)}
        closed, opened = known.sockets - site.sockets, site.sockets - known.sockets
        change = None
        if left or closed or ((came or opened) and now_s > known.complete_s):
            change = self._going_on(known, now_s)
            change.until_s = now_s
            change.left |= left & change.workers
            change.came = (change.came | came) - left
            change.closed += len(closed)
            change.opened += len(opened)
            names = {**known.workers, **site.workers}
            change.program = next((names[process] for process in (*left, *came)), change.program)
        there = {**known.workers, **site.workers}
        known.workers = {p: name for p, name in there.items() if p in site.holders}
        known.sockets = site.sockets
        for process in known.held_s.keys() - site.holders:
            del known.held_s[process]
        return change

    def _going_on(self, known: _Known, now_s: float) -> Change:
        change = known.change
        late = change and now_s > min(change.until_s + self._soon_s, change.began_s + LONGEST_S)
        if change is None or late:
            workers, sockets = frozenset(known.workers), len(known.sockets)
            change = known.change = Change(now_s, now_s, workers, sockets)
        return change
