"""Network namespaces of an invented machine: which are there, and the paths to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from accepttrace.facts.records import Unread
from accepttrace.sockets import namespaces, procfs
from accepttrace.sockets.namespaces import Namespaces


class Machine:
    """Which namespace each file under /proc leads to; of the `refused`, nothing is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.files = {"/proc/self/ns/net": 1}
        self.refused: dict[str, OSError] = {}
        self.pids: set[int] = set()
        self.threads: dict[int, int] = {}
        self.of_the_kernel: set[int] = set()
        monkeypatch.setattr(procfs, "netns", self.netns)
        monkeypatch.setattr(procfs, "pids", lambda: set(self.pids))
        monkeypatch.setattr(procfs, "living_thread", self.threads.get)
        monkeypatch.setattr(procfs, "stat", lambda pid: (f"w{pid}", 5))
        monkeypatch.setattr(procfs, "is_zombie", lambda _: False)
        monkeypatch.setattr(procfs, "is_kernel_thread", self.of_the_kernel.__contains__)
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
    machine.known.refresh(full=True, threads={number: [(70, 71)], 6: [(80, 81), (80, 82)]})
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
    machine.files[third] = 4  # below the number asked for
    for number in (0, 5, 6):
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


def test_where_some_are_known_the_others_are_looked_for_after_a_while(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "pids", lambda: pytest.fail("listed"))
    known: namespaces.Threads = {7: [(20, 20)]}
    machine.known.refresh(threads=known)
    assert set(machine.known.paths) == {1, 7}
    machine.lives(10, 5)
    monkeypatch.setattr(procfs, "pids", lambda: machine.pids)
    machine.known.refresh(threads=known)
    assert set(machine.known.paths) == {1, 7}
    machine.known._full_at -= namespaces.FULL_EVERY_S
    machine.known.refresh(threads=known)
    assert set(machine.known.paths) == {1, 5, 7}


def test_a_thread_of_the_kernel_hides_nothing(machine: Machine) -> None:
    machine.denies(20)
    machine.denies(11)
    machine.of_the_kernel.add(11)
    machine.known.refresh()
    assert machine.known.unread == (Unread("w20", "permission denied", 20),)


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


def test_where_no_namespace_was_named_none_is_known_by_name(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "NAMED", str(tmp_path / "none"))
    machine.known.refresh()
    assert machine.known.paths == {1: []}


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
