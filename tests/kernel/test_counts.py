"""Who got how many: the tracer's rows against the server's own counters and the client's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import MODES, Server
from accepttrace.probe.load.btf import VMLINUX

from .conftest import Tracing, complete

CONNECTIONS = 500


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "mapped"])
@pytest.mark.parametrize("mode", MODES)
def test_every_accept_is_counted_for_its_worker(tracing: Tracing, mode: str, family: Any) -> None:
    with Server(mode, workers=4, family=family) as server:
        account = tracing.of(server.port)
        load = run_load(server.addresses, CONNECTIONS, concurrency=8)
        server.stop()
        threads, workers = account.snapshot("thread"), account.snapshot("worker")
        all_counted = complete(tracing.session, workers, CONNECTIONS)
    counts = server.counts()
    assert load.connected == CONNECTIONS == sum(c.accepts for c in counts)
    if not all_counted:
        return

    accepts = {(c.tid, c.inode): c.accepts for c in counts if c.accepts}
    assert {(r.tid, r.listener_inode): r.accepts for r in threads.acceptors if r.accepts} == accepts
    per_process: Counter[tuple[int, int]] = Counter()
    for count in counts:
        per_process[count.pid, count.inode] += count.accepts
    assert {(r.pid, r.listener_inode): r.accepts for r in workers.acceptors if r.accepts} == {
        key: value for key, value in per_process.items() if value
    }

    empty = {(c.tid, c.inode): c.empty for c in counts if c.accepts or c.empty}
    seen = {
        (r.tid, r.listener_inode): r.empty_accepts
        for r in threads.acceptors
        if r.alive or r.accepts or r.empty_accepts
    }
    assert {key: seen.get(key) for key in empty} == empty


def test_families_and_addresses_are_named_as_the_socket_has_them(tracing: Tracing) -> None:
    for family, expected in (
        ("ipv4", ("ipv4", "127.0.0.1")),
        ("ipv6", ("ipv6", "::1")),
        ("mapped", ("ipv6", "::")),
    ):
        with Server("epoll", workers=1, family=family) as server:  # type: ignore[arg-type]
            account = tracing.of(server.port)
            run_load(server.addresses, 7)
            (row,) = account.snapshot().acceptors
        assert (row.family, row.local_address, row.local_port) == (*expected, server.port)


def test_idle_workers_are_rows_with_zero(tracing: Tracing) -> None:
    with Server("shared", workers=3) as server:
        snapshot = tracing.of(server.port).snapshot()
        assert {row.pid: row.accepts for row in snapshot.acceptors} == dict.fromkeys(server.pids, 0)


def test_totals_outlive_the_worker(tracing: Tracing) -> None:
    with Server("reuseport", workers=2) as server:
        account = tracing.of(server.port)
        run_load(server.addresses, 23)
        account.snapshot()
        server.stop()
        rows = account.snapshot().acceptors
    assert sum(row.accepts for row in rows) == 23
    assert not any(row.alive for row in rows)


def test_selection_is_counted_for_the_socket_that_was_chosen(tracing: Tracing) -> None:
    with Server("reuseport", workers=4) as server:
        account = tracing.of(server.port)
        run_load(server.addresses, CONNECTIONS)
        rows = account.snapshot("socket").acceptors
        counts = {c.inode: c.accepts for c in server.counts()}
    if tracing.plan.sees.selected:
        assert {row.listener_inode: row.selected for row in rows} == counts
    else:
        assert {row.selected for row in rows} == {None}


def test_reuseport_groups_are_read_from_the_kernel(tracing: Tracing) -> None:
    with Server("reuseport", workers=4) as server, Server("shared", workers=2) as other:
        members = tracing.session.listening()
        if not VMLINUX.exists():  # an iterator needs it: groups are known by address alone
            assert not members
            return
        inodes = {c.inode for c in server.counts()}
        mine = [members[inode] for inode in inodes]
        assert len({m.group for m in mine}) == 1
        assert {m.size for m in mine} == {4}
        assert {m.selector for m in mine} == {"hash"}
        assert {members[c.inode].group for c in other.counts()} == {None}
