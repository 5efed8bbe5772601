"""The dead leave the kernel's maps and the rows, never the totals; the yardstick follows them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count as numbers
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accepttrace.config import By
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Counts,
    Gone,
    Inventory,
    ListenerCount,
    Losses,
    Overflow,
    Passed,
    Process,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.books import CPUS
from accepttrace.model.entries import plus
from accepttrace.model.grains import GRAINS
from accepttrace.model.places import MOST, Place, Places, place_of
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from accepttrace.model.tallies import LAST
from accepttrace.model.tracker import Tracker
from tests.unit.pictures import LONG_AGO_S, count, feed, holder, listener, tracker
from tests.unit.test_books import BY_PORT, EVERYTHING, flow, model, passing

NGINX = Process(1, 1, "nginx", "nginx: worker")
Key = tuple[int, int, int]


def key_of(row: AcceptorCount) -> Key:
    return row.listener_inode, row.tid, row.start_ns


@dataclass
class Kernel:
    """Maps that keep every row until the model has said that it may go, as the real ones do."""

    it: Tracker
    rows: dict[Key, AcceptorCount] = field(default_factory=dict)
    sockets: dict[int, ListenerCount] = field(default_factory=dict)
    open: dict[int, list[int]] = field(default_factory=dict)  # inode → pids that wait there
    dead: set[int] = field(default_factory=set)
    taken: Counter[int] = field(default_factory=Counter)  # accepts by inode
    listed: set[int] = field(default_factory=set)
    now: float = 0.0

    def accept(self, pid: int, inode: int, number: int) -> None:
        row = count(pid, number, inode)
        before = self.rows.get(key_of(row))
        self.rows[key_of(row)] = replace(row, accepts=number + (before.accepts if before else 0))
        self.taken[inode] += number
        self.sockets.setdefault(inode, passing(inode, flow()))

    @property
    def accepts(self) -> int:
        return self.taken.total()

    def read(self, *, drain: bool = False) -> Gone:
        self.now += 1
        ended = frozenset(key for key, row in self.rows.items() if row.pid in self.dead)
        counts = Counts(
            tuple(self.rows.values()),
            tuple(self.sockets.values()),
            at_s=self.now,
            ended=ended,
            ahead_s=LONG_AGO_S,
        )
        size = len(self.open)
        found = [
            listener(inode, [holder(pid) for pid in pids], group=7 if size > 1 else None, size=size)
            for inode, pids in self.open.items()
        ]
        self.listed |= set() if drain else self.open.keys()
        gone = (
            self.it.drain(Reading(counts))
            if drain
            else self.it.update(Reading(counts, Inventory(tuple(found)), wall=""))
        )
        for key in gone.acceptors:
            self.rows.pop(key, None)
        for inode in gone.listeners:
            self.sockets.pop(inode, None)
            self.rows = {key: row for key, row in self.rows.items() if key[0] != inode}
        return gone


def accepts(snapshot: Snapshot) -> int:
    return sum(row.accepts for row in snapshot.acceptors)


def by_pid(snapshot: Snapshot) -> dict[int | None, AcceptorRow]:
    return {row.pid: row for row in snapshot.acceptors}


def test_a_year_of_workers_that_die_is_one_row_and_no_memory() -> None:
    kernel = Kernel(tracker())
    kernel.open[100] = []
    sizes = []
    for pid in range(1000, 1400):
        kernel.open[100] = [pid]
        kernel.accept(pid, 100, 3)
        kernel.read()
        kernel.dead.add(pid)
        kernel.open[100] = []
        kernel.read()
        sizes.append((len(kernel.rows), len(kernel.it.snapshot().acceptors)))
    assert sizes[-1] == sizes[50] == (0, LAST + 1)
    snapshot = kernel.it.snapshot()
    (folded,) = [row for row in snapshot.acceptors if row.pid is None]
    assert (folded.ended, folded.accepts, folded.alive) == (400 - LAST, 3 * (400 - LAST), False)
    assert (folded.name, folded.listener_inode, folded.fair_ratio) == ("nginx: worker", 100, 1.0)
    assert snapshot.books.accepts == accepts(snapshot) == 1200
    assert len(kernel.it._census._known) <= LAST + 1


@pytest.mark.parametrize("by", GRAINS)
def test_what_a_worker_took_in_the_interval_in_which_it_died_is_not_lost(by: By) -> None:
    kernel = Kernel(tracker())
    kernel.open[100] = [1]
    kernel.read()
    for pid in range(10, 10 + 3 * LAST):
        kernel.accept(pid, 100, 2)
        kernel.dead.add(pid)
    kernel.read(drain=True)
    for pid in range(200, 200 + 3 * LAST):
        kernel.accept(pid, 100, 2)
        kernel.dead.add(pid)
    kernel.read()
    snapshot = kernel.it.snapshot(by)
    assert sum(row.accepts_interval for row in snapshot.acceptors) == 12 * LAST
    assert sum(row.accepts_interval for row in kernel.it.summary(by).acceptors) == 12 * LAST
    kernel.read()
    assert sum(row.accepts_interval for row in kernel.it.snapshot(by).acceptors) == 0


def test_a_thread_for_each_accept_stays_in_the_row_of_its_process() -> None:
    it = tracker()
    taken = [count(9, 1, tid=100 + n) for n in range(50)]
    ended = frozenset(map(key_of, taken))
    workers = Inventory((listener(100, [holder(9)]),))
    gone = it.update(
        Reading(Counts(tuple(taken), at_s=1, ended=ended, ahead_s=LONG_AGO_S), workers, wall="")
    )
    assert set(gone.acceptors) == ended
    (row,) = it.snapshot().acceptors
    assert (row.pid, row.accepts, row.alive, row.waits, row.fair_ratio) == (9, 50, True, True, 1.0)
    threads = it.snapshot("thread").acceptors
    (rest,) = [one for one in threads if one.tid is None]
    assert (rest.pid, rest.ended, rest.accepts, rest.alive) == (9, 50 - LAST, 50 - LAST, False)


def test_a_process_of_many_threads_is_one_of_those_that_ended() -> None:
    it, more = tracker(), 4
    for pid in range(1, LAST + more + 1):
        taken = [count(pid, 1, tid=100 * pid + n) for n in range(3)]
        feed(it, 2 * pid, taken, [listener(100, [holder(pid)])])
        ended = Counts(tuple(taken), at_s=2 * pid + 1, ended=frozenset(map(key_of, taken)))
        it.update(Reading(ended, Inventory((listener(100),)), wall=""))
    rows = it.snapshot().acceptors
    assert sorted((row.pid or 0, row.accepts, row.ended) for row in rows) == [
        (0, 3 * more, more),
        *((pid, 3, 0) for pid in range(more + 1, LAST + more + 1)),
    ]


def test_a_row_that_was_not_forgotten_is_not_counted_twice() -> None:
    it = tracker()
    rows = [count(9, 5, tid=100 + n) for n in range(3 * LAST)]
    ended = frozenset(map(key_of, rows))
    for second in (1, 2, 3):
        counts = Counts(tuple(rows), at_s=second, ended=ended, ahead_s=LONG_AGO_S)
        gone = it.update(Reading(counts, Inventory((listener(100),)), wall=""))
        assert set(gone.acceptors) == ended
    assert accepts(it.snapshot()) == 15 * LAST


def closed_with(kernel: Kernel, inode: int) -> None:
    kernel.open.pop(inode)
    for _ in range(2):
        kernel.read()


def test_closed_listeners_are_one_row_an_address_and_those_without_a_client_none() -> None:
    kernel = Kernel(model())
    kernel.open[1] = [1]
    kernel.sockets[1] = passing(1, flow())
    kernel.read()
    for inode in range(100, 100 + 4 * LAST):
        kernel.open[inode] = [1]
        if inode % 2:
            kernel.sockets[inode] = passing(inode, flow(3), stops=1)
            kernel.accept(1, inode, 3)
        kernel.read()
        closed_with(kernel, inode)
    assert kernel.sockets.keys() == {1}
    for by in GRAINS:
        snapshot = kernel.it.snapshot(by)
        assert accepts(snapshot) == snapshot.books.accepts == 6 * LAST
        assert sum(row.accepted for row in snapshot.listeners) == 6 * LAST
        assert snapshot.books.word == "balanced"
    rows = kernel.it.snapshot().listeners
    (folded,) = [row for row in rows if row.inode is None]
    assert (folded.ended, folded.arrived, folded.local_port) == (LAST, 3 * LAST, 80)
    assert len(rows) == 1 + LAST + 1


def test_a_busy_address_keeps_its_row_among_a_crowd_of_others() -> None:
    """Who may bind any address of a port must not drive the real server's sums out of sight."""
    kernel = Kernel(model(Sight.of("accepts", "closed")))
    kernel.open[1] = [1]
    kernel.read()

    def came_and_went(inode: int, address: str, accepts: int) -> None:
        kernel.accept(1, inode, accepts)
        kernel.sockets[inode] = replace(kernel.sockets[inode], local_address=address, stops=1)
        for _ in range(3):
            kernel.read()

    for number in range(MOST + 2 * LAST):
        came_and_went(1000 + number, f"127.0.1.{number}", 1)
    came_and_went(5000, "127.0.0.9", 500)
    for number in range(2 * LAST):
        came_and_went(6000 + number, f"127.0.2.{number}", 1)
    snapshot = kernel.it.snapshot()
    rows = {one.local_address: one.accepted for one in snapshot.listeners}
    assert rows["127.0.0.9"] == 500
    assert sum(rows.values()) == snapshot.books.accepts == 500 + MOST + 4 * LAST
    (wide,) = [one for one in snapshot.listeners if one.local_address is None]
    assert (wide.local_port, wide.accepted) == (80, 3 * LAST + 1)
    assert len(rows) == 1 + MOST + LAST + 1


