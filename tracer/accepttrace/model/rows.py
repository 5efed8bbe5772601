"""Entries made into rows: one a worker, process, thread, socket or group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from accepttrace.config import Filters
from accepttrace.model.census import Census
from accepttrace.model.entries import Entry
from accepttrace.model.fairness import Part, fair_ratios, merged
from accepttrace.model.labels import of_place, of_process, of_sockets
from accepttrace.model.listeners import Listeners, SetKey
from accepttrace.model.selection import by_process, process_matches
from accepttrace.model.snapshot import AcceptorRow
from accepttrace.model.sums import Visible, summed

Key = tuple[Hashable, ...]

KEYS: Final[Mapping[str, Callable[[Entry], Key]]] = {
    "worker": lambda e: (e.inode, e.process),
    "process": lambda e: e.process,
    "thread": lambda e: (e.inode, e.process, *((e.count.tid, e.count.start_ns) if e.count else ())),
    "socket": lambda e: (e.inode,),
    "group": lambda e: e.members,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes the rows of one snapshot."""

    by: str
    listeners: Listeners
    census: Census
    filters: Filters
    visible: Visible
    interval_s: float

    @property
    def of_sockets(self) -> bool:
        """Whether a row stands for sockets, not for somebody who accepts."""
        return self.by in ("socket", "group")

    def make(self, entries: Sequence[Entry]) -> list[AcceptorRow]:
        """Rows in no particular order; ratios are taken before processes are filtered out."""
        kept = [entry for entry in entries if self.keeps(entry)]
        piles: dict[Key, list[Entry]] = {}
        for entry in kept:
            piles.setdefault(KEYS[self.by](entry), []).append(entry)
        total = sum(entry.accepts for entry in kept)
        if not self.of_sockets:
            ratios = self._ratios(entries)
            return [
                self._row(pile, _inodes(pile), ratios.get(key), total)
                for key, pile in piles.items()
            ]
        sockets = self._sockets(kept)
        ratios = self._socket_ratios(kept)
        return [
            self._row(piles.get(key, []), inodes, ratios.get(key), total)
            for key, inodes in sockets.items()
        ]

    def keeps(self, entry: Entry) -> bool:
        """Whether the filters let its process through."""
        comm = entry.count.comm if entry.count else ""
        return process_matches(self.filters, self.census.process(entry.process), comm)

    def shown(self, kept: Sequence[Entry]) -> list[int]:
        """Inodes of the listeners to show: under a filter of processes only theirs."""
        used = _inodes(kept)
        if by_process(self.filters):
            return used
        return list(dict.fromkeys((*self.listeners.inodes, *used)))

    def _row(
        self, pile: Sequence[Entry], inodes: Sequence[int], ratio: float | None, total: int
    ) -> AcceptorRow:
        sums = summed(pile, self.visible)
        where = of_place(inodes, self.listeners)
        if self.of_sockets:
            who = of_sockets(pile, inodes, self.listeners, self.census)
        else:
            who = of_process(pile, self.census, by_thread=self.by == "thread")
        return AcceptorRow(
            pid=who.pid,
            tid=who.tid,
            comm=who.comm,
            name=who.name,
            alive=who.alive,
            waits=who.waits,
            listener_inode=where.inode,
            netns=where.netns,
            family=where.family,
            local_address=where.address,
            local_port=where.port,
            device=where.device,
            group=where.group,
            accepts=sums.accepts,
            accepts_interval=sums.interval,
            rate=sums.interval / self.interval_s if self.interval_s > 0 else 0.0,
            share=sums.accepts / total if total else 0.0,
            fair_ratio=ratio,
            wait_p50_us=sums.waits_us[0],
            wait_p90_us=sums.waits_us[1],
            wait_p99_us=sums.waits_us[2],
            wait_max_us=sums.wait_max_us,
            wait_histogram=sums.wait_histogram,
            empty_accepts=sums.empty,
            wasted_wakeups=sums.wasted,
            failed_accepts=sums.failed,
            errors=sums.errors,
            via=sums.via,
            selected=self._selected(inodes) if self.of_sockets else None,
            cgroup=who.cgroup,
            container=who.container,
            ns_pid=who.ns_pid,
        )

    def _selected(self, inodes: Iterable[int]) -> int | None:
        counts = [self.listeners.selected(inode, self.visible.selected) for inode in inodes]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None

    def _sockets(self, kept: Sequence[Entry]) -> dict[Key, list[int]]:
        sockets: dict[Key, list[int]] = {}
        for inode in self.shown(kept):
            key = (inode,) if self.by == "socket" else self.listeners.set_of(inode)
            sockets.setdefault(key, []).append(inode)
        return sockets

    def _ratios(self, entries: Sequence[Entry]) -> Mapping[Key, float]:
        key_of = KEYS[self.by]
        parts = merged(((key_of(e), e.members), Part(e.accepts, e.takes_part)) for e in entries)
        return fair_ratios(parts, self._uncounted())

    def _socket_ratios(self, kept: Sequence[Entry]) -> Mapping[Key, float]:
        """Of the sockets in groups; a lone socket shares with nobody."""
        if self.by == "group" or by_process(self.filters):
            return {}
        members = {inode: self.listeners.set_of(inode) for inode in self.shown(kept)}
        sizes = Counter(members.values())
        grouped = {inode: key for inode, key in members.items() if sizes[key] > 1}
        parts: dict[tuple[Key, SetKey], Part] = {
            ((inode,), key): Part(0, self.listeners.is_open(inode))
            for inode, key in grouped.items()
        }
        taken: list[tuple[tuple[Key, SetKey], Part]] = [
            (((e.inode,), e.members), Part(e.accepts, e.takes_part))
            for e in kept
            if e.inode in grouped
        ]
        return fair_ratios(merged((*parts.items(), *taken)))

    def _uncounted(self) -> set[SetKey]:
        """Sets in which somebody was kept from being counted, by the filter in the kernel."""
        if not self.filters.pids:
            return set()
        return {
            self.listeners.set_of(inode)
            for inode in self.listeners.inodes
            if not self._all_counted(inode)
        }

    def _all_counted(self, inode: int) -> bool:
        waits = self.listeners.waits(inode)
        return bool(waits) and all(
            process[0] in self.filters.pids or answer is False for process, answer in waits.items()
        )


def _inodes(entries: Iterable[Entry]) -> list[int]:
    return list(dict.fromkeys(entry.inode for entry in entries))
