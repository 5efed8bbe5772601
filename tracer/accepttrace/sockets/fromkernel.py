"""Holders as the kernel itself lists them, in one pass over all open files."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from accepttrace.facts.records import NS_PER_TICK, Came, Opened, Unread
from accepttrace.probe.holders import EpollSet, HolderIterator, Holdings, Table
from accepttrace.sockets import syscalls
from accepttrace.sockets.facts import Facts, Rest
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.queues import Queues

REST: Final = 10  # a pass is followed by 10 times its time of rest,
QUICK_S: Final = 0.02  # but for one as quick as this,
SPARING_S: Final = 0.004  # or, where it may be looked at all day, as this:
SPARED_S: Final = 1.2  # others rest so long at least
OPEN_REST: Final = 50  # ... and one that counts connections by 50 times, before the next counts
ASK_S: Final = 0.05  # for asking what threads sleep in, in one refresh
NO_SETS: Final[tuple[EpollSet, ...]] = ()
NOTHING: Final[Mapping[int, Came]] = {}


@dataclass(slots=True)
class _Known:
    """A process as it was found last; `facts` stand as long as the rest does."""

    tables: Sequence[Table]
    sets: Sequence[EpollSet]
    facts: Facts | None


class KernelSource:
    """Facts of all processes of the machine, as of the last `pass_over`.

    `sparing`: with fewer passes, where they take long.
    """

    def __init__(
        self,
        iterator: HolderIterator,
        ports: frozenset[int],
        helper: Helper,
        sparing: bool = False,
    ) -> None:
        self._iterator = iterator
        self._sparing = sparing
        self._ports = ports
        self._helper = helper
        self._queues = Queues()
        self._holdings = Holdings()
        self._rest_until_s = 0.0
        self._complete = False
        self._opened: Opened | None = None
        self._open_rest_until_s = 0.0
        self._threads: dict[int, list[tuple[int, int]]] = {}
        self._wanted: frozenset[int] = frozenset()
        self._known: dict[int, _Known] = {}
        self._changed: set[int] = set()  # inodes whose wait queue differs from the last look

    @property
    def unread(self) -> tuple[Unread, ...]:
        """Nothing, once a pass has ended."""
        return () if self._complete else (Unread("open files", "not all could be read yet"),)

    @property
    def netns_of_sockets(self) -> Collection[int]:
        """Where the sockets asked for are, as far as a process holds them."""
        return set(self._holdings.sockets.values())

    @property
    def threads(self) -> dict[int, list[tuple[int, int]]]:
        """By network namespace, the processes in it, each with a thread that lives."""
        return self._threads

    @property
    def opened(self) -> Opened | None:
        """Who holds how many connections; None: that was not read yet."""
        return self._opened

    def pass_over(self, full: bool, limit_s: float, open_ports: frozenset[int]) -> None:
        """Have the kernel list all open files, unless it did so just now. OSError if it refuses.

        At times, connections of `open_ports` are counted on the way.
        """
        now = time.monotonic()
        if now < self._rest_until_s and not full:
            return
        self._iterator.ask(self._ports, open_ports)
        count = bool(open_ports) and (full or now >= self._open_rest_until_s)
        holdings = self._iterator.read(limit_s, count=count)
        if holdings is None:
            return
        took_s, now = self._iterator.took_s, time.monotonic()
        if took_s > QUICK_S:
            self._rest_until_s = now + REST * took_s
        if self._sparing and took_s > SPARING_S:
            self._rest_until_s = max(self._rest_until_s, now + SPARED_S)
        self._complete, self._holdings = True, holdings
        if holdings.opened is not None:
            started = {t.pid: t.start_ns // NS_PER_TICK for t in holdings.tables}
            held = {pid for pid, _ in holdings.opened}
            comms = {t.pid: t.comm for t in holdings.tables if t.pid in held}
            self._opened = Opened(now, open_ports, started, holdings.opened, comms=comms)
            self._open_rest_until_s = now + OPEN_REST * took_s if took_s > QUICK_S else now
        self._threads = {}
        for table in holdings.tables:
            self._threads.setdefault(table.netns, []).append((table.pid, table.tid))
        self._changed |= self._queues.update(holdings.waiters, holdings.epolls)

    def facts(self, inodes: Collection[int], full: bool) -> dict[int, Facts]:  # noqa: ARG002
        """Those who hold one of these, by PID. The same objects where nothing has changed."""
        wanted = frozenset(inodes)
        again = wanted != self._wanted
        if again:
            self._wanted = wanted
        before, self._known = self._known, {}
        for pid, tables in self._by_pid().items():
            sets = self._holdings.epolls.get(pid, NO_SETS)
            known = before.get(pid)
            if again or known is None or not self._stands(known, tables, sets):
                known = _Known(tables, sets, self._look(tables, sets))
            self._known[pid] = known
        self._changed = set()
        return {pid: known.facts for pid, known in self._known.items() if known.facts}

    def resting(self, held: Mapping[int, Collection[int]]) -> dict[int, Rest]:
        """How processes sleep, by their PIDs and the descriptors of their listeners."""
        until = time.monotonic() + ASK_S
        asked = [(pid, frozenset(fds)) for pid, fds in held.items()]
        found = self._helper.map(syscalls.rest_of, asked, until)
        return {pid: rest for (pid, _), rest in found if rest}

    def _by_pid(self) -> dict[int, list[Table]]:
        found: dict[int, list[Table]] = {}
        for table in self._holdings.tables:
            if table.fds:
                found.setdefault(table.pid, []).append(table)
        return found

    def _stands(self, known: _Known, tables: list[Table], sets: Sequence[EpollSet]) -> bool:
        return (
            len(known.tables) == len(tables)
            and all(one is other for one, other in zip(known.tables, tables, strict=True))
            and known.sets == sets
            and not (sets and self._queues.owners_changed)
            and (known.facts is None or self._changed.isdisjoint(known.facts.fds))
        )

    def _look(self, tables: list[Table], sets: Sequence[EpollSet]) -> Facts | None:
        fds = _merged(tables, self._wanted)
        if not fds:
            return None
        first = tables[0]
        return Facts(
            pid=first.pid,
            tid=first.tid,
            start_ticks=first.start_ns // NS_PER_TICK,
            comm=first.comm,
            fds=fds,
            waits={inode: self._queues.waiting(first.pid, inode, sets) for inode in fds},
            sure=all(self._queues.complete(inode) for inode in fds),
            came=self._came(first, fds) if self._holdings.received else NOTHING,
        )

    def _came(self, table: Table, inodes: Iterable[int]) -> dict[int, Came]:
        found = ((inode, self._holdings.received.get((table.pid, inode))) for inode in inodes)
        return {i: one.came for i, one in found if one and one.start_ns == table.start_ns}


def _merged(tables: list[Table], wanted: frozenset[int]) -> Mapping[int, int]:
    """The wanted descriptors; a process may come in several pieces, and its threads differ."""
    if len(tables) == 1 and tables[0].fds.keys() <= wanted:
        return tables[0].fds
    found: dict[int, int] = {}
    for table in tables:
        for inode, fd in table.fds.items():
            if inode in wanted:
                found[inode] = min(fd, found.get(inode, fd))
    return found
