"""Statistics of a single look at a split, against mpmath, scipy's figures and published tables."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from math import comb, exp, inf, isclose, log, log1p, prod
from operator import or_
from statistics import NormalDist

import mpmath
import pytest

from accepttrace.model.stats.power import _noncentrality, chance_ratio, connections_needed
from accepttrace.model.stats.shares import expected_shares
from accepttrace.model.stats.sketch import SLOTS, distinct
from accepttrace.model.stats.split import _Split, even_split_p, more_even_p, outliers
from accepttrace.model.stats.tails import (
    _gauss_legendre,
    binomial_cdf,
    binomial_sf,
    chi_square_cdf,
    chi_square_sf,
    log_binomial_cdf,
    log_binomial_pmf,
    log_binomial_sf,
    log_chi_square_sf,
    log_rest,
)
from accepttrace.probe import wire
from tests.unit.published import PUBLISHED, Published


@pytest.fixture(autouse=True)
def _anew() -> None:
    """Each test computes for itself."""
    _noncentrality.cache_clear()
    _gauss_legendre.cache_clear()


DEVIATIONS = (-36, -20, -6, -1, -0.1, 0, 0.1, 1, 6, 20, 36)  # in standard deviations


@pytest.mark.parametrize("df", [1, 2, 3, 7, 32, 63, 511])
@pytest.mark.parametrize("ratio", [1e-3, 0.5, 0.9, 1, 1.04, 1.2, 2, 5, 30, 170, 1300, 1e6])
def test_chi_square_tails(ratio: float, df: int) -> None:
    x = ratio * df
    with mpmath.workdps(40):
        above = mpmath.gammainc(mpmath.mpf(df) / 2, mpmath.mpf(x) / 2, regularized=True)
        below = mpmath.gammainc(mpmath.mpf(df) / 2, 0, mpmath.mpf(x) / 2, regularized=True)
        log_above = float(mpmath.log(above))
    assert log_chi_square_sf(x, df) == pytest.approx(log_above, rel=1e-9, abs=1e-9)
    assert isclose(chi_square_cdf(x, df), float(below), rel_tol=1e-9)
    if log_above > -690:  # 1e-300
        assert isclose(chi_square_sf(x, df), float(above), rel_tol=1e-9)


def test_chi_square_of_nothing() -> None:
    assert (chi_square_sf(0, 3), chi_square_cdf(0, 3)) == (1, 0)


def binomial_points() -> list[tuple[int, int, float]]:
    points = {(28, 30, 0.9), (91, 100, 0.9)}  # where the integrand falls slowly
    for n, p in itertools.product((1, 2, 17, 370, 10**4), (1e-9, 1 / 512, 1 / 8, 0.5, 0.999)):
        spots = [n * p + z * (n * p * (1 - p)) ** 0.5 for z in DEVIATIONS]
        points |= {(min(max(round(spot), 0), n), n, p) for spot in (0, 1, n - 1, n, *spots)}
    return sorted(points)


def exact_tails(k: int, n: int, p: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """P(X ≥ k) and P(X ≤ k), each term from the one before."""
    odds = mpmath.mpf(p) / (1 - mpmath.mpf(p))
    term = at = above = mpmath.binomial(n, k) * odds**k / (1 + odds) ** n
    for i in range(k, n):
        term *= odds * (n - i) / (i + 1)
        above += term
        if i > n * p and term < above * mpmath.mpf(10) ** -60:
            break
    return above, 1 - above + at


def test_binomial_tails_equal_exact_sums() -> None:
    with mpmath.workdps(60):
        for k, n, p in binomial_points():
            above, below = exact_tails(k, n, p)
            if above > 1e-300:
                assert isclose(binomial_sf(k, n, p), above, rel_tol=1e-9), (k, n, p)
            if below > 1e-45:
                assert isclose(binomial_cdf(k, n, p), below, rel_tol=1e-9), (k, n, p)


@pytest.mark.parametrize("n", [2, 17, 60])
def test_the_probability_of_one_number_is_exact(n: int) -> None:
    for k in range(1, n):
        for p in (Fraction(1, 512), Fraction(1, 3), Fraction(9, 10)):
            exact = comb(n, k) * p**k * (1 - p) ** (n - k)
            assert isclose(log_binomial_pmf(k, n, float(p)), log(exact), rel_tol=1e-9)


@pytest.mark.parametrize("deviation", DEVIATIONS)
@pytest.mark.parametrize("p", [1e-7, 1 / 64, 0.5])
def test_binomial_tails_mirror_and_add_up_for_a_billion(p: float, deviation: float) -> None:
    n = 10**9
    k = max(round(n * p + deviation * (n * p * (1 - p)) ** 0.5), 0)
    exact = binomial_sf(k, n, p) + binomial_cdf(k - 1, n, p)
    assert exact == pytest.approx(1, rel=1e-12)
    if p == 0.5:
        assert log_binomial_cdf(k, n, p) == pytest.approx(log_binomial_sf(n - k, n, p), rel=1e-12)


# scipy 1.17.1: special.chdtrc, stats.binom.sf (which excludes k) and stats.binom.cdf. mpmath says
# that the second of binom.sf is off by 2.5e-7.
SCIPY_CHI_SQUARE = (
    (3.84, 1, 0.05004352124870519),
    (7.7145, 7, 0.3584409061312973),
    (30, 7, 9.495972508134177e-05),
    (1369, 1, 1.1451142445049073e-299),
    (1300, 63, 2.268255534788328e-230),
    (1800, 511, 6.487764223752225e-143),
)
SCIPY_BINOMIAL = (
    (1, 3, 1 / 3, 0.7037037037037037, 0.7407407407407408),
    (349, 370, 0.125, 3.8038081751859847e-283, 1.0),
    (60, 312, 1 / 64, 1.0638530349978822e-45, 1.0),
    (0, 370, 0.125, 1.0, 3.4912393046361948e-22),
    (251_000, 10**6, 0.25, 0.010515838611016097, 0.989548244053882),
    (500_300_000, 10**9, 0.5, 1.408674231937846e-80, 1.0),
    (125_380_000, 10**9, 0.125, 4.033088745743471e-289, 1.0),
)


def test_scipy_gives_the_same() -> None:
    for x, df, expected in SCIPY_CHI_SQUARE:
        assert isclose(chi_square_sf(x, df), expected, rel_tol=1e-9)
    for k, n, p, at_least, at_most in SCIPY_BINOMIAL:
        assert isclose(binomial_sf(k, n, p), at_least, rel_tol=1e-6)
        assert isclose(binomial_cdf(k, n, p), at_most, rel_tol=1e-6)


def test_binomial_edges() -> None:
    assert [binomial_sf(k, 3, 0.5) for k in (-1, 0, 3, 4)] == [1, 1, pytest.approx(1 / 8), 0]
    assert [binomial_cdf(k, 3, 0.5) for k in (-1, 0, 3, 4)] == [0, pytest.approx(1 / 8), 1, 1]
    assert [binomial_sf(1, 3, p) for p in (0.0, 1.0)] == [0, 1]
    assert binomial_sf(1, 1, 0.3) == pytest.approx(0.3, rel=1e-12)
    assert binomial_sf(0, 0, 0.3) == 1


def test_tails_where_all_are_drawn() -> None:
    assert log_binomial_sf(1000, 1000, 1e-20) == pytest.approx(1000 * log(1e-20), rel=1e-12)
    exact = 10**9 * log1p(-1e-8)
    assert log_binomial_cdf(0, 10**9, 1e-8) == pytest.approx(exact, rel=1e-9)
    assert (log_rest(0.0), log_rest(-inf)) == (-inf, 0.0)


# --- a split ------------------------------------------------------------------------------------


def by_hand(counts: tuple[int, ...], shares: list[float], even: bool) -> float:
    """Every way to give out as many connections, one at a time."""
    n = sum(counts)

    def statistic(split: tuple[int, ...]) -> float:
        return sum((x - n * w) ** 2 / (n * w) for x, w in zip(split, shares, strict=True))

    limit, p = statistic(counts), 0.0
    for given in itertools.product(range(len(counts)), repeat=n):
        drawn = Counter(given)
        found = statistic(tuple(drawn[i] for i in range(len(counts))))
        if (found <= limit + 1e-9) if even else (found >= limit - 1e-9):
            p += prod(shares[i] for i in given)
    return p


@pytest.mark.parametrize(
    ("counts", "weights"),
    [((2, 0, 0), None), ((4, 2, 0), None), ((3, 2, 1), (1.0, 1.0, 2.0)), ((7, 1), (3.0, 1.0))],
)
def test_few_connections_are_enumerated(
    counts: tuple[int, ...], weights: tuple[float, ...] | None
) -> None:
    shares = expected_shares(counts, weights)
    assert even_split_p(counts, weights) == pytest.approx((by_hand(counts, shares, False), 0))
    assert more_even_p(counts, weights) == pytest.approx((by_hand(counts, shares, True), 0))


@pytest.mark.parametrize(
    ("counts", "weights"),
    [
        ((10, 2, 2, 2, 2, 2, 2, 2), (1.0,) * 8),
        ((8, 4, 4, 4, 4, 0, 0, 0), (8.0, 4, 2, 2, 2, 2, 2, 2)),
    ],
)
def test_what_is_too_much_to_enumerate_is_drawn(
    counts: tuple[int, ...], weights: tuple[int, ...]
) -> None:
    fair = [sum(counts) * weight / sum(weights) for weight in weights]

    def statistic(split: Sequence[int]) -> float:
        return sum((x - mean) ** 2 / mean for x, mean in zip(split, fair, strict=True))

    rng = random.Random(3)
    runs = (Counter(rng.choices(range(8), weights, k=sum(counts))) for _ in range(10_000))
    limit = statistic(counts) - 1e-9
    often = sum(statistic([run[i] for i in range(8)]) >= limit for run in runs) / 10_000
    p, error = even_split_p(counts, weights)
    assert 0 < error < 0.012
    assert p == pytest.approx(often, abs=4 * error)
    assert even_split_p(counts, weights) == (p, error)  # the same for the same counts


def test_what_is_rarer_than_could_be_drawn_is_bounded() -> None:
    p, error = even_split_p([32] + [0] * 7)
    assert 8 * 8.0**-32 < p < 1e-6
    assert error <= p


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [
        ([4, 2, 2, 2, 2], False),  # 1,820 ways
        ([5, 2, 2, 2, 2], True),  # 2,380
        ([19, 0, 0, 0], False),
    ],
)
def test_few_ways_are_enumerated_and_more_are_drawn(counts: list[int], drawn: bool) -> None:
    p, error = even_split_p(counts)
    assert bool(error) is drawn
    if drawn:
        assert error == pytest.approx((p * (1 - p) / 1999) ** 0.5)
    assert even_split_p([3, 3, 2, 2, 2]).p <= 1
    assert more_even_p([12, 0, 0, 0, 0]).p <= 1


def test_of_very_many_members_fewer_splits_are_drawn() -> None:
    for counts, runs in (([0, 1, 0, 2, 1, 0, 3, 1] * 125, 99), ([1, 4, 6, 5] * 25, 250)):
        p, error = even_split_p(counts)
        assert 0 < p < 1
        assert error == pytest.approx((p * (1 - p) / runs) ** 0.5)


def test_what_is_drawn_covers_all_members_by_their_shares() -> None:
    table = _Split.of([1, 1, 1], [1.0, 2.0, 5.0])._member_of()
    assert Counter(table) == {0: 8192, 1: 16384, 2: 40960}
    assert table == sorted(table)


def test_draws_follow_the_weights() -> None:
    counts, weights = [20, 3, 2, 2, 1, 1, 1, 1], [20.0, 3, 2, 2, 1, 1, 1, 1]
    assert even_split_p(counts, weights).p > 0.95
    assert even_split_p(counts).p < 0.001
    assert more_even_p(counts, weights).p < 0.01


def test_many_connections_are_held_against_chi_square() -> None:
    assert even_split_p([30, 20]).p == pytest.approx(chi_square_sf(2, 1))
    assert even_split_p([60, 20, 20], [3, 1, 1]).p == 1
    assert even_split_p([30, 20], [2, 3]).p == pytest.approx(chi_square_sf(100 / 12, 1))


@pytest.mark.parametrize("more", [0, 1, 4])
def test_more_even_counts_what_is_as_even(more: int) -> None:
    exact = binomial_cdf(50 + more, 100, 0.5) - binomial_cdf(49 - more, 100, 0.5)
    assert more_even_p([50 + more, 50 - more]).p == pytest.approx(exact, abs=0.002)


def test_chi_square_needs_five_for_each() -> None:
    assert even_split_p((8, 2)).p == pytest.approx(chi_square_sf(3.6, 1))
    exact = sum(comb(9, k) for k in (0, 1, 2, 7, 8, 9)) / 2**9
    assert even_split_p((7, 2)).p == pytest.approx(exact)


def test_a_member_there_for_a_moment_spoils_nothing() -> None:
    many = [100_000, 100_300, 99_800, 2]
    there = [1.0, 1.0, 1.0, 1e-5]
    together = chi_square_sf(sum((x - 100_033) ** 2 / 100_033 for x in many[:3]), 2)
    assert even_split_p(many, there).p == pytest.approx(together, rel=0.01)
    assert even_split_p((100, 3), (100.0, 1.0)) == (1, 0)  # of two nothing is left to compare


def test_members_alike_in_nothing() -> None:
    for counts in ([], [5], [0, 0, 0]):
        assert even_split_p(counts) == more_even_p(counts) == (1, 0)
        assert outliers(counts) == []
    assert even_split_p([5, 0], [1, 0]) == (1, 0)
    with pytest.raises(ValueError, match="5 connections where the weight is 0"):
        even_split_p([5, 5], [0, 1])
    with pytest.raises(ValueError, match="argument"):
        even_split_p([5, 5], [1])


def test_chance_is_called_uneven_as_often_as_it_says() -> None:
    rng = random.Random(9)
    weights = [1.0, 1.0, 0.5, 0.25]
    drawn = (Counter(rng.choices(range(4), weights, k=500)) for _ in range(2000))
    rare = [even_split_p([run[i] for i in range(4)], weights).p < 0.05 for run in drawn]
    assert sum(rare) == pytest.approx(100, abs=40)


def test_outliers_are_named_with_holms_correction() -> None:
    counts = [349, 17, 4, 0, 0, 0, 0, 0]
    found = outliers(counts)
    assert found[0].member == 0
    assert found[0].ratio == pytest.approx(349 / 46.25)
    assert isclose(found[0].p, 8 * 2 * binomial_sf(349, 370, 1 / 8), rel_tol=1e-9)
    assert {one.member for one in found} == set(range(8))
    assert [one.p for one in found[1:6]] == pytest.approx(
        [7 * 2 * (7 / 8) ** 370] * 5, rel=1e-9, abs=0
    )
    assert outliers([171, 142, 169, 153, 167, 139, 142, 156]) == []


def test_of_a_million_a_small_part_too_much_is_named() -> None:
    found = outliers((503_500, 496_500))
    assert {one.member for one in found} == {0, 1}
    assert found[0].p == pytest.approx(2 * 2 * binomial_sf(503_500, 1_000_000, 0.5))


@pytest.mark.parametrize(
    ("members", "total", "doubled"),
    [(2, 7, 1.0), (8, 300, 1.5), (64, 3000, 1.3), (512, 60_000, 1.3), (512, 700, 9.0)],
)
@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.3])
def test_a_test_that_is_left_out_would_have_named_nobody(
    members: int, total: int, doubled: float, alpha: float
) -> None:
    rng = random.Random(members)
    for _ in range(3):
        drawn = Counter(rng.choices(range(members), [doubled, *[1.0] * (members - 1)], k=total))
        counts = [drawn[i] for i in range(members)]
        share = 1 / members
        tests = sorted(
            (min(1.0, 2 * min(binomial_cdf(n, total, share), binomial_sf(n, total, share))), i)
            for i, n in enumerate(counts)
        )
        named: list[tuple[int, float]] = []
        worst = 0.0
        for rank, (p, member) in enumerate(tests):
            worst = max(worst, min(1.0, (members - rank) * p))
            if worst > alpha:
                break
            named.append((member, worst))
        found = outliers(counts, alpha=alpha)
        assert [one.member for one in found] == [member for member, _ in named]
        expected = [p for _, p in named]
        assert [one.p for one in found] == pytest.approx(expected, rel=1e-9, abs=0)


def test_shares_are_those_of_the_weights_or_none() -> None:
    assert expected_shares([5, 7], None) == [0.5, 0.5]
    assert expected_shares([5, 7], [3, 1]) == [0.75, 0.25]
    assert expected_shares([0, 0], [0, 0]) == [0, 0]


@pytest.mark.parametrize("total", [5, 10, 20])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_of_two_that_share_few_connections_both_are_named_or_none(total: int, alpha: float) -> None:
    for count in range(total + 1):
        p = 2 * min(binomial_cdf(count, total, 0.5), binomial_sf(count, total, 0.5))
        found = {one.member for one in outliers([count, total - count], alpha=alpha)}
        assert found == ({0, 1} if 2 * p <= alpha else set()), count


def test_outliers_know_the_weights() -> None:
    assert outliers([400, 100, 100], [4, 1, 1]) == []
    assert [(one.member, one.ratio > 1) for one in outliers([100, 100, 100], [2, 1, 0.5])] == [
        (2, True),
        (0, False),
    ]


def test_nobody_is_named_by_chance_more_often_than_alpha() -> None:
    rng = random.Random(4)
    drawn = (Counter(rng.choices(range(8), k=300)) for _ in range(1000))
    named = sum(bool(outliers([run[i] for i in range(8)], alpha=0.05)) for run in drawn)
    assert 10 <= named <= 65


# --- what can be seen ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    (
        "k",
        "ratios",
    ),  # 95th percentiles of max/mean for 100, 1000, 10,000 connections, by simulation
    [
        (2, (1.20, 1.062, 1.020)),
        (4, (1.40, 1.124, 1.039)),
        (8, (1.68, 1.216, 1.066)),
        (16, (2.24, 1.344, 1.107)),
        (64, (4.48, 1.856, 1.261)),
    ],
)
def test_largest_ratio_by_chance(k: int, ratios: tuple[float, ...]) -> None:
    for n, ratio in zip((100, 1000, 10_000), ratios, strict=True):
        assert chance_ratio(n, k) == pytest.approx(ratio, abs=max(k / n, 0.001) + 1e-9)


@pytest.mark.parametrize(
    ("k", "ratio", "needed"),
    [
        *((4, 1.25, 742), (4, 1.5, 186), (4, 2, 47)),
        *((8, 1.25, 2217), (8, 1.5, 555), (8, 2, 139)),
        *((32, 1.25, 16433), (32, 1.5, 4109), (32, 2, 1028)),
        *((3, 2, 28), (4, 0.5, 186)),
    ],
)
def test_connections_needed(k: int, ratio: float, needed: int) -> None:
    assert connections_needed(k, ratio) == needed


def test_as_many_connections_as_needed_are_enough_in_about_four_of_five_runs() -> None:
    rng = random.Random(2)
    n = connections_needed(8, 1.5)
    drawn = (Counter(rng.choices(range(8), [21, *[13] * 7], k=n)) for _ in range(1000))
    found = sum(even_split_p([run[i] for i in range(8)]).p < 0.01 for run in drawn)
    assert found == pytest.approx(765, abs=50)


def test_the_largest_by_chance_is_the_first_that_is_rare_enough() -> None:
    for n, k, quantile in ((1, 2, 0.95), (100, 4, 0.95), (1000, 8, 0.95), (1000, 8, 0.999)):
        most = round(chance_ratio(n, k, quantile) * n / k)
        tail = 1 - quantile ** (1 / k)
        assert binomial_sf(most + 1, n, 1 / k) <= tail < binomial_sf(most, n, 1 / k)
    assert [chance_ratio(n, k) for n, k in ((0, 4), (10, 1), (1, 2))] == [1.0, 1.0, 2.0]
    assert chance_ratio(2, 1000) == 500.0  # hardly ever both are of one


@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.01, 0.9), (0.001, 0.5)])
def test_what_is_needed_is_exact_for_two(alpha: float, power: float) -> None:
    """With one degree of freedom it is the square of a normal law."""
    needed = connections_needed(2, 1.001, alpha, power)
    law, bound = NormalDist((needed * 1e-6) ** 0.5), NormalDist().inv_cdf(1 - alpha / 2)
    assert 1 - law.cdf(bound) + law.cdf(-bound) == pytest.approx(power, abs=1e-6)


@pytest.mark.parametrize("k", [3, 5, 9])
def test_what_is_needed_is_exact_for_an_even_number_of_degrees(k: int) -> None:
    """There chi-squares are sums of Poisson terms."""
    df, mean = k - 1, connections_needed(k, 1.001) * 1e-6 / (k - 1) / 2
    with mpmath.workdps(30):
        bound = mpmath.findroot(
            lambda x: mpmath.gammainc(mpmath.mpf(df) / 2, x / 2, regularized=True) - 0.01, 3 * df
        )
        found = mpmath.nsum(
            lambda j: mpmath.exp(-mean)
            * mpmath.mpf(mean) ** j
            / mpmath.factorial(j)
            * mpmath.gammainc(mpmath.mpf(df) / 2 + j, bound / 2, regularized=True),
            [0, 80],
        )
    assert float(found) == pytest.approx(0.8, abs=1e-5)


def test_nothing_to_see() -> None:
    for k, ratio in ((1, 2.0), (8, 1.0)):
        with pytest.raises(ValueError, match="shows nothing"):
            connections_needed(k, ratio)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.what)
def test_published_counts_bear_the_word(case: Published) -> None:
    p, named = even_split_p(case.counts).p, outliers(case.counts, alpha=0.001)
    enough = sum(case.counts) >= connections_needed(len(case.counts), 2)
    assert enough is (case.word != "TOO FEW")
    assert (p < 0.001) is bool(named) is (case.word == "UNEVEN")


def test_logarithms_go_on_where_floats_end() -> None:
    assert chi_square_sf(4000, 7) == 0
    assert log_chi_square_sf(4000, 7) == pytest.approx(-1982.3, abs=1)
    assert log_binomial_sf(349_000, 370_000, 0.125) < -600_000
    assert exp(log_binomial_sf(1, 3, 1 / 3)) == pytest.approx(19 / 27)


@pytest.mark.parametrize("number", [1, 5, 20, 60, 150, 250])
def test_how_many_different_ones_a_sketch_has_seen(number: int) -> None:
    chance = random.Random(number)
    found = [
        distinct(reduce(or_, (1 << chance.randrange(SLOTS) for _ in range(number)), 0))
        for _ in range(200)
    ]
    known = [one for one in found if one is not None]
    assert len(known) >= 195
    assert sum(known) / len(known) == pytest.approx(number, rel=0.06, abs=0.3)


def test_a_full_sketch_says_many_and_an_empty_one_none() -> None:
    assert distinct((1 << SLOTS) - 1) is None
    assert distinct(0) == 0
    assert SLOTS == wire.CLIENT_SLOTS
