"""Who waits, over many looks; names that come late; network namespaces that come and go."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts.records import NS_PER_TICK, Unread
from accepttrace.probe.holders import EpollSet, Waiter, Waiters, Way
from accepttrace.sockets import fromproc, namespaces, procfs, syscalls, unixsockets
from accepttrace.sockets.facts import NOT, UNKNOWN, Facts, Waiting
from accepttrace.sockets.fromproc import ProcSource
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.namespaces import FULL_EVERY_S, Namespaces, ask_all
from accepttrace.sockets.people import FRESH_S, NAMES_S, SILENT_S, YOUNG_S, People
from accepttrace.sockets.processes import LATELY_S, PAUSE_S, Processes
from accepttrace.sockets.queues import Queues

from .forked import child, wait_until

ACCEPT, EPOLL = Waiting(True, "accept"), Waiting(True, "epoll")
ME = os.getpid()


class Clock:
    """time.monotonic() as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Answers:
    """A source that says what it was told to."""

    unread: tuple[Unread, ...] = ()

    def __init__(self) -> None:
        self.found: dict[int, Facts] = {}
        self.asleep: set[int] = set()
        self.asked: list[list[int]] = []

    def facts(self, inodes: Collection[int], full: bool = False) -> dict[int, Facts]:  # noqa: ARG002
        return self.found

    def idle(self, pids: Collection[int]) -> set[int]:
        self.asked.append(sorted(pids))
        return self.asleep.intersection(pids)


class Shown:
    """One process that holds socket 7, look after look."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.source = clock, Answers()
        self.processes = Processes(self.source, Helper())

    def look(self, way: Waiting, at_s: float, *, start: int = 5, fd: int = 3) -> Waiting:
        """What is said of it after a look at `at_s` that shows `way`."""
        self._clock.now = 1000.0 + at_s
        self.source.found = {ME: Facts(ME, ME, start, "w", {7: fd}, {7: way}, sure=True)}
        self.processes.refresh([7])
        ((holder,),) = (self.processes.holders(7),)
        return Waiting(holder.waits, holder.waits_in)


def test_who_waited_lately_still_waits_while_busy(clock: Clock) -> None:
    shown = Shown(clock)
    assert [shown.look(UNKNOWN, at) for at in (0, 1)] == [UNKNOWN, UNKNOWN]
    assert [shown.look(ACCEPT, at) for at in (2, 3)] == [ACCEPT, ACCEPT]
    # The last time it was seen to wait was 3 s.
    for at_s, said in ((4, ACCEPT), (3 + LATELY_S - 0.1, ACCEPT), (3 + LATELY_S, UNKNOWN)):
        assert shown.look(UNKNOWN, at_s) == said
    assert shown.look(EPOLL, 100) == EPOLL


def test_who_sleeps_in_something_else_waits_no_more_after_a_pause(clock: Clock) -> None:
    shown = Shown(clock)
    assert shown.look(NOT, 0) == NOT
    assert shown.look(UNKNOWN, 1) == NOT
    assert shown.look(ACCEPT, 10) == ACCEPT
    for at_s, said in ((11, ACCEPT), (10 + PAUSE_S - 0.1, ACCEPT), (10 + PAUSE_S, NOT)):
        assert shown.look(NOT, at_s) == said


def test_one_that_waits_in_another_way_is_said_to(clock: Clock) -> None:
    shown = Shown(clock)
    assert [shown.look(way, at) for at, way in enumerate((ACCEPT, EPOLL, ACCEPT))] == [
        ACCEPT,
        EPOLL,
        ACCEPT,
    ]


def test_a_process_with_the_pid_of_another_has_no_past(clock: Clock) -> None:
    shown = Shown(clock)
    assert shown.look(ACCEPT, 0) == ACCEPT
    assert shown.look(UNKNOWN, 1) == ACCEPT
    assert shown.look(UNKNOWN, 2, start=6) == UNKNOWN
    assert shown.processes.holders(7)[0].start_ticks == 6


def test_a_new_descriptor_is_shown(clock: Clock) -> None:
    shown = Shown(clock)
    shown.look(ACCEPT, 0)
    shown.look(ACCEPT, 1, fd=9)
    assert [holder.fd for holder in shown.processes.holders(7)] == [9]


def test_how_threads_sleep_is_asked_where_the_queue_leaves_it_open(clock: Clock) -> None:
    shown = Shown(clock)
    shown.look(ACCEPT, 0)
    assert shown.source.asked == []
    shown.source.asleep = {ME}
    assert shown.look(UNKNOWN, 1) == ACCEPT  # asleep elsewhere, and not for long
    assert shown.look(UNKNOWN, PAUSE_S) == NOT
    assert shown.source.asked == [[ME]] * 2


def test_who_lets_go_of_a_socket_holds_it_no_more(clock: Clock) -> None:  # noqa: ARG001
    source = Answers()
    processes = Processes(source, Helper())
    both = Facts(ME, ME, 5, "w", {7: 3, 8: 4}, {7: ACCEPT, 8: ACCEPT}, sure=True)
    source.found = {ME: both}
    processes.refresh([7, 8])
    source.found = {ME: Facts(ME, ME, 5, "w", {8: 4}, {8: ACCEPT}, sure=True)}
    processes.refresh([7, 8])
    assert [len(processes.holders(inode)) for inode in (7, 8)] == [0, 1]
    source.found = {}
    processes.refresh([7, 8])
    assert processes.holders(8) == ()


class Speaker:
    """In place of a Helper: answers with names, or not at all; `asked`: whom it was asked for."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.asked: list[int] = []
        self.until_s = 0.0

    def map(
        self, _: object, whom: Collection[tuple[int, int, str]], until_s: float
    ) -> Iterator[tuple[tuple[int, int, str], str | None]]:
        self.until_s = until_s
        for who in whom:
            self.asked.append(who[0])
            yield who, self.names.get(who[0])

    @property
    def people(self) -> People:
        return People(cast("Helper", self))


