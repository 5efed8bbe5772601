"""How a process waits, as it shows itself: system calls, epoll sets, UNIX sockets."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from accepttrace.sockets import procfs, syscalls, unixsockets, waiting
from accepttrace.sockets.facts import NOT, UNKNOWN, Waiting

from .forked import child, wait_until, wait_until_it_is

ACCEPT, EPOLL = Waiting(True, "accept"), Waiting(True, "epoll")
ME = os.getpid()
KNOWN_MACHINE = pytest.mark.skipif(
    os.uname().machine not in syscalls.NUMBERS, reason="its system calls are not known"
)
POLLFD = struct.Struct("=ihh")


def test_poll_waits_for_input_alone() -> None:
    entries = [(5, 0x1, 0), (6, 0x40, 0), (7, 0x4, 0x1), (8, 0x2 | 0x8 | 0x10, 0)]
    entries += [(300, 0x45, 0), (1 << 24, 0x1, 0)]
    data = b"".join(POLLFD.pack(*entry) for entry in entries)
    assert syscalls.poll_list(data) == {5, 6, 300, 1 << 24}
    assert syscalls.poll_list(b"") == frozenset()
    assert syscalls.poll_list(data, ~syscalls.POLL_INPUT) == {7, 8, 300}
    assert syscalls.poll_list(POLLFD.pack(-1, 1, 0)) == frozenset()


def test_select_waits_for_those_whose_bits_are_set() -> None:
    bits = (1 << 0 | 1 << 8 | 1 << 63 | 1 << 64).to_bytes(16, "little")
    for count, fds in ((65, {0, 8, 63, 64}), (64, {0, 8, 63}), (8, {0}), (1, {0}), (0, set())):
        assert syscalls.select_list(bits, count) == fds


def on(call: syscalls.Call, *fds: int) -> syscalls.Sleep:
    return syscalls.Sleep(call, frozenset(fds))


class Task:
    """A thread whose system call and memory the test invents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sleeps(self, line: str, memory: bytes = b"") -> syscalls.Sleep | None:
        (self.folder / "syscall").write_text(line)
        (self.folder / "mem").write_bytes(memory)
        return syscalls.sleep_of(str(self.folder))


@KNOWN_MACHINE
def test_a_call_is_decoded_with_its_descriptors(tmp_path: Path) -> None:
    calls = {call: numbers[0] for call, numbers in syscalls.NUMBERS[os.uname().machine].items()}
    task, rest = Task(tmp_path), "0x0 0x0 0x0 0x7ffc 0x7f\n"
    accept = f"{calls['accept']} 0xffffffff00000005 0x0 {rest}"
    assert task.sleeps(accept) == on("accept", 5)
    memory = bytes(3) + POLLFD.pack(9, 1, 0) + POLLFD.pack(4, 1, 0) + POLLFD.pack(3, 1, 0)
    assert task.sleeps(f"{calls['poll']} 0x3 0x2 {rest}", memory) == on("poll", 4, 9)
    assert task.sleeps(f"{calls['poll']} 0x3 0x3 {rest}", memory) == on("poll", 3, 4, 9)
    assert task.sleeps(f"{calls['poll']} 0x3 0x4 {rest}", memory) is None  # not all is there
    assert task.sleeps(f"{calls['poll']} 0x0 0x4 {rest}", memory) == on("poll")
    assert task.sleeps(f"{calls['poll']} 0x3 0x0 {rest}", memory) == on("poll")
    fds = b"-" + (1 << 3 | 1 << 8 | 1 << 9).to_bytes(2, "little")
    assert task.sleeps(f"{calls['select']} 0x9 0x1 {rest}", fds) == on("select", 3, 8)
    assert task.sleeps(f"{calls['select']} 0x8 0x1 {rest}", fds[:2]) == on("select", 3)
    assert task.sleeps(f"{calls['select']} 0x9 0x1 {rest}", fds[:2]) is None
    assert task.sleeps(f"{calls['elsewhere']} 0x9 0x1 {rest}") == syscalls.NOWHERE
    for line in ("running\n", "-1 0x7ffc 0x7f\n", f"0 0x3 0x1 {rest}"):
        assert task.sleeps(line) is None
    for size, found in ((1024, on("poll", 0)), (1025, None)):
        data = b"-" + POLLFD.pack(0, 1, 0) * size
        assert task.sleeps(f"{calls['poll']} 0x1 {size:#x} {rest}", data) == found
    data = b"-\1" + bytes(8191) + b"\1"
    for count, asleep in ((65536, on("select", 0)), (65537, None)):
        assert task.sleeps(f"{calls['select']} {count:#x} 0x1 {rest}", data) == asleep


