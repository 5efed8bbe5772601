"""What `who` reads beside the inventory. How much there is of it is up to others: bounded."""

from __future__ import annotations

import pwd
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from accepttrace.facts.datagrams import Receiver
from accepttrace.facts.kin import Kin, NetSettings, Surroundings
from accepttrace.facts.records import TICKS_PER_S, Holder, Listener, Serving
from accepttrace.probe import pidns
from accepttrace.probe.cpus import cpus
from accepttrace.sockets import namespaces, procfs
from accepttrace.sockets.diag.kcmp import same_file
from accepttrace.sockets.diag.netns import call_inside

ANCESTORS: Final = 32  # of one process
SERVING: Final = 256  # processes that only serve
FROZEN: Final = 256  # processes that are looked at for that
COMPARED: Final = 10_000  # descriptors
USERS: Final = 256
SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")
MIGRATE: Final = Path("/proc/sys/net/ipv4/tcp_migrate_req")


def surroundings(
    rows: Sequence[Listener | Receiver],
    path_of: Callable[[int], str | None],
    serving: Sequence[Serving] = (),
    compared: bool = True,
) -> Surroundings:
    """Of these sockets, their holders, and those who only serve.

    `path_of` a network namespace, as `Holding.path`. `compared`: by kcmp, for `same_file`.
    """
    holders = (holder.pid for row in rows for holder in row.holders)
    kin = _kin([*holders, *(one.process.pid for one in serving[:SERVING])])
    kin |= _frozen(rows, kin)
    uids = {one.uid for one in kin.values()} | {row.uid for row in rows}
    return Surroundings(
        kin=kin,
        users=dict(_users(uid for uid in uids if uid is not None)),
        settings={n: _settings(n, path_of) for n in {row.netns for row in rows}},
        # kcmp() takes PIDs of our own namespace.
        same_file=_same_files(rows) if compared and pidns.is_of_proc() else {},
        cpus=_cpus(),
        now_ticks=int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_PER_S),
        netns=procfs.netns("/proc/self/ns/net"),
        namespaces=namespaces.called(),
    )


def _kin(pids: Iterable[int]) -> dict[int, Kin]:
    """Of these and their ancestors."""
    found: dict[int, Kin] = {}
    for pid in pids:
        for _ in range(ANCESTORS):
            if not pid or pid in found:
                break
            with suppress(OSError, ValueError, IndexError):
                found[pid] = procfs.kin(pid)
            pid = found[pid].parent if pid in found else 0
    return found


def _frozen(rows: Iterable[Listener | Receiver], kin: Mapping[int, Kin]) -> dict[int, Kin]:
    """Those of whom connections wait in vain: no state of a process says that it is frozen."""
    found: dict[int, Kin] = {}
    late = [row for row in rows if isinstance(row, Listener) and row.waits_long]
    for pid in islice({holder.pid for row in late for holder in row.holders}, FROZEN):
        with suppress(OSError):
            if pid in kin and procfs.is_suspended(f"/proc/{pid}"):
                found[pid] = kin[pid]._replace(stopped=True)
    return found


def _users(uids: Iterable[int]) -> Iterator[tuple[int, str]]:
    for uid in islice(sorted(uids), USERS):
        with suppress(KeyError):
            yield uid, pwd.getpwuid(uid).pw_name


def _settings(netns: int, path_of: Callable[[int], str | None]) -> NetSettings:
    try:
        path = path_of(netns)
        return call_inside(path, _read_settings) if path else _read_settings()
    except OSError:  # gone, or not ours to enter
        return NetSettings()


def _read_settings() -> NetSettings:
    migrates = _number(MIGRATE)
    return NetSettings(_number(SOMAXCONN), None if migrates is None else migrates != 0)


def _cpus() -> int:
    try:
        return cpus("online")
    except (OSError, ValueError):
        return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _same_files(rows: Iterable[Listener | Receiver]) -> dict[int, bool]:
    """The same inode proves it already; this is the kernel's own word, where it gives it."""
    found: dict[int, bool] = {}
    left = COMPARED
    for row in rows:
        left -= len(row.holders)
        answer = _compared(row.holders) if left >= 0 else None
        if answer is not None:
            found[row.inode] = answer
    return found


def _compared(holders: tuple[Holder, ...]) -> bool | None:
    """The first with all others; None where one of them may not be asked about."""
    answers = set()
    for each in holders[1:]:
        answers.add(same_file((holders[0].pid, holders[0].fd), (each.pid, each.fd)))
        if None in answers:
            return None
    return answers == {True} if answers else None
