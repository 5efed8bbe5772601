"""What each sharing set took: who was there, over what time, and how certain it is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from random import Random

import pytest

from accepttrace.model.fairshare import Stay, until
from accepttrace.model.listeners import SetKey
from accepttrace.model.recent import SLOTS, TREND, Part, Recent, Windows
from accepttrace.model.stats.evidence import Evidence, MemberEvidence
from accepttrace.model.watch import GONE, LAST, SetWatch, Watch

STRETCH_S = 300.0

A: SetKey = ("socket", 1)


def take(
    it: SetWatch,
    begin_s: float,
    end_s: float,
    taken: Mapping[str, int],
    last_s: float | None = None,
) -> None:
    """Of members that all were there all the time."""
    whole = Stay(begin_s, end_s)
    last_s = end_s if last_s is None else last_s
    stays: dict[Hashable, Stay] = dict.fromkeys(taken, whole)
    counts: dict[Hashable, int] = dict(taken.items())
    it.take_in(stays, counts, whole, last_s)


def evidence(*stretches: Mapping[str, int]) -> tuple[float, dict[str, float]]:
    one, each = Evidence(), MemberEvidence[str]()
    for place, counts in enumerate(stretches):
        if place:
            one.close_stretch()
            each.close_stretch()
        one.update(list(counts.values()))
        each.update(counts, dict.fromkeys(counts, 1.0))
    return one.log_e, each.named(0.5)


def found(it: SetWatch) -> tuple[float, dict[object, float]]:
    return it.evidence.log_e, dict(it.members.named(0.5))


def test_a_stretch_goes_on_while_its_members_are_the_same() -> None:
    it = SetWatch(0.0)
    take(it, 0, 1, {"a": 19, "b": 3})
    both: dict[Hashable, Stay] = dict.fromkeys("ab", Stay(1, 2))
    it.take_in(both, {"a": 18}, Stay(1, 2), 2.0)
    assert found(it) == evidence({"a": 37, "b": 3})
    assert it.members.named(0.5)
    assert it.whole == {"a": Part(37, 20.0), "b": Part(3, 20.0)}
    assert (it.active_s, set(it.there)) == (2, {"a", "b"})


def test_a_stretch_ends_with_its_members_or_when_it_is_long() -> None:
    it = SetWatch(0.0)
    take(it, 0, 1, {"a": 19, "b": 3})
    take(it, 1, 2, {"a": 18, "b": 2, "c": 2})
    assert found(it) == evidence({"a": 19, "b": 3}, {"a": 18, "b": 2, "c": 2})
    take(it, 2, 3, {"a": 5, "b": 2})
    assert found(it) == evidence(*({"a": 19, "b": 3}, {"a": 18, "b": 2, "c": 2}, {"a": 5, "b": 2}))
    for end_s, stretches in (
        (STRETCH_S, [{"a": 37, "b": 5}]),
        (STRETCH_S + 1, [{"a": 19, "b": 3}, {"a": 18, "b": 2}]),
    ):
        it = SetWatch(0.0)
        take(it, 0, 1, {"a": 19, "b": 3})
        take(it, 1, end_s, {"a": 18, "b": 2})
        assert found(it) == evidence(*stretches)


def test_where_one_came_or_went_meanwhile_there_is_no_evidence() -> None:
    it, whole = SetWatch(0.0), Stay(0, 2)
    it.take_in({"a": whole, "b": Stay(1, 2)}, {"a": 40, "b": 1}, whole, 2.0)
    assert found(it) == (Evidence().log_e, {})
    take(it, 2, 3, {"a": 19, "b": 3})
    assert found(it) == evidence({"a": 19, "b": 3})
    it = SetWatch(0.0)
    take(it, 0, 1, {"a": 40})
    assert found(it) == (Evidence().log_e, {})
    take(it, 1, 2, {"a": 19, "b": 3})
    assert found(it) == evidence({"a": 19, "b": 3})


def test_the_time_until_the_last_connection_counts() -> None:
    it, whole = SetWatch(0.0), Stay(0, 2)
    stays: dict[Hashable, Stay] = {"a": whole, "b": whole, "late": Stay(1.5, 2), "gone": Stay(0, 1)}
    it.take_in(stays, {"a": 10, "b": 10, "gone": 10}, whole, 1.0)
    assert it.whole == {name: Part(10, 10.0) for name in ("a", "b", "gone")}
    assert set(it.there) == {"a", "b", "late"}
    assert until(stays, 1.5)["late"] == Stay(1.5, 1.5)
    assert until(stays, 1.5)["gone"] == Stay(0, 1)


def test_who_took_something_and_was_never_there_has_nothing_to_expect() -> None:
    it, whole = SetWatch(0.0, (60.0,)), Stay(0, 1)
    it.take_in({"a": whole, "b": whole}, {"a": 4, "ghost": 2}, whole, 1.0)
    parts = {"a": Part(4, 3.0), "b": Part(0, 3.0), "ghost": Part(2, 0.0)}
    assert (it.whole, it.recent(60.0, 1.0)) == (parts, parts)
    assert [part.ratio for part in it.whole.values()].count(None) == 1


def test_the_first_of_those_that_are_gone_are_summed_up() -> None:
    it = SetWatch(0.0, (1e9,))
    for second in range(LAST + 1):
        take(it, second, second + 1, {"old": 1, f"{second}": 1})
    assert len(it.whole) == LAST + 2
    assert GONE not in it.whole
    take(it, 98, 99, {"old": 1, "98": 1})
    assert len(it.whole) == LAST + 3
    take(it, 99, 100, {"old": 1, "99": 1})
    for parts in (it.whole, it.recent(1e9, 100.0)):
        assert len(parts) == LAST + 3
        assert parts[GONE] == Part(2, 2.0)
        assert "2" in parts
        assert "1" not in parts


def test_a_set_is_watched_from_when_two_share_it() -> None:
    watch = Watch()
    whole = Stay(0, 1)
    watch.take_in(A, {"a": whole}, {"a": 5}, whole, 1.0)
    assert (watch.get(A), list(watch)) == (None, [])
    watch.take_in(A, {"a": whole, "b": whole}, {"a": 5}, whole, 1.0)
    watch.take_in(A, {"a": Stay(1, 2)}, {"a": 3}, Stay(1, 2), 2.0)
    one = watch.get(A)
    assert one is not None
    assert one.whole == {"a": Part(8, 5.5), "b": Part(0, 2.5)}
    assert (list(watch), watch.window_s) == ([A], None)


def test_the_sets_that_took_something_last_are_remembered() -> None:
    watch = Watch()
    order = [7, 3, *range(100, 100 + LAST), 5]
    for second, number in enumerate(order):
        whole = Stay(second, second + 1)
        watch.take_in(("socket", number), {"a": whole, "b": whole}, {"a": 1}, whole, second + 1)
    watch.keep([("socket", 7)])
    assert len(list(watch)) == LAST + 1
    assert watch.get(("socket", 7))
    assert not watch.get(("socket", 3))
    assert not watch.get(("socket", 100))
    assert watch.get(("socket", 101))
    watch.keep([])
    assert len(list(watch)) == LAST
    assert not watch.get(("socket", 7))
    watch.keep([])
    assert len(list(watch)) == LAST


def test_a_window_moves_on_by_a_slot() -> None:
    it = Recent(12.0)
    assert SLOTS == 12
    for begin_s in range(20):
        it.take_in({"a": 1}, {"a": 0.5, "b": 0.5}, Stay(begin_s, begin_s + 1))
    assert it.sums(20.0) == {"a": Part(12, 6.0), "b": Part(0, 6.0)}
    assert it.sums(20.9) == {"a": Part(12, 6.0), "b": Part(0, 6.0)}
    assert it.sums(21.0) == {"a": Part(11, 5.5), "b": Part(0, 5.5)}
    assert it.sums(99.0) == {}


def test_short_intervals_share_a_slot() -> None:
    it = Recent(12.0)
    assert it.take_in({"a": 1}, {}, Stay(0.0, 0.5)) == {"a": Part(1, 0.0)}
    assert it.take_in({"a": 2}, {}, Stay(0.5, 1.0)) == {"a": Part(3, 0.0)}
    assert it.take_in({"a": 4}, {}, Stay(0.99, 1.4)) == {"a": Part(7, 0.0)}
    assert it.take_in({"a": 8}, {}, Stay(1.0, 2.0)) == {"a": Part(8, 0.0)}
    assert it.sums(13.3) == {"a": Part(15, 0.0)}
    assert it.sums(13.4) == {"a": Part(8, 0.0)}


def test_parts_move_and_are_forgotten() -> None:
    it = Recent(12.0)
    for begin_s in range(2):
        it.take_in({"a": 1, "b": 2, "c": 4}, {"a": 1.0}, Stay(begin_s, begin_s + 1))
    it.move("a", "b")
    it.move("none", "c")
    it.move("c", "d")
    assert it.sums(2.0) == {"b": Part(6, 2.0), "d": Part(8, 0.0)}
    it.keep(["b", "x"])
    assert it.sums(2.0) == {"b": Part(6, 2.0)}
    assert Part(3, 2.0).ratio == pytest.approx(1.5)


def test_a_trend_is_what_was_taken_per_second_part_by_part() -> None:
    it = Recent(12.0)
    for begin_s, taken in enumerate((4, 0, 6, 2), 100):
        it.take_in({"a": taken, "b": 1}, {}, Stay(begin_s, begin_s + 1))
    found = it.trends(100.0, 104.0)
    assert list(found.by_key["a"]) == [None] * (TREND - 4) + [4.0, 0.0, 6.0, 2.0]
    assert list(found.zero) == [None] * (TREND - 4) + [0.0] * 4
    assert list(found.of(["a", "b", "x"])) == [None] * (TREND - 4) + [5.0, 1.0, 7.0, 3.0]
    assert found.of(["x"]) is found.zero
    # What was before the first slot and after the start was quiet.
    assert list(it.trends(98.0, 104.0).zero) == [None] * (TREND - 6) + [0.0] * 6
    for begin_s in range(104, 112):
        it.take_in({"a": 3}, {}, Stay(begin_s, begin_s + 1))
    assert list(it.trends(100.0, 112.0).by_key["a"]) == [3.0] * TREND
    assert "b" not in it.trends(100.0, 112.0).by_key


def test_a_quiet_time_is_nothing_per_second() -> None:
    it = Recent(12.0)
    it.take_in({"a": 4}, {}, Stay(100.0, 102.0))
    it.take_in({"a": 6}, {}, Stay(105.0, 106.0))
    found = it.trends(100.0, 108.0)
    assert list(found.by_key["a"]) == [None, 2.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0]
    assert list(found.zero) == [None, *[0.0] * 7]
    empty = Recent(12.0).trends(100.0, 103.0)
    assert (dict(empty.by_key), list(empty.zero)) == ({}, [None] * (TREND - 3) + [0.0] * 3)


def test_windows_are_kept_side_by_side() -> None:
    none = Windows()
    assert (bool(none), none.of(1.0), none.widest(), list(none)) == (False, None, None, [])
    some = Windows((60.0, 10.0))
    assert some
    assert [some.of(window_s) is None for window_s in (10.0, 60.0, 20.0, None)] == [
        *(False, False, True, True)
    ]
    assert some.widest() is some.of(60.0)
    assert list(some) == [some.of(10.0), some.of(60.0)]


def test_who_looks_further_back_does_not_know_since_when() -> None:
    watch, whole = Watch(10.0, (60.0,)), Stay(0, 1)
    assert watch.windows == {10.0, 60.0}
    watch.take_in(A, {"a": whole, "b": whole}, {"a": 5}, whole, 1.0)
    one = watch.get(A)
    assert one is not None
    one.uneven_s = 0.5
    watch.look_back(10.0)
    assert (one.uneven_s, one.judged) == (0.5, True)
    watch.look_back(60.0)
    assert one.uneven_s is None
    assert not one.judged
    assert watch.window_s == 60.0
    assert Watch(None, (5.0,)).windows == {5.0}
    assert Watch().windows == frozenset()


@pytest.mark.parametrize("seed", range(30))
def test_trends_that_are_asked_for_each_second_are_those_that_are_asked_for_once(seed: int) -> None:
    chance = Random(seed)
    often = Recent(12.0)
    steps: list[Callable[[Recent], object]] = []
    now_s = 100.0
    for _ in range(chance.randrange(5, 60)):
        begin_s, now_s = now_s, now_s + chance.choice((0.25, 0.5, 1.0, 1.0, 2.5, 7.0))
        taken: dict[Hashable, int] = {one: chance.randrange(9) for one in chance.sample("abcd", 2)}
        new: list[Callable[[Recent], object]] = [
            partial(
                Recent.add,
                changes=[(one, n, 0.0) for one, n in taken.items()],
                whole=Stay(begin_s, now_s),
            )
        ]
        if chance.random() < 0.1:
            new.append(partial(Recent.move, old="a", new="b"))
        if chance.random() < 0.1:
            new.append(partial(Recent.keep, keys={"a", "b", "c"}))
        now_s += chance.choice((0.0, 0.0, 0.0, 3.0))
        once = Recent(12.0)
        steps += new
        for step in steps:
            step(once)
        for step in new:
            step(often)
        assert often.trends(100.0, now_s) == once.trends(100.0, now_s)
