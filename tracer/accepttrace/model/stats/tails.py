"""Tails of the chi-square and the binomial law, to a relative 1e-9, however small they are.

Each has a form that returns the natural logarithm, for what is too small for a float.
"""

from __future__ import annotations

from functools import cache
from math import cos, exp, inf, lgamma, log, log1p, pi, sqrt
from typing import Final

_NEGLIGIBLE: Final = 1e-16  # relative: a term of a sum below this no longer counts
_TINY: Final = 1e-300  # in place of a divisor that happens to be 0
_DROP: Final = 30.0  # nats by which an integrand has fallen where its integration ends
_NODES: Final = 24  # enough for an integrand that falls by that much


def chi_square_sf(x: float, df: int) -> float:
    """P(chi-square with `df` degrees of freedom ≥ x)."""
    return exp(log_chi_square_sf(x, df))


def log_chi_square_sf(x: float, df: int) -> float:
    """The logarithm of `chi_square_sf`."""
    return _log_gamma_tails(df / 2, x / 2)[1]


def chi_square_cdf(x: float, df: int) -> float:
    """P(chi-square with `df` degrees of freedom ≤ x)."""
    return exp(_log_gamma_tails(df / 2, x / 2)[0])


def binomial_sf(k: int, n: int, p: float) -> float:
    """P(X ≥ k), X successes among `n` draws of probability `p`. `k` itself is included."""
    return exp(log_binomial_sf(k, n, p))


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X ≤ k), X successes among `n` draws of probability `p`."""
    return exp(log_binomial_cdf(k, n, p))


def log_binomial_sf(k: int, n: int, p: float) -> float:
    """The logarithm of `binomial_sf`."""
    return _log_at_least(k, n, p, 1 - p)


def log_binomial_cdf(k: int, n: int, p: float) -> float:
    """The logarithm of `binomial_cdf`."""
    return _log_at_least(n - k, n, 1 - p, p)


def log_binomial_pmf(k: int, n: int, p: float) -> float:
    """The logarithm of P(X = k), 0 < `k` < `n`."""
    return _log_binomial(k, n, p, 1 - p)


def log_rest(logarithm: float) -> float:
    """The logarithm of 1 - exp(logarithm); -inf if nothing is left."""
    rest = -exp(logarithm)
    return log1p(rest) if rest > -1 else -inf


def _log_gamma_tails(a: float, x: float) -> tuple[float, float]:
    """Logarithms of the regularised incomplete gamma functions P(a, x) and Q(a, x).

    Abramowitz and Stegun, 6.5.29 (series) and 6.5.31 (continued fraction).
    """
    if x <= 0:
        return -inf, 0.0
    scale = log(a) + _log_poisson(a, x)
    if x < a + 1:
        lower = min(scale + log(_gamma_series(a, x)), 0.0)
        return lower, log_rest(lower)
    upper = scale + log(_gamma_fraction(a, x))  # x is above the median: less than a half
    return log_rest(upper), upper


def _gamma_series(a: float, x: float) -> float:
    term = total = 1 / a
    while term > total * _NEGLIGIBLE:
        a += 1
        term *= x / a
        total += term
    return total


def _gamma_fraction(a: float, x: float) -> float:
    """By Lentz's method, Numerical Recipes 5.2."""
    b = x + 1 - a
    c = 1 / _TINY
    d = 1 / b
    value = d
    step, i = 2.0, 0
    while abs(step - 1) > 2 * _NEGLIGIBLE:
        i += 1
        b += 2
        d = 1 / (i * (a - i) * d + b or _TINY)
        c = b + i * (a - i) / c or _TINY
        step = c * d
        value *= step
    return value


def _log_at_least(k: int, n: int, p: float, q: float) -> float:
    """log P(X ≥ k); `q` is 1 - `p`, for one of them may be too small to be had from the other."""
    if k <= 0:
        return 0.0
    if k > n or p <= 0:
        return -inf
    if q <= 0:
        return 0.0
    if k > n * p:
        return min(_log_beta_tail(k, n, p, q), 0.0)
    return log_rest(min(_log_beta_tail(n - k + 1, n, q, p), 0.0))


def _log_beta_tail(k: int, n: int, p: float, q: float) -> float:
    """log P(X ≥ k) for k above the mean: the incomplete beta function I_p(k, n - k + 1).

    The integral of t^(k-1) (1-t)^(n-k) from p down to where nothing is left of it, relative to its
    value at p, by Gauss and Legendre as in Numerical Recipes 6.4: as fast for 1e9 draws as for 10.
    """

    def fallen(step: float) -> float:
        return (k - 1) * log1p(-step / p) + (n - k) * log1p(step / q)

    slope = (k - 1) / p - (n - k) / q
    curvature = (k - 1) / p / p + (n - k) / q / q
    reach = 2 * _DROP / max(slope + sqrt(slope * slope + 2 * curvature * _DROP), _TINY)
    while reach < p and fallen(reach) > -_DROP:
        reach *= 1.25
    reach = min(reach, p)
    area = reach * sum(weight * exp(fallen(reach * node)) for node, weight in _gauss_legendre())
    return _log_binomial(k, n, p, q) + log(k / p) + log(area)


@cache
def _gauss_legendre() -> list[tuple[float, float]]:
    """Nodes in (0, 1) and their weights; Numerical Recipes 4.6."""
    rule = []
    for i in range(_NODES):
        z = cos(pi * (i + 0.75) / (_NODES + 0.5))
        for _ in range(5):  # Newton's method doubles the digits each time
            value, slope = _legendre(z)
            z -= value / slope
        slope = _legendre(z)[1]
        rule.append(((1 - z) / 2, 1 / ((1 - z * z) * slope * slope)))
    return rule


def _legendre(z: float) -> tuple[float, float]:
    """The Legendre polynomial of degree `_NODES` and its derivative."""
    before, value = 0.0, 1.0
    for j in range(_NODES):
        before, value = value, ((2 * j + 1) * z * value - j * before) / (j + 1)
    return value, _NODES * (z * value - before) / (z * z - 1)


def _log_binomial(k: int, n: int, p: float, q: float) -> float:
    """log P(X = k), by Loader, Fast and Accurate Computation of Binomial Probabilities (2000).

    The plain formula takes differences of numbers near n log n: at n = 1e9 only five digits stay.
    """
    if k == n:
        return n * log(p) if p < 0.5 else n * log1p(-q)
    return (
        _stirling_error(n)
        - _stirling_error(k)
        - _stirling_error(n - k)
        - _deviance(k, n * p)
        - _deviance(n - k, n * q)
        + log(n / (2 * pi * k * (n - k))) / 2
    )


def _log_poisson(k: float, mean: float) -> float:
    """log of mean^k e^-mean / Γ(k + 1), k > 0; same source."""
    return -_stirling_error(k) - _deviance(k, mean) - log(2 * pi * k) / 2


def _stirling_error(x: float) -> float:
    """log Γ(x + 1) less Stirling's formula."""
    if x < 16:
        return lgamma(x + 1) - (x + 0.5) * log(x) + x - log(2 * pi) / 2
    square = x * x
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / x


def _deviance(x: float, mean: float) -> float:
    """x log(x / mean) + mean - x, x > 0."""
    relative = (x - mean) / mean
    return mean * ((1 + relative) * log1p(relative) - relative)
