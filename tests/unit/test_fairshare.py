"""What an even split would give to those who were there for only part of the time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from accepttrace.facts.reading import Reading
from accepttrace.facts.records import Counts, Inventory
from accepttrace.model.fairshare import Stay, fair_shares, until
from tests.unit.pictures import count, holder, listener, tracker

LEAST_S = 0.001


def test_at_each_moment_those_who_are_there_share() -> None:
    stays = {"a": Stay(0, 1), "b": Stay(0, 1), "late": Stay(0.5, 1)}
    assert fair_shares(stays, 30) == pytest.approx({"a": 12.5, "b": 12.5, "late": 5})
    assert fair_shares({"a": Stay(0, 1), "b": Stay(0, 1)}, 7) == {"a": 3.5, "b": 3.5}
    assert fair_shares({"gone": Stay(0, 0.25), "new": Stay(0.75, 1)}, 10) == pytest.approx(
        {"gone": 5, "new": 5}
    )
    assert fair_shares({}, 10) == {}


def test_whoever_was_there_for_a_moment_shared_for_a_moment() -> None:
    parts = fair_shares({"all": Stay(0, 1), "moment": Stay(0.5, 0.5)}, 1000)
    assert parts["moment"] == pytest.approx(1000 * LEAST_S / 2)
    assert sum(parts.values()) == pytest.approx(1000)


def test_it_is_what_counting_moment_by_moment_finds() -> None:
    dice = Random(7)
    ends = [sorted((dice.randrange(100), dice.randrange(100))) for _ in range(40)]
    stays = {n: Stay(begin / 100, (end + 1) / 100) for n, (begin, end) in enumerate(ends)}
    found = dict.fromkeys(stays, 0.0)
    for moment in range(100):
        there = [n for n, (begin, end) in enumerate(ends) if begin <= moment <= end]
        for n in there:
            found[n] += 1 / len(there)
    covered = sum(found.values())
    parts = fair_shares(stays, 1000)
    assert parts == pytest.approx({n: 1000 * part / covered for n, part in found.items()})


def test_a_reload_amid_an_interval_is_no_imbalance() -> None:
    """Two workers until second 1.5, two others from then on: 1,000 connections a second."""
    model = tracker()
    sums: dict[int, int] = {}
    for second, taken, there in (
        (1, {1: 500, 2: 500}, (1, 2)),
        (2, {1: 250, 2: 250, 3: 250, 4: 250}, (3, 4)),
        (3, {3: 500, 4: 500}, (3, 4)),
    ):
        acceptors = []
        for pid, accepts in taken.items():
            sums[pid] = sums.get(pid, 0) + accepts
            last = 1.5 if pid < 3 and second == 2 else float(second)
            start = 0 if pid < 3 else 150
            row = count(pid, sums[pid], start=start)
            acceptors.append(replace(row, ready_us=round(last * 1e6)))
        holders = [holder(pid, start=0 if pid < 3 else 150) for pid in there]
        counts = Counts(tuple(acceptors), at_s=second)
        model.update(Reading(counts, Inventory((listener(100, holders),)), wall=""))
    ratios = {row.pid: row.fair_ratio for row in model.snapshot().acceptors}
    assert ratios == pytest.approx(dict.fromkeys((1, 2, 3, 4), 1.0))


def after_a_burst(born_at_s: float, last_s: float) -> dict[int | None, float | None]:
    """Two workers took 400 connections, the last of which came at `last_s` of the first second;
    the third was born in it."""
    model = tracker()
    start = round(born_at_s * 100)
    rows = [replace(count(pid, 200, start=0), ready_us=round(last_s * 1e6)) for pid in (1, 2)]
    holders = [holder(1, start=0), holder(2, start=0), holder(3, start=start)]
    counts = Counts(tuple(rows), at_s=1.0)
    model.update(Reading(counts, Inventory((listener(100, holders),)), wall=""))
    return {row.pid: row.fair_ratio for row in model.snapshot().acceptors}


def test_who_was_born_after_a_burst_is_not_held_to_it() -> None:
    after = after_a_burst(born_at_s=0.5, last_s=0.3)
    assert (after[1], after[2], after.get(3)) == (1.0, 1.0, None)
    amid = after_a_burst(born_at_s=0.5, last_s=0.75)  # 500/3 were his: 0.25 s of 0.75, by three
    assert amid[1] == amid[2] == pytest.approx(200 / (400 * (0.5 / 2 + 0.25 / 3) / 0.75))
    assert amid[3] == 0.0


def test_up_to_the_last_connection() -> None:
    stays = {"early": Stay(0, 1), "gone": Stay(0, 0.2), "at": Stay(0.5, 1), "after": Stay(0.6, 1)}
    assert until(stays, 0.5) == {
        "early": Stay(0, 0.5),
        "gone": Stay(0, 0.2),
        "at": Stay(0.5, 0.5),
    }
