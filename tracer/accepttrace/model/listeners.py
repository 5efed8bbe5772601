"""Every listening socket, open or closed a short time ago, and what is known of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from accepttrace.config import Filters
from accepttrace.facts.matching import listener_matches
from accepttrace.facts.records import (
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
from accepttrace.model.census import ProcessKey
from accepttrace.model.drops import Dropped, Drops
from accepttrace.model.places import Place, Places
from accepttrace.model.snapshot import GroupSize, ListenerRow, SelectorChange

QUEUES_KEPT: Final = 16  # readings of a queue with a connection that is still in it
CHANGES_KEPT: Final = 32  # of each kind, for each listener
Change = TypeVar("Change", GroupSize, SelectorChange)
Socket = int | Place  # one listening socket by its inode, or all that closed at a place
SetKey = tuple[object, ...]  # those who share connections: a reuseport group or one socket
GONE_AFTER: Final = 2  # inventories without it: when the second was read, its counts were final
# A worker is not seen to wait while it serves; one that was not for more looks waits no more.
WAITED_LATELY: Final = 5


@dataclass(slots=True)
class Known:
    """One socket: `listed` as it last stood in an inventory, `counted` by the kernel side."""

    listed: Listener | None = None
    members: SetKey = ()  # whom it shares its connections with; (): it was never listed
    counted: ListenerCount | None = None
    open: bool = True
    missing: int = 0  # inventories in a row that lacked it
    queue_max: int | None = None
    full_since_s: float | None = None  # every reading since then found the queue full
    waits: Mapping[ProcessKey, bool | None] = field(default_factory=dict)
    unseen_for: dict[ProcessKey, int] = field(default_factory=dict)  # looks, of who waited before
    since_s: float = 0.0  # it was first met
    until_s: float | None = None  # it was seen to be gone
    met_late: bool = False  # it was not there when tracing began
    sizes: list[GroupSize] = field(default_factory=list)
    selectors: list[SelectorChange] = field(default_factory=list)
    epochs_before: int = 0  # of the same socket, let go since
    drawn: tuple[object, ...] = ()  # what its last row was made from, and that row
    queues: list[tuple[int, int]] = field(default_factory=list)  # see `oldest_us`
    forgotten: int = 0  # accepts that the kernel's own rows no longer have

    @property
    def queue(self) -> int | None:
        """Connections waiting; a closed listener has none any more."""
        if not self.open:
            return 0
        return self.listed.queue if self.listed else None

    @property
    def oldest_read_us(self) -> int | None:
        """How long the first connection in the queue has waited, where the kernel was read."""
        return self.listed.oldest_us if self.listed and self.queue else None

    @property
    def flow(self) -> Flow | None:
        """Connections that came and went; None while nothing was counted."""
        return self.counted.flow if self.counted else None

    @property
    def longest(self) -> int | None:
        """The longest queue that was met, by the kernel side or by an inventory."""
        counted, longest = self.counted, self.queue_max
        for length in (counted.queue_max, counted.queue_start) if counted else ():
            if length is not None and (longest is None or length > longest):
                longest = length
        return longest

    @property
    def epoch(self) -> int:
        """How often it began to listen."""
        stops = self.counted.stops if self.counted else 0
        return max(self.epochs_before + stops + self.open, 1)

    @property
    def facts(self) -> Listener | ListenerCount:
        """The best description: it has one, by which it was met."""
        found = self.listed or self.counted
        assert found is not None
        return found

    @property
    def untouched(self) -> bool:
        """Whether no client came, nor was there when it was met, as far as this is known."""
        if self.longest or (self.open and self.listed and self.listed.half_open):
            return False
        count = self.counted
        if count is None:
            return True
        flow, overflow = count.flow, count.overflow
        counters = (count.requests, count.uncounted, count.drops, count.cut_off)
        passed = (flow.arrived, flow.lost, flow.migrated_in, flow.migrated_out) if flow else ()
        dropped = (overflow.syn, overflow.ack) if overflow else ()
        return not any((*counters, *passed, *dropped))

    def oldest_us(self, left: int, left_after: int, now_us: int) -> int | None:
        """How long the first connection in the queue has waited at least; None: there is none.

        Who waited at some reading has left when so many have left as had by then and waited. `left`
        and `left_after`: before and after the queue was read.
        """
        while self.queues and self.queues[0][1] <= left_after:
            del self.queues[0]
        if not self.queue:
            return None
        if len(self.queues) < QUEUES_KEPT:
            self.queues.append((now_us, left + self.queue))
        return now_us - self.queues[0][0]

    def look(self, listener: Listener) -> None:
        """Take in what an inventory says of it now."""
        before, self.listed = self.listed, listener
        self.members = _members(listener)
        self.open, self.until_s, self.missing = True, None, 0
        if listener.queue is not None:
            self.queue_max = max(listener.queue, self.queue_max or 0)
        if self.unseen_for or before is None or before.holders != listener.holders:
            waits = _waits(listener.holders, self.waits, self.unseen_for)
            self.waits = self.waits if waits == self.waits else waits

    def miss(self, elapsed_s: float, looked_at: bool, moved: bool) -> None:
        """An inventory lacks it: it is closed, unless its namespace was not read.

        The kernel side may know of its end; else it may have begun after the sockets were listed.
        `moved`: something was counted since the reading before.
        """
        ended = self.counted is not None and self.counted.stops > 0 and self.listed is None
        self.missing = 1 if moved else self.missing + 1
        if self.listed is not None or ended or (looked_at and self.missing >= GONE_AFTER):
            self.open = False
            if self.until_s is None:
                self.until_s = elapsed_s


@dataclass(frozen=True, slots=True)
class Uncounted:
    """What is known of a socket on which nothing was counted yet: by attach type 0, or nothing."""

    selected: bool
    complete: bool  # False: some listener has no row though something passed
    nothing_passed: Flow
    no_overflow: Overflow | None
    no_counts: Mapping[str, int]  # plain counters of one that nothing was counted of
    queues: bool  # how long they grew, not only how long they were when they were read


class Verdict(NamedTuple):
    """What the books say of one socket."""

    book: Book = "unchecked"
    imbalance: int | None = None
    unseen: int | None = None
    start: int | None = None  # length of the queue when tracing began, as far as it is known
    mean: float | None = None
    refused: int | None = None
    oldest_us: int | None = None  # the connection that waits longest has waited at least so long

    @property
    def is_plain(self) -> bool:
        """Whether nothing happened, as far as it is known."""
        return not (self.imbalance or self.unseen or self.start or self.refused)


class Listeners:
    """Merges inventories (what is there now) with counters (what was ever used)."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._known: dict[int, Known] = {}
        self._refused: set[int] = set()  # described, but not asked for
        self._finished: dict[int, None] = {}  # closed for good, the latest last
        # Let go, and not yet forgotten by the kernel side; their counts do not change any more.
        self._parting: dict[int, ListenerCount | None] = {}
        self._epochs: dict[int, int] = {}  # of those that were let go and begin again
        self.places = Places()
        self._elapsed_s = 0.0
        self._complete = False  # an inventory of everything was read
        self._first: frozenset[int] | None = None  # inodes of all that were there at the start
        self._requests_moved: Counter[int] = Counter()  # half-open ones, by inode
        self._changes = 0
        self._at_work: tuple[int, Mapping[SetKey, set[ProcessKey]]] = (-1, {})  # as of the change
        self.drops = Drops()

    def start(self, baseline: Baseline) -> None:
        """What was there when tracing began."""
        self.drops.start(baseline)
        self._first = baseline.sockets if baseline.complete else None

    def returning(self, counts: Counts, inventory: Inventory | None) -> list[int]:
        """Those that are finished and begin anew: to be dropped before the `update`."""
        if not self._finished:
            return []
        there = {count.inode for count in counts.listeners if not self._is_parting(count)}
        if inventory is not None:
            there.update(listener.inode for listener in inventory.listeners)
        return [inode for inode in self._finished if inode in there]

    def update(
        self,
        counts: Counts,
        inventory: Inventory | None,
        moved: Collection[int],
        elapsed_s: float,
    ) -> None:
        """Take in one reading. `moved`: those with accepts since the one before."""
        self._elapsed_s = elapsed_s
        moves: Counter[int] = Counter()
        for move in counts.migrations:
            moves[move.from_inode] += move.requests
        self._requests_moved |= moves  # a row may have been let go
        if inventory is not None:
            self._refused.clear()
        moved = {*moved, *self._count(counts)}
        if inventory is not None:
            self._list(inventory)
            self._close({listener.inode for listener in inventory.listeners}, moved)
            self._complete = self._complete or not inventory.partial
        for inode in self._requests_moved.keys() - moves.keys() - self._known.keys():
            del self._requests_moved[inode]
        self.drops.update(inventory, (one.counted for one in self._known.values() if one.counted))

    @property
    def known(self) -> Mapping[int, Known]:
        """What is known of each socket, by inode."""
        return self._known

    @property
    def sockets(self) -> list[Socket]:
        """All that is known of, and the places of those that are summed up."""
        return [*self._known, *self.places.rows]

    def folded(self, socket: Socket) -> int:
        """How many closed listeners a place stands for; 0 for a socket."""
        return self.places.folded(socket) if isinstance(socket, Place) else 0

    @property
    def ending(self) -> list[int]:
        """Those that are closed for good, and were not `finish`ed: their counts are final."""
        return [
            inode
            for inode, known in self._known.items()
            if not known.open and known.missing >= GONE_AFTER and inode not in self._finished
        ]

    @property
    def parting(self) -> Collection[int]:
        """Those that the kernel side need not count any longer, and was not seen to forget."""
        return self._parting.keys()

    @property
    def uncounted(self) -> list[tuple[int, int]]:
        """Accepts by workers without a row, of those listeners that have any."""
        return [
            (inode, known.counted.uncounted)
            for inode, known in self._known.items()
            if known.counted and known.counted.uncounted and inode not in self._finished
        ]

    def finish(self, inode: int) -> None:
        """Nothing of it is read any more."""
        self._finished[inode] = None
        self._parting[inode] = self._known[inode].counted

    @property
    def finished(self) -> Collection[int]:
        """All that nothing is read of any more, the latest last."""
        return self._finished.keys()

    def drop(self, inode: int, *, returns: bool = False) -> None:
        """It has been summed up, or there is nothing to be said of it."""
        self._finished.pop(inode, None)
        known = self._known.pop(inode)
        self.drops.forget((inode,))
        self._requests_moved.pop(inode, None)
        if returns:
            self._epochs[inode] = known.epoch
        self._changes += 1

    @property
    def changes(self) -> int:
        """Grows whenever sockets, or those who wait on them, are others than before."""
        return self._changes

    def lets_in(self, socket: Socket) -> bool:
        """Whether the filters let its acceptors through; without an address they cannot by that."""
        if socket in self._known or isinstance(socket, Place):
            return True
        return socket not in self._refused and not self._filters.addresses

    def facts(self, inode: int) -> Listener | ListenerCount | None:
        """The best description of a socket; None if it has none or is filtered out."""
        known = self._known.get(inode)
        return known.facts if known else None

    @property
    def selections(self) -> list[int | None]:
        """What was read of reuseport selection, of all sockets that were counted."""
        return [known.counted.selected for known in self._known.values() if known.counted]

    def is_open(self, socket: Socket) -> bool:
        """False once it was seen to be gone."""
        known = self._known.get(socket) if isinstance(socket, int) else None
        return known is not None and known.open

    def is_listed(self, socket: Socket) -> bool:
        """Whether an inventory ever listed it, and so with whom it shares."""
        known = self._known.get(socket) if isinstance(socket, int) else None
        return known is not None and known.listed is not None

    def selected(self, socket: Socket, visible: bool) -> int | None:
        """Connections steered here; None where selection is not `visible` or does not happen."""
        if isinstance(socket, Place):
            row = self.places.rows.get(socket)
            return row.selected if row else None
        known = self._known.get(socket)
        if known is None or not visible:
            return None
        count = known.counted.selected if known.counted else 0
        shared_by_selection = known.listed is None or known.listed.sharing in ("reuseport", None)
        return count if count or shared_by_selection else None

    def holders(self, inode: int) -> tuple[Holder, ...]:
        """Who has it open now. Workers inherit the sockets of all their siblings: of a reuseport
        group, those who wait here or on none of its sockets."""
        known = self._known.get(inode)
        listed = known.listed if known else None
        if known is None or listed is None or not known.open:
            return ()
        if all(known.waits.values()):
            return listed.holders
        at_work = self._waiting_in_groups().get(self.set_of(inode), ())
        return tuple(
            [
                holder
                for holder in listed.holders
                if known.waits.get(key := (holder.pid, holder.start_ticks)) or key not in at_work
            ]
        )

    def _waiting_in_groups(self) -> Mapping[SetKey, set[ProcessKey]]:
        """Who waits on some socket of each reuseport group."""
        if self._at_work[0] != self._changes:
            found: defaultdict[SetKey, set[ProcessKey]] = defaultdict(set)
            for inode, known in self._known.items():
                if known.open and known.listed and known.listed.group is not None:
                    waiting = (process for process, answer in known.waits.items() if answer)
                    found[self.set_of(inode)].update(waiting)
            self._at_work = (self._changes, found)
        return self._at_work[1]

    def waits(self, socket: Socket) -> Mapping[ProcessKey, bool | None]:
        """Every process that holds it now, and whether it was lately seen to wait on it.

        Lately, because one look may find a worker busy. None: it is not known.
        """
        known = self._known.get(socket) if isinstance(socket, int) else None
        return known.waits if known and known.open else {}

    def set_of(self, socket: Socket) -> SetKey:
        """Whom it shares its connections with."""
        known = self._known.get(socket) if isinstance(socket, int) else None
        return (known.members if known else ()) or ("socket", socket)

    def row(
        self, inode: int, accepted: int, uncounted: Uncounted, verdict: Verdict
    ) -> ListenerRow | None:
        """The picture of one socket; None if nothing describes it."""
        known = self._known.get(inode)
        if known is None:
            return None
        # What changes most often comes first: that is compared first.
        made_from: tuple[object, ...] = (accepted, known.counted, verdict, known.listed, known.open)
        dropped, moved = self.drops.of(inode), self._requests_moved.get(inode, 0)
        made_from += (uncounted, dropped, moved, self._changes)
        if known.full_since_s is not None or known.drawn[:-1] != made_from:
            drawn = self._draw(inode, known, accepted, uncounted, verdict, dropped)
            known.drawn = (*made_from, drawn)
        row = known.drawn[-1]
        assert isinstance(row, ListenerRow)
        return row

    def _draw(
        self,
        inode: int,
        known: Known,
        accepted: int,
        uncounted: Uncounted,
        verdict: Verdict,
        dropped: Dropped,
    ) -> ListenerRow:
        facts, listed = known.facts, known.listed
        backlog = listed.backlog if listed else None
        visible = uncounted.selected and (uncounted.complete or known.counted is not None)
        flow = known.flow or uncounted.nothing_passed
        overflow = (known.counted.overflow if known.counted else None) or uncounted.no_overflow
        apart = None if facts.family == "unix" else overflow  # there it is connect() that fails
        holders = self.holders(inode)
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
            queue_max_sampled=not uncounted.queues,
            queue_mean=verdict.mean,
            oldest_wait_us=known.oldest_read_us or verdict.oldest_us if known.open else None,
            arrived=flow.arrived,
            accepted=accepted,
            uncounted=known.counted.uncounted if known.counted else 0,
            unseen=verdict.unseen,
            selected=self.selected(inode, visible),
            dropped_overflow=overflow.syn + overflow.ack if overflow else dropped.overflow,
            overflow_syn=apart.syn if apart else None,
            overflow_ack=apart.ack if apart else None,
            overflow_aborted=apart.aborted if apart else None,
            overflow_peers=apart.peers if apart else None,
            dropped_syn_queue=dropped.syn_queue,
            dropped_other=dropped.other,
            dropped_unclear=dropped.unclear,
            deferred=dropped.deferred,
            defer_accept=listed.defers if listed else None,
            half_open=listed.half_open if listed and known.open else None,
            drops=dropped.total,
            lost_on_close=flow.lost,
            half_open_lost=self._cut_off(inode, uncounted),
            migration_failed=flow.migration_failed,
            refused_accepts=verdict.refused,
            migrated_in=flow.migrated_in,
            migrated_out=flow.migrated_out,
            counted=known.counted.counted if known.counted else uncounted.no_counts,
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
            ended=0,
            folded=0,
            holders=holders,
            holders_elsewhere=len(listed.holders) - len(holders) if listed and known.open else 0,
        )

    def _full_for(self, known: Known) -> float | None:
        if known.full_since_s is None or not known.open:
            return None
        return self._elapsed_s - known.full_since_s

    def _cut_off(self, inode: int, uncounted: Uncounted) -> int | None:
        """Handshakes that a listener took along when it closed, but for those that moved."""
        counted = self._known[inode].counted
        if uncounted.nothing_passed.lost is None or self._known[inode].facts.family == "unix":
            return None
        if counted is None or not counted.cut_off:
            return counted.cut_off if counted else 0
        return max(counted.cut_off - self._requests_moved[inode], 0)

    def _count(self, counts: Counts) -> list[int]:
        """Returns those of which something was counted since the last reading."""
        moved: list[int] = []
        parting = {c.inode: c for c in counts.listeners if self._is_parting(c)}
        self._parting = {**parting}
        for count in counts.listeners:
            if count.inode in parting:
                continue
            known = self._meet(count)
            if known is None and count.stops:  # kept out by the filters, and closed
                self._parting[count.inode] = count
            elif known is not None and known.counted != count:
                known.counted = count
                moved.append(count.inode)
        return moved

    def _is_parting(self, count: ListenerCount) -> bool:
        """Not where it differs: then the same socket has begun to listen again."""
        return self._parting.get(count.inode) == count

    def _list(self, inventory: Inventory) -> None:
        for listener in inventory.listeners:
            known = self._meet(listener, listener.v6only)
            if known is None:
                continue
            waits, listed, was_open = known.waits, known.listed, known.open
            if not listener.is_full:
                known.full_since_s = None
            elif known.full_since_s is None:
                at_start = listed is None and not known.met_late
                known.full_since_s = 0.0 if at_start else self._elapsed_s
            known.look(listener)
            same = was_open and listed is not None and listed.group == listener.group
            if not same or known.waits is not waits:
                self._changes += 1
            _note_group(known, listener, round(self._elapsed_s, 3))

    def _meet(self, facts: Listener | ListenerCount, v6only: bool | None = None) -> Known | None:
        """None for those that the filters keep out."""
        inode = facts.inode
        known = self._known.get(inode)
        if known is None:
            if not listener_matches(self._filters, facts, v6only):
                self._refused.add(inode)
                return None
            late = self._complete if self._first is None else inode not in self._first
            known = Known(since_s=self._elapsed_s, met_late=late)
            known.epochs_before = self._epochs.pop(inode, 0)
            self._known[inode] = known
            self._changes += 1
        return known

    def _close(self, there: Collection[int], moved: Collection[int]) -> None:
        """Absent means gone, but for a socket that the inventory may just not have met."""
        namespaces = {
            known.listed.netns for known in self._known.values() if known.listed is not None
        }
        for inode, known in self._known.items():
            if inode in there or inode in self._finished:
                continue
            was_open = known.open
            looked_at = known.facts.netns in namespaces
            known.miss(self._elapsed_s, looked_at, inode in moved)
            self._changes += was_open != known.open


