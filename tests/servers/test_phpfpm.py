"""Real php-fpm whose workers end after 200 connections each (pm.max_requests), by its own log."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from functools import partial
from statistics import median

import pytest

from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.phpfpm import PhpFpm, program
from accepttrace.model.verdict import Finding
from tests.kernel.conftest import Tracing, tracing, wait_until
from tests.kernel.network import own_network
from tests.kernel.reading import begin, settled
from tests.kernel.unixlisteners import row_of, ss_holders, ss_queue, traced

__all__ = ["tracing"]

WORKERS, EACH, CONNECTIONS, RATE = 4, 200, 4000, 2000
STEP = 100  # connections between two looks: every other one meets workers that have just begun
EVEN = {"TOO FEW", "FAIR", "ROUND ROBIN"}
OFF = 0.15  # of an even split; what a look of some milliseconds does not tell apart
SURPLUS = 8  # connections: who took more than its part by fewer has only just come


def test_workers_that_end_all_the_time_are_fair_and_those_that_live_are_seen(
    tracing: Tracing,
) -> None:
    """On a machine with other work a worker may indeed take more: then the log says so, too."""
    if program() is None:
        pytest.skip("php-fpm is not installed")
    with own_network(), PhpFpm(WORKERS, max_requests=EACH) as server:
        account = begin(tracing, server.port)
        plan = Plan(CONNECTIONS, rate=RATE, request=server.request)
        found = []
        with Load(server.addresses, plan) as load:
            for until in range(STEP, CONNECTIONS + 1, STEP):
                wait_until(partial(has_served, server, until), "connections")
                found.append(account.snapshot().verdicts[0].finding)
            assert load.result().connected == CONNECTIONS
        wait_until(lambda: len(server.worker_pids()) == WORKERS, "the last one to be replaced")
        snapshot = settled(account, "worker")
        order, living, master = server.served_by(), set(server.worker_pids()), server.master_pid
    logged, even = Counter(order), even_parts(order)
    finding = snapshot.verdicts[0].finding
    for one in (*found, finding):
        assert one.word in EVEN or is_uneven(one, order), one.text
    assert "wakes the one that waits longest" in finding.text
    assert finding.connections == CONNECTIONS == len(order)
    rows = {row.pid: row for row in snapshot.acceptors if row.pid}
    took = {pid: row for pid, row in rows.items() if row.accepts}
    assert {pid: row.accepts for pid, row in took.items()}.items() <= logged.items()
    folded = sum(row.accepts for row in snapshot.acceptors if row.pid is None)
    assert folded == sum(logged[pid] for pid in logged.keys() - took.keys())
    assert len(logged) >= CONNECTIONS // EACH
    off = [abs((row.fair_ratio or 0) - logged[pid] / even[pid]) for pid, row in took.items() if pid]
    assert median(off) < OFF, off
    assert living == {pid for pid, row in rows.items() if row.alive and row.waits}
    assert [pid for pid, row in rows.items() if row.alive and not row.waits] == [master]


def test_on_a_path_its_workers_are_the_holders_that_ss_shows() -> None:
    if program() is None:
        pytest.skip("php-fpm is not installed")
    with PhpFpm(WORKERS, backlog=37, on_path=True) as server:
        workers, path = set(server.worker_pids()), str(server.path)
        wait_until(
            lambda: {one["pid"] for one in row_of(path)["holders"] if one["waits"]} == workers,
            "accept",
        )
        row = row_of(path)
        assert {(one["pid"], one["fd"]) for one in row["holders"]} == ss_holders(path)
        assert {one["pid"] for one in row["holders"]} == {*workers, server.master_pid}
        assert {one["waits_in"] for one in row["holders"]} == {"accept", None}
        assert (row["way"], row["way_from"]) == ("inherited", server.master_pid)
        assert (row["queue"], row["backlog"]) == ss_queue(path) == (0, 37)


def has_served(server: PhpFpm, number: int) -> bool:
    return len(server.served_by()) >= number


def is_uneven(finding: Finding, order: Sequence[int]) -> bool:
    """Whether by then who is named had taken much more than its part, by the log too."""
    pid, then = finding.standouts[0].pid or 0, order[: finding.connections]
    return finding.word == "UNEVEN" and then.count(pid) > even_parts(then)[pid] + SURPLUS


def even_parts(order: Sequence[int]) -> dict[int, float]:
    """What an even split among four gives each worker in a log, from its first to its last."""
    first = {pid: place for place, pid in reversed(list(enumerate(order)))}
    last = {pid: place for place, pid in enumerate(order)}
    return {pid: (last[pid] - first[pid] + 1) / WORKERS for pid in first}


def test_on_a_path_each_accept_is_that_of_the_worker_that_logged_it() -> None:
    if program() is None:
        pytest.skip("php-fpm is not installed")
    with PhpFpm(WORKERS, on_path=True) as server:
        path = str(server.path)
        with traced(path) as subject:
            for number in range(1, 101):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
                    client.sendall(server.request)
                    while client.recv(4096):
                        pass
                wait_until(partial(has_served, server, number), "connections")
            snapshot = subject.refresh()
        rows = {row.pid: row for row in snapshot.acceptors}
        assert {p: row.accepts for p, row in rows.items() if row.accepts} == Counter(
            server.served_by()
        )
        assert rows.keys() == {*server.worker_pids(), server.master_pid}
        assert rows[server.master_pid].accepts == 0
        (verdict,) = snapshot.verdicts
        assert (verdict.finding.connections, verdict.finding.members) == (100, WORKERS)
        (row,) = snapshot.listeners
        assert (row.queue, row.backlog) == ss_queue(path)
