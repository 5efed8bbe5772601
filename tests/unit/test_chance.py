"""What chance does to a split, by brute force."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from accepttrace.model.stats.power import chance_ratio
from accepttrace.model.stats.split import more_even_p


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
    ratios = [max(counts) * sockets / connections for counts in draws(connections, sockets, 2000)]
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
