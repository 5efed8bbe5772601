"""Entries: what a reading adds to one, and what two of them are together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accepttrace.facts.records import AcceptorCount, Locality
from accepttrace.model.entries import SEVERAL, Bygone, Entry, localities, plus
from tests.unit.pictures import count

FIRST = AcceptorCount(
    100, 7, 8, 9, "first", 3, 5, {24: 1, 71: 2}, (1, 2), 40, 6, 1, "syscall", 2, 10, 100, 900, 50
)
OTHER = AcceptorCount(
    200, 17, 18, 19, "other", 30, 50, {24: 4}, (10, 20, 5), 30, 60, 10, "syscall", 20, 7, 1, 950, 60
)
PROGRAM = Bygone("nginx", kept=True)


def test_two_counts_are_one_under_the_name_of_the_first() -> None:
    assert plus(FIRST, OTHER) == replace(
        FIRST,
        accepts=33,
        empty=55,
        errors={24: 5, 71: 2},
        wait_us=[11, 22, 5],
        wait_max_us=40,
        wait_unknown=66,
        wasted=11,
        refused=22,
        left_us=17,
        waited_us=101,
        ready_us=950,
    )
    assert FIRST.errors == {24: 1, 71: 2}


@pytest.mark.parametrize("name", ["empty", "errors", "wasted", "refused"])
def test_what_one_did_not_see_is_not_known_of_both(name: str) -> None:
    unseen = replace(FIRST, **{name: None})  # type: ignore[arg-type]
    for both in (plus(unseen, OTHER), plus(OTHER, unseen)):
        assert getattr(both, name) is None
        assert both.accepts == 33


def test_sums_of_times_are_those_of_the_kernel_modulo_2_to_the_64() -> None:
    late = replace(FIRST, left_us=2**64 - 7)
    assert plus(late, OTHER).left_us == 0
    assert plus(late, replace(OTHER, left_us=6)).left_us == 2**64 - 1
    assert plus(late, replace(OTHER, left_us=8)).left_us == 1


def test_the_way_of_both_is_that_of_those_who_accepted() -> None:
    ring = replace(OTHER, via="io_uring")
    assert plus(FIRST, ring).via is None
    assert plus(FIRST, replace(ring, accepts=0)).via == "syscall"
    assert plus(replace(FIRST, accepts=0), ring).via == "io_uring"
    assert plus(replace(FIRST, accepts=0), replace(ring, accepts=0)).via is None


def test_clients_of_both_are_counted_once() -> None:
    both = plus(replace(FIRST, clients=0b0110), replace(OTHER, clients=0b0011))
    assert both.clients == 0b0111


def test_where_it_was_looked_at_localities_add_up() -> None:
    assert localities([Locality(1, 4), None, Locality(2, 8)]) == Locality(3, 12)
    assert localities([None, None]) is None
    near = replace(FIRST, locality=Locality(1, 4))
    assert plus(near, OTHER).locality == Locality(1, 4)
    assert plus(near, replace(OTHER, locality=Locality(5, 6))).locality == Locality(6, 10)


def test_an_entry_advances_by_what_came_since() -> None:
    entry = Entry(100, (7, 7), (7, 0))
    assert (entry.accepts, entry.takes_part) == (0, False)
    assert entry.advance(count(7, 3), 1.0) == 3
    assert entry.advance(count(7, 5), 2.0) == 2
    assert (entry.accepts, entry.interval, entry.fresh, entry.active_s) == (5, 5, 5, 2.0)
    assert entry.takes_part


def test_a_smaller_count_is_a_broken_one() -> None:
    entry = Entry(100, (7, 7), (7, 0))
    entry.advance(count(7, 5), 1.0)
    assert entry.advance(count(7, 4), 2.0) == 0
    assert (entry.accepts, entry.interval, entry.fresh, entry.active_s) == (5, 5, 5, 1.0)


@pytest.mark.parametrize(
    ("second", "active_s"),
    [
        (count(7, 5, empty=1, errors={24: 1}), 1.0),
        (count(7, 6, empty=1, errors={24: 1}), 2.0),
        (count(7, 5, empty=2, errors={24: 1}), 2.0),
        (count(7, 5, empty=1, errors={24: 2}), 2.0),
    ],
)
def test_who_asks_in_vain_is_active_too(second: AcceptorCount, active_s: float) -> None:
    entry = Entry(100, (7, 7), (7, 0))
    entry.advance(count(7, 5, empty=1, errors={24: 1}), 1.0)
    entry.advance(second, 2.0)
    assert entry.active_s == active_s


def test_the_first_reading_of_one_without_accepts_was_a_call() -> None:
    entry = Entry(100, (7, 7), (7, 0))
    assert entry.advance(count(7, 0), 4.0) == 0
    assert (entry.active_s, entry.takes_part) == (4.0, False)


@pytest.mark.parametrize(("waits", "takes_part"), [(True, True), (False, False), (None, False)])
def test_who_waits_takes_part(waits: bool | None, takes_part: bool) -> None:
    assert Entry(100, (7, 7), waits=waits).takes_part is takes_part


def test_a_sum_of_threads_stands_for_as_many() -> None:
    whole = Entry(100, (7, 7), SEVERAL)
    one = Entry(100, (7, 7), (7, 0), count(7, 3), interval=2, fresh=1, active_s=5.0)
    whole.absorb(one)
    whole.absorb(Entry(100, (7, 7), None))
    whole.absorb(Entry(100, (7, 7), SEVERAL, count(7, 4), ended=3, interval=4, fresh=2))
    assert (whole.accepts, whole.ended, whole.workers) == (7, 5, 0)
    assert (whole.interval, whole.fresh, whole.active_s, whole.barred) == (6, 3, 5.0, False)


def test_a_sum_of_processes_counts_them_too() -> None:
    whole = Entry(100, PROGRAM, SEVERAL)
    whole.absorb(Entry(100, (7, 7), SEVERAL, ended=4, barred=True))
    whole.absorb(Entry(100, PROGRAM, SEVERAL, ended=6, workers=3))
    assert (whole.ended, whole.workers, whole.barred) == (10, 4, True)
    assert whole.count is None
