"""Tests that stay valid however often one looks: e-values.

An e-value is what a bet against chance has made of a stake of 1. If chance alone is at work, the
probability that it ever reaches 1/alpha is at most alpha, over all looks (Ville's inequality).
Source: Ramdas and others, Game-Theoretic Statistics and Safe Anytime-Valid Inference (2023).

A stretch is a time of constant membership, and so of constant expected shares. In a stretch the bet
is a mixture over all other shares, here Dirichlet's, which has a closed form.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import exp, inf, lgamma, log, log1p
from typing import Final, Generic, TypeVar

from accepttrace.model.stats.shares import expected_shares

# The mixture bets on members that deviate by this much of their share (one standard deviation).
# 0.3 finds +20 % of 4 members at e >= 100 after 1,550 connections in half of all runs, a doubled
# share of 8 after 160; 0.1 after 1,280 and 300, 1.0 after 2,180 and 275.
_DEVIATION: Final = 0.3

Member = TypeVar("Member", bound=Hashable)


def log_mixture(counts: Sequence[int], shares: Sequence[float], spread: float) -> float:
    """The logarithm of the e-value of one stretch: Dirichlet-multinomial to multinomial.

    `shares` are positive and add up to 1. `spread` is that of the mixture, in members: with k - 1,
    a share of 1/k deviates by what the bet is on. 0 if nothing was counted.
    """
    concentration = spread / _DEVIATION**2
    cells = list(zip(counts, shares, strict=True))
    gains = {cell: _gain(*cell, concentration) for cell in set(cells)}  # many are alike
    won = lgamma(concentration) - lgamma(concentration + sum(counts))
    for cell in cells:
        won += gains[cell]
    return won


def _gain(count: int, share: float, concentration: float) -> float:
    prior = concentration * share
    return lgamma(prior + count) - lgamma(prior) - count * log(share)


def log_split(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The logarithm of the e-value of a split among all its members; a share may be 0."""
    there = [(count, share) for count, share in zip(counts, shares, strict=True) if share]
    if len(there) < 2:
        return 0.0
    return log_mixture([count for count, _ in there], [share for _, share in there], len(there) - 1)


def log_member(count: int, total: int, share: float) -> float:
    """The same for one member against all others together."""
    if not 0 < share < 1:
        return 0.0
    spread = 1 / min(share, 1 - share) - 1
    return log_mixture((count, total - count), (share, 1 - share), spread)


class Evidence:
    """Evidence against chance for a sharing set as a whole; constant memory.

    It may be unfair from the beginning or only since some stretch, so a part of the stake is kept
    for each stretch to come: 1/(t (t + 1)) for stretch t. Stretches that were fair then cost
    2 log t, where the product over all stretches would lose its stake again in each.
    """

    def __init__(self) -> None:
        self._stretch = 1
        self._opened = _log_stake(1)  # what is staked on the present stretch
        self._won = 0.0  # its factor up to now, as a logarithm
        self._peak = 0.0

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value: what the staked part has become, and what is left."""
        return _log_add(self._opened + self._won, -log1p(self._stretch))

    @property
    def p(self) -> float:
        """A p-value that is valid over all looks: 1 to the greatest e-value so far."""
        return exp(-self._peak)

    def update(self, counts: Sequence[int], weights: Sequence[float] | None = None) -> None:
        """Take the connections of the present stretch so far, by member.

        `weights`, in any unit, are what each can expect in this stretch: the same in every update
        until it is closed. ValueError as in `expected_shares`.
        """
        self._won = log_split(counts, expected_shares(counts, weights))
        self._peak = max(self._peak, self.log_e)

    def close_stretch(self) -> None:
        """The membership changes, or will be judged anew from here: the counts begin at 0.

        To decide so by what was counted up to now is fair; without an update since, it is nothing.
        """
        if self._won:
            self._stretch += 1
            self._opened = _log_add(self._opened + self._won, _log_stake(self._stretch))
            self._won = 0.0


class MemberEvidence(Generic[Member]):
    """Evidence against chance for each member by itself; memory for those of the present stretch.

    Every stretch stakes what `Evidence` does, in equal parts on those that are there, so that all
    stakes ever made add up to 1: the probability that any member that gets its share is ever named
    is at most alpha, however many come and go. (Bonferroni's correction for e-values, weighted by
    the order of appearance: Vovk and Wang, E-values: Calibration, Combination and Applications,
    2021.) What ended is forgotten.
    """

    def __init__(self) -> None:
        self._stretch = 1
        self._opened: dict[Member, float] = {}  # from earlier stretches, as logarithms
        self._now: dict[Member, float] = {}

    def update(self, counts: Mapping[Member, int], weights: Mapping[Member, float]) -> None:
        """As `Evidence.update`; `weights` says who is there, and counts of others are left out."""
        taken = [counts.get(member, 0) for member in weights]
        shares = expected_shares(taken, list(weights.values()))
        stake = _log_stake(self._stretch) - log(max(len(weights), 1))
        total, cells = sum(taken), list(zip(taken, shares, strict=True))
        won = {cell: log_member(cell[0], total, cell[1]) for cell in set(cells)}  # many are alike
        self._now = {
            member: _log_add(self._opened.get(member, -inf), stake) + won[cell]
            for member, cell in zip(weights, cells, strict=True)
        }

    def close_stretch(self) -> None:
        """As `Evidence.close_stretch`."""
        if self._now:
            self._stretch += 1
            self._opened, self._now = self._now, {}

    def named(self, alpha: float = 0.01) -> dict[Member, float]:
        """Members that chance does not explain, more or less than their share.

        With the logarithm of the e-value of each, already adjusted for their number; the most
        certain first.
        """
        known = self._now or self._opened
        found = [(log_e, member) for member, log_e in known.items() if log_e >= -log(alpha)]
        return {member: log_e for log_e, member in sorted(found, key=lambda one: -one[0])}


def _log_stake(stretch: int) -> float:
    return -log(stretch * (stretch + 1))


def _log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = max(a, b), min(a, b)
    return high + log1p(exp(low - high))
