"""The lab itself: what a server counts must be what its clients saw, in every sharing mode."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from accepttrace.errors import AcceptTraceError, UsageError
from accepttrace.lab.clients import Plan
from accepttrace.lab.gunicorn import Gunicorn
from accepttrace.lab.listeners import Family
from accepttrace.lab.load import Load, run_load
from accepttrace.lab.nginx import REQUEST, Nginx
from accepttrace.lab.servers import MODES, Server

FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6", "mapped")
BLOCKING = ("blocking", "threads")
POLLING = tuple(mode for mode in MODES if mode not in BLOCKING)


AnyService = TypeVar("AnyService", Nginx, Gunicorn)


def total(server: Server) -> int:
    return sum(count.accepts for count in server.counts())


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def installed(service: AnyService) -> AnyService:
    try:
        service.command()
    except AcceptTraceError as error:
        pytest.skip(error.message)
    return service


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_workers_count_every_connection_of_the_clients(mode: str, family: Family) -> None:
    with Server(mode, workers=4, family=family) as server:
        result = run_load(server.addresses, 100, concurrency=4)
        assert total(server) == 100
        pids = server.pids
    assert (result.attempted, result.connected, result.failed) == (100, 100, {})
    counts = server.counts()
    assert sum(count.accepts for count in counts) == 100
    assert not any(count.errors for count in counts)
    assert len({count.tid for count in counts}) == 4
    assert len({count.inode for count in counts}) == (4 if mode == "reuseport" else 1)
    assert {count.pid for count in counts} == set(pids)
    assert len(pids) == (1 if mode == "threads" else 4)


@pytest.mark.parametrize("mode", MODES)
def test_stop_leaves_no_process_behind(mode: str) -> None:
    with Server(mode, workers=3) as server:
        pids = server.pids
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert server.pids == ()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.addresses[0], 1)


def descriptors(pid: int) -> list[str]:
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists this directory
            links.append(os.readlink(fd))
    return links


@pytest.mark.parametrize("mode", MODES)
def test_only_workers_hold_the_socket_that_their_counts_name(mode: str) -> None:
    with Server(mode, workers=2) as server:
        for count in server.counts():
            assert descriptors(count.pid).count(f"socket:[{count.inode}]") == 1
            assert f"socket:[{count.inode}]" not in descriptors(os.getpid())


@pytest.mark.parametrize("mode", POLLING)
def test_connections_stay_queued_while_paused(mode: str) -> None:
    with Server(mode, workers=2) as server:
        server.pause()
        queued = [socket.create_connection(server.addresses[0], 2) for _ in range(10)]
        assert not select.select(queued, [], [], 0.05)[0]
        assert total(server) == 0
        server.resume()
        for connection in queued:
            with connection, pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert total(server) == 10


@pytest.mark.parametrize("mode", BLOCKING)
def test_servers_asleep_in_accept_say_that_they_cannot_pause_or_hold(mode: str) -> None:
    with Server(mode, workers=1) as server, pytest.raises(AcceptTraceError, match="cannot pause"):
        server.pause()
    with pytest.raises(AcceptTraceError, match="cannot hold"):
        Server(mode, hold=0.1)


def test_hold_keeps_every_connection_waiting() -> None:
    with Server("reuseport", workers=3, hold=0.03, linger0=False) as server:
        result = run_load(server.addresses, 5)
    assert result.seconds >= 5 * 0.03
    assert (result.connected, result.reset) == (5, 0)
    assert total(server) == 5


def test_hold_makes_losers_of_workers_that_share_a_socket() -> None:
    """On a busy machine the others may not wait yet when the next connection comes."""
    made = 0
    with Server("shared", workers=3, hold=0.03) as server:
        while not sum(count.empty for count in server.counts()) and made < 300:
            run_load(server.addresses, 3)
            made += 3
    assert sum(count.empty for count in server.counts()) > 0
    assert total(server) == made


def test_a_draining_worker_ends_a_burst_with_eagain_and_a_reuseport_one_does_not() -> None:
    with Server("epoll", workers=1) as draining:
        run_load(draining.addresses, 20)
        wait_until(lambda: draining.counts()[0].empty > 0)
    with Server("reuseport", workers=1) as own:
        run_load(own.addresses, 20)
    assert own.counts()[0].empty == 0


def test_reply_is_sent_before_the_close() -> None:
    with (
        Server("reuseport", workers=1, reply=True, linger0=False) as server,
        socket.create_connection(server.addresses[0], 2) as client,
    ):
        assert client.recv(100).startswith(b"HTTP/1.0 200")


def test_two_servers_stop_independently() -> None:
    with Server("blocking", workers=2) as first:
        with Server("blocking", workers=2) as second:
            first.stop()
            assert run_load(second.addresses, 10).connected == 10
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(first.addresses[0], 1)


@pytest.mark.parametrize("mode", MODES)
def test_workers_end_when_their_parent_is_killed(mode: str) -> None:
    script = (
        "import time; from accepttrace.lab.servers import Server\n"
        f"with Server({mode!r}, workers=2) as s: print(*s.pids, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        pidfds = [os.pidfd_open(pid) for pid in pids]
        parent.send_signal(signal.SIGKILL)
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 5)[0]
        os.close(pidfd)


def test_unknown_names_and_taken_ports_are_clear_errors() -> None:
    with pytest.raises(UsageError, match="no sharing mode"):
        Server("fork")
    with (
        Server("shared", workers=1) as server,
        pytest.raises(AcceptTraceError, match="cannot bind"),
        Server("shared", workers=1, port=server.port),
    ):
        pass


def test_load_reports_failures_by_name_and_source_ports() -> None:
    with Server("shared", workers=1) as server:
        result = run_load(server.addresses, 5, local_ports=True)
    assert len(set(result.local_ports)) == 5
    refused = run_load(server.addresses, 3)
    assert (refused.connected, refused.failed) == (0, {"ECONNREFUSED": 3})


def test_load_gives_up_connections_that_are_not_served() -> None:
    with Server("shared", workers=1) as server:
        server.pause()
        result = run_load(server.addresses, 3, concurrency=3, timeout=0.1)
    assert (result.connected, result.failed) == (0, {"ETIMEDOUT": 3})


def test_load_in_the_background_keeps_its_rate_and_stops_when_asked() -> None:
    with Server("reuseport", workers=2) as server:
        # However busy the machine: all of them, and not before their time.
        with Load(server.addresses, Plan(connections=200, rate=400), processes=2) as load:
            paced = load.result()
        assert paced.connected == 200
        assert paced.seconds >= 0.45
        with Load(server.addresses, Plan(duration_s=0.5, rate=400), processes=2) as load:
            timed = load.result()
        assert 0 < timed.connected <= 202
        before = paced.connected + timed.connected
        with Load(server.addresses, Plan(duration_s=60, rate=1000)) as load:
            wait_until(lambda: total(server) >= before + 20)
            stopped = load.stop()
        assert stopped.failed == {}
        assert total(server) == before + stopped.connected
    assert stopped.seconds < 5


def test_load_is_not_misled_by_a_socket_that_somebody_else_still_looks_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """epoll goes on reporting a socket that was closed, as long as anybody has its file open."""
    looked_at = []

    class Watched(socket.socket):
        def connect_ex(self, address: object) -> int:
            looked_at.append(os.dup(self.fileno()))
            return super().connect_ex(address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", Watched)
    with Server("epoll", workers=2) as server:
        result = run_load(server.addresses, 50, concurrency=4)
    for fd in looked_at:
        os.close(fd)
    assert (result.connected, dict(result.failed)) == (50, {})


@pytest.mark.parametrize("reuseport", [False, True])
def test_nginx_logs_every_connection_and_survives_a_reload(reuseport: bool) -> None:
    with installed(Nginx(workers=3, reuseport=reuseport)) as nginx:
        workers = nginx.worker_pids()
        assert len(workers) == 3
        assert run_load(nginx.addresses, 100, concurrency=4, request=REQUEST).connected == 100
        served = nginx.accepts_by_pid()
        assert sum(served.values()) == 100
        assert set(served) <= set(workers)
        nginx.reload(workers=2)
        assert len(nginx.worker_pids()) == 2
        assert not set(nginx.worker_pids()) & set(workers)
        everyone = (nginx.master_pid, *nginx.worker_pids())
    assert not any(Path(f"/proc/{pid}").exists() for pid in everyone)


def test_gunicorn_notes_every_connection() -> None:
    with installed(Gunicorn(workers=2)) as gunicorn:
        assert run_load(gunicorn.addresses, 50, request=REQUEST).connected == 50
        assert sum(gunicorn.accepts_by_pid().values()) == 50
        assert set(gunicorn.accepts_by_pid()) <= set(gunicorn.worker_pids())