def test_a_new_address_has_a_row_of_its_own_while_there_is_room() -> None:
    it = tracker()
    feed(it, 1, [], [listener(1, address="127.0.0.9")])
    (row,) = it.snapshot().listeners
    places, own = Places(), place_of(row)
    assert places.nearest(row) == own
    places.own |= {own._replace(port=port) for port in range(1000, 1000 + MOST)}
    assert places.nearest(row) == Place(port=80)
    places.own.add(own)
    assert places.nearest(row) == own


def test_who_closed_before_anybody_looked_and_had_no_client_has_no_row() -> None:
    it = model(Sight.of("accepts", "closed", "empty"))
    feed(it, 1, [], [listener(1)])
    idle = replace(count(5, 0, 100), empty=1)
    counted = [passing(100, flow(), stops=1), passing(101, flow(2), stops=1)]
    feed(it, 2, [idle, count(6, 2, 101)], [listener(1)], counted=counted)
    snapshot = it.snapshot()
    assert {one.inode for one in snapshot.listeners} == {1, 101}
    assert [one.pid for one in snapshot.acceptors if one.listener_inode != 1] == [6]


@pytest.mark.parametrize(
    "fact",
    [
        {"requests": 1},
        {"uncounted": 1},
        {"drops": 1},
        {"cut_off": 1},
        {"queue_max": 1},
        {"queue_start": 1},
        {"overflow": Overflow(1, 0, 0, 0)},
        {"overflow": Overflow(0, 1, 0, 0)},
        {"flow": flow(1)},
        {"flow": flow(0, 1)},
        {"flow": flow(0, 0, (1, 0))},
        {"flow": flow(0, 0, (0, 1))},
    ],
    ids=str,
)
def test_a_closed_listener_where_anything_happened_keeps_its_row(fact: dict[str, Any]) -> None:
    it = model()
    feed(it, 1, [], [listener(1), listener(100), listener(101)])
    counted = [replace(passing(100, flow(), stops=1), **fact), passing(101, flow(), stops=1)]
    for second in (2, 3, 4):
        feed(it, second, [], [listener(1)], counted=counted)
    assert {one.inode for one in it.snapshot().listeners} == {1, 100}


