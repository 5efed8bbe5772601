"""How likely chance alone makes a split as uneven, or as even, as the one that was counted.

Chance means what SO_REUSEPORT's hash does: every connection is drawn independently of the others.
`counts` are connections by member, in any order; `weights` what each could expect, in any unit, for
instance the sum of n/k over the time it was there. Without weights all are alike. These are tests
of a single look: looking again and again until one is small finds what is not there (`evidence`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import combinations, pairwise
from math import comb, exp, lgamma, log, sqrt
from typing import Final, NamedTuple

from accepttrace.model.stats.evidence import log_split
from accepttrace.model.stats.shares import expected_shares
from accepttrace.model.stats.tails import (
    chi_square_cdf,
    chi_square_sf,
    log_binomial_cdf,
    log_binomial_pmf,
    log_binomial_sf,
)

_ENOUGH: Final = 5  # expected connections that the chi-square law needs, by Cochran's rule
_ENUMERATED: Final = 2000  # splits that are looked at one by one
_SIMULATED: Final = 1999  # splits that are drawn where there are more
_DRAWS: Final = 150_000  # that many draws at most: about 20 ms


class PValue(NamedTuple):
    """A probability, and its standard error where it was simulated."""

    p: float  # 0 if too small for a float
    error: float = 0.0


class Outlier(NamedTuple):
    """A member whose count chance alone does not explain."""

    member: int  # index in `counts`
    p: float  # adjusted for the number of members; 0 if too small for a float
    ratio: float  # count to what was expected


def even_split_p(counts: Sequence[int], weights: Sequence[float] | None = None) -> PValue:
    """The probability of a split at least as uneven as this one.

    Pearson's chi-square where all expect 5 connections or more; exact or simulated, always alike
    for the same counts, where the average is less. Members that expect less than 5 though the
    average is more are taken together.
    """
    split = _Split.of(counts, weights)
    if split.trivial:
        return PValue(1.0)
    observed = split.statistic(split.counts)
    if split.dense:
        return PValue(chi_square_sf(observed, len(split.counts) - 1))
    rare = split.probability(lambda statistic: statistic > observed - _tie(observed))
    if 0 < rare.p <= rare.error * 1.01:
        # None of those drawn was so uneven. Markov's inequality says more of what is that rare.
        bound = exp(-log_split(split.counts, split.shares))
        return PValue(min(rare.p, bound), min(rare.error, bound))
    return rare


def more_even_p(counts: Sequence[int], weights: Sequence[float] | None = None) -> PValue:
    """The probability of a split at least as even as this one: small where members take turns.

    As `even_split_p`. In the chi-square, each deviation is widened by half a connection, since
    counts are whole.
    """
    split = _Split.of(counts, weights)
    if split.trivial:
        return PValue(1.0)
    if split.dense:
        return PValue(chi_square_cdf(split.statistic(split.counts, 0.5), len(split.counts) - 1))
    observed = split.statistic(split.counts)
    return split.probability(lambda statistic: statistic < observed + _tie(observed))


def outliers(
    counts: Sequence[int], weights: Sequence[float] | None = None, alpha: float = 0.01
) -> list[Outlier]:
    """Members that took more or less than chance explains, the least likely first.

    Exact binomial tests, twice the smaller tail, with Holm's correction (1979): the probability
    that any member is named wrongly is at most `alpha`. If one takes much more, the others do take
    less than their share; what is worth a word is for the caller to choose by `ratio`.
    """
    total = sum(counts)
    shares = expected_shares(counts, weights)
    tests = sorted(
        (_log_two_sided(count, total, share), index)
        for index, (count, share) in enumerate(zip(counts, shares, strict=True))
        if share and not _is_likely(count, total, share, alpha)
    )
    found: list[Outlier] = []
    number, adjusted = sum(map(bool, shares)), 0.0
    for rank, (log_p, index) in enumerate(tests):
        adjusted = max(adjusted, min(1.0, (number - rank) * exp(log_p)))
        if adjusted > alpha:
            break
        found.append(Outlier(index, adjusted, counts[index] / (total * shares[index])))
    return found


@lru_cache(maxsize=1024)
def _is_likely(count: int, total: int, share: float, alpha: float) -> bool:
    """Whether its test surely gives more than `alpha`: most do, and this is cheaper.

    A tail is at least so many times one of its terms as there are terms up to that one, for they
    become smaller and smaller.
    """
    away = _away(count, total * share)
    terms = 1 + int(sqrt(total * share * (1 - share)) / 2)  # about the best number
    last = count + away * (terms - 1)
    if not away or not 0 < last < total:
        return False
    return log(2 * terms) + log_binomial_pmf(last, total, share) > log(alpha)


def _away(count: int, mean: float) -> int:
    """On which side of the mean; 0: too near to it to say which tail is the smaller one.

    The median is not further than 1 from the mean (Hamza, 1995).
    """
    return (count >= mean + 1) - (count <= mean - 1)


@lru_cache(maxsize=1024)
def _log_two_sided(count: int, total: int, share: float) -> float:
    away = _away(count, total * share)
    above = log_binomial_sf(count, total, share) if away >= 0 else 0.0
    below = log_binomial_cdf(count, total, share) if away <= 0 else 0.0
    return min(0.0, log(2) + min(above, below))


def _tie(statistic: float) -> float:
    """Splits that are as uneven differ by rounding alone."""
    return 1e-9 * (1 + statistic)


class _Split(NamedTuple):
    counts: tuple[int, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, counts: Sequence[int], weights: Sequence[float] | None) -> _Split:
        shares = expected_shares(counts, weights)
        cells = [(share, count) for count, share in zip(counts, shares, strict=True) if share]
        if sum(counts) >= _ENOUGH * len(cells):
            cells = _together(cells, _ENOUGH / max(sum(counts), 1))
        return cls(tuple(count for _, count in cells), tuple(share for share, _ in cells))

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def trivial(self) -> bool:
        """Whether there is nothing that could be uneven."""
        return len(self.counts) < 2 or not self.total

    @property
    def dense(self) -> bool:
        return self.total * min(self.shares) >= _ENOUGH * (1 - 1e-12)

    def statistic(self, counts: Sequence[int], widened: float = 0.0) -> float:
        """Pearson's X²."""
        total = self.total
        return sum(
            (abs(count - total * share) + widened) ** 2 / (total * share)
            for count, share in zip(counts, self.shares, strict=True)
        )

    def probability(self, of: Callable[[float], bool]) -> PValue:
        """The probability that chance makes a split of which this is true."""
        k = len(self.counts)
        if comb(self.total + k - 1, k - 1) <= _ENUMERATED:
            exact = sum(
                self._chance_of(every) for every in self._all() if of(self.statistic(every))
            )
            return PValue(min(1.0, exact))
        drawn = list(self._draw())
        # The split that was counted is one of them, so that p is never 0.
        p = (1 + sum(map(of, drawn))) / (1 + len(drawn))
        return PValue(p, sqrt(p * (1 - p) / len(drawn)))

    def _all(self) -> Iterator[list[int]]:
        """Every split of as many connections: k - 1 bars among n stars."""
        last = self.total + len(self.counts) - 1
        for bars in combinations(range(last), len(self.counts) - 1):
            edges = (-1, *bars, last)
            yield [right - left - 1 for left, right in pairwise(edges)]

    def _chance_of(self, counts: Sequence[int]) -> float:
        """The multinomial probability."""
        ways = lgamma(self.total + 1) - sum(lgamma(count + 1) for count in counts)
        return exp(
            ways
            + sum(count * log(share) for count, share in zip(counts, self.shares, strict=False))
        )

    def _draw(self) -> Iterator[float]:
        """The statistic of splits drawn at random, from 16 random bits a connection."""
        from random import Random  # takes OpenSSL with it

        total, k = self.total, len(self.counts)
        runs = min(_SIMULATED, max(99, _DRAWS // (total + 2 * k)))
        member = self._member_of().__getitem__
        factors = [1 / (total * share) for share in self.shares]
        random = Random(1)
        for _ in range(runs):
            drawn = Counter(map(member, array("H", random.randbytes(2 * total))))
            yield sum(count * count * factors[i] for i, count in drawn.items()) - total

    def _member_of(self) -> list[int]:
        """Which member each of 65,536 equally likely numbers stands for."""
        table: list[int] = []
        reached = 0.0
        for index, share in enumerate(self.shares):
            reached += share
            table += [index] * (round(65536 * reached) - len(table))
        return table


def _together(cells: list[tuple[float, int]], least: float) -> list[tuple[float, int]]:
    """Cells of share and count, the smallest added up until each has a share of `least`."""
    heapify(cells)
    while len(cells) > 1 and cells[0][0] < least * (1 - 1e-12):
        share, count = heappop(cells)
        next_share, next_count = heappop(cells)
        heappush(cells, (share + next_share, count + next_count))
    return cells
