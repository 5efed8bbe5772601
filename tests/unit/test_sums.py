"""Entries added up to the counters of one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.facts.buckets import bucket_of, upper_bound
from accepttrace.facts.records import Locality
from accepttrace.model.entries import Entry
from accepttrace.model.histogram import MOST, octaves, percentiles, rank
from accepttrace.model.sums import Sum, Visible, errno_name, summed
from tests.unit.pictures import count

ALL = Visible(empty=True, errors=True, selected=True)
NOTHING = Visible(empty=False, errors=False, selected=False)
KEY = (1, 1)


def entry(accepts: int, interval: int = 0, **facts: Any) -> Entry:
    return Entry(100, KEY, (1, 1), replace(count(1, accepts), **facts), interval=interval)


def test_counters_add_up() -> None:
    waits = count(1, 0, waits_us=[1] * 50 + [3] * 39 + [5] * 8 + [7] * 2 + [6]).wait_us
    entries = [
        entry(
            90, 20, empty=3, errors={24: 1}, wasted=5, wait_us=waits, wait_max_us=7, waited_us=300
        ),
        entry(10, 4, empty=4, errors={24: 2, 4: 9}, wasted=6, wait_max_us=6, waited_us=4),
        Entry(100, KEY, interval=0),
    ]
    assert summed(entries, ALL) == Sum(
        accepts=100,
        interval=24,
        empty=7,
        wasted=11,
        via="syscall",
        errors={"EMFILE": 3, "EINTR": 9},
        waits_us=(1, 5, 7),
        wait_max_us=7,
        wait_sum_us=304,
        wait_histogram=tuple(waits),
        local=None,
    )
    assert summed(entries, ALL).failed == 12
    blind = summed(entries, NOTHING)
    assert (blind.empty, blind.wasted, blind.errors, blind.failed) == (None, None, None, None)


def test_percentiles_are_three_and_none_is_beyond_the_longest() -> None:
    waits = count(1, 0, waits_us=[1] * 60 + [3] * 35 + [100] * 5).wait_us
    found = summed([entry(100, wait_us=waits, wait_max_us=97)], ALL)
    assert (found.waits_us, found.wait_max_us) == ((1, 3, 97), 97)


def test_half_nine_of_ten_and_99_of_a_hundred_waited_no_longer() -> None:
    waits = count(1, 0, waits_us=[1] * 49 + [3] * 40 + [5] * 9 + [6] + [100]).wait_us
    found = summed([entry(100, wait_us=waits, wait_max_us=97)], ALL)
    assert (found.waits_us, found.wait_max_us) == ((3, 5, 6), 97)


def test_where_nothing_was_measured_there_is_no_wait() -> None:
    found = summed([entry(3, wait_us=(), wait_max_us=0)], ALL)
    assert (found.waits_us, found.wait_max_us, found.wait_histogram) == ((None,) * 3, None, ())
    zero = summed([entry(1, wait_us=(1,), wait_max_us=0)], ALL)
    assert (zero.waits_us, zero.wait_max_us, zero.wait_histogram) == ((0, 0, 0), 0, (1,))


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"empty": None, "wasted": None}, (4, 6)),
        ({"empty": 1, "wasted": 1}, (5, 7)),
    ],
)
def test_what_one_did_not_see_adds_nothing(
    facts: Mapping[str, Any], found: tuple[int, int]
) -> None:
    whole = summed([entry(1, **facts), entry(1, empty=4, wasted=6)], ALL)
    assert (whole.empty, whole.wasted) == found


def test_who_did_nothing_has_zeros_where_they_can_be_seen() -> None:
    waits = (None, None, None)
    assert summed([], ALL) == Sum(0, 0, 0, 0, None, {}, waits, None, None, ())
    assert summed([Entry(100, KEY)], NOTHING) == Sum(
        *(0, 0, None, None, None, None, waits, None, None, ())
    )


def test_the_way_is_that_of_those_who_accepted() -> None:
    ring, call, none = entry(1, via="io_uring"), entry(2), entry(0, via="kernel")
    assert [summed(some, ALL).via for some in ([ring], [call, none], [ring, call], [none])] == [
        *("io_uring", "syscall", None, None)
    ]


def test_the_local_part_is_of_those_that_were_looked_at() -> None:
    some = [entry(9, locality=Locality(1, 4)), entry(9), entry(9, locality=Locality(2, 4))]
    assert summed(some, ALL).local == 3 / 8
    assert summed([entry(9, locality=Locality(0, 4))], ALL).local == 0.0
    assert summed([entry(9, locality=Locality(0, 0))], ALL).local is None
    assert summed([entry(9)], ALL).local is None


def test_an_error_without_a_name_is_a_number() -> None:
    assert [errno_name(number) for number in (24, 99999)] == ["EMFILE", "99999"]


def test_the_least_of_all_has_the_first_rank() -> None:
    assert [rank(quantile, 5) for quantile in (0.0, 0.2, 0.21, 1.0)] == [1, 1, 2, 5]


def test_without_a_longest_value_bounds_are_those_of_buckets() -> None:
    last = 1 << 40
    histogram = [0] * bucket_of(last) + [1]
    assert upper_bound(bucket_of(last)) == MOST
    assert percentiles(histogram, [0.5]) == [MOST]
    assert percentiles([], [0.5, 0.9]) == [None, None]


def test_octaves_are_powers_of_two_without_a_gap() -> None:
    histogram = [0] * 40
    for us, times in ((0, 2), (5, 3), (6, 1), (17, 4)):
        histogram[bucket_of(us)] += times
    assert octaves(histogram) == [
        *((0, 0, 2), (1, 1, 0), (2, 3, 0), (4, 7, 4), (8, 15, 0), (16, 31, 4))
    ]
    assert octaves([0, 0]) == []
    assert octaves([0, 1]) == [(1, 1, 1)]
