"""Two runs side by side: what is different, and of that what chance does not explain.

What was counted in each is a draw from what that run would have shown in the long term. Where the
ranges that chance leaves the two (99.5 % each) do not meet, the difference is beyond chance. That
holds for connections that come independently of each other; what has no such law is not marked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from accepttrace.facts.buckets import lower_bound, upper_bound
from accepttrace.model.endpoint import Endpoint, endpoint_of
from accepttrace.model.histogram import MOST, add, percentiles
from accepttrace.model.losses import lost
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from accepttrace.model.stats.intervals import proportion, ranks
from accepttrace.model.verdict import Word

ALPHA: Final = 0.005  # of each of the two ranges
Name = Literal[
    "connections", "rate", "workers", "verdict", "max_ratio", "wait_p50", "wait_p99", "wait_max",
    "lost", "queue_max", "open_connections", "open_max_ratio", "empty_accepts",
]  # fmt: skip
Unit = Literal["count", "rate", "ratio", "us", "word"]
UNITS: Final[Mapping[Name, Unit]] = {
    "connections": "count",
    "rate": "rate",
    "workers": "count",
    "verdict": "word",
    "max_ratio": "ratio",
    "wait_p50": "us",
    "wait_p99": "us",
    "wait_max": "us",
    "lost": "count",
    "queue_max": "count",
    "open_connections": "count",
    "open_max_ratio": "ratio",
    "empty_accepts": "count",
}


class Measured(NamedTuple):
    """A value, and the range that chance leaves it; None: not known, or there is no law for it."""

    value: float | str | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """`beyond_chance`: None where that cannot be said."""

    name: Name
    before: Measured
    after: Measured

    @property
    def beyond_chance(self) -> bool | None:
        """Whether the two ranges do not meet."""
        (_, low, high), (_, other_low, other_high) = self.before, self.after
        if low is None or high is None or other_low is None or other_high is None:
            return None
        return high < other_low or other_high < low


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one address and port, in both runs or in one of them."""

    place: Endpoint
    connections: tuple[int | None, int | None]  # before and after; None: it was not there
    differences: tuple[Difference, ...]

    @property
    def in_both(self) -> bool:
        """Whether both runs had it, with connections or without."""
        return None not in self.connections


def compare(before: Snapshot, after: Snapshot) -> list[Comparison]:
    """Of summaries by process: the busiest endpoint first, none without connections."""
    sides = _places(before), _places(after)
    traffic = {
        place: sum(side[place].connections for side in sides if place in side)
        for place in (*sides[0], *sides[1])
    }
    busy = sorted((place for place in traffic if traffic[place]), key=lambda one: -traffic[one])
    return [_compared(place, *(side.get(place) for side in sides)) for place in busy]


@dataclass(frozen=True, slots=True)
class _Side:
    """What one run says of a place."""

    elapsed_s: float
    rows: Sequence[AcceptorRow]
    listeners: Sequence[ListenerRow]
    word: Word | None

    @property
    def connections(self) -> int:
        return sum(row.accepts for row in self.rows)


def _places(snapshot: Snapshot) -> dict[Endpoint, _Side]:
    rows: defaultdict[Endpoint | None, list[AcceptorRow]] = defaultdict(list)
    listeners: defaultdict[Endpoint | None, list[ListenerRow]] = defaultdict(list)
    for one in snapshot.acceptors:
        rows[endpoint_of(one)].append(one)
    for row in snapshot.listeners:
        listeners[endpoint_of(row)].append(row)
    # The gravest last.
    words = {endpoint_of(one): one.finding.word for one in reversed(snapshot.verdicts)}
    return {
        place: _Side(snapshot.elapsed_s, rows[place], listeners[place], words.get(place))
        for place in {*rows, *listeners}
        if place is not None
    }


def _compared(place: Endpoint, before: _Side | None, after: _Side | None) -> Comparison:
    sides = [_measures(side) if side is not None else {} for side in (before, after)]
    found = (
        Difference(name, *(side.get(name, Measured(None)) for side in sides)) for name in UNITS
    )
    known = (one for one in found if one.before.value is not None or one.after.value is not None)
    first, second = (None if side is None else side.connections for side in (before, after))
    return Comparison(place, (first, second), tuple(known))


def _measures(side: _Side) -> dict[Name, Measured]:
    number = side.connections
    waits: Sequence[int] = reduce(add, (row.wait_histogram for row in side.rows), ())
    longest = _most(row.wait_max_us for row in side.rows)
    held = [row.open_connections for row in side.rows if row.alive and row.waits]
    return {
        "connections": Measured(number),
        "rate": Measured(number / side.elapsed_s if side.elapsed_s else None),
        "workers": Measured(len({row.pid for row in side.rows if row.accepts and row.pid})),
        "verdict": Measured(side.word),
        "max_ratio": _max_ratio(side.rows, number),
        "wait_p50": _quantile(waits, 0.5, longest),
        "wait_p99": _quantile(waits, 0.99, longest),
        "wait_max": Measured(longest),
        "lost": _lost(side.listeners, number),
        "queue_max": Measured(_most(row.queue_max for row in side.listeners)),
        "open_connections": Measured(_sum(row.open_connections for row in side.rows)),
        "open_max_ratio": Measured(_uneven(held)),
        "empty_accepts": Measured(_sum(row.empty_accepts for row in side.rows)),
    }


def _max_ratio(rows: Sequence[AcceptorRow], number: int) -> Measured:
    """Of whom most was taken, to its share. The range holds for all workers at a time."""
    taken = [(row.accepts, row.fair_ratio) for row in rows if row.accepts and row.fair_ratio]
    if not taken:
        return Measured(None)
    lows, highs = [], []
    for accepts, ratio in taken:
        part = accepts / number / ratio  # of an even split
        low, high = proportion(accepts, number, ALPHA / len(taken))
        lows.append(low / part)
        highs.append(high / part)
    return Measured(max(ratio for _, ratio in taken), max(lows), max(highs))


def _quantile(histogram: Sequence[int], quantile: float, longest: int | None) -> Measured:
    """In microseconds; upper bounds of buckets, as everywhere. A range may have no end."""
    (value,) = percentiles(histogram, (quantile,), MOST if longest is None else longest)
    if value is None:
        return Measured(None)
    running = list(accumulate(histogram))
    total = running[-1]
    low, high = ranks(quantile, total, ALPHA)
    least = lower_bound(bisect_left(running, low)) if low else 0
    most = upper_bound(bisect_left(running, high)) if high <= total else float("inf")
    return Measured(value, least, most)


def _lost(listeners: Sequence[ListenerRow], number: int) -> Measured:
    """What clients lost; the range is of its part in all that came. None where it is not seen."""
    gone = sum(map(lost, listeners))
    unseen = any(row.dropped_overflow is None or row.lost_on_close is None for row in listeners)
    if not gone + number or (unseen and not gone):
        return Measured(None)
    return Measured(gone, *proportion(gone, gone + number, ALPHA))


def _uneven(held: Sequence[int | None]) -> float | None:
    known = [one for one in held if one is not None]
    total = sum(known)
    return max(known) * len(known) / total if total else None


def _most(values: Iterable[int | None]) -> int | None:
    return max((one for one in values if one is not None), default=None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if not known or None in known else sum(one or 0 for one in known)
