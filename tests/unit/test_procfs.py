"""Reading /proc: who holds a listener, and how real processes wait for connections."""

from __future__ import annotations

import ctypes
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from accepttrace.facts.records import NS_PER_TICK, TICKS_PER_S
from accepttrace.sockets import people, procfs, syscalls
from accepttrace.sockets.facts import NOT, UNKNOWN, Waiting
from accepttrace.sockets.fromproc import ProcSource
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.processes import Processes
from accepttrace.sockets.waiting import epoll_targets, observe

from .forked import child, wait_until

NO_PID = 1 << 23  # PID_MAX_LIMIT is half of it
KNOWN_MACHINE = pytest.mark.skipif(
    platform.machine() not in syscalls.NUMBERS, reason="system call numbers are not known here"
)


def sleep_in_epoll(sock: socket.socket, events: int = select.EPOLLIN) -> None:
    epoll = select.epoll()
    epoll.register(sock.fileno(), events)
    epoll.poll()


def sleep_in_poll(sock: socket.socket, events: int = select.POLLIN) -> None:
    poll = select.poll()
    poll.register(sock.fileno(), events)
    poll.poll()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def seen(pid: int, sock: socket.socket) -> Waiting:
    inode = os.fstat(sock.fileno()).st_ino
    sockets, epolls, _ = procfs.descriptors(pid)
    fds = [fd for fd, number in sockets.items() if number == inode]
    return observe(pid, {inode: fds}, epolls)[inode]


def by_proc() -> Processes:
    """Without the kernel's own list, as where BPF may not be used."""
    helper = Helper()
    return Processes(ProcSource(helper), helper)


def test_sockets_that_nobody_visible_holds_leave_nothing_behind() -> None:
    """Such as those of somebody who opens and closes them all the time."""
    processes = by_proc()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert {processes.holders(inode) for inode in range(10**6, 10**6 + 20_000)} == {()}
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


WAYS: dict[str, tuple[Callable[[socket.socket], object], Waiting]] = {
    "epoll": (sleep_in_epoll, Waiting(True, "epoll")),
    "exclusive": (lambda s: sleep_in_epoll(s, select.EPOLLIN | 1 << 28), Waiting(True, "epoll")),
    "accept": (lambda s: s.accept(), Waiting(True, "accept")),
    "poll": (sleep_in_poll, Waiting(True, "poll")),
    "select": (lambda s: select.select([s], [], []), Waiting(True, "select")),
    "parent": (lambda _: signal.pause(), NOT),
    "epoll of nothing": (lambda _: select.epoll().poll(), NOT),
    "epoll paused": (lambda s: sleep_in_epoll(s, 0), NOT),
    "poll paused": (lambda s: sleep_in_poll(s, 0), NOT),
    "select elsewhere": (lambda _: select.select([os.pipe()[0]], [], []), NOT),
    "busy": (lambda _: os.read(os.pipe()[0], 1), UNKNOWN),
}


@KNOWN_MACHINE
@pytest.mark.parametrize("way", WAYS)
def test_tells_how_a_process_waits(listener: socket.socket, way: str) -> None:
    run, expected = WAYS[way]
    with child(lambda: run(listener)) as pid:
        wait_until(lambda: procfs.text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] == "S")
        wait_until(lambda: seen(pid, listener) == expected)


@KNOWN_MACHINE
def test_one_thread_of_many_that_accepts_is_enough(listener: socket.socket) -> None:
    def run() -> None:
        for _ in range(3):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        threading.Thread(target=listener.accept, daemon=True).start()
        signal.pause()

    with child(run) as pid:
        wait_until(lambda: seen(pid, listener) == Waiting(True, "accept"))