def old(comm: str = "w") -> Facts:
    """Of this process, which is not young."""
    return Facts(ME, ME, 1, comm, {}, {}, sure=True)


def test_a_name_is_read_again_after_a_while_and_when_comm_changes(clock: Clock) -> None:
    speaker = Speaker()
    speaker.names = {ME: "worker"}
    people = speaker.people
    assert people.meet([old()])[ME].name == "worker"
    assert speaker.until_s == clock.now + NAMES_S
    for later_s, asked in ((0, 1), (FRESH_S - 0.1, 1), (0.1, 2), (1, 2)):
        clock.now += later_s
        people.meet([old()])
        assert len(speaker.asked) == asked
    assert people.meet([old("other")])[ME].comm == "other"
    assert len(speaker.asked) == 3
    assert people.unread == ()


def test_a_young_process_is_asked_at_every_look(clock: Clock) -> None:
    speaker = Speaker()
    speaker.names = {ME: "worker"}
    people = speaker.people
    ticks = (time.clock_gettime(time.CLOCK_BOOTTIME) - YOUNG_S + 2) * procfs.TICKS_PER_S
    for _ in range(3):
        clock.now += 0.1
        people.meet([Facts(ME, ME, int(ticks), "w", {}, {}, sure=True)])
    assert len(speaker.asked) == 3


def test_who_is_silent_goes_by_comm_and_is_asked_ever_later(clock: Clock) -> None:
    speaker = Speaker()
    people = speaker.people
    asked_at, began = [], clock.now
    for second in range(0, 500, 5):
        clock.now = began + second
        before = len(speaker.asked)
        assert people.meet([old()])[ME].name == "w"
        asked_at += [second] * (len(speaker.asked) - before)
    assert asked_at == [0, SILENT_S, 3 * SILENT_S, 7 * SILENT_S]
    assert people.unread == (Unread("w", "its command line does not come", ME, holders=False),)
    speaker.names = {ME: "worker"}
    clock.now += 20 * SILENT_S
    assert people.meet([old()])[ME].name == "worker"
    assert people.unread == ()


def test_any_process_has_a_name_and_who_is_gone_none() -> None:
    speaker = Speaker()
    people = speaker.people
    found = people.process(ME)
    comm, start = procfs.stat(ME)
    assert found
    assert (found.pid, found.comm, found.name, found.start_ticks) == (ME, comm, comm, start)
    assert people.process(999_999_999) is None
    speaker.names = {ME: "worker"}
    named = people.process(ME)
    assert named
    assert named.name == "worker"


