"""UDP: the state of a run. Readings go in, snapshots come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from accepttrace.config import Filters
from accepttrace.facts.datagrams import ReaderCount, Receiver, ReceiverCount, UdpReading
from accepttrace.facts.meta import Meta
from accepttrace.facts.records import Baseline, Losses, Unread
from accepttrace.facts.sight import Sight
from accepttrace.model.crowds import BOUND, GROUPED, crowds, in_common, named_holders, nothing_of
from accepttrace.model.datagrams import ReceiverBooks, ReceiverRow, ReceiverSnapshot
from accepttrace.model.readers import read_by, readers_of

Counter = Literal["selected", "datagrams", "dropped"]
COUNTERS: Final[tuple[Counter, ...]] = ("selected", "datagrams", "dropped")
GONE_AFTER: Final = 2  # readings without it: the second saw all that it got before it went
_FACTS: Final = (*BOUND, "uid", *GROUPED, "program", "queue_limit_bytes")
CLOSED_ROWS: Final = 16  # members of groups that keep a row after they closed: the last ones


@dataclass(slots=True)
class Tally:
    """One socket: what it got, and how it was last seen."""

    count: ReceiverCount | None = None
    socket: Receiver | None = None
    readers: Sequence[ReaderCount] = ()
    before: int = 0  # datagrams at the start of the interval
    last: int = 0  # ... at its end
    drops_before: int = 0  # by the kernel's own count, when tracing began
    missing: int = 1  # readings in a row that did not find it

    def of(self, counter: Counter) -> int:
        """A counter; 0 for a socket that got nothing yet."""
        return int(getattr(self.count, counter)) if self.count else 0

    @property
    def drops(self) -> int | None:
        """By the kernel's own count since tracing began; None where it is not shown."""
        drops = self.socket.drops if self.socket else None
        return None if drops is None else max(drops - self.drops_before, 0)

    @property
    def got_nothing(self) -> bool:
        """Nobody was sent here, by any count."""
        return not self.drops and not self.readers and not any(map(self.of, COUNTERS))

    @property
    def is_idle(self) -> bool:
        """Whether it is open, not connected, and nothing was counted or waits there."""
        sock = self.socket
        if self.missing or sock is None or sock.remote_address is not None:
            return False
        return self.got_nothing and not (sock.queue or sock.queue_bytes)

    @property
    def was_member(self) -> bool:
        """Whether it could be chosen in a reuseport group: a worker's socket, as a rule."""
        sock = self.socket
        return sock is not None and sock.group is not None and sock.remote_address is None


@dataclass(slots=True)
class Sums:
    """Over several sockets."""

    sockets: int = 0
    selected: int = 0
    datagrams: int = 0
    dropped: int = 0
    drops: int = 0

    def add(self, tally: Tally) -> None:
        """One more socket."""
        self.sockets += 1
        self.selected += tally.of("selected")
        self.datagrams += tally.of("datagrams")
        self.dropped += tally.of("dropped")
        # Of one that was never listed only the hooks know.
        self.drops += tally.of("dropped") if tally.drops is None else tally.drops


