"""Who could take connections now: those who wait, those who serve, those who left."""

from __future__ import annotations

from typing import Final

from accepttrace.model.census import Census, ProcessKey
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.tallies import UNNAMED, Tallies

SERVES_S: Final = 10.0  # so long a worker that accepted something may be too busy to wait


class Presence:
    """Tells of every entry whether it waits, and finds those who accepted nothing yet."""

    def __init__(self, listeners: Listeners, census: Census, tallies: Tallies) -> None:
        self._listeners = listeners
        self._census = census
        self._tallies = tallies
        self._idle: dict[tuple[Socket, ProcessKey], Entry] = {}
        self._state = (-1, -1)

    @property
    def entries(self) -> list[Entry]:
        """Of everybody. An idle hold of a process that works elsewhere in the same group is none:
        nginx workers inherit the sockets of all their siblings."""
        return [*self._tallies, *self._idle.values()]

    def update(self, now_s: float, *, looked: bool) -> list[Entry]:
        """Returns those who waited, accepted nothing, and are not there any more.

        `looked`: the holders were read again, after the counts of `now_s`.
        """
        for entry in self._tallies:
            self._place(entry, now_s, looked)
        state = (self._listeners.changes, self._tallies.changes)
        if state == self._state:
            return []
        before, self._idle, self._state = self._idle, self._find_idle(), state
        there = {(entry.socket, entry.process) for entry in self._tallies}
        return [e for key, e in before.items() if key not in self._idle and key not in there]

    def _place(self, entry: Entry, now_s: float, looked: bool) -> None:
        entry.members = self._listeners.set_of(entry.socket)
        process = entry.process
        if isinstance(process, Bygone):
            entry.waits = None if process in UNNAMED else False
            return
        idle = self._idle.get((entry.socket, process))  # before it asked for the first time
        entry.waited = entry.waited or (idle is not None and idle.waited)
        if not self._census.alive(process):
            entry.waits = entry.left = False
            return
        held = self._listeners.waits(entry.socket)
        asked = _asked(entry)
        if process in held:
            busy = asked and now_s - entry.active_s < SERVES_S
            entry.waits, entry.left = (True if busy else held[process]), False
        elif looked:
            entry.left = bool(held) and _holds_what_it_asks(entry) and entry.active_s < now_s
            entry.waits = False if entry.left else asked or None

    def _find_idle(self) -> dict[tuple[Socket, ProcessKey], Entry]:
        done, at_work = set(), set()
        for entry in self._tallies:
            done.add((entry.socket, entry.process))
            if entry.takes_part:
                at_work.add((entry.members, entry.process))
        holds = [
            (inode, self._listeners.set_of(inode), known.waits)
            for inode, known in self._listeners.known.items()
            if known.open and known.waits
        ]
        for _, members, waits in holds:
            at_work.update((members, process) for process, answer in waits.items() if answer)
        return {
            (inode, process): self._idler(inode, process, members, answer)
            for inode, members, waits in holds
            for process, answer in waits.items()
            if (inode, process) not in done
            and (answer is True or (members, process) not in at_work)
        }

    def _idler(
        self, inode: int, process: ProcessKey, members: tuple[object, ...], answer: bool | None
    ) -> Entry:
        entry = self._idle.get((inode, process)) or Entry(inode, process)
        entry.members, entry.waits = members, answer
        return entry


def _asked(entry: Entry) -> bool:
    """Who was sent away empty-handed did ask, even if no look at /proc ever found it waiting."""
    count = entry.count
    return count is not None and bool(count.accepts or count.empty or count.errors)


def _holds_what_it_asks(entry: Entry) -> bool:
    """By a descriptor of its own: io_uring and the kernel accept without one."""
    return entry.count is None or entry.count.via == "syscall" or not entry.count.accepts
