"""Every listening socket seen since the start, open or closed, and what is known of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from accepttrace.config import Filters
from accepttrace.model.census import ProcessKey
from accepttrace.model.drops import Drops
from accepttrace.model.records import (
    Baseline,
    Book,
    Counts,
    Flow,
    Holder,
    Inventory,
    Listener,
    ListenerCount,
    Overflow,
)
from accepttrace.model.selection import listener_matches
from accepttrace.model.snapshot import GroupSize, ListenerRow, SelectorChange

CHANGES_KEPT: Final = 32  # of each kind, for each listener
Change = TypeVar("Change", GroupSize, SelectorChange)
SetKey = tuple[str | int, ...]  # those who share connections: a reuseport group or one socket


@dataclass(slots=True)
class Known:
    """One socket: `listed` as it last stood in an inventory, `counted` by the kernel side."""

    listed: Listener | None = None
    counted: ListenerCount | None = None
    open: bool = True
    queue_max: int | None = None
    full_since_s: float | None = None  # every reading since then found the queue full
    accepts: int = 0  # as of the last update
    waits: dict[ProcessKey, bool | None] = field(default_factory=dict)
    since_s: float = 0.0  # it was first met
    until_s: float | None = None  # it was seen to be gone
    met_late: bool = False  # it was not there when tracing began
    sizes: list[GroupSize] = field(default_factory=list)
    selectors: list[SelectorChange] = field(default_factory=list)

    @property
    def queue(self) -> int | None:
        """Connections waiting; a closed listener has none any more."""
        if not self.open:
            return 0
        return self.listed.queue if self.listed else None

    @property
    def flow(self) -> Flow | None:
        """Connections that came and went; None while nothing was counted."""
        return self.counted.flow if self.counted else None

    @property
    def longest(self) -> int | None:
        """The longest queue that was met, by the kernel side or by an inventory."""
        known = [self.queue_max]
        if self.counted:
            known += [self.counted.queue_max, self.counted.queue_start]
        return max((length for length in known if length is not None), default=None)

    @property
    def epoch(self) -> int:
        """How often it began to listen."""
        return max((self.counted.stops if self.counted else 0) + self.open, 1)

    @property
    def facts(self) -> Listener | ListenerCount | None:
        return self.listed or self.counted


@dataclass(frozen=True, slots=True)
class Told:
    """What the attach type in use tells of a socket on which nothing was counted yet."""

    selected: bool
    complete: bool  # False: some listener has no row though something passed
    nothing_passed: Flow
    no_overflow: Overflow | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the books say of one socket."""

    book: Book = "unchecked"
    imbalance: int | None = None
    unseen: int | None = None
    start: int | None = None  # length of the queue when tracing began, as far as it is known
    mean: float | None = None
    refused: int | None = None


