"""The state of a run: readings go in, snapshots come out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from accepttrace.config import Filters
from accepttrace.model.census import Census
from accepttrace.model.entries import Entry, Tally, entries
from accepttrace.model.ledger import Ledger
from accepttrace.model.listeners import Listeners, Told
from accepttrace.model.order import ordered
from accepttrace.model.records import (
    Baseline,
    Counts,
    Flow,
    Gone,
    Inventory,
    Losses,
    MigrationCount,
    Overflow,
    Passed,
    Process,
    Unread,
)
from accepttrace.model.rows import Rows
from accepttrace.model.snapshot import Books, ListenerRow, Meta, Migration, Snapshot
from accepttrace.model.strays import Strays
from accepttrace.model.sums import Visible

NOTHING: Final[Mapping[int, Process]] = {}


class Tracker:
    """Merges what the kernel counted with who holds what.

    An acceptor keeps its totals after it died, a listener after it was closed. The first interval
    begins at `started_s`, on the same clock as `at_s` of the counts. `sees` names what the attach
    type in use can see (`empty`, `errors`, `selected`); without it, only counters that were read
    prove that: until then it is unknown.
    """

    def __init__(
        self,
        meta: Meta,
        filters: Filters | None = None,
        started_s: float | None = None,
        sees: Collection[str] | None = None,
    ) -> None:
        self._sees = sees
        self._meta = meta
        self._filters = filters or Filters()
        self._started_s = started_s
        self._now_s = started_s or 0.0
        self._interval_s = 0.0
        self._wall = meta.started
        self._tallies: dict[tuple[int, int, int], Tally] = {}
        self._listeners = Listeners(self._filters)
        self._ledger = Ledger(self._filters, sees or ())
        self._migrations: tuple[MigrationCount, ...] = ()
        self._census = Census()
        self._strays = Strays()
        self._losses = Losses()
        self._unread: tuple[Unread, ...] = ()
        self._unix: tuple[str, ...] = ()
        self._entries: list[Entry] | None = None

    def start(self, baseline: Baseline) -> None:
        """What was there when tracing began; read before anybody is told that it did."""
        self._listeners.start(baseline)

    def update(
        self,
        counts: Counts,
        inventory: Inventory | None,
        processes: Mapping[int, Process] = NOTHING,
        after: Passed | None = None,
        *,
        wall: str,
    ) -> Gone:
        """Take in one reading of everything; returns what need not be counted any longer.

        `inventory` None: it was not read again, the last one stands. `processes` by pid: those
        alive now, for acceptors that are no holders. `after`: who came and left, read again after
        the inventory; None: nobody since `counts` were read. `wall`: UTC in RFC 3339.
        """
        counts = self._strays.settle(counts, inventory)
        self._pass_time(counts.at_s, wall)
        self._count(counts)
        self._census.update(counts.acceptors, inventory, processes)
        self._listeners.update(counts, inventory, self._accepts_by_listener(), self._elapsed_s)
        self._ledger.update(
            self._listeners,
            counts,
            [tally.count for tally in self._tallies.values()],
            after,
            round((self._started_s or 0.0) * 1e6),
            round(counts.at_s * 1e6),
        )
        self._losses, self._migrations = counts.losses, counts.migrations
        if inventory is not None:
            self._unread, self._unix = inventory.unread, inventory.unix
        self._entries = None
        return Gone()

    def drain(self, counts: Counts) -> Gone:  # noqa: ARG002
        """Sum up those that ended, in the midst of an interval, so that maps do not fill."""
        return Gone()

    def snapshot(self, by: str = "worker", sort: str = "accepts") -> Snapshot:
        """The picture as of the last update. `sort`: a field of AcceptorRow; largest first."""
        return self._picture(by, sort, self._all_entries(), self._interval_s)

    def summary(self, by: str = "worker", sort: str = "accepts") -> Snapshot:
        """The same with the whole run as its interval."""
        run = [replace(entry, interval=entry.accepts) for entry in self._all_entries()]
        return self._picture(by, sort, run, self._elapsed_s)

    @property
    def _elapsed_s(self) -> float:
        return self._now_s - (self._started_s or 0.0)

    def _picture(
        self, by: str, sort: str, everything: Sequence[Entry], interval_s: float
    ) -> Snapshot:
        rows = Rows(
            by=by,
            listeners=self._listeners,
            census=self._census,
            filters=self._filters,
            visible=self._visible(),
            interval_s=interval_s,
        )
        kept = [entry for entry in everything if rows.keeps(entry)]
        shown = rows.shown(kept)
        return Snapshot(
            time=self._wall,
            elapsed_s=self._elapsed_s,
            interval_s=interval_s,
            by=by,
            meta=self._meta,
            listeners=self._listener_rows(shown, kept),
            acceptors=tuple(ordered(rows.make(everything), sort)),
            books=self._books(kept, shown),
            migrations=self._moved(shown),
            namespace_losses=self._listeners.drops.shared(shown),
            unread=self._unread,
            unix=self._unix,
        )

    def _pass_time(self, now_s: float, wall: str) -> None:
        if self._started_s is None:
            self._started_s = self._now_s = now_s
        self._interval_s = max(now_s - self._now_s, 0.0)
        self._now_s, self._wall = now_s, wall

    def _count(self, counts: Counts) -> None:
        for tally in self._tallies.values():
            tally.before = tally.count.accepts
        for count in counts.acceptors:
            key = (count.listener_inode, count.tid, count.start_ns)
            self._tallies.setdefault(key, Tally(count)).advance(count)

    def _accepts_by_listener(self) -> Mapping[int, int]:
        accepts: defaultdict[int, int] = defaultdict(int)
        for tally in self._tallies.values():
            accepts[tally.count.listener_inode] += tally.count.accepts
        return accepts

    def _all_entries(self) -> list[Entry]:
        """Between two updates there is nothing new to find: views may ask more than once."""
        if self._entries is None:
            tallies = [
                t for t in self._tallies.values() if self._listeners.lets_in(t.count.listener_inode)
            ]
            self._entries = entries(tallies, self._listeners, self._census)
        return self._entries

    def _visible(self) -> Visible:
        counts = [tally.count for tally in self._tallies.values()]
        return Visible(
            empty=self._seen("empty", [count.empty for count in counts]),
            errors=self._seen("errors", [count.errors for count in counts]),
            selected=self._seen("selected", self._listeners.selections),
        )

    def _seen(self, fact: str, counters: Sequence[object]) -> bool:
        if None in counters:
            return False
        return bool(counters) if self._sees is None else fact in self._sees

    def _listener_rows(
        self, inodes: Sequence[int], kept: Sequence[Entry]
    ) -> tuple[ListenerRow, ...]:
        accepted: defaultdict[int, int] = defaultdict(int)
        for entry in kept:
            accepted[entry.inode] += entry.accepts
        told = self._told()
        rows = (
            self._listeners.row(inode, accepted[inode], told, self._ledger.verdict(inode))
            for inode in inodes
        )
        found = [row for row in rows if row is not None]
        return tuple(sorted(found, key=lambda r: (r.local_port, r.local_address, r.inode)))

    def _told(self) -> Told:
        complete = not self._losses.rowless
        sees = (self._sees or ()) if complete else ()
        zero = {True: 0, False: None}
        moved = zero["migrated" in sees]
        return Told(
            selected=self._visible().selected,
            complete=complete,
            nothing_passed=Flow(zero["arrived" in sees], zero["closed" in sees], *(moved,) * 3),
            no_overflow=Overflow(0, 0, 0, 0) if "overflow" in sees else None,
        )

    def _moved(self, inodes: Sequence[int]) -> tuple[Migration, ...]:
        shown = set(inodes)
        return tuple(
            Migration(m.from_inode, m.to_inode, m.connections, m.requests)
            for m in self._migrations
            if shown & {m.from_inode, m.to_inode}
        )

    def _books(self, kept: Sequence[Entry], shown: Sequence[int]) -> Books:
        word = self._ledger.word(shown)
        uncounted = sum(map(self._listeners.uncounted, shown))
        return Books(
            accepts=sum(entry.accepts for entry in kept) + uncounted,
            events_lost=self._losses.events_lost,
            map_full=self._losses.map_full,
            probe_misses=self._losses.probe_misses,
            recursion_misses=self._losses.recursion_misses,
            unattributed=self._losses.unattributed,
            over_share=self._losses.over_share,
            over_whose=self._losses.over_whose,
            uncounted=uncounted,
            unseen=self._ledger.unseen,
            word=word,
            balanced=self._losses.total == 0 and word != "unbalanced",
        )