def test_of_several_owners_of_an_epoll_set_the_sleepers_wait() -> None:
    def waiting(way: Way, who: int, *, asks: bool = True) -> Waiter:
        return Waiter(way, who, False, asks)

    queues = Queues()
    queue = Waiters((waiting("epoll", 70), waiting("epoll", 71, asks=False)), True)
    asleep, awake = EpollSet(4, 70, True), EpollSet(4, 70, False)
    paused = EpollSet(5, 71, True)
    queues.update({7: queue, 8: Waiters((waiting("call", 4),), False)}, {1: [asleep], 2: [awake]})
    assert queues.waiting(1, 7, [asleep]) == EPOLL
    assert queues.waiting(2, 7, [awake]) == UNKNOWN  # a parent leaves its set to its children
    assert queues.waiting(3, 7, [paused]) == NOT
    assert queues.waiting(3, 7, []) == UNKNOWN
    assert (queues.waiting(4, 8, []), queues.waiting(4, 9, [])) == (ACCEPT, UNKNOWN)
    assert [queues.complete(inode) for inode in (7, 8, 9)] == [True, False, False]
    assert queues.owners_changed
    assert queues.update({7: queue}, {2: [awake]}) == {8}
    assert queues.waiting(2, 7, [awake]) == EPOLL  # its own alone
    assert queues.owners_changed
    assert queues.update({7: queue}, {2: [awake]}) == set()
    assert not queues.owners_changed


def test_a_process_is_idle_where_all_its_threads_sleep_in_a_known_call() -> None:
    with child(signal.pause) as pid:
        wait_until(lambda: syscalls.is_idle(pid))
    read, write = os.pipe()
    with child(lambda: os.read(read, 1)) as pid:
        wait_until(lambda: procfs.text(f"/proc/{pid}/syscall").split()[0].isdigit())
        assert not syscalls.is_idle(pid)
    os.close(read)
    os.close(write)
    with pytest.raises(OSError, match="No such"):
        syscalls.is_idle(999_999_999)


SLEEPS = {
    "accept": ["accept", "accept4"],
    "poll": ["poll", "ppoll"],
    "select": ["select", "pselect6"],
    "elsewhere": [
        *("epoll_wait", "epoll_pwait", "epoll_pwait2", "pause", "wait4", "waitid"),
        *("rt_sigsuspend", "rt_sigtimedwait"),
    ],
}


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_system_calls_have_the_numbers_of_the_kernels_header(machine: str, header: str) -> None:
    if not os.path.exists(header):
        pytest.skip(f"there is no {header}")
    text = Path(header).read_text()
    numbers = {name: int(n) for name, n in re.findall(r"#define __NR_(\w+) (\d+)", text)}
    for call, known in syscalls.NUMBERS[machine].items():
        assert sorted(known) == sorted(numbers[n] for n in SLEEPS[call] if n in numbers)


def test_unix_sockets_of_a_process_are_named() -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as other:
        listening.bind(f"\0accepttrace-test-{ME}")
        listening.listen()
        other.bind(f"\0accepttrace-quiet-{ME}")
        gone = 999_999_999
        assert unixsockets.unix_listeners([gone, ME]) == (f"@accepttrace-test-{ME}",)
    assert unixsockets.unix_listeners([gone]) == ()


def test_a_descriptor_that_is_closed_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one, socket.socket() as other, select.epoll() as epoll:
        real, gone = os.readlink, f"/{min(one.fileno(), other.fileno())}"

        def readlink(path: str) -> str:
            if path.endswith(gone):
                raise FileNotFoundError
            return real(path)

        monkeypatch.setattr(os, "readlink", readlink)
        sockets, epolls, complete = procfs.descriptors(ME)
        left = max(one.fileno(), other.fileno())
        assert min(one.fileno(), other.fileno()) not in sockets
        assert sockets[left] == os.fstat(left).st_ino
        assert epoll.fileno() in epolls
        assert complete


