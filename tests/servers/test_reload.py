"""nginx reloads under load: no connection may get lost from the books, as some do from nginx."""

from __future__ import annotations

import pytest

from accepttrace.lab import nginx
from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.nginx import Nginx
from tests.kernel.conftest import Tracing, tracing
from tests.kernel.network import own_network
from tests.kernel.reading import assert_balanced, begin, if_seen, says_incomplete, settled

from .test_real_servers import needs

__all__ = ["tracing"]

LIMIT_S = 60.0


@pytest.mark.parametrize("reuseport", [False, True], ids=["shared", "reuseport"])
def test_books_balance_through_reloads_under_load(tracing: Tracing, reuseport: bool) -> None:
    needs("nginx")
    with own_network(), Nginx(4, reuseport=reuseport) as server:
        account = begin(tracing, server.port)
        seen = set(server.worker_pids())
        plan = Plan(duration_s=LIMIT_S, concurrency=16, request=nginx.REQUEST)
        with Load(server.addresses, plan) as load:
            snapshots = [account.snapshot()]
            for workers in (2, 4):
                server.reload(workers)
                assert not seen & set(server.worker_pids())
                seen |= set(server.worker_pids())
                snapshots.append(account.snapshot())
            result = load.stop()
        snapshots.append(settled(account, "process"))
        logged = server.accepts_by_pid()
    last = snapshots[-1]
    assert not result.failed
    assert sum(logged.values()) == result.connected - result.reset
    assert logged.keys() <= seen
    if says_incomplete(tracing, last):
        return
    assert {row.pid: row.accepts for row in last.acceptors if row.accepts} == logged
    for snapshot in snapshots:
        assert {row.book for row in snapshot.listeners} == {"balanced"}
        assert (snapshot.books.word, snapshot.books.balanced) == ("balanced", True)
    assert len(last.listeners) == (6 if reuseport else 1)  # two were closed, two are new
    assert sum(row.open for row in last.listeners) == (4 if reuseport else 1)
    lost = sum(row.lost_on_close or 0 for row in last.listeners)
    # A client is connected before its final ACK is read: its listener may close in between.
    cut_off = sum(row.half_open_lost or 0 for row in last.listeners)
    if tracing.plan.sees.closed:
        assert lost <= result.reset <= lost + cut_off
    if tracing.plan.sees.arrived:
        arrived = sum(row.arrived or 0 for row in last.listeners)
        assert arrived - lost == result.connected - result.reset
    assert [row.migrated_out for row in last.listeners] == [
        if_seen(tracing, "migrated", 0) for _ in last.listeners
    ]
    assert_balanced(*last.listeners)
