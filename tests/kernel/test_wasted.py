"""Who was woken for nothing, against what the workers themselves counted.

One connection at a time, once all workers sleep: then an EAGAIN is either a wake-up for nothing or
the end of a drain, and the worker's own count shows which.
"""

from __future__ import annotations

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.model.snapshot import AcceptorRow
from accepttrace.sockets.syscalls import NOWHERE, sleep_of

from .clients import Clients
from .conftest import Tracing, wait_until
from .network import own_network
from .reading import begin, if_seen, settled

WORKERS = 5
ROUNDS = 12
HOLD_S = 0.01  # from a worker's wake-up to its accept(): time for the others to wake up
BURST = 20


def all_asleep(server: Server) -> bool:
    """In epoll, not in their hold."""
    return all(sleep_of(f"/proc/{pid}/task/{pid}") == NOWHERE for pid in server.pids)


def one_by_one(server: Server) -> None:
    for served in range(1, ROUNDS + 1):
        wait_until(lambda: all_asleep(server), "all workers asleep")
        with Clients(server.addresses[0], 1) as client:
            # Whoever was woken runs, or is about to, when connect() returns.
            wait_until(lambda: client.resets() == 1 and all_asleep(server), "the end of a round")
        assert sum(count.accepts for count in server.counts()) == served


def assert_wasted(tracing: Tracing, rows: tuple[AcceptorRow, ...], wasted: dict[int, int]) -> None:
    if tracing.plan.sees.empty:
        assert {row.pid: row.wasted_wakeups for row in rows} == wasted
    else:
        assert {row.wasted_wakeups for row in rows} == {None}


@pytest.mark.parametrize("mode", ["shared", "epoll"])
def test_a_herd_is_woken_for_nothing(tracing: Tracing, mode: str) -> None:
    """With `epoll` the one who is served finds nothing at last: that is no waste."""
    with own_network(), Server(mode, workers=WORKERS, hold=HOLD_S) as server:
        account = begin(tracing, server.port)
        one_by_one(server)
        rows = settled(account, "worker").acceptors
        ends = {c.pid: c.accepts if mode == "epoll" else 0 for c in server.counts()}
        wasted = {c.pid: c.empty - ends[c.pid] for c in server.counts()}
    assert sum(wasted.values()) >= ROUNDS  # there was a herd
    assert_wasted(tracing, rows, wasted)
    assert {row.pid: row.empty_accepts for row in rows} == {
        count.pid: if_seen(tracing, "empty", count.empty) for count in server.counts()
    }


@pytest.mark.parametrize("mode", ["epoll", "blocking"])
def test_the_end_of_a_drain_is_no_waste(tracing: Tracing, mode: str) -> None:
    with own_network(), Server(mode, workers=1) as server:
        account = begin(tracing, server.port)
        run_load(server.addresses, 5 * BURST, concurrency=BURST)
        wait_until(lambda: mode == "blocking" or all_asleep(server), "the end of the last drain")
        (row,) = settled(account, "worker").acceptors
        (count,) = server.counts()
    assert (row.accepts, count.accepts) == (5 * BURST, 5 * BURST)
    assert count.empty > 0 or mode == "blocking"
    assert row.empty_accepts == if_seen(tracing, "empty", count.empty)
    assert row.wasted_wakeups == if_seen(tracing, "empty", 0)


def test_one_wake_up_for_a_whole_queue_is_no_waste(tracing: Tracing) -> None:
    with own_network(), Server("epoll", workers=1) as server:
        account = begin(tracing, server.port)
        server.pause()
        with Clients(server.addresses[0], BURST) as clients:
            server.resume()
            wait_until(lambda: clients.resets() == BURST and all_asleep(server), "all served")
        (row,) = settled(account, "worker").acceptors
        (count,) = server.counts()
    assert (count.accepts, count.empty <= 1) == (BURST, True)  # an order may end the drain
    assert (row.accepts, row.empty_accepts, row.wasted_wakeups) == (
        BURST,
        if_seen(tracing, "empty", count.empty),
        if_seen(tracing, "empty", 0),
    )