def test_what_is_no_socket_has_no_inode() -> None:
    read, write = os.pipe()
    with open("/proc/self/stat") as file:
        assert procfs.socket_at(ME, ME, file.fileno()) is None
    assert procfs.socket_at(ME, ME, read) is None
    os.close(read)
    os.close(write)
    assert procfs.socket_at(ME, ME, read) is None


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Which namespace each path leads to; none: it is gone."""
    leads: dict[str, int] = {}
    monkeypatch.setattr(namespaces, "_leads", lambda path, number: leads.get(path) == number)
    return leads


def answering(faults: dict[str, Callable[[], object]]) -> list[str]:
    """Asks all of three paths of namespace 5; returns by which it got an answer."""

    def ask(number: int, path: str | None) -> str:
        assert number == 5
        assert path
        faults.get(path, lambda: None)()
        return path

    found, closed = ask_all({5: ["a", "b", "c"]}, (), ask)
    return [answer for _, answer in found] + [each.name for each in closed]


def refuse() -> None:
    raise UnsupportedError("no CAP_SYS_ADMIN")


def fail() -> None:
    raise AcceptTraceError("the kernel refused")


def test_a_namespace_is_asked_by_the_first_path_that_leads_there(paths: dict[str, int]) -> None:
    paths.update(a=4, b=5, c=5)
    assert answering({}) == ["b"]
    # One that is refused, fails as it ends or leads elsewhere afterwards makes room for the next.
    assert answering({"b": refuse}) == ["c"]

    def end() -> None:
        paths["b"] = 6
        fail()

    assert answering({"b": end}) == ["c"]
    paths["b"] = 5
    assert answering({"b": lambda: paths.update(b=6)}) == ["c"]


def test_a_namespace_that_refuses_every_path_is_told_of_and_one_that_ended_is_not(
    paths: dict[str, int],
) -> None:
    paths.update(a=5, b=5)
    assert answering({"a": refuse, "b": refuse}) == ["network namespace 5"]
    paths.clear()
    assert answering({}) == []
    paths.update(a=5)
    with pytest.raises(AcceptTraceError, match="refused"):
        answering({"a": fail})


def test_only_the_namespaces_that_are_wanted_are_asked() -> None:
    asked, closed = ask_all({5: (), 6: (), 7: ()}, [6, 7], lambda number, path: (number, path))
    assert (asked, closed) == ([(6, (6, None)), (7, (7, None))], ())


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of our own needs root")
def test_a_namespace_is_known_as_long_as_a_process_is_in_it() -> None:
    known = Namespaces()
    known.refresh()
    assert known.path(known.own) is None
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as process:
        path = f"/proc/{process.pid}/ns/net"
        wait_until(lambda: os.stat(path).st_ino != known.own)
        number = os.stat(path).st_ino
        known.refresh(full=True)
        assert known.path(number) == path
        assert namespaces.is_there(number)
        assert namespaces.number_of(path) == number
        known.refresh(threads={number: [(process.pid, process.pid)]})
        assert known.path(number) == f"/proc/{process.pid}/task/{process.pid}/ns/net"
        process.kill()
        process.wait()
    known.refresh()
    assert number not in known.paths
    assert not namespaces.is_there(number)
    with pytest.raises(FileNotFoundError):
        known.path(number)


def test_who_moved_to_another_namespace_is_found_after_a_while(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"/proc/self/ns/net": 1, "/proc/10/ns/net": 5}
    monkeypatch.setattr(procfs, "netns", here.__getitem__)
    monkeypatch.setattr(procfs, "pids", lambda: {10})
    known = Namespaces()
    known.refresh()
    here["/proc/10/ns/net"] = 6
    found = []
    for later_s in (FULL_EVERY_S / 2, FULL_EVERY_S / 2, 0.1):
        clock.now += later_s
        known.refresh()
        found.append([number for number in (5, 6) if number in known.paths])
    assert found == [[5], [5], [6]]
    here["/proc/10/ns/net"] = 7
    known.refresh(full=True)
    assert 7 in known.paths


@pytest.mark.parametrize(
    ("error", "dead", "reasons"),
    [
        (PermissionError(13, "no"), False, ["permission denied"]),
        (PermissionError(13, "no"), True, []),
        (OSError(5, "Input/output error"), False, ["Input/output error"]),
        (OSError("odd"), False, ["odd"]),
        (FileNotFoundError(2, "gone"), False, []),
    ],
    ids=str,
)
def test_who_does_not_show_its_namespace_is_told_with_the_reason(
    error: OSError, dead: bool, reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def netns(path: str) -> int:
        if path == "/proc/self/ns/net":
            return 1
        raise error

    known = Namespaces()
    monkeypatch.setattr(procfs, "netns", netns)
    monkeypatch.setattr(procfs, "pids", lambda: {ME})
    monkeypatch.setattr(procfs, "is_zombie", lambda _: dead)
    monkeypatch.setattr(procfs, "living_thread", lambda _: None)
    known.refresh()
    comm = procfs.stat(ME)[0]
    assert known.unread == tuple(Unread(comm, reason, ME) for reason in reasons)


class Machine:
    """Which namespace each file under /proc leads to; of the `refused`, nothing is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.files = {"/proc/self/ns/net": 1}
        self.refused: dict[str, OSError] = {}
        self.pids: set[int] = set()
        self.threads: dict[int, int] = {}
        monkeypatch.setattr(procfs, "netns", self.netns)
        monkeypatch.setattr(procfs, "pids", lambda: set(self.pids))
        monkeypatch.setattr(procfs, "living_thread", self.threads.get)
        monkeypatch.setattr(procfs, "stat", lambda pid: (f"w{pid}", 5))
        monkeypatch.setattr(procfs, "is_zombie", lambda _: False)
        monkeypatch.setattr(namespaces, "NAMED", str(folder))
        self.known = Namespaces()

    def netns(self, path: str) -> int:
        if path in self.refused:
            raise self.refused[path]
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def lives(self, pid: int, number: int) -> None:
        self.pids.add(pid)
        self.files[f"/proc/{pid}/ns/net"] = number

    def denies(self, pid: int) -> None:
        self.pids.add(pid)
        self.refused[f"/proc/{pid}/ns/net"] = PermissionError(13, "no")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def test_a_namespace_has_some_paths_but_not_all(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "blue").touch()
    number = (tmp_path / "blue").stat().st_ino
    for pid in range(10, 10 + namespaces.PATHS):
        machine.lives(pid, number)
    machine.lives(50, 1)
    machine.known.refresh(threads={number: [(70, 71)], 6: [(80, 81), (80, 82)]})
    paths = machine.known.paths
    assert paths[1] == []  # we are in it ourselves
    assert paths[number][:3] == [
        str(tmp_path / "blue"),
        "/proc/70/task/71/ns/net",
        "/proc/10/ns/net",
    ]
    assert len(paths[number]) == namespaces.PATHS
    assert paths[6] == ["/proc/80/task/81/ns/net", "/proc/80/task/82/ns/net"]
    assert set(paths) == {1, number, 6}


