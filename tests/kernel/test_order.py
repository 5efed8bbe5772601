"""Who accepts after whom: the order that the clients saw, to the last one."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.model.pattern import PatternWord
from accepttrace.probe import wire
from accepttrace.probe.maps import Map

from .clients import inode_of, listen, port_of
from .conftest import ROW, Tracing, wait_until
from .keepers import Keeper, accept, keepers
from .network import own_network
from .orders import Log, assert_exact, found, noting
from .reading import begin

__all__ = ["noting"]

CONNECTIONS = 120
AT_A_TIME = 1000 if ROW else 4000  # a processor that is emulated is slower


def one_at_a_time(server: Server, number: int, by: str = "pid") -> Log:
    """Each comes when all wait; the server's own counts say who took it."""

    def taken() -> Counter[int]:
        return Counter({getattr(count, by): count.accepts for count in server.counts()})

    takers, before = [], taken()
    for _ in range(number):
        wait_until(lambda: all(sleeps(count.pid) for count in server.counts()), "nobody is busy")
        run_load(server.addresses, 1, concurrency=1)
        now = taken()
        (taker,) = (now - before).elements()
        takers.append(taker)
        before = now
    return Log(takers)


def sleeps(pid: int) -> bool:
    """Its first thread, which accepts."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def asked(workers: list[Keeper], listener: socket.socket, order: Iterable[int]) -> Log:
    """Each connection is taken by the one that is asked to."""
    takers = []
    for which in order:
        with socket.create_connection(listener.getsockname()):
            workers[which].ask("take")
        takers.append(workers[which].pid)
    return Log(takers)


@contextmanager
def workers_on(listener: socket.socket, number: int) -> Iterator[list[Keeper]]:
    with keepers(number, take=accept(listener, 1)) as found:
        yield found


@pytest.mark.parametrize("mode", ["blocking", "exclusive", "epoll"])
def test_it_is_the_order_that_the_client_saw(noting: Tracing, mode: str) -> None:
    with own_network(), Server(mode, workers=4) as server:
        account = begin(noting, server.port)
        log = one_at_a_time(server, CONNECTIONS)
        pattern = found(account)
    assert_exact(pattern, log)
    if mode == "blocking":
        assert pattern.word == "ROUND ROBIN"
    if max(log.accepts.values()) >= 0.9 * CONNECTIONS:
        assert pattern.word == "LIFO"


def by_chance(number: int) -> list[int]:
    return random.Random(7).choices(range(3), (5, 3, 2), k=number)


@pytest.mark.parametrize(
    ("order", "word"),
    [
        ([n // 5 % 3 for n in range(60)], "BURSTY"),
        ([n % 3 for n in range(60)], "ROUND ROBIN"),
        ([n % 20 == 19 for n in range(60)], "LIFO"),
        ([0] * 300 + [1] * 2, "LIFO"),
        (by_chance(60), "NONE"),
        (by_chance(9), None),
    ],
    ids=["bursty", "turns", "one", "long", "chance", "few"],
)
def test_any_order_is_found_as_it_was_made(
    noting: Tracing, order: list[int], word: PatternWord | None
) -> None:
    with listen(8) as listener, workers_on(listener, 3) as workers:
        account = begin(noting, port_of(listener))
        log = asked(workers, listener, map(int, order))
        pattern = found(account)
    assert_exact(pattern, log)
    assert pattern.word == word


def test_members_of_a_group_are_its_sockets(noting: Tracing) -> None:
    with own_network(), Server("reuseport", workers=3) as server:
        account = begin(noting, server.port)
        log = one_at_a_time(server, CONNECTIONS // 2, by="inode")
        pattern = found(account)
    assert_exact(pattern, log, group=True)


def test_what_several_cpus_take_at_a_time_is_placed_or_said_not_to_be(noting: Tracing) -> None:
    with own_network(), Server("epoll", workers=4) as server:
        account = begin(noting, server.port)
        run_load(server.addresses, AT_A_TIME, concurrency=64)
        pattern = found(account)
        taken = sum(count.accepts for count in server.counts())
        lost = (
            account.snapshot().books.losses.recursion_misses or 0
        )  # where a kernel preempts itself
    assert taken == AT_A_TIME
    assert 0 <= taken - pattern.accepts <= lost
    assert pattern.raced is not None
    assert pattern.raced <= pattern.accepts - pattern.placed <= 1 + 2 * pattern.raced
    assert sum(run.runs for run in pattern.runs) == pattern.placed - pattern.again + 1


def test_what_meets_another_cpu_has_no_place_nor_has_the_next(noting: Tracing) -> None:
    """As if one had come that is not gone yet."""
    with listen(8) as listener, workers_on(listener, 2) as workers:
        account = begin(noting, port_of(listener))
        asked(workers, listener, (0, 1, 1))
        with another_cpu(noting, inode_of(listener)):
            asked(workers, listener, (0, 0))
        asked(workers, listener, (1, 0))
        pattern = found(account)
    seen = {turn.pid: turn[2:6] for turn in pattern.turns}
    assert seen == {workers[0].pid: (4, 1, 0, 0), workers[1].pid: (3, 2, 1, 0)}
    assert (pattern.accepts, pattern.placed, pattern.raced) == (7, 3, 2)
    assert pattern.word is None


def test_of_a_listener_that_closed_nothing_stays(noting: Tracing) -> None:
    with listen(8) as listener, workers_on(listener, 2) as workers:
        account = begin(noting, port_of(listener))
        asked(workers, listener, (0, 1))
        account.snapshot()
        assert [key.id for key, _ in orders_of(noting).items()] == [inode_of(listener)]

    def none_stays() -> bool:
        account.snapshot()
        return not orders_of(noting).items()

    wait_until(none_stays, "its row is deleted")


def orders_of(noting: Tracing) -> Map[wire.OrderKey, wire.Order]:
    return Map(noting.session._loaded.map_fd("orders"), wire.OrderKey, wire.Order)


@contextmanager
def another_cpu(noting: Tracing, inode: int) -> Iterator[None]:
    orders, key = orders_of(noting), wire.OrderKey(id=inode)

    def enter(number: int) -> None:
        row = orders.get(key)
        assert row is not None
        row.entered += number
        orders.put(key, row)

    enter(1)
    yield
    enter(-1)


def test_nobody_looks_who_was_not_asked_to(tracing: Tracing) -> None:
    with listen(8) as listener, workers_on(listener, 2) as workers:
        account = begin(tracing, port_of(listener))
        asked(workers, listener, (0, 1, 0))
        (verdict,) = account.snapshot().verdicts
    assert verdict.finding.connections == 3
    assert verdict.pattern is None
    assert not tracing.session.counts().orders
