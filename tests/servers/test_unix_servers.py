"""Real servers on UNIX sockets: accepts by their own logs; queue and holders by `ss` and `lsof`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from accepttrace.lab import nginx
from accepttrace.lab.gunicorn import Gunicorn
from accepttrace.lab.handing import Postgres, installed
from accepttrace.lab.load import run_load
from accepttrace.lab.nginx import Nginx
from tests.kernel.conftest import wait_until
from tests.kernel.test_cli import lines, started
from tests.kernel.test_top_unix import taken_by
from tests.kernel.unixlisteners import row_of, ss_holders, ss_queue, traced

from .test_real_servers import needs

CONNECTIONS, CLIENTS = 100, 5  # of more a pipe would not hold the events
SERVICE = """
import os, socket
with socket.socket(fileno=3) as listener:
    while True:
        connection, _ = listener.accept()
        connection.send(str(os.getpid()).encode())
        connection.close()
"""


def lsof_holders(inode: int) -> set[tuple[int, int]]:
    """(PID, descriptor) of a listener: what it accepted has the same name."""
    done = subprocess.run(["lsof", "-nP", "-U", "-Fpfi"], capture_output=True, text=True)
    found, pid, fd = set(), 0, ""
    for line in done.stdout.splitlines():
        kind, value = line[0], line[1:]
        if kind == "p":
            pid = int(value)
        elif kind == "f":
            fd = value
        elif kind == "i" and value == str(inode):
            found.add((pid, int(fd)))
    return found


def assert_seen_alike(path: str, holders: set[int]) -> None:
    """By `who`, `ss` and `lsof`."""
    wait_until(lambda: {one["pid"] for one in row_of(path)["holders"]} == holders, "all hold it")
    row = row_of(path)
    held = {(one["pid"], one["fd"]) for one in row["holders"]}
    assert held == ss_holders(path) == lsof_holders(row["inode"])
    assert (row["queue"], row["backlog"]) == ss_queue(path)


def test_behind_nginx_each_worker_of_gunicorn_took_what_it_logged(tmp_path: Path) -> None:
    """And each event has the worker of nginx that connected."""
    needs("nginx")
    needs("gunicorn")
    needs("lsof")
    with ExitStack() as stack:
        app = stack.enter_context(Gunicorn(3, on_path=True, backlog=77))
        front = stack.enter_context(Nginx(2, behind=app.path))
        path = str(app.path)
        process = stack.enter_context(
            started("events", path, "-o", "jsonl", ready=tmp_path / "ready")
        )
        subject = stack.enter_context(traced(path))
        before = Counter(app.accepts_by_pid())
        load = run_load(front.addresses, CONNECTIONS, concurrency=8, request=nginx.REQUEST)
        snapshot = subject.refresh()
        logged = Counter(app.accepts_by_pid()) - before
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        assert load.connected == CONNECTIONS == sum(logged.values())
        assert taken_by(snapshot) == logged
        assert_seen_alike(path, {app.master_pid, *app.worker_pids()})
        workers = set(front.worker_pids())
    *events, last = lines(out)[1:]
    assert Counter(one["pid"] for one in events) == logged
    assert {one["peer_pid"] for one in events} <= workers
    assert (last["accepts"] - last["left_out"], last["balanced"]) == (CONNECTIONS, True)


def test_the_postmaster_accepts_on_its_path_and_its_backends_serve() -> None:
    needs("lsof")
    if not installed():
        pytest.skip("PostgreSQL is not installed")
    with ExitStack() as stack:
        server = stack.enter_context(Postgres(on_path=True))
        path = str(server.path)
        subject = stack.enter_context(traced(path))
        backends = set()
        for _ in range(CLIENTS):
            client, backend = server.connect()
            stack.enter_context(client)
            backends.add(backend)
        snapshot = subject.refresh()
        assert len(backends) == CLIENTS
        assert taken_by(snapshot) == {server.master_pid: CLIENTS}
        assert_seen_alike(path, {server.master_pid})


def test_what_systemd_hands_over_is_accepted_by_the_service(tmp_path: Path) -> None:
    """As root's docker.sock: the manager listens, and becomes the service at the first client."""
    needs("lsof")
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not installed")
    path = str(tmp_path / "service.sock")
    command = (program, "-l", path, sys.executable, "-c", SERVICE)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as service:
        try:
            wait_until(lambda: os.path.exists(path), "its socket")
            wait_until(lambda: bool(ss_holders(path)), "its queue")
            assert_seen_alike(path, {service.pid})
            with traced(path) as subject:
                answers = Counter(answer(path) for _ in range(CLIENTS))
                snapshot = subject.refresh()
            assert taken_by(snapshot) == answers == {service.pid: CLIENTS}
            assert_seen_alike(path, {service.pid})
        finally:
            service.kill()


def answer(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(path)
        return int(client.recv(16))
