"""Every listening socket seen since the start, open or closed, and what is known of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from accepttrace.config import Filters
from accepttrace.model.census import ProcessKey
from accepttrace.model.records import Counts, Holder, Inventory, Listener, ListenerCount
from accepttrace.model.selection import listener_matches
from accepttrace.model.snapshot import ListenerRow

SetKey = tuple[str | int, ...]  # those who share connections: a reuseport group or one socket


@dataclass(slots=True)
class _Known:
    """One socket: `listed` as it last stood in an inventory, `counted` by the kernel side."""

    listed: Listener | None = None
    counted: ListenerCount | None = None
    open: bool = True
    queue_max: int | None = None
    accepts: int = 0  # as of the last update
    waits: dict[ProcessKey, bool | None] = field(default_factory=dict)

    @property
    def facts(self) -> Listener | ListenerCount | None:
        return self.listed or self.counted


class Listeners:
    """Merges inventories (what is there now) with counters (what was ever used)."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._known: dict[int, _Known] = {}
        self._refused: set[int] = set()  # described, but not asked for
        self._namespaces: set[int] = set()  # that the inventories look into

    def update(
        self, counts: Counts, inventory: Inventory | None, accepts: Mapping[int, int]
    ) -> None:
        """Take in one reading; `accepts` since the start, by inode."""
        for count in counts.listeners:
            if listener_matches(self._filters, count):
                self._known.setdefault(count.inode, _Known(accepts=-1)).counted = count
            else:
                self._refused.add(count.inode)
        if inventory is not None:
            self._list(inventory)
            self._close({listener.inode for listener in inventory.listeners}, accepts)
        for inode, known in self._known.items():
            known.accepts = accepts.get(inode, 0)

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

    def row(self, inode: int, accepted: int, selection_visible: bool) -> ListenerRow | None:
        """The picture of one socket; None if nothing describes it."""
        known = self._known.get(inode)
        facts = known.facts if known else None
        if known is None or facts is None:
            return None
        listed = known.listed
        return ListenerRow(
            inode=inode,
            epoch=1,
            netns=facts.netns,
            family=facts.family,
            local_address=facts.local_address,
            local_port=facts.local_port,
            backlog=listed.backlog if listed else None,
            capacity=None if listed is None or listed.backlog is None else listed.backlog + 1,
            queue=listed.queue if listed and known.open else None,
            queue_max=known.queue_max,
            queue_mean=None,
            arrived=None,
            accepted=accepted,
            unseen=None,
            selected=self.selected(inode, selection_visible),
            dropped_overflow=None,
            overflow_syn=None,
            overflow_ack=None,
            overflow_aborted=None,
            overflow_peers=None,
            drops=None,
            lost_on_close=None,
            migration_failed=None,
            refused_accepts=None,
            migrated_in=None,
            migrated_out=None,
            book="unchecked",
            imbalance=None,
            sharing=listed.sharing if listed else None,
            group=listed.group if listed else None,
            group_size=listed.group_size if listed else None,
            group_sizes=(),
            selector=listed.selector if listed else None,
            selector_program=listed.program if listed else None,
            open=known.open,
            holders=self.holders(inode),
        )

    def _list(self, inventory: Inventory) -> None:
        for listener in inventory.listeners:
            if not listener_matches(self._filters, listener):
                self._refused.add(listener.inode)
                continue
            known = self._known.setdefault(listener.inode, _Known())
            known.listed, known.open = listener, True
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
