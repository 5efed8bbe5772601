"""What chance alone would give each member."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf


def expected_shares(counts: Sequence[int], weights: Sequence[float] | None = None) -> list[float]:
    """Expected share of each member; they add up to 1. All alike without weights.

    ValueError: there is not one weight for each count, one is no number from 0 up, or a member that
    could expect nothing has a count.
    """
    if weights is None:
        weights = [1] * len(counts)
    for count, weight in zip(counts, weights, strict=True):
        if not 0 <= weight < inf or (count and not weight):
            raise ValueError(f"{count} connections where the weight is {weight}")
    whole = sum(weights)
    return [weight / whole if whole else 0.0 for weight in weights]
