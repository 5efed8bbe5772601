"""Whether a process waits for connections on a listener that it holds: the worker, or its parent?

A master process holds the listeners of its workers and accepts nothing; counting it as a lazy
worker would spoil every ratio. Where the kernel shows its wait queues (`queues`) they say so. Else,
as here, what a process shows of itself:
- the listener is in an epoll set of the process (`tfd` lines of /proc/PID/fdinfo/EPFD);
- a thread sleeps in accept() on it, or in poll() or select() with it in its list (`syscalls`).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Final

from accepttrace.sockets import procfs, syscalls
from accepttrace.sockets.facts import NOT, UNKNOWN, Waiting

THREADS_READ: Final = 64  # of one process; a larger one that shows nothing stays unknown
SETS_BYTES: Final = 1_048_576  # of all epoll sets of one process
EPOLL_INPUT: Final = 0x41  # EPOLLIN, EPOLLRDNORM
EPOLL_ONESHOT: Final = 1 << 30
TARGET: Final = re.compile(
    r"^tfd:\s*\d+\s+events:\s*([0-9a-f]+).*?\bino:([0-9a-f]+) sdev:([0-9a-f]+)", re.MULTILINE
)


def observe(
    pid: int, held: Mapping[int, Collection[int]], epolls: Iterable[int]
) -> dict[int, Waiting]:
    """How `pid` waits at this moment on each listener: `held` maps inode → descriptors.

    `epolls` are the epoll descriptors of the process. Nothing is raised: unreadable is UNKNOWN.
    It may block, as `syscalls` says.
    """
    try:
        polled, complete = _polled(pid, epolls)
    except OSError:
        return dict.fromkeys(held, UNKNOWN)
    rest = held.keys() - polled
    listeners = {fd for fds in held.values() for fd in fds}
    calls = _sleeping(pid, listeners) if rest else None
    found = {inode: Waiting(True, "epoll") for inode in held.keys() & polled}
    for inode in rest:
        way = _judge(calls, held[inode], alone=len(held) == 1)
        found[inode] = way if complete or way.waits else UNKNOWN
    return found


def _polled(pid: int, epolls: Iterable[int]) -> tuple[set[int], bool]:
    """Inodes in the sets, and whether all sets were read to their end."""
    found: set[int] = set()
    left = SETS_BYTES
    for fd in epolls:
        if left <= 0:
            return found, False
        try:
            lines = procfs.text(f"/proc/{pid}/fdinfo/{fd}", left)
        except procfs.GONE:
            continue
        left -= len(lines)
        found |= epoll_targets(lines)
    return found, left > 0


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


def _sleeping(pid: int, listeners: Collection[int]) -> list[syscalls.Sleep | None] | None:
    """What each thread sleeps in; None if there are too many threads.

    None of one: not known, or it may be busy with a connection.
    """
    try:
        threads = procfs.names(f"/proc/{pid}/task", THREADS_READ + 1)
        if len(threads) > THREADS_READ:
            return None
        return [_idle(procfs.task(pid, int(tid)), listeners) for tid in threads]
    except OSError:
        return None


def _idle(task: str, listeners: Collection[int]) -> syscalls.Sleep | None:
    sleep = syscalls.sleep_of(task)
    return sleep if sleep and syscalls.serves_nobody(task, sleep, listeners) else None


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
