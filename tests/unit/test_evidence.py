"""Evidence that may be looked at continuously: false alarms, power, and what it forgets."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Iterator
from math import comb, exp, log
from statistics import median

import pytest

from accepttrace.model.stats.evidence import (
    Evidence,
    MemberEvidence,
    log_member,
    log_mixture,
    log_split,
)


def skewed(k: int, ratio: float) -> list[float]:
    """Weights of `k` members, the first with `ratio` times its share."""
    return [ratio, *[(k - ratio) / (k - 1)] * (k - 1)]


def looks(rng: random.Random, weights: list[float], step: int) -> Iterator[list[int]]:
    """Counts that grow by `step` connections a look."""
    counts = [0] * len(weights)
    while True:
        for member in rng.choices(range(len(weights)), weights, k=step):
            counts[member] += 1
        yield counts


def needed(rng: random.Random, weights: list[float], e: float, step: int, limit: int) -> int:
    """Connections until the evidence reaches `e`."""
    evidence = Evidence()
    for look, counts in enumerate(looks(rng, weights, step), 1):
        evidence.update(counts)
        if evidence.log_e >= log(e) or look * step >= limit:
            return look * step
    raise AssertionError


def watch(rng: random.Random) -> tuple[Evidence, bool]:
    """A fair group that is reloaded now and then, looked at 100 times; whether any was named."""
    evidence, by_member = Evidence(), MemberEvidence[int]()
    members, born, named = list(range(4)), 4, False
    weights, counts = [1.0] * 4, Counter[int]()
    for _ in range(100):
        if rng.random() < 0.06:
            evidence.close_stretch()
            by_member.close_stretch()
            stay = rng.sample(members, rng.randrange(len(members)))
            fresh = rng.randrange(1 if len(stay) > 1 else 2, 4)
            members = stay + list(range(born, born + fresh))
            born += fresh
            weights = [rng.choice((1.0, 1.0, 0.5)) for _ in members]
            counts.clear()
        counts.update(rng.choices(members, weights, k=rng.choice((1, 10, 40))))
        evidence.update([counts[member] for member in members], weights)
        by_member.update(counts, dict(zip(members, weights, strict=True)))
        named = named or bool(by_member.named(0.05))
    return evidence, named


def test_at_most_one_watch_in_twenty_raises_a_false_alarm() -> None:
    rng = random.Random(11)
    watches = [watch(rng) for _ in range(1000)]
    assert sum(evidence.p <= 0.05 for evidence, _ in watches) <= 50
    assert sum(named for _, named in watches) <= 50


def test_the_e_value_of_chance_is_1_in_the_mean() -> None:
    """Over all splits of 30 connections, and of 20 more after a change of the membership."""
    whole = 0.0
    for first in range(31):
        for second in range(21):
            evidence = Evidence()
            evidence.update([first, 30 - first], [3, 1])
            evidence.close_stretch()
            evidence.update([second, 20 - second])
            chance = comb(30, first) * 0.75**first * 0.25 ** (30 - first) * comb(20, second) / 2**20
            whole += chance * exp(evidence.log_e)
    assert whole == pytest.approx(1, rel=1e-9)


def test_the_stakes_on_all_members_are_1_in_the_mean() -> None:
    whole = 0.0
    for first in range(31):
        evidence = MemberEvidence[str]()
        evidence.update({"a": first, "b": 30 - first}, {"a": 3, "b": 1})
        chance = comb(30, first) * 0.75**first * 0.25 ** (30 - first)
        whole += chance * sum(exp(log_e) for log_e in evidence.named(1e300).values())
    assert whole == pytest.approx(1 / 2, rel=1e-9)  # the other half is for later stretches


def test_a_fifth_more_of_four_is_found_by_about_2000_connections() -> None:
    rng = random.Random(6)
    assert median(needed(rng, skewed(4, 1.2), 100, 25, 6000) for _ in range(60)) <= 2000


def test_a_doubled_share_of_8_is_named_within_300_connections() -> None:
    rng = random.Random(7)
    found = 0
    for _ in range(1000):
        evidence = MemberEvidence[int]()
        for look, counts in enumerate(looks(rng, skewed(8, 2), 20), 1):
            evidence.update(dict(enumerate(counts)), dict.fromkeys(range(8), 1.0))
            named = evidence.named(0.01)
            if named or look == 15:
                break
        found += next(iter(named), None) == 0
    assert found >= 800


def test_what_begins_after_a_hundred_fair_stretches_is_found_as_well() -> None:
    rng = random.Random(8)
    evidence, by_member = Evidence(), MemberEvidence[int]()
    for stretch in range(101):
        every = looks(rng, skewed(4, 2 if stretch == 100 else 1), 300)
        counts = next(every)
        evidence.update(counts)
        by_member.update(dict(enumerate(counts)), dict.fromkeys(range(4), 1.0))
        if stretch < 100:
            assert evidence.p > 0.01
            evidence.close_stretch()
            by_member.close_stretch()
    assert evidence.p < 0.01
    assert next(iter(by_member.named(0.01))) == 0


def test_steady_evidence_grows_over_stretches_too_short_to_decide() -> None:
    evidence, by_member = Evidence(), MemberEvidence[int]()
    seen = []
    for _ in range(40):
        evidence.update([30, 15, 15])
        by_member.update({0: 30, 1: 15, 2: 15}, {0: 1.0, 1: 1.0, 2: 1.0})
        seen.append(evidence.log_e)
        evidence.close_stretch()
        by_member.close_stretch()
    assert seen[0] < log(20) < log(1e9) < seen[-1]
    assert next(iter(by_member.named(1e-6))) == 0


def test_stretches_without_connections_cost_nothing() -> None:
    one, other = Evidence(), Evidence()
    for _ in range(1000):
        other.update([0, 0])
        other.close_stretch()
    for evidence in (one, other):
        evidence.update([90, 10])
    assert one.log_e == other.log_e > log(1e6)


def test_the_p_value_remembers_the_greatest_evidence() -> None:
    evidence = Evidence()
    evidence.update([90, 10])
    p = evidence.p
    evidence.update([500, 480])
    assert evidence.log_e < 0
    assert evidence.p == p < 1e-6


def test_memory_is_that_of_the_present_members() -> None:
    evidence = MemberEvidence[int]()
    sizes = []
    for stretch in range(300):
        members = range(4 * stretch, 4 * stretch + 4)
        evidence.update(dict.fromkeys(members, 50), dict.fromkeys(members, 1.0))
        sizes.append(len(pickle.dumps(evidence)))
        evidence.close_stretch()
    assert sizes[-1] < 1.2 * sizes[1]


def test_members_that_left_are_not_in_the_yardstick() -> None:
    evidence = MemberEvidence[str]()
    evidence.update({"gone": 5000, "a": 100, "b": 100}, {"a": 1.0, "b": 1.0})
    assert evidence.named() == {}


def test_one_member_has_nothing_to_share() -> None:
    evidence, by_member = Evidence(), MemberEvidence[str]()
    evidence.update([1000])
    by_member.update({"a": 1000}, {"a": 1.0})
    assert evidence.log_e == pytest.approx(0)
    assert by_member.named() == {}
    by_member.update({}, {})
    assert by_member.named() == {}


def test_each_stretch_has_its_stake() -> None:
    """1/(t (t + 1)) for stretch t, of members in equal parts; what is left of it is kept."""
    whole, each, even = Evidence(), MemberEvidence[str](), {"a": 1.0, "b": 1.0}
    for place, counts in enumerate(((12, 8), (9, 1), (3, 7))):
        if place:
            whole.close_stretch()
            each.close_stretch()
        whole.update(counts)
        each.update(dict(zip(even, counts, strict=True)), even)
    first, second, third = (exp(log_member(n, t, 0.5)) for n, t in ((12, 20), (9, 10), (3, 10)))
    won = ((first / 2 + 1 / 6) * second + 1 / 12) * third
    assert exp(whole.log_e) == pytest.approx(won + 1 / 4)
    assert exp(each.named(alpha=1e9)["a"]) == pytest.approx(won / 2)


def test_the_most_certain_members_are_named_first() -> None:
    it = MemberEvidence[str]()
    it.update({"a": 300, "b": 900, "c": 40}, {"a": 1.0, "b": 1.0, "c": 1.0})
    named = it.named(0.5)
    assert next(iter(named)) == "b"
    assert list(named.values()) == sorted(named.values(), reverse=True)
    assert len(named) == 3


def test_a_bet_on_two_is_the_same_for_the_split_and_for_each() -> None:
    split = log_split((30, 10), (0.5, 0.5))
    assert log_member(30, 40, 0.5) == pytest.approx(split)
    assert log_member(10, 40, 0.5) == pytest.approx(split)
    assert log_member(10, 40, 0.25) == log_mixture((10, 30), (0.25, 0.75), 3.0)
    assert log_member(30, 40, 0.75) == log_mixture((30, 10), (0.75, 0.25), 3.0)
    assert [log_member(0, 40, share) for share in (0.0, 1.0)] == [0.0, 0.0]


def test_a_bet_on_several_is_on_as_many_as_are_there() -> None:
    thirds = (1 / 3, 1 / 3, 1 / 3)
    assert log_split((9, 3, 2), thirds) == log_mixture((9, 3, 2), thirds, 2)
    assert log_split((9, 0, 5), (0.5, 0.0, 0.5)) == log_mixture((9, 5), (0.5, 0.5), 1)
    assert log_split((9,), (1.0,)) == 0.0
    # One connection says nothing, wherever it goes.
    assert log_split((1, 0, 0), thirds) == pytest.approx(0.0, abs=1e-12)
