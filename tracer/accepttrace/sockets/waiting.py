"""Whether a process waits for connections on a listener that it holds: the worker, or its parent?

A master process holds the listeners of its workers and accepts nothing; counting it as a lazy
worker would spoil every ratio. What shows the difference:
- the listener is in an epoll set of the process (`tfd` lines of /proc/PID/fdinfo/EPFD);
- a thread sleeps in accept() on it, or in poll() or select() with it in its list (`syscalls`).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Final, NamedTuple

from accepttrace.model.records import WaitsIn
from accepttrace.sockets import procfs, syscalls

THREADS_READ: Final = 64  # of one process; a larger one that shows nothing stays unknown
EPOLL_INPUT: Final = 0x1 | 0x40  # EPOLLIN, EPOLLRDNORM
EPOLL_ONESHOT: Final = 1 << 30
TARGET: Final = re.compile(
    r"^tfd:\s*\d+\s+events:\s*([0-9a-f]+).*?\bino:([0-9a-f]+) sdev:([0-9a-f]+)", re.MULTILINE
)


class Waiting(NamedTuple):
    """`waits` and `waits_in` of `records.Holder`."""

    waits: bool | None
    where: WaitsIn | None = None


UNKNOWN: Final = Waiting(None)
NOT: Final = Waiting(False)


def observe(
    pid: int, held: Mapping[int, Collection[int]], epolls: Iterable[int]
) -> dict[int, Waiting]:
    """How `pid` waits at this moment on each listener: `held` maps inode → descriptors.

    `epolls` are the epoll descriptors of the process. Nothing is raised: unreadable is UNKNOWN.
    """
    try:
        polled = _polled(pid, epolls)
    except OSError:
        return dict.fromkeys(held, UNKNOWN)
    rest = held.keys() - polled
    calls = _sleeping(pid) if rest else None
    found = {inode: Waiting(True, "epoll") for inode in held.keys() & polled}
    for inode in rest:
        found[inode] = _judge(calls, held[inode], alone=len(held) == 1)
    return found


def _polled(pid: int, epolls: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for fd in epolls:
        try:
            found |= epoll_targets(procfs.text(f"/proc/{pid}/fdinfo/{fd}"))
        except procfs.GONE:
            continue
    return found


def epoll_targets(lines: str) -> set[int]:
    """Inodes of the sockets that an epoll set waits for input on.

    From lines `tfd: N events: HEX data: HEX pos:N ino:HEX sdev:HEX`. A one-shot entry that has
    fired counts: its owner is about to arm it again. An entry with no input event is paused.
    """
    device = _socket_device()
    return {
        int(inode, 16)
        for events, inode, entry_device in TARGET.findall(lines)
        if int(events, 16) & (EPOLL_INPUT | EPOLL_ONESHOT) and int(entry_device, 16) == device
    }


@cache
def _socket_device() -> int:
    """The device number of sockfs: an inode number alone might be that of another file."""
    with socket.socket(socket.AF_UNIX) as any_socket:
        return os.minor(os.fstat(any_socket.fileno()).st_dev)


def _sleeping(pid: int) -> list[syscalls.Sleep | None] | None:
    """What each thread sleeps in (None: cannot be told); None if there are too many threads."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        if len(threads) > THREADS_READ:
            return None
        return [syscalls.sleep_of(f"/proc/{pid}/task/{tid}") for tid in threads]
    except OSError:
        return None


def _judge(calls: list[syscalls.Sleep | None] | None, fds: Collection[int], alone: bool) -> Waiting:
    """The first thread that waits on one of `fds`; NOT if all of them sleep for something else.

    `alone`: the process holds no other listener, so an accept() on an unreadable descriptor can
    only be on this one.
    """
    if calls is None:
        return UNKNOWN
    for sleep in calls:
        if sleep and sleep.call != "elsewhere":
            hit = alone if sleep.fds is None else not sleep.fds.isdisjoint(fds)
            if hit:
                return Waiting(True, sleep.call)
    certain = all(sleep is not None and sleep.fds is not None for sleep in calls)
    return NOT if certain else UNKNOWN
