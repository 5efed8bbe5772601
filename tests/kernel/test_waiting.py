"""The time in the accept queue, and the queue itself, against the client's clock and `ss`."""

from __future__ import annotations

import socket
import statistics
import subprocess
import time
from contextlib import ExitStack

import pytest

from accepttrace.facts.buckets import bucket_of, lower_bound
from accepttrace.lab.servers import Server

from .clients import address_of, listen, port_of
from .conftest import Account, Tracing, wait_until
from .reading import only

QUEUED = 20
HOLD_S = 0.05
APART_S = 0.05  # of two that wait
TOLERANCE_US = 5_000


def ss_queue(port: int) -> list[tuple[int, int]]:
    """(queue, backlog) of every listener on `port`, as `ss -ltn` shows them."""
    lines = subprocess.run(
        ["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True
    )
    return [(int(line.split()[1]), int(line.split()[2])) for line in lines.stdout.splitlines()]


def connect(server: Server) -> tuple[list[socket.socket], list[float]]:
    clients, times = [], []
    for _ in range(QUEUED):
        clients.append(socket.create_connection(server.addresses[0], 5))
        times.append(time.monotonic())
    return clients, times


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "mapped"])
def test_waiting_time_is_what_the_client_measured(tracing: Tracing, family: str) -> None:
    with Server("epoll", workers=1, family=family) as server:  # type: ignore[arg-type]
        account = tracing.of(server.port)
        server.pause()
        clients, times = connect(server)
        time.sleep(HOLD_S)  # the wait itself is what is measured
        resumed = time.monotonic()
        server.resume()
        wait_until(lambda: server.counts()[0].accepts == QUEUED, "all accepted")
        ended = time.monotonic()
        (row,) = account.snapshot().acceptors
        for client in clients:
            client.close()
    least = statistics.median(resumed - at for at in times) * 1e6
    most = statistics.median(ended - at for at in times) * 1e6
    assert row.wait_p50_us is not None
    assert row.wait_max_us is not None
    # The bucket that is shown by its upper bound must touch what the client measured.
    assert lower_bound(bucket_of(row.wait_p50_us)) <= most + TOLERANCE_US
    assert row.wait_p50_us >= least - TOLERANCE_US
    assert HOLD_S * 1e6 <= row.wait_max_us <= (ended - times[0]) * 1e6 + TOLERANCE_US
    assert row.wait_max_us >= (resumed - times[0]) * 1e6 - TOLERANCE_US


def test_queue_and_backlog_are_those_of_ss(tracing: Tracing) -> None:
    with Server("epoll", workers=1, backlog=64) as server:
        account = tracing.of(server.port)
        server.pause()
        clients, _ = connect(server)
        (listener,) = account.snapshot().listeners
        assert [(listener.queue, listener.backlog)] == ss_queue(server.port) == [(QUEUED, 64)]
        server.resume()
        wait_until(lambda: server.counts()[0].accepts == QUEUED, "all accepted")
        (listener,) = account.snapshot().listeners
        assert [(listener.queue, listener.backlog)] == ss_queue(server.port) == [(0, 64)]
        for client in clients:
            client.close()


def test_connections_queued_before_the_tracer_are_timed_too(tracing: Tracing) -> None:
    """The kernel keeps the time in the socket: no hook had to be there."""
    with Server("epoll", workers=1) as server:
        server.pause()
        clients, times = connect(server)
        time.sleep(HOLD_S)
        account = tracing.of(server.port)
        server.resume()
        wait_until(lambda: server.counts()[0].accepts == QUEUED, "all accepted")
        (row,) = account.snapshot().acceptors
        for client in clients:
            client.close()
    assert row.wait_max_us is not None
    assert row.wait_max_us >= HOLD_S * 1e6


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "mapped"])
def test_the_oldest_in_the_queue_is_as_old_as_its_client_says(
    tracing: Tracing, family: str
) -> None:
    """Before anything is accepted; then the next one is the oldest."""
    with listen(8, family=family) as listener:
        account = tracing.of(port_of(listener))
        assert only(account).oldest_wait_us is None
        stamps = []  # before and after each of them was connected
        with ExitStack() as clients:
            for _ in range(2):
                before = time.monotonic()
                address = address_of(family, port_of(listener))
                clients.enter_context(socket.create_connection(address))
                stamps.append((before, time.monotonic()))
                time.sleep(APART_S)
            for before, after in stamps:
                began = time.monotonic()
                age_us = oldest(account)
                least_us, most_us = (began - after) * 1e6, (time.monotonic() - before) * 1e6
                assert least_us - TOLERANCE_US <= age_us <= most_us + TOLERANCE_US
                listener.accept()[0].close()
        assert only(account).oldest_wait_us is None


def oldest(account: Account) -> int:
    (row,) = account.snapshot("socket").listeners
    assert row.oldest_wait_us is not None
    return row.oldest_wait_us
