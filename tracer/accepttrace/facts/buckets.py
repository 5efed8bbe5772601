"""Buckets of the histograms of microseconds that BPF programs keep: 8 an octave (≤ 12.5 % wide).

Values below 8 have a bucket each. Above, with e = floor(log2 value), the bucket is
(e - 2) * 8 + the three bits below the leading one. Values from 2**32 on share the last bucket.
"""

from __future__ import annotations

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
