"""Who holds the listeners, and who waits on them, refresh after refresh."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from accepttrace.facts.records import Came, Holder, Process, Unread
from accepttrace.sockets.facts import NOT, UNKNOWN, Facts, Rest, Waiting
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.people import People

PAUSE_S: Final = 5.0  # who waits at times is asleep in something else for no longer
LATELY_S: Final = 60.0  # who waited so lately may be busy with a connection


class Source(Protocol):
    """Where facts come from."""

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What could not be read."""

    def facts(self, inodes: Collection[int], full: bool) -> dict[int, Facts]:
        """Those who hold one of these, by PID. The same objects where nothing has changed."""

    def resting(self, held: Mapping[int, Collection[int]]) -> Mapping[int, Rest]:
        """How processes sleep, by their PIDs and the descriptors of their listeners."""


class _Word(NamedTuple):
    """What is said of one process on one listener, and for how long."""

    shown: Waiting
    seen: bool  # at the last look, not remembered
    seen_s: float  # the last time it was


@dataclass(slots=True)
class _Held:
    """What one process holds."""

    facts: Facts
    process: Process
    words: dict[int, _Word] = field(default_factory=dict)
    holders: dict[int, Holder] = field(default_factory=dict)
    open: bool = False  # something is undecided, or stands only as long as it is remembered


class Processes:
    """Which processes hold which listeners, kept up to date by `refresh`.

    A worker that waited lately counts as waiting while it is busy: it is not asleep in accept()
    then. One that sleeps in something else for a while does not wait any more.
    """

    def __init__(self, source: Source, helper: Helper) -> None:
        self._source = source
        self._people = People(helper)
        self._held: dict[int, _Held] = {}
        self._index: dict[int, dict[int, Holder]] = {}  # inode → PID → holder
        self._lists: dict[int, tuple[Holder, ...]] = {}
        self._last_s = 0.0  # the refresh before

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What could not be read."""
        return (*self._source.unread, *self._people.unread)

    def refresh(self, inodes: Collection[int], full: bool) -> None:
        """Bring up to date who holds `inodes`."""
        now = time.monotonic()
        facts = self._source.facts(inodes, full)
        for pid in self._held.keys() - facts.keys():
            self._release(self._held.pop(pid))
        processes = self._people.meet(facts.values(), full)
        for pid, each in facts.items():
            self._take(each, processes[pid], now)
        self._ask_the_undecided(now)
        self._last_s = now

    def holders(self, inode: int) -> tuple[Holder, ...]:
        """Everybody who holds the listener, by PID; its lowest descriptor where there are more."""
        found = self._index.get(inode)
        if not found:
            return ()
        if inode not in self._lists:
            self._lists[inode] = tuple(found[pid] for pid in sorted(found))
        return self._lists[inode]

    def process(self, pid: int) -> Process | None:
        """Any process by its PID, holder or not; None if it is gone."""
        return self._people.process(pid)

    def _take(self, facts: Facts, process: Process, now: float) -> None:
        held = self._held.get(facts.pid)
        if held is None or held.facts.start_ticks != facts.start_ticks:
            if held is not None:
                self._release(held)
            held = self._held[facts.pid] = _Held(facts, process)
        elif held.facts is facts and held.process is process and not held.open:
            return
        for inode in held.facts.fds.keys() - facts.fds.keys():
            self._remove(held, inode)
        held.facts, held.process = facts, process
        self._settle(held, now)

    def _settle(self, held: _Held, now: float, rest: Rest | None = None) -> None:
        """`rest`: looked at after the facts were, by which nobody waited where that is UNKNOWN."""
        held.open = False
        for inode, fd in held.facts.fds.items():
            look = held.facts.waits[inode]
            if rest and look == UNKNOWN:
                call = rest.on.get(fd)
                look = Waiting(True, call) if call else NOT if rest.idle else UNKNOWN
            word = _word(held.words.get(inode), look, now, self._last_s)
            held.words[inode] = word
            held.open |= word.shown.waits is None or bool(word.shown.waits and not word.seen)
            holder = held.holders.get(inode)
            came = held.facts.came.get(inode)
            if holder is None or not _stands(holder, held.process, fd, word.shown, came):
                self._put(held, inode, _holder(held.process, fd, word.shown, came))

    def _ask_the_undecided(self, now: float) -> None:
        undecided = {
            held.facts.pid: held.facts.fds.values()
            for held in self._held.values()
            if held.open and held.facts.sure
        }
        for pid, rest in self._source.resting(undecided).items() if undecided else ():
            self._settle(self._held[pid], now, rest)

    def _put(self, held: _Held, inode: int, holder: Holder) -> None:
        held.holders[inode] = holder
        self._index.setdefault(inode, {})[holder.pid] = holder
        self._lists.pop(inode, None)

    def _remove(self, held: _Held, inode: int) -> None:
        held.words.pop(inode, None)
        held.holders.pop(inode, None)
        self._lists.pop(inode, None)
        found = self._index[inode]
        found.pop(held.facts.pid, None)
        if not found:
            del self._index[inode]

    def _release(self, held: _Held) -> None:
        for inode in tuple(held.holders):
            self._remove(held, inode)


def _word(before: _Word | None, look: Waiting, now: float, last_s: float) -> _Word:
    """What to say after one more look; `last_s`: the time of the one before."""
    if look.waits:
        return before if before and before.seen and before.shown == look else _Word(look, True, now)
    before = before or _Word(UNKNOWN, False, now)
    seen_s = last_s if before.seen else before.seen_s
    if before.shown.waits:
        lasts_s = LATELY_S if look.waits is None else PAUSE_S
        shown = before.shown if now - seen_s < lasts_s else look
    else:
        shown = before.shown if look.waits is None else look
    return _Word(shown, False, seen_s)


def _stands(holder: Holder, process: Process, fd: int, waiting: Waiting, came: Came | None) -> bool:
    return (
        (holder.fd, holder.came) == (fd, came)
        and (holder.waits, holder.waits_in) == waiting
        and (holder.name, holder.comm, holder.cgroup, holder.container, holder.pod)
        == (process.name, process.comm, process.cgroup, process.container, process.pod)
    )


def _holder(process: Process, fd: int, waiting: Waiting, came: Came | None) -> Holder:
    return Holder(
        pid=process.pid,
        start_ticks=process.start_ticks,
        comm=process.comm,
        name=process.name,
        fd=fd,
        waits=waiting.waits,
        cgroup=process.cgroup,
        container=process.container,
        ns_pid=process.ns_pid,
        waits_in=waiting.where,
        came=came,
        pod=process.pod,
    )
