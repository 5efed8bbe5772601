"""What an even split would give to those who were there for only part of the time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from accepttrace.facts.reading import Reading
from accepttrace.facts.records import Counts, Inventory
from accepttrace.model.fairshare import LEAST_S, Stay, fair_shares
from tests.unit.pictures import count, holder, listener, tracker


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
