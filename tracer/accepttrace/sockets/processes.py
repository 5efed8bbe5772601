"""Who holds the listeners: a cache over /proc that reads as little as it can."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from accepttrace.model.records import Holder, Process
from accepttrace.sockets import procfs
from accepttrace.sockets.waiting import Waiting, observe

FULL_EVERY_S: Final = 30.0
FULL_REST: Final = (
    20  # a new listener forces a full scan only after 20 times what the last one took
)
YOUNG_S: Final = 5.0  # a process may get its listeners and its title shortly after it began
TICKS_PER_S: Final = 100  # USER_HZ, the unit of /proc/PID/stat; the same on every Linux machine


@dataclass(slots=True)
class _Held:
    """What one process holds, and how it waits on each listener, by inode."""

    process: Process
    fds: dict[int, list[int]]
    waiting: dict[int, Waiting]
    holders: dict[int, Holder]


class Processes:
    """Which processes hold which listeners, kept up to date by `refresh`.

    A light refresh reads new and young processes and those that do not seem to wait, and verifies
    the descriptors that the others wait on; a full one reads all descriptors of all processes.
    A process once seen waiting on a listener counts as waiting for as long as it holds it: a busy
    worker is not asleep in accept().
    """

    def __init__(self, full_every_s: float = FULL_EVERY_S) -> None:
        self._full_every_s = full_every_s
        self._full_at = -math.inf  # when the last full scan ended, and how long it took
        self._full_took_s = 0.0
        self._inodes: frozenset[int] = frozenset()
        self._sought: frozenset[int] = frozenset()  # what the last full scan looked for
        self._started: dict[int, int] = {}  # pid → start_ticks of every process read so far
        self._denied: set[int] = set()
        self._held: dict[int, _Held] = {}
        self._index: dict[int, tuple[Holder, ...]] | None = None  # None: to be made again

    @property
    def partial(self) -> bool:
        """Some processes could not be read; with hidepid they are not even visible (PID 1)."""
        return bool(self._denied) or not procfs.visible(1)

    def refresh(self, inodes: Collection[int], full: bool = False) -> None:
        """Bring up to date who holds `inodes`. Full by itself every `full_every_s` seconds, and
        soon after a listener turned up that no full scan has looked for."""
        began = time.monotonic()
        self._inodes = frozenset(inodes)
        full = full or self._full_due(began)
        present = procfs.pids()
        self._forget(present)
        fresh = present if full else (present - self._started.keys()) | self._young()
        for pid in self._held.keys() - fresh:
            self._verify(self._held[pid])
        for pid in fresh:
            self._scan(pid)
        if full:
            self._sought = self._inodes
            self._full_at = time.monotonic()
            self._full_took_s = self._full_at - began

    def _full_due(self, now: float) -> bool:
        rest = self._full_every_s
        if not self._inodes <= self._sought:
            rest = min(rest, FULL_REST * self._full_took_s)
        return now - self._full_at >= rest

    def holders(self, inode: int) -> tuple[Holder, ...]:
        """Everybody who holds the listener, by PID; its lowest descriptor where there are more."""
        if self._index is None:
            self._index = _index(self._held)
        return self._index.get(inode, ())

    def process(self, pid: int) -> Process | None:
        """Any process by its PID, holder or not; None if it is gone."""
        held = self._held.get(pid)
        if held:
            return held.process
        try:
            return procfs.process(pid)
        except OSError:
            return None

    def _forget(self, present: set[int]) -> None:
        for pid in self._started.keys() - present:
            self._drop(pid)

    def _drop(self, pid: int) -> None:
        self._started.pop(pid, None)
        self._release(pid)
        self._denied.discard(pid)

    def _release(self, pid: int) -> _Held | None:
        self._index = None
        return self._held.pop(pid, None)

    def _young(self) -> set[int]:
        edge = (time.clock_gettime(time.CLOCK_BOOTTIME) - YOUNG_S) * TICKS_PER_S
        return {pid for pid, start in self._started.items() if start > edge}

    def _scan(self, pid: int) -> None:
        """Read all descriptors of a process."""
        try:
            _, self._started[pid] = procfs.stat(pid)
            sockets, epolls = procfs.descriptors(pid)
        except procfs.GONE:
            return self._drop(pid)
        except PermissionError:
            self._denied.add(pid)
            self._release(pid)
            return None
        self._denied.discard(pid)
        return self._keep(pid, sockets, epolls)

    def _keep(self, pid: int, sockets: dict[int, int], epolls: list[int]) -> None:
        fds: dict[int, list[int]] = {}
        for fd, inode in sorted(sockets.items()):
            if inode in self._inodes:
                fds.setdefault(inode, []).append(fd)
        before = self._release(pid)
        if not fds:
            return
        try:
            process = procfs.process(pid)
        except OSError:
            return
        known = before.waiting if before and _same(before.process, process) else {}
        waiting = _observe(pid, fds, epolls, known)
        holders = {inode: _holder(process, fds[inode], waiting[inode]) for inode in fds}
        self._held[pid] = _Held(process, fds, waiting, holders)

    def _verify(self, held: _Held) -> None:
        """Read everything of a holder again if anything known about it has changed."""
        try:
            if self._unchanged(held):
                return
        except OSError:
            pass
        self._scan(held.process.pid)

    def _unchanged(self, held: _Held) -> bool:
        process = held.process
        awaited = [inode for inode, waiting in held.waiting.items() if waiting.waits]
        if not awaited or procfs.stat(process.pid) != (process.comm, process.start_ticks):
            return False
        return all(
            procfs.socket_at(process.pid, held.fds[inode][0]) == inode
            for inode in self._inodes.intersection(awaited)
        )


def _same(one: Process, other: Process) -> bool:
    return one.start_ticks == other.start_ticks


def _observe(
    pid: int, fds: dict[int, list[int]], epolls: list[int], known: dict[int, Waiting]
) -> dict[int, Waiting]:
    seen = {inode: known[inode] for inode in fds if inode in known and known[inode].waits}
    if seen.keys() == fds.keys():
        return seen
    return observe(pid, fds, epolls) | seen


def _index(held: dict[int, _Held]) -> dict[int, tuple[Holder, ...]]:
    lists: dict[int, list[Holder]] = {}
    for pid in sorted(held):
        for inode, holder in held[pid].holders.items():
            lists.setdefault(inode, []).append(holder)
    return {inode: tuple(holders) for inode, holders in lists.items()}


def _holder(process: Process, fds: list[int], waiting: Waiting) -> Holder:
    return Holder(
        pid=process.pid,
        start_ticks=process.start_ticks,
        comm=process.comm,
        name=process.name,
        fd=fds[0],
        waits=waiting.waits,
        cgroup=process.cgroup,
        container=process.container,
        ns_pid=process.ns_pid,
        waits_in=waiting.where,
    )
