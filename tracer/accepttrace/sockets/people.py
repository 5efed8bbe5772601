"""Processes by the names that people know: read when they are met, and again when they change."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final, NamedTuple

from accepttrace.model.records import Process
from accepttrace.probe.helper import Helper
from accepttrace.sockets import procfs
from accepttrace.sockets.facts import Facts

NAMES_S: Final = 0.3  # of reading command lines, in one refresh
FRESH_S: Final = 30.0  # a name that is older is read again
YOUNG_S: Final = 5.0  # a process may get its title shortly after it began


class _Known(NamedTuple):
    process: Process
    read_s: float
    settled: bool  # it was not young any more


class People:
    """Names of holders and others. What is silent when asked for its command line goes by comm."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._known: dict[int, _Known] = {}
        self._silent: dict[int, int] = {}  # PID → start_ticks of those who do not answer

    def meet(self, holders: Collection[Facts]) -> dict[int, Process]:
        """Each by its PID."""
        now = time.monotonic()
        edge = (time.clock_gettime(time.CLOCK_BOOTTIME) - YOUNG_S) * procfs.TICKS_PER_S
        due = {f.pid: f for f in holders if self._is_due(f, now)}
        names = self._names(due.values(), now + NAMES_S)
        for pid, facts in due.items():
            process = procfs.describe(pid, facts.start_ticks, facts.comm, names[pid])
            self._known[pid] = _Known(process, now, facts.start_ticks < edge)
        present = {facts.pid for facts in holders}
        for pid in self._known.keys() - present:
            del self._known[pid]
        return {pid: known.process for pid, known in self._known.items()}

    def process(self, pid: int) -> Process | None:
        """Any process by its PID, holder or not; None if it is gone."""
        known = self._known.get(pid)
        if known:
            return known.process
        try:
            comm, start = procfs.stat(pid)
        except OSError:
            return None
        stranger = Facts(pid, pid, start, comm, {}, {}, False)
        names = self._names([stranger], time.monotonic() + NAMES_S)
        return procfs.describe(pid, start, comm, names[pid])

    def _is_due(self, facts: Facts, now: float) -> bool:
        known = self._known.get(facts.pid)
        return (
            known is None
            or (known.process.start_ticks, known.process.comm) != (facts.start_ticks, facts.comm)
            or not known.settled
            or now - known.read_s > FRESH_S
        )

    def _names(self, due: Collection[Facts], until_s: float) -> dict[int, str]:
        found = {facts.pid: facts.comm for facts in due}
        asked = [f for f in due if self._silent.get(f.pid) != f.start_ticks]
        starts = {facts.pid: facts.start_ticks for facts in asked}
        whom = [(facts.pid, facts.tid, facts.comm) for facts in asked]
        for (pid, _, _), name in self._helper.map(procfs.name, whom, until_s):
            if name is None:
                self._silent[pid] = starts[pid]
            else:
                found[pid] = name
        return found
