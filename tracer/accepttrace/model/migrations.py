"""What the kernel moved between listeners, also those that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from accepttrace.facts.records import MigrationCount
from accepttrace.model.snapshot import Migration

Way = tuple[int, int]  # from and to, by inode; 0: one that is gone
Amount = tuple[int, int]  # connections, requests


class Migrations:
    """Sums by way. Where a listener is gone for good, its ways become one."""

    def __init__(self) -> None:
        self._now: Mapping[Way, Amount] = {}
        self._past: dict[Way, Amount] = {}  # of rows that the kernel side let go
        self._gone: set[int] = set()

    def update(self, counts: Iterable[MigrationCount], known: AbstractSet[int]) -> None:
        """Take in one reading; `known`: the inodes of all listeners that have rows."""
        before = self._now
        self._now = {(m.from_inode, m.to_inode): (m.connections, m.requests) for m in counts}
        ours = known | self._gone
        for way, amount in before.items():
            if _less(self._now.get(way, (0, 0)), amount) and ours & {*way}:
                self._past[way] = _both(self._past.get(way, (0, 0)), amount)
        self._gone &= {inode for way in (*self._now, *self._past) for inode in way}

    def forget(self, inode: int) -> None:
        """A listener is gone for good."""
        if any(inode in way for way in (*self._now, *self._past)):
            self._gone.add(inode)
            self._past = self._summed(self._past.items())

    def among(self, shown: AbstractSet[int]) -> tuple[Migration, ...]:
        """From or to one of the listeners `shown`, and such that are gone."""
        ours = shown | self._gone
        found = [(way, amount) for way, amount in self._now.items() if ours & {*way}]
        sums = self._summed([*self._past.items(), *found])
        return tuple(Migration(*way, *amount) for way, amount in sums.items())

    def _summed(self, ways: Iterable[tuple[Way, Amount]]) -> dict[Way, Amount]:
        sums: dict[Way, Amount] = {}
        for (start, end), amount in ways:
            way = (0 if start in self._gone else start, 0 if end in self._gone else end)
            sums[way] = _both(sums.get(way, (0, 0)), amount)
        return sums


def _both(one: Amount, other: Amount) -> Amount:
    return one[0] + other[0], one[1] + other[1]


def _less(now: Amount, before: Amount) -> bool:
    return now[0] < before[0] or now[1] < before[1]
