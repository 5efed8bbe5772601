"""Who holds a listener of real servers, and how they share it: as `ss` and `lsof` see it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from accepttrace.lab.gunicorn import Gunicorn
from accepttrace.lab.handing import HAProxy
from accepttrace.lab.nginx import Nginx
from tests.kernel.conftest import wait_until
from tests.kernel.unixlisteners import rows_of, told

from .test_real_servers import needs

Held = set[tuple[int, int]]  # PID, descriptor
CLIENTS = 64  # some of which the hash sends to each of two
CLUSTER = """
const cluster = require("cluster");
cluster.schedulingPolicy = cluster[process.argv[3]];
if (cluster.isPrimary) {
    cluster.fork();
    cluster.fork();
} else {
    require("net").createServer(() => {}).listen(Number(process.argv[2]), "127.0.0.1");
}
"""


@pytest.fixture(autouse=True)
def needs_lsof() -> None:
    needs("lsof")


def by_ss(port: int) -> tuple[int, int, Held]:
    """Inode, owner and holders of the only listener there."""
    command = ["ss", "-ltnpeHO", f"sport = :{port}"]
    (line,) = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    inode, uid = re.search(r"ino:(\d+)", line), re.search(r"uid:(\d+)", line)
    assert inode is not None
    held = {(int(pid), int(fd)) for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", line)}
    return int(inode[1]), int(uid[1]) if uid else 0, held


def by_lsof(port: int) -> Held:
    command = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpf"]
    found, pid = set(), 0
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line.startswith("f"):
            found.add((pid, int(line[1:])))
    return found


def row_of(port: int, holders: int) -> dict[str, Any]:
    """Of `who`, once so many hold the listener, and as the others saw it before and after."""
    wait_until(lambda: _number(port) == holders, f"{holders} holders")
    before = by_ss(port)
    (row,) = rows_of("-p", str(port))
    assert (*before[:2], by_lsof(port)) == before == by_ss(port)
    assert (row["inode"], row["uid"]) == before[:2]
    assert {(one["pid"], one["fd"]) for one in row["holders"]} == before[2]
    return row


def _number(port: int) -> int:
    try:
        return len(by_ss(port)[2])
    except ValueError:  # nobody listens there yet
        return 0


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def test_workers_of_gunicorn_inherit_the_socket_of_their_master() -> None:
    needs("gunicorn")
    with Gunicorn(3) as server:
        row = row_of(server.port, 4)
        assert row["sharing"] == "shared"
        assert (row["way"], row["way_from"]) == ("inherited", server.master_pid)
        assert {one["pid"] for one in row["holders"]} == {
            server.master_pid,
            *server.worker_pids(),
        }


def test_a_reloaded_haproxy_hands_its_socket_to_the_new_worker() -> None:
    needs("haproxy")
    with (
        socket.create_server(("127.0.0.1", 0)) as behind,
        HAProxy(behind.getsockname()) as server,
    ):
        port = server.port
        (old,) = server.worker_pids()
        row = row_of(port, _number(port))
        holders = {one["pid"] for one in row["holders"]}
        assert row["sharing"] == "reuseport"  # which it sets, though it is alone
        assert old in holders <= {old, server.master_pid}
        new = server.reload()
        wait_until(lambda: old not in {pid for pid, _ in by_ss(port)[2]}, "the old one to close it")
        holders = {one["pid"] for one in row_of(port, _number(port))["holders"]}
        assert new in holders <= {new, server.master_pid}


def test_who_is_activated_holds_what_systemd_has_opened() -> None:
    needs("systemd-socket-activate")
    port = unused_port()
    address = f"127.0.0.1:{port}"
    with running("systemd-socket-activate", "--accept", "-l", address, "/bin/cat") as process:
        row = row_of(port, 1)
        assert (row["way"], row["way_from"]) == ("activated", process.pid)
    port = unused_port()
    with running("systemd-socket-activate", "-l", f"127.0.0.1:{port}", "/bin/sleep", "60") as one:
        assert row_of(port, 1)["way"] == "activated"
        with socket.create_connection(("127.0.0.1", port)):
            wait_until(lambda: Path(f"/proc/{one.pid}/comm").read_text() == "sleep\n", "sleep")
            row = row_of(port, 1)
        (holder,) = row["holders"]
        assert holder["pid"] == one.pid
        assert not holder["waits"]
        assert row["way"] in ("sole", None)


@pytest.mark.parametrize(("policy", "holders"), [("SCHED_RR", 1), ("SCHED_NONE", 3)])
def test_node_shares_a_socket_only_where_the_system_schedules(
    tmp_path: Path, policy: str, holders: int
) -> None:
    """By turns the primary accepts alone, and hands connections on."""
    needs("node")
    script, port = tmp_path / "cluster.js", unused_port()
    script.write_text(CLUSTER)
    with running(str(shutil.which("node")), str(script), str(port), policy) as primary:
        row = row_of(port, holders)
        pids = {one["pid"] for one in row["holders"]}
        assert primary.pid in pids
        waiting = {one["pid"] for one in row["holders"] if one["waits"]}
        assert waiting == (pids if holders == 1 else pids - {primary.pid})


def test_a_worker_that_is_stopped_is_named_with_what_waits_for_it() -> None:
    needs("nginx")
    with Nginx(2, reuseport=True) as nginx, ExitStack() as clients:
        stopped, other = nginx.worker_pids()
        os.kill(stopped, signal.SIGSTOP)
        try:
            for _ in range(CLIENTS):
                clients.enter_context(socket.create_connection(nginx.addresses[0]))
            wait_until(lambda: bool(diagnosed(nginx.port)), "one that waits for a second")
            waiting = [row for row in rows_of("-p", str(nginx.port)) if row["queue"]]
            (one,) = diagnosed(nginx.port)
        finally:
            os.kill(stopped, signal.SIGCONT)
    assert one["inodes"] == [row["inode"] for row in waiting]
    assert stopped in one["pids"]
    assert f"nginx: worker (pid {stopped}) STOPPED" in one["text"]
    assert f"(pid {other}) STOPPED" not in one["text"]
    states = {held["pid"]: held["stopped"] for held in waiting[0]["holders"]}
    assert (states[stopped], states[other]) == (True, False)


def diagnosed(port: int) -> list[dict[str, Any]]:
    """The findings of `who` that connections wait long."""
    found = told("-p", str(port))
    return [one for one in found if one.get("kind") == "WAITS LONG"]
