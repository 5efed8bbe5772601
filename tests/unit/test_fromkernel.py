"""Holders as the kernel lists them: what a pass shows, and when the next one is made."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import cast

import pytest

from accepttrace.facts.records import LocalPort, Opened, Unread
from accepttrace.probe.holders import (
    EpollSet,
    HolderIterator,
    Holdings,
    Table,
    Waiter,
    Waiters,
    Way,
)
from accepttrace.probe.receiving import Receipt
from accepttrace.sockets import fromkernel
from accepttrace.sockets.facts import NOT, UNKNOWN, Rest, Waiting
from accepttrace.sockets.fromkernel import KernelSource
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.queues import Queues

ACCEPT, EPOLL = Waiting(True, "accept"), Waiting(True, "epoll")
PORT = LocalPort(5, 80, "ipv4")
WAYS: tuple[Way, ...] = ("call", "poll", "select", "io_uring")

ASLEEP = Rest({}, True)


class Kernel:
    """An iterator that shows `holdings`; None: the pass did not end in time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.took_s = 0.0
        self.holdings: Holdings | None = Holdings()
        self.asked: list[tuple[Collection[int], Collection[int], float, bool]] = []
        self.idle: list[tuple[object, float]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.source = KernelSource(
            cast("HolderIterator", self), frozenset({80}), cast("Helper", self)
        )

    def spare(self) -> None:
        """As if it were looked at all day."""
        iterator, helper = cast("HolderIterator", self), cast("Helper", self)
        self.source = KernelSource(iterator, frozenset({80}), helper, sparing=True)

    def ask(self, ports: Collection[int], open_ports: Collection[int]) -> None:
        self._ports = ports, open_ports

    def read(self, limit_s: float, *, count: bool) -> Holdings | None:
        self.asked.append((*self._ports, limit_s, count))
        self.now += self.took_s
        return self.holdings

    def map(
        self, _: object, asked: Collection[tuple[int, frozenset[int]]], until_s: float
    ) -> Iterator[tuple[tuple[int, frozenset[int]], Rest | None]]:
        self.idle.append((list(asked), round(until_s - self.now, 6)))
        yield from ((one, ASLEEP if one[0] == 1 else None) for one in asked)

    def passes(self, after_s: float = 0, *, full: bool = False, open_ports: int = 0) -> int:
        """How many passes one refresh makes, so much later."""
        self.now += after_s
        before = len(self.asked)
        self.source.pass_over(full, 0.25, frozenset({open_ports} - {0}))
        return len(self.asked) - before


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.mark.parametrize(
    ("took_s", "passes"),
    [
        (fromkernel.SPARING_S, [1, 1, 1, 1, 1]),
        (0.006, [1, 0, 1, 0, 1]),
        (0.05, [1, 0, 1, 0, 1]),
        (0.15, [1, 0, 1, 0, 1]),
        (0.25, [1, 0, 0, 1, 0]),
    ],
)
def test_on_a_screen_a_long_pass_is_made_at_every_other_look(
    kernel: Kernel, took_s: float, passes: list[int]
) -> None:
    kernel.took_s = took_s
    kernel.spare()
    assert [kernel.passes(1.0) for _ in passes] == passes
    assert kernel.passes(0.1, full=True) == 1


def table(pid: int, tid: int = 0, netns: int = 5, **fds: int) -> Table:
    """Of a process that began at tick `pid`; `fds` as i7=3: socket 7 at descriptor 3."""
    held = {int(name[1:]): fd for name, fd in fds.items()}
    return Table(pid, tid or pid, netns, pid * 10_000_000 + 9_999_999, f"w{pid}", held)


def waiters(*found: Waiter, complete: bool = True) -> Waiters:
    return Waiters(found, complete)


def call(pid: int) -> Waiter:
    return Waiter("call", pid, False, True)


def test_nothing_is_known_before_the_first_pass_has_ended(kernel: Kernel) -> None:
    kernel.holdings = None
    assert kernel.passes() == kernel.passes() == 1
    assert kernel.source.unread == (Unread("open files", "not all could be read yet"),)
    assert (kernel.source.threads, kernel.source.opened) == ({}, None)
    kernel.holdings = Holdings([table(1)])
    assert kernel.passes() == 1
    assert kernel.source.unread == ()


def test_a_pass_is_followed_by_ten_times_its_time_of_rest(kernel: Kernel) -> None:
    for took_s, rest_s in ((0.0, 0.0), (0.02, 0.0), (0.021, 0.21), (0.5, 5.0)):
        kernel.took_s = took_s
        assert kernel.passes(100) == 1
        if rest_s:
            assert kernel.passes(rest_s - 0.01) == 0
            assert kernel.passes(0.02) == 1
        else:
            assert kernel.passes() == 1
        assert kernel.passes(full=True) == 1
    assert kernel.passes(4.75) == 0
    assert kernel.passes(0.25) == 1
    assert set(kernel.asked) == {(frozenset({80}), frozenset(), 0.25, False)}


def test_connections_are_counted_by_fewer_passes(kernel: Kernel) -> None:
    def counts(after_s: float, took_s: float, *, full: bool = False) -> bool:
        kernel.took_s = took_s
        kernel.holdings = Holdings([table(7)], opened={(7, PORT): 3})
        assert kernel.passes(after_s, full=full, open_ports=80) == 1
        return kernel.asked[-1][3]

    assert [counts(0, 0.02), counts(0, 0.02), counts(0, 0.1)] == [True, True, True]
    assert kernel.source.opened == Opened(
        kernel.now, frozenset({80}), {7: 7}, {(7, PORT): 3}, comms={7: "w7"}
    )
    for after_s, counted in ((1.25, False), (1.25, False), (2.25, False), (0.25, True)):
        kernel.holdings = Holdings([table(7)])
        kernel.took_s = 0
        assert kernel.passes(after_s, open_ports=80) == 1
        assert kernel.asked[-1][3] is counted
    assert counts(0, 0.1)
    assert counts(0, 0.1, full=True)
    at_s = kernel.now
    kernel.holdings = Holdings([table(7)])
    kernel.passes(100)
    assert kernel.asked[-1][1:] == (frozenset(), 0.25, False)
    assert kernel.source.opened is not None
    assert kernel.source.opened.at_s == at_s  # the last that was read


def test_processes_are_known_by_namespace_each_with_its_threads(kernel: Kernel) -> None:
    tables = [table(1), table(2, netns=6), table(1, 4)]
    kernel.holdings = Holdings(tables, sockets={7: 5, 8: 5, 9: 4})
    kernel.passes()
    assert kernel.source.threads == {5: [(1, 1), (1, 4)], 6: [(2, 2)]}
    assert kernel.source.netns_of_sockets == {4, 5}
    kernel.holdings = Holdings([table(2, netns=6)])
    kernel.passes()
    assert kernel.source.threads == {6: [(2, 2)]}


def test_holders_of_the_sockets_asked_for_and_their_lowest_descriptors(kernel: Kernel) -> None:
    """A process may come in several pieces; a thread may have descriptors of its own."""
    tables = [
        table(1, 3, i7=9, i8=4, i9=1),
        table(1, 4, i7=5, i8=6),
        table(2, i8=3),
        table(3, i9=3),
        table(4),
        table(6, i7=4),
    ]
    kernel.holdings = Holdings(tables, waiters={7: waiters(call(1)), 8: waiters(complete=False)})
    kernel.passes()
    found = kernel.source.facts([7, 8], full=False)
    assert {pid: facts.fds for pid, facts in found.items()} == {
        1: {7: 5, 8: 4},
        2: {8: 3},
        6: {7: 4},
    }
    first = found[1]
    assert (first.pid, first.tid, first.start_ticks, first.comm) == (1, 3, 1, "w1")
    assert first.waits == {7: ACCEPT, 8: UNKNOWN}
    assert {pid: facts.sure for pid, facts in found.items()} == {1: False, 2: False, 6: True}
    assert set(kernel.source.facts([9], full=False)) == {1, 3}
    assert kernel.source.facts([], full=False) == {}


def test_who_was_handed_a_socket_is_the_process_that_has_its_pid_now(kernel: Kernel) -> None:
    one, two, three = (table(pid, i7=3, i8=4) for pid in (1, 2, 3))
    received = {
        (1, 7): Receipt(one.start_ns, "SCM_RIGHTS"),
        (2, 7): Receipt(two.start_ns - 1, "SCM_RIGHTS"),  # one that had this PID before
        (2, 8): Receipt(two.start_ns, "pidfd_getfd"),
        (3, 9): Receipt(three.start_ns, "other"),
    }
    kernel.holdings = Holdings([one, two, three], received=received)
    kernel.passes()
    found = kernel.source.facts([7, 8], full=False)
    assert {pid: facts.came for pid, facts in found.items()} == {
        1: {7: "SCM_RIGHTS"},
        2: {8: "pidfd_getfd"},
        3: {},
    }


def test_facts_stand_as_long_as_nothing_changes(kernel: Kernel) -> None:
    one, two = table(1, i7=3), table(2, i7=3, i8=4)
    queue = waiters(call(1))
    watch = waiters(Waiter("epoll", 70, False, True))
    sets = {2: [EpollSet(9, 70, False)]}
    holdings = Holdings([one, two], sets, {7: queue, 8: watch})

    def look(changed: Holdings, *inodes: int) -> set[int]:
        """Whose facts are others than before."""
        before = kernel.source.facts(inodes, full=False)
        kernel.holdings = changed
        kernel.passes()
        after = kernel.source.facts(inodes, full=False)
        return {pid for pid in after if after[pid] is not before.get(pid)}

    kernel.holdings = holdings
    kernel.passes()
    assert kernel.source.facts([7, 8], full=False)[2].waits == {7: UNKNOWN, 8: EPOLL}
    assert look(replace(holdings), 7, 8) == set()
    assert look(replace(holdings, epolls={2: [*sets[2]]}), 7, 8) == set()
    assert look(replace(holdings, tables=[table(1, i7=3), two]), 7, 8) == {1}
    more = replace(holdings, tables=[one, two, table(1, 9, i7=2)])
    assert [look(each, 7, 8) for each in (more, holdings, more, holdings)] == [{1}] * 4
    assert look(replace(holdings, waiters={7: queue, 8: replace(watch)}), 7, 8) == {2}
    assert look(replace(holdings, epolls={2: [EpollSet(9, 70, True)]}), 7, 8) == {2}
    assert look(replace(holdings, epolls={**sets, 5: [EpollSet(3, 70, False)]}), 7, 8) == {2}
    assert (
        kernel.source.facts([7, 8], full=False)[2].waits[8] == UNKNOWN
    )  # one of two that have the set
    assert look(replace(holdings, waiters={8: watch}), 7) == {1, 2}
    assert kernel.source.facts([7], full=False)[1].waits == {7: UNKNOWN}
    assert look(replace(holdings, tables=[one]), 7) == {1}


def test_who_sleeps_is_asked_for_a_short_time(kernel: Kernel) -> None:
    assert kernel.source.resting({1: [3, 4], 2: [5]}) == {1: ASLEEP}
    assert kernel.idle == [([(1, frozenset({3, 4})), (2, frozenset({5}))], 0.05)]


def test_a_wait_queue_tells_the_call_of_each() -> None:
    queues = Queues()
    found = waiters(
        *(Waiter(way, who, False, True) for who, way in enumerate(WAYS, 1)),
        *(Waiter(way, who, False, False) for who, way in enumerate(WAYS, 11)),
        Waiter("other", 0, False, True),
    )
    queues.update({7: found}, {})
    said = [queues.waiting(pid, 7, ()).where for pid in (1, 2, 3, 4)]
    assert said == ["accept", "poll", "select", "io_uring"]
    assert queues.waiting(1, 7, ()).waits
    assert {queues.waiting(pid, 7, ()) for pid in (0, 5, 11, 12, 13, 14)} == {UNKNOWN}
    assert queues.complete(7)


def test_an_epoll_set_without_a_number_leaves_the_queue_unknown() -> None:
    queues = Queues()
    named, nameless = Waiter("epoll", 70, False, True), Waiter("epoll", 0, False, True)
    queues.update({7: waiters(named), 8: waiters(named, nameless)}, {})
    assert [queues.complete(inode) for inode in (7, 8)] == [True, False]


def test_a_set_that_one_process_has_open_twice_is_its_own() -> None:
    queues = Queues()
    twice = [EpollSet(4, 70, False), EpollSet(5, 70, False)]
    queues.update({7: waiters(Waiter("epoll", 70, False, True))}, {1: twice})
    assert queues.waiting(1, 7, twice) == EPOLL
    paused = waiters(Waiter("epoll", 70, False, False))
    assert queues.update({7: paused}, {1: twice}) == {7}
    assert not queues.owners_changed
    assert queues.waiting(1, 7, twice) == NOT
    assert queues.waiting(1, 7, [EpollSet(6, 71, True)]) == UNKNOWN