@pytest.mark.parametrize("queue", [0, 2])
def test_a_closed_listener_where_somebody_waited_keeps_its_row(queue: int) -> None:
    it = model()
    feed(it, 1, [], [listener(1), listener(100, queue=queue)])
    for second in (2, 3, 4):
        feed(it, second, [], [listener(1)])
    assert len(it.snapshot().listeners) == 1 + bool(queue)


def test_what_a_row_told_before_it_was_let_go_has_left_the_queue() -> None:
    """The queue is read between two readings of the counts; the later one lacks that row."""
    it, taken = model(), count(1, 5000)
    feed(it, 1, [], [listener(100)])
    for second in (2, 3):
        feed(it, second, [taken], [listener(100)], counted=[passing(100, flow(5000))])
    ended = Counts((taken,), (passing(100, flow(5000)),), at_s=4, ended=frozenset({key_of(taken)}))
    it.update(Reading(ended, Inventory((listener(100),)), wall=""))
    for later, word in ((4000, "balanced"), (3000, "unbalanced")):
        reading = Reading(
            Counts((count(2, 1000),), (passing(100, flow(9000)),), at_s=5),
            Inventory((listener(100, queue=0),)),
            passed=Passed({100: 9000}, {100: later}, {}),
            wall="",
        )
        it.update(reading)
        assert it.snapshot().listeners[0].book == word