def _members(listener: Listener) -> SetKey:
    if listener.group is None:
        return ("socket", listener.inode)
    place = (listener.netns, listener.family, listener.local_port)
    return ("group", listener.group, *place)


def _note_group(known: Known, listener: Listener, elapsed_s: float) -> None:
    """Remember the size and the selector of its reuseport group, where they changed."""
    size, last_size = listener.group_size, known.sizes[-1].size if known.sizes else None
    if size is not None and size != last_size:
        _append(known.sizes, GroupSize(elapsed_s, size))
    if listener.selector is not None:
        last = known.selectors[-1] if known.selectors else None
        if last is None or (last.selector, last.program) != (listener.selector, listener.program):
            change = SelectorChange(elapsed_s, listener.selector, listener.program)
            _append(known.selectors, change)


def _append(changes: list[Change], change: Change) -> None:
    """The first says how it began; of the others the oldest go."""
    changes.append(change)
    if len(changes) > CHANGES_KEPT:
        del changes[1]


def _waits(
    holders: Iterable[Holder],
    before: Mapping[ProcessKey, bool | None],
    unseen_for: dict[ProcessKey, int],
) -> dict[ProcessKey, bool | None]:
    """One answer a process, however many descriptors it has. A True outlasts a few looks."""
    answers: dict[ProcessKey, bool | None] = {}
    for holder in holders:
        process = (holder.pid, holder.start_ticks)
        looks = (holder.waits, answers.get(process, False))
        answers[process] = True if True in looks else None if None in looks else False
    ages = {process: unseen_for.get(process, 0) + 1 for process in answers}
    unseen_for.clear()
    for process, answer in answers.items():
        if answer is not True and before.get(process) and ages[process] <= WAITED_LATELY:
            answers[process], unseen_for[process] = True, ages[process]
    return answers
