"""A run of months: whatever comes and goes, nothing stays behind of it but sums.

What is held after some cycles is counted, and again after as many more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count as numbers

import pytest

from accepttrace.config import Filters
from accepttrace.facts.matching import listener_matches
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Counts,
    Inventory,
    Listener,
    ListenerCount,
    MigrationCount,
    NamespaceCount,
    PortCount,
    TcpCounters,
)
from accepttrace.facts.sight import Sight
from accepttrace.model import events, places, watch
from accepttrace.model.grains import GRAINS
from accepttrace.model.totals import Totals
from accepttrace.model.tracker import Tracker
from tests.unit.held import grown, held
from tests.unit.pictures import LONG_AGO_S, META, counted, holder, listener
from tests.unit.pictures import count as accepted
from tests.unit.test_books import BY_PORT, EVERYTHING, flow

CYCLES = 40  # more than the threads, processes and programs that are kept apart
WINDOW_S = 20.0
KEEP_S = 10.0
HOST = 4026531840


@dataclass
class Machine:
    """Sockets that listen, and rows that the kernel side keeps until they may go."""

    model: Tracker
    totals: Totals
    filters: Filters
    by_port: bool
    rows: dict[tuple[int, int, int], AcceptorCount] = field(default_factory=dict)
    counts: dict[int, ListenerCount] = field(default_factory=dict)
    ports: dict[tuple[int, int], PortCount] = field(default_factory=dict)
    open: dict[int, Listener] = field(default_factory=dict)
    moved: list[MigrationCount] = field(default_factory=list)
    drops: dict[int, int] = field(default_factory=dict)  # attempts dropped, by namespace
    unread: set[int] = field(default_factory=set)
    now_s: float = 0.0

    def listens(self, one: Listener) -> None:
        one = self.open[one.inode] = replace(one, local_address="127.0.0.1")
        self.counts.setdefault(
            one.inode,
            replace(
                counted(one.inode, 0, one.local_port),
                netns=one.netns,
                local_address=one.local_address,
                flow=flow(),
            ),
        )

    def accepts(self, pid: int, inode: int, number: int = 2) -> None:
        one = self.open[inode]
        row = accepted(pid, number, inode, waits_us=[100] * number)
        self.rows[inode, row.tid, row.start_ns] = row
        was = self.counts[inode]
        self.counts[inode] = replace(was, flow=flow((was.flow.arrived or 0) + number))  # type: ignore[union-attr]
        place = (one.netns, one.local_port)
        before = self.ports.get(place) or PortCount(*place, 0)
        self.ports[place] = replace(before, arrived=before.arrived + number)

    def closes(self, inode: int) -> None:
        del self.open[inode]
        if inode in self.counts:
            self.counts[inode] = replace(self.counts[inode], stops=1)

    def reads(self, times: int = 1) -> None:
        """Refreshes; processes that hold nothing have ended."""
        for _ in range(times):
            self.now_s += 1
            alive = {one.pid for sock in self.open.values() for one in sock.holders}
            ended = frozenset(key for key, row in self.rows.items() if row.pid not in alive)
            read = Counts(
                tuple(self.rows.values()),
                tuple(self.counts.values()),
                migrations=tuple(self.moved),
                ports=tuple(self.ports.values()) if self.by_port else (),
                at_s=self.now_s,
                ended=ended,
                ahead_s=LONG_AGO_S,
            )
            namespaces = tuple(
                NamespaceCount(netns, {}, TcpCounters(cookies_failed=self.drops.get(netns, 0)))
                for netns in {one.netns for one in self.open.values()} - self.unread
            )
            listed = (
                one for one in self.open.values() if listener_matches(self.filters, one, None)
            )
            inventory = Inventory(tuple(listed), namespaces=namespaces)
            gone = self.model.update(Reading(read, inventory, wall=""))
            for key in gone.acceptors:
                self.rows.pop(key, None)
            for inode in gone.listeners:
                self.counts.pop(inode, None)
                self.moved = [m for m in self.moved if inode not in (m.from_inode, m.to_inode)]
                self.rows = {key: row for key, row in self.rows.items() if key[0] != inode}
            for place in gone.ports:
                self.ports.pop(place, None)
            self.totals.update(self.model.snapshot())

    def held(self) -> object:
        ports = self.ports if self.by_port else ()
        return self.model, self.totals, self.rows, self.counts, ports, self.moved


Cycle = Callable[[Machine, int], None]


def workers(machine: Machine, n: int) -> None:
    """Each ends after some connections, and calls itself by a name of its own."""
    machine.listens(listener(100, [holder(n, name=f"job {n}")]))
    machine.accepts(n, 100)
    machine.reads()


def servers(machine: Machine, n: int) -> None:
    machine.listens(listener(n, [holder(n)], port=n))
    machine.accepts(n, n)
    machine.reads()
    machine.closes(n)
    machine.reads(2)


def servers_without_clients(machine: Machine, n: int) -> None:
    machine.listens(listener(n, [holder(n)], port=n))
    machine.reads()
    machine.closes(n)
    machine.reads(2)


def namespaces(machine: Machine, n: int) -> None:
    machine.listens(listener(n, [holder(n)], netns=HOST + n))
    machine.accepts(n, n)
    machine.drops[HOST + n] = 3
    place = (HOST + n, 80)
    machine.ports[place] = replace(machine.ports[place], strayed=1)
    machine.reads()
    machine.closes(n)
    machine.reads(2)


def namespaces_that_cannot_be_read(machine: Machine, n: int) -> None:
    """Only what the listener itself dropped is known."""
    machine.listens(replace(listener(n, [holder(n)], netns=HOST + n), drops=1))
    machine.unread.add(HOST + n)
    machine.reads()
    machine.unread.discard(HOST + n)
    machine.closes(n)
    machine.reads(2)


def reloads(machine: Machine, n: int) -> None:
    """A reuseport group makes room for the next one, which gets what was queued."""
    old = list(machine.open)
    new = [1000 * n + own for own in range(3)]
    for own, inode in enumerate(new):
        machine.listens(listener(inode, [holder(1000 * n + own)], group=n, size=3))
    for inode in old:
        machine.moved.append(MigrationCount(inode, new[0], 1, 1))
        machine.closes(inode)
    for inode in new:
        machine.accepts(inode, inode)
    machine.reads(3)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """That are kept apart, so that few cycles are more."""
    monkeypatch.setattr(places, "MOST", 8)
    monkeypatch.setattr(watch, "LAST", 8)
    monkeypatch.setattr(events, "KEPT", 1)


CYCLING: list[Cycle] = [
    *(workers, servers, servers_without_clients, reloads),
    *(namespaces, namespaces_that_cannot_be_read),
]
SIGHTS = {"by port": BY_PORT, "by listener": EVERYTHING}
ELSEWHERE = Filters(addresses=frozenset({"192.0.2.1"}))  # where nobody listens


def left_behind(cycle: Cycle, filters: Filters, sees: Sight) -> dict[str, tuple[int, int]]:
    """What is more after twice as many cycles."""
    model = Tracker(META, filters, 0.0, sees, GRAINS, WINDOW_S, (WINDOW_S,))
    machine = Machine(model, Totals("pid", KEEP_S), filters, sees == BY_PORT)
    names = numbers(1000)

    def after_more() -> Counter[str]:
        for _ in range(CYCLES):
            cycle(machine, next(names))
        return held(machine.held())

    return grown(after_more(), after_more())


@pytest.mark.parametrize("sees", SIGHTS)
@pytest.mark.parametrize("cycle", CYCLING)
def test_nothing_stays_behind(cycle: Cycle, sees: str) -> None:
    assert left_behind(cycle, Filters(), SIGHTS[sees]) == {}


@pytest.mark.parametrize("sees", SIGHTS)
@pytest.mark.parametrize("cycle", CYCLING[1:])
def test_nothing_stays_behind_of_what_was_not_asked_for(cycle: Cycle, sees: str) -> None:
    assert left_behind(cycle, ELSEWHERE, SIGHTS[sees]) == {}
