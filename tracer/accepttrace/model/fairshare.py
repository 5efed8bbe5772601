"""What an even split would give to each of those who were there for only part of the time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping
from itertools import accumulate
from typing import Final, NamedTuple, TypeVar

LEAST_S: Final = 1e-3  # who took something was there for so long at least

Key = TypeVar("Key", bound=Hashable)


class Stay(NamedTuple):
    """From when to when somebody could have taken connections, in seconds."""

    begin_s: float
    end_s: float

    def joined(self, other: Stay) -> Stay:
        """From the first begin to the last end."""
        return Stay(min(self.begin_s, other.begin_s), max(self.end_s, other.end_s))


def until(stays: Mapping[Key, Stay], last_s: float) -> dict[Key, Stay]:
    """Of those who were there before the last connection came (`last_s`), the time up to then.

    Who came later could not have taken any, however long it stayed.
    """
    # Most were there for the same time.
    there = set(stays.values())
    ends = {
        stay: Stay(stay.begin_s, min(stay.end_s, last_s))
        for stay in there
        if stay.begin_s <= last_s
    }
    if len(there) == len(ends) == 1:
        return dict.fromkeys(stays, *ends.values())
    return {key: ends[stay] for key, stay in stays.items() if stay in ends}


def fair_shares(stays: Mapping[Key, Stay], total: float) -> dict[Key, float]:
    """Of `total` connections that came evenly over that time, what each should have taken.

    At each moment they are divided among those who are there; the sum is `total`. {} without stays.
    """
    if len(set(stays.values())) < 2:
        return dict.fromkeys(stays, total / max(len(stays), 1))
    parts = _parts({key: _stretched(stay) for key, stay in stays.items()})
    scale = total / sum(parts.values())
    return {key: part * scale for key, part in parts.items()}


def _stretched(stay: Stay) -> Stay:
    return Stay(stay.begin_s, max(stay.end_s, stay.begin_s + LEAST_S))


def _parts(stays: Mapping[Key, Stay]) -> dict[Key, float]:
    """Of each, the time that it was there, every moment divided by how many were."""
    changes: dict[float, int] = {}
    for stay in stays.values():
        changes[stay.begin_s] = changes.get(stay.begin_s, 0) + 1
        changes[stay.end_s] = changes.get(stay.end_s, 0) - 1
    moments = sorted(changes)
    there = list(accumulate(changes[moment] for moment in moments))
    spans = zip(moments, moments[1:], there, strict=False)
    sums = [0.0, *accumulate((end - begin) / n if n else 0.0 for begin, end, n in spans)]

    def until(moment: float) -> float:
        return sums[bisect_right(moments, moment) - 1]

    return {key: until(stay.end_s) - until(stay.begin_s) for key, stay in stays.items()}