def test_a_listener_that_came_and_went_between_two_readings_is_closed() -> None:
    it = model()
    feed(it, 1, [], [listener(1)])
    feed(it, 2, [count(5, 8, 100)], [listener(1)], counted=[passing(100, flow(8), stops=1)])
    row = {one.inode: one for one in it.snapshot().listeners}[100]
    assert (row.open, row.epoch, row.book, row.queue) == (False, 1, "balanced", None)
    assert {one.fair_ratio for one in it.snapshot().acceptors if one.accepts} == {None}


def test_a_socket_that_listens_again_after_it_was_let_go_is_another_epoch() -> None:
    kernel = Kernel(model())
    kernel.open[100] = [1]
    kernel.sockets[100] = passing(100, flow(2))
    kernel.accept(1, 100, 2)
    kernel.read()
    kernel.sockets[100] = passing(100, flow(2), stops=1)
    closed_with(kernel, 100)
    assert (kernel.sockets, kernel.rows) == ({}, {})
    kernel.open[100] = [1]
    kernel.sockets[100] = passing(100, flow(5))
    kernel.accept(1, 100, 5)
    kernel.read()
    kernel.read()
    snapshot = kernel.it.snapshot()
    assert accepts(snapshot) == 7
    (again,) = [row for row in snapshot.listeners if row.inode == 100]
    assert (again.epoch, again.accepted, again.book) == (2, 5, "balanced")


def test_who_starved_and_ended_first_keeps_his_part() -> None:
    kernel = Kernel(tracker())
    kernel.open[100] = [1, 2, 3, 4]
    kernel.accept(1, 100, 40)
    kernel.read()
    alive = {row.pid: row.fair_ratio for row in kernel.it.snapshot().acceptors}
    assert alive == {1: 4.0, 2: 0.0, 3: 0.0, 4: 0.0}
    kernel.dead |= {1, 2, 3, 4}
    kernel.open[100] = []
    kernel.read()
    kernel.read()
    for picture in (kernel.it.snapshot(), kernel.it.summary()):
        assert {row.pid: row.fair_ratio for row in picture.acceptors} == alive
        assert {row.alive for row in picture.acceptors} == {False}


def test_a_reload_leaves_the_old_and_the_new_at_1() -> None:
    kernel = Kernel(tracker())
    kernel.open[100] = [1, 2]
    for pid in (1, 2):
        kernel.accept(pid, 100, 500)
    kernel.read()
    kernel.dead |= {1, 2}
    kernel.open[100] = [11, 12]
    for pid in (11, 12):
        kernel.accept(pid, 100, 20)
    kernel.read()
    for picture in (kernel.it.snapshot(), kernel.it.summary()):
        ratios = {row.pid: row.fair_ratio for row in picture.acceptors}
        assert ratios == {1: 1.0, 2: 1.0, 11: 1.0, 12: 1.0}


