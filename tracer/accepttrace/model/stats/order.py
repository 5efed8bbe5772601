"""Whether the order of accepts differs from that of independent draws, with any shares.

The e-values are mixtures over simple alternatives, so they stay valid however often one looks (see
`evidence`). Under the null hypothesis the most likely shares stand for the true ones, which only
makes an e-value smaller ("universal inference": Wasserman, Ramdas, Balakrishnan, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, lgamma, log
from sys import float_info
from typing import Final, NamedTuple

# What part comes after the same one as the last time: the bets of `log_turns`, with equal stakes.
_BETS: Final = (0.5, 0.7, 0.9, 0.98)


class Taker(NamedTuple):
    """Who took `accepts`, and after whom: as `facts.records.Placing`, also in fractions.

    `workers`: so many that are gone and known only together; each counts as one with an even part.
    """

    accepts: float
    placed: float
    again: float
    steady: float
    workers: int = 1

    @property
    def one(self) -> Taker:
        """Of the workers."""
        parts = (self.accepts, self.placed, self.again, self.steady)
        accepts, placed, again, steady = (number / self.workers for number in parts)
        return Taker(accepts, placed, again, steady)


def chance_runs(takers: Sequence[Taker]) -> float:
    """How many runs independent draws make on average of so many accepts by each.

    Given the counts, every order is as likely: the mean of the runs test (Barton, David, 1957).
    """
    total = sum(taker.accepts for taker in takers)
    same = sum(each.workers * each.one.accepts * (each.one.accepts - 1) for each in takers)
    return total - same / total if total else 0.0


def log_runs(takers: Sequence[Taker]) -> float:
    """The logarithm of the e-value of longer, or shorter, runs than independent draws make.

    Of each taker the accepts are ones and those of all others zeros; the bet is that a one after a
    one has another probability than after a zero. The mean over all takers.
    """
    placed = sum(taker.placed for taker in takers)
    number = sum(taker.workers for taker in takers)
    bets = [_log_chain(each.one, placed) + log(each.workers) for each in takers if each.placed]
    return _log_sum(bets) - log(number) if bets else 0.0


def log_turns(takers: Sequence[Taker]) -> float:
    """The logarithm of the e-value of accepts that follow the same other as the last time.

    By chance that has at most the probability of the most likely other.
    """
    total = sum(taker.accepts for taker in takers)
    likeliest = sorted(each.one.accepts for each in takers for _ in range(min(each.workers, 2)))
    won = [-log(len(_BETS))] * len(_BETS)
    for each in takers:
        own, rest = each.one.accepts, total - each.one.accepts
        other = likeliest[-2:-1] if own == likeliest[-1] else likeliest[-1:]
        chance = other[0] / rest if other and rest > 0 else 1.0
        if chance <= 0:
            continue
        misses = each.placed - each.again - each.steady
        for place, bet in enumerate(_BETS):
            if bet > chance:
                won[place] += each.steady * log(bet / chance)
                won[place] += misses * log((1 - bet) / (1 - chance))
    return _log_sum(won)


def chance_steady(takers: Sequence[Taker]) -> float:
    """The part of the accepts that independent draws have after the same other as the last time."""
    total = sum(taker.accepts for taker in takers)
    squares = sum(each.workers * each.one.accepts**2 for each in takers)
    part = 0.0
    for each in takers:
        own, rest = each.one.accepts, total - each.one.accepts
        if rest > 0:
            part += each.workers * own / total * (squares - own**2) / rest / total
    return part


def p_always(*logs: float) -> float:
    """The p-value, valid over all looks, of several e-values with equal stakes."""
    return max(exp(min(log(len(logs)) - _log_sum(logs), 0.0)), float_info.min)


def _log_chain(taker: Taker, placed: float) -> float:
    """Of ones and zeros: a chain whose two probabilities are unknown, to draws with one."""
    again, came = taker.again, taker.placed - taker.again
    left = min(came, placed - taker.placed)  # as often as it came, but for one at most
    absent = placed - again - came - left
    ones, zeros = again + came, left + absent
    won = _log_mixed(again, left) + _log_mixed(came, absent)
    return won - _log_power(ones, placed) - _log_power(zeros, placed)


def _log_mixed(ones: float, zeros: float) -> float:
    """Probability of a sequence, mixed over all probabilities by Jeffreys' law."""
    return lgamma(ones + 0.5) + lgamma(zeros + 0.5) - lgamma(ones + zeros + 1) - 2 * lgamma(0.5)


def _log_power(part: float, whole: float) -> float:
    return part * log(part / whole) if part > 0 else 0.0


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top if top == -inf else top + log(sum(exp(each - top) for each in logs))
