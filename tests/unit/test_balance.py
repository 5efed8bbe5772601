"""Statistics of a split, and the two sentences of the demo."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from accepttrace.facts.records import Losses
from accepttrace.model.balance import describe, idle, max_over_mean
from accepttrace.model.stats.power import chance_ratio
from accepttrace.model.stats.split import more_even_p
from tests.unit.pictures import feed, four_workers, holder, listener, reuseport, tracker


def test_indices_of_known_splits() -> None:
    assert max_over_mean([610, 250, 140, 0]) == pytest.approx(2.44)
    assert idle([610, 250, 140, 0]) == 1


def test_nothing_accepted_has_no_index() -> None:
    assert max_over_mean([0, 0]) is None


def draws(connections: int, sockets: int, runs: int) -> list[list[int]]:
    """What a fair hash does, by brute force."""
    rng = random.Random(5)
    runs_of = (Counter(rng.choices(range(sockets), k=connections)) for _ in range(runs))
    return [[drawn[socket] for socket in range(sockets)] for drawn in runs_of]


@pytest.mark.parametrize(("connections", "sockets"), [(40, 2), (100, 4), (500, 8), (300, 64)])
def test_chance_reaches_its_95th_percentile_as_often_as_it_says(
    connections: int, sockets: int
) -> None:
    limit = chance_ratio(connections, sockets)
    ratios = [max_over_mean(counts) or 0 for counts in draws(connections, sockets, 2000)]
    beyond = sum(ratio > limit + 1e-9 for ratio in ratios) / len(ratios)
    reaching = sum(ratio >= limit - 1e-9 for ratio in ratios) / len(ratios)
    assert beyond <= 0.065
    assert reaching >= 0.035


def test_a_split_of_nothing_or_of_one_socket_is_as_even_as_can_be() -> None:
    assert chance_ratio(100, 1) == chance_ratio(0, 4) == 1.0
    assert more_even_p([7]).p == more_even_p([0, 0]).p == 1.0


@pytest.mark.parametrize("sockets", [2, 8, 64])
def test_a_few_connections_more_change_little(sockets: int) -> None:
    fewer = chance_ratio(10_000 * sockets, sockets)
    more = chance_ratio(10_000 * sockets + sockets, sockets)
    assert more == pytest.approx(fewer, abs=0.001)


def test_chance_is_seldom_taken_for_turns() -> None:
    fair = [more_even_p(counts).p for counts in draws(400, 4, 2000)]
    assert sum(p < 0.01 for p in fair) <= 30
    assert sum(p < 0.5 for p in fair) == pytest.approx(1000, abs=150)


def test_turns_are_distinguished_from_chance() -> None:
    assert more_even_p([250, 250, 250, 250]).p < 0.001
    assert more_even_p([3, 3]).p > 0.001  # too few to decide
    assert more_even_p([1000, 0]).p == pytest.approx(1)


def test_a_shared_socket_with_one_favourite() -> None:
    assert describe(four_workers()) == (
        "4 workers share one socket on 0.0.0.0:80.",
        "Worker 1001 took 61% of 1,000 connections (2.44x its fair share);"
        " 1 of 4 workers got none.",
    )


def test_workers_that_take_turns_are_named_as_such() -> None:
    _, outcome = describe(four_workers((250, 250, 250, 250)))
    assert outcome == (
        "Worker 1001 took 25% of 1,000 connections (1.00x its fair share),"
        " more even than chance alone would make it."
    )


def test_a_group_within_chance() -> None:
    sharing, outcome = describe(reuseport((155, 170, 150, 160, 145, 152, 148, 159)))
    assert sharing == "8 SO_REUSEPORT sockets for 8 workers on 0.0.0.0:80, chosen by hash."
    assert outcome == (
        "The busiest socket took 1.10x its fair share of 1,239 connections,"
        " within what chance alone gives (up to 1.19x in 19 of 20 runs)."
    )


def test_a_group_beyond_chance() -> None:
    _, outcome = describe(reuseport((700, 100, 100, 0)))
    assert outcome == (
        "The busiest socket took 3.11x its fair share of 900 connections,"
        " beyond what chance alone gives (up to 1.13x in 19 of 20 runs); 1 of 4 sockets got none."
    )


def test_lost_events_make_lower_bounds() -> None:
    _, outcome = describe(four_workers(losses=Losses(map_full=3)))
    assert outcome.endswith(" Events were lost: all numbers are lower bounds.")


def test_nobody_there_and_nothing_accepted() -> None:
    model = tracker()
    feed(model, 1, (), [])
    assert describe(model.snapshot())[0] == "Nobody listens (:80)."
    feed(model, 2, (), [listener(100, [holder(1)])])
    assert describe(model.snapshot()) == (
        "1 worker has the socket on 0.0.0.0:80 to itself.",
        "No connection was accepted.",
    )
