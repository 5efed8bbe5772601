"""What an even split would have given: who has a part, from when on, and what rows inherit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random

import pytest

from accepttrace.config import By, Filters
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import AcceptorCount, Counts, Holder, Inventory, Listener
from accepttrace.model.entries import Bygone, Entry, Key
from accepttrace.model.fairshare import Stay
from accepttrace.model.grains import GRAINS
from accepttrace.model.listeners import Listeners, SetKey
from accepttrace.model.recent import Part
from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.model.watch import Watch
from accepttrace.model.yardstick import (
    MEASURED,
    Interval,
    Yardstick,
    Yardsticks,
    by_set,
    is_group,
)
from tests.unit.pictures import META, SEES, count, holder, listener

WHOLE = Stay(0.0, 10.0)
KEY = GRAINS["worker"].key
A: SetKey = ("group", 1, 7)
B: SetKey = ("socket", 100)


@pytest.mark.parametrize(
    ("ticks", "ahead_s", "begin_s"),
    [
        *((0, 0.0, 10.0), (1000, 0.0, 10.0), (1100, 0.0, 11.0), (1200, 0.0, 12.0)),
        *((1300, 0.0, 12.0), (1300, 1.5, 11.5), (1300, 99.0, 10.0), (900, -2.0, 11.0)),
    ],
)
def test_a_process_can_take_something_from_its_start_on(
    ticks: int, ahead_s: float, begin_s: float
) -> None:
    interval = Interval(10.0, 12.0, ahead_s)
    assert interval.begin_of((7, ticks)) == begin_s
    assert interval.whole == Stay(10.0, 12.0)


def split(
    it: Yardstick,
    stays: Iterable[tuple[SetKey, str]],
    taken: Mapping[SetKey, int],
    counts: Mapping[Key, int] | None = None,
    last_s: float = 10.0,
) -> None:
    takers = [(of, key, WHOLE) for of, key in stays]
    last = dict.fromkeys(taken, last_s)
    it.split(by_set(takers), taken, lambda: dict(counts or {}), WHOLE, last)


def test_each_set_is_divided_among_its_own() -> None:
    it = Yardstick(KEY)
    split(it, [(A, "x"), (A, "y"), (A, "y"), (B, "y"), (B, "alone")], {A: 10, B: 6})
    split(it, [(B, "alone")], {B: 5})
    assert [it.expected(key) for key in ("x", "y", "alone", "nobody")] == [5.0, 8.0, 8.0, 0.0]
    split(it, [(A, "one")], {A: 4})
    assert (it.expected("one"), it.shared("one")) == (4.0, False)
    assert [it.shared(key) for key in ("x", "y", "alone", "nobody")] == [True, True, True, False]
    assert it.recent(60.0, 1.0) is None


def test_a_stay_is_from_the_first_begin_to_the_last_end() -> None:
    it = Yardstick(KEY)
    takers = [(A, "x", Stay(0, 4)), (A, "x", Stay(6, 10)), (A, "y", Stay(5, 10))]
    it.split(by_set(takers), {A: 20}, dict, WHOLE, {A: 10.0})
    assert (it.expected("x"), it.expected("y")) == pytest.approx((15, 5))


def test_who_came_after_the_last_connection_has_no_part_in_it() -> None:
    for last_s, parts in ((8.0, (13, 3)), (5.0, (16, 0)), (4.9, (16, 0))):
        it = Yardstick(KEY)
        takers = [(A, "x", Stay(0, 10)), (A, "y", Stay(5, 10))]
        it.split(by_set(takers), {A: 16}, dict, WHOLE, {A: last_s})
        assert (it.expected("x"), it.expected("y")) == pytest.approx(parts, abs=0.01)


def test_a_row_that_joins_another_brings_its_part() -> None:
    it = Yardstick(KEY, (60.0,))
    split(it, [(A, "x"), (A, "y"), (B, "z")], {A: 10, B: 3}, {"x": 9, "y": 1, "z": 3})
    for old, new in (("x", "z"), ("y", "y"), ("nobody", "other")):
        it.move(old, new)
    assert [it.expected(key) for key in ("x", "y", "z", "other")] == [0.0, 5.0, 8.0, 0.0]
    assert [it.shared(key) for key in ("y", "z", "other")] == [True, True, False]
    assert it.recent(60.0, 10.0) == {"y": Part(1, 5.0), "z": Part(12, 8.0)}


def test_one_that_was_alone_does_not_make_another_comparable() -> None:
    it = Yardstick(KEY)
    split(it, [(A, "x"), (B, "y")], {A: 10, B: 3})
    it.move("x", "y")
    assert (it.expected("y"), it.shared("y")) == (13.0, False)


def test_what_no_row_uses_is_forgotten() -> None:
    it = Yardstick(KEY, (60.0,))
    split(it, [(A, "x"), (A, "y"), (B, "z")], {A: 10, B: 3}, {"x": 9, "y": 1})
    it.keep({"x", "z"})
    assert [it.expected(key) for key in ("x", "y", "z")] == [5.0, 0.0, 3.0]
    assert [it.shared(key) for key in ("x", "y", "z")] == [True, False, False]
    assert it.recent(60.0, 10.0) == {"x": Part(9, 5.0), "z": Part(0, 3.0)}


def test_only_kinds_of_rows_that_will_be_asked_for_are_measured() -> None:
    def measured(*grains: By) -> list[By]:
        yardsticks = Yardsticks(grains, Listeners(Filters()), Watch(60.0))
        kinds: tuple[By, ...] = ("worker", "process", "thread", "socket", "group")
        return [by for by in kinds if yardsticks.recent(by, 0.0) is not None]

    assert measured("thread") == ["thread"]
    assert measured("worker") == ["worker"]
    assert measured("process") == ["worker", "process"]
    assert measured("socket") == ["socket", "group"]
    assert measured("group") == ["socket", "group"]


def test_who_becomes_part_of_another_brings_his_part_to_rows_of_every_kind() -> None:
    it = Run()
    it.read([row(1, 10)], listener(100, [one(1), one(2)]))
    yardsticks, gone = it.model._yardsticks, Bygone("httpd", kept=True)
    yardsticks.join(Entry(100, (2, 0)), Entry(200, gone))
    kinds: tuple[By, ...] = ("worker", "process", "thread")
    assert [expected(yardsticks, by, Entry(200, gone)) for by in kinds] == [5.0, 5.0, 5.0]
    yardsticks.keep([Entry(200, gone)])
    assert expected(yardsticks, "worker", Entry(100, (1, 0))) == 0.0
    assert expected(yardsticks, "worker", Entry(200, gone)) == 5.0
    assert yardsticks.of("socket").expected(200) == 10.0


def expected(yardsticks: Yardsticks, by: By, entry: Entry) -> float:
    return yardsticks.of(by).expected(yardsticks.of(by).key(entry))


def test_a_coarser_one_adds_up_what_its_rows_stand_for() -> None:
    it = Yardstick(GRAINS["thread"].key, (60.0,))
    threads = [Entry(100, (1, 0), (1, 0)), Entry(100, (1, 0), (2, 0)), Entry(100, (2, 0), (3, 0))]
    keys = [it.key(thread) for thread in threads]
    it.split({A: dict.fromkeys(keys, WHOLE)}, {A: 9}, lambda: {keys[0]: 9}, WHOLE, {A: 10.0})
    coarser = it.coarser(GRAINS["worker"].key)
    first, second = map(coarser.key, threads[1:])
    assert [coarser.expected(key) for key in (first, second)] == [6.0, 3.0]
    assert coarser.recent(60.0, 10.0) == {first: Part(9, 6.0), second: Part(0, 3.0)}
    assert [coarser.shared(key) for key in (first, second, keys[0])] == [True, True, False]


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_a_kind_are_the_same_whatever_else_is_measured(seed: int) -> None:
    """Threads, workers and processes have one yardstick until they differ."""
    kinds: tuple[By, ...] = ("worker", "process", "thread")
    together = new_model()
    apart = {by: new_model(by) for by in kinds}
    chance, taken = Random(seed), Counter[tuple[int, int, int]]()
    grouped, several = chance.random() < 0.5, chance.randrange(2, 12)
    inodes = (100, 101) if grouped else (100,)
    for second in range(1, 13):
        pids = range(1, chance.randrange(2, 7))
        for pid in pids:
            tid = pid if second < several else pid + 10 * chance.randrange(2)
            taken[inodes[pid % len(inodes)], pid, tid] += chance.randrange(20)
        rows = [count(pid, n, inode, tid=tid, start=0) for (inode, pid, tid), n in taken.items()]
        ended = [row for row in rows if row.pid not in pids or chance.random() < 0.1]
        keys = frozenset((row.listener_inode, row.tid, row.start_ns) for row in ended)
        holders = {i: [one(p) for p in pids if inodes[p % len(inodes)] == i] for i in inodes}
        group = 7 if grouped else None
        listeners = [listener(i, holders[i], group=group, size=len(inodes)) for i in inodes]
        counts = Counts(tuple(rows), at_s=float(second), ended=keys)
        reading = Reading(counts, Inventory(tuple(listeners)), wall="")
        gone = {key[:2] for key in together.update(reading).acceptors}
        for by, model in apart.items():
            model.update(reading)
            assert shares(together.snapshot(by)) == shares(model.snapshot(by))
        for key in [key for key in taken if (key[0], key[2]) in gone]:
            del taken[key]


def new_model(*grains: By) -> Tracker:
    kinds = grains or MEASURED
    return Tracker(META, None, 0.0, SEES, kinds, window_s=4.0, windows=(4.0, 30.0))


def shares(picture: Snapshot) -> object:
    """By row, what is compared with an even split, rounded."""

    def figures(row: AcceptorRow) -> tuple[object, ...]:
        ratios = (row.fair_ratio, row.recent_ratio, row.recent_share, *row.trend)
        known = tuple(None if ratio is None else round(ratio, 6) for ratio in ratios)
        return (row.pid, row.tid, row.name, row.accepts, row.recent_accepts, *known)

    return sorted(map(figures, picture.acceptors), key=repr)


def test_a_group_is_distinguished_from_a_socket() -> None:
    assert [is_group(members) for members in (A, B, ())] == [True, False, False]


class Run:
    """Readings of listeners and those who hold them, a second apart; processes start at tick 0."""

    def __init__(self, window_s: float | None = None, filters: Filters | None = None) -> None:
        self.model = Tracker(META, filters, 0.0, SEES, window_s=window_s)
        self.second = 0.0

    def read(
        self, rows: Iterable[AcceptorCount], *listeners: Listener, ahead_s: float = 0.0
    ) -> None:
        self.second += 1
        counts = Counts(tuple(rows), at_s=self.second, ahead_s=ahead_s)
        self.model.update(Reading(counts, Inventory(listeners), wall=""))

    def ratios(self, by: By = "worker") -> dict[int | None, float | None]:
        rows = self.model.snapshot(by).acceptors
        of_sockets = by == "socket"
        return {row.listener_inode if of_sockets else row.pid: row.fair_ratio for row in rows}


def row(
    pid: int, accepts: int, inode: int = 100, *, ready_s: float = 0.0, start: int = 0
) -> AcceptorCount:
    return replace(count(pid, accepts, inode, start=start), ready_us=round(ready_s * 1e6))


def one(pid: int, waits: bool | None = True, *, start: int = 0) -> Holder:
    return holder(pid, waits, start=start)


def test_who_came_in_the_interval_shares_from_his_start_on() -> None:
    it = Run()
    it.read([], listener(100, [one(1)]))
    it.read([row(1, 75), row(2, 25, start=150)], listener(100, [one(1), one(2, start=150)]))
    assert it.ratios() == pytest.approx({1: 1.0, 2: 1.0})


def test_who_began_to_wait_late_though_he_was_there_has_no_part_yet() -> None:
    it = Run()
    it.read([], listener(100, [one(1), one(2, False)]))
    it.read([row(1, 10)], listener(100, [one(1), one(2)]))
    assert it.ratios() == {1: 1.0, 2: None}
    it.read([row(1, 20)], listener(100, [one(1), one(2)]))
    assert it.ratios() == pytest.approx({1: 20 / 15, 2: 0.0})


def test_who_took_nothing_and_waits_no_more_is_held_to_no_share() -> None:
    it = Run()
    it.read([row(1, 10)], listener(100, [one(1), one(2)]))
    assert it.ratios() == {1: 2.0, 2: 0.0}
    for _ in range(6):  # a worker that was seen to wait is believed to do so for five looks
        it.read([row(1, 10)], listener(100, [one(1), one(2, False)]))
    assert it.ratios().get(2) is None


def test_who_waited_and_then_asked_in_vain_has_a_part_all_the_time() -> None:
    it = Run()
    it.read([], listener(100, [one(1), one(2)]))
    it.read([row(1, 10), replace(row(2, 0), empty=1)], listener(100, [one(1), one(2)]))
    assert it.ratios() == {1: 2.0, 2: 0.0}


def test_at_the_first_reading_all_who_wait_have_a_part() -> None:
    it = Run()
    it.read([row(1, 10)], listener(100, [one(1), one(2), one(3, False), one(4, None)]))
    assert it.ratios() == {1: 2.0, 2: 0.0, 3: None, 4: None}


def test_who_waits_no_more_was_there_until_the_last_that_he_took() -> None:
    it = Run()
    it.read([], listener(100, [one(1), one(2)]))
    it.read([row(1, 65, ready_s=1.9), row(2, 25, ready_s=1.5)], listener(100, [one(1)]))
    # A hundred a second until the last of all, at 1.9.
    assert it.ratios() == pytest.approx({1: 1.0, 2: 1.0})


def test_a_time_before_the_interval_is_none_in_it() -> None:
    it = Run()
    it.read([], listener(100, [one(1), one(2)]))
    it.read([row(1, 99, ready_s=1.9), row(2, 1, ready_s=0.2)], listener(100, [one(1)]))
    ratios = it.ratios()
    assert ratios[1] == pytest.approx(0.99 / (1 - 0.0005 / 0.9))
    assert ratios[2] == pytest.approx(0.01 / (0.0005 / 0.9))


def test_of_a_group_only_sockets_that_were_there_all_the_time_share() -> None:
    def sockets(*inodes: int) -> list[Listener]:
        return [listener(inode, [one(inode)], group=7, size=len(inodes)) for inode in inodes]

    it = Run()
    it.read([], *sockets(200, 201))
    it.read([row(200, 10, 200)], *sockets(200, 201, 202))
    assert it.ratios("socket") == {200: 2.0, 201: 0.0, 202: None}
    it.read([row(200, 10, 200), row(201, 6, 201)], *sockets(200, 201, 202))
    assert it.ratios("socket") == pytest.approx({200: 10 / 7, 201: 6 / 7, 202: 0.0})
    it.read([row(200, 16, 200), row(201, 6, 201)], *sockets(200, 202))
    assert it.ratios("socket") == pytest.approx({200: 16 / 10, 201: 6 / 7, 202: 0.0})


@pytest.mark.parametrize("by", ["worker", "thread", "process"])
def test_one_alone_has_all_however_long_he_was_there(by: By) -> None:
    it = Run()
    it.read([row(1, 8, start=70)], listener(100, [one(1, start=70)]))
    it.read([row(1, 16, start=70)], listener(100, [one(1, start=70)]))
    assert it.ratios(by) == {1: 1.0}


def test_threads_that_ended_have_no_part_in_what_came_later() -> None:
    it = Run()
    two = [count(1, 5, tid=10, start=0), count(1, 5, tid=11, start=0)]
    it.read(two, listener(100, [one(1)]))
    assert it.model.snapshot("thread").acceptors[0].fair_ratio == 1.0
    ended = frozenset({(100, 10, two[0].start_ns)})
    counts = Counts(tuple(two), at_s=2.0, ended=ended)
    it.model.update(Reading(counts, Inventory((listener(100, [one(1)]),)), wall=""))
    it.read([count(1, 15, tid=11, start=0)], listener(100, [one(1)]))
    found = {row.tid: row.fair_ratio for row in it.model.snapshot("thread").acceptors}
    assert found == {10: 1.0, 11: 1.0}


def test_what_was_taken_where_nobody_is_known_waits_to_be_divided() -> None:
    it = Run()
    it.model.drain(Reading(Counts((row(1, 10),), at_s=0.5)))
    assert it.ratios() == {1: None}
    it.read([row(1, 10)], listener(100, [one(1)]))
    assert it.ratios() == {1: 1.0}


def test_with_a_filter_of_pids_nothing_is_held_against_anybody_where_others_share() -> None:
    it = Run(filters=Filters(pids=frozenset({1, 2})))
    it.read([row(1, 10)], listener(100, [one(1), one(2), one(3, False)]))
    assert it.ratios() == {1: 2.0, 2: 0.0}
    it.read([row(1, 20)], listener(100, [one(1), one(2), one(3)]))
    assert it.ratios() == {1: None, 2: None}
    it.read([row(1, 30)], listener(100, [one(1), one(2)]))
    assert it.ratios() == {1: None, 2: None}


@pytest.mark.parametrize(("by", "found"), [("worker", {1: 8, 2: 0}), ("group", {None: 8})])
def test_in_a_window_only_what_came_lately_counts(by: By, found: dict[int | None, int]) -> None:
    it = Run(window_s=2.0)
    it.read([row(1, 100)], listener(100, [one(1), one(2)]))
    for number in (100, 100, 104, 108):
        it.read([row(1, number)], listener(100, [one(1), one(2)]))
    rows = it.model.snapshot(by).acceptors
    assert {r.pid: r.recent_accepts for r in rows} == found
    if by == "worker":
        assert {r.pid: r.recent_ratio for r in rows} == {1: 2.0, 2: 0.0}
        assert {r.pid: r.recent_share for r in rows} == {1: 1.0, 2: 0.0}


def test_one_alone_in_the_window_is_all_of_it() -> None:
    it = Run(window_s=2.0)
    for number in (100, 100, 100, 101):
        it.read([row(1, number)], listener(100, [one(1), one(2)]))
    rows = it.model.snapshot().acceptors
    assert [r.recent_accepts for r in rows] == [1, 0]
    assert [r.recent_share for r in rows] == [1.0, 0.0]


@pytest.mark.parametrize("grains", [("worker",), ("process",), ("thread",), ("worker", "socket")])
def test_who_never_could_have_had_something_took_no_part(grains: tuple[By, ...]) -> None:
    model = Tracker(META, None, 0.0, SEES, grains=grains)
    found = Inventory((listener(100, [one(1), one(2), one(3, False)]), listener(200, [one(1)])))
    model.update(Reading(Counts((row(1, 4),), at_s=1.0), found, wall=""))
    took = [model._yardsticks.took_part(Entry(100, (pid, 0))) for pid in (2, 3)]
    assert took == [True, "socket" in grains]
    assert not model._yardsticks.took_part(Entry(200, (1, 0)))
