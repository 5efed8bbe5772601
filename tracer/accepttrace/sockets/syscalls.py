"""In which system call a thread sleeps, and for which descriptors: /proc/PID/task/TID/syscall.

Its list of descriptors lies in memory of its own (/proc/TID/mem), where reading may never end: for
a sockets.helper.Helper only.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final, Literal, NamedTuple

from accepttrace.facts.records import WaitsIn
from accepttrace.sockets import procfs
from accepttrace.sockets.facts import Rest

Call = Literal["accept", "poll", "select", "elsewhere"]

# Asleep in `elsewhere`, a thread waits for something that is certainly no listener: a parent for
# its children, a signal, an epoll set (whose members are known). Any other call (read, futex, ...)
# may be a worker serving somebody, of which nothing is known.
NUMBERS: Final[dict[str, dict[Call, tuple[int, ...]]]] = {
    "x86_64": {
        "accept": (43, 288),  # accept, accept4
        "poll": (7, 271),  # poll, ppoll
        "select": (23, 270),  # select, pselect6
        # epoll_wait, epoll_pwait, epoll_pwait2, pause, wait4, waitid, rt_sigsuspend,
        # rt_sigtimedwait
        "elsewhere": (232, 281, 441, 34, 61, 247, 130, 128),
    },
    "aarch64": {
        "accept": (202, 242),
        "poll": (73,),  # ppoll
        "select": (72,),  # pselect6
        # epoll_pwait, epoll_pwait2, wait4, waitid, rt_sigsuspend, rt_sigtimedwait
        "elsewhere": (22, 441, 260, 95, 133, 137),
    },
}
CALLS: Final[dict[int, Call]] = {
    number: call
    for call, numbers in NUMBERS.get(os.uname().machine, {}).items()
    for number in numbers
}
# The symbol in /proc/TID/wchan while a thread sleeps in accept(): the waiting is inlined or not.
ACCEPT_SYMBOLS: Final = {"inet_csk_accept", "inet_csk_wait_for_connect"}
LITTLE: Final = "little"  # both machines above
POLLFD_BYTES: Final = 8  # int fd, short events, short revents
POLL_INPUT: Final = 0x41  # POLLIN, POLLRDNORM
MEMORY_BYTES: Final = 8192  # a longer poll or select list is not read
THREADS_READ: Final = 1024  # of one process
SERVING: Final = 16  # descriptors: who polls more serves not one client, but runs a loop


class Sleep(NamedTuple):
    """A call and the descriptors it waits on; None: it sleeps in accept() on an unknown one.

    `others`: what it polls for something else than input.
    """

    call: Call
    fds: frozenset[int] | None
    others: frozenset[int] = frozenset()


NOWHERE: Final = Sleep("elsewhere", frozenset())


def rest_of(asked: tuple[int, frozenset[int]]) -> Rest:
    """Of a process, by its PID and the descriptors of its listeners; see `Rest`.

    OSError if it is gone or may not be looked at.
    """
    pid, listeners = asked
    on: dict[int, WaitsIn] = {}
    threads = procfs.names(f"/proc/{pid}/task", THREADS_READ + 1)
    if len(threads) > THREADS_READ:
        return Rest(on, False)
    for task in (procfs.task(pid, int(tid)) for tid in threads):
        sleep = sleep_of(task)
        if sleep is None or sleep.fds is None:
            return Rest(on, False)
        if sleep.call != "elsewhere":
            on |= dict.fromkeys(sleep.fds & listeners, sleep.call)
        if not serves_nobody(task, sleep, listeners):
            return Rest(on, False)
    return Rest(on, not procfs.is_stopped(pid))  # else it goes on in the call, once continued


def serves_nobody(task: str, sleep: Sleep, listeners: Collection[int]) -> bool:
    """Whether a thread that sleeps so has to do with no connection.

    In poll() or select() on sockets that are no `listeners`, it may wait for a client.
    """
    fds = sleep.others.union(sleep.fds or ())
    if sleep.call in ("elsewhere", "accept") or not fds.isdisjoint(listeners):
        return True
    return len(fds) > SERVING or not any(procfs.may_be_socket(f"{task}/fd/{fd}") for fd in fds)


def sleep_of(task: str) -> Sleep | None:
    """What the thread at `task` (/proc/PID/task/TID) sleeps in; None if that is not known.

    OSError if the thread is gone. The file `syscall` asks for more rights than `wchan` does
    (ptrace attach against read), so that is the second choice.
    """
    try:
        line = procfs.record(f"{task}/syscall")
        found = _decode(task, line)
        # A list read from memory belongs to this call only if the thread has not moved.
        return found if procfs.record(f"{task}/syscall") == line else None
    except PermissionError:
        wchan = procfs.record(f"{task}/wchan")
        return Sleep("accept", None) if wchan in ACCEPT_SYMBOLS else None


def _decode(task: str, line: str) -> Sleep | None:
    number, *arguments = line.split()
    if not number.isdigit():  # "running", or "-1": asleep outside any call
        return None
    call = CALLS.get(int(number))
    values = [int(value, 16) for value in arguments]
    if call == "accept":
        return Sleep(call, frozenset({values[0] & 0xFFFFFFFF}))
    if call == "poll":
        data = _memory(task, values[0], values[1] * POLLFD_BYTES)
        return None if data is None else Sleep(call, poll_list(data), poll_list(data, ~POLL_INPUT))
    if call == "select":
        size = (values[0] + 7) // 8
        data, others = _memory(task, values[1], size), _memory(task, values[2], size)
        if data is None or others is None:
            return None
        return Sleep(call, *(select_list(each, values[0]) for each in (data, others)))
    return NOWHERE if call else None


def _memory(task: str, address: int, size: int) -> bytes | None:
    """`size` bytes at `address` of the thread; None if they are too many or not there."""
    if address == 0:
        return b""
    if size > MEMORY_BYTES:
        return None
    memory = os.open(f"{task}/mem", os.O_RDONLY)
    try:
        data = os.pread(memory, size, address)
    except PermissionError:
        raise
    except OSError:  # EIO: that address is not mapped
        return None
    finally:
        os.close(memory)
    return data if len(data) == size else None


def poll_list(data: bytes, wanted: int = POLL_INPUT) -> frozenset[int]:
    """Descriptors that an array of `struct pollfd` waits for input on; those below 0 are unused."""
    entries = (data[at : at + POLLFD_BYTES] for at in range(0, len(data), POLLFD_BYTES))
    return frozenset(
        fd
        for each in entries
        if int.from_bytes(each[4:6], LITTLE) & wanted
        and (fd := int.from_bytes(each[:4], LITTLE, signed=True)) >= 0
    )


def select_list(data: bytes, count: int) -> frozenset[int]:
    """Descriptors below `count` whose bit is set in an `fd_set`."""
    bits = int.from_bytes(data, LITTLE)
    return frozenset(fd for fd in range(count) if bits >> fd & 1)
