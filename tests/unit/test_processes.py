"""Who waits, over many looks; names that come late; network namespaces that come and go."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts.records import TICKS_PER_S, Unread
from accepttrace.probe.holders import EpollSet, Waiter, Waiters, Way
from accepttrace.sockets import fromproc, namespaces, procfs, syscalls, unixsockets
from accepttrace.sockets.diag import kcmp
from accepttrace.sockets.facts import NOT, UNKNOWN, Facts, Rest, Waiting
from accepttrace.sockets.fromproc import ProcSource
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.namespaces import FULL_EVERY_S, Namespaces, ask_all
from accepttrace.sockets.people import FRESH_S, FULL_S, NAMES_S, SILENT_S, YOUNG_S, People
from accepttrace.sockets.processes import LATELY_S, PAUSE_S, Processes
from accepttrace.sockets.queues import Queues

from .forked import child, wait_until, wait_until_it_is

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
        self.asleep: dict[int, Rest] = {}
        self.asked: list[list[int]] = []

    def facts(self, inodes: Collection[int], full: bool = False) -> dict[int, Facts]:  # noqa: ARG002
        return self.found

    def resting(self, held: Mapping[int, Collection[int]]) -> Mapping[int, Rest]:
        self.asked.append(sorted(held))
        return {pid: rest for pid, rest in self.asleep.items() if pid in held}


class Shown:
    """One process that holds socket 7, look after look."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.source = clock, Answers()
        self.processes = Processes(self.source, Helper())

    def look(self, way: Waiting, at_s: float, *, start: int = 5, fd: int = 3) -> Waiting:
        """What is said of it after a look at `at_s` that shows `way`."""
        self._clock.now = 1000.0 + at_s
        self.source.found = {ME: Facts(ME, ME, start, "w", {7: fd}, {7: way}, sure=True)}
        self.processes.refresh([7], full=False)
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
    assert shown.look(UNKNOWN, 200) == UNKNOWN


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
    for second, fd in enumerate((9, 4), 1):
        shown.look(ACCEPT, second, fd=fd)
        assert [holder.fd for holder in shown.processes.holders(7)] == [fd]


def test_how_threads_sleep_is_asked_where_the_queue_leaves_it_open(clock: Clock) -> None:
    shown = Shown(clock)
    shown.look(ACCEPT, 0)
    assert shown.source.asked == []
    shown.source.asleep = {ME: Rest({}, True)}
    assert shown.look(UNKNOWN, 1) == ACCEPT  # asleep elsewhere, and not for long
    assert shown.look(UNKNOWN, PAUSE_S) == NOT
    assert shown.source.asked == [[ME]] * 2
    for rest, said in (
        (Rest({3: "poll"}, True), Waiting(True, "poll")),  # since the queue was read
        (Rest({4: "poll"}, False), UNKNOWN),  # it may be busy with a client
    ):
        shown = Shown(clock)
        shown.source.asleep = {ME: rest}
        assert shown.look(UNKNOWN, 1) == said


def test_who_lets_go_of_a_socket_holds_it_no_more(clock: Clock) -> None:  # noqa: ARG001
    source = Answers()
    processes = Processes(source, Helper())
    both = Facts(ME, ME, 5, "w", {7: 3, 8: 4}, {7: ACCEPT, 8: ACCEPT}, sure=True)
    source.found = {ME: both}
    processes.refresh([7, 8], full=False)
    source.found = {ME: Facts(ME, ME, 5, "w", {8: 4}, {8: ACCEPT}, sure=True)}
    processes.refresh([7, 8], full=False)
    assert [len(processes.holders(inode)) for inode in (7, 8)] == [0, 1]
    source.found = {}
    processes.refresh([7, 8], full=False)
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
    assert speaker.people.meet([old()], full=True)[ME].name == "worker"
    assert speaker.until_s == clock.now + FULL_S
    for later_s, asked in ((0, 2), (FRESH_S - 0.25, 2), (0.25, 3), (1, 3)):
        clock.now += later_s
        people.meet([old()])
        assert len(speaker.asked) == asked
    for comm in ("other", "z", "a"):
        assert people.meet([old(comm)])[ME].comm == comm
    assert len(speaker.asked) == 6
    for start in (3, 2):  # another process, with the same PID
        met = people.meet([replace(old("a"), start_ticks=start)])
        assert met[ME].start_ticks == start
    assert people.unread == ()


def test_a_young_process_is_asked_at_every_look(clock: Clock) -> None:
    speaker = Speaker()
    speaker.names = {ME: "worker"}
    people = speaker.people
    ticks = (time.clock_gettime(time.CLOCK_BOOTTIME) - YOUNG_S + 2) * TICKS_PER_S
    for _ in range(3):
        clock.now += 0.1
        people.meet([Facts(ME, ME, int(ticks), "w", {}, {}, sure=True)])
    assert len(speaker.asked) == 3
    older = Facts(ME, ME, int(ticks) - 3 * TICKS_PER_S, "w", {}, {}, sure=True)
    for _ in range(3):
        people.meet([older])
    assert len(speaker.asked) == 4


