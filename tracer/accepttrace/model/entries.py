"""Who did what on which listener: the grain that rows of every kind are summed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accepttrace.model.census import Census, ProcessKey
from accepttrace.model.listeners import Listeners, SetKey
from accepttrace.model.records import AcceptorCount


@dataclass(slots=True)
class Tally:
    """The counters of one thread on one listener; `before` as the last update found them."""

    count: AcceptorCount
    before: int = 0

    def advance(self, count: AcceptorCount) -> None:
        """A counter never goes back: a smaller reading is a broken one."""
        if count.accepts >= self.count.accepts:
            self.count = count


@dataclass(frozen=True, slots=True)
class Entry:
    """One thread that called accept() on a listener (`count`), or a holder that did not (None).

    `waits`: None if it cannot be told whether connections can reach it at all.
    """

    inode: int
    members: SetKey
    process: ProcessKey
    waits: bool | None
    count: AcceptorCount | None = None
    interval: int = 0

    @property
    def accepts(self) -> int:
        """Since the start."""
        return self.count.accepts if self.count else 0

    @property
    def takes_part(self) -> bool:
        """Whether it could have taken connections of its set."""
        return self.accepts > 0 or self.waits is True


def entries(tallies: Sequence[Tally], listeners: Listeners, census: Census) -> list[Entry]:
    """All of them. An idle hold of a process that works elsewhere in the same group is none:
    nginx workers inherit the sockets of all their siblings."""
    acting = [_acting(tally, listeners, census) for tally in tallies]
    return acting + _idle(acting, listeners)


def _acting(tally: Tally, listeners: Listeners, census: Census) -> Entry:
    count = tally.count
    inode, process = count.listener_inode, census.key_of(count)
    # Who was sent away empty-handed did ask, even if no look at /proc ever found it waiting.
    asked = bool(count.accepts or count.empty or count.errors)
    return Entry(
        inode=inode,
        members=listeners.set_of(inode),
        process=process,
        waits=asked or listeners.waits(inode).get(process),
        count=count,
        interval=count.accepts - tally.before,
    )


def _idle(acting: Sequence[Entry], listeners: Listeners) -> list[Entry]:
    done = {(entry.inode, entry.process) for entry in acting}
    at_work = {(entry.members, entry.process) for entry in acting if entry.takes_part}
    holds = [(inode, listeners.set_of(inode), listeners.waits(inode)) for inode in listeners.inodes]
    for _, members, waits in holds:
        at_work |= {(members, process) for process, answer in waits.items() if answer}
    return [
        Entry(inode, members, process, answer)
        for inode, members, waits in holds
        for process, answer in waits.items()
        if (inode, process) not in done and (answer is True or (members, process) not in at_work)
    ]
