"""Connections that each process holds now, against `ss -tnp` and the counts of both ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import NoReturn

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Opened
from accepttrace.model.snapshot import Snapshot
from accepttrace.sockets.inventory import InventoryReader
from accepttrace.views import jsonl
from accepttrace.views.table import render
from tests.unit.forked import child

from .clients import address_of, listen, port_of
from .conftest import Tracing, iterator, wait_until
from .keepers import accept, close, connect, duplicate, inherit, keepers, ss_open

WORKERS, EACH = 4, 2500
FORKED = 40
COST_S, ROUNDS = 0.02, 5  # a refresh a second may cost two in a hundred of it
NETNS = os.stat("/proc/self/ns/net").st_ino
NEVER = "BPF may not list open files here"


@pytest.fixture(params=["iterator", "proc"])
def look(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Opened]]:
    """What a look at a port finds, by each way to look."""
    way = iterator() if request.param == "iterator" else None
    if request.param == "iterator" and way is None:
        pytest.skip(NEVER)
    readers: list[InventoryReader] = []

    def read(port: int) -> Opened:
        readers.append(InventoryReader(Filters(ports=frozenset({port})), way))
        found = readers[-1].read(full=True).opened
        assert found is not None
        assert found.ports == {port}
        return found

    yield read
    for reader in readers:
        reader.close()


def by_pid(found: Opened, port: int, family: str) -> dict[int, int]:
    """All that was found is there, and of that family."""
    assert {where for _, where in found.counts} == {(NETNS, port, family)}
    return {pid: number for (pid, _), number in found.counts.items()}


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "mapped"])
def test_inherited_passed_and_duplicated_ones_count_once_a_process(
    family: str, look: Callable[[int], Opened]
) -> None:
    with listen(64, family=family) as listener:
        port, as_seen = port_of(listener), "ipv4" if family == "ipv4" else "ipv6"
        orders = {
            "come": connect(family, port, 7),
            "take": accept(listener, 7),
            "close": close(3),
            "duplicate": duplicate,
            "inherit": inherit,
        }
        with keepers(3, **orders) as (one, other, client):
            for taker in (one, other):
                client.ask("come")
                assert taker.ask("take") == 7
            with socket.create_connection(address_of(family, port)):
                listener.setblocking(True)
                passed, _ = listener.accept()
                assert one.give(passed) == 8
                passed.close()
                one.ask("duplicate")
                other.ask("inherit")
                found = by_pid(look(port), port, as_seen)
                assert found == ss_open(port)
                assert (found.pop(one.pid), found.pop(other.pid)) == (8, 7)
                assert list(found.values()) == [7]  # the child of `other`
                assert one.ask("close") == 5
                assert by_pid(look(port), port, as_seen)[one.pid] == 8  # by its duplicates
                assert other.ask("close") == 4
                again = by_pid(look(port), port, as_seen)
                assert again == ss_open(port)
                assert again[other.pid] == 4


def test_ten_thousand_are_those_of_ss_and_of_the_client(tracing: Tracing) -> None:
    if iterator() is None:
        pytest.skip(NEVER)
    with listen(EACH, family="mapped") as listener:
        port = port_of(listener)
        account = tracing.of(port)
        orders = {"come": connect("mapped", port, EACH), "take": accept(listener, EACH)}
        with keepers(WORKERS + 1, **orders) as (client, *workers):
            for worker in workers:
                opened = client.ask("come")
                assert worker.ask("take") == EACH
            snapshot = account.snapshot()
            assert held(snapshot) == {worker.pid: EACH for worker in workers} == ss_open(port)
            assert sum(held(snapshot).values()) == opened == WORKERS * EACH
            # This process and the client hold the listener, and none of its connections.
            holders = {row.pid: row.open_connections for row in snapshot.acceptors}
            assert (holders[os.getpid()], holders[client.pid]) == (0, 0)
            assert snapshot.open_age_s == 0.0
            cost_s = cost_of_counting(port)
    assert cost_s <= COST_S


def test_who_only_got_connections_has_a_row_and_no_part_in_the_verdict(tracing: Tracing) -> None:
    """Passed over a Unix socket, to processes that hold no listener."""
    if iterator() is None:
        pytest.skip(NEVER)
    with keepers(2) as (one, other), listen(64) as listener, ExitStack() as clients:
        port = port_of(listener)
        account = tracing.of(port)
        for number in range(5):
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            listener.setblocking(True)
            passed, _ = listener.accept()
            (one if number < 3 else other).give(passed)
            passed.close()
        for by in (account.snapshot(), account.snapshot("process")):
            assert serving(by) == {one.pid: 3, other.pid: 2} == held(by) == ss_open(port)
            (mine,) = [row for row in by.acceptors if not row.serves]
            assert (mine.pid, mine.accepts, mine.open_connections) == (os.getpid(), 5, 0)
            assert mine.share == 1.0
            assert {row.accepts for row in by.acceptors if row.serves} == {0}
            assert by.verdict == "ONE ACCEPTOR"
        assert not any(row.serves for row in account.snapshot("thread").acceptors)
        os.kill(one.pid, signal.SIGKILL)
        wait_until(lambda: ss_open(port) == {other.pid: 2}, "the other one alone")
        assert serving(account.snapshot()) == {other.pid: 2} == held(account.snapshot())


def test_children_forked_for_each_connection_share_a_row(tracing: Tracing) -> None:
    if iterator() is None:
        pytest.skip(NEVER)
    with listen(64) as listener, ExitStack() as stack:
        port = port_of(listener)
        server = stack.enter_context(child(partial(fork_for_each, listener)))
        account = tracing.of(port)
        for _ in range(FORKED):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        wait_until(lambda: settled_at(port, FORKED, without=server), "a child for each")
        snapshot = account.snapshot()
        (row,) = [row for row in snapshot.acceptors if row.serves]
        took = {each.pid: each.accepts for each in snapshot.acceptors if each.accepts}
    assert (row.serves, row.open_connections, row.pid) == (FORKED, FORKED, None)
    assert took == {server: FORKED}
    shown = " ".join("".join(text for text, _ in line) for line in render(snapshot, 200, None))
    assert f"{FORKED} serve " in shown
    assert '"serves":40,' in jsonl.snapshot_line(snapshot)


def fork_for_each(listener: socket.socket) -> NoReturn:
    """As sshd: the child keeps the connection until its client closes it, and the parent none."""
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            connection.recv(1)
            os._exit(0)
        connection.close()


def settled_at(port: int, number: int, *, without: int) -> bool:
    """Whether so many processes hold one each, and no other has any."""
    now = ss_open(port)
    return without not in now and list(now.values()) == [1] * number


def test_of_a_port_that_is_shared_with_one_left_out_nobody_knows_who_serves_whom(
    tracing: Tracing,
) -> None:
    """Connections do not name their listener: those of the other one must not get a row here."""
    with keepers(1) as (other,), listen(64) as listener, ExitStack() as stack:
        port = port_of(listener)
        elsewhere = stack.enter_context(socket.socket())
        elsewhere.bind(("127.0.0.2", port))
        elsewhere.listen(8)
        stack.enter_context(socket.create_connection(("127.0.0.2", port)))
        with elsewhere.accept()[0] as passed:
            other.give(passed)
        filters = Filters(ports=frozenset({port}), addresses=frozenset({"127.0.0.1"}))
        assert serving(tracing.of(filters=filters).snapshot()) == {}


def serving(snapshot: Snapshot) -> dict[int | None, int | None]:
    """What those hold that only serve."""
    return {row.pid: row.open_connections for row in snapshot.acceptors if row.serves}


def held(snapshot: Snapshot) -> dict[int | None, int]:
    """Of the workers that hold any."""
    return {row.pid: row.open_connections for row in snapshot.acceptors if row.open_connections}


def cost_of_counting(port: int) -> float:
    """What counting adds to the processor time of a pass, at best: others use the machine too."""
    files = iterator()
    assert files is not None
    files.ask({port}, {port})
    taken: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for count in taken:
            began = time.process_time()
            assert files.read(10, count=count) is not None
            taken[count].append(time.process_time() - began)
    return min(taken[True]) - min(taken[False])