def test_where_reading_names_takes_long_a_young_process_is_asked_at_times(clock: Clock) -> None:
    class Slow(Speaker):
        def map(
            self, _: object, whom: Collection[tuple[int, int, str]], until_s: float
        ) -> Iterator[tuple[tuple[int, int, str], str | None]]:
            clock.now += 0.2
            return super().map(_, whom, until_s)

    speaker = Slow()
    speaker.names = {ME: "worker"}
    people = speaker.people
    young = int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_PER_S)
    began = clock.now
    for after_s, asked in ((0.2, 1), (2.1, 1), (2.3, 2), (4.2, 2), (4.4, 3)):
        clock.now = began + after_s
        people.meet([Facts(ME, ME, young, "w", {}, {}, sure=True)])
        assert len(speaker.asked) == asked, after_s


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
    people.meet([])  # it holds nothing any more
    for after_s, asked in ((0, 5), (SILENT_S - 1, 5), (1, 6)):  # as if met for the first time
        clock.now += after_s
        people.meet([old()])
        assert len(speaker.asked) == asked
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


def idle(pid: int, *listeners: int) -> bool:
    return syscalls.rest_of((pid, frozenset(listeners))).idle


def test_a_process_is_idle_where_all_its_threads_sleep_in_a_known_call() -> None:
    with child(signal.pause) as pid:
        wait_until(lambda: idle(pid))
        os.kill(pid, signal.SIGSTOP)  # it goes on in the call, which may be accept()
        wait_until(lambda: procfs.is_stopped(pid))
        assert not idle(pid)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: idle(pid))
    read, write = os.pipe()
    with child(lambda: os.read(read, 1)) as pid:
        wait_until(lambda: procfs.text(f"/proc/{pid}/syscall").split()[0].isdigit())
        assert not idle(pid)
    with pytest.raises(OSError, match="No such"):
        idle(999_999_999)
    with child(lambda: select.select([read], [], [])) as pid:  # a master and its workers' pipe
        wait_until(lambda: idle(pid))
    os.close(read)
    os.close(write)


def test_who_polls_a_client_may_be_busy_with_it_and_who_polls_a_listener_is_not() -> None:
    near, far = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as sock, near, far:
        for polled, listeners, rest in (
            ([near], [sock], Rest({}, False)),
            ([near, sock], [sock], Rest({sock.fileno(): "select"}, True)),
            ([sock], [near], Rest({}, False)),  # of another port: not known to be a listener
        ):
            fds = frozenset(each.fileno() for each in listeners)
            with child(lambda polled=polled: select.select(polled, [], [])) as pid:  # type: ignore[misc]
                wait_until(lambda: syscalls.sleep_of(f"/proc/{pid}/task/{pid}") is not None)
                wait_until_it_is(rest, partial(syscalls.rest_of, (pid, fds)))
        with child(sock.accept) as pid:
            wait_until(lambda: idle(pid))
            fds = frozenset({sock.fileno()})
            assert syscalls.rest_of((pid, fds)) == Rest({sock.fileno(): "accept"}, True)
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: procfs.is_suspended(f"/proc/{pid}"))
            assert syscalls.rest_of((pid, fds)).on == {sock.fileno(): "accept"}


def test_who_polls_to_send_or_polled_what_is_closed_by_now_may_be_busy() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        with suppress(BlockingIOError):
            while near.send(bytes(4096)):
                pass
        for poll in (lambda: select.select([], [near], []), lambda: polls(near, select.POLLOUT)):
            with child(poll) as pid:
                wait_until(lambda: syscalls.sleep_of(f"/proc/{pid}/task/{pid}") is not None)
                wait_until_it_is(Rest({}, False), partial(syscalls.rest_of, (pid, frozenset())))
    gone = syscalls.Sleep("poll", frozenset({999_999}))
    assert not syscalls.serves_nobody(f"/proc/{ME}", gone, [])


def polls(one: socket.socket, events: int) -> None:
    poll = select.poll()
    poll.register(one, events)
    poll.poll()


