"""Connections that each process holds now, against `ss -tnp` and the counts of both ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Opened
from accepttrace.model.snapshot import Snapshot
from accepttrace.sockets.inventory import InventoryReader

from .clients import address_of, listen, port_of
from .conftest import Tracing, iterator
from .keepers import accept, close, connect, duplicate, inherit, keepers, ss_open

WORKERS, EACH = 4, 2500
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
