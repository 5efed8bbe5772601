"""Holders among strangers: what they do to be misread, or to keep the reader busy for ever."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Holder, Inventory
from accepttrace.sockets import helper as helper_module
from accepttrace.sockets import procfs
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.inventory import InventoryReader

from ..unit.forked import child, wait_until
from .processes import ACCEPTTRACE

LOOK_S = 2.0  # of one look, on a machine that does other things, too
EXIT_THREAD = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
Read = Callable[[socket.socket], Inventory]
BLOCKED = Path(__file__).with_name("mmaplock.c")


@pytest.fixture(params=["kernel", "proc"])
def read(request: pytest.FixtureRequest) -> Iterator[Read]:
    """By the kernel's own list of open files, and by reading /proc: one look at a listener."""
    iterator = open_iterator() if request.param == "kernel" else None
    if request.param == "kernel" and iterator is None:
        pytest.skip("BPF may not be used here")
    readers: dict[int, InventoryReader] = {}

    def look(sock: socket.socket) -> Inventory:
        port = sock.getsockname()[1]
        if port not in readers:
            readers[port] = InventoryReader(Filters(ports=frozenset({port})), iterator)
        return readers[port].read(full=True)

    yield look
    for reader in readers.values():
        reader.close()
    if iterator:
        iterator.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def holder(found: Inventory, pid: int) -> Holder | None:
    (row,) = found.listeners
    return next((each for each in row.holders if each.pid == pid), None)


def timed(read: Read, sock: socket.socket) -> tuple[float, Inventory]:
    began = time.monotonic()
    found = read(sock)
    return time.monotonic() - began, found