def test_who_polls_many_runs_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "may_be_socket", lambda _: True)
    for number in (syscalls.SERVING, syscalls.SERVING + 1):
        sleep = syscalls.Sleep("poll", frozenset(range(number)))
        assert syscalls.serves_nobody("/proc/1", sleep, [99]) == (number > syscalls.SERVING)


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
    assert kcmp._NUMBERS[machine] == numbers["kcmp"]


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
        self.for_s = 0.0  # how long it was to take at most

    def map(self, _: object, pids: Collection[int], until_s: float) -> Iterator[tuple[int, object]]:
        self.for_s = round(until_s - time.monotonic(), 6)
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
    assert set(scans.source.facts([7], full=False)) == {2, 3}
    # The one that does not wait may begin to; that which waits still has its descriptor.
    assert scans.asks(7) == [3]
    scans.present.add(4)
    assert scans.asks(7) == [3, 4]
    scans.there[2, 2, 3] = 8
    assert scans.asks(7) == [2, 3, 4]  # 4 was gone when it was looked at
    scans.present -= {3, 4}
    assert set(scans.source.facts([7], full=False)) == {2}


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


def test_a_silent_process_is_not_held_against_the_next_of_its_pid(clock: Clock) -> None:
    speaker = Speaker()
    people = speaker.people
    people.meet([old()])
    later = replace(old(), start_ticks=2)
    clock.now += 1
    assert people.meet([later])[ME].start_ticks == 2
    assert len(speaker.asked) == 2
    for after_s, asked in ((SILENT_S - 0.1, 2), (0.1, 3), (2 * SILENT_S - 0.1, 3), (0.1, 4)):
        clock.now += after_s
        people.meet([later])
        assert len(speaker.asked) == asked
    people.meet([])  # it is gone, and comes back
    assert people.unread == ()
    people.meet([later])
    assert len(speaker.asked) == 5


def test_who_ended_before_it_answered_was_not_silent(clock: Clock) -> None:
    speaker = Speaker()
    people = speaker.people
    gone = Facts(999_999_999, 999_999_999, 1, "w", {}, {}, sure=True)
    assert people.meet([gone])[gone.pid].name == "w"
    assert people.unread == ()
    clock.now += 0.1
    people.meet([gone])
    assert len(speaker.asked) == 2  # it is asked at every look


def test_names_are_read_for_a_short_time(clock: Clock) -> None:
    speaker = Speaker()
    speaker.people.meet([old()])
    assert round(speaker.until_s - clock.now, 6) == 0.3
    speaker.until_s = 0
    speaker.people.process(ME)
    assert round(speaker.until_s - clock.now, 6) == 0.3


def test_a_holder_is_known_without_being_asked_again() -> None:
    speaker = Speaker()
    people = speaker.people
    (process,) = people.meet([old()]).values()
    assert people.process(ME) is process
    assert speaker.asked == [ME]


class Held:
    """Processes that hold sockets: `pids` of which each, look after look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.source = Answers()
        self.processes = Processes(self.source, Helper())

    def look(self, *facts: Facts) -> None:
        self._clock.now += 0.1
        self.source.found = {each.pid: each for each in facts}
        self.processes.refresh([7, 8], full=False)

    def by_pid(self, inode: int) -> list[tuple[int, int, str]]:
        return [(one.pid, one.fd, one.comm) for one in self.processes.holders(inode)]


def holds(pid: int, comm: str = "w", *, sure: bool = True, way: Waiting = UNKNOWN) -> Facts:
    return Facts(pid, pid, 5, comm, {7: 3, 8: 4}, {7: way, 8: ACCEPT}, sure=sure)


def test_holders_come_and_go_by_pid(clock: Clock) -> None:
    held = Held(clock)
    first, second, third = holds(3), holds(1), holds(2)
    held.look(first, second)
    assert held.by_pid(7) == [(1, 3, "w"), (3, 3, "w")]
    held.look(first, second, third)
    assert held.by_pid(8) == [(1, 4, "w"), (2, 4, "w"), (3, 4, "w")]
    held.look(third, holds(1, "other"))
    assert held.by_pid(7) == [(1, 3, "other"), (2, 3, "w")]
    held.look()
    assert (held.by_pid(7), held.by_pid(8), held.by_pid(9)) == ([], [], [])


def test_only_where_the_queue_is_known_do_sleepers_not_wait(clock: Clock) -> None:
    held = Held(clock)
    held.source.asleep = dict.fromkeys((1, 2, 3), Rest({}, True))
    held.look(holds(1), holds(2, sure=False), holds(3, way=ACCEPT))
    assert held.source.asked == [[1]]
    waits = [[one.waits for one in held.processes.holders(inode)] for inode in (7, 8)]
    assert waits == [[False, None, True], [True, True, True]]
    held.look(holds(1, way=NOT), holds(2, sure=False))
    assert len(held.source.asked) == 1  # nothing is open any more


@pytest.mark.parametrize("way", [ACCEPT, UNKNOWN])
def test_a_changed_name_or_control_group_is_shown(clock: Clock, way: Waiting) -> None:
    held = Held(clock)
    facts = holds(ME, way=way)
    speaker = Speaker()
    held.processes = Processes(held.source, cast("Helper", speaker))
    names = []
    for name in ("one", "two"):
        speaker.names = {ME: name}
        clock.now += FRESH_S
        held.look(facts)
        names.append([one.name for one in held.processes.holders(7)])
    assert names == [["one"], ["two"]]
    assert held.processes.process(ME) is not None


def test_what_was_lately_seen_ends_for_one_that_is_not_read_again(clock: Clock) -> None:
    held = Held(clock)
    held.look(holds(1, way=ACCEPT))
    facts, said = holds(1, way=NOT), []
    for _ in range(2):
        held.look(facts)
        said += [one.waits for one in held.processes.holders(7)]
        clock.now += PAUSE_S
    assert said == [True, False]


def test_a_light_look_is_short_and_a_full_one_long(scans: Scans) -> None:
    for full, for_s in ((False, 10.0), (False, 0.5), (True, 10.0), (False, 0.5)):
        scans.asks(7, full=full)  # the first is a full one anyway
        assert scans.helper.for_s == for_s


def test_a_young_process_is_read_at_each_look(
    scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may get its listeners shortly after it began."""
    now_s = [100.0]
    monkeypatch.setattr(time, "clock_gettime", lambda _: now_s[0])
    for pid, start_s in ((1, 94.9), (2, 95.1), (3, 99.0)):
        nothing = Facts(pid, pid, 5, "w", {}, {}, sure=False)
        scans.helper.answers[pid] = (int(start_s * 100), nothing)
    assert scans.asks(7) == [1, 2, 3]
    assert scans.asks(7) == [2, 3]
    now_s[0] = 101.0
    assert scans.asks(7) == [3]
    now_s[0] = 104.0
    assert scans.asks(7) == []