@KNOWN_MACHINE
@pytest.mark.parametrize("error", [OSError(errno.EIO, "not mapped"), PermissionError(1, "no")])
def test_memory_that_cannot_be_read_leaves_the_call_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(*_: object) -> bytes:
        raise error

    poll = syscalls.NUMBERS[os.uname().machine]["poll"][0]
    (tmp_path / "wchan").write_text("inet_csk_accept")
    monkeypatch.setattr(os, "pread", fail)
    found = Task(tmp_path).sleeps(f"{poll} 0x1 0x1 0x0\n", bytes(9))
    # The symbol is asked for where the system call may not be looked at.
    assert found == (syscalls.Sleep("accept", None) if error.errno == errno.EPERM else None)


@KNOWN_MACHINE
def test_a_list_of_a_thread_that_has_moved_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = syscalls.NUMBERS[os.uname().machine]["accept"][0]
    lines = [f"{number} 0x5 0x0\n", f"{number} 0x6 0x0\n"]
    monkeypatch.setattr(procfs, "record", lambda _: lines.pop(0))
    assert syscalls.sleep_of(str(tmp_path)) is None


def test_a_process_of_very_many_threads_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"{next(iter(syscalls.CALLS), 0)} 0x0\n"
    monkeypatch.setattr(procfs, "record", lambda _: line)
    found = []
    monkeypatch.setattr(procfs, "is_stopped", lambda _: False)
    for number in (syscalls.THREADS_READ, syscalls.THREADS_READ + 1):
        threads = [str(n) for n in range(number)]
        monkeypatch.setattr(procfs, "names", lambda _, limit, t=threads: t[:limit])
        found.append(syscalls.rest_of((1, frozenset())).idle)
    assert found == [bool(syscalls.CALLS), False]


DEVICE = waiting._socket_device()


def targets(*entries: tuple[int, int]) -> str:
    """Lines of an epoll set: events and inode."""
    lines = [
        f"tfd: {n:8} events: {events:8x} data: {n:16x}  pos:0 ino:{inode:x} sdev:{DEVICE:x}\n"
        for n, (events, inode) in enumerate(entries)
    ]
    return "pos:\t0\nflags:\t02\n" + "".join(lines)


def test_an_epoll_set_waits_for_input_or_is_about_to() -> None:
    entries = [(0x1, 1), (0x40, 2), (1 << 30, 3), (0x19, 4), (0x4 | 0x8 | 1 << 28, 5), (0, 6)]
    assert waiting.epoll_targets(targets(*entries)) == {1, 2, 3, 4}


def test_numbers_of_an_epoll_set_are_hexadecimal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_socket_device", lambda: 0x1A)
    line = "tfd: 5 events: {} data: 5  pos:0 ino:{} sdev:{}\n"
    entries = (("1", "1f", "1a"), ("1", "2f", "10"), ("10", "3f", "1a"))
    assert waiting.epoll_targets("".join(line.format(*entry) for entry in entries)) == {0x1F}


