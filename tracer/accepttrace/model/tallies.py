"""Who accepted from what, thread by thread; of those that ended only a few apart, the rest summed.

Threads that ended leave the kernel's maps. The counters of the last ones stay apart; older threads
are summed up by process and listener, and all but the last processes that ended by program and
listener: so what is kept does not grow with the dead, and no sum is ever lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from accepttrace.facts.records import OUTSIDE, AcceptorCount, Counts
from accepttrace.model.census import Census, ProcessKey
from accepttrace.model.entries import SEVERAL, Actor, Bygone, Entry
from accepttrace.model.listeners import Socket

AcceptorKey = tuple[int, int, int]  # inode of the listener, tid, start of the thread (ns)
Joined = Callable[[Entry, Entry], None]  # the first has become part of the second

LAST: Final = 16  # threads, and processes, that stay apart after they ended
MOST_PROGRAMS: Final = 16  # that have rows of their own on one listener
OTHERS: Final = "other programs"
# Those whose accepts were counted at the listener, for want of a row of their own.
WITHOUT_ROW: Final = Bygone("workers without a row", kept=True)
# ... and those that have no PID in the tracer's own PID namespace: one row for all of them.
OUTSIDERS: Final = Bygone(OUTSIDE, kept=True)
UNNAMED: Final = (WITHOUT_ROW, OUTSIDERS)  # they may be alive, and nobody knows how many they are


class Tallies:
    """The entries of everybody who ever accepted. `joined` hears of every sum that is made."""

    def __init__(self, census: Census, name: Callable[[Entry], Bygone], joined: Joined) -> None:
        self._census = census
        self._name = name
        self._joined = joined
        self._live: dict[AcceptorKey, Entry] = {}
        self._ended: dict[AcceptorKey, Entry] = {}  # the latest last
        self._closed: dict[Socket, list[Entry]] = {}  # as they were when the listener closed
        self._sums: dict[Socket, dict[Actor, Entry]] = {}
        self._processes: dict[ProcessKey, None] = {}  # that ended, the latest last
        # Let go, and not yet forgotten by the kernel side; their accepts do not change any more.
        self._parting: dict[AcceptorKey, int] = {}
        self._advanced: list[Entry] = []  # in this interval
        self.changes = 0  # grows whenever entries come or go

    def __iter__(self) -> Iterator[Entry]:
        for sums in self._sums.values():
            yield from sums.values()
        for entries in self._closed.values():
            yield from entries
        yield from self._ended.values()
        yield from self._live.values()

    @property
    def live(self) -> Collection[Entry]:
        """Of threads that may be alive, and accept again."""
        return self._live.values()

    def agree(self, counts: Counts) -> bool:
        """Whether a reading finds the accepts of everybody as they were at the last one."""
        found = {(c.listener_inode, c.tid, c.start_ns): c.accepts for c in counts.acceptors}
        known = {key: entry.accepts for key, entry in self._live.items()}
        return {key: n for key, n in found.items() if key not in self._parting} == known

    @property
    def undecided(self) -> list[ProcessKey]:
        """Processes with entries that may be alive or have ended; those last that did so last."""
        found: dict[ProcessKey, None] = {}
        for entry in self:
            if not isinstance(entry.process, Bygone):
                found[entry.process] = None
        return [process for process in found if process not in self._processes]

    def begin_interval(self) -> None:
        """From now on what is accepted belongs to a new one."""
        for entry in self._advanced:
            entry.interval = 0
        self._advanced.clear()

    def count(self, counts: Counts, now_s: float) -> set[int]:
        """Take in one reading; returns the inodes of the listeners with new accepts."""
        moved: set[int] = set()
        parting: dict[AcceptorKey, int] = {}
        for count in counts.acceptors:
            key = (count.listener_inode, count.tid, count.start_ns)
            if self._parting.get(key) == count.accepts:
                parting[key] = count.accepts
                continue
            entry = self._live.get(key) or self._meet(key, count)
            if count.pid and not count.process_start_ns:
                process = self._census.key_of(count)  # it may become known later
                self.changes += process != entry.process
                entry.process = process
            if self._advance(entry, count, now_s):
                moved.add(count.listener_inode)
        self._parting = parting
        return moved

    def count_without_row(self, inode: int, accepts: int, now_s: float) -> None:
        """Take in how many were accepted from a listener by workers that have no row."""
        count = AcceptorCount(inode, 0, 0, 0, "", accepts, 0, {}, (), 0, accepts, 0, None, 0)
        sums = self._sums.setdefault(inode, {})
        if WITHOUT_ROW not in sums:
            sums[WITHOUT_ROW] = Entry(inode, WITHOUT_ROW, SEVERAL, barred=True)
            self.changes += 1
        self._advance(sums[WITHOUT_ROW], count, now_s)

    def let_go(self, ended: Iterable[AcceptorKey]) -> dict[AcceptorKey, int]:
        """Those of threads that have ended; returns the keys of all whose rows are not needed, and
        how many accepts these rows have that were not let go before."""
        again = dict.fromkeys(self._parting, 0)
        there = [key for key in ended if key in self._live]
        there.sort(key=lambda key: self._live[key].active_s)
        gone = {key: self._live[key].accepts for key in there}
        for key in gone:
            entry = self._ended[key] = self._live.pop(key)
            entry.ended = 1
        while len(self._ended) > LAST:
            self._sum(self._ended.pop(next(iter(self._ended))))
        self._parting.update(gone)
        return again | gone

    def close(self, inodes: Collection[int]) -> dict[AcceptorKey, int]:
        """Nobody will accept from these listeners any more; returns who did, as `let_go`."""
        there = [key for key in self._live if key[0] in inodes] if inodes else []
        gone = {key: self._live[key].accepts for key in there}
        for key in gone:
            self._closed.setdefault(key[0], []).append(self._live.pop(key))
        self._parting.update(gone)
        return gone

    def at(self, socket: Socket) -> list[Entry]:
        """Everything of a listener that was closed."""
        ended = [entry for entry in self._ended.values() if entry.socket == socket]
        return [*self._closed.get(socket, ()), *ended, *self._sums.get(socket, {}).values()]

    @property
    def at_rest(self) -> set[Socket]:
        """The listeners of all entries but those of threads that may be alive."""
        ended = {entry.socket for entry in self._ended.values()}
        return {*self._closed, *ended, *self._sums}

    def fold(self, inode: Socket, place: Socket | None) -> None:
        """Sum up what belongs to a listener with all others at its place; None: drop it."""
        parts = self.at(inode)
        for key in [key for key, entry in self._ended.items() if entry.socket == inode]:
            del self._ended[key]
        self._closed.pop(inode, None)
        self._sums.pop(inode, None)
        self.changes += 1
        for entry in parts if place is not None else ():
            self._sum(entry, place)

    def wait_no_more(self, idle: Entry) -> None:
        """Keep one that took part, accepted nothing, and does not wait there any more."""
        self._sum(idle)

    def end_processes(self) -> None:
        """Keep the last processes that ended apart, and sum up the others by their programs."""
        live = {entry.process for entry in self._live.values()}
        for process in self.undecided:
            if process not in live and not self._census.alive(process):
                self._processes[process] = None
        for process in [p for p in self._processes if p in live or self._census.alive(p)]:
            del self._processes[process]
        over = set(list(self._processes)[: max(len(self._processes) - LAST, 0)])
        if over:
            self._bury(over)

    def _bury(self, processes: set[ProcessKey]) -> None:
        for process in processes:
            del self._processes[process]
        for key in [key for key, entry in self._ended.items() if entry.process in processes]:
            self._sum(self._ended.pop(key))
        for inode, entries in self._closed.items():
            for entry in [entry for entry in entries if entry.process in processes]:
                self._sum(entry)
            self._closed[inode] = [entry for entry in entries if entry.process not in processes]
        for socket, sums in list(self._sums.items()):
            for process in processes & sums.keys():
                entry = sums.pop(process)
                self._sum(entry, socket, self._name(entry))

    def _sum(self, entry: Entry, socket: Socket | None = None, actor: Actor | None = None) -> Entry:
        """Add an entry to the sum of its listener and process, or of others."""
        socket = entry.socket if socket is None else socket
        sums = self._sums.setdefault(socket, {})
        actor = _own_row(entry.process if actor is None else actor, sums)
        whole = sums.get(actor)
        if whole is None:
            members = entry.members if socket == entry.socket else ("socket", socket)
            whole = sums[actor] = Entry(socket, actor, SEVERAL, members=members)
        if entry.interval and not whole.interval:
            self._advanced.append(whole)
        self._joined(entry, whole)
        whole.absorb(entry)
        self.changes += 1
        return whole

    def _meet(self, key: AcceptorKey, count: AcceptorCount) -> Entry:
        inode, tid, start = key
        self.changes += 1
        if not count.pid:
            entry = self._live[key] = Entry(inode, OUTSIDERS, SEVERAL, barred=True)
            return entry
        process = self._census.key_of(count)
        entry = self._live[key] = Entry(inode, process, (tid, start))
        self._joined(Entry(inode, process), entry)  # it may have waited until now
        return entry

    def _advance(self, entry: Entry, count: AcceptorCount, now_s: float) -> int:
        if not entry.interval:
            self._advanced.append(entry)
        took_part = entry.takes_part
        taken = entry.advance(count, now_s)
        self.changes += took_part != entry.takes_part
        return taken


def _own_row(actor: Actor, there: Collection[Actor]) -> Actor:
    """Programs of any name have rows of their own, unless they are too many on one listener."""
    if not isinstance(actor, Bygone) or actor in there:
        return actor
    if sum(isinstance(other, Bygone) for other in there) < MOST_PROGRAMS:
        return actor
    return Bygone(OTHERS, actor.kept)
