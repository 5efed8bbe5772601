"""Entries made into rows: one a worker, process, thread, socket or group."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from accepttrace.config import By, Filters
from accepttrace.facts.matching import by_process, process_matches
from accepttrace.facts.places import unit_of
from accepttrace.facts.records import Opened, Serving
from accepttrace.model.census import Census
from accepttrace.model.cpu import Cpus
from accepttrace.model.crowds import Crowd, Crowds
from accepttrace.model.entries import Actor, Bygone, Entry, Key
from accepttrace.model.grains import GRAINS
from accepttrace.model.labels import Where, Who, of_place, of_process, of_sockets
from accepttrace.model.listeners import Listeners, SetKey, Socket
from accepttrace.model.opened import Holds
from accepttrace.model.places import Place
from accepttrace.model.recent import Part, Parts, Trend, Trends
from accepttrace.model.serving import Pile, held_by, key_of, piles_of, places, sockets_at
from accepttrace.model.snapshot import AcceptorRow
from accepttrace.model.sums import Sum, Visible, summed
from accepttrace.model.tallies import UNNAMED
from accepttrace.model.yardstick import Yardstick


class _Facts(NamedTuple):
    """Of all rows: their accepts, those in the window, and what processes hold."""

    accepts: int
    recent: int
    holds: Holds | None


class _Pile(NamedTuple):
    """What one row is made of."""

    key: Key
    entries: Sequence[Entry]
    sockets: Sequence[Socket]


class _Parts(NamedTuple):
    """What is known of one row."""

    sums: Sum
    folded: int
    where: Where
    who: Who
    ended: int
    ratio: float | None
    recent: Part | None
    trend: Trend
    selected: int | None
    opened: int | None
    cpu: float | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes the rows of one snapshot; `whole`: with the whole run as their interval.

    `passed_over`: sockets that get none.
    """

    by: By
    listeners: Listeners
    census: Census
    filters: Filters
    visible: Visible
    interval_s: float
    yardstick: Yardstick
    cpus: Cpus
    whole: bool
    opened: Opened | None = None
    serving: Sequence[Serving] = ()
    recent: Parts | None = None
    trends: Trends | None = None
    passed_over: frozenset[Socket] = frozenset()

    @property
    def of_sockets(self) -> bool:
        """Whether a row stands for sockets, not for an acceptor."""
        return GRAINS[self.by].of_sockets

    def make(
        self, kept: Sequence[Entry], shown: Sequence[Socket], crowds: Crowds
    ) -> list[AcceptorRow]:
        """Rows in no particular order, of the entries that the filters let through.

        `shown`: the listeners that have rows, or share them.
        """
        piles: dict[Key, list[Entry]] = {}
        for entry in kept:
            piles.setdefault(self._key(entry, crowds), []).append(entry)
        facts = _Facts(
            sum(entry.accepts for entry in kept), self._recent_total(kept), self._holds(kept)
        )
        if self.of_sockets:
            sockets = self._sockets(shown, crowds)
            found = [_Pile(key, piles.get(key, []), those) for key, those in sockets.items()]
            return self._rows(found, facts, crowds)
        found = [_Pile(key, pile, _sockets(pile)) for key, pile in piles.items()]
        rows = self._rows(found, facts, crowds)
        return rows if self.by == "thread" else rows + self._of_servers({e.process for e in kept})

    def _of_servers(self, acceptors: Collection[Actor]) -> list[AcceptorRow]:
        """Of those that only serve; by process, of those that do so at all ports."""
        by_process = self.by == "process"
        found = [one for one in self.serving if process_matches(self.filters, one.process)]
        if by_process:
            found = [one for one in found if key_of(one.process) not in acceptors]
        piles = piles_of(found, by_process=by_process)
        sockets = sockets_at({port for pile in piles for port in pile.where}, self.listeners)
        return [self._of_server(pile, places(pile, sockets)) for pile in piles]

    def _of_server(self, pile: Pile, sockets: Sequence[Socket]) -> AcceptorRow:
        """A row with nothing but what is open; the processor time of one."""
        one = pile.processes[0] if len(pile.processes) == 1 else None
        where, sums = of_place(sockets, self.listeners), summed((), self.visible)
        return AcceptorRow(
            pid=one.pid if one else None,
            tid=None,
            comm=one.comm if one else "",
            name=pile.name,
            alive=True,
            left=False,
            ended=0,
            folded=0,
            serves=len(pile.processes),
            waits=False,
            listener_inode=where.inode,
            netns=where.netns,
            family=where.family,
            local_address=where.address,
            local_port=where.port,
            device=where.device,
            group=where.group,
            accepts=0,
            accepts_interval=0,
            rate=0.0,
            share=0.0,
            fair_ratio=None,
            recent_accepts=None if self.recent is None else 0,
            recent_share=None if self.recent is None else 0.0,
            recent_ratio=None,
            trend=self.trends.of(()) if self.trends else (),
            wait_p50_us=None,
            wait_p90_us=None,
            wait_p99_us=None,
            wait_max_us=None,
            wait_sum_us=None,
            wait_histogram=(),
            empty_accepts=sums.empty,
            wasted_wakeups=sums.wasted,
            failed_accepts=sums.failed,
            errors=sums.errors,
            via=None,
            selected=None,
            open_connections=pile.connections,
            cpu=self.cpus.of(key_of(one), whole=self.whole) if one else None,
            local=None,
            cgroup=one.cgroup if one else None,
            container=one.container if one else None,
            ns_pid=one.ns_pid if one else None,
            unit=unit_of(one.cgroup) if one else None,
            pod=one.pod if one else None,
        )

    def _holds(self, kept: Sequence[Entry]) -> Holds | None:
        """What processes hold, for rows that stand for one."""
        if self.by not in ("worker", "process"):
            return None
        more = held_by(self.serving) if self.by == "process" else {}
        return Holds(self.opened, kept, self.listeners, self.census, more)

    def _key(self, entry: Entry, crowds: Crowds) -> Key:
        """What the row of an entry stands for."""
        shared = crowds.shared.get(entry.socket)
        if shared is None or self.by == "process":
            return GRAINS[self.by].key(entry)
        if self.by == "socket":
            return shared
        if self.by == "group":
            return _set_of(entry.members, entry.socket, shared)
        thread = (entry.thread,) if self.by == "thread" else ()
        return (shared, entry.process, *thread)

    def keeps(self, entry: Entry) -> bool:
        """Whether the filters let its process through."""
        process = entry.process
        if entry.socket in self.passed_over:
            return False
        if process in UNNAMED:  # the kernel side distinguishes them by pid alone
            return not (self.filters.comms or self.filters.cgroups)
        if isinstance(process, Bygone):
            return process.kept
        if not by_process(self.filters):
            return True
        comm = entry.count.comm if entry.count else ""
        return process_matches(self.filters, self.census.process(process), comm)

    def shown(self, kept: Sequence[Entry]) -> list[Socket]:
        """The listeners to show: under a filter of processes only theirs."""
        used = _sockets(kept)
        if by_process(self.filters):
            return used
        there = (socket for socket in self.listeners.sockets if socket not in self.passed_over)
        return list(dict.fromkeys((*there, *used)))

    def _rows(self, piles: Sequence[_Pile], facts: _Facts, crowds: Crowds) -> list[AcceptorRow]:
        """One part after the other: row after row takes half as long again, of hundreds of them."""
        sums = [summed(pile.entries, self.visible) for pile in piles]
        folded = [self._folded(pile.sockets, crowds) for pile in piles]
        where = [of_place(pile.sockets, self.listeners) for pile in piles]
        who = list(map(self._who, piles))
        ended = [self._ended(pile.key, each, crowds) for pile, each in zip(piles, who, strict=True)]
        originals = list(map(self._originals, piles))
        ratios = map(self._ratio, originals, piles, who, [each.accepts for each in sums])
        keys = [pile.sockets for pile in piles] if self.by == "group" else originals
        parts = zip(
            *(sums, folded, where, who, ended, ratios),
            map(self._recent, keys),
            [self.trends.of(each) if self.trends else () for each in keys],
            map(self._selected, piles),
            [facts.holds.of(pile.entries) if facts.holds else None for pile in piles],
            [self._cpu(pile) if facts.holds else None for pile in piles],
            strict=True,
        )
        return [self._row(_Parts(*each), facts) for each in parts]

    def _row(self, parts: _Parts, facts: _Facts) -> AcceptorRow:
        sums, who, recent, ratio = parts.sums, parts.who, parts.recent, parts.ratio
        where = parts.where._replace(inode=None) if parts.folded else parts.where  # of one of many
        interval = sums.accepts if self.whole else sums.interval
        return AcceptorRow(
            pid=who.pid,
            tid=who.tid,
            comm=who.comm,
            name=who.name,
            alive=who.alive,
            left=who.left,
            ended=parts.ended,
            folded=parts.folded,
            serves=0,
            waits=who.waits,
            listener_inode=where.inode,
            netns=where.netns,
            family=where.family,
            local_address=where.address,
            local_port=where.port,
            device=where.device,
            group=where.group,
            accepts=sums.accepts,
            accepts_interval=interval,
            rate=interval / self.interval_s if self.interval_s > 0 else 0.0,
            share=sums.accepts / facts.accepts if facts.accepts else 0.0,
            fair_ratio=ratio,
            recent_accepts=recent.accepts if recent else None,
            recent_share=recent.accepts / max(facts.recent, 1) if recent else None,
            recent_ratio=recent.ratio if recent and ratio is not None else None,
            trend=parts.trend,
            wait_p50_us=sums.waits_us[0],
            wait_p90_us=sums.waits_us[1],
            wait_p99_us=sums.waits_us[2],
            wait_max_us=sums.wait_max_us,
            wait_sum_us=sums.wait_sum_us,
            wait_histogram=sums.wait_histogram,
            empty_accepts=sums.empty,
            wasted_wakeups=sums.wasted,
            failed_accepts=sums.failed,
            errors=sums.errors,
            via=sums.via,
            selected=parts.selected,
            open_connections=parts.opened,
            cpu=parts.cpu,
            local=sums.local,
            cgroup=who.cgroup,
            container=who.container,
            ns_pid=who.ns_pid,
            unit=who.unit,
            pod=who.pod,
        )

    def _who(self, pile: _Pile) -> Who:
        if self.of_sockets:
            return of_sockets(pile.entries, pile.sockets, self.listeners, self.census)
        return of_process(pile.entries, self.census, by_thread=self.by == "thread")

    def _cpu(self, pile: _Pile) -> float | None:
        return self.cpus.of(pile.entries[0].process, whole=self.whole)

    def _recent(self, keys: Collection[Key]) -> Part | None:
        """What a row took in the window."""
        if self.recent is None:
            return None
        parts = [part for key in keys if (part := self.recent.get(key))]
        if len(parts) == 1:
            return parts[0]
        return Part(sum(part.accepts for part in parts), sum(part.expected for part in parts))

    def _recent_total(self, kept: Sequence[Entry]) -> int:
        """The accepts of all rows in the window."""
        if self.recent is None:
            return 0
        key = GRAINS["socket"].key if self.by == "group" else self.yardstick.key
        parts = (self.recent.get(one) for one in {key(entry) for entry in kept})
        return sum(part.accepts for part in parts if part)

    def _folded(self, sockets: Sequence[Socket], crowds: Crowds) -> int:
        """So many idle listeners, if the row is of these alone."""
        if not crowds.shared:
            return 0
        members = [isinstance(crowds.shared.get(one), Crowd) for one in sockets]
        in_group = self.by == "group" and self.listeners.set_of(sockets[0])[0] == "group"
        return len(members) if all(members) and self.by != "process" and not in_group else 0

    def _ended(self, key: Key, who: Who, crowds: Crowds) -> int:
        shared = crowds.rows.get(key) if isinstance(key, Place) else None
        return shared.ended if shared else who.ended

    def _originals(self, pile: _Pile) -> Collection[Key]:
        """What the yardstick knows of a row: of one that is shared, all that share it."""
        if self.by == "socket":
            return pile.sockets
        if len(pile.entries) == 1:
            return (self.yardstick.key(pile.entries[0]),)
        return set(map(self.yardstick.key, pile.entries))

    def _ratio(self, keys: Collection[Key], pile: _Pile, who: Who, accepts: int) -> float | None:
        """None where there is nothing to compare with, or no acceptor to compare."""
        expected = sum(map(self.yardstick.expected, keys))
        if not expected or who.left:
            return None
        if not self.of_sockets and who.alive and not (accepts or who.waits):
            return None
        if self.of_sockets and (by_process(self.filters) or not self._shares(keys)):
            return None
        unknown = any(entry.barred or entry.fresh for entry in pile.entries)
        return None if unknown else accepts / expected

    def _shares(self, keys: Iterable[Key]) -> bool:
        return any(map(self.yardstick.shared, keys))

    def _selected(self, pile: _Pile) -> int | None:
        if not self.of_sockets:
            return None
        counts = [self.listeners.selected(one, self.visible.selected) for one in pile.sockets]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None

    def _sockets(self, shown: Sequence[Socket], crowds: Crowds) -> dict[Key, list[Socket]]:
        sockets: dict[Key, list[Socket]] = {}
        for socket in shown:
            key: Key = crowds.shared.get(socket, socket)
            if self.by == "group":
                key = _set_of(self.listeners.set_of(socket), socket, key)
            sockets.setdefault(key, []).append(socket)
        return sockets


def _set_of(members: SetKey, socket: Socket, shared: Key) -> SetKey:
    """A socket of no group is a set of its own, unless it shares a row."""
    return ("socket", shared) if members == ("socket", socket) else members


def _sockets(entries: Iterable[Entry]) -> list[Socket]:
    return list(dict.fromkeys(entry.socket for entry in entries))
