"""The histogram of waiting times: the same buckets as the BPF programs fill."""

from __future__ import annotations

import ctypes as c
import random

import pytest

from accepttrace.facts.buckets import BUCKETS, bucket_of, lower_bound, upper_bound
from accepttrace.model.histogram import MOST, add, percentiles
from accepttrace.probe.session import _filled


@pytest.mark.parametrize(
    ("us", "bucket"),
    [
        *((us, us) for us in range(16)),  # one value a bucket
        (16, 16),
        (17, 16),
        (18, 17),
        (1023, 63),
        (1024, 64),
        (2**32 - 1, BUCKETS - 1),
        (2**32, BUCKETS - 1),
        (2**63, BUCKETS - 1),
        (-1, 0),
    ],
)
def test_a_value_has_its_bucket(us: int, bucket: int) -> None:
    assert bucket_of(us) == bucket


def test_the_bucket_is_that_of_the_formula() -> None:
    for us in [random.Random(1).randrange(8, 2**32) for _ in range(5000)]:
        exponent = us.bit_length() - 1
        assert bucket_of(us) == (exponent - 2) * 8 + ((us >> (exponent - 3)) & 7)


def test_buckets_adjoin_and_hold_their_bounds() -> None:
    for bucket in range(BUCKETS):
        assert bucket_of(lower_bound(bucket)) == bucket
        assert bucket_of(upper_bound(bucket)) == bucket
        if bucket:
            assert lower_bound(bucket) == upper_bound(bucket - 1) + 1
    assert upper_bound(BUCKETS - 1) == 2**32 - 1


def test_a_bucket_is_at_most_an_eighth_wide() -> None:
    for bucket in range(8, BUCKETS):
        width = upper_bound(bucket) - lower_bound(bucket) + 1
        assert width * 8 <= lower_bound(bucket)


@pytest.mark.parametrize("quantile", [0.0, 0.07, 0.5, 0.9, 0.99, 1.0])
def test_a_percentile_is_the_upper_bound_of_the_nearest_rank(quantile: float) -> None:
    values = sorted(random.Random(2).randrange(1, 10**6) for _ in range(100))
    histogram = [0] * BUCKETS
    for value in values:
        histogram[bucket_of(value)] += 1
    rank = max(round(quantile * 100), 1)  # 100 values: the rank is the percentage
    assert percentiles(histogram, (quantile,)) == [upper_bound(bucket_of(values[rank - 1]))]


def test_a_rank_is_not_pushed_on_by_rounding() -> None:
    histogram = [1] * 100 + [0] * (BUCKETS - 100)
    assert 0.07 * 100 > 7
    assert percentiles(histogram, (0.07,)) == [upper_bound(6)]


def test_several_percentiles_are_those_of_one_at_a_time() -> None:
    histogram = [bucket % 5 for bucket in range(BUCKETS)]
    quantiles = (0.5, 0.9, 0.99)
    assert percentiles(histogram, quantiles) == [
        percentiles(histogram, (quantile,))[0] for quantile in quantiles
    ]


@pytest.mark.parametrize("empty", [(), [0] * BUCKETS])
def test_nothing_measured_has_no_percentile(empty: list[int]) -> None:
    assert percentiles(empty, (0.5,)) == [None]


def test_adding_keeps_every_count() -> None:
    a = [1] + [0] * (BUCKETS - 2) + [2]
    b = [0, 5] + [0] * (BUCKETS - 2)
    assert list(add(a, b)) == [1, 5] + [0] * (BUCKETS - 3) + [2]
    assert list(add((), b)) == b
    assert list(add(a, ())) == a


def test_histograms_of_different_lengths_add_up() -> None:
    assert add((1, 2, 3), (10,)) == add((10,), (1, 2, 3)) == [11, 2, 3]
    assert list(add((), (4, 5))) == list(add((4, 5), ())) == [4, 5]


@pytest.mark.parametrize("longest_us", [0, lower_bound(17), upper_bound(17), lower_bound(18), MOST])
def test_what_is_read_ends_with_the_last_bucket_that_is_not_empty(longest_us: int) -> None:
    """Whatever the longest wait was when it was read: another may be counted just then."""
    buckets = (c.c_uint64 * BUCKETS)()
    assert _filled(buckets, longest_us) == ()
    buckets[3], buckets[17] = 1, 256
    assert _filled(buckets, longest_us) == (0, 0, 0, 1, *(0,) * 13, 256)
    buckets[BUCKETS - 1] = 1 << 63
    assert len(_filled(buckets, longest_us)) == BUCKETS
