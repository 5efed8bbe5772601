"""What `who` reads beside the inventory: kin, users, settings of namespaces, open files."""

from __future__ import annotations

import os
import pwd
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from accepttrace.facts.kin import Kin, NetSettings, Surroundings
from accepttrace.facts.records import STUCK_US, Holder, Listener
from accepttrace.probe import pidns
from accepttrace.sockets import namespaces, procfs
from accepttrace.sockets import surroundings as around
from accepttrace.sockets.diag import kcmp
from accepttrace.sockets.diag.kcmp import same_file
from accepttrace.sockets.surroundings import surroundings

ME = os.getpid()


def held(*pids: int) -> tuple[Holder, ...]:
    return tuple(Holder(pid, 5, "w", "w", 3, True) for pid in pids)


def listener(
    inode: int, holders: tuple[Holder, ...], *, netns: int = 1, uid: int | None = 0
) -> Listener:
    row = (inode, netns, "ipv4", "0.0.0.0", 80, 128, 0, "sole", None, None, None)
    return Listener(*row, holders, uid)  # type: ignore[arg-type]


class Machine:
    """Processes whose parents are told by `parents`; of those it does not name nothing is known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.parents: dict[int, int] = {}
        self.asked: list[int] = []
        self.answers: dict[tuple[int, int], bool | None] = {}
        self.compared: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self.somaxconn, self.migrate = folder / "somaxconn", folder / "migrate"
        monkeypatch.setattr(procfs, "kin", self.kin)
        monkeypatch.setattr(around, "same_file", self.same_file)
        monkeypatch.setattr(around, "SOMAXCONN", self.somaxconn)
        monkeypatch.setattr(around, "MIGRATE", self.migrate)
        monkeypatch.setattr(time, "clock_gettime", lambda _: 12.349)

    def kin(self, pid: int) -> Kin:
        self.asked.append(pid)
        if pid not in self.parents:
            raise ProcessLookupError
        return Kin(pid, 5, "w", self.parents[pid], 1, pid % 2, "0")

    def same_file(self, one: tuple[int, int], other: tuple[int, int]) -> bool | None:
        self.compared.append((one, other))
        return self.answers.get((one[0], other[0]))

    def read(self, *rows: Listener, path: Any = None) -> Surroundings:
        return surroundings(rows, lambda netns: path(netns) if path else None)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def test_the_ancestors_of_holders_are_known_once_each(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.parents = {20: 10, 21: 10, 10: 1, 1: 0, 30: 29}
    found = machine.read(listener(7, held(20, 21)), listener(8, held(20, 30)))
    assert set(found.kin) == {1, 10, 20, 21, 30}
    assert machine.asked == [20, 10, 1, 21, 30, 29]
    assert found.kin[21].parent == 10
    assert found.now_ticks == 1234
    machine.parents = {pid: pid - 1 for pid in range(1, 101)}
    assert set(machine.read(listener(7, held(100))).kin) == set(range(69, 101))
    monkeypatch.setattr(around, "ANCESTORS", 2)
    assert set(machine.read(listener(7, held(100, 50))).kin) == {100, 99, 50, 49}


def test_where_connections_wait_long_it_is_known_who_is_frozen(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_suspended(folder: str) -> bool:
        looked.append(folder)
        if folder == "/proc/23":
            raise ProcessLookupError
        return folder != "/proc/21"

    looked: list[str] = []
    monkeypatch.setattr(procfs, "is_suspended", is_suspended)
    machine.parents = dict.fromkeys((20, 21, 22, 23), 1)
    late = replace(listener(7, held(20, 21, 23)), queue=1, oldest_us=STUCK_US)
    found = machine.read(late, listener(8, held(22))).kin
    assert [pid for pid, one in found.items() if one.stopped] == [20]
    assert sorted(looked) == ["/proc/20", "/proc/21", "/proc/23"]


def test_users_have_names_as_far_as_they_have(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Entry:
        def __init__(self, uid: int) -> None:
            self.pw_name = {0: "root", 1: "daemon", 7: "web"}[uid]

    monkeypatch.setattr(pwd, "getpwuid", Entry)
    machine.parents = {20: 0, 21: 0}
    rows = (listener(7, held(20, 21), uid=None), listener(8, (), uid=7), listener(9, (), uid=8))
    assert machine.read(*rows).users == {0: "root", 1: "daemon", 7: "web"}
    monkeypatch.setattr(around, "USERS", 2)
    assert machine.read(*rows).users == {0: "root", 1: "daemon"}


@pytest.mark.parametrize(
    ("online", "cpus"),
    [("0\n", 1), ("0-3\n", 4), ("0,2\n", 3), ("0-1,4-7\n", 8), ("?", 0), (None, 0)],
)
def test_no_cpu_has_a_higher_number(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, online: str | None, cpus: int
) -> None:
    monkeypatch.setattr("accepttrace.probe.cpus.FOLDER", tmp_path)
    if online is not None:
        (tmp_path / "online").write_text(online)
    assert machine.read().cpus == cpus


def test_each_namespace_has_its_settings(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []

    def call_inside(path: str, read: Any) -> Any:
        entered.append(path)
        return read()

    def path(netns: int) -> str | None:
        if netns == 3:
            raise FileNotFoundError
        return None if netns == 1 else f"/{netns}"

    monkeypatch.setattr(around, "call_inside", call_inside)
    rows = [listener(7, (), netns=netns) for netns in (1, 2, 3, 2)]
    for somaxconn, migrate, known in (
        (None, None, NetSettings()),
        ("4096\n", None, NetSettings(4096, None)),
        ("4096\n", "0\n", NetSettings(4096, False)),
        ("512\n", "1\n", NetSettings(512, True)),
        ("?\n", "2\n", NetSettings(None, True)),
    ):
        for file, text in ((machine.somaxconn, somaxconn), (machine.migrate, migrate)):
            if text is not None:
                file.write_text(text)
        found = machine.read(*rows, path=path)
        assert found.settings == {1: known, 2: known, 3: NetSettings()}
    assert set(entered) == {"/2"}


def test_the_kernel_says_whether_all_have_the_same_open_file(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.answers = {(1, 2): True, (1, 3): True, (1, 4): False, (5, 1): True}
    for pids, said in (
        ((1,), {}),
        ((1, 2), {7: True}),
        ((1, 2, 3), {7: True}),
        ((1, 2, 4), {7: False}),
        ((1, 4), {7: False}),
        ((1, 2, 9), {}),
        ((1, 9, 2), {}),
        ((), {}),
    ):
        assert machine.read(listener(7, held(*pids))).same_file == said
    assert machine.compared[0] == ((1, 3), (2, 3))
    rows = (listener(7, held(1, 2, 3)), listener(8, held(1, 2)), listener(9, held(5, 1)))
    for room, known in ((7, {7, 8, 9}), (6, {7, 8}), (5, {7, 8}), (4, {7}), (2, set())):
        monkeypatch.setattr(around, "COMPARED", room)
        assert set(machine.read(*rows).same_file) == known


def test_a_descriptor_and_its_copy_are_one_open_file() -> None:
    with socket.socket() as one, one.dup() as copy, socket.socket() as other:
        answers = [same_file((ME, one.fileno()), (ME, fd.fileno())) for fd in (one, copy, other)]
    assert answers in ([True, True, False], [None] * 3)  # where it is not permitted
    assert same_file((4_194_304, 0), (ME, 0)) is None


def test_the_kernel_is_asked_by_the_number_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def syscall(*arguments: int) -> int:
        asked.append(arguments)
        return -1 if arguments[0] == 272 else 1

    monkeypatch.setattr(kcmp, "_syscall", lambda: syscall)
    for machine, known in (("x86_64", False), ("aarch64", None), ("riscv64", None)):
        monkeypatch.setattr(os, "uname", lambda m=machine: SimpleNamespace(machine=m))
        assert same_file((7, 3), (8, 4)) is known
    assert asked == [(312, 7, 8, 0, 3, 4), (272, 7, 8, 0, 3, 4)]


def test_pids_of_another_namespace_are_not_compared(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.answers = {(20, 21): False}
    rows = [listener(7, held(20, 21))]
    assert machine.read(*rows).same_file == {7: False}
    monkeypatch.setattr(pidns, "is_of_proc", lambda: False)
    assert machine.read(*rows).same_file == {}


def test_our_own_namespace_and_the_names_of_others_are_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "blue").touch()
    monkeypatch.setattr(namespaces, "NAMED", tmp_path)
    found = surroundings((), lambda _: None)
    assert found.netns == os.stat("/proc/self/ns/net").st_ino
    assert found.namespaces == {os.stat(tmp_path / "blue").st_ino: "blue"}


def test_an_age_is_known_where_both_clocks_are() -> None:
    found = Surroundings(now_ticks=1000)
    assert [found.age_s(start) for start in (0, 1, 990, 1000, 1001)] == [None, 9.99, 0.1, 0, 0]
    assert Surroundings().age_s(5) is None


def test_the_kin_of_this_process_are_those_of_the_system() -> None:
    found = procfs.kin(ME)
    assert (found.pid, found.parent, found.session) == (ME, os.getppid(), os.getsid(0))
    assert found.uid == os.geteuid()
    assert (found.comm, found.start_ticks) == procfs.stat(ME)


@pytest.mark.parametrize(
    ("status", "uid", "cpus"),
    [
        ("Name:\ta\nUid:\t5\t6\t7\t8\nCpus_allowed_list:\t0-3\n", 6, "0-3"),
        ("Uid:\t5\t6\n", 6, None),
        ("Uid:\t5\nCpus_allowed_list:\t\n", None, None),
        ("", None, None),
    ],
)
def test_the_user_is_the_effective_one(
    status: str, uid: int | None, cpus: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = "9 (a) b) S 7 8 6 " + " ".join(map(str, range(7, 30)))
    texts = {"/proc/9/stat": stat, "/proc/9/status": status}
    monkeypatch.setattr(procfs, "record", texts.__getitem__)
    assert procfs.kin(9) == Kin(9, 22, "a) b", 7, 6, uid, cpus)


@pytest.mark.parametrize(("state", "stopped"), [("T", True), ("t", True), ("S", False)])
def test_who_is_stopped_is_known(
    state: str, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = f"9 (a) {state} 7 8 6 " + " ".join(map(str, range(7, 30)))
    monkeypatch.setattr(procfs, "record", {"/proc/9/stat": stat, "/proc/9/status": ""}.__getitem__)
    assert procfs.kin(9).stopped is stopped