class ReceiverTracker:
    """Merges what the kernel counted with who holds what.

    The last members of groups that closed keep their rows. Other sockets that are gone are summed
    up, or a resolver, with a socket for each query, would fill the memory; of those that got
    nothing, nothing is kept. `sees`: what the attach type in use can see. Times as for
    `tracker.Tracker`.
    """

    def __init__(self, meta: Meta, filters: Filters, started_s: float, sees: Sight) -> None:
        self._meta = meta
        self._by_process = bool(filters.pids or filters.comms or filters.cgroups)
        self._started_s = self._now_s = started_s
        self._sees = sees
        self._interval_s = 0.0
        self._from_s = self._next_s = started_s  # where intervals begin: the last, the next
        self._wall = meta.started
        self._baseline = Baseline()
        self._tallies: dict[int, Tally] = {}
        self._closed: deque[Tally] = deque()
        self._others: frozenset[int] = frozenset()
        self._unlisted = Sums()
        self._losses = Losses()
        self._unread: tuple[Unread, ...] = ()

    def start(self, baseline: Baseline) -> None:
        """What was there when tracing began; read before it is announced that it did."""
        self._baseline = baseline

    def update(self, reading: UdpReading) -> tuple[int, ...]:
        """Take in one reading of everything: first the counts, then the sockets.

        Returns the inodes of sockets that are gone and whose counts are final.
        """
        now_s = reading.counts.at_s
        self._interval_s = max(now_s - self._next_s, 0.0)
        self._now_s, self._wall = now_s, reading.wall
        for tally in (*self._tallies.values(), *self._closed):
            tally.before = tally.last
        gone = self.drain(reading)
        for tally in (*self._tallies.values(), *self._closed):
            tally.last = tally.of("datagrams")
        self._from_s, self._next_s = self._next_s, now_s
        return gone

    def go_on(self) -> None:
        """The interval of the last update goes on: nobody was shown it."""
        self._next_s = self._from_s
        for tally in (*self._tallies.values(), *self._closed):
            tally.last = tally.before

    def drain(self, reading: UdpReading) -> tuple[int, ...]:
        """The same during an interval, so that the kernel's rows of the gone can go."""
        counts, receivers = reading.counts, reading.receivers
        self._losses, self._unread = counts.losses, receivers.unread
        self._others = receivers.others
        for tally in (*self._tallies.values(), *self._closed):
            tally.missing += 1
        for count in counts.receivers:
            self._tallies.setdefault(count.inode, Tally()).count = count
        for inode, those in read_by(counts.readers).items():
            self._tallies.setdefault(inode, Tally()).readers = those
        for sock in receivers.sockets:
            tally = self._tallies.setdefault(sock.inode, Tally())
            if tally.socket is None:
                before = self._baseline.drops(sock.netns, sock.inode)
                tally.drops_before = (sock.drops or 0) if before is None else before
            tally.socket, tally.missing = sock, 0
        return self._settle()

    def snapshot(self) -> ReceiverSnapshot:
        """The picture as of the last update, the most datagrams first."""
        return self._picture(self._interval_s, whole=False)

    def summary(self) -> ReceiverSnapshot:
        """The same with the whole run as its interval."""
        return self._picture(self._now_s - self._started_s, whole=True)

    def _settle(self) -> tuple[int, ...]:
        gone = [
            inode
            for inode, tally in self._tallies.items()
            if tally.missing >= GONE_AFTER and inode not in self._others
        ]
        for inode in gone:
            self._let_go(self._tallies.pop(inode))
        return tuple(gone)

    def _passes_over(self, tally: Tally) -> bool:
        return self._sees.datagrams and tally.got_nothing

    def _let_go(self, tally: Tally) -> None:
        if self._passes_over(tally):
            return
        if tally.was_member:
            self._closed.append(tally)
            if len(self._closed) > CLOSED_ROWS:
                self._unlisted.add(self._closed.popleft())
        elif tally.socket is not None or not self._by_process:
            self._unlisted.add(tally)

    def _listed(self) -> tuple[list[Tally], list[Tally]]:
        """Those that have rows, and those that closed at the same time and are too many for that.

        Those that got nothing and closed are not reported.
        """
        found = [t for i, t in self._tallies.items() if t.socket and i not in self._others]
        alive = [tally for tally in found if not tally.missing]
        closing = [tally for tally in found if tally.missing and not self._passes_over(tally)]
        if len(closing) > CLOSED_ROWS:
            return [*alive, *self._closed], closing
        return [*alive, *closing, *self._closed], []

    def _picture(self, interval_s: float, whole: bool) -> ReceiverSnapshot:
        listed, closing = self._listed()
        total = sum(tally.of("datagrams") for tally in listed)
        idle = {tally.socket.inode: tally for tally in listed if tally.socket and tally.is_idle}
        shared = crowds(tally.socket for tally in idle.values() if tally.socket).values()
        first = [(idle[members[0].inode], members) for members in shared]
        folded = {one.inode for members in shared for one in members}

        def draw(tally: Tally) -> ReceiverRow:
            return self._row(tally, interval_s, total, whole)

        apart = (t for t in listed if not (t.socket and t.is_idle and t.socket.inode in folded))
        rows = [*map(draw, apart), *(_of_crowd(draw(tally), members) for tally, members in first)]
        return ReceiverSnapshot(
            time=self._wall,
            elapsed_s=self._now_s - self._started_s,
            interval_s=interval_s,
            meta=self._meta,
            sockets=tuple(ordered(rows)),
            books=self._books(listed, closing),
            unread=self._unread,
        )

    def _seen(self, counter: Counter, value: int) -> int | None:
        return value if counter in self._sees.facts else None

    def _row(self, tally: Tally, interval_s: float, total: int, whole: bool) -> ReceiverRow:
        sock = tally.socket
        assert sock is not None
        is_open = not tally.missing
        datagrams = self._seen("datagrams", tally.of("datagrams"))
        readers = readers_of(tally.readers, sock.holders) if self._sees.read else None
        recent = None if datagrams is None else datagrams - (0 if whole else tally.before)
        return ReceiverRow(
            inode=sock.inode,
            netns=sock.netns,
            family=sock.family,
            local_address=sock.local_address,
            local_port=sock.local_port,
            device=sock.device,
            v6only=sock.v6only,
            remote_address=sock.remote_address,
            remote_port=sock.remote_port,
            uid=sock.uid,
            group=sock.group,
            group_size=sock.group_size,
            selector=sock.selector,
            selector_program=sock.program,
            selected=self._seen("selected", tally.of("selected")),
            datagrams=datagrams,
            datagrams_interval=recent,
            rate=None if recent is None or not interval_s else recent / interval_s,
            share=datagrams / total if datagrams is not None and total else None,
            dropped=self._seen("dropped", tally.of("dropped")),
            drops=tally.drops,
            read=None if readers is None else sum(one.packets for one in readers),
            readers=readers,
            queue=sock.queue if is_open else None,
            queue_bytes=sock.queue_bytes if is_open else None,
            queue_limit_bytes=sock.queue_limit_bytes,
            open=is_open,
            folded=0,
            holders=sock.holders,
            holders_more=0,
        )

    def _tells_drops(self, listed: Collection[Tally]) -> bool:
        return all(tally.drops is not None for tally in listed)

    def _books(self, listed: Collection[Tally], closing: Iterable[Tally]) -> ReceiverBooks:
        sums, losses = replace(self._unlisted), self._losses
        for tally in closing:
            sums.add(tally)
        if not self._by_process:
            for tally in self._tallies.values():
                if tally.socket is None:  # gone before it was seen; not yet final
                    sums.add(tally)
        unlisted = replace(sums)
        for tally in listed:
            sums.add(tally)
        return ReceiverBooks(
            selected=self._seen("selected", sums.selected),
            datagrams=self._seen("datagrams", sums.datagrams),
            dropped=self._seen("dropped", sums.dropped),
            drops=sums.drops if self._tells_drops(listed) else None,
            unlisted_sockets=unlisted.sockets,
            unlisted_datagrams=self._seen("datagrams", unlisted.datagrams),
            losses=losses,
            balanced=losses.total == 0,
        )


def _of_crowd(row: ReceiverRow, members: Sequence[Receiver]) -> ReceiverRow:
    """The row of one of them, as that of all: nothing was counted of any."""
    holders, more = named_holders(one.holders for one in members)
    facts = in_common(members, _FACTS)
    return replace(
        row,
        selector_program=facts.pop("program"),
        **facts,
        inode=None,
        drops=nothing_of(one.drops for one in members),
        readers=None if row.readers is None else (),
        queue=nothing_of(one.queue for one in members),
        folded=len(members),
        holders=holders,
        holders_more=more,
    )


def ordered(rows: Iterable[ReceiverRow]) -> list[ReceiverRow]:
    """The most datagrams first; equal ones by place, the connected last."""
    return sorted(rows, key=_place)


def _place(row: ReceiverRow) -> tuple[int, int, str, bool, int]:
    connected = row.remote_address is not None
    taken = -1 if row.datagrams is None else row.datagrams
    return -taken, row.local_port or 0, row.local_address or "", connected, row.inode or 0