def test_a_namespace_is_entered_by_a_path_that_still_leads_there(machine: Machine) -> None:
    for pid in (10, 11, 12):
        machine.lives(pid, 5)
    known = machine.known
    known.refresh()
    assert known.path(1) is None
    first, second, third = known.paths[5]
    assert known.path(5) == first
    del machine.files[first]
    assert known.path(5) == second
    machine.files[second] = 6
    assert known.path(5) == third
    machine.files[third] = 6
    for number in (5, 6):
        with pytest.raises(FileNotFoundError, match=f"no network namespace {number}"):
            known.path(number)


def test_who_is_known_already_is_not_read(machine: Machine) -> None:
    machine.lives(10, 5)
    machine.denies(20)
    machine.denies(11)
    known = machine.known
    known.refresh()
    denied = [Unread(f"w{pid}", "permission denied", pid) for pid in (11, 20)]
    assert known.unread == tuple(denied)
    known.refresh(threads={7: [(10, 10), (20, 21)]})
    assert known.unread == (denied[0],)
    assert known.paths == {1: [], 7: ["/proc/10/task/10/ns/net", "/proc/20/task/21/ns/net"]}
    known.refresh()  # they are not any more
    assert known.paths == {1: [], 5: ["/proc/10/ns/net"]}
    assert known.unread == tuple(denied)
    machine.pids -= {10, 20}
    known.refresh()
    assert (known.paths, known.unread) == ({1: []}, (denied[0],))