def test_wchan_will_do_where_the_system_call_may_not_be_read(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = procfs.text

    def text(path: str) -> str:
        if path.endswith("/syscall"):  # as with yama's ptrace_scope=1, the default of Ubuntu
            raise PermissionError(1, "Operation not permitted")
        return real(path)

    inode = os.fstat(listener.fileno()).st_ino
    with child(listener.accept) as pid:
        wait_until(lambda: real(f"/proc/{pid}/wchan") in syscalls.ACCEPT_SYMBOLS)
        monkeypatch.setattr(procfs, "record", text)
        fds = [listener.fileno()]
        assert observe(pid, {inode: fds}, [])[inode] == Waiting(True, "accept")
        # With a second listener it could sleep on either.
        assert observe(pid, {inode: fds, 1: [99]}, [])[inode] == UNKNOWN


def test_takes_only_sockets_of_an_epoll_set() -> None:
    with socket.socket() as sock:
        device = os.minor(os.fstat(sock.fileno()).st_dev)
    line = "tfd:        5 events:       19 data:                5  pos:0 ino:{} sdev:{:x}\n"
    text = line.format("1b98", device) + line.format("1b99", device + 1)
    assert epoll_targets(text) == {0x1B98}


def test_a_vanished_process_is_unknown() -> None:
    assert observe(999_999_999, {1: [3]}, [4]) == {1: UNKNOWN}


def test_comm_may_hold_spaces_and_parentheses() -> None:
    def run() -> None:
        libc = ctypes.CDLL(None)
        libc.prctl(15, b"a) R (b 1 2", 0, 0, 0)  # PR_SET_NAME
        signal.pause()

    _, own_start = procfs.stat(os.getpid())
    with child(run) as pid:
        wait_until(lambda: procfs.stat(pid)[0] == "a) R (b 1 2")
        start = procfs.stat(pid)[1]
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert own_start <= start <= uptime * os.sysconf("SC_CLK_TCK")


def test_knows_itself() -> None:
    pid = os.getpid()
    with closing(Helper()) as helper:
        me = people.People(helper).process(pid)
    assert me is not None
    assert me.name == procfs.name((pid, pid, me.comm))
    assert me.comm == procfs.text("/proc/self/comm").rstrip("\n")
    assert me.cgroup
    assert me.ns_pid == os.getpid()
    assert procfs.netns(f"/proc/{pid}/ns/net") == os.stat("/proc/self/ns/net").st_ino


def test_a_holder_counts_as_waiting_once_it_was_seen_to_wait(listener: socket.socket) -> None:
    inode = os.fstat(listener.fileno()).st_ino

    def run() -> None:
        peer, _ = listener.accept()
        peer.recv(1)  # serves, for as long as the test wants

    processes = by_proc()

    def waits(pid: int) -> bool | None:
        processes.refresh([inode], full=False)
        return next(h.waits for h in processes.holders(inode) if h.pid == pid)

    with child(run) as pid:
        wait_until(lambda: waits(pid) is True)
        with socket.create_connection(listener.getsockname()):
            wait_until(lambda: seen(pid, listener) == UNKNOWN)
            assert waits(pid) is True
            processes.refresh([inode], full=True)
            assert waits(pid) is True


def test_a_refresh_sees_births_and_deaths(listener: socket.socket) -> None:
    inode = os.fstat(listener.fileno()).st_ino
    processes = by_proc()

    def pids() -> set[int]:
        processes.refresh([inode], full=False)
        return {holder.pid for holder in processes.holders(inode)}

    assert pids() == {os.getpid()}
    with child(signal.pause) as pid:
        assert pids() == {os.getpid(), pid}
        found = processes.process(pid)
        assert found
        assert found.name == processes.holders(inode)[0].name
    assert pids() == {os.getpid()}
    assert processes.process(pid) is None


def test_a_light_refresh_sees_that_a_young_process_closed_it(listener: socket.socket) -> None:
    inode = os.fstat(listener.fileno()).st_ino
    go_read, go = os.pipe()

    def run() -> None:
        os.read(go_read, 1)
        listener.close()
        signal.pause()

    processes = by_proc()
    with child(run) as pid:
        processes.refresh([inode], full=False)
        assert pid in {holder.pid for holder in processes.holders(inode)}
        os.write(go, b"x")

        def closed() -> bool:
            processes.refresh([inode], full=False)
            return pid not in {holder.pid for holder in processes.holders(inode)}

        wait_until(closed)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_other_users_make_it_partial() -> None:
    code = (
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from tests.unit.test_procfs import by_proc\n"
        "p = by_proc(); p.refresh([1], False); print(bool(p.unread), p.process(1).comm != '')"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import accepttrace.sockets.processes\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "True"]


def test_a_file_is_read_to_its_end_or_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "file", os.read
    path.write_bytes(b"0123456789")
    for most in (10, 3):  # some files come in pieces
        monkeypatch.setattr(os, "read", lambda fd, n, most=most: real(fd, min(n, most)))
        shown = [procfs.text(str(path), limit) for limit in (4, 9, 10, 11)]
        assert shown == ["0123", "012345678", "0123456789", "0123456789"]


def test_a_folder_is_read_to_its_limit(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    assert [len(procfs.names(str(tmp_path), limit)) for limit in (2, 3, 4)] == [2, 3, 3]


@pytest.mark.parametrize(
    ("flags", "is_one"), [(0x200000, True), (0x208040, True), (0x400140, False), (0x1, False)]
)
def test_a_thread_of_the_kernel_is_known_by_its_flag(
    flags: int, is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "record", lambda _: f"7 (w) S 2 0 0 0 -1 {flags} 9 9")
    assert procfs.is_kernel_thread(7) is is_one


def test_ticks_are_those_of_this_machine() -> None:
    assert os.sysconf("SC_CLK_TCK") == TICKS_PER_S
    assert TICKS_PER_S * NS_PER_TICK == 1_000_000_000


def test_all_descriptors_are_read_where_there_is_room_for_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = len(os.listdir("/proc/self/fd"))
    found = []
    for room in (number - 1, number, number + 1):
        monkeypatch.setattr(procfs, "DESCRIPTORS_READ", room)
        found.append(procfs.descriptors(os.getpid())[2])
    assert found == [False, False, True]


def test_a_descriptor_is_looked_at_for_its_socket() -> None:
    with socket.socket() as sock:
        pid, fd = os.getpid(), sock.fileno()
        assert procfs.socket_at(pid, pid, fd) == os.fstat(fd).st_ino


@pytest.mark.parametrize(
    ("status", "pid"), [("Pid:\t70\nNSpid:\t70\t12\t3\nx: 4\n", 3), ("Pid:\t7\n", None)]
)
def test_the_pid_in_a_container_is_the_innermost(
    status: str, pid: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "record", lambda _: status)
    assert procfs.ns_pid(NO_PID) == pid


@pytest.mark.parametrize(("seen", "is_read"), [([], False), ([7], True)])
def test_a_process_beside_us_has_one_pid_unless_proc_shows_another_namespace(
    seen: list[int], is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.getpid()
    procfs._shown_pidns.cache_clear()
    monkeypatch.setattr(procfs, "_ns_pids", lambda _: [str(one) for one in seen or [pid]])
    try:
        procfs._shown_pidns()
        monkeypatch.setattr(procfs, "_ns_pids", lambda _: ["3"])
        assert procfs.ns_pid(pid) == (3 if is_read else pid)
    finally:
        procfs._shown_pidns.cache_clear()


def test_a_process_whose_leader_has_ended_has_another_thread() -> None:
    assert procfs.living_thread(os.getpid()) is None
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert procfs.living_thread(os.getpid()) == thread.native_id
    done.set()
    thread.join()


def test_another_thread_may_have_a_lower_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "names", lambda _, __: ["9", "7"])
    assert procfs.living_thread(9) == 7


def test_a_name_is_looked_for_in_some_generations_of_parents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each process but 90 was started anew by its parent, whose PID is one higher."""
    spawned = ("python3", "-c", "from multiprocessing.spawn import spawn_main", "more")
    programs = dict.fromkeys(range(80, 91), "/usr/bin/python3")
    monkeypatch.setattr(
        procfs, "cmdline", lambda pid, _: ("python3", "shop.py") if pid == 90 else spawned
    )
    monkeypatch.setattr(procfs, "stat", lambda pid: ("python3", pid))
    monkeypatch.setattr(
        procfs, "record", lambda path: f"1 (a) b) S {int(path.split('/')[2]) + 1} 9"
    )
    monkeypatch.setattr(os, "readlink", lambda path: programs[int(path.split("/")[2])])
    names = {pid: procfs.name((pid, pid, "python3")) for pid in (85, 86, 89, 90)}
    assert names == {85: "python3", 86: "shop.py", 89: "shop.py", 90: "shop.py"}
    for other in ("/usr/bin/other", "/usr/bin/python3.1"):
        programs[90] = other
        assert procfs.name((89, 89, "python3")) == "python3"
