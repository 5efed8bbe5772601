"""`who` against listeners that are made for real, and against `ss`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from accepttrace.cli.who import who
from accepttrace.errors import UnsupportedError
from accepttrace.lab.nginx import Nginx
from accepttrace.lab.servers import Server
from accepttrace.probe.listing import ListenerIterator

from .clients import IPPROTO_MPTCP, drain, has_mptcp, inode_of, listen, port_of
from .conftest import wait_until
from .network import own_network
from .steering import LOAD_CPU, RETURN, steer_by, wants_cpu

NOBODY = 65534
TCP_FASTOPEN = 23
TCP_DEFER_ACCEPT = 9


def until(condition: Callable[[], bool]) -> None:
    """Wait for what `who` is to say."""
    wait_until(condition, "what who should say")


def told(*ports: int) -> list[dict[str, Any]]:
    """Every line of `who -o jsonl`."""
    result = CliRunner().invoke(who, ["-p", ",".join(map(str, ports)), "-o", "jsonl"])
    assert result.exit_code == 0
    return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]


def listeners(*ports: int) -> dict[int, dict[str, Any]]:
    """By inode."""
    return {line["inode"]: line for line in told(*ports) if line["type"] == "listener"}


def found(*ports: int) -> dict[str, dict[str, Any]]:
    """By its word, what is wrong."""
    return {line["kind"]: line for line in told(*ports) if line["type"] == "diagnosis"}


def ss_holders(port: int) -> set[tuple[int, int, int]]:
    """(inode, PID, descriptor) as `ss -ltnpe` shows them."""
    command = ["ss", "-HltnpeO", f"sport = :{port}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        (int(inode[1]), int(pid), int(fd))
        for line in lines.splitlines()
        if (inode := re.search(r"\bino:(\d+)", line))
        for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", line)
    }


def holders(port: int) -> set[tuple[int, int, int]]:
    """The same, as we show them."""
    rows = listeners(port).values()
    return {(row["inode"], one["pid"], one["fd"]) for row in rows for one in row["holders"]}


@contextmanager
def child(run: Callable[[], object], name: str = "", uid: int | None = None) -> Iterator[int]:
    """A forked process that does `run` and sleeps then, until the block ends."""
    ready, done = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            if name:
                Path("/proc/self/comm").write_text(name)
            if uid is not None:
                os.setuid(uid)
            kept = run()
            os.write(done, b".")
            signal.pause()
            del kept
        finally:
            os._exit(0)
    try:
        os.close(done)
        assert os.read(ready, 1) == b"."
        yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


STRANGER = """
import ctypes, os, signal, socket, sys
if os.fork():
    os._exit(0)
os.setsid()
how, uid, *more = sys.argv[1:]
if how == "sent":
    kept = socket.recv_fds(socket.socket(fileno=int(more[0])), 1, 1)[1]
else:
    pidfd = os.pidfd_open(int(more[0]))
    kept = [ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, int(more[1]), 0)]
    assert kept[0] >= 0, os.strerror(ctypes.get_errno())
