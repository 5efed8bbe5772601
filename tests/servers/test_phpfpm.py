"""Real php-fpm whose workers end after 200 connections each (pm.max_requests), by its own log."""

from __future__ import annotations

from functools import partial

import pytest

from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.phpfpm import PhpFpm, program
from tests.kernel.conftest import Tracing, tracing, wait_until
from tests.kernel.network import own_network
from tests.kernel.reading import begin, settled

__all__ = ["tracing"]

WORKERS, EACH, CONNECTIONS, RATE = 4, 200, 4000, 2000
STEP = 100  # connections between two looks: every other one meets workers that have just begun
EVEN = {"TOO FEW", "FAIR", "ROUND ROBIN"}


def test_workers_that_end_all_the_time_are_fair_and_those_that_live_are_seen(
    tracing: Tracing,
) -> None:
    if program() is None:
        pytest.skip("php-fpm is not installed")
    with own_network(), PhpFpm(WORKERS, max_requests=EACH) as server:
        account = begin(tracing, server.port)
        plan = Plan(CONNECTIONS, rate=RATE, concurrency=WORKERS, request=server.request)
        found = []
        with Load(server.addresses, plan) as load:
            for until in range(STEP, CONNECTIONS + 1, STEP):
                wait_until(partial(has_served, server, until), "connections")
                found.append(account.snapshot().verdicts[0].finding)
            assert load.result().connected == CONNECTIONS
        wait_until(lambda: len(server.worker_pids()) == WORKERS, "the last one to be replaced")
        snapshot = settled(account, "worker")
        logged, living = server.accepts_by_pid(), set(server.worker_pids())
        master = server.master_pid
    finding = snapshot.verdicts[0].finding
    assert {one.word for one in (*found, finding)} <= EVEN, [one.text for one in found]
    assert "wakes the one that waits longest" in finding.text
    assert finding.connections == CONNECTIONS
    rows = {row.pid: row for row in snapshot.acceptors if row.pid}
    folded = sum(row.accepts for row in snapshot.acceptors if row.pid is None)
    apart = {pid: row.accepts for pid, row in rows.items() if row.accepts}
    assert apart.items() <= logged.items()
    assert folded == sum(logged[pid] for pid in logged.keys() - apart.keys())
    assert sum(map(bool, logged.values())) >= CONNECTIONS // EACH
    assert living == {pid for pid, row in rows.items() if row.alive and row.waits}
    assert [row.pid for row in rows.values() if row.waits is False and row.alive] == [master]


def has_served(server: PhpFpm, number: int) -> bool:
    return sum(server.accepts_by_pid().values()) >= number