def test_who_left_the_listener_is_marked_and_not_measured() -> None:
    it = tracker()
    both = [count(1, 4), count(2, 0, empty=1)]
    feed(it, 1, both, [listener(100, [holder(1), holder(2)])])
    alive = {1: NGINX}
    feed(it, 2, [count(1, 4), count(2, 6)], [listener(100, [holder(2)])], processes=alive)
    rows = by_pid(it.snapshot())
    assert (rows[1].left, rows[1].waits, rows[1].fair_ratio, rows[1].alive) == (
        True,
        False,
        None,
        True,
    )
    assert not rows[2].left
    assert rows[2].fair_ratio == pytest.approx(6 / 8)


def test_who_accepted_just_now_has_not_left_though_nobody_found_the_descriptor() -> None:
    it = tracker()
    for second in (1, 2):
        taken = [count(1, 4 * second)]
        feed(it, second, taken, [listener(100, [holder(2)])], processes={1: NGINX})
    assert not by_pid(it.snapshot())[1].left


def test_who_accepts_without_a_descriptor_has_not_left() -> None:
    it = tracker()
    for second, taken in ((1, 4), (2, 4), (3, 4)):
        rows = [count(1, taken, via="io_uring")]
        feed(
            it,
            second,
            rows,
            [listener(100, [holder(2)])],
            processes={1: NGINX},
        )
    assert not by_pid(it.snapshot())[1].left


def test_a_socket_nobody_waits_on_is_held_against_its_group() -> None:
    kernel = Kernel(tracker())
    kernel.open = {100: [1], 101: []}
    kernel.accept(1, 100, 40)
    kernel.read()
    ratios = {row.listener_inode: row.fair_ratio for row in kernel.it.snapshot("socket").acceptors}
    assert ratios == {100: 2.0, 101: 0.0}


@pytest.mark.parametrize("by", ["worker", "socket"])
def test_closed_sockets_of_a_group_keep_their_ratio(by: By) -> None:
    kernel = Kernel(tracker())
    kernel.open = {100: [1], 101: [2]}
    kernel.accept(1, 100, 30)
    kernel.accept(2, 101, 10)
    kernel.read()
    kernel.dead |= {1, 2}
    kernel.open = {}
    for _ in range(3):
        kernel.read()
    rows = kernel.it.summary(by).acceptors
    assert [(row.accepts, row.fair_ratio) for row in rows] == [(30, 1.5), (10, 0.5)]


def test_at_a_quiet_end_what_is_missing_is_unbalanced_however_many_accepted() -> None:
    it = model()
    many = [count(9, 1, tid=100 + n) for n in range(1100)]
    feed(it, 1, [], [listener(100)])
    passed = [passing(100, flow(1117))]
    feed(it, 2, many, [listener(100)], counted=passed)
    assert it.snapshot().books.word == "balanced"  # so many may be in the midst of a call
    counts = Counts(tuple(many), tuple(passed), at_s=2.1)
    assert it.confirm(Reading(counts, Inventory((listener(100),))))
    row = it.snapshot().listeners[0]
    assert (row.book, row.imbalance, it.snapshot().books.word) == ("unbalanced", 17, "unbalanced")


def test_threads_that_ended_are_in_the_midst_of_nothing() -> None:
    it = model()
    many = [count(9, 1, tid=100 + n) for n in range(1100)]
    feed(it, 1, [], [listener(100)])
    ended = frozenset(map(key_of, many))
    for second in (2, 3):
        counts = Counts(
            tuple(many) if second == 2 else (),
            (passing(100, flow(1100 + CPUS + 2 + second)),),
            at_s=second,
            ended=ended,
        )
        it.update(Reading(counts, Inventory((listener(100),)), wall=""))
    assert it.snapshot().listeners[0].book == "unbalanced"


