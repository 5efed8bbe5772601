"""Every network namespace of the machine, and paths by which it can be entered.

No descriptor of one is kept: that would keep the namespace, and its devices, after its last
process. So there are several paths to each, by the processes in it, and each is checked when it is
used: a process may end, become a zombie or move to another namespace at any time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Collection, Mapping, Set
from contextlib import suppress
from itertools import islice
from typing import Final, TypeVar

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts.records import Unread
from accepttrace.sockets import procfs
from accepttrace.sockets.diag.netns import CLONE_NEWNET

T = TypeVar("T")

NS_GET_NSTYPE: Final = 0xB703
NAMED: Final = "/run/netns"  # where `ip netns add` keeps them; they may have no process
PATHS: Final = 8  # to one namespace, that are kept
FULL_EVERY_S: Final = 30.0  # all processes are looked at again: one may have moved
Threads = Mapping[int, Collection[tuple[int, int]]]
NOBODY: Final[Threads] = {}


class Namespaces:
    """Distinct network namespaces by inode number, kept up to date by `refresh`."""

    def __init__(self) -> None:
        self.own = procfs.netns("/proc/self/ns/net")
        self.paths: dict[int, list[str]] = {}  # number → paths; none: the one we are in ourselves
        self._by_pid: dict[int, int | None] = {}
        self._denied: dict[int, str] = {}  # PID → why it does not show its namespace
        self._full_at = time.monotonic()

    @property
    def unread(self) -> tuple[Unread, ...]:
        """Processes that did not show theirs."""
        return tuple(Unread(_comm(pid), why, pid) for pid, why in sorted(self._denied.items()))

    def refresh(self, full: bool = False, threads: Threads = NOBODY) -> None:
        """Bring `paths` up to date.

        `threads`: those that are known already, by namespace, as (PID, TID). Of the others only
        new processes are read, and all of them after a while, or with `full`. Where any are known
        already, the others are looked for only then: they are few, and it takes long.
        """
        now = time.monotonic()
        due = full or now - self._full_at > FULL_EVERY_S
        if due:
            self._by_pid.clear()
            self._denied.clear()
            self._full_at = now
        known = {pid for found in threads.values() for pid, _ in found}
        self._forget(known)
        if due or not threads:
            present = procfs.pids()
            self._forget(self._by_pid.keys() - present)
            for pid in present - self._by_pid.keys() - known:
                self._by_pid[pid] = self._of(pid)
        self._gather(threads)

    def _forget(self, pids: Set[int]) -> None:
        for pid in pids:
            self._by_pid.pop(pid, None)
            self._denied.pop(pid, None)

    def path(self, number: int) -> str | None:
        """By which a namespace can be entered; None: we are in it. OSError if it is gone."""
        if number == self.own:
            return None
        for path in self.paths.get(number, ()):
            if _leads(path, number):
                return path
        raise FileNotFoundError(errno.ENOENT, f"no network namespace {number}")

    def _gather(self, threads: Threads) -> None:
        found: dict[int, list[str]] = {number: [path] for number, path in _named().items()}
        for number, pairs in threads.items():
            for pid, tid in islice(pairs, PATHS):
                _add(found, number, f"{procfs.task(pid, tid)}/ns/net")
        for pid, own in self._by_pid.items():
            if own is not None:
                _add(found, own, f"/proc/{pid}/ns/net")
        found[self.own] = []
        self.paths = found

    def _of(self, pid: int) -> int | None:
        """None for those that are in none any more (zombies, the dead), and for the denied."""
        try:
            return procfs.netns(f"/proc/{pid}/ns/net")
        except procfs.GONE:
            return self._of_thread(pid)
        except PermissionError:
            if not _has_none(pid):
                self._denied[pid] = "permission denied"
        except OSError as error:
            self._denied[pid] = error.strerror or str(error)
        return None

    def _of_thread(self, pid: int) -> int | None:
        """Of a process whose leader has ended."""
        try:
            tid = procfs.living_thread(pid)
            return None if tid is None else procfs.netns(f"{procfs.task(pid, tid)}/ns/net")
        except OSError:
            return None


def ask_all(
    namespaces: Mapping[int, Collection[str]],
    wanted: Collection[int],
    ask: Callable[[int, str | None], T],
) -> tuple[list[tuple[int, T]], tuple[Unread, ...]]:
    """The answer of each namespace, as pairs (netns, answer); and which may not be entered.

    `wanted`: only these; none: all. AcceptTraceError as `ask` raises it, unless the namespace went
    away meanwhile.
    """
    found: list[tuple[int, T]] = []
    closed: list[int] = []
    for number, paths in namespaces.items():
        if wanted and number not in wanted:
            continue
        try:
            found += [(number, answer) for answer in _ask(number, paths, ask)]
        except UnsupportedError:
            closed.append(number)
    names = called() if closed else {}
    return found, tuple(
        Unread(f"network namespace {names.get(number, number)}", "permission denied")
        for number in closed
    )


def _ask(number: int, paths: Collection[str], ask: Callable[[int, str | None], T]) -> list[T]:
    """By the first path that leads there before and after; nothing where none does any more."""
    if not paths:
        return [ask(number, None)]
    refused: UnsupportedError | None = None
    for path in (each for each in paths if _leads(each, number)):
        try:
            answer = ask(number, path)
        except UnsupportedError as error:
            refused = error
            continue
        except AcceptTraceError:
            if _leads(path, number):
                raise
            continue
        if _leads(path, number):
            return [answer]
    if refused is not None:
        raise refused
    return []


def number_of(path: str) -> int:
    """The inode number of the network namespace that a file stands for.

    ValueError if it stands for none; OSError if it cannot be opened.
    """
    fd = os.open(path, os.O_NONBLOCK)  # to read; a FIFO nobody writes to would hold us
    try:
        if fcntl.ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET:
            raise ValueError(f"{path} is no network namespace")
        return os.fstat(fd).st_ino
    except OSError as error:
        raise ValueError(f"{path} is no namespace") from error
    finally:
        os.close(fd)


def is_there(number: int) -> bool:
    """Whether there is a network namespace of this number, as far as can be seen."""
    for pid in procfs.pids():
        with suppress(OSError):  # it has ended, or is not ours to look at
            if procfs.netns(f"/proc/{pid}/ns/net") == number:
                return True
    with open("/proc/self/mountinfo", "rb") as mounts:
        return number in _named() or f" net:[{number}] ".encode() in mounts.read()


def called() -> dict[int, str]:
    """What namespaces are called, of those that `ip netns` made."""
    return {number: os.path.basename(path) for number, path in _named().items()}


def _leads(path: str, number: int) -> bool:
    try:
        return procfs.netns(path) == number
    except OSError:
        return False


def _add(found: dict[int, list[str]], number: int, path: str) -> None:
    paths = found.setdefault(number, [])
    if len(paths) < PATHS:
        paths.append(path)


def _has_none(pid: int) -> bool:
    """A zombie's namespace is refused even to root; a thread of the kernel has no files in any."""
    try:
        return procfs.is_zombie(pid) or procfs.is_kernel_thread(pid)
    except OSError:
        return True


def _comm(pid: int) -> str:
    try:
        return procfs.stat(pid)[0]
    except OSError:
        return ""


def _named() -> dict[int, str]:
    found: dict[int, str] = {}
    try:
        for entry in os.scandir(NAMED):
            found[entry.stat().st_ino] = entry.path
    except OSError:  # `ip netns` was not used here, or one was removed just now
        pass
    return found