class Listeners:
    """Merges inventories (what is there now) with counters (what was ever used)."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._known: dict[int, Known] = {}
        self._refused: set[int] = set()  # described, but not asked for
        self._namespaces: set[int] = set()  # that the inventories look into
        self._elapsed_s = 0.0
        self._complete = False  # an inventory of everything was read
        self._first: frozenset[int] | None = None  # inodes of all that were there at the start
        self._requests_moved: Counter[int] = Counter()  # half-open ones, by inode
        self.drops = Drops()

    def start(self, baseline: Baseline) -> None:
        """What was there when tracing began."""
        self.drops.start(baseline)
        self._first = baseline.sockets if baseline.complete else None

    def update(
        self,
        counts: Counts,
        inventory: Inventory | None,
        accepts: Mapping[int, int],
        elapsed_s: float,
    ) -> None:
        """Take in one reading; `accepts` since the start, by inode."""
        self._elapsed_s = elapsed_s
        self._requests_moved.clear()
        for move in counts.migrations:
            self._requests_moved[move.from_inode] += move.requests
        for count in counts.listeners:
            if listener_matches(self._filters, count):
                self._meet(count.inode, accepts=-1).counted = count
            else:
                self._refused.add(count.inode)
        if inventory is not None:
            self._list(inventory)
            self._close({listener.inode for listener in inventory.listeners}, accepts)
            self._complete = self._complete or not inventory.partial
        self.drops.update(inventory, (one.counted for one in self._known.values() if one.counted))
        for inode, known in self._known.items():
            known.accepts = accepts.get(inode, 0)

    @property
    def known(self) -> Mapping[int, Known]:
        """What is known of each socket, by inode."""
        return self._known

    @property
    def inodes(self) -> Collection[int]:
        """Of all sockets ever seen."""
        return self._known.keys()

    def lets_in(self, inode: int) -> bool:
        """Whether the filters let its acceptors through; without an address they cannot by that."""
        if inode in self._known:
            return True
        return inode not in self._refused and not self._filters.addresses

    def facts(self, inode: int) -> Listener | ListenerCount | None:
        """The best description of a socket; None if it has none or is filtered out."""
        known = self._known.get(inode)
        return known.facts if known else None

    @property
    def selections(self) -> list[int | None]:
        """What was read of reuseport selection, of all sockets that were counted."""
        return [known.counted.selected for known in self._known.values() if known.counted]

    def is_open(self, inode: int) -> bool:
        """False once it was seen to be gone."""
        return inode in self._known and self._known[inode].open

    def uncounted(self, inode: int) -> int:
        """Accepts by workers without a row; those of unknown ones are not asked for."""
        counted = self._known[inode].counted if inode in self._known else None
        if counted is None or self._filters.comms or self._filters.cgroups:
            return 0
        return counted.uncounted

    def selected(self, inode: int, visible: bool) -> int | None:
        """Connections steered here; None where selection is not `visible` or does not happen."""
        known = self._known.get(inode)
        if known is None or not visible:
            return None
        count = known.counted.selected if known.counted else 0
        shared_by_selection = known.listed is None or known.listed.sharing in ("reuseport", None)
        return count if count or shared_by_selection else None

    def holders(self, inode: int) -> tuple[Holder, ...]:
        """Who has it open now."""
        known = self._known.get(inode)
        return known.listed.holders if known and known.listed and known.open else ()

    def waits(self, inode: int) -> Mapping[ProcessKey, bool | None]:
        """Every process that holds it now, and whether it was ever seen to wait on it.

        Ever, because one look may find a worker busy. None: it cannot be told.
        """
        known = self._known.get(inode)
        return known.waits if known and known.open else {}

    def set_of(self, inode: int) -> SetKey:
        """Whom it shares its connections with."""
        known = self._known.get(inode)
        listed = known.listed if known else None
        if listed is None or listed.group is None:
            return ("socket", inode)
        return ("group", listed.group, listed.netns, listed.family, listed.local_port)

    def row(self, inode: int, accepted: int, told: Told, verdict: Verdict) -> ListenerRow | None:
        """The picture of one socket; None if nothing describes it."""
        known = self._known.get(inode)
        facts = known.facts if known else None
        if known is None or facts is None:
            return None
        listed = known.listed
        backlog = listed.backlog if listed else None
        visible = told.selected and (told.complete or known.counted is not None)
        flow = known.flow or told.nothing_passed
        overflow = (known.counted.overflow if known.counted else None) or told.no_overflow
        dropped = self.drops.of(inode)
        return ListenerRow(
            inode=inode,
            epoch=known.epoch,
            netns=facts.netns,
            family=facts.family,
            local_address=facts.local_address,
            local_port=facts.local_port,
            device=listed.device if listed else None,
            v6only=listed.v6only if listed else None,
            backlog=backlog,
            capacity=None if backlog is None else backlog + 1,
            queue=listed.queue if listed and known.open else None,
            queue_start=verdict.start,
            queue_max=known.longest,
            queue_full_s=self._full_for(known),
            queue_mean=verdict.mean,
            arrived=flow.arrived,
            accepted=accepted + self.uncounted(inode),
            unseen=verdict.unseen,
            selected=self.selected(inode, visible),
            dropped_overflow=overflow.syn + overflow.ack if overflow else dropped.overflow,
            overflow_syn=overflow.syn if overflow else None,
            overflow_ack=overflow.ack if overflow else None,
            overflow_aborted=overflow.aborted if overflow else None,
            overflow_peers=overflow.peers if overflow else None,
            dropped_syn_queue=dropped.syn_queue,
            dropped_other=dropped.other,
            dropped_unclear=dropped.unclear,
            deferred=dropped.deferred,
            defer_accept=listed.defers if listed else None,
            half_open=listed.half_open if listed and known.open else None,
            drops=dropped.total,
            lost_on_close=flow.lost,
            half_open_lost=self._cut_off(inode, told),
            migration_failed=flow.migration_failed,
            refused_accepts=verdict.refused,
            migrated_in=flow.migrated_in,
            migrated_out=flow.migrated_out,
            book=verdict.book,
            imbalance=verdict.imbalance,
            sharing=listed.sharing if listed else None,
            group=listed.group if listed else None,
            group_size=listed.group_size if listed else None,
            group_sizes=tuple(known.sizes),
            selector=listed.selector if listed else None,
            selector_program=listed.program if listed else None,
            selectors=tuple(known.selectors),
            open=known.open,
            holders=self.holders(inode),
        )

    def _full_for(self, known: Known) -> float | None:
        if known.full_since_s is None or not known.open:
            return None
        return self._elapsed_s - known.full_since_s

    def _cut_off(self, inode: int, told: Told) -> int | None:
        """Handshakes that a listener took along when it closed, but for those that moved."""
        counted = self._known[inode].counted
        if told.nothing_passed.lost is None:
            return None
        if counted is None or not counted.cut_off:
            return counted.cut_off if counted else 0
        return max(counted.cut_off - self._requests_moved[inode], 0)

    def _meet(self, inode: int, accepts: int = 0) -> Known:
        if inode not in self._known:
            late = self._complete if self._first is None else inode not in self._first
            self._known[inode] = Known(accepts=accepts, since_s=self._elapsed_s, met_late=late)
        return self._known[inode]

    def _list(self, inventory: Inventory) -> None:
        for listener in inventory.listeners:
            if not listener_matches(self._filters, listener, listener.v6only):
                self._refused.add(listener.inode)
                continue
            known = self._meet(listener.inode)
            if not _is_full(listener):
                known.full_since_s = None
            elif known.full_since_s is None:
                at_start = known.listed is None and not known.met_late
                known.full_since_s = 0.0 if at_start else self._elapsed_s
            known.listed, known.open, known.until_s = listener, True, None
            _note_group(known, listener, round(self._elapsed_s, 3))
            if listener.queue is not None:
                known.queue_max = max(listener.queue, known.queue_max or 0)
            known.waits = _waits(listener.holders, known.waits)
            self._namespaces.add(listener.netns)

    def _close(self, there: Collection[int], accepts: Mapping[int, int]) -> None:
        """Absent means gone, but for a socket that the inventory may just not have met."""
        for inode, known in self._known.items():
            if inode in there or known.facts is None:
                continue
            quiet = known.accepts == accepts.get(inode, 0)  # so it may be younger than the list
            looked_at = known.facts.netns in self._namespaces
            if known.listed is not None or (quiet and looked_at):
                known.open = False
                if known.until_s is None:
                    known.until_s = self._elapsed_s


def _note_group(known: Known, listener: Listener, elapsed_s: float) -> None:
    """Remember the size and the selector of its reuseport group, where they changed."""
    if listener.group_size is not None:
        size = GroupSize(elapsed_s, listener.group_size)
        if not known.sizes or known.sizes[-1].size != size.size:
            _append(known.sizes, size)
    if listener.selector is not None:
        change = SelectorChange(elapsed_s, listener.selector, listener.program)
        if not known.selectors or replace(known.selectors[-1], elapsed_s=elapsed_s) != change:
            _append(known.selectors, change)


def _append(changes: list[Change], change: Change) -> None:
    """The first says how it began; of the others the oldest go."""
    changes.append(change)
    if len(changes) > CHANGES_KEPT:
        del changes[1]


def _is_full(listener: Listener) -> bool:
    """It holds one more than the limit."""
    return (
        listener.queue is not None
        and listener.backlog is not None
        and listener.queue > listener.backlog
    )


def _waits(
    holders: Iterable[Holder], before: Mapping[ProcessKey, bool | None]
) -> dict[ProcessKey, bool | None]:
    """One answer a process, however many descriptors it has; a True stays one."""
    answers: dict[ProcessKey, bool | None] = {}
    for holder in holders:
        process = (holder.pid, holder.start_ticks)
        looks = (holder.waits, before.get(process), answers.get(process, False))
        if True in looks:
            answers[process] = True
        else:
            answers[process] = None if None in (looks[0], looks[2]) else False
    return answers
