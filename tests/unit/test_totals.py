"""Counters of a run of months: they never go back, and do not grow with those who come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from accepttrace.facts.reading import Reading
from accepttrace.facts.records import AcceptorCount, Counts, Holder, Inventory, Listener
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.totals import (
    BOUNDS_US,
    ELSEWHERE,
    MOST_GONE,
    MOST_NAMES,
    OTHERS,
    Member,
    Naming,
    Site,
    Slots,
    Steady,
    Totals,
)
from accepttrace.model.tracker import Tracker
from tests.unit.pictures import (
    LONG_AGO_S,
    META,
    SEES,
    count,
    feed,
    holder,
    listener,
    reuseport,
    tracker,
    troubled,
)

NETNS = 4026531840
SITE = Site(NETNS, "0.0.0.0", 80)
NAME = "nginx: worker"


def read(
    model: Tracker,
    second: float,
    counts: Sequence[AcceptorCount],
    listeners: Sequence[Listener],
    ended: Sequence[AcceptorCount] = (),
) -> Snapshot:
    """One refresh; the threads of `ended` have ended, and are let go."""
    keys = frozenset((one.listener_inode, one.tid, one.start_ns) for one in ended)
    read = Counts((*counts, *ended), at_s=second, ahead_s=LONG_AGO_S, ended=keys)
    model.update(Reading(read, Inventory(tuple(listeners))))
    return model.snapshot()


def by_part(totals: Totals, site: Site = SITE) -> dict[str, int]:
    return {m.part: w.accepts for m, w in totals.workers.items() if m.site == site}


def test_each_worker_and_the_listener_have_all_accepts() -> None:
    model, totals = tracker(), Totals()
    holders = [holder(1000, False, name="nginx: master"), holder(1), holder(2)]
    feed(model, 1, [count(1, 7)], [listener(100, holders)])
    totals.update(model.snapshot())
    feed(model, 2, [count(1, 9), count(2, 4)], [listener(100, holders)])
    totals.update(model.snapshot())
    assert by_part(totals) == {"0": 9, "1": 4}
    assert totals.sites[SITE].accepts == 13
    assert {m.name for m in totals.workers} == {NAME}  # a master that only holds it is none


@pytest.mark.parametrize(
    ("naming", "parts"),
    [
        ("name", {"": 9}),
        ("slot", {"0": 5, "1": 4}),
        ("pid", {"1": 5, "2": 4}),
    ],
)
def test_what_makes_a_worker(naming: Naming, parts: dict[str, int]) -> None:
    model, totals = tracker(), Totals(naming)
    counts = [count(1, 5), count(2, 4)]
    feed(model, 1, counts, [listener(100, [holder(1), holder(2)])])
    totals.update(model.snapshot())
    assert by_part(totals) == parts


def test_a_new_worker_takes_the_slot_of_one_that_ended() -> None:
    model, totals = tracker(), Totals()
    one, two, three = (count(pid, 10 * pid) for pid in (1, 2, 3))
    totals.update(read(model, 1, [one, two], [listener(100, [holder(1), holder(2)])]))
    assert by_part(totals) == {"0": 20, "1": 10}  # the first row is that of the most accepts
    totals.update(read(model, 2, [two], [listener(100, [holder(2)])], [one]))
    totals.update(read(model, 3, [two, three], [listener(100, [holder(2), holder(3)])]))
    assert by_part(totals) == {"0": 20, "1": 10 + 30}
    assert {m.part: w.pid for m, w in totals.workers.items()} == {"0": 2, "1": 3}


def test_who_came_and_ended_between_two_readings_is_counted() -> None:
    model, totals = tracker(), Totals()
    totals.update(read(model, 1, [], [listener(100, [holder(1)])]))
    totals.update(read(model, 2, [count(1, 3)], [listener(100, [holder(1)])], [count(9, 5)]))
    assert totals.sites[SITE].accepts == 8
    assert sum(worker.accepts for worker in totals.workers.values()) == 8


@pytest.mark.parametrize("naming", ["name", "slot", "pid"])
def test_thousands_of_workers_that_come_and_go_add_up_and_leave_nothing(naming: Naming) -> None:
    model, totals = tracker(), Totals(naming, keep_s=10)
    most, accepted = 0, 0
    for second in range(1, 51):
        pids = range(second * 100, second * 100 + 40)
        ending = [count(pid, pid % 7 + 1) for pid in pids]
        totals.update(read(model, second, [], [listener(100, list(map(holder, pids)))], ending))
        accepted += sum(one.accepts for one in ending)
        assert totals.sites[SITE].accepts == accepted
        most = max(most, len(totals.workers))
    assert most <= {"name": 1, "slot": 81, "pid": 40 * 11 + 1}[naming]
    assert len(totals._slots) <= 1


def test_hundreds_of_listeners_that_come_and_go_add_up_and_leave_nothing() -> None:
    model, totals = Tracker(META, None, 0.0, SEES), Totals("pid", keep_s=5)
    accepted = most = 0
    for second in range(1, 31):
        inodes = range(second * 100, second * 100 + 20)
        now = [listener(inode, [holder(inode)], port=inode % 60_000 + 1) for inode in inodes]
        counts = [count(inode, 3, inode) for inode in inodes]
        totals.update(read(model, second, counts, now, []))
        accepted += sum(one.accepts for one in counts)
        most = max(most, len(totals.sites))
    shown = [known.accepts for site, known in totals.sites.items() if site != ELSEWHERE]
    assert set(shown) == {3}
    assert 20 * 5 <= len(shown) < accepted / 3
    assert most <= 20 * 7 + 64 + 32  # for 5 s, and what the model itself keeps apart
    steadies = (*totals.counters.values(), *totals.waits, totals.waited_us)
    assert all(len(steady.values) <= most for steady in steadies)


def test_pids_without_an_end_are_forgotten_before_their_time() -> None:
    totals = Totals("pid", keep_s=1e9)
    picture = reuseport((3, 4))
    for second in range(1, 60):
        rows = tuple(
            replace(row, pid=second * 1000 + pid, accepts_interval=1)
            for pid in range(100)
            for row in picture.acceptors[:1]
        )
        totals.update(replace(picture, acceptors=rows, elapsed_s=float(second)))
    assert MOST_GONE < len(totals.workers) <= MOST_GONE + 100


def test_names_are_told_apart_only_so_far() -> None:
    totals = Totals("name")
    picture = reuseport((3,))
    rows = tuple(
        replace(picture.acceptors[0], name=f"w{n}", accepts_interval=1)
        for n in range(MOST_NAMES + 9)
    )
    totals.update(replace(picture, acceptors=rows))
    accepts = {member.name: worker.accepts for member, worker in totals.workers.items()}
    assert len(accepts) == MOST_NAMES + 1
    assert accepts[OTHERS] == 9
    assert sum(accepts.values()) == totals.sites[SITE].accepts == MOST_NAMES + 9


def test_losses_of_the_listeners_at_an_address_are_added_up() -> None:
    totals = Totals()
    totals.update(troubled())
    found = {name: steady.values.get(SITE) for name, steady in totals.counters.items()}
    assert found["overflow_syn"] == 48
    assert found["overflow_ack"] == 3
    assert found["lost_on_close"] == 203
    assert found["migrated_in"] == found["migrated_out"] == 5
    totals.update(troubled())
    assert totals.counters["lost_on_close"].values[SITE] == 203  # not once more


def test_what_is_not_known_of_one_socket_is_not_known_of_the_address() -> None:
    totals = Totals()
    picture = troubled()
    rows = (replace(picture.listeners[0], overflow_syn=None), *picture.listeners[1:])
    totals.update(replace(picture, listeners=rows))
    assert SITE in totals.counters["overflow_syn"].unknown
    assert SITE not in totals.counters["overflow_ack"].unknown


def test_waits_are_those_of_the_rows() -> None:
    model, totals = tracker(), Totals()
    waits = [0, 7, 8, 9, 1000, 1 << 27]
    one = replace(count(1, len(waits), waits_us=waits), waited_us=sum(waits))
    feed(model, 1, [one], [listener(100, [holder(1)])])
    totals.update(model.snapshot())
    counts = totals.wait_counts(SITE)
    running = [sum(counts[: at + 1]) for at in range(len(BOUNDS_US))]
    expected = [sum(wait < bound for wait in waits) for bound in BOUNDS_US]
    assert running == expected
    assert sum(counts) == len(waits)
    assert totals.waited_us.values[SITE] == sum(waits)


def test_open_connections_of_which_one_part_is_unknown_are_unknown() -> None:
    totals = Totals("name")
    picture = reuseport((3, 4))
    one, two = picture.acceptors[:2]
    both = replace(one, open_connections=5), replace(two, open_connections=None)
    totals.update(replace(picture, acceptors=both))
    member = Member(SITE, one.name)
    assert totals.workers[member].open_connections is None
    totals.update(replace(picture, acceptors=(both[0], replace(two, open_connections=0))))
    assert totals.workers[member].open_connections == 5


A, B = Site(1, "a", 1), Site(1, "b", 2)


def test_of_sums_only_what_is_new_counts() -> None:
    steady = Steady()
    for sums, expected in (({A: 3}, 3), ({A: 3}, 3), ({A: 8}, 8)):
        steady.update(sums)
        assert steady.values == {A: expected}


def test_a_sum_that_falls_does_not_take_anything_away() -> None:
    steady = Steady()
    for now in (5, 2, 6):
        steady.update({A: now})
    assert steady.values[A] == 6


def test_what_moved_elsewhere_is_counted_once() -> None:
    steady = Steady()
    steady.update({A: 5, B: 7, ELSEWHERE: 2})
    steady.update({B: 8, ELSEWHERE: 2 + 5 + 1})
    assert steady.values == {A: 5, B: 8, ELSEWHERE: 3}
    steady.update({A: 4, B: 8, ELSEWHERE: 8})  # it listens again
    assert steady.values == {A: 9, B: 8, ELSEWHERE: 3}


def test_what_is_unknown_for_a_while_is_not_counted_twice() -> None:
    steady = Steady()
    steady.update({A: 5, ELSEWHERE: 9})
    steady.update({A: None, ELSEWHERE: None})
    assert steady.unknown == {A, ELSEWHERE}
    steady.update({A: 6, ELSEWHERE: 9})
    assert steady.values == {A: 6, ELSEWHERE: 9}


def test_a_slot_is_the_lowest_that_is_free() -> None:
    slots = Slots()
    assert [slots.take(pid) for pid in (10, 11, 12, 11)] == [0, 1, 2, 1]
    slots.keep({11})
    assert [slots.take(pid) for pid in (13, 14, 15)] == [0, 2, 3]
    assert Counter(map(slots.take, (11, 13, 14, 15))) == Counter(range(4))


def test_who_holds_the_listener_of_another_has_rows_of_its_own() -> None:
    model, totals = tracker(), Totals()
    two: list[Holder] = [holder(1), holder(2, name="gunicorn: worker")]
    feed(model, 1, [count(1, 5), count(2, 4)], [listener(100, two)])
    totals.update(model.snapshot())
    found = {(member.name, member.part): w.accepts for member, w in totals.workers.items()}
    assert found == {(NAME, "0"): 5, ("gunicorn: worker", "0"): 4}
