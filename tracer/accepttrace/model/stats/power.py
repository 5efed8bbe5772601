"""What a number of connections can show: the greatest share by chance, and how many are needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, exp, lgamma, log
from typing import Final

from accepttrace.model.stats.tails import binomial_sf, chi_square_sf

_STEPS: Final = 40  # of a bisection: to 1e-12


def chance_ratio(connections: int, members: int, quantile: float = 0.95) -> float:
    """What the largest count, as a multiple of its fair share, stays within by chance alone.

    In `quantile` of all runs. P(max ≤ m) is taken as P(one ≤ m) ** members: counts of a multinomial
    are negatively associated, so this errs by far less than one count.
    """
    if members < 2 or not connections:
        return 1.0
    tail = 1 - quantile ** (1 / members)
    low, high = 0, connections  # P(one > low) is above the tail, or low is 0; P(one > high) is not
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_sf(middle + 1, connections, 1 / members) > tail:
            low = middle
        else:
            high = middle
    return high * members / connections


def connections_needed(k: int, ratio: float, alpha: float = 0.01, power: float = 0.8) -> int:
    """About how many connections show that one of `k` members gets `ratio` times its share.

    The chi-square test at `alpha` finds it in `power` of all runs, by the usual approximation:
    where that says 80 %, a doubled share among 8 is found in 72 %. ValueError: `k` is below 2, or
    `ratio` is 1.
    """
    if k < 2 or ratio == 1:
        raise ValueError(f"a ratio of {ratio} among {k} shows nothing")
    # The noncentrality is n times the sum of squared deviations over what is expected.
    return ceil(_noncentrality(k - 1, alpha, power) * (k - 1) / (ratio - 1) ** 2)


@lru_cache(maxsize=256)
def _noncentrality(df: int, alpha: float, power: float) -> float:
    """What makes the chi-square test find it so often (Cohen, Statistical Power Analysis, 1988)."""
    critical = _root(lambda x: chi_square_sf(x, df) < alpha)
    return _root(lambda x: _noncentral_sf(critical, df, x) > power)


def _noncentral_sf(x: float, df: int, noncentrality: float) -> float:
    """P(noncentral chi-square ≥ x): chi-squares mixed by a Poisson law."""
    mean = noncentrality / 2
    terms = range(int(mean + 10 * mean**0.5 + 20))
    return sum(
        exp(j * log(mean) - mean - lgamma(j + 1)) * chi_square_sf(x, df + 2 * j) for j in terms
    )


def _root(reached: Callable[[float], bool]) -> float:
    """Where a condition that holds for all large numbers begins to hold."""
    high = 1.0
    while not reached(high):
        high *= 2
    low = 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