@pytest.mark.parametrize("sees", [EVERYTHING, BY_PORT])
def test_books_are_never_balanced_where_the_tracer_lost_something(sees: Sight) -> None:
    it = model(sees)
    for second in (1, 2):
        feed(it, second, [], [listener(100)], losses=Losses(map_full=3))
    assert it.snapshot().books.word == "unchecked"


@pytest.mark.parametrize("sees", [EVERYTHING, BY_PORT])
def test_a_loss_that_came_up_since_the_last_check_counts_too(sees: Sight) -> None:
    it = model(sees)
    for second in (1, 2):
        feed(it, second, [], [listener(100)])
    assert it.snapshot().books.word == "balanced"
    it.drain(Reading(Counts((), losses=Losses(map_full=3), at_s=2.5)))
    books = it.snapshot().books
    assert (books.losses.map_full, books.word) == (3, "unchecked")


def test_a_queue_that_only_refreshes_tell_of_is_said_to_be_sampled() -> None:
    models = {sees: model(sees) for sees in (EVERYTHING, BY_PORT)}
    for it in models.values():
        feed(it, 1, [], [listener(100, queue=4)])
    assert [it.snapshot().listeners[0].queue_max_sampled for it in models.values()] == [False, True]


def test_two_rows_of_one_worker_add_up() -> None:
    one = replace(
        count(1, 2, waits_us=[10], empty=3, errors={24: 1, 23: 2}, wasted=4),
        refused=5, left_us=(1 << 64) - 1, waited_us=6, ready_us=8, wait_unknown=1,
    )  # fmt: skip
    other = replace(
        count(1, 7, waits_us=[99, 99], empty=1, errors={24: 4, 4: 1}, wasted=2),
        refused=1, left_us=1005, waited_us=7, ready_us=3, wait_unknown=2,
    )  # fmt: skip
    both = plus(one, other)
    assert (both.accepts, both.empty, both.wasted, both.refused) == (9, 4, 6, 6)
    assert both.errors == {24: 5, 23: 2, 4: 1}
    assert (both.left_us, both.waited_us, both.ready_us) == (1004, 13, 8)  # modulo 2**64
    assert (both.wait_max_us, both.wait_unknown, sum(both.wait_us)) == (99, 3, 3)
    assert both.via == "syscall"
    blind = plus(one, replace(other, empty=None, errors=None, wasted=None, refused=None))
    assert (blind.empty, blind.errors, blind.wasted, blind.refused) == (None,) * 4
    assert plus(one, replace(other, via="io_uring")).via is None
    assert plus(replace(one, accepts=0), replace(other, via="io_uring")).via == "io_uring"


def test_who_came_meanwhile_is_not_held_against_what_came_before() -> None:
    it = tracker()
    feed(it, 1, [count(1, 10)], [listener(100, [holder(1)])])
    both = [listener(100, [holder(1), holder(2)])]
    feed(it, 2, [count(1, 50)], both)
    assert by_pid(it.snapshot())[2].fair_ratio is None
    feed(it, 3, [count(1, 80)], both)
    rows = by_pid(it.snapshot())
    assert rows[2].fair_ratio == 0.0
    assert rows[1].fair_ratio == pytest.approx(80 / (50 + 15))


def test_a_socket_that_closed_has_no_part_in_what_came_later() -> None:
    kernel = Kernel(tracker())
    kernel.open = {100: [1], 101: [2]}
    kernel.accept(1, 100, 30)
    kernel.accept(2, 101, 10)
    kernel.read()
    del kernel.open[101]
    for _ in range(3):
        kernel.read()
    kernel.accept(1, 100, 60)
    kernel.read()
    rows = kernel.it.snapshot("socket").acceptors
    assert [(row.accepts, row.fair_ratio) for row in rows] == [(90, 90 / 80), (10, 0.5)]


def test_the_first_in_the_queue_has_waited_since_a_reading_that_found_it_there() -> None:
    it = model()
    ages = []
    for second, queue, taken in ((1, 0, 0), (2, 3, 0), (3, 5, 0), (4, 4, 2), (5, 2, 5), (6, 0, 7)):
        arrived = queue + taken
        feed(
            it,
            second,
            [count(1, taken)],
            [listener(100, queue=queue)],
            counted=[passing(100, flow(arrived))],
        )
        row: ListenerRow = it.snapshot().listeners[0]
        ages.append(row.oldest_wait_us)
    # At 5 s all who were there at 3 s have left, those of 4 s have not.
    assert ages == [None, 0, 1_000_000, 2_000_000, 1_000_000, None]


