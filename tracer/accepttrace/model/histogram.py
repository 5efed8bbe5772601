"""Histograms of waiting times, over `facts.buckets`.

A histogram ends with the last bucket that has something in it, or later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from math import ceil
from operator import add as plus
from typing import Final

from accepttrace.facts.buckets import BUCKETS, lower_bound, upper_bound

_UPPER: Final = tuple(upper_bound(i) for i in range(BUCKETS))
MOST: Final = _UPPER[-1]


def filled(histogram: Sequence[int]) -> list[tuple[int, int, int]]:
    """Lower bound, upper bound and count of every bucket that has something in it."""
    return [
        (lower_bound(bucket), upper_bound(bucket), count)
        for bucket, count in enumerate(histogram)
        if count
    ]


def octaves(histogram: Sequence[int]) -> list[tuple[int, int, int]]:
    """The same by powers of two: from the first that has something in it to the last."""
    counts: dict[int, int] = {}
    for low, _, count in filled(histogram):
        counts[low.bit_length()] = counts.get(low.bit_length(), 0) + count
    span = range(min(counts), max(counts) + 1) if counts else ()
    return [((1 << bits) >> 1, (1 << bits) - 1, counts.get(bits, 0)) for bits in span]


def percentiles(
    histogram: Sequence[int], quantiles: Iterable[float], longest: int = MOST
) -> list[int | None]:
    """Nearest-rank quantiles (0..1), as upper bounds of their buckets; None if it is empty.

    Bounds are those of buckets: the `longest` value of all is known better.
    """
    running = list(accumulate(histogram))
    total = running[-1] if running else 0
    if not total:
        return [None for _ in quantiles]
    buckets = [bisect_left(running, rank(quantile, total)) for quantile in quantiles]
    return [min(_UPPER[bucket], longest) for bucket in buckets]


@lru_cache(maxsize=4096)  # workers of an even split have about the same totals
def rank(quantile: float, total: int) -> int:
    """Which of so many values, in order, is the quantile (0..1): 1 is the smallest."""
    # 0.07 * 100 is a little above 7: do not let it reach rank 8.
    return min(max(ceil(quantile * total - 1e-9), 1), total)


def add(a: Sequence[int], b: Sequence[int]) -> Sequence[int]:
    """The sum of two histograms; an empty sequence stands for no measurement."""
    if not a or not b:
        return a or b
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return [*map(plus, longer, shorter), *longer[len(shorter) :]]
