"""The books of listeners and ports, on invented readings whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from accepttrace.config import Filters
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Baseline,
    Counts,
    Flow,
    Inventory,
    ListenerCount,
    Losses,
    MigrationCount,
    Overflow,
    Passed,
    PortCount,
    Program,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.books import CPUS, UNBOUNDED, Account, Passage, Span
from accepttrace.model.listeners import CHANGES_KEPT
from accepttrace.model.snapshot import GroupSize, Migration, SelectorChange
from accepttrace.model.tallies import LAST
from accepttrace.model.tracker import Tracker
from tests.unit.pictures import META, count, counted, feed, listener

BY_PORT = Sight.of("accepts", "empty", "errors", "refused", "closed", "unseen")
EVERYTHING = replace(BY_PORT, selected=True, overflow=True, arrived=True, migrated=True)


def at_rest(came: int, left: int) -> tuple[Span, Span]:
    return Span(came, came), Span(left, left)


def flow(arrived: int | None = 0, lost: int | None = 0, moved: tuple[int, int] = (0, 0)) -> Flow:
    """`moved`: in and out."""
    return Flow(arrived, lost, moved[0], moved[1], 0)


def passing(inode: int, passed: Flow, **facts: int) -> ListenerCount:
    return replace(counted(inode), flow=passed, **facts)  # type: ignore[arg-type]


def model(sees: Sight = EVERYTHING, filters: Filters | None = None) -> Tracker:
    return Tracker(META, filters or Filters(), 0.0, sees)


def test_an_account_agrees_with_any_queue_at_the_start() -> None:
    account = Account(high=129)
    assert account.check(*at_rest(0, 0), queue=7, takers=1) == 0
    assert account.check(*at_rest(0, 0), queue=7, takers=1) == 0
    assert (account.low, account.high) == (7, 7)
    assert account.check(*at_rest(50, 57), queue=0, takers=1) == 0


def test_before_the_first_reading_nothing_is_certain_and_nothing_missing() -> None:
    account = Account(high=0)
    assert (account.is_exact, account.imbalance) == (False, 0)


@pytest.mark.parametrize(("left", "imbalance"), [(47, 3), (50, 0), (52, -2)])
def test_what_is_missing_or_counted_twice_is_reported_to_the_last_one(
    left: int, imbalance: int
) -> None:
    account = Account(high=0)
    account.check(*at_rest(50, left), queue=0, takers=4)  # may still be under way
    assert account.check(*at_rest(50, left), queue=0, takers=4) == imbalance


@pytest.mark.parametrize("to_lose", [0, 1, 5])
def test_under_load_no_reading_accuses_and_at_rest_every_loss_shows(to_lose: int) -> None:
    """A queue simulated step by step; counters lag behind it as they do in the kernel."""
    dice = random.Random(7)
    account, queue, came, left, pending = Account(high=129), 20, 0, 0, 0
    for _ in range(2):
        account.check(*at_rest(0, 0), queue=queue, takers=1)
    for step in range(6000):
        before = (came, left)
        left, pending = left + pending, 0
        for _ in range(dice.randrange(4)):
            queue, came = queue + 1, came + 1
        seen = queue
        if queue:
            queue, pending = queue - 1, 1  # taken, and counted only in the next step
            seen = queue if dice.random() < 0.5 else seen
        if to_lose and step % 1000 == 0 and step < 1000 * to_lose:
            pending = 0
        found = account.check(Span(before[0], came), Span(before[1], left), seen, takers=1)
        assert found == 0 or to_lose
    lost = came + 20 - queue - left - pending
    left += pending
    for _ in range(2):
        found = account.check(*at_rest(came, left), queue=queue, takers=1)
    assert found == lost
    assert bool(lost) == bool(to_lose)


def test_the_start_is_what_was_seen_then_but_for_what_the_bounds_forbid() -> None:
    account = Account(high=10)
    account.check(Span(100, 140), Span(90, 130), queue=5, takers=4)  # amid a load
    assert [account.start(seen) for seen in (-1, 0, 3, 11)] == [0, 0, 3, 10]
    for _ in range(2):
        account.check(*at_rest(150, 148), queue=4, takers=4)
    assert account.start(0) == account.start(9) == 2


def test_what_else_is_known_of_the_start_counts_where_the_bounds_allow_it() -> None:
    account = Account(high=10)
    account.check(Span(100, 140), Span(90, 130), queue=5, takers=4)
    assert [account.start(seen, 2, 3) for seen in (0, 2, 7)] == [2, 2, 3]
    assert account.start(4, 11, 20) == 4


def test_without_bounds_anything_may_have_waited() -> None:
    account = Account()
    assert account.check(*at_rest(0, 0), queue=100_000, takers=0) == 0
    assert account.check(*at_rest(0, 0), queue=100_000, takers=0) == 0
    assert (account.low, account.high) == (100_000, 100_000)
    nothing = Passage(0, 10, 1, 1, 0, 0, None, 0, 0)
    assert nothing.start_bounds() == (0, UNBOUNDED)
    assert nothing._replace(now_us=0, waited_us=3).start_bounds() == (0, UNBOUNDED)
    assert nothing._replace(now_us=0).mean_length(7) == 7.0


def test_a_mean_length_is_what_the_waits_allow() -> None:
    """One waits, and came at 8 at the earliest; by the sum of times it would be 5."""
    passage = Passage(0, 10, 1, 0, 5, 0, 0, 0, oldest_us=8)
    assert passage.mean_length(0) == pytest.approx(0.2)
    assert passage._replace(came=3, left=2).mean_length(0) == pytest.approx(0.2)
    assert passage._replace(waited_us=1).mean_length(0) == pytest.approx(0.3)
    assert passage._replace(waited_us=None).mean_length(0) == pytest.approx(0.5)
    assert passage._replace(came=0, waited_us=4, carried_us=1, came_us=0).mean_length(0) == 0.3


def test_a_mean_length_is_weighted_by_time() -> None:
    # 2 wait from the start; one more comes at 4 s; all three leave at 6, 7 and 8 s; 10 s in all
    passage = Passage(0, 10_000_000, 1, 3, 4_000_000, 21_000_000, None, 0, 0)
    assert passage.mean_length(2) == pytest.approx((6 + 7 + 8 - 4) / 10)
    wrapped = passage._replace(came_us=4_000_000 - (1 << 64))
    assert wrapped.mean_length(2) == pytest.approx(1.7)
    assert Passage(7, 7, 0, 0, 0, 0, None, 0, 0).mean_length(5) == 5
    assert Passage(7, 7, 0, 0, 0, 0, 0, 0, 0).start_bounds()[1] >= 5


def passages(seed: int, start: int, steps: int = 400) -> Iterator[tuple[Passage, float]]:
    """What is read of a queue that never rests, and its true mean, at one moment after the other.

    Times begin where a machine has long been up.
    """
    dice = random.Random(seed)
    began = now = 10**12
    queue = [began - 50_000 * (start - nth) for nth in range(start)]
    came: list[int] = []
    waits: list[int] = []
    left_us = oldest = area = 0
    for _ in range(steps):
        after = now + dice.randrange(1, 3_000)
        area, now = area + len(queue) * (after - now), after
        if queue and dice.random() < 0.55:
            ready = queue.pop(0)
            left_us, oldest = left_us + now, max(ready, began)
            waits.append(now - max(ready, began))
        else:
            queue.append(now)
            came.append(now)
        counters = len(came), len(waits), sum(came), left_us, sum(waits)
        yield Passage(began, now, *counters, 0, oldest or began), area / (now - began)


@pytest.mark.parametrize("start", [0, 1, 7])
def test_the_waits_tell_how_long_the_queue_was_in_the_beginning(start: int) -> None:
    for seed in range(20):
        for passage, mean in passages(seed, start):
            low, high = passage.start_bounds()
            assert low <= start <= high
            assert passage.mean_length(start) == pytest.approx(mean)
        assert (low, high) == (start, start)


def test_no_slip_makes_the_mean_wrong_that_the_waits_tell() -> None:
    """A start that is wrong by one, or a reading amid a count and the time that belongs to it."""
    for seed in range(5):
        *_, (passage, mean) = passages(seed, 2, 4000)
        for torn in (
            passage,
            passage._replace(came=passage.came + 1),
            passage._replace(left=passage.left + 1),
            passage._replace(left_us=passage.left_us + passage.now_us),
        ):
            for start in (1, 2, 3):
                assert torn.mean_length(start) == pytest.approx(mean, abs=0.1)
        assert passage._replace(waited_us=None, came=passage.came + 1).mean_length(2) > 1000


def test_what_waited_in_another_queue_is_not_of_this_one() -> None:
    """One waits elsewhere for 6 s and here for 2 s; another came later and is still there."""
    seconds = 1_000_000
    here = Passage(0, 10 * seconds, 2, 1, 15 * seconds, 8 * seconds, 8 * seconds, 6 * seconds, 0)
    assert here.start_bounds()[0] == 0
    assert here.mean_length(0) == pytest.approx((2 + 1) / 10)


def test_the_books_of_a_listener() -> None:
    it = model()
    feed(it, 1, [], [listener(100, queue=4)])
    passed = passing(100, flow(arrived=30, lost=1, moved=(5, 2)), queue_max=9, stops=0)
    for second in (2, 3):
        feed(it, second, [count(1, 30)], [listener(100, queue=6)], counted=[passed])
    row = it.snapshot().listeners[0]
    assert (row.book, row.imbalance, row.unseen) == ("balanced", 0, 0)
    assert row.queue_start == 4
    assert (row.arrived, row.lost_on_close, row.migrated_in, row.migrated_out) == (30, 1, 5, 2)
    assert (row.queue, row.queue_max, row.capacity) == (6, 9, 512)
    feed(it, 4, [count(1, 30)], [listener(100, queue=3)], counted=[passed])
    books, row = it.snapshot().books, it.snapshot().listeners[0]
    assert (row.book, row.imbalance) == ("unbalanced", 3)
    assert (books.word, books.balanced) == ("unbalanced", False)


def test_the_queue_that_was_met_at_the_start_may_be_the_longest() -> None:
    it = model()
    drained = passing(100, flow(), queue_max=0, queue_start=4)
    for second in (1, 2):
        feed(it, second, [count(1, 4)], [listener(100, queue=0)], counted=[drained])
    row = it.snapshot().listeners[0]
    assert (row.queue_start, row.queue_max, row.book) == (4, 4, "balanced")


def test_a_listener_that_was_not_there_at_the_start_began_empty() -> None:
    it = model()
    feed(it, 1, [], [listener(100)])
    late = [listener(100), listener(101, queue=1)]
    for second in (2, 3):
        feed(it, second, [], late, counted=[passing(101, flow(arrived=0))])
    rows = {row.inode: row for row in it.snapshot().listeners}
    assert (rows[101].book, rows[101].imbalance) == ("unbalanced", -1)
    assert rows[100].book == "balanced"


def test_what_closed_keeps_its_totals_and_holds_nothing() -> None:
    it = model()
    feed(it, 1, [], [listener(100, queue=3)])
    gone = passing(100, flow(arrived=5, lost=4), stops=1)
    for second in (2, 3):
        feed(it, second, [count(1, 4)], [], counted=[gone])
    row = it.snapshot().listeners[0]
    assert (row.open, row.queue, row.book, row.lost_on_close) == (False, None, "balanced", 4)
    assert row.epoch == 1
    again = replace(gone, stops=1)
    feed(it, 4, [count(1, 4)], [listener(100)], counted=[again])
    assert it.snapshot().listeners[0].epoch == 2


def test_no_verdict_where_not_all_is_counted() -> None:
    passed = [passing(100, flow(arrived=9))]
    by_pid = model(filters=Filters(pids=frozenset({1})))
    feed(by_pid, 1, [count(1, 2)], [listener(100)], counted=passed)
    assert by_pid.snapshot().listeners[0].book == "unchecked"
    mptcp = model()
    feed(mptcp, 1, [], [listener(100)], counted=[replace(passed[0], mptcp=True)])
    assert (mptcp.snapshot().listeners[0].book, mptcp.snapshot().books.balanced) == (
        "unchecked",
        True,
    )
    blind = model(sees=Sight.of("accepts"))
    feed(blind, 1, [count(1, 2)], [listener(100)])
    row = blind.snapshot().listeners[0]
    assert (row.book, row.arrived, row.unseen, row.refused_accepts) == ("unchecked", *(None,) * 3)


def at_port(
    it: Tracker,
    second: int,
    arrived: int,
    accepts: int,
    queues: Sequence[int],
    lost: int | None = 0,
) -> None:
    sockets = [listener(100 + i, queue=queue) for i, queue in enumerate(queues)]
    port = PortCount(sockets[0].netns, 80, arrived)
    one = passing(100, flow(None, lost))
    it.update(
        Reading(
            Counts((count(1, accepts),), (one,), ports=(port,), at_s=second),
            Inventory(tuple(sockets)),
            wall="2026-01-02T12:00:00.000Z",
        )
    )


def test_where_arrivals_are_known_by_port_the_missing_was_accepted_unseen() -> None:
    it = model(BY_PORT)
    at_port(it, 1, 0, 0, [2])
    at_port(it, 2, 0, 0, [2])
    for second in (3, 4):
        at_port(it, second, 40, 30, [1])
    row, books = it.snapshot().listeners[0], it.snapshot().books
    assert (row.unseen, books.unseen, row.book, books.balanced) == (11, 11, "unchecked", True)
    assert row.arrived is None
    for second in (5, 6):
        at_port(it, second, 40, 60, [1])
    row = it.snapshot().listeners[0]
    assert (row.unseen, row.book, row.imbalance) == (11, "unbalanced", -19)


def at_port_once(
    it: Tracker, second: int, port: PortCount, accepts: int, after: Passed | None = None
) -> None:
    it.update(
        Reading(
            Counts((count(1, accepts),), (passing(100, flow(None)),), ports=(port,), at_s=second),
            Inventory((listener(100, queue=0),)),
            passed=after,
            wall="",
        )
    )


@pytest.mark.parametrize(
    ("unmade", "late", "unseen", "at_least"),
    [(0, 0, 3, False), (3, 0, 0, False), (2, 0, 1, False), (0, 2, 1, True), (1, 2, 0, True)],
)
def test_children_of_a_closing_listener_were_accepted_by_nobody(
    unmade: int, late: int, unseen: int, at_least: bool
) -> None:
    it, netns = model(BY_PORT), listener(100).netns
    for second in (1, 2):
        at_port_once(it, second, PortCount(netns, 80, 0), 0)
    for second in (3, 4):
        at_port_once(it, second, PortCount(netns, 80, 10, 0, unmade, late), 7)
    books = it.snapshot().books
    assert (books.unseen, books.unseen_at_least) == (unseen, at_least)


def test_what_left_a_listener_that_came_after_the_counts_is_not_missing() -> None:
    it, netns = model(BY_PORT), listener(100).netns
    for second in (1, 2):
        at_port_once(it, second, PortCount(netns, 80, 0), 0)
    came, takers = PortCount(netns, 80, 40 + CPUS), 1
    for left, missing in ((40 - takers, 0), (0, 40 - takers)):
        after = Passed({}, {100: 0, 999: left}, {(netns, 80): came}, {999: (netns, 80)})
        at_port_once(it, 3, came, 0, after)
        assert it.snapshot().books.unseen == missing


def test_two_listeners_of_a_port_share_its_account() -> None:
    it = model(BY_PORT)
    for second, arrived in ((1, 0), (2, 0), (3, 9), (4, 9)):
        at_port(it, second, arrived, arrived and 4, [0, arrived and 2])
    rows, books = it.snapshot().listeners, it.snapshot().books
    assert [row.unseen for row in rows] == [None, None]
    assert books.unseen == 3


def test_a_queue_that_may_have_moved_leaves_the_port_unchecked() -> None:
    it = model(BY_PORT)
    at_port(it, 1, 4, 4, [0], lost=None)
    row = it.snapshot().listeners[0]
    assert (row.book, row.lost_on_close, row.unseen) == ("unchecked", None, None)


def test_what_passed_while_the_queues_were_read_bounds_them() -> None:
    it = model()
    netns = listener(100).netns
    feed(it, 1, [], [listener(100)])
    feed(it, 2, [], [listener(100)])
    it.update(
        Reading(
            Counts((count(1, 10),), (passing(100, flow(10)),), at_s=3),
            Inventory((listener(100, queue=40),)),
            passed=Passed({100: 60}, {100: 10}, {(netns, 80): PortCount(netns, 80, 0)}),
            wall="",
        )
    )
    assert it.snapshot().listeners[0].book == "balanced"
    it.update(
        Reading(
            Counts((count(1, 10),), (passing(100, flow(60)),), at_s=4),
            Inventory((listener(100, queue=61 + CPUS),)),
            wall="",
        )
    )
    assert it.snapshot().listeners[0].book == "unbalanced"


def test_overflow_refusals_migrations_and_sizes_reach_the_rows() -> None:
    it = model()
    over = replace(passing(100, flow()), overflow=Overflow(48, 3, 1, 12))
    first = replace(listener(100, group=7, size=4), drops=100)
    feed(it, 1, [], [first])
    it.update(
        Reading(
            Counts(
                (count(1, 5, errors={24: 3, 23: 1, 4: 9}),),
                (over,),
                migrations=(MigrationCount(100, 101, 5, 1), MigrationCount(7, 8, 1, 1)),
                at_s=2.5,
            ),
            Inventory((replace(first, group_size=2, drops=151),)),
            wall="",
        )
    )
    shown = it.snapshot()
    row = shown.listeners[0]
    assert (row.dropped_overflow, row.overflow_syn, row.overflow_ack) == (51, 48, 3)
    assert (row.overflow_aborted, row.overflow_peers, row.drops) == (1, 12, 51)
    assert (row.refused_accepts, row.migration_failed) == (4, 0)
    assert row.group_sizes == (GroupSize(1, 4), GroupSize(2.5, 2))
    assert shown.migrations == (Migration(100, 101, 5, 1),)


def test_only_calls_without_a_free_descriptor_are_refused_accepts() -> None:
    for errors, refused in (({24: 3}, 3), ({23: 2, 4: 9}, 2), ({4: 9}, 0)):
        it = model()
        feed(it, 1, [count(1, 5, errors=errors)], [listener(100)])
        assert it.snapshot().listeners[0].refused_accepts == refused


@pytest.mark.parametrize("sees", [EVERYTHING, BY_PORT])
def test_accepts_without_a_row_are_known_accepts(sees: Sight) -> None:
    it = model(sees)
    netns = listener(100).netns
    known = sees.arrived
    for second in (1, 2, 3, 4):
        came = 40 * (second > 2)
        row = passing(100, flow(came if known else None), uncounted=came - 10 * (second > 2))
        it.update(
            Reading(
                Counts(
                    (count(1, 10 * (second > 2)),),
                    (row,),
                    ports=(PortCount(netns, 80, came),),
                    at_s=second,
                ),
                Inventory((listener(100, queue=0),)),
                wall="",
            )
        )
    found, books = it.snapshot().listeners[0], it.snapshot().books
    assert (found.accepted, found.book, found.imbalance, found.unseen) == (40, "balanced", 0, 0)
    assert (books.accepts, books.uncounted, books.balanced) == (40, 30, True)


@pytest.mark.parametrize("sees", [EVERYTHING, BY_PORT])
def test_of_a_listener_that_may_have_no_row_nothing_is_claimed(sees: Sight) -> None:
    it = model(sees)
    lost = Losses(map_full=300, rowless=True)
    for second in (1, 2):
        it.update(
            Reading(
                Counts((), (passing(101, flow()),), lost, at_s=second),
                Inventory((listener(100), listener(101, port=81))),
                wall="",
            )
        )
    rows = {row.inode: row for row in it.snapshot().listeners}
    assert (rows[100].arrived, rows[100].selected, rows[100].dropped_overflow) == (None,) * 3
    assert (rows[100].book, rows[100].unseen) == ("unchecked", None)
    assert (rows[101].book, rows[101].arrived) == ("balanced", 0)
    assert not it.snapshot().books.balanced


def test_what_moved_stays_known_when_the_kernel_side_lets_its_row_go() -> None:
    it = model()
    steps: list[list[MigrationCount]] = [
        [MigrationCount(100, 101, 5, 1), MigrationCount(7, 8, 3, 3)],
        [],
        [MigrationCount(100, 101, 2, 0)],
        [MigrationCount(100, 101, 2, 3)],
        [MigrationCount(100, 101, 3, 0)],
    ]
    told = []
    for second, moves in enumerate(steps):
        counts = Counts((), (), migrations=tuple(moves), at_s=second)
        it.update(Reading(counts, Inventory((listener(100), listener(101))), wall=""))
        told.append(it.snapshot().migrations)
    sums = [(5, 1), (5, 1), (7, 1), (7, 4), (10, 4)]
    assert told == [(Migration(100, 101, *amount),) for amount in sums]


def test_a_handshake_that_moved_was_not_cut_off() -> None:
    it = model()
    moved = (MigrationCount(100, 101, 0, 2), MigrationCount(101, 100, 9, 9))
    closed = (passing(100, flow(), cut_off=5), passing(101, flow(), cut_off=0))
    counts = Counts((), closed, migrations=moved, at_s=1)
    sockets = tuple(listener(inode) for inode in (100, 101, 102))
    it.update(Reading(counts, Inventory(sockets), wall=""))
    rows = {row.inode: row.half_open_lost for row in it.snapshot().listeners}
    assert rows == {100: 3, 101: 0, 102: 0}
    blind = model(Sight.of("accepts"))
    feed(blind, 1, [], [listener(100)])
    assert blind.snapshot().listeners[0].half_open_lost is None


def full_for(it: Tracker) -> dict[int | None, float | None]:
    """By inode."""
    return {row.inode: row.queue_full_s for row in it.snapshot().listeners}


def test_a_queue_is_full_since_the_first_reading_that_found_it_so() -> None:
    it = model()
    told = []
    # The backlog is 511: one more fits in. Who is full when tracing begins was so from the start.
    for second, queue in ((1, 512), (3, 512), (4, 511), (5, 512), (7, 513), (8, 0)):
        feed(it, second, [], [listener(100, queue=queue)])
        told.append(full_for(it)[100])
    assert told == [1.0, 3.0, None, 0.0, 2.0, None]
    late = [listener(100), listener(101, queue=512)]
    feed(it, 9, [], late)
    feed(it, 10, [], late)
    assert full_for(it) == {100: None, 101: 1.0}
    feed(it, 11, [], late[:1])
    assert full_for(it) == {100: None, 101: None}


@pytest.mark.parametrize(("complete", "start"), [(True, 0), (False, 3)])
def test_only_a_complete_baseline_tells_who_came_later(complete: bool, start: int) -> None:
    it = model()
    it.start(Baseline(frozenset({100}), complete=complete))
    for second in (1, 2):
        feed(it, second, [], [listener(100, queue=3), listener(101, queue=3)])
    rows = {row.inode: row for row in it.snapshot().listeners}
    assert (rows[100].queue_start, rows[101].queue_start) == (3, start)
    assert rows[101].imbalance == start - 3


@pytest.mark.parametrize("unseen", [0, 4])
def test_listeners_that_were_summed_up_stay_in_the_account_of_their_port(unseen: int) -> None:
    """One after the other: five come to each, three are accepted and two go with it."""
    it, netns = model(BY_PORT), listener(100).netns
    rows: dict[int, AcceptorCount] = {}
    sockets: dict[int, ListenerCount] = {}
    last = LAST + 8
    for step in range(last + 3):
        there = []
        if step < last:
            inode = 100 + step
            there = [listener(inode, queue=0)]
            rows[inode] = count(1, 3, inode)
            sockets[inode] = passing(inode, flow(None))
            if step:
                sockets[inode - 1] = passing(inode - 1, flow(None, 2), stops=1)
        else:
            sockets[100 + last - 1] = passing(100 + last - 1, flow(None, 2), stops=1)
        came = 5 * min(step + 1, last) - 2 * (step < last) + unseen * (step > 3)
        port = PortCount(netns, 80, came)
        counts = Counts(tuple(rows.values()), tuple(sockets.values()), ports=(port,), at_s=step)
        gone = it.update(Reading(counts, Inventory(tuple(there)), wall=""))
        for key in gone.acceptors:
            rows.pop(key[0], None)
        for inode in gone.listeners:
            sockets.pop(inode, None)
    books = it.snapshot().books
    assert len(it.snapshot().listeners) == LAST + 1
    assert (books.accepts, books.unseen) == (3 * last, unseen)


def test_a_check_is_repeated_only_where_nothing_was_accepted_since() -> None:
    it = model()
    passed = [passing(100, flow(5))]
    for second in (1, 2):
        feed(it, second, [count(1, 5)], [listener(100)], counted=passed)
    before = it.snapshot()
    later = Counts((count(1, 6),), (passing(100, flow(9)),), at_s=3)
    assert not it.confirm(Reading(later, Inventory((listener(100, queue=9),))))
    assert it.snapshot() == before
    same = Counts((count(1, 5),), tuple(passed), at_s=3)
    assert it.confirm(Reading(same, Inventory((listener(100),))))


def test_every_change_of_a_selector_has_its_time() -> None:
    it = model()
    steer, other = Program(5, "steer"), Program(6, "steer")
    by_hash = listener(100, group=7, size=2)
    by_steer = replace(by_hash, selector="ebpf", program=steer)
    by_other = replace(by_steer, program=other)
    taken = [count(1, 1)]
    for at_s, row in ((1, by_hash), (2, by_hash), (2.5, by_steer), (3, by_other), (4, by_hash)):
        feed(it, at_s, taken, [row])
    assert it.snapshot().listeners[0].selectors == (
        SelectorChange(1, "hash"),
        SelectorChange(2.5, "ebpf", steer),
        SelectorChange(3, "ebpf", other),
        SelectorChange(4, "hash"),
    )
    feed(it, 5, taken, [])
    assert len(it.snapshot().listeners[0].selectors) == 4  # also of one that is closed


def test_histories_keep_the_first_and_the_latest_changes() -> None:
    it = model()
    for at_s in range(1, 200):
        listed = listener(100, group=7, size=at_s)
        feed(it, at_s, [], [replace(listed, selector="cbpf" if at_s % 2 else "hash")])
    (row,) = it.snapshot().listeners
    kept = [1, *range(201 - CHANGES_KEPT, 200)]
    assert [size.size for size in row.group_sizes] == kept
    assert [change.elapsed_s for change in row.selectors] == kept


def test_the_mean_length_of_a_late_listener_is_since_it_was_met() -> None:
    it = model()
    feed(it, 1, [], [listener(100)])
    late = passing(101, replace(flow(arrived=2), came_us=2 * 6_000_000))
    feed(it, 5, [], [listener(100), listener(101)])
    for second in (8, 10):
        sockets = [listener(100), listener(101, queue=2)]
        feed(it, second, [], sockets, counted=[late])
    rows = {row.inode: row for row in it.snapshot().listeners}
    # Two came at 6 s and are still there at 10 s.
    assert rows[101].queue_mean == pytest.approx(2 * (10 - 6) / (10 - 5))
