"""Accepts on the CPU that received the connection, with clients and workers that are pinned."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from .clients import listen, port_of
from .conftest import Tracing, Way, attached, name, offered
from .keepers import Order, accept, connect, keepers

EACH = 10
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(params=offered(), ids=name)
def looking(request: pytest.FixtureRequest) -> Iterator[Tracing]:
    """A session that looks at CPUs."""
    way: Way = request.param
    with attached(way, locality=True) as session:
        yield Tracing(session)


def pinned(cpu: int) -> Order:
    return lambda _: os.sched_setaffinity(0, {cpu})


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU alone")
def test_it_is_the_part_that_was_accepted_where_the_client_runs(looking: Tracing) -> None:
    with listen(EACH) as listener:
        account = looking.of(port_of(listener))
        orders = {
            "here": pinned(CPUS[0]),
            "there": pinned(CPUS[1]),
            "come": connect("ipv4", port_of(listener), EACH),
            "take": accept(listener, EACH),
        }
        with keepers(4, **orders) as (client, here, there, both):
            client.ask("here")
            for worker, place in (
                (here, "here"),
                (there, "there"),
                (both, "here"),
                (both, "there"),
            ):
                worker.ask(place)
                client.ask("come")
                worker.ask("take")
            rows = account.snapshot().acceptors
            found = {row.pid: row.local for row in rows if row.accepts}
            assert found == {here.pid: 1.0, there.pid: 0.0, both.pid: 0.5}
            assert {row.local for row in rows if not row.accepts} == {None}
            (row,) = account.snapshot("socket").acceptors
            assert row.local == 0.5


def test_nobody_looks_who_was_not_asked_to(tracing: Tracing) -> None:
    with listen(1) as listener, socket.create_connection(listener.getsockname()):
        account = tracing.of(port_of(listener))
        listener.accept()[0].close()
        (row,) = account.snapshot().acceptors
    assert (row.accepts, row.local) == (1, None)
