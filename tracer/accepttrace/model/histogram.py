"""The histogram of microseconds that the BPF programs keep: 8 buckets an octave (≤ 12.5 % wide).

Values below 8 have a bucket each. Above, with e = floor(log2 value), the bucket is
(e - 2) * 8 + the three bits below the leading one. Values from 2**32 on share the last bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import ceil
from operator import add as plus
from typing import Final

BUCKETS: Final = 240
_STEPS: Final = 8  # buckets an octave
_LAST_EXPONENT: Final = 31


def bucket_of(us: int) -> int:
    """The bucket of a value in microseconds; a negative one counts as 0."""
    if us < _STEPS:
        return max(us, 0)
    exponent = us.bit_length() - 1
    if exponent > _LAST_EXPONENT:
        return BUCKETS - 1
    return (exponent - 2) * _STEPS + ((us >> (exponent - 3)) & (_STEPS - 1))


def lower_bound(bucket: int) -> int:
    """The smallest value of a bucket, in microseconds."""
    if bucket < _STEPS:
        return bucket
    octave, step = divmod(bucket, _STEPS)
    return (_STEPS + step) << (octave - 1)


def upper_bound(bucket: int) -> int:
    """The largest value of a bucket, in microseconds (the last one also holds all beyond it)."""
    return lower_bound(bucket + 1) - 1


_UPPER: Final = tuple(upper_bound(i) for i in range(BUCKETS))


def percentile(histogram: Sequence[int], quantile: float) -> int | None:
    """The nearest-rank quantile (0..1) as the upper bound of its bucket; None if empty."""
    return percentiles(histogram, (quantile,))[0]


def percentiles(histogram: Sequence[int], quantiles: Iterable[float]) -> list[int | None]:
    """Several quantiles of one histogram at the price of one."""
    running = list(accumulate(histogram))
    total = running[-1] if running else 0
    if not total:
        return [None for _ in quantiles]
    return [_UPPER[bisect_left(running, _rank(quantile, total))] for quantile in quantiles]


def _rank(quantile: float, total: int) -> int:
    # 0.07 * 100 is a little above 7: do not let it reach rank 8.
    return min(max(ceil(quantile * total - 1e-9), 1), total)


def add(a: Sequence[int], b: Sequence[int]) -> Sequence[int]:
    """The sum of two histograms; an empty sequence stands for no measurement."""
    if not a or not b:
        return a or b
    return list(map(plus, a, b))