def test_what_the_kernel_says_of_the_first_in_the_queue_goes_before_what_readings_say() -> None:
    it = model()
    ages = []
    for second, queue, said in ((1, 2, None), (2, 2, 7_500_000), (3, 2, None), (4, 0, 9)):
        feed(
            it,
            second,
            [],
            [replace(listener(100, queue=queue), oldest_us=said)],
            counted=[passing(100, flow(queue))],
        )
        ages.append(it.snapshot().listeners[0].oldest_wait_us)
    assert ages == [0, 7_500_000, 2_000_000, None]  # at 4 s nobody was there any more


events = st.lists(
    st.sampled_from(["birth", "death", "accept", "listen", "close", "read", "drain"]),
    min_size=10,
    max_size=120,
)


@given(events, st.randoms(use_true_random=False))
def test_whatever_happens_totals_are_exact_and_what_is_kept_is_bounded(
    steps: list[str], dice: random.Random
) -> None:
    kernel, pids, inodes = Kernel(model(Sight.of("accepts", "closed"))), numbers(1000), numbers(100)
    kernel.open[next(inodes)] = [next(pids)]
    kernel.read()
    for step in steps:
        alive = sorted({pid for those in kernel.open.values() for pid in those})
        if step == "birth" and kernel.open:
            kernel.open[dice.choice(sorted(kernel.open))].append(next(pids))
        elif step == "death" and alive:
            pid = dice.choice(alive)
            kernel.dead.add(pid)
            for those in kernel.open.values():
                if pid in those:
                    those.remove(pid)
        elif step == "accept" and alive:
            pid = dice.choice(alive)
            inode = dice.choice([i for i, those in kernel.open.items() if pid in those])
            kernel.accept(pid, inode, dice.randrange(1, 9))
        elif step == "listen":
            kernel.open[next(inodes)] = [next(pids)]
        elif step == "close" and kernel.open:
            inode = dice.choice(sorted(kernel.open))
            del kernel.open[inode]
            if inode in kernel.sockets:
                kernel.sockets[inode] = replace(kernel.sockets[inode], stops=1)
        elif step in ("read", "drain"):
            kernel.read(drain=step == "drain")
    kernel.read()
    for by in GRAINS:
        snapshot, summary = kernel.it.snapshot(by), kernel.it.summary(by)
        assert accepts(snapshot) == snapshot.books.accepts == kernel.accepts
        assert sum(row.accepted for row in snapshot.listeners) == kernel.accepts
        assert [r.fair_ratio for r in snapshot.acceptors] == [
            r.fair_ratio for r in summary.acceptors
        ]
        assert sum(row.accepts_interval for row in summary.acceptors) == kernel.accepts
    ratios = [(r.accepts, r.fair_ratio) for r in kernel.it.snapshot("thread").acceptors]
    known = [(number, ratio) for number, ratio in ratios if ratio]
    assert sum(number / ratio for number, ratio in known) <= kernel.accepts + 1e-6
    kernel.dead |= set(range(1000, next(pids)))
    kernel.open.clear()
    for _ in range(3):
        kernel.read()
    assert (kernel.rows, kernel.sockets) == ({}, {})
    rows = kernel.it.snapshot()
    assert accepts(rows) == kernel.accepts
    assert len([row for row in rows.acceptors if row.pid is not None]) <= LAST
    assert len([row for row in rows.listeners if row.inode is not None]) <= LAST
    assert len(kernel.it._census._known) <= LAST
    expected = sum(kernel.it._yardsticks.of("worker")._expected.values())
    # Of sockets that no inventory listed it is not known with whom they share.
    assert expected == pytest.approx(sum(kernel.taken[inode] for inode in kernel.listed))
