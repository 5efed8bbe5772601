"""Two runs side by side: what is different beyond chance, and what is not."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from mpmath import betainc, mp

import accepttrace.views
from accepttrace.config import Filters
from accepttrace.model.comparison import Comparison, Difference, Measured, compare
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.stats.intervals import proportion, ranks
from accepttrace.views.comparison import json_line, text

from .pictures import count, feed, holder, listener, tracker

SCHEMA = Path(accepttrace.views.__file__).parent / "diff.schema.json"
NAMES = ("before.gz", "after\x1b[31m.gz")


def run(*accepts: int, waits_us: tuple[int, ...] = (), port: int = 80) -> Snapshot:
    """Of workers on one shared socket; each waits as long as all."""
    model = tracker(Filters(ports=frozenset({80, 81})))
    pids = range(1001, 1001 + len(accepts))
    holders = [holder(pid) for pid in pids]
    feed(model, 0, [], [listener(100, holders, port=port)])
    counts = [
        count(pid, number, waits_us=waits_us) for pid, number in zip(pids, accepts, strict=True)
    ]
    feed(model, 10, counts, [listener(100, holders, port=port)])
    return model.summary("process")


def difference(before: Snapshot, after: Snapshot, name: str) -> Difference:
    (one,) = compare(before, after)
    return next(each for each in one.differences if each.name == name)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (1, 1000), (400, 1600)])
@pytest.mark.parametrize("alpha", [0.05, 0.005, 0.0001])
def test_a_proportion_lies_where_the_beta_law_has_it(k: int, n: int, alpha: float) -> None:
    low, high = proportion(k, n, alpha)
    with mp.workdps(30):
        if k:
            assert float(betainc(k, n - k + 1, 0, low, regularized=True)) == pytest.approx(
                alpha / 2
            )
        if k < n:
            above = betainc(k + 1, n - k, high, 1, regularized=True)
            assert float(above) == pytest.approx(alpha / 2)
    assert (low == 0, high == 1) == (k == 0, k == n)


@pytest.mark.parametrize(
    ("quantile", "n", "expected"),
    # Of the median, as tables have it (Conover, Practical Nonparametric Statistics, A3).
    [(0.5, 10, (2, 9)), (0.5, 100, (40, 61)), (0.5, 5, (0, 6)), (0.99, 100, (97, 101))],
)
def test_a_quantile_lies_between_two_ranks(
    quantile: float, n: int, expected: tuple[int, int]
) -> None:
    assert ranks(quantile, n, 0.05) == expected


@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_as_many_ranges_hold_as_they_say(quantile: float) -> None:
    draw, n, missed = random.Random(7), 300, 0
    for _ in range(1000):
        values = sorted(draw.random() for _ in range(n))
        low, high = ranks(quantile, n, 0.05)
        missed += (low > 0 and values[low - 1] > quantile) or (
            high <= n and values[high - 1] < quantile
        )
    assert missed <= 65  # 50 expected at most


def test_a_worker_that_takes_more_is_a_difference() -> None:
    found = difference(run(250, 250, 250, 250), run(400, 200, 200, 200), "max_ratio")
    assert (found.before.value, found.after.value) == (1.0, 1.6)
    assert found.beyond_chance is True


def test_chance_alone_makes_none() -> None:
    draw, beyond = random.Random(3), Counter[bool | None]()
    for _ in range(200):
        takers = [Counter(draw.choices(range(4), k=400)) for _ in range(2)]
        first, second = (run(*(one[worker] for worker in range(4))) for one in takers)
        beyond[difference(first, second, "max_ratio").beyond_chance] += 1
    assert beyond[True] <= 2
    assert not beyond[None]


@pytest.mark.parametrize(
    ("before", "after", "beyond"),
    [((100,) * 50, (100,) * 50, False), ((100,) * 50, (900,) * 50, True), ((100,), (900,), False)],
)
def test_waits_that_are_longer_are_a_difference_where_there_are_enough(
    before: tuple[int, ...], after: tuple[int, ...], beyond: bool
) -> None:
    runs = run(len(before), waits_us=before), run(len(after), waits_us=after)
    found = difference(*runs, "wait_p50")
    assert found.beyond_chance is beyond
    assert (found.before.value, found.after.value) == (max(before), max(after))


def test_all_that_a_run_shows_is_measured() -> None:
    (found,) = compare(run(30, 10, 0, waits_us=(7,) * 2), run())
    values = {one.name: one.before.value for one in found.differences}
    assert values == {
        "connections": 40,
        "rate": 4.0,  # in ten seconds
        "workers": 2,
        "verdict": "UNEVEN",
        "max_ratio": 2.25,
        "wait_p50": 7,
        "wait_p99": 7,
        "wait_max": 7,
        "queue_max": 0,
        "empty_accepts": 0,
    }
    assert found.connections == (40, 0)


@pytest.mark.parametrize(
    ("overflow", "on_close", "expected"), [(0, 0, 0), (2, None, 2), (0, None, None)]
)
def test_what_clients_lost_is_not_known_where_it_is_not_seen(
    overflow: int, on_close: int | None, expected: int | None
) -> None:
    before = run(30, 10)
    (row,) = before.listeners
    row = replace(row, dropped_overflow=overflow, lost_on_close=on_close)
    (found,) = compare(replace(before, listeners=(row,)), run(30, 10))
    lost = {one.name: one for one in found.differences}.get("lost")
    assert (lost.before.value if lost else None) == expected


def test_ranges_that_meet_are_no_difference() -> None:
    def beyond(*sides: tuple[float | None, float | None]) -> bool | None:
        return Difference("lost", *(Measured(1, *side) for side in sides)).beyond_chance

    assert beyond((1, 2), (2, 3)) is False
    assert beyond((1, 2), (2.1, 3)) is True
    assert beyond((2.1, 3), (1, 2)) is True
    assert beyond((None, None), (2, 3)) is None
    for known in ((None, 2, 3, 4), (1, None, 3, 4), (1, 2, None, 4), (1, 2, 3, None)):
        assert beyond(known[:2], known[2:]) is None


def test_a_place_of_one_run_alone_is_named_and_not_compared() -> None:
    before, after = run(10, 20), run(5, 5, port=81)
    first, second = compare(before, after)
    assert (first.place.local_port, first.connections, first.in_both) == (80, (30, None), False)
    assert second.connections == (None, 10)
    shown = text([first, second], NAMES, (before, after))
    assert (
        "only before: 0.0.0.0:80, 30 connections\nonly after: 0.0.0.0:81, 10 connections\n" in shown
    )


def test_the_busiest_of_both_runs_together_comes_first() -> None:
    ports = (80, 81, 82)

    def both(*taken: int) -> Snapshot:
        model = tracker(Filters(ports=frozenset(ports)))
        there = [listener(port, [holder(port)], port=port) for port in ports]
        counts = [count(port, n, port) for port, n in zip(ports, taken, strict=True)]
        feed(model, 1, counts, there)
        return model.summary("process")

    found = compare(both(5, 9, 1), both(5, 2, 30))
    assert [one.place.local_port for one in found] == [82, 81, 80]


def test_it_is_shown_with_a_mark() -> None:
    runs = run(250, 250, 250, 250), run(400, 200, 200, 200)
    shown = text(compare(*runs), NAMES, runs)
    assert shown.splitlines()[0] == "before  before.gz: :80, 2026-01-02T12:00:00.000Z, 10s"
    assert "\x1b" not in shown
    (line,) = [line for line in shown.splitlines() if "to its share" in line]
    assert line.split() == "most, to its share 1.00x 1.60x beyond chance".split()
    (line,) = [line for line in shown.splitlines() if line.startswith("  connections")]
    assert line.split() == ["connections", "1,000", "1,000"]
    assert shown.splitlines()[3:10] == [
        "0.0.0.0:80                    BEFORE   AFTER",
        "  connections                  1,000   1,000",
        "  a second                     100.0   100.0",
        "  workers that took any            4       4",
        "  verdict                ROUND ROBIN  UNEVEN",
        "  most, to its share           1.00x   1.60x  beyond chance",
        "  longest queue                    0       0",
    ]
    back = text(compare(*reversed(runs)), NAMES, (runs[1], runs[0]))
    assert "  most, to its share      1.60x        1.00x  beyond chance" in back.splitlines()
    assert text([], NAMES, runs).endswith("\n\nno connections in either\n")


def test_json_is_as_its_schema_says() -> None:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    runs = run(25, 25, waits_us=(5,) * 3), run(40, 10, waits_us=(9,) * 3)
    for found in (compare(*runs), compare(runs[0], run(1, port=81)), list[Comparison]()):
        Draft202012Validator(schema).validate(json.loads(json_line(found, NAMES, runs)))
