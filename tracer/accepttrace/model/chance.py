"""How uneven chance alone would make a split.

Chance means the one thing that SO_REUSEPORT's hash is: every connection drawn independently, all
sockets alike. A shared queue has no such law; there the same numbers are a yardstick, no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, exp, lgamma, log, log1p, sqrt

_MANY = 10_000  # draws a socket above which the normal law is as good as the binomial


def chance_max_over_mean(connections: int, sockets: int, quantile: float = 0.95) -> float:
    """What `max_over_mean` chance alone stays within, in `quantile` of all runs.

    P(max ≤ m) is taken as P(one ≤ m) ** sockets: counts of a multinomial are negatively
    associated, so this errs by far less than one count.
    """
    if sockets < 2 or not connections:
        return 1.0
    tail = 1 - quantile ** (1 / sockets)
    share = connections / sockets
    bound = _normal_bound if share > _MANY else _binomial_bound
    return bound(connections, sockets, tail) / share


def chance_of_less(counts: Sequence[int]) -> float:
    """The probability that chance alone makes a split at least as even as this one.

    Chi-square's lower tail, each deviation widened by half a connection: counts are whole.
    """
    fair = sum(counts) / len(counts)
    if len(counts) < 2 or not fair:
        return 1.0
    statistic = sum((abs(count - fair) + 0.5) ** 2 / fair for count in counts)
    return _lower_gamma((len(counts) - 1) / 2, statistic / 2)


def _binomial_bound(n: int, k: int, tail: float) -> float:
    """The smallest m with P(Binomial(n, 1/k) > m) ≤ tail: summed downwards from far above."""
    m = min(n, int(n / k + 12 * sqrt(n / k) + 30))
    above = 0.0
    while m > 0:
        above += exp(_log_binomial(n, k, m))
        if above > tail:
            return float(m)
        m -= 1
    return 0.0


def _log_binomial(n: int, k: int, m: int) -> float:
    ways = lgamma(n + 1) - lgamma(m + 1) - lgamma(n - m + 1)
    return ways - m * log(k) + (n - m) * log1p(-1 / k)


def _normal_bound(n: int, k: int, tail: float) -> float:
    """The same by the normal law, by bisection in standard deviations."""
    low, high = 0.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        if erfc(middle / sqrt(2)) / 2 > tail:
            low = middle
        else:
            high = middle
    return n / k + high * sqrt(n / k * (1 - 1 / k))


def _lower_gamma(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function, by its power series."""
    if x <= 0:
        return 0.0
    if x > a + 40 * sqrt(a) + 40:
        return 1.0
    scale = a * log(x) - x - lgamma(a)
    term = total = 1 / a
    while term > total * 1e-12:
        a += 1
        term *= x / a
        total += term
    return min(total * exp(scale), 1.0)
