"""Real nginx and gunicorn under load: to the last connection, by their own access logs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accepttrace.lab import gunicorn, nginx
from accepttrace.lab.gunicorn import Gunicorn
from accepttrace.lab.load import run_load
from accepttrace.lab.nginx import Nginx
from accepttrace.model.losses import verdict
from tests.kernel.conftest import Tracing, tracing
from tests.kernel.network import counted, own_network

__all__ = ["tracing"]

CONNECTIONS = 20_000
DEFERRED = 1_000
Servers = dict[str, Callable[[], Any]]
SERVERS: Servers = {
    "nginx-shared": lambda: Nginx(4),
    "nginx-reuseport": lambda: Nginx(4, reuseport=True),
    "nginx-ipv6": lambda: Nginx(4, reuseport=True, family="ipv6"),
    "gunicorn": lambda: Gunicorn(4),
}
REQUESTS = {"nginx": nginx.REQUEST, "gunicorn": gunicorn.REQUEST}


def needs(name: str) -> None:
    program = name.partition("-")[0]
    if not (shutil.which(program) or Path("/usr/sbin", program).exists()):
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("name", SERVERS)
def test_every_connection_is_booked_on_the_worker_that_logged_it(
    tracing: Tracing, name: str
) -> None:
    needs(name)
    with SERVERS[name]() as server:
        account = tracing.of(server.port)
        request = REQUESTS[name.partition("-")[0]]
        load = run_load(server.addresses, CONNECTIONS, concurrency=32, request=request)
        snapshot = account.snapshot("process")
        logged = server.accepts_by_pid()
        workers = set(server.worker_pids())
    assert load.connected == CONNECTIONS == sum(logged.values())
    assert snapshot.books.accepts == CONNECTIONS
    assert snapshot.books.balanced
    assert {r.pid: r.accepts for r in snapshot.acceptors if r.accepts} == logged
    rows = {r.pid: r for r in snapshot.acceptors}
    assert workers <= rows.keys()
    assert {rows[pid].name for pid in workers} <= {"nginx: worker", "gunicorn", "gunicorn: worker"}


def test_handshakes_that_nginx_defers_are_no_losses(tracing: Tracing) -> None:
    needs("nginx")
    with own_network(), Nginx(2, deferred=True) as server:
        account = tracing.of(server.port)
        before = counted()["TCPDeferAcceptDrop"]
        load = run_load(server.addresses, DEFERRED, concurrency=8, request=nginx.REQUEST)
        snapshot = account.snapshot("process")
        (row,) = snapshot.listeners
        put_off = counted()["TCPDeferAcceptDrop"] - before
        logged = server.accepts_by_pid()
    assert load.connected == DEFERRED == sum(logged.values()) == row.accepted
    assert row.drops == row.deferred == put_off > 0
    assert row.defer_accept
    assert verdict(snapshot) == "nothing"


def test_nginx_workers_with_reuseport_hold_each_others_sockets_but_wait_on_their_own(
    tracing: Tracing,
) -> None:
    needs("nginx")
    with Nginx(4, reuseport=True) as server:
        snapshot = tracing.of(server.port).snapshot()
        workers = set(server.worker_pids())
        master = server.master_pid
    assert len(snapshot.listeners) == 4
    for listener in snapshot.listeners:
        assert listener.sharing == "reuseport"
        assert listener.group_size == 4
        (own,) = [h.pid for h in listener.holders if h.waits]
        assert {h.pid for h in listener.holders} == {own, master}
        assert listener.holders_elsewhere == len(workers - {own})
    assert {r.pid for r in snapshot.acceptors if r.waits} == workers


def test_totals_are_kept_through_a_reload_that_replaces_all_workers(tracing: Tracing) -> None:
    needs("nginx")
    with Nginx(4) as server:
        account = tracing.of(server.port)
        old = set(server.worker_pids())
        run_load(server.addresses, 500, concurrency=8, request=nginx.REQUEST)
        account.snapshot()
        server.reload(workers=2)
        run_load(server.addresses, 500, concurrency=8, request=nginx.REQUEST)
        snapshot = account.snapshot("process")
        logged = server.accepts_by_pid()
        new = set(server.worker_pids())
    assert {r.pid: r.accepts for r in snapshot.acceptors if r.accepts} == logged
    assert sum(logged.values()) == 1000
    assert {r.pid for r in snapshot.acceptors if not r.alive} == old
    assert new <= {r.pid for r in snapshot.acceptors if r.alive}
