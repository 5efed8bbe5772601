"""Every network namespace of the machine, and a path by which it can be entered."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, TypeVar

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.sockets import procfs

T = TypeVar("T")

NAMED: Final = "/run/netns"  # where `ip netns add` keeps them; they may have no process


class Namespaces:
    """Distinct network namespaces by inode number, kept up to date by `refresh`."""

    def __init__(self) -> None:
        self.own = os.stat("/proc/self/ns/net").st_ino
        self.partial = False  # some processes did not show their namespace
        self._by_pid: dict[int, int | None] = {}

    def refresh(self, full: bool = False) -> dict[int, str | None]:
        """inode number → path; None for the namespace that this process is in itself.

        Only new processes are read, unless `full`: a process may change its namespace.
        """
        present = procfs.pids()
        kept = {} if full else {p: n for p, n in self._by_pid.items() if p in present}
        self._by_pid = kept | {pid: _of(pid) for pid in present - kept.keys()}
        self.partial = None in self._by_pid.values()
        found: dict[int, str | None] = _named()
        for pid, number in self._by_pid.items():
            if number is not None:
                found[number] = f"/proc/{pid}/ns/net"
        found[self.own] = None
        return found


def ask_all(
    namespaces: Mapping[int, str | None],
    wanted: Collection[int],
    ask: Callable[[str | None], Iterable[T]],
) -> tuple[list[tuple[int, T]], bool]:
    """What `ask` finds at each path, as pairs (netns, found); and whether some may not be entered.

    `wanted`: only these; none: all. AcceptTraceError as `ask` raises it, unless the namespace went
    away meanwhile.
    """
    found: list[tuple[int, T]] = []
    hidden = False
    for netns, path in namespaces.items():
        if wanted and netns not in wanted:
            continue
        try:
            found += [(netns, one) for one in ask(path)]
        except UnsupportedError:
            hidden = True
        except AcceptTraceError:
            if path is None or os.path.exists(path):
                raise
    return found, hidden


def _of(pid: int) -> int | None:
    try:
        return procfs.netns(pid)
    except OSError:
        return None


def _named() -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    try:
        for entry in os.scandir(NAMED):
            found[entry.stat().st_ino] = entry.path
    except OSError:  # nobody used `ip netns` here, or one was removed just now
        pass
    return found
