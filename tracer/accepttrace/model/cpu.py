"""How much processor time processes took."""

from __future__ import annotations

from collections.abc import Mapping

from accepttrace.facts.records import CpuTime
from accepttrace.model.census import ProcessKey
from accepttrace.model.entries import Actor, Bygone

Times = Mapping[ProcessKey, CpuTime]


class Cpus:
    """Of those that were there at the last reading: since the one before, and since the first."""

    def __init__(self) -> None:
        self._first: Times = {}
        self._before: Times = {}
        self._now: Times = {}

    def update(self, cpu: Mapping[int, CpuTime]) -> None:
        """Take in one reading, by pid."""
        self._before = self._now
        self._now = {(pid, time.start_ticks): time for pid, time in cpu.items()}
        self._first = {key: self._first.get(key, time) for key, time in self._now.items()}

    def of(self, process: Actor, *, whole: bool) -> float | None:
        """Its share of one processor; `whole`: since it was first read. None: not known."""
        if isinstance(process, Bygone):
            return None
        now = self._now.get(process)
        before = (self._first if whole else self._before).get(process)
        if now is None or before is None or now.at_s <= before.at_s:
            return None
        used_s = now.used_s - before.used_s
        return used_s / (now.at_s - before.at_s) if used_s >= 0 else None