os.setuid(int(uid))
print(os.getpid(), flush=True)
signal.pause()
"""


@contextmanager
def stranger(how: str, *more: int, uid: int = 0, give: tuple[int, ...] = ()) -> Iterator[int]:
    """A process of another session, whose parent has ended, that got a socket in this way."""
    words = [sys.executable, "-c", STRANGER, how, str(uid), *map(str, (*more, *give))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, pass_fds=give) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        try:
            process.wait(10)
            yield pid
        finally:
            os.kill(pid, signal.SIGKILL)


def by_bpf() -> None:
    """Skip where BPF shows nothing."""
    try:
        ListenerIterator().close()
    except (UnsupportedError, OSError) as error:
        pytest.skip(f"no BPF iterator over sockets: {error}")


def blocking(sock: socket.socket) -> None:
    """Accept for ever, in a thread: the process says before that it is there."""
    sock.setblocking(True)

    def accept() -> None:
        with suppress(OSError):  # it was shut down
            while True:
                sock.accept()[0].close()

    threading.Thread(target=accept, daemon=True).start()


def test_a_forked_socket_is_inherited_and_its_holders_are_those_of_ss() -> None:
    with listen(5) as sock, child(lambda: None) as one, child(lambda: None) as two:
        port = port_of(sock)
        (row,) = listeners(port).values()
        assert holders(port) == ss_holders(port)
        assert {pid for _, pid, _ in holders(port)} == {os.getpid(), one, two}
    assert (row["way"], row["way_from"], row["sharing"]) == ("inherited", os.getpid(), "shared")
    assert row["same_file"] is not False
    parents = {one["pid"]: one["parent"] for one in row["holders"]}
    assert parents[one] == parents[two] == os.getpid()
    assert all(one["uid"] == os.geteuid() and one["up_s"] < 3600 for one in row["holders"])


def test_a_socket_that_was_sent_to_a_stranger_or_taken_by_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, listen(5) as sock:
        port = port_of(sock)
        socket.send_fds(ours, [b"x"], [sock.fileno()])
        with stranger("sent", give=(theirs.fileno(),), uid=NOBODY) as pid:
            (row,) = listeners(port).values()
            assert holders(port) == ss_holders(port)
            assert (row["way"], row["way_strangers"]) == ("passed", [pid])
            (other,) = (one for one in row["holders"] if one["pid"] == pid)
            assert (other["uid"], other["user"]) == (NOBODY, "nobody")
        with stranger("taken", os.getpid(), sock.fileno()) as pid:
            (row,) = listeners(port).values()
            assert (row["way"], row["way_strangers"]) == ("passed", [pid])
            assert row["same_file"] is not False
            assert holders(port) == ss_holders(port)


def test_a_member_that_nobody_waits_on_swallows_its_part() -> None:
    with listen(64, reuseport=True) as dead:
        port = port_of(dead)
        with listen(64, port=port, reuseport=True) as live, child(lambda: blocking(live)) as pid:
            inodes = inode_of(dead), inode_of(live)
            for _ in range(40):
                socket.create_connection(("127.0.0.1", port)).close()
            # We hold both and are busy asking: at times that is all that is known of us.
            pictures: list[list[dict[str, Any]]] = []

            def is_seen() -> bool:
                pictures.append(told(port))
                return bool(pictures[-1][-1]["faults"] == 1)

            until(is_seen)
    lines = pictures[-1]
    rows = {one["inode"]: one for one in lines if one["type"] == "listener"}
    found = {one["kind"]: one for one in lines if one["type"] == "diagnosis"}
    # A machine may be busy for a second; and in some looks we are a worker as our child is.
    assert found.keys() <= {"NOBODY WAITS", "WAITS LONG", "NO MIGRATION"}
    wrong = found["NOBODY WAITS"]
    assert pid in {one["pid"] for one in rows[inodes[1]]["holders"] if one["waits"]}
    assert wrong["inodes"] == [inodes[0]]
    queue = rows[inodes[0]]["queue"]
    assert 0 < queue < 40
    assert f"{queue} now" in wrong["text"]
    assert "1 of 2 of the group" in wrong["text"]


def test_the_options_of_a_socket_are_those_that_were_set() -> None:
    by_bpf()
    with listen(7) as plain, listen(7, reuseport=True) as alone:
        wants_cpu(alone, 0)
        alone.setsockopt(socket.IPPROTO_TCP, TCP_DEFER_ACCEPT, 1)
        alone.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 5)
        rows = listeners(port_of(plain), port_of(alone))
        first, second = rows[inode_of(plain)], rows[inode_of(alone)]
    names = ("reuseport", "incoming_cpu", "defer_accept", "fast_open", "mptcp", "group_size")
    assert [first[name] for name in names] == [False, None, False, 0, False, None]
    assert [second[name] for name in names] == [True, 0, True, 5, False, 1]
    assert (first["backlog"], first["oldest_wait_us"]) == (7, None)


@pytest.mark.xfail(not has_mptcp(), run=False, reason="this kernel is built without MPTCP")
def test_mptcp_is_seen() -> None:
    by_bpf()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(3)
        (row,) = listeners(port_of(sock)).values()
    assert row["holders"][0]["pid"] == os.getpid()
    assert row["mptcp"] is True


@pytest.mark.xfail(not has_mptcp(), run=False, reason="this kernel is built without MPTCP")
def test_a_listener_of_the_kernel_is_nobodys_fault() -> None:
    by_bpf()
    with own_network():
        added = ["ip", "mptcp", "endpoint", "add", "127.0.0.1", "dev", "lo", "signal"]
        if subprocess.run([*added, "port", "8003"], capture_output=True).returncode:
            pytest.skip("MPTCP of this kernel does not listen by itself")
        with socket.create_server(("127.0.0.1", 8004)):
            ours, its = told(8004)[0], told(8003)[0]
            wrong = found(8003)
            shown = CliRunner().invoke(who, ["-p", "8003"]).output
    assert [(one["in_kernel"], len(one["holders"])) for one in (ours, its)] == [
        (False, 1),
        (True, 0),
    ]
    assert wrong == {}
    assert "    held by the kernel itself (NFS, SMB, MPTCP or another service of it)\n" in shown


def test_a_udp_socket_of_the_kernel_is_nobodys() -> None:
    by_bpf()
    with own_network():
        made = "ip link add v type vxlan id 1 dstport 8005 dev lo && ip link set v up"
        if subprocess.run(made, shell=True, capture_output=True).returncode:
            pytest.skip("this kernel has no VXLAN")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
            ours.bind(("127.0.0.1", 8006))
            lines = CliRunner().invoke(who, ["--udp", "8005-8006", "-o", "jsonl"]).output
            shown = CliRunner().invoke(who, ["--udp", "8005-8006"]).output
    rows = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    assert {(one["local_port"], one["in_kernel"], len(one["holders"])) for one in rows} >= {
        (8005, True, 0),
        (8006, False, 1),
    }
    assert "held by the kernel itself (VXLAN, WireGuard or another service of it)" in " ".join(
        shown.split()
    )


def test_who_is_stopped_in_accept_is_not_said_to_wait_for_nothing() -> None:
    def only(port: int) -> dict[str, Any]:
        ((one,),) = (row["holders"] for row in listeners(port).values())
        return dict(one)

    with listen(5) as sock, child(lambda: blocking(sock)) as pid:
        port = port_of(sock)
        sock.close()
        until(lambda: only(port)["waits"] is True)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: only(port)["stopped"])
        assert only(port)["waits"] is not False
        assert found(port) == {}


def test_the_oldest_waiting_has_waited_so_long() -> None:
    by_bpf()
    with listen(7) as sock, socket.create_connection(sock.getsockname()):
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 0.2)
        (row,) = listeners(port_of(sock)).values()
        waited_us = (time.monotonic() - began) * 1e6
    assert row["queue"] == 1
    assert 200_000 < row["oldest_wait_us"] < waited_us + 100_000


def test_reuseport_set_before_a_fork_is_one_socket() -> None:
    by_bpf()
    with listen(7, reuseport=True) as sock:
        port = port_of(sock)
        with child(lambda: blocking(sock)) as one, child(lambda: blocking(sock)) as two:
            until(lambda: found(port).get("ONE SOCKET", {}).get("pids") == sorted((one, two)))


def test_a_selector_of_an_older_group_never_picks_the_newest() -> None:
    by_bpf()
    with ExitStack() as stack:
        group = [stack.enter_context(listen(64, reuseport=True))]
        port = port_of(group[0])
        group += [stack.enter_context(listen(64, port=port, reuseport=True)) for _ in (1, 2)]
        steer_by(group[0], (LOAD_CPU, (0x94, 2), RETURN))
        for _ in range(30):
            socket.create_connection(("127.0.0.1", port)).close()
        wrong = found(port)["NEVER SELECTED"]
        members = {inode: row["member"] for inode, row in listeners(port).items()}
        taken = [drain(sock) for sock in group]
        inodes = [inode_of(sock) for sock in group]
    assert wrong["inodes"] == inodes[2:]
    assert "cpu modulo 2" in wrong["text"]
    assert members == {inode: place for place, inode in enumerate(inodes, 1)}
    assert (sum(taken), taken[2]) == (30, 0)


def serving(host: str, port: int, device: str = "") -> Callable[[], socket.socket]:
    def run() -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.bind((host, port))
        sock.listen(5)
        blocking(sock)
        return sock

    return run


def test_programs_and_users_beside_each_other_in_another_namespace() -> None:
    with (
        own_network(),
        child(serving("0.0.0.0", 8000), "four"),
        child(serving("::", 8000), "six", uid=NOBODY),
    ):
        netns = os.stat("/proc/thread-self/ns/net").st_ino
        until(lambda: all(one["holders"][0]["waits"] for one in listeners(8000).values()))
        rows, wrong = listeners(8000), found(8000)
        ours = {row["family"]: row for row in rows.values() if row["netns"] == netns}
        assert ours["ipv6"]["v6only"] is True
        assert (ours["ipv4"]["uid"], ours["ipv6"]["uid"]) == (0, NOBODY)
        assert {(i, p) for i, p, _ in holders(8000)} >= {(i, p) for i, p, _ in ss_holders(8000)}
        inside = CliRunner().invoke(who, ["-p", "8000"]).output
        with own_network():
            outside = CliRunner().invoke(who, ["--netns", str(netns)]).output
    assert f"0.0.0.0:8000  netns {netns}  inode " in outside
    assert "netns" not in inside.partition("note")[0]
    assert "IPv4 is served by four" in wrong["TWO PROGRAMS"]["text"]
    assert "root, nobody" in wrong["OTHER OWNER"]["text"]


def test_a_socket_bound_to_a_device_is_a_group_of_its_own() -> None:
    with own_network(), child(serving("0.0.0.0", 8001, "lo")):
        shown = CliRunner().invoke(who, ["-p", "8001"]).output
        (row,) = listeners(8001).values()
    assert row["device"] == "lo"
    assert "0.0.0.0%lo:8001  inode" in shown


def test_a_helper_that_inherited_the_listener_is_named() -> None:
    with listen(5) as sock:
        port = port_of(sock)
        blocking(sock)
        with subprocess.Popen(("sleep", "60"), pass_fds=(sock.fileno(),)) as helper:
            try:
                until(lambda: "HELPER HOLDS IT" in found(port))
                wrong = found(port)["HELPER HOLDS IT"]
            finally:
                helper.kill()
        sock.shutdown(socket.SHUT_RDWR)
    assert wrong["pids"] == [helper.pid]
    assert f"sleep (pid {helper.pid})" in wrong["text"]


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="not installed")
def test_socket_activation_before_the_first_connection() -> None:
    with listen(5) as free:
        port = port_of(free)
    words = ("systemd-socket-activate", "-l", f"127.0.0.1:{port}", "cat")
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: bool(listeners(port)))
            (row,) = listeners(port).values()
        finally:
            process.kill()
    assert (row["way"], row["way_from"]) == ("activated", process.pid)


def test_nginx_with_a_socket_for_each_worker_and_its_workers_without_it() -> None:
    with started(Nginx(workers=3, reuseport=True)) as nginx:
        until(lambda: waiting(nginx.port) == set(nginx.worker_pids()))
        assert holders(nginx.port) == ss_holders(nginx.port)
        rows = listeners(nginx.port).values()
        assert {row["way_from"] for row in rows} == {nginx.master_pid}
        assert not {word for word, one in found(nginx.port).items() if one["fault"]}
        lines = CliRunner().invoke(who, ["-p", str(nginx.port)]).output.splitlines()
        assert sum("nginx: worker" in line for line in lines) <= 3
        old = nginx.worker_pids()
        nginx.reload()
        until(lambda: waiting(nginx.port) == set(nginx.worker_pids()))
        assert not waiting(nginx.port) & set(old)
        left = nginx.worker_pids()
        os.kill(nginx.master_pid, signal.SIGKILL)
        try:
            until(lambda: "OLD WORKERS" in found(nginx.port))
            assert found(nginx.port)["OLD WORKERS"]["pids"] == sorted(left)
        finally:
            for pid in left:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("mode", ["reuseport", "epoll", "blocking", "threads"])
def test_nothing_is_wrong_with_a_healthy_server(mode: str) -> None:
    with Server(mode, workers=4) as server:
        workers = {count.pid for count in server.counts()}
        until(lambda: waiting(server.port) == workers)
        assert found(server.port) == {}
        assert holders(server.port) == ss_holders(server.port)
        lines = CliRunner().invoke(who, ["-p", str(server.port)]).output.splitlines()
    assert sum("lab worker" in line for line in lines) == 1


def started(nginx: Nginx) -> Nginx:
    """Skip where it is not installed."""
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed")
    return nginx


def waiting(port: int) -> set[int]:
    return {
        one["pid"] for row in listeners(port).values() for one in row["holders"] if one["waits"]
    }
