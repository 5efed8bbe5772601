"""Who holds how many connections, where the kernel's list of open files may not be used.

sock_diag says which inodes they have, /proc which processes hold those.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from accepttrace.facts.records import LocalPort, Opened
from accepttrace.sockets import procfs
from accepttrace.sockets.diag.tcp import Look
from accepttrace.sockets.facts import Facts
from accepttrace.sockets.helper import Helper

REST: Final = 50  # times what a look took, until the next
LOOK_S: Final = 0.5  # of reading; whoever is not read by then stays unknown
Answer = tuple[int, Counter[LocalPort]]  # start of the process (ticks), and what it holds


class OpenedByProc:
    """Reads it as often as it may: it takes at most a fiftieth of the time."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._rest_until_s = 0.0
        self.last: Opened | None = None

    @property
    def due(self) -> bool:
        """Whether it may be read again."""
        return time.monotonic() >= self._rest_until_s

    def read(
        self,
        ports: frozenset[int],
        looks: Iterable[tuple[int, Look]],
        holders: Mapping[int, Facts],
        took_s: float,
    ) -> None:
        """Look at the `holders` of listeners alone. `took_s`: so long the `looks` took."""
        began = time.monotonic()
        listed = [
            (netns, look.connections) for netns, look in looks if look.connections is not None
        ]
        where = {
            one.inode: LocalPort(netns, one.local_port, one.family)
            for netns, connections in listed
            for one in connections
        }
        threads = [(pid, facts.tid) for pid, facts in holders.items()]
        started: dict[int, int] = {}
        counts: dict[tuple[int, LocalPort], int] = {}
        until_s = began + LOOK_S
        for (pid, _), answer in self._helper.map(partial(count, where), threads, until_s):
            if answer is not None:
                started[pid] = answer[0]
                counts.update(((pid, port), number) for port, number in answer[1].items())
        now = time.monotonic()
        self._rest_until_s = now + REST * (took_s + now - began)
        namespaces = frozenset(netns for netns, _ in listed)
        self.last = Opened(now, ports, started, counts, namespaces)


def count(where: Mapping[int, LocalPort], task: tuple[int, int]) -> Answer:
    """What one process holds, each once. In a helper: it may block. OSError: it cannot be read."""
    pid, tid = task
    _, start = procfs.stat(pid)
    sockets, _, complete = procfs.descriptors(pid, tid)
    if not complete:
        raise OSError("too many open files")
    return start, Counter(where[inode] for inode in set(sockets.values()) if inode in where)
