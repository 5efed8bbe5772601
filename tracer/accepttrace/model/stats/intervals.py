"""Ranges in which chance leaves what was counted, exact and without a model of the machine."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Final

from accepttrace.model.stats.tails import log_binomial_cdf, log_binomial_sf

_STEPS: Final = 60  # of halving: to the precision of a float


def proportion(k: int, n: int, alpha: float) -> tuple[float, float]:
    """Of `k` successes in `n` > 0 draws: the probabilities that `alpha` does not rule out.

    Clopper and Pearson, Biometrika 26 (1934), 404-413.
    """
    limit = log(alpha / 2)
    low = _first(lambda p: log_binomial_sf(k, n, p) >= limit) if k else 0.0
    high = _first(lambda p: log_binomial_cdf(k, n, p) <= limit) if k < n else 1.0
    return low, high


def ranks(quantile: float, n: int, alpha: float) -> tuple[int, int]:
    """Between which of `n` > 0 values in order (1 is the smallest) a quantile of their law lies.

    0 and n + 1: it may lie below, or above, all of them.
    """
    limit = log(alpha / 2)
    # The r smallest are all below it in P(X >= r), X of n values being below.
    low = _last_rank(n, lambda rank: log_binomial_cdf(rank - 1, n, quantile) <= limit)
    high = n + 1 - _last_rank(n, lambda rank: log_binomial_sf(n + 1 - rank, n, quantile) <= limit)
    return low, high


def _first(holds: Callable[[float], bool]) -> float:
    """From which probability on it holds."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _last_rank(n: int, holds: Callable[[int], bool]) -> int:
    """The last rank for which it holds; 0 if there is none."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
