"""Listening sockets: open and closed, known and not, and the rows that are drawn of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import (
    Counts,
    Flow,
    Holder,
    Inventory,
    Listener,
    ListenerCount,
    MigrationCount,
    Overflow,
    Program,
    Unread,
)
from accepttrace.model.listeners import (
    QUEUES_KEPT,
    Known,
    Listeners,
    Uncounted,
    Verdict,
)
from accepttrace.model.places import ELSEWHERE, MOST, Place, Places, at_place, both, place_of
from accepttrace.model.snapshot import ListenerRow
from tests.unit.pictures import counted, has, holder, listener

NETNS = listener().netns
NOTHING = Flow(0, 0, 0, 0, 0)
ALL_SEEN = Uncounted(
    selected=True,
    complete=True,
    nothing_passed=NOTHING,
    no_overflow=Overflow(0, 0, 0, 0),
    no_counts={"requests": 0},
    queues=True,
)
NOTHING_SEEN = Uncounted(False, False, Flow(None, None, None, None, None), None, {}, False)


def full(inode: int = 100) -> ListenerCount:
    return replace(
        counted(inode, 11),
        flow=Flow(1, 2, 3, 4, 5),
        overflow=Overflow(6, 7, 8, 9),
        queue_max=20,
        queue_start=10,
        stops=2,
        uncounted=12,
        cut_off=13,
        counted={"requests": 14},
    )


class Scene:
    """Readings a second apart."""

    def __init__(self, filters: Filters | None = None) -> None:
        self.it = Listeners(filters or Filters())
        self.second = 0.0

    def read(
        self,
        *found: Listener,
        counts: tuple[ListenerCount, ...] = (),
        moved: tuple[int, ...] = (),
        unread: tuple[Unread, ...] = (),
        migrations: tuple[MigrationCount, ...] = (),
    ) -> None:
        self.second += 1
        reading = Counts((), counts, migrations=migrations)
        self.it.update(reading, Inventory(found, unread), moved, self.second)

    def count(self, *counts: ListenerCount) -> None:
        self.second += 1
        self.it.update(Counts((), counts), None, (), self.second)

    def row(
        self, inode: int = 100, uncounted: Uncounted = ALL_SEEN, verdict: Verdict | None = None
    ) -> ListenerRow:
        row = self.it.row(inode, 30, uncounted, verdict or Verdict())
        assert row is not None
        return row


def test_a_row_has_all_that_is_known_of_a_listener() -> None:
    scene = Scene()
    one, other = holder(1), holder(2)
    listed = replace(
        listener(group=7, size=3, queue=5, holders=[one, replace(other, waits=False)]),
        program=Program(4, "p"),
        defers=True,
        half_open=6,
        v6only=False,
        device="eth0",
        oldest_us=77,
    )
    scene.read(listed, listener(101, [other], group=7, size=3), counts=(full(),))
    verdict = Verdict("unbalanced", -3, 2, 9, 0.5, 15, 99)
    has(
        scene.row(verdict=verdict),
        inode=100,
        epoch=3,
        netns=NETNS,
        family="ipv4",
        local_address="0.0.0.0",
        local_port=80,
        device="eth0",
        v6only=False,
        backlog=511,
        capacity=512,
        queue=5,
        queue_start=9,
        queue_max=20,
        queue_full_s=None,
        queue_max_sampled=False,
        queue_mean=0.5,
        oldest_wait_us=77,
        arrived=1,
        accepted=30,
        uncounted=12,
        unseen=2,
        selected=11,
        dropped_overflow=13,
        overflow_syn=6,
        overflow_ack=7,
        overflow_aborted=8,
        overflow_peers=9,
        dropped_syn_queue=None,
        dropped_other=None,
        dropped_unclear=None,
        deferred=None,
        defer_accept=True,
        half_open=6,
        drops=None,
        lost_on_close=2,
        half_open_lost=13,
        migration_failed=5,
        refused_accepts=15,
        migrated_in=3,
        migrated_out=4,
        counted={"requests": 14},
        book="unbalanced",
        imbalance=-3,
        sharing="reuseport",
        group=7,
        group_size=3,
        group_sizes=scene.row().group_sizes,
        selector="hash",
        selector_program=Program(4, "p"),
        selectors=scene.row().selectors,
        open=True,
        ended=0,
        folded=0,
        holders=(one,),
        holders_elsewhere=1,
    )
    assert [(size.elapsed_s, size.size) for size in scene.row().group_sizes] == [(1.0, 3)]


def test_a_closed_one_has_no_queue_and_nobody_holds_it() -> None:
    scene = Scene()
    listed = replace(listener(queue=5, holders=[holder(1)]), half_open=6, oldest_us=77)
    scene.read(listed)
    scene.read()
    row = scene.row(verdict=Verdict(oldest_us=3))
    assert (row.open, row.queue, row.half_open, row.oldest_wait_us) == (False, None, None, None)
    assert (row.holders, row.holders_elsewhere, row.backlog, row.queue_max) == ((), 0, 511, 5)
    assert scene.it.known[100].queue == 0
    assert scene.it.waits(100) == {}


def test_what_the_kernel_does_not_say_of_the_first_is_what_readings_say() -> None:
    scene = Scene()
    scene.read(listener(queue=1))
    assert scene.row(verdict=Verdict(oldest_us=3)).oldest_wait_us == 3
    scene.read(replace(listener(queue=0), oldest_us=9))
    assert scene.row(verdict=Verdict(oldest_us=None)).oldest_wait_us is None


def test_of_a_listener_that_nothing_was_counted_of_it_is_what_could_have_been() -> None:
    scene = Scene()
    scene.read(listener(group=7, size=2))
    quiet, blind = scene.row(), scene.row(uncounted=NOTHING_SEEN)
    zeros = (
        *("arrived", "selected", "dropped_overflow", "overflow_syn", "overflow_ack"),
        *("overflow_aborted", "overflow_peers", "lost_on_close", "half_open_lost"),
        *("migration_failed", "migrated_in", "migrated_out"),
    )
    assert {name: getattr(quiet, name) for name in zeros} == dict.fromkeys(zeros, 0)
    assert {name: getattr(blind, name) for name in zeros} == dict.fromkeys(zeros)
    assert (quiet.counted, blind.counted) == ({"requests": 0}, {})
    assert (quiet.queue_max_sampled, blind.queue_max_sampled) == (False, True)
    assert (quiet.uncounted, blind.uncounted) == (0, 0)
    incomplete = replace(ALL_SEEN, complete=False)
    assert scene.row(uncounted=incomplete).selected is None
    scene.count(full())
    assert scene.row(uncounted=incomplete).selected == 11


@pytest.mark.parametrize(
    ("listed", "chosen", "selected"),
    [
        (listener(group=7, size=2), 3, 3),
        (listener(group=7, size=2), 0, 0),
        (listener(group=7, size=2), None, None),
        (listener(), 3, 3),
        (listener(), 0, None),
        (replace(listener(), sharing=None), 0, 0),
    ],
)
def test_selection_is_shown_where_it_happens(
    listed: Listener, chosen: int | None, selected: int | None
) -> None:
    scene = Scene()
    scene.read(listed, counts=(counted(100, chosen),))
    assert scene.it.selected(100, visible=True) == selected
    assert scene.it.selected(100, visible=False) is None
    assert scene.it.selected(999, visible=True) is None
    scene.count(counted(101, 0))
    assert scene.it.selected(101, visible=True) == 0


def test_handshakes_that_moved_were_not_cut_off() -> None:
    scene = Scene()
    moves = (MigrationCount(100, 101, 9, 4), MigrationCount(100, 102, 9, 5))
    scene.read(listener(), counts=(full(),), migrations=moves)
    assert scene.row().half_open_lost == 4
    scene.read(listener(), counts=(replace(full(), cut_off=8),), migrations=moves[:1])
    assert scene.row().half_open_lost == 0
    scene.read(listener(), counts=(replace(full(), cut_off=None),))
    assert scene.row().half_open_lost is None


def test_a_row_is_drawn_again_when_anything_it_shows_has_changed() -> None:
    scene = Scene()
    scene.read(listener(holders=[holder(1)]), counts=(full(),))
    before = scene.row()
    assert scene.row() is before
    assert scene.it.row(100, 31, ALL_SEEN, Verdict()) != before
    assert scene.row(verdict=Verdict("balanced")).book == "balanced"
    scene.read(listener(queue=3, holders=[holder(1)]), counts=(full(),))
    assert scene.row().queue == 3
    scene.count(replace(full(), flow=NOTHING))
    assert scene.row().arrived == 0
    scene.read(listener(101, group=1, size=1))
    assert scene.row().open is False
    assert scene.it.row(999, 0, ALL_SEEN, Verdict()) is None


def test_a_full_queue_ages_with_the_readings() -> None:
    scene = Scene()
    for listed in (listener(queue=511), listener(queue=512), listener(queue=600)):
        scene.read(listed)
    assert scene.row().queue_full_s == 1.0
    assert scene.row() == scene.row()
    scene.count()
    assert scene.row().queue_full_s == 2.0
    scene.read()
    assert scene.row().queue_full_s is None
    for listed in (replace(listener(queue=600), backlog=None), listener(queue=None)):
        scene.read(listed)
        assert scene.row().queue_full_s is None


@pytest.mark.parametrize(
    ("facts", "longest"),
    [
        ({"queue_max": 3, "queue_start": 2}, 5),
        ({"queue_max": 7, "queue_start": 2}, 7),
        ({"queue_max": 3, "queue_start": 9}, 9),
        ({"queue_max": None, "queue_start": None}, 5),
    ],
)
def test_the_longest_queue_is_of_whoever_saw_it(facts: dict[str, int], longest: int) -> None:
    known = Known(counted=replace(counted(), **facts))  # type: ignore[arg-type]
    known.look(listener(queue=5))
    known.look(listener(queue=4))
    known.look(listener(queue=None))
    assert known.longest == longest
    assert Known().longest is None
    assert Known(queue_max=0).longest == 0


def test_an_epoch_is_each_time_that_it_began_to_listen() -> None:
    assert [Known(open=is_open).epoch for is_open in (True, False)] == [1, 1]
    stopped = replace(counted(), stops=2)
    assert [Known(counted=stopped, open=is_open).epoch for is_open in (True, False)] == [3, 2]
    assert Known(counted=stopped, epochs_before=4).epoch == 7


UNTOUCHED = replace(counted(), flow=NOTHING, overflow=Overflow(0, 0, 0, 0), queue_max=0)
TOUCHED: list[dict[str, object]] = [
    {"requests": 1},
    {"uncounted": 1},
    {"drops": 1},
    {"cut_off": 1},
    {"queue_max": 1},
    {"queue_start": 1},
    {"overflow": Overflow(1, 0, 0, 0)},
    {"overflow": Overflow(0, 1, 0, 0)},
    {"flow": Flow(1, 0, 0, 0, 0)},
    {"flow": Flow(0, 1, 0, 0, 0)},
    {"flow": Flow(0, 0, 1, 0, 0)},
    {"flow": Flow(0, 0, 0, 1, 0)},
]


@pytest.mark.parametrize("facts", TOUCHED)
def test_any_client_touches_a_listener(facts: dict[str, object]) -> None:
    assert Known(counted=UNTOUCHED).untouched
    assert not Known(counted=replace(UNTOUCHED, **facts)).untouched  # type: ignore[arg-type]


def test_what_is_half_open_touches_a_listener_while_it_is_open() -> None:
    half = replace(listener(), half_open=1)
    assert not Known(listed=half).untouched
    assert Known(listed=half, open=False).untouched
    assert Known(listed=replace(listener(), half_open=0)).untouched
    assert Known().untouched
    assert Known(counted=replace(counted(), flow=None, drops=None, cut_off=None)).untouched
    assert not Known(queue_max=1).untouched


@pytest.mark.parametrize("name", ["imbalance", "unseen", "start", "refused"])
def test_a_verdict_is_plain_where_nothing_happened(name: str) -> None:
    assert Verdict("balanced", 0, 0, 0, 0.0, 0).is_plain
    assert Verdict().is_plain
    facts: dict[str, Any] = {name: 1}
    assert not Verdict()._replace(**facts).is_plain


def test_who_waited_at_a_reading_left_when_as_many_have() -> None:
    known = Known(listed=listener(queue=2))
    assert known.oldest_us(10, 10, 1000) == 0  # numbers 11 and 12 wait
    known.look(listener(queue=3))
    assert known.oldest_us(11, 11, 1500) == 500  # 12 is the first now: he was there
    assert known.oldest_us(12, 12, 1700) == 200  # 13 was there at 1500
    assert known.oldest_us(12, 14, 1900) == 200  # 15 came by 1700
    known.look(listener(queue=0))
    assert known.oldest_us(15, 15, 2000) is None
    known.look(listener(queue=1))
    assert known.oldest_us(15, 15, 2100) == 0


def test_few_readings_of_a_queue_are_kept() -> None:
    known = Known(listed=listener(queue=2))
    for now_us in range(QUEUES_KEPT + 9):
        assert known.oldest_us(0, 0, now_us) == now_us
    assert len(known.queues) == QUEUES_KEPT


def test_a_listed_socket_is_gone_when_a_list_lacks_it() -> None:
    scene = Scene()
    scene.read(listener(), listener(101))
    scene.read(listener(101))
    assert [scene.it.is_open(inode) for inode in (100, 101, 102)] == [False, True, False]
    assert (scene.it.known[100].until_s, scene.it.ending) == (2.0, [])
    scene.read(listener(101), moved=(100,))
    assert scene.it.ending == []
    scene.read(listener(101))
    assert (scene.it.known[100].until_s, scene.it.ending) == (2.0, [100])
    scene.it.finish(100)
    assert (scene.it.ending, list(scene.it.finished)) == ([], [100])
    scene.read(listener(), listener(101))
    assert (scene.it.is_open(100), scene.it.known[100].until_s) == (True, None)


def test_what_only_the_kernel_side_knows_is_gone_after_two_lists_of_its_namespace() -> None:
    scene = Scene()
    elsewhere = replace(counted(101), netns=1)
    stopped = replace(counted(102), stops=1)
    found = (counted(100), elsewhere, stopped)
    scene.read(listener(7), counts=found)
    assert [scene.it.is_open(inode) for inode in (100, 101, 102)] == [True, True, False]
    scene.read(listener(7), counts=found)
    assert [scene.it.is_open(inode) for inode in (100, 101, 102)] == [False, True, False]
    assert [scene.it.known[inode].until_s for inode in (100, 101, 102)] == [2.0, None, 1.0]
    scene.read(listener(7), counts=(replace(counted(100), requests=1), *found[1:]))
    assert scene.it.known[100].missing == 1


def test_what_was_counted_before_any_list_is_gone_after_two_as_well() -> None:
    scene, seen = Scene(), counted(100)
    scene.count(seen)
    for is_open in (True, False):
        scene.read(listener(7), counts=(seen,))
        assert scene.it.is_open(100) is is_open


def test_sizes_of_a_group_have_their_time_in_milliseconds() -> None:
    scene = Scene()
    scene.second = 0.23456
    scene.read(listener(group=7, size=3))
    assert [one.elapsed_s for one in scene.it.known[100].sizes] == [1.235]


def test_a_group_has_the_sizes_that_it_changed_to() -> None:
    scene = Scene()
    for size in (3, 3, 4, 4, 3, 2, 2):
        scene.read(listener(group=7, size=size))
    sizes = [(one.elapsed_s, one.size) for one in scene.row().group_sizes]
    assert sizes == [(1.0, 3), (3.0, 4), (5.0, 3), (6.0, 2)]


def test_who_came_after_the_start_came_late() -> None:
    scene = Scene()
    scene.read(listener(), unread=(Unread("x", "y", 1),))
    scene.read(listener(), listener(101))
    scene.read(listener(), listener(101), listener(102), unread=(Unread("x", "y", 1),))
    scene.read(*map(listener, range(100, 104)))
    assert [scene.it.known[inode].met_late for inode in range(100, 104)] == [
        *(False, False, True, True)
    ]
    assert [scene.it.known[inode].since_s for inode in range(100, 104)] == [1.0, 2.0, 3.0, 4.0]


def test_what_was_let_go_is_not_counted_again_until_it_begins_anew() -> None:
    scene, closed = Scene(), replace(full(), stops=1)
    scene.read(listener(), counts=(full(), counted(200, 1)))
    assert scene.it.uncounted == [(100, 12)]
    for _ in range(2):
        scene.read(listener(7), counts=(closed,))
    assert scene.it.returning(Counts((), (closed,)), None) == []
    scene.it.finish(100)
    assert (list(scene.it.parting), scene.it.uncounted) == ([100], [])
    assert scene.it.returning(Counts((), (closed,)), None) == []
    assert scene.it.returning(Counts((), (full(),)), None) == [100]
    assert scene.it.returning(Counts(), Inventory((listener(),))) == [100]
    scene.it.drop(100, returns=True)
    scene.count(closed)
    assert 100 not in scene.it.known
    assert list(scene.it.parting) == [100]
    scene.count(closed, counted(200, 5))
    assert scene.it.known[200].counted == counted(200, 5)
    scene.count(replace(closed, stops=0))
    assert scene.it.known[100].epoch == 2
    assert list(scene.it.parting) == []


def test_one_that_is_dropped_for_good_begins_at_the_first_epoch() -> None:
    scene = Scene()
    scene.read(listener(), counts=(full(),))
    scene.it.drop(100)
    assert scene.it.known == {}
    scene.read(listener())
    assert scene.it.known[100].epoch == 1


def test_a_filter_lets_in_what_it_asks_for_and_whom_nothing_describes() -> None:
    scene = Scene(Filters(ports=frozenset({80})))
    scene.read(listener(), listener(101, port=81))
    assert [scene.it.lets_in(one) for one in (100, 101, 102, ELSEWHERE)] == [
        *(True, False, True, True)
    ]
    scene.read(listener())
    assert scene.it.lets_in(101)
    by_address = Scene(Filters(addresses=frozenset({"0.0.0.0"})))
    by_address.read(listener())
    assert [by_address.it.lets_in(one) for one in (100, 102)] == [True, False]


def test_nobody_is_listed_who_was_only_counted() -> None:
    scene = Scene()
    scene.read(listener(), counts=(counted(101, 5),))
    assert [scene.it.is_listed(one) for one in (100, 101, 102, ELSEWHERE)] == [
        *(True, False, False, False)
    ]
    assert [scene.it.is_open(one) for one in (100, 101, 102, ELSEWHERE)] == [
        *(True, True, False, False)
    ]
    assert scene.it.selections == [5]
    assert scene.it.facts(100) == listener()
    assert scene.it.facts(101) == counted(101, 5)
    assert scene.it.facts(102) is None
    assert scene.it.waits(ELSEWHERE) == {}


def test_groups_are_one_for_each_namespace_family_and_port() -> None:
    scene = Scene()
    one = listener(group=7, size=2)
    others = [replace(one, inode=101, netns=1), replace(one, inode=102, local_port=81)]
    others += [replace(one, inode=103, family="ipv6"), replace(one, inode=104, group=8)]
    scene.read(one, *others, replace(one, inode=105), listener(106))
    sets = [scene.it.set_of(inode) for inode in range(100, 108)]
    assert sets[0] == sets[5] == ("group", 7, NETNS, "ipv4", 80)
    assert len(set(sets)) == 7
    assert sets[6:] == [("socket", 106), ("socket", 107)]
    assert scene.it.set_of(ELSEWHERE) == ("socket", ELSEWHERE)


def test_changes_are_those_of_sockets_and_of_who_waits() -> None:
    scene, one = Scene(), listener(holders=[holder(1)])
    steps = [
        one,
        replace(one, holders=(holder(1), holder(2))),
        replace(one, group=7, holders=(holder(1), holder(2))),
        None,
        one,
    ]
    for step in steps:
        before = scene.it.changes
        for _ in range(2):
            scene.read(*([step] if step else []))
            assert scene.it.changes > before
        at_rest = scene.it.changes
        scene.read(*([replace(step, queue=9)] if step else []))
        assert scene.it.changes == at_rest
    scene.it.drop(100)
    assert scene.it.changes > at_rest


def test_who_was_seen_to_wait_is_believed_for_a_few_looks() -> None:
    scene = Scene()
    scene.read(listener(holders=[holder(1), holder(2, False), holder(3, None)]))
    assert scene.it.waits(100) == {(1, 1): True, (2, 2): False, (3, 3): None}
    busy = [holder(1, False), holder(2, False), holder(3, None)]
    for _ in range(5):
        scene.read(listener(holders=busy))
        assert scene.it.waits(100)[1, 1] is True
    scene.read(listener(holders=busy))
    assert scene.it.waits(100) == {(1, 1): False, (2, 2): False, (3, 3): None}
    scene.read(listener(holders=[holder(1)]))
    for _ in range(5):
        scene.read(listener(holders=busy))
        assert scene.it.waits(100)[1, 1] is True


@pytest.mark.parametrize(
    ("looks", "answer"),
    [
        ((True, False), True),
        ((False, True), True),
        ((None, True), True),
        ((True, None), True),
        ((False, None), None),
        ((None, False), None),
        ((False, False), False),
    ],
)
def test_a_process_waits_if_it_does_on_one_of_its_descriptors(
    looks: tuple[bool | None, bool | None], answer: bool | None
) -> None:
    scene = Scene()
    found = [holder(1, look, fd=fd) for fd, look in enumerate(looks)]
    scene.read(listener(holders=found))
    assert scene.it.waits(100) == {(1, 1): answer}


def test_holders_of_a_group_are_those_who_wait_here_or_nowhere() -> None:
    def member(inode: int, *waiting: int) -> Listener:
        found: list[Holder] = [holder(pid, pid in waiting) for pid in (1, 2, 3)]
        return listener(inode, found, group=7, size=2)

    def pids(inode: int) -> list[int]:
        return [one.pid for one in scene.it.holders(inode)]

    scene = Scene()
    scene.read(member(100), member(101))
    assert [pids(100), pids(101), pids(102)] == [[1, 2, 3], [1, 2, 3], []]
    scene.read(member(100, 1), member(101, 2))
    assert [pids(100), pids(101)] == [[1, 3], [2, 3]]
    scene.read(member(101, 2))
    assert [pids(100), pids(101)] == [[], [1, 2, 3]]


ROW = Scene()
ROW.read(listener(), counts=(full(),))


def of(name: str, value: object) -> ListenerRow:
    return replace(ROW.row(), **{name: value})  # type: ignore[arg-type]


SUMS = {
    *("queue_start", "arrived", "uncounted", "unseen", "dropped_overflow", "overflow_syn"),
    *("overflow_ack", "overflow_aborted", "overflow_peers", "dropped_syn_queue", "dropped_other"),
    *("dropped_unclear", "deferred", "drops", "lost_on_close", "half_open_lost", "ended"),
    *("migration_failed", "refused_accepts", "migrated_in", "migrated_out"),
}


@pytest.mark.parametrize("name", sorted(SUMS))
def test_numbers_add_up_where_both_are_known(name: str) -> None:
    assert getattr(both(of(name, 3), of(name, 4)), name) == 7
    assert getattr(both(of(name, None), of(name, 4)), name) is None
    assert getattr(both(of(name, 3), of(name, None)), name) is None


@pytest.mark.parametrize("name", ["selected", "imbalance"])
def test_what_is_not_known_of_one_says_nothing_of_the_other(name: str) -> None:
    pairs = ((3, 4), (None, 4), (3, None), (None, None), (0, None))
    found = [getattr(both(of(name, one), of(name, other)), name) for one, other in pairs]
    assert found == [7, 4, 3, None, 0]


def test_two_rows_in_one_have_the_worst_word_and_the_longest_queue() -> None:
    one, other = of("queue_max", 5), replace(of("queue_max", None), accepted=4, local_port=81)
    for pair in ((one, other), (other, one)):
        found = both(*pair)
        assert (found.queue_max, found.accepted, found.queue_max_sampled) == (5, 34, False)
        assert found.local_port == pair[0].local_port
    assert both(one, of("queue_max", 9)).queue_max == 9
    assert both(one, of("queue_max_sampled", True)).queue_max_sampled
    assert both(of("queue_max_sampled", True), one).queue_max_sampled
    assert both(other, other).queue_max is None
    words = ("balanced", "unchecked", "unbalanced")
    worst = [[both(of("book", a), of("book", b)).book for b in words] for a in words]
    assert worst == [[*words], ["unchecked", *words[1:]], ["unbalanced"] * 3]
    some = both(of("counted", {"a": 1, "b": 2}), of("counted", {"b": 3, "c": 4}))
    assert some.counted == {"b": 5}


def test_a_place_has_nothing_of_one_listener_alone() -> None:
    place = Place(NETNS, "ipv4", "0.0.0.0", 80)
    row = at_place(ROW.row(), place)
    kept = {field.name: getattr(row, field.name) for field in fields(row)}
    same = SUMS - {"ended"} | {"selected", "imbalance", "accepted", "counted", "book", "queue_max"}
    same |= {"queue_max_sampled", "netns", "family", "local_address", "local_port"}
    assert {name for name in kept if kept[name] == getattr(ROW.row(), name)} >= same
    others = {name: value for name, value in kept.items() if name not in same}
    assert {name for name, value in others.items() if value is not None} == {
        *("epoch", "group_sizes", "selectors", "open", "ended", "folded", "holders"),
        "holders_elsewhere",
    }
    assert (row.epoch, row.open, row.ended, row.folded, row.holders_elsewhere) == (
        *(1, False, 1, 0, 0),
    )
    assert (row.group_sizes, row.selectors, row.holders) == ((), (), ())


def at(address: int, port: int = 80) -> ListenerRow:
    return replace(ROW.row(), local_address=f"10.0.0.{address}", local_port=port)


def test_so_many_addresses_have_a_place_each_and_the_others_one_a_port() -> None:
    places = Places()
    for address in range(MOST):
        place = place_of(at(address))
        assert places.has_room(place)
        assert places.nearest(at(address)) == place
        places.fold(at(address), place)
    assert places.has_room(place_of(at(MOST - 1)))
    assert places.nearest(at(MOST)) == Place(port=80)
    for port in range(1, MOST + 1):
        assert places.nearest(at(MOST, port)) == Place(port=port)
        places.fold(at(MOST, port), Place(port=port))
    assert places.nearest(at(MOST, MOST + 1)) == ELSEWHERE
    assert places.nearest(at(MOST, MOST)) == Place(port=MOST)
    assert len(places.own) == MOST


def test_a_whole_place_becomes_part_of_a_wider_one() -> None:
    places, place = Places(), place_of(at(1))
    for _ in range(3):
        places.fold(at(1), place)
    places.fold(at(2), place_of(at(2)))
    assert (places.folded(place), places.folded(ELSEWHERE)) == (3, 0)
    assert places.merge(place) == Place(port=80)
    assert places.own == {place_of(at(2))}
    assert places.folded(place) == 0
    row = places.rows[Place(port=80)]
    assert (row.ended, row.accepted, row.netns, row.local_address) == (3, 90, None, None)
    assert (row.family, row.local_port) == (None, 80)