def test_a_namespace_that_was_denied_is_tried_again_with_all_others(machine: Machine) -> None:
    machine.denies(10)
    machine.known.refresh()
    machine.refused.clear()
    machine.lives(10, 5)
    machine.known.refresh()
    assert (set(machine.known.paths), len(machine.known.unread)) == ({1}, 1)
    machine.known.refresh(full=True)
    assert (set(machine.known.paths), len(machine.known.unread)) == ({1, 5}, 0)


def test_a_thread_shows_the_namespace_of_a_leader_that_has_ended(machine: Machine) -> None:
    machine.pids = {10, 11, 12}
    machine.threads |= {10: 15, 11: 16}
    machine.files["/proc/10/task/15/ns/net"] = 5
    machine.refused["/proc/11/task/16/ns/net"] = PermissionError(13, "no")
    machine.known.refresh()
    assert machine.known.paths == {1: [], 5: ["/proc/10/ns/net"]}
    assert machine.known.unread == ()


def test_a_namespace_is_there_where_a_process_a_name_or_a_mount_has_it(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.denies(9)
    machine.lives(10, 5)
    machine.lives(11, 7)
    (tmp_path / "blue").touch()
    named = (tmp_path / "blue").stat().st_ino
    mounts = tmp_path / "mounts"
    mounts.write_text("22 1 0:4 net:[4026] /run/x rw - nsfs nsfs rw\n")
    monkeypatch.setattr(namespaces, "open", lambda _, mode: mounts.open(mode), raising=False)
    found = {number: namespaces.is_there(number) for number in (5, 6, 7, named, 4026, 402)}
    assert found == {5: True, 6: False, 7: True, named: True, 4026: True, 402: False}


def test_who_has_ended_has_no_name_left(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.denies(10)
    machine.known.refresh()

    def gone(_: int) -> tuple[str, int]:
        raise FileNotFoundError

    monkeypatch.setattr(procfs, "stat", gone)
    assert machine.known.unread == (Unread("", "permission denied", 10),)
    monkeypatch.setattr(procfs, "is_zombie", gone)
    machine.known.refresh(full=True)
    assert machine.known.unread == ()


def test_the_helper_ends_with_whoever_asked_it() -> None:
    read, write = os.pipe()

    def ask() -> None:
        helper = Helper()
        ((_, pid),) = helper.map(_pid_of_helper, [0], time.monotonic() + 5)
        os.write(write, str(pid).encode())
        signal.pause()

    with child(ask):
        pid = int(os.read(read, 32))
        assert procfs.exists(pid)
    wait_until(lambda: not procfs.exists(pid) or procfs.is_zombie(pid))
    os.close(read)
    os.close(write)


def test_a_helper_that_is_closed_has_no_child() -> None:
    helper = Helper()
    ((_, pid),) = helper.map(_pid_of_helper, [0], time.monotonic() + 5)
    ((_, again),) = helper.map(_pid_of_helper, [0], time.monotonic() + 5)
    assert pid
    assert again == pid != ME
    helper.close()
    helper.close()
    wait_until(lambda: not procfs.exists(pid) or procfs.is_zombie(pid))
    assert helper.usable
    assert not procfs.exists(pid)  # the last line has waited for it


def test_the_helper_says_in_order_what_came_and_what_did_not() -> None:
    helper = Helper()
    asked = [1, 0, -1, 2]
    found = list(helper.map(_ten_by, asked, time.monotonic() + 5))
    assert found == [(1, 10.0), (0, None), (-1, -10.0), (2, 5.0)]
    assert list(helper.map(_ten_by, asked, time.monotonic())) == []
    helper.close()


def _ten_by(number: int) -> float:
    if not number:
        raise ValueError
    return 10 / number


def _pid_of_helper(_: int) -> int:
    return os.getpid()


def test_a_file_that_is_no_network_namespace_is_refused(tmp_path: Path) -> None:
    for path in ("/proc/self/ns/uts", "/proc/self/stat"):
        with pytest.raises(ValueError, match=f"{path} is no"):
            namespaces.number_of(path)
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it
    with pytest.raises(ValueError, match="pipe is no namespace"):
        namespaces.number_of(str(tmp_path / "pipe"))


class Direct:
    """In place of a Helper: calls here and now; `asked`: whom. Of the `slow` nothing comes."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.answers: dict[int, object] = {}
        self.slow: set[int] = set()

    def map(self, _: object, pids: Collection[int], until_s: float) -> Iterator[tuple[int, object]]:
        assert until_s > 0
        for pid in pids:
            if pid in self.slow:
                return
            self.asked.append(pid)
            yield pid, self.answers.get(pid, (10**12, "gone"))


class Scans:
    """A ProcSource over processes that are invented; all began long ago."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.helper = Direct()
        self.source = ProcSource(cast("Helper", self.helper))
        self.present = {1, 2, 3}
        for pid in self.present:
            self.helper.answers[pid] = self.holds(pid)
        monkeypatch.setattr(procfs, "pids", lambda: set(self.present))
        monkeypatch.setattr(procfs, "exists", lambda pid: pid in self.present)
        monkeypatch.setattr(procfs, "stat", lambda pid: (f"w{pid}", 5))
        monkeypatch.setattr(procfs, "socket_at", lambda *at: self.there.get(at))
        self.there: dict[tuple[int, int, int], int] = {}

    @staticmethod
    def holds(pid: int, way: Waiting | None = None) -> tuple[int, object]:
        """That it began at tick 5 and holds socket 7, where it waits so; None: nothing."""
        fds, waits = ({7: 3}, {7: way}) if way else ({}, {})
        return 5, Facts(pid, pid, 5, f"w{pid}", fds, waits, sure=False)

    def asks(self, *inodes: int, full: bool = False) -> list[int]:
        """Whom one refresh looks at."""
        self.helper.asked.clear()
        self.source.facts(inodes, full)
        return self.helper.asked


@pytest.fixture
def scans(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Scans:  # noqa: ARG001
    return Scans(monkeypatch)


def test_all_are_read_at_first_then_those_that_are_new_or_may_have_changed(scans: Scans) -> None:
    scans.helper.answers[2] = scans.holds(2, ACCEPT)
    scans.helper.answers[3] = scans.holds(3, NOT)
    scans.there[2, 2, 3] = 7
    assert scans.asks(7) == [1, 2, 3]
    assert set(scans.source.facts([7])) == {2, 3}
    # The one that does not wait may begin to; that which waits still has its descriptor.
    assert scans.asks(7) == [3]
    scans.present.add(4)
    assert scans.asks(7) == [3, 4]
    scans.there[2, 2, 3] = 8
    assert scans.asks(7) == [2, 3, 4]  # 4 was gone when it was looked at
    scans.present -= {3, 4}
    assert set(scans.source.facts([7])) == {2}


def test_everybody_is_read_again_after_a_while_or_for_a_new_listener(
    scans: Scans, clock: Clock
) -> None:
    everybody = [1, 2, 3]
    began = clock.now
    scans.asks(7)
    clock.now = began + fromproc.FULL_EVERY_S - 0.1
    assert scans.asks(7) == []
    assert scans.asks(7, full=True) == everybody
    clock.now += fromproc.FULL_EVERY_S
    assert scans.asks(7) == everybody
    assert scans.asks(7, 8) == everybody  # the last full one took no time
    assert scans.asks(8) == []


def test_a_new_listener_waits_for_many_times_what_a_full_scan_takes(
    scans: Scans, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scans.helper.map

    def slowly(*asked: Any) -> Iterator[tuple[int, object]]:
        clock.now += 1.0
        return real(*asked)

    monkeypatch.setattr(scans.helper, "map", slowly)
    scans.asks(7)
    monkeypatch.setattr(scans.helper, "map", real)
    ended = clock.now
    for later_s, asked in ((1.0, []), (19.9, []), (20.0, [1, 2, 3])):
        clock.now = ended + later_s
        assert scans.asks(7, 8) == asked


def test_what_could_not_be_read_is_told_with_its_reason(scans: Scans) -> None:
    scans.helper.answers |= {1: (5, "denied"), 2: (5, "too much"), 3: None}
    scans.asks(7)
    assert scans.source.unread == (
        Unread("w1", "permission denied", 1),
        Unread("w2", "too many open files", 2),
        Unread("w3", "does not let itself be read", 3),
    )
    scans.helper.answers |= {pid: scans.holds(pid) for pid in scans.present}
    scans.asks(7, full=True)
    assert scans.source.unread == ()
    scans.present.discard(1)
    assert scans.source.unread == (Unread("processes of other users", "hidden"),)


def test_who_takes_all_the_time_comes_last_the_next_time(scans: Scans) -> None:
    scans.helper.slow = {2}
    assert scans.asks(7) == [1]
    assert scans.source.unread == (Unread("2 processes", "not read yet, for want of time"),)
    assert scans.asks(7) == [3]
    scans.helper.slow.clear()
    assert scans.asks(7) == [2]
    assert scans.source.unread == ()


def test_a_look_finds_the_lowest_descriptor_of_each_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, sock.dup() as twin:
        inode = os.fstat(sock.fileno()).st_ino
        start, found = fromproc.look(frozenset({inode}), ME)
        assert isinstance(found, Facts)
        assert (start, found.comm) == (procfs.stat(ME)[1], procfs.stat(ME)[0])
        assert found.fds == {inode: min(sock.fileno(), twin.fileno())}
        assert set(found.waits) == {inode}
        _, nothing = fromproc.look(frozenset({1}), ME)
        assert isinstance(nothing, Facts)
        assert (nothing.fds, nothing.waits) == ({}, {})


def test_a_look_tells_why_it_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: frozenset[int] = frozenset()
    assert fromproc.look(nothing, 999_999_999) == (0, "gone")
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert fromproc.look(nothing, pid) == (procfs.stat(pid)[1], "gone")  # a zombie
    os.waitpid(pid, 0)
    start = procfs.stat(ME)[1]
    monkeypatch.setattr(procfs, "DESCRIPTORS_READ", 2)
    assert fromproc.look(nothing, ME) == (start, "too much")

    def deny(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(procfs, "descriptors", deny)
    assert fromproc.look(nothing, ME) == (start, "denied")


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


def test_ticks_are_those_of_this_machine() -> None:
    assert os.sysconf("SC_CLK_TCK") == procfs.TICKS_PER_S
    assert procfs.TICKS_PER_S * NS_PER_TICK == 1_000_000_000


def test_all_descriptors_are_read_where_there_is_room_for_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = len(os.listdir("/proc/self/fd"))
    found = []
    for room in (number - 1, number, number + 1):
        monkeypatch.setattr(procfs, "DESCRIPTORS_READ", room)
        found.append(procfs.descriptors(ME)[2])
    assert found == [False, False, True]


def test_a_descriptor_is_looked_at_for_its_socket() -> None:
    with socket.socket() as sock:
        assert procfs.socket_at(ME, ME, sock.fileno()) == os.fstat(sock.fileno()).st_ino


@pytest.mark.parametrize(
    ("status", "pid"), [("Pid:\t70\nNSpid:\t70\t12\t3\nx: 4\n", 3), ("Pid:\t7\n", None)]
)
def test_the_pid_in_a_container_is_the_innermost(
    status: str, pid: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "text", lambda _: status)
    assert procfs.ns_pid(70) == pid


def test_a_process_whose_leader_has_ended_has_another_thread() -> None:
    assert procfs.living_thread(ME) is None
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert procfs.living_thread(ME) == thread.native_id
    done.set()
    thread.join()


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
    monkeypatch.setattr(procfs, "text", lambda path: f"1 (a) b) S {int(path.split('/')[2]) + 1} 9")
    monkeypatch.setattr(os, "readlink", lambda path: programs[int(path.split("/")[2])])
    names = {pid: procfs.name((pid, pid, "python3")) for pid in (85, 86, 89, 90)}
    assert names == {85: "python3", 86: "shop.py", 89: "shop.py", 90: "shop.py"}
    programs[90] = "/usr/bin/other"
    assert procfs.name((89, 89, "python3")) == "python3"