def test_who_does_not_answer_is_read_again_with_all_others(scans: Scans) -> None:
    scans.helper.answers[2] = None
    scans.helper.answers[3] = scans.holds(3, ACCEPT)
    scans.there[3, 3, 3] = 7
    assert scans.asks(7) == [1, 2, 3]
    assert scans.asks(7) == []
    assert scans.source.unread == (Unread("w2", "does not let itself be read", 2),)
    assert scans.asks(7, full=True) == [1, 2, 3]
    scans.present -= {2, 3}
    scans.asks(7)
    assert (scans.source.unread, scans.source.found) == ((), {})


def test_a_holder_stands_while_each_socket_asked_for_is_where_it_was(scans: Scans) -> None:
    fds, waits = {7: 3, 8: 4, 9: 5}, {7: ACCEPT, 8: EPOLL, 9: NOT}
    scans.helper.answers[1] = 5, Facts(1, 2, 5, "w1", fds, waits, sure=False)
    scans.there = {(1, 2, 3): 7, (1, 2, 4): 8}
    assert scans.asks(7, 8, 9) == [1, 2, 3]
    assert scans.asks(7, 8, 9) == []
    del scans.there[1, 2, 4]
    assert scans.asks(7, 9) == []  # nobody asks for that any more
    assert scans.asks(7, 8, 9) == [1]
    scans.helper.answers[1] = 5, Facts(1, 2, 5, "other", fds, waits, sure=False)
    scans.there[1, 2, 4] = 8
    assert scans.asks(7, 8, 9, full=True) == [1, 2, 3]
    assert scans.asks(7, 8, 9) == [1]  # its name is another one now


def test_who_is_new_comes_before_those_who_were_left_over(scans: Scans) -> None:
    scans.helper.answers[3] = scans.holds(3, NOT)
    scans.helper.slow = {1}
    assert scans.asks(7) == []
    scans.present |= {4, 5}
    scans.helper.slow = {4}
    assert scans.asks(7) == []
    assert scans.source.unread == (Unread("5 processes", "not read yet, for want of time"),)
    scans.helper.slow.clear()
    asked = scans.asks(7)
    assert asked == [5, 2, 3, 1, 4]


def test_a_holder_that_ends_as_it_is_looked_at_is_read_again(
    scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans.helper.answers[1] = scans.holds(1, ACCEPT)
    scans.there[1, 1, 3] = 7
    assert scans.asks(7) == [1, 2, 3]
    assert scans.asks(7) == []

    def gone(_: int) -> tuple[str, int]:
        raise ProcessLookupError

    monkeypatch.setattr(procfs, "stat", gone)
    assert scans.asks(7) == [1]


def test_only_epoll_sets_are_epoll_sets() -> None:
    event, pipe = os.eventfd(0), os.pipe()
    with select.epoll() as epoll, socket.socket() as sock:
        sockets, epolls, _ = procfs.descriptors(ME)
        others = {event, *pipe, sock.fileno()}
        assert epoll.fileno() in epolls
        assert others.isdisjoint(epolls)
        assert sock.fileno() in sockets
        assert {event, *pipe, epoll.fileno()}.isdisjoint(sockets)
    for fd in (event, *pipe):
        os.close(fd)
