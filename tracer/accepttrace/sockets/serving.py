"""Processes that hold connections of a port and no listener there: those who only serve.

A server that accepts in one process and hands the connections on: PostgreSQL and sshd fork one for
each, Node's cluster passes them over a Unix socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from accepttrace.facts.records import LocalPort, Opened, Process, Serving
from accepttrace.sockets.facts import Facts
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.people import People

NAMED: Final = 64  # of whom the command line and the cgroup are read: those that hold most


class ServingReader:
    """Finds them in each new look at who holds what."""

    def __init__(self, helper: Helper) -> None:
        self._people = People(helper)
        self._opened: Opened | None = None
        self._last: tuple[Serving, ...] = ()

    def read(
        self, opened: Opened | None, holders: Mapping[LocalPort, Set[int]]
    ) -> tuple[Serving, ...]:
        """`holders`: by port, for those asked for, the PIDs of all who hold a listener there."""
        if opened is self._opened:
            return self._last
        self._opened = opened
        found = [
            (number, pid, where)
            for (pid, where), number in (opened.counts.items() if opened else ())
            if number and where in holders and pid not in holders[where]
        ]
        found.sort(key=lambda one: (-one[0], one[1]))
        self._last = tuple(self._named(opened, found)) if opened else ()
        return self._last

    def _named(self, opened: Opened, found: list[tuple[int, int, LocalPort]]) -> list[Serving]:
        known = {pid: opened.started[pid] for _, pid, _ in found if pid in opened.started}
        processes = {
            pid: Process(pid, start, comm := opened.comms.get(pid, ""), comm)
            for pid, start in known.items()
        }
        first = [processes[pid] for pid in list(known)[:NAMED]]
        facts = [Facts(p.pid, p.pid, p.start_ticks, p.comm, {}, {}, sure=False) for p in first]
        processes.update(self._people.meet(facts))
        return [
            Serving(processes[pid], where, number)
            for number, pid, where in found
            if pid in processes
        ]
