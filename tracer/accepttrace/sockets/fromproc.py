"""Holders by reading /proc, process by process: where BPF may not be used, and for `who`.

A helper process does the reading, as a process can make it last for ever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Final, Literal

from accepttrace.facts.records import TICKS_PER_S, Unread
from accepttrace.sockets import procfs
from accepttrace.sockets.facts import UNKNOWN, Facts, Rest
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.waiting import observe

FULL_EVERY_S: Final = 30.0
FULL_REST: Final = (
    20  # a new listener forces a full scan only after 20 times what the last one took
)
YOUNG_S: Final = 5.0  # a process may get its listeners and its title shortly after it began
LOOK_S: Final = 0.5  # of reading in one refresh; what is left comes with the next
FULL_LOOK_S: Final = 10.0  # ... where a full one was asked for

Answer = Facts | Literal["gone", "denied", "too much"]


class ProcSource:
    """Facts of all processes that may be read, brought up to date by `refresh`.

    A light refresh reads new and young processes and those that do not seem to wait, and verifies
    the descriptors that the others wait on; a full one reads all descriptors of all processes.
    """

    def __init__(self, helper: Helper, full_every_s: float = FULL_EVERY_S) -> None:
        self._helper = helper
        self._full_every_s = full_every_s
        self._full_at = -math.inf  # when the last full scan ended, and how long it took
        self._full_took_s = 0.0
        self._inodes: frozenset[int] = frozenset()
        self._sought: frozenset[int] = frozenset()  # what the last full scan looked for
        self._started: dict[int, int] = {}  # pid → start_ticks of every process read so far
        self._due: dict[int, None] = {}  # not read yet, in order
        self._unread: dict[int, str] = {}  # pid → reason
        self._facts: dict[int, Facts] = {}

    @property
    def unread(self) -> tuple[Unread, ...]:
        """Processes that could not be read; with hidepid they are not even visible (PID 1)."""
        found = [Unread(_comm(pid), why, pid) for pid, why in sorted(self._unread.items())]
        if self._due:
            found.append(Unread(f"{len(self._due)} processes", "not read yet, for want of time"))
        if not procfs.exists(1):
            found.append(Unread("processes of other users", "hidden"))
        return tuple(found)

    @property
    def found(self) -> Mapping[int, Facts]:
        """Holders, by PID, as of the last refresh."""
        return self._facts

    def facts(self, inodes: Collection[int], full: bool) -> dict[int, Facts]:
        """Those who hold one of these, by PID. Full every `full_every_s` seconds, and
        soon after a listener turned up that no full scan has looked for."""
        began = time.monotonic()
        self._inodes = frozenset(inodes)
        full = full or self._full_due(began)
        present = procfs.pids()
        self._forget(present)
        self._plan(present, full)
        self._scan(began + (FULL_LOOK_S if full else LOOK_S))
        if full:
            self._sought = self._inodes
            self._full_at = time.monotonic()
            self._full_took_s = self._full_at - began
        return self._facts

    def resting(self, held: Mapping[int, Collection[int]]) -> dict[int, Rest]:  # noqa: ARG002
        """Of nobody: how threads sleep has been looked at already."""
        return {}

    def _plan(self, present: set[int], full: bool) -> None:
        """Whom to read: everybody, or those that are new, young, or have changed."""
        due = present if full else (present - self._started.keys()).union(self._young())
        rest = self._facts.keys() - due - self._due.keys()
        due = due.union(pid for pid in rest if not self._stands(self._facts[pid]))
        left = [pid for pid in self._due if pid in present]
        self._due = dict.fromkeys([*sorted(due.difference(left)), *left])

    def _full_due(self, now: float) -> bool:
        rest = self._full_every_s
        if not self._inodes <= self._sought:
            rest = min(rest, FULL_REST * self._full_took_s)
        return now - self._full_at >= rest

    def _forget(self, present: set[int]) -> None:
        for pid in (self._started.keys() | self._unread.keys()) - present:
            self._drop(pid)

    def _drop(self, pid: int) -> None:
        self._started.pop(pid, None)
        self._unread.pop(pid, None)
        self._facts.pop(pid, None)

    def _young(self) -> set[int]:
        edge = (time.clock_gettime(time.CLOCK_BOOTTIME) - YOUNG_S) * TICKS_PER_S
        return {pid for pid, start in self._started.items() if start > edge}

    def _scan(self, until_s: float) -> None:
        """Read all descriptors of those that are due, as far as time allows."""
        due = list(self._due)
        for pid, answer in self._helper.map(partial(look, self._inodes), due, until_s):
            del self._due[pid]
            self._keep(pid, answer)
        if self._due:  # who took all the time comes last next time
            first = next(iter(self._due))
            self._due[first] = self._due.pop(first)

    def _keep(self, pid: int, answer: tuple[int, Answer] | None) -> None:
        self._drop(pid)
        if answer is None:  # it is tried again with the next full scan
            self._unread[pid], self._started[pid] = "does not let itself be read", 0
            return
        start, found = answer
        if found == "gone":
            return
        self._started[pid] = start
        if isinstance(found, Facts):
            if found.fds:
                self._facts[pid] = found
        else:
            self._unread[pid] = REASONS[found]

    def _stands(self, facts: Facts) -> bool:
        """Whether nothing that is known of a holder seems to have changed."""
        awaited = [inode for inode, waiting in facts.waits.items() if waiting.waits]
        try:
            if not awaited or procfs.stat(facts.pid) != (facts.comm, facts.start_ticks):
                return False
            return all(
                procfs.socket_at(facts.pid, facts.tid, facts.fds[inode]) == inode
                for inode in self._inodes.intersection(awaited)
            )
        except OSError:
            return False


REASONS: Final = {"denied": "permission denied", "too much": "too many open files"}


def look(inodes: frozenset[int], pid: int) -> tuple[int, Answer]:
    """When a process began, and what it holds of these sockets. In a helper: it may block.

    Who is gone, a zombie without other threads, or a thread of the kernel holds nothing.
    """
    start = 0
    try:
        comm, start = procfs.stat(pid)
        tid = procfs.living_thread(pid) if procfs.is_zombie(pid) else pid
        if tid is None:
            return start, "gone"
        sockets, epolls, complete = procfs.descriptors(pid, tid)
    except procfs.GONE:
        return start, "gone"
    except PermissionError:
        return start, "gone" if procfs.is_kernel_thread(pid) else "denied"
    fds: dict[int, list[int]] = {}
    for fd, inode in sorted(sockets.items()):
        if inode in inodes:
            fds.setdefault(inode, []).append(fd)
    if not complete:
        return start, "too much"
    waits = observe(pid, fds, epolls) if fds else dict.fromkeys(fds, UNKNOWN)
    return start, Facts(pid, tid, start, comm, {i: fd[0] for i, fd in fds.items()}, waits, False)


def _comm(pid: int) -> str:
    try:
        return procfs.stat(pid)[0]
    except OSError:
        return ""
