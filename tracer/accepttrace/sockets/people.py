"""Processes by the names that people know: read when they are met, and again when they change."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from sys import intern
from typing import Final, NamedTuple, TypeVar

from accepttrace.facts.records import TICKS_PER_S, Process, Unread
from accepttrace.sockets import belonging, procfs
from accepttrace.sockets.facts import Facts
from accepttrace.sockets.helper import Helper

T = TypeVar("T")

NAMES_S: Final = 0.3  # of reading command lines, in one refresh
FULL_S: Final = 5.0  # ... where that is all there is to do
FRESH_S: Final = 30.0  # a name that is older is read again
YOUNG_S: Final = 5.0  # a process may get its title shortly after it began,
REST: Final = 10  # ... but where it takes long to read names, not at each refresh
SILENT_S: Final = 60.0  # who did not answer is asked again, each time twice as late

_Who = tuple[int, int]  # PID and start_ticks


class _Known(NamedTuple):
    process: Process
    due_s: float  # when its name is to be read again


class People:
    """Names of holders and others. What is silent when asked for its command line goes by comm."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._known: dict[int, _Known] = {}
        self._silent: dict[_Who, float] = {}  # seconds until it is asked again

    @property
    def unread(self) -> tuple[Unread, ...]:
        """Holders whose command line does not come."""
        return tuple(
            Unread(known.process.comm, "its command line does not come", pid, holders=False)
            for pid, known in self._known.items()
            if self._is_silent(known.process)
        )

    def meet(self, holders: Collection[Facts], full: bool = False) -> dict[int, Process]:
        """Each by its PID. `full`: as many names as can be had, though it takes longer."""
        now = time.monotonic()
        due = [facts for facts in holders if self._is_due(facts, now)]
        found: dict[int, Process] = {}
        named: set[int] = set()
        for facts, name in self._names(due, now + (FULL_S if full else NAMES_S)):
            found[facts.pid] = _described(facts, name)  # while others are read
            if name is not None:
                named.add(facts.pid)
        young_s = REST * (time.monotonic() - now)
        for facts in due:
            process = found.get(facts.pid) or _described(facts, None)
            grace_s = self._grace_s(facts, facts.pid in named, young_s)
            self._known[facts.pid] = _Known(process, now + grace_s)
        present = {facts.pid: facts.start_ticks for facts in holders}
        for pid in self._known.keys() - present:
            del self._known[pid]
        for who in self._silent.keys() - present.items():
            del self._silent[who]
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
        names = [name for _, name in self._names([stranger], time.monotonic() + NAMES_S)]
        return _described(stranger, names[0] if names else None)

    def _is_due(self, facts: Facts, now: float) -> bool:
        known = self._known.get(facts.pid)
        if known is None or known.process.start_ticks != facts.start_ticks:
            return True
        return now >= known.due_s or known.process.comm != facts.comm

    def _grace_s(self, facts: Facts, is_named: bool, young_s: float) -> float:
        """How long its name stands. `young_s`: of one that may still get its title."""
        silent_s = self._silent.get((facts.pid, facts.start_ticks))
        if silent_s is not None:
            return silent_s
        edge = (time.clock_gettime(time.CLOCK_BOOTTIME) - YOUNG_S) * TICKS_PER_S
        if not is_named:
            return 0.0
        return FRESH_S if facts.start_ticks < edge else young_s

    def _is_silent(self, process: Process) -> bool:
        return (process.pid, process.start_ticks) in self._silent

    def _names(self, due: Collection[Facts], until_s: float) -> Iterator[tuple[Facts, str | None]]:
        """Of each in turn, as long as there is time; None: it does not come."""
        whom = [(facts.pid, facts.tid, facts.comm) for facts in due]
        found = self._helper.map(procfs.name, whom, until_s)
        for (_, name), facts in zip(found, due, strict=False):
            who = facts.pid, facts.start_ticks
            if name is not None:
                self._silent.pop(who, None)
            elif procfs.exists(facts.pid):
                self._silent[who] = 2 * self._silent.get(who, SILENT_S / 2)
            yield facts, name


def _described(facts: Facts, name: str | None) -> Process:
    """A process, with all by which people know it. What cannot be read stays unknown.

    `name` None: it is called what the kernel calls it.
    """
    path = _or_none(procfs.cgroup, facts.pid)
    container, pod = belonging.called(path) if path else (None, None)
    return Process(
        pid=facts.pid,
        start_ticks=facts.start_ticks,
        comm=facts.comm,
        name=facts.comm if name is None else name,
        cgroup=path and intern(path),  # many processes have the same
        container=container,
        ns_pid=_or_none(procfs.ns_pid, facts.pid),
        pod=pod,
    )


def _or_none(read: Callable[[int], T], pid: int) -> T | None:
    try:
        return read(pid)
    except OSError:
        return None
