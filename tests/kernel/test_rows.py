"""Rows of ended threads and closed listeners are let go, and what comes after is counted afresh."""

from __future__ import annotations

import ctypes as c
import gc
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import AcceptorCount, Counts, Gone
from accepttrace.lab.acceptors import RESET_ON_CLOSE
from accepttrace.probe import wire
from accepttrace.probe.maps import Map

from .conftest import Tracing

CREW_ROWS = 256  # bpf/accepttrace.h


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


def connect(listener: socket.socket) -> None:
    """Leave one connection in the queue; its client resets it, or TIME_WAIT would use up ports."""
    with socket.create_connection(listener.getsockname()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        listener.accept()[0].close()


def in_a_thread(listener: socket.socket) -> int:
    """One accept by a thread of its own, which is gone when this returns; its number."""
    found: list[int] = []

    def accept() -> None:
        found.append(threading.get_native_id())
        connect(listener)

    thread = threading.Thread(target=accept)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{found[0]}"):
        os.sched_yield()
    return found[0]


def key_of(row: AcceptorCount) -> tuple[int, int, int]:
    return row.listener_inode, row.tid, row.start_ns


def inode_of(listener: socket.socket) -> int:
    return os.fstat(listener.fileno()).st_ino


def let_go(tracing: Tracing) -> Counts:
    """As the model does: what has ended was read for the last time."""
    counts = tracing.session.counts()
    tracing.session.forget(Gone(tuple(counts.ended)))
    return counts


def test_only_threads_that_ended_are_reported_as_ended(tracing: Tracing) -> None:
    with listening() as listener:
        tracing.of(listener.getsockname()[1])
        connect(listener)
        tids = {in_a_thread(listener) for _ in range(5)}
        counts = tracing.session.counts()
    assert {tid for _, tid, _ in counts.ended} == tids
    assert {row.tid for row in counts.acceptors} == tids | {threading.get_native_id()}


def test_forgotten_rows_are_gone_and_the_rest_stands(tracing: Tracing) -> None:
    with listening() as listener:
        tracing.of(listener.getsockname()[1])
        for _ in range(5):
            in_a_thread(listener)
        connect(listener)
        let_go(tracing)
        connect(listener)
        counts = tracing.session.counts()
    assert [(row.tid, row.accepts) for row in counts.acceptors] == [(threading.get_native_id(), 2)]
    assert not counts.ended


def test_thousands_of_threads_are_counted_in_a_few_rows(tracing: Tracing) -> None:
    """More than there is room for, were they not let go."""
    threads, seen = 2 * wire.MAX_SLOTS + 100, 0
    with listening() as listener:
        tracing.of(listener.getsockname()[1])
        for number in range(threads):
            in_a_thread(listener)
            if number % 200 == 0:
                seen += sum(r.accepts for r in let_go(tracing).acceptors)
        last = let_go(tracing)
        seen += sum(r.accepts for r in last.acceptors)
        left = tracing.session.counts()
    assert seen == threads
    assert len(last.acceptors) < CREW_ROWS
    assert left.acceptors == ()
    assert left.losses.map_full == 0


def test_threads_beyond_many_are_counted_as_their_process(tracing: Tracing) -> None:
    threads = CREW_ROWS + 50
    with listening() as listener:
        tracing.of(listener.getsockname()[1])
        for _ in range(threads):
            in_a_thread(listener)
        counts = let_go(tracing)
        crews = [row for row in counts.acceptors if not row.tid]
        assert [(row.pid, row.accepts) for row in crews] == [(os.getpid(), 50)]
        assert sum(row.accepts for row in counts.acceptors) == threads
        assert sum(crews[0].wait_us) + crews[0].wait_unknown == 50
        assert key_of(crews[0]) not in counts.ended
        # Room was made: a new thread is a row again, and the crew's stands.
        tid = in_a_thread(listener)
        rows = {row.tid: row.accepts for row in tracing.session.counts().acceptors}
    assert rows == {0: 50, tid: 1}


def test_a_closed_listener_takes_all_that_is_its_own_along(tracing: Tracing) -> None:
    with listening() as listener, listening() as other:
        account = tracing.of(listener.getsockname()[1], other.getsockname()[1])
        for each in (listener, other):
            connect(each)
        closed = inode_of(listener)
        listener.close()
        tracing.session.counts()
        tracing.session.forget(Gone(listeners=(closed,)))
        counts = tracing.session.counts()
        assert {row.inode for row in counts.listeners} == {inode_of(other)}
        assert {row.listener_inode for row in counts.acceptors} == {inode_of(other)}
        connect(other)
        (row,) = account.snapshot("socket").listeners
    assert (row.accepted, row.book) == (2, "balanced")


def test_listeners_by_the_thousand_are_counted_exactly(tracing: Tracing) -> None:
    """Twice as many as have a place in the array; others find rows beyond it."""
    total, seen = 2 * wire.MAX_PLACES, 0
    tracing.of(filters=Filters(pids=frozenset({os.getpid()})))
    inodes: list[int] = []
    for number in range(total):
        with listening() as listener:
            connect(listener)
            inodes.append(inode_of(listener))
        if number % 3000 == 2999 or number == total - 1:
            counts = tracing.session.counts()
            assert set(inodes) <= {row.inode for row in counts.listeners}
            seen += sum(row.accepts for row in counts.acceptors)
            tracing.session.forget(Gone(listeners=tuple(inodes)))
            inodes = []
    assert seen == total
    left = tracing.session.counts()
    assert (left.acceptors, left.losses.map_full) == ((), 0)


def test_what_is_read_again_quickly_is_what_the_rows_tell(tracing: Tracing) -> None:
    """More acceptors than have a slot: those beyond are in another map."""
    tracing.of(filters=Filters(pids=frozenset({os.getpid()})))
    made: dict[int, int] = {}
    for number in range(wire.MAX_SLOTS + 200):
        with listening() as listener:
            made[inode_of(listener)] = 1 + number % 3
            for _ in range(1 + number % 3):
                connect(listener)
    left = tracing.session.passed().left
    assert {inode: left.get(inode, 0) for inode in made} == made
    tracing.session.forget(Gone(listeners=tuple(made)))


@pytest.mark.parametrize("count", [10])
def test_a_freed_row_begins_at_nothing(tracing: Tracing, count: int) -> None:
    """Its place is taken by whoever comes to it first."""
    with listening() as listener:
        tracing.of(listener.getsockname()[1])
        for _ in range(count):
            connect(listener)
        inode = inode_of(listener)
        tracing.session.counts()
        tracing.session.forget(Gone(listeners=(inode,)))
        connect(listener)
        counts = tracing.session.counts()
    assert [row.accepts for row in counts.acceptors] == [1]
    assert [row.inode for row in counts.listeners] == [inode]
    if tracing.plan.sees.arrived:
        flow = counts.listeners[0].flow
        assert flow is not None
        assert flow.arrived == 1


def test_rows_are_deleted_for_a_year_without_a_trace(tracing: Tracing) -> None:
    """ctypes keeps a type for each length of an array, and what is deleted differs each time."""
    tracing.of(1)
    errors = Map(tracing.session._loaded.map_fd("errors"), wire.ErrorKey, wire.Tally)
    types: list[int] = []
    gc.collect()
    gc.disable()
    try:
        for number in (1, *range(257, 300)):  # more than one batch, too
            keys = [wire.ErrorKey(error=each) for each in range(number)]
            for key in keys:
                errors.put(key, wire.Tally())
            errors.delete_all(keys)
            assert errors.items() == []
            types.append(sum(isinstance(each, type(c.Array)) for each in gc.get_objects()))
    finally:
        gc.enable()
    assert types[1:] == types[1:2] * 43


@pytest.mark.parametrize("sockets", [63, 100])  # read one by one, and as a whole
def test_many_listeners_each_have_their_own_numbers(tracing: Tracing, sockets: int) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(listening()) for _ in range(sockets)]
        tracing.of(*(one.getsockname()[1] for one in listeners))
        made = {inode_of(one): 1 + number % 3 for number, one in enumerate(listeners)}
        for one in listeners:
            for _ in range(made[inode_of(one)]):
                connect(one)
        counts, passed = tracing.session.counts(), tracing.session.passed()
    assert {row.listener_inode: row.accepts for row in counts.acceptors} == made
    assert {row.inode for row in counts.listeners} == made.keys()
    assert {inode: passed.left[inode] for inode in made} == made
