"""Who waits at this moment, from the wait queues of the sockets as the kernel shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from accepttrace.facts.records import WaitsIn
from accepttrace.probe.holders import EpollSet, Waiters, Way
from accepttrace.sockets.facts import NOT, UNKNOWN, Waiting

CALLS: Final[dict[Way, WaitsIn]] = {
    "call": "accept",
    "poll": "poll",
    "select": "select",
    "io_uring": "io_uring",
}
WAITING: Final = {where: Waiting(True, where) for where in (*CALLS.values(), "epoll")}


@dataclass(frozen=True, slots=True)
class Queue:
    """The wait queue of one socket, by who waits. `watched`, `paused`: numbers of epoll sets."""

    calls: Mapping[int, Waiting]
    watched: frozenset[int]
    paused: frozenset[int]
    complete: bool

    @classmethod
    def of(cls, waiters: Waiters) -> Queue:
        """A worker that asks for no input does not wait for connections."""
        found = waiters.found
        sets = [waiter for waiter in found if waiter.way == "epoll"]
        named = all(waiter.who for waiter in found if waiter.way != "other")
        return cls(
            {w.who: WAITING[CALLS[w.way]] for w in found if w.way in CALLS and w.input},
            frozenset(waiter.who for waiter in sets if waiter.input),
            frozenset(waiter.who for waiter in sets if not waiter.input),
            waiters.complete and named,
        )


class Queues:
    """Those of all sockets asked for, kept up to date by `update`."""

    def __init__(self) -> None:
        self._read: dict[int, Waiters] = {}
        self._queues: dict[int, Queue] = {}
        self._owners: Counter[int] = Counter()  # processes that have an epoll set open
        self.owners_changed = False  # since the update before

    def update(
        self, waiters: Mapping[int, Waiters], epolls: Mapping[int, Iterable[EpollSet]]
    ) -> set[int]:
        """Take in one pass; `epolls` by PID. Returns the inodes of the queues that have changed."""
        changed = {i for i, now in waiters.items() if self._read.get(i) is not now}
        changed |= self._read.keys() - waiters.keys()
        for inode in changed:
            if inode in waiters:
                self._queues[inode] = Queue.of(waiters[inode])
            else:
                del self._queues[inode]
        self._read = dict(waiters)
        owners = Counter(n for sets in epolls.values() for n in {s.number for s in sets})
        self.owners_changed, self._owners = owners != self._owners, owners
        return changed

    def waiting(self, pid: int, inode: int, sets: Iterable[EpollSet]) -> Waiting:
        """How a holder waits on a socket; UNKNOWN: it may be busy with a connection.

        Who has the only descriptors of an epoll set is the one who waits in it; of several, those
        who sleep in it, as a parent leaves its set to its children, too.
        """
        queue = self._queues.get(inode)
        if queue is None:
            return UNKNOWN
        if pid in queue.calls:
            return queue.calls[pid]
        for each in sets:
            if each.number in queue.watched and (each.asleep or self._owners[each.number] == 1):
                return WAITING["epoll"]
        if any(each.number in queue.paused for each in sets):
            return NOT
        return UNKNOWN

    def complete(self, inode: int) -> bool:
        """Whether all who wait on it are known."""
        queue = self._queues.get(inode)
        return queue is not None and queue.complete