def test_sets_are_read_until_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not read may have the others."""
    texts = {4: targets((1, 7)), 5: targets((1, 8)), 6: targets((1, 9))}
    size = len(texts[4])
    limits: list[int] = []

    def text(path: str, limit: int = 0) -> str:
        fd = int(path.rsplit("/", 1)[1])
        if fd == 3:
            raise FileNotFoundError
        limits.append(limit)
        return texts[fd][:limit]

    monkeypatch.setattr(procfs, "text", text)
    monkeypatch.setattr(waiting, "_sleeping", lambda *_: [])
    held = {7: [1], 8: [1], 9: [1], 10: [1]}
    for room, known in ((3 * size + 1, 3), (3 * size, 3), (2 * size, 2), (2 * size - 12, 1)):
        monkeypatch.setattr(waiting, "SETS_BYTES", room)
        limits.clear()
        found = waiting.observe(1, held, [3, 4, 5, 6])
        said = [found[inode] for inode in held]
        rest = NOT if room > 3 * size else UNKNOWN
        assert said == [EPOLL] * known + [rest] * (4 - known)
        assert limits[:2] == [room, room - size]


def sleeping(*calls: syscalls.Sleep | None) -> Any:
    return lambda *_: list(calls)


def test_the_first_thread_that_waits_on_a_listener_says_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept, somewhere = syscalls.Sleep("accept", frozenset({3})), syscalls.Sleep("accept", None)
    poll = syscalls.Sleep("poll", frozenset({3, 4}))
    away = syscalls.NOWHERE
    for calls, held, said in (
        ([away, poll, accept], {7: [3]}, {7: Waiting(True, "poll")}),
        ([accept, poll], {7: [3], 8: [4, 5]}, {7: ACCEPT, 8: Waiting(True, "poll")}),
        ([away, accept], {8: [4]}, {8: NOT}),
        ([None, accept], {8: [4]}, {8: UNKNOWN}),
        ([somewhere], {8: [4]}, {8: ACCEPT}),
        ([somewhere], {8: [4], 9: [5]}, {8: UNKNOWN, 9: UNKNOWN}),
        ([], {8: [4]}, {8: NOT}),
    ):
        monkeypatch.setattr(waiting, "_sleeping", sleeping(*calls))
        assert waiting.observe(ME, held, []) == said
    monkeypatch.setattr(waiting, "_sleeping", lambda *_: None)
    assert waiting.observe(ME, {8: [4]}, []) == {8: UNKNOWN}


def test_who_polls_a_client_alone_may_be_busy_with_it() -> None:
    near, far = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as sock, near, far:
        held = {8: [sock.fileno()]}
        for polled, said in (([near], UNKNOWN), ([near, sock], Waiting(True, "select")), ([], NOT)):
            with child(lambda polled=polled: select.select(polled, [], [])) as pid:  # type: ignore[misc]
                wait_until(lambda: syscalls.sleep_of(f"/proc/{pid}/task/{pid}") is not None)
                wait_until_it_is({8: said}, partial(waiting.observe, pid, held, []))


def test_whose_epoll_sets_may_not_be_read_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise PermissionError

    monkeypatch.setattr(waiting, "_sleeping", sleeping(syscalls.NOWHERE))
    assert waiting.observe(ME, {8: [4]}, []) == {8: NOT}
    monkeypatch.setattr(procfs, "text", refuse)
    assert waiting.observe(ME, {8: [4]}, [3]) == {8: UNKNOWN}


def test_who_has_very_many_threads_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "sleep_of", lambda _: syscalls.NOWHERE)
    for number, said in ((waiting.THREADS_READ, NOT), (waiting.THREADS_READ + 1, UNKNOWN)):
        threads = [str(n) for n in range(number)]
        monkeypatch.setattr(procfs, "names", lambda _, limit, t=threads: t[:limit])
        assert waiting.observe(ME, {8: [4]}, []) == {8: said}


TABLE = """Num       RefCount Protocol Flags    Type St Inode Path
0000: 00000002 00000000 00010000 0001 01 100 /run/one
0000: 00000002 00000000 00000000 0001 01 101 /run/connected
0000: 00000002 00000000 00000001 0001 01 104 /run/other
0000: 00000002 00000000 00030000 0001 01 102
0000: 00000002 00000000 00010000 0001 01 103 @x y
0000: 00000002 00000000 00010000 0001 01 100 /forged
"""


def test_unix_sockets_that_listen_have_a_name_or_none() -> None:
    assert unixsockets.listening(TABLE) == {100: "/run/one", 102: "(no name)", 103: "@x y"}


def test_unix_sockets_of_some_processes_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {1: {4: 100, 5: 999}, 2: {3: 102, 4: 100}, 16: {3: 103}}
    monkeypatch.setattr(
        procfs, "descriptors", lambda pid: (held.get(pid, {}), [], True) if pid < 17 else 1 / 0
    )
    monkeypatch.setattr(procfs, "text", lambda _, __: TABLE)
    assert unixsockets.unix_listeners([2]) == ("(no name)", "/run/one")
    assert unixsockets.unix_listeners(range(17, 0, -1)) == ("(no name)", "/run/one", "@x y")