def test_nine_thousand_descriptors_of_a_set_of_nine_thousand_cost_no_time(
    read: Read, listener: socket.socket
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(9000, hard // 2 - 100)
    ready, announce = os.pipe()

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        epoll, other = select.epoll(), os.eventfd(0)
        for _ in range(count):
            epoll.register(os.dup(other), select.EPOLLIN)
        for _ in range(count):
            os.dup(epoll.fileno())
        os.write(announce, b"x")
        listener.accept()

    with child(run) as pid:
        os.read(ready, 1)
        assert timed(read, listener)[0] < LOOK_S
        wait_until(lambda: holder(read(listener), pid) is not None)


def test_a_long_command_line_is_read_no_further_than_a_name_needs() -> None:
    with subprocess.Popen(["sleep", "60", *["0" * 100_000] * 10]) as process:
        wait_until(lambda: procfs.cmdline(process.pid, process.pid) != ())
        words = procfs.cmdline(process.pid, process.pid)
        process.kill()
    assert words[:2] == ("sleep", "60")
    assert sum(map(len, words)) < procfs.CMDLINE_BYTES


def test_threads_whose_leader_has_ended_hold_what_they_hold(
    read: Read, listener: socket.socket
) -> None:
    def run() -> None:
        threading.Thread(target=listener.accept).start()
        ctypes.CDLL(None).syscall(EXIT_THREAD, 0)

    with child(run) as pid:
        wait_until(lambda: procfs.is_zombie(pid))
        wait_until(lambda: holder(read(listener), pid) is not None)
        wait_until(
            lambda: (h := holder(read(listener), pid)) is not None and h.waits_in == "accept"
        )


@pytest.mark.parametrize("threads", [1, 63, 200])
def test_one_thread_that_accepts_is_found_among_many(listener: socket.socket, threads: int) -> None:
    """More than /proc is read for: the wait queue names the one."""
    iterator = open_iterator()
    if iterator is None:
        pytest.skip("BPF may not be used here")

    def run() -> None:
        for _ in range(threads):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        listener.accept()

    reader = InventoryReader(Filters(ports=frozenset({listener.getsockname()[1]})), iterator)
    with iterator, child(run) as pid:
        wait_until(lambda: (h := holder(reader.read(), pid)) is not None and h.waits_in == "accept")
    reader.close()


def test_who_has_ended_hides_nothing(read: Read, listener: socket.socket) -> None:
    before = read(listener).unread
    pid = os.fork()
    if not pid:
        os._exit(0)
    try:
        wait_until(lambda: procfs.is_zombie(pid))
        found = read(listener)
    finally:
        os.waitpid(pid, 0)
    assert found.unread == before
    assert holder(found, pid) is None


NAMESPACE = """
import os, socket, sys, time
libc = __import__("ctypes").CDLL(None)
print("here", flush=True); sys.stdin.readline()
assert libc.unshare(0x40000000) == 0
s = socket.create_server(("127.0.0.1", 0)) if os.system("ip link set lo up") == 0 else None
if not os.fork(): os._exit(0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # it stays a zombie
print(s.getsockname()[1], flush=True); sys.stdin.readline()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of one's own needs root")
def test_who_moves_to_a_namespace_is_found_there_and_a_zombie_does_not_close_it(read: Read) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as here,
        subprocess.Popen(
            [sys.executable, "-c", NAMESPACE], stdin=-1, stdout=-1, text=True
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        read(here)
        process.stdin.write("\n")
        process.stdin.flush()
        port = int(process.stdout.readline())
        there = Listening(port)
        found = read(there)  # type: ignore[arg-type]
        inside = os.stat(f"/proc/{process.pid}/ns/net").st_ino
        rows = [(row.netns, [each.pid for each in row.holders]) for row in found.listeners]
        process.kill()
    assert (inside, [process.pid]) in rows


class Listening:
    """A port of somebody else, as a socket shows it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_a_helper_that_is_stuck_is_replaced() -> None:
    helper = Helper()
    began = time.monotonic()
    answers = list(helper.map(sleep, [0.0, 60.0, 0.001], began + 10))
    assert answers == [(0.0, 0.0), (60.0, None), (0.001, 0.001)]
    assert time.monotonic() - began < LOOK_S
    helper.close()


def test_a_helper_holds_none_of_our_descriptors() -> None:
    helper = Helper()
    with socket.socket() as mine:
        inode = os.fstat(mine.fileno()).st_ino
        ((_, found),) = helper.map(own_descriptors, [0], time.monotonic() + 10)
        helper.close()
    assert found is not None
    assert f"socket:[{inode}]" not in found
    assert len(found) <= 6  # null three times, two pipes, and the folder that was read


def own_descriptors(_: int) -> list[str]:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return links


@contextmanager
def blocked(folder: Path) -> Iterator[tuple[int, int]]:
    """(PID, port) of a process whose command line can be read by nobody."""
    program = folder / "mmaplock"
    built = subprocess.run(["cc", "-O1", "-pthread", "-o", program, BLOCKED], capture_output=True)
    if built.returncode:
        pytest.skip("there is no C compiler")
    # The server of the files must end as well: else nothing ends the one that waits for it.
    with subprocess.Popen([program], stdout=-1, text=True, start_new_session=True) as process:
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                pytest.xfail("FUSE is not to be had here")
            yield process.pid, int(line)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_command_line_that_never_comes_is_waited_for_once(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    class Counted(helper_module._Child):
        def __init__(self) -> None:
            made.append(self)
            super().__init__()

    monkeypatch.setattr(helper_module, "_Child", Counted)
    with blocked(tmp_path) as (pid, port):
        there = Listening(port)
        wait_until(lambda: cmdline_blocks(pid))
        seconds, found = timed(read, there)  # type: ignore[arg-type]
        assert seconds < LOOK_S
        read(there)  # type: ignore[arg-type]
        before = len(made)
        found = read(there)  # type: ignore[arg-type]
    assert len(made) == before
    (row,) = found.listeners
    assert [(each.pid, each.name) for each in row.holders] == [(pid, "mmaplock")]
    assert pid in {each.pid for each in found.unread}


def cmdline_blocks(pid: int) -> bool:
    helper = Helper()
    ((_, found),) = helper.map(command_line, [pid], time.monotonic() + 10)
    helper.close()
    return found is None


def command_line(pid: int) -> tuple[str, ...]:
    return procfs.cmdline(pid, pid)


def test_an_inherited_epoll_set_does_not_make_a_parent_a_worker(listener: socket.socket) -> None:
    iterator = open_iterator()
    if iterator is None:
        pytest.skip("BPF may not be used here")
    reader = InventoryReader(Filters(ports=frozenset({listener.getsockname()[1]})), iterator)
    source, sink = os.pipe()

    def run() -> None:
        epoll = select.epoll()
        epoll.register(listener.fileno(), select.EPOLLIN)
        worker = os.fork()
        if not worker:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            epoll.poll()
        os.write(sink, worker.to_bytes(4, "little"))
        signal.pause()

    def ways(found: Inventory) -> dict[int, str | bool | None]:
        return {h.pid: h.waits_in or h.waits for h in found.listeners[0].holders}

    with iterator, child(run) as parent:
        worker = int.from_bytes(os.read(source, 4), "little")
        expected = {parent: False, worker: "epoll"}
        wait_until(lambda: expected.items() <= ways(reader.read()).items())
    reader.close()


UNPRIVILEGED = 65534
_SERVE = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
listener.accept()
"""


def as_stranger(*command: str) -> subprocess.Popen[str]:
    """A process without any privilege; its program starts anew, so that /proc/PID is its own."""
    return subprocess.Popen(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        user=UNPRIVILEGED,
        group=UNPRIVILEGED,
        extra_groups=[],
    )


def test_without_privileges_ones_own_are_seen_and_the_others_named(
    listener: socket.socket,
) -> None:
    """Of the other's port it is not said that nobody is there."""
    if os.geteuid():
        pytest.skip("another user's processes need root")
    try:
        own = as_stranger(sys.executable, "-c", _SERVE)
    except PermissionError:
        pytest.skip("another user may not run this Python")
    with own:
        try:
            assert own.stdout is not None
            ports = int(own.stdout.readline()), listener.getsockname()[1]
            options = ("who", *map(str, ports), "-o", "jsonl")
            with as_stranger(*ACCEPTTRACE, *options) as asked:
                out, err = asked.communicate(timeout=60)
        finally:
            own.kill()
    rows = [json.loads(line) for line in out.splitlines()]
    held = {row["local_port"]: row["holders"] for row in rows if row["type"] == "listener"}
    assert [one["pid"] for one in held[ports[0]]] == [own.pid]
    assert held[ports[1]] == []
    unread = {one["pid"] for one in rows[-1]["unread"]}
    assert unread
    assert own.pid not in unread
    assert "processes could not be read (PID 1 " in err
