"""The tracker: readings of counters and of /proc become rows, ratios and books."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Losses, Process
from accepttrace.facts.sight import Sight
from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.views.columns.tcp import ordered
from tests.unit.pictures import (
    META,
    SEES,
    count,
    counted,
    feed,
    four_workers,
    holder,
    listener,
    reuseport,
    tracker,
)


def accepts(snapshot: Snapshot) -> dict[int | None, int]:
    """By pid."""
    return {row.pid: row.accepts for row in snapshot.acceptors}


def row_of(snapshot: Snapshot, pid: int) -> AcceptorRow:
    (row,) = [row for row in snapshot.acceptors if row.pid == pid]
    return row


def test_every_worker_has_its_accepts_and_an_idle_holder_has_0() -> None:
    snapshot = four_workers()
    assert accepts(snapshot) == {1001: 610, 1002: 250, 1003: 140, 1004: 0, 1000: 0}
    assert [row.accepts for row in snapshot.acceptors] == [610, 250, 140, 0, 0]


def test_share_and_fair_ratio_leave_the_master_out() -> None:
    snapshot = four_workers()
    first, idle, master = (row_of(snapshot, pid) for pid in (1001, 1004, 1000))
    assert first.share == pytest.approx(0.61)
    assert first.fair_ratio == pytest.approx(2.44)
    assert (idle.fair_ratio, idle.waits) == (0.0, True)
    assert (master.fair_ratio, master.waits) == (None, False)


def test_interval_and_rate_are_differences_to_the_previous_update() -> None:
    row = row_of(four_workers(), 1001)
    assert (row.accepts_interval, row.rate) == (305, 152.5)


def test_what_nobody_was_shown_is_of_the_next_interval() -> None:
    model = tracker()
    feed(model, 1, [count(1, 30)], [listener(100, [holder(1)])])
    model.go_on()
    feed(model, 3, [count(1, 60)])
    snapshot = model.snapshot()
    assert (snapshot.interval_s, snapshot.acceptors[0].accepts_interval) == (3.0, 60)
    assert snapshot.acceptors[0].rate == 20.0
    feed(model, 5, [count(1, 61)])
    snapshot = model.snapshot()
    assert (snapshot.interval_s, snapshot.acceptors[0].accepts_interval) == (2.0, 1)


def test_the_first_interval_begins_with_the_tracker() -> None:
    model = tracker()
    feed(model, 2, [count(1, 10)], [listener()])
    assert model.snapshot().acceptors[0].rate == 5.0


def test_a_tracker_that_got_no_start_has_no_rate_at_first() -> None:
    model = Tracker(META)
    feed(model, 50, [count(1, 10)], [listener()])
    snapshot = model.snapshot()
    assert (snapshot.acceptors[0].rate, snapshot.elapsed_s) == (0.0, 0.0)


def test_an_acceptor_that_was_not_read_again_stands_still() -> None:
    model = tracker()
    feed(model, 1, [count(1, 10)], [listener()])
    feed(model, 2, [], [listener()])
    row = model.snapshot().acceptors[0]
    assert (row.accepts, row.accepts_interval) == (10, 0)


def test_a_counter_never_goes_back() -> None:
    model = tracker()
    feed(model, 1, [count(1, 10)], [listener()])
    feed(model, 2, [count(1, 7)], [listener()])
    row = model.snapshot().acceptors[0]
    assert (row.accepts, row.accepts_interval) == (10, 0)


def test_the_summary_is_over_the_whole_run() -> None:
    model = tracker()
    feed(model, 1, [count(1, 10)], [listener()])
    feed(model, 4, [count(1, 12)], [listener()])
    summary = model.summary()
    assert (summary.interval_s, summary.acceptors[0].accepts_interval) == (4.0, 12)
    assert summary.acceptors[0].rate == 3.0
    assert model.snapshot().acceptors[0].accepts_interval == 2


def test_a_dead_worker_keeps_its_total_and_name() -> None:
    model = tracker()
    feed(model, 1, [count(1, 10)], [listener(100, [holder(1), holder(2)])])
    feed(model, 2, [count(1, 10)], [listener(100, [holder(2)])])
    row = row_of(model.snapshot(), 1)
    assert (row.accepts, row.alive, row.name) == (10, False, "nginx: worker")


def test_a_holder_that_died_without_accepting_is_gone() -> None:
    model = tracker()
    feed(model, 1, [], [listener(100, [holder(1)])])
    feed(model, 2, [], [listener(100, [])])
    assert model.snapshot().acceptors == ()


def test_a_reused_pid_is_another_process() -> None:
    model = tracker()
    feed(model, 1, [count(7, 10, start=50)], [listener(100, [holder(7, start=50)])])
    both = [count(7, 10, start=50), count(7, 3, start=90)]
    feed(model, 2, both, [listener(100, [holder(7, start=90)])])
    rows = model.snapshot().acceptors
    assert [(row.pid, row.accepts, row.alive) for row in rows] == [(7, 10, False), (7, 3, True)]


def test_threads_add_up_to_their_process_even_without_its_start() -> None:
    model = tracker()
    main, other = count(9, 4), count(9, 6, tid=12)
    taken = [replace(main, process_start_ns=0), replace(other, process_start_ns=0)]
    feed(model, 1, taken, [listener(100, [holder(9)])])
    assert accepts(model.snapshot()) == {9: 10}
    threads = model.snapshot("thread").acceptors
    assert [(row.pid, row.tid, row.accepts) for row in threads] == [(9, 12, 6), (9, 9, 4)]


def test_a_thread_with_a_name_of_its_own_is_called_so() -> None:
    model = tracker()
    taken = [count(9, 4, tid=12, comm="http-nio-80-A"), count(9, 6, tid=13, comm="nginx")]
    feed(model, 1, taken, [listener(100, [holder(9, name="tomcat")])])
    names = {row.tid: row.name for row in model.snapshot("thread").acceptors}
    assert names == {12: "tomcat: http-nio-80-A", 13: "tomcat"}
    assert {row.name for row in model.snapshot().acceptors} == {"tomcat"}


def test_of_a_listener_that_nothing_was_counted_of_each_counter_is_0() -> None:
    model = tracker(sees=replace(SEES, counted=("requests", "resets")))
    feed(model, 1, [], [listener(100, [holder(1)])])
    (row,) = model.snapshot().listeners
    assert row.counted == {"requests": 0, "resets": 0}


def test_a_row_of_many_processes_names_a_few() -> None:
    model = tracker()
    workers = [holder(pid, name=f"worker {pid}") for pid in range(1, 1001)]
    feed(model, 1, [], [listener(100, workers)])
    (row,) = model.snapshot("socket").acceptors
    assert row.name == "1000 x worker 1, worker 2, worker 3, worker 4 and 996 more"


def test_a_thread_belongs_to_the_process_that_it_can_have_come_from() -> None:
    model = tracker()
    old = replace(count(7, 10, tid=9, start=50), process_start_ns=0)
    feed(model, 1, [old], [listener(100, [holder(7, start=50)])])
    feed(model, 2, [old], [listener(100, [holder(7, start=90)])])
    rows = model.snapshot().acceptors
    assert [(row.accepts, row.alive) for row in rows] == [(10, False), (0, True)]


def test_threads_of_two_processes_that_nobody_looked_up_stay_apart() -> None:
    model = tracker()
    taken = [count(7, 10, tid=9, start=50), count(7, 3, tid=11, start=90)]
    feed(model, 1, taken, [listener(100)])
    assert [row.accepts for row in model.snapshot("process").acceptors] == [10, 3]


def test_an_acceptor_that_holds_nothing_is_known_from_the_processes() -> None:
    model = tracker()
    process = Process(5, 5, "python3", "gunicorn: worker", cgroup="/app", ns_pid=2)
    feed(model, 1, [count(5, 1, comm="python3")], [listener()], processes={5: process})
    row = row_of(model.snapshot(), 5)
    assert (row.alive, row.name, row.cgroup, row.ns_pid) == (True, "gunicorn: worker", "/app", 2)
    feed(model, 2, [count(5, 1, comm="python3")], [listener()])
    row = row_of(model.snapshot(), 5)
    assert (row.alive, row.name) == (False, "gunicorn: worker")


def test_without_a_new_inventory_the_last_one_stands() -> None:
    model = tracker()
    feed(model, 1, [count(1, 1)], [listener(100, [holder(1)])], partial=True)
    feed(model, 2, [count(1, 2)], None)
    snapshot = model.snapshot()
    assert (snapshot.acceptors[0].alive, snapshot.acceptors[0].accepts) == (True, 2)
    assert (snapshot.listeners[0].open, snapshot.partial) == (True, True)


def test_a_worker_once_seen_waiting_stays_one_while_it_is_busy() -> None:
    model = tracker()
    feed(model, 1, [count(1, 8)], [listener(100, [holder(1), holder(2, True)])])
    feed(model, 2, [count(1, 8)], [listener(100, [holder(1), holder(2, False)])])
    assert row_of(model.snapshot(), 1).fair_ratio == 2.0
    assert row_of(model.snapshot(), 2).waits is True


def test_a_worker_that_was_not_seen_waiting_for_five_looks_waits_no_more() -> None:
    model = tracker()
    seen = []
    for second, waits in enumerate((False, True, *(False,) * 7)):
        feed(model, second, [count(1, 8)], [listener(100, [holder(1), holder(2, waits)])])
        seen.append(row_of(model.snapshot(), 2).waits)
    assert seen == [False, True, *(True,) * 5, False, False]


def test_who_was_sent_away_empty_handed_takes_part() -> None:
    model = tracker()
    taken = [count(1, 8), count(2, 0, empty=5)]
    feed(model, 1, taken, [listener(100, [holder(1), holder(2, None)])])
    assert row_of(model.snapshot(), 2).fair_ratio == 0.0


def test_holders_of_whom_nothing_is_known_have_no_ratio() -> None:
    model = tracker()
    feed(model, 1, [count(1, 8)], [listener(100, [holder(1), holder(2, None)])])
    row = row_of(model.snapshot(), 2)
    assert (row.waits, row.fair_ratio) == (None, None)
    assert row_of(model.snapshot(), 1).fair_ratio == 1.0


def test_nothing_accepted_has_no_ratio_and_no_share() -> None:
    model = tracker()
    feed(model, 1, [], [listener(100, [holder(1), holder(2)])])
    assert {(row.fair_ratio, row.share) for row in model.snapshot().acceptors} == {(None, 0.0)}


def test_two_descriptors_of_one_process_are_one_row() -> None:
    model = tracker()
    feed(model, 1, [], [listener(100, [holder(1, False, fd=3), holder(1, True, fd=4)])])
    rows = model.snapshot().acceptors
    assert [(row.pid, row.waits) for row in rows] == [(1, True)]


def test_workers_are_no_rows_on_the_sockets_of_their_siblings() -> None:
    rows = reuseport((30, 10, 0, 0)).acceptors
    workers = [row for row in rows if row.pid != 1000]
    assert [(row.pid, row.listener_inode, row.fair_ratio) for row in workers] == [
        (1001, 200, 3.0),
        (1002, 201, 1.0),
        (1003, 202, 0.0),
        (1004, 203, 0.0),
    ]


def test_a_master_is_a_row_on_every_socket_and_one_as_a_process() -> None:
    masters = [row for row in reuseport((3, 1)).acceptors if row.pid == 1000]
    assert [row.listener_inode for row in masters] == [200, 201]
    master = row_of(reuseport((3, 1), "process"), 1000)
    assert (master.listener_inode, master.local_port, master.group) == (None, 80, 7)


def test_rows_by_process_compare_over_all_their_listeners() -> None:
    model = tracker(Filters())
    one = listener(100, [holder(1), holder(2)])
    other = listener(101, [holder(1), holder(2)], port=81)
    taken = [count(1, 30, 100), count(2, 10, 100), count(1, 5, 101), count(2, 15, 101)]
    feed(model, 1, taken, [one, other])
    rows = model.snapshot("process").acceptors
    assert [(row.pid, row.accepts, row.local_port) for row in rows] == [
        (1, 35, None),
        (2, 25, None),
    ]
    assert rows[0].fair_ratio == pytest.approx(35 / 30)


def test_rows_by_socket_compare_within_their_group() -> None:
    rows = reuseport((30, 10, 0, 0), "socket").acceptors
    assert [(row.listener_inode, row.accepts, row.fair_ratio) for row in rows] == [
        (200, 30, 3.0),
        (201, 10, 1.0),
        (202, 0, 0.0),
        (203, 0, 0.0),
    ]
    assert rows[0].pid is None


def test_a_lone_socket_has_no_ratio() -> None:
    (row,) = four_workers(by="socket").acceptors
    assert (row.accepts, row.fair_ratio, row.name) == (1000, None, "4 x nginx: worker")


def test_rows_by_group_are_one_a_group() -> None:
    (row,) = reuseport((30, 10), "group").acceptors
    assert (row.accepts, row.group, row.listener_inode, row.local_port) == (40, 7, None, 80)


def test_groups_with_one_id_in_two_namespaces_are_two() -> None:
    model = tracker()
    sockets = [listener(1, group=7, netns=5), listener(2, group=7, netns=6)]
    feed(model, 1, [], sockets)
    assert len(model.snapshot("group").acceptors) == 2


def test_waiting_times_are_bounds_and_never_beyond_the_longest() -> None:
    row = row_of(four_workers(), 1001)
    assert (row.wait_p50_us, row.wait_p99_us, row.wait_max_us) == (127, 127, 3400)
    model = tracker()
    feed(model, 1, [count(1, 1, waits_us=[3400])], [listener()])
    assert model.snapshot().acceptors[0].wait_p50_us == 3400


def test_each_percentile_is_its_own() -> None:
    model = tracker()
    waits = [10] * 50 + [100] * 40 + [1000] * 9 + [10_000]
    feed(model, 1, [count(1, 100, waits_us=waits)], [listener()])
    row = model.snapshot().acceptors[0]
    bounds = (row.wait_p50_us, row.wait_p90_us, row.wait_p99_us, row.wait_max_us)
    for bound, us in zip(bounds, (10, 100, 1000, 10_000), strict=True):
        assert bound is not None
        assert us <= bound <= us * 1.25


def test_what_was_not_measured_is_none() -> None:
    row = row_of(four_workers(), 1004)
    assert (row.wait_p50_us, row.wait_max_us) == (None, None)


def test_histograms_of_threads_are_merged() -> None:
    model = tracker()
    slow, fast = count(9, 1, waits_us=[5]), count(9, 3, tid=12, waits_us=[1, 1, 1])
    feed(model, 1, [slow, fast], [listener(100, [holder(9)])])
    row = row_of(model.snapshot(), 9)
    assert (row.wait_p50_us, row.wait_p99_us) == (1, 5)


def test_errors_go_by_name_and_restarts_are_eintr() -> None:
    model = tracker()
    feed(model, 1, [count(1, 1, errors={24: 2, 4: 4, 9999: 1})], [listener()])
    row = model.snapshot().acceptors[0]
    assert row.errors == {"EMFILE": 2, "EINTR": 4, "9999": 1}
    assert row.failed_accepts == 7


def test_what_the_attach_type_cannot_see_is_none_for_holders_too() -> None:
    model = tracker(sees=Sight())
    blind = replace(count(1, 5, empty=None), errors=None)
    feed(model, 1, [blind], [listener(100, [holder(1), holder(2)])])
    for row in model.snapshot().acceptors:
        assert (row.empty_accepts, row.failed_accepts, row.errors) == (None, None, None)


def test_without_a_word_on_what_it_sees_only_counters_prove_it() -> None:
    model = Tracker(META, Filters(), 0.0)
    feed(model, 1, [], [listener(100, [holder(2)])])
    assert model.snapshot().acceptors[0].empty_accepts is None
    feed(model, 2, [count(1, 1)], [listener(100, [holder(2)])])
    assert row_of(model.snapshot(), 2).empty_accepts == 0


def test_a_counter_that_is_none_outdoes_what_the_attach_type_promised() -> None:
    model = tracker(sees=Sight.of("empty", "errors"))
    feed(model, 1, [count(1, 5, empty=None)], [listener(100, [holder(1), holder(2)])])
    assert {row.empty_accepts for row in model.snapshot().acceptors} == {None}


def test_selection_is_none_where_it_cannot_be_seen_or_does_not_happen() -> None:
    model = tracker(sees=Sight.of("selected"))
    members = [listener(100, group=7), listener(101, group=7), listener(102)]
    seen = [counted(100, 5), counted(102, 0)]
    feed(model, 1, [], members, counted=seen)
    selected = {row.inode: row.selected for row in model.snapshot().listeners}
    assert selected == {100: 5, 101: 0, 102: None}
    blind = tracker(sees=Sight())
    feed(blind, 1, [], members, counted=[counted(100, None)])
    assert {row.selected for row in blind.snapshot("socket").acceptors} == {None}


def test_a_closed_listener_stays_closed_with_its_accepts() -> None:
    model = tracker()
    feed(model, 1, [count(1, 3)], [listener(100, [holder(1)])])
    feed(model, 2, [count(1, 3)], [])
    (row,) = model.snapshot().listeners
    assert (row.open, row.accepted, row.holders, row.queue) == (False, 3, (), None)


def test_a_listener_of_the_kernel_side_alone_is_open_until_it_is_missed() -> None:
    model = tracker()
    home = listener(1, port=80)
    feed(model, 1, [count(1, 3, 100)], [home], counted=[counted(100)])
    opens = {row.inode: row.open for row in model.snapshot().listeners}
    assert opens == {1: True, 100: True}  # it may be younger than the inventory
    feed(model, 2, [count(1, 3, 100)], [home], counted=[counted(100)])
    opens = {row.inode: row.open for row in model.snapshot().listeners}
    assert opens == {1: True, 100: False}


def test_a_namespace_that_no_inventory_looks_into_tells_nothing_of_closing() -> None:
    model = tracker()
    far = replace(counted(100), netns=99)
    for second in (1, 2, 3):
        feed(model, second, [count(1, 3)], [listener(1)], counted=[far])
    assert {row.inode: row.open for row in model.snapshot().listeners}[100] is True


def test_the_longest_queue_is_remembered() -> None:
    model = tracker()
    for second, queue in enumerate((1, 9, 4)):
        feed(model, second, [], [listener(queue=queue)])
    (row,) = model.snapshot().listeners
    assert (row.queue, row.queue_max) == (4, 9)


def test_books_sum_what_is_shown_and_tell_losses() -> None:
    books = four_workers().books
    assert (books.accepts, books.balanced) == (1000, True)
    lost = four_workers(losses=Losses(map_full=2, probe_misses=None)).books
    assert (lost.losses.map_full, lost.losses.probe_misses, lost.balanced) == (2, None, False)


@pytest.mark.parametrize(
    ("filters", "pids"),
    [
        (Filters(ports=frozenset({80})), {1, 2}),
        (Filters(ports=frozenset({81})), {3}),
        (Filters(addresses=frozenset({"0:0:0:0:0:0:0:1"})), {3}),
        (Filters(family="ipv6"), {3}),
        (Filters(netns=frozenset({1})), set()),
        (Filters(pids=frozenset({2})), {2}),
        (Filters(comms=frozenset({"gunicorn: worker"})), {2}),
        (Filters(comms=frozenset({"nginx"})), {1, 2, 3}),
        (Filters(cgroups=frozenset({"/app"})), {1}),
        (Filters(cgroups=frozenset({"/ap"})), set()),
        (Filters(comms=frozenset({"nginx"}), ports=frozenset({81})), {3}),
    ],
)
def test_filters_hold_for_holders(filters: Filters, pids: set[int]) -> None:
    model = tracker(filters)
    workers = [holder(1, cgroup="/app/web"), holder(2, name="gunicorn: worker", cgroup="/b")]
    feed(model, 1, [], [listener(100, workers), listener(101, [holder(3)], port=81, address="::1")])
    snapshot = model.snapshot()
    assert {row.pid for row in snapshot.acceptors} == pids
    assert {row.inode for row in snapshot.listeners} == {100 if pid < 3 else 101 for pid in pids}


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        (Filters(ports=frozenset({81})), False),
        (Filters(addresses=frozenset({"::1"})), False),
        (Filters(addresses=frozenset({"10.0.0.1"})), True),  # it is bound to any address
        (Filters(addresses=frozenset({"0.0.0.0"})), True),
    ],
)
def test_filters_hold_for_acceptors_of_described_listeners(filters: Filters, shown: bool) -> None:
    model = tracker(filters)
    feed(model, 1, [count(1, 5)], [], counted=[counted(100)])
    assert model.snapshot().books.accepts == (5 if shown else 0)
    listed = tracker(filters)
    feed(listed, 1, [count(1, 5)], [listener(100)])
    assert listed.snapshot().books.accepts == (5 if shown else 0)


def test_an_acceptor_is_shown_though_nothing_describes_its_listener() -> None:
    model = tracker()
    feed(model, 1, [count(1, 5)], [])
    row = row_of(model.snapshot(), 1)
    assert (row.accepts, row.listener_inode, row.local_port) == (5, 100, None)


def test_a_filter_of_names_hides_others_but_not_from_the_ratio() -> None:
    model = tracker(Filters(comms=frozenset({"first"})))
    workers = [holder(1, name="first"), holder(2)]
    feed(model, 1, [count(1, 30), count(2, 10)], [listener(100, workers)])
    snapshot = model.snapshot()
    (row,) = snapshot.acceptors
    assert (row.accepts, row.fair_ratio, row.share) == (30, 1.5, 1.0)
    assert (snapshot.books.accepts, snapshot.listeners[0].accepted) == (30, 30)


def test_a_filter_of_names_leaves_sockets_no_ratio() -> None:
    model = tracker(Filters(comms=frozenset({"first"})))
    sockets = [listener(own, [holder(own, name="first")], group=7) for own in (1, 2)]
    feed(model, 1, [count(1, 30, 1), count(2, 10, 2)], sockets)
    rows = model.snapshot("socket").acceptors
    assert [(row.accepts, row.fair_ratio) for row in rows] == [(30, None), (10, None)]


@pytest.mark.parametrize(("pids", "ratio"), [({1}, None), ({1, 2}, 1.5)])
def test_a_filter_of_pids_leaves_a_ratio_only_if_it_covers_all(
    pids: set[int], ratio: float | None
) -> None:
    model = tracker(Filters(pids=frozenset(pids)))
    workers = [holder(1), holder(2), holder(3, False)]
    taken = [count(pid, accepts) for pid, accepts in ((1, 30), (2, 10)) if pid in pids]
    feed(model, 1, taken, [listener(100, workers)])
    assert row_of(model.snapshot(), 1).fair_ratio == ratio


@pytest.mark.parametrize(
    ("sort", "pids"),
    [
        ("accepts", [1, 2, 3]),
        ("pid", [1, 2, 3]),
        ("wait_p99_us", [2, 1, 3]),
        ("name", [3, 1, 2]),
        ("fair_ratio", [1, 2, 3]),
    ],
)
def test_rows_are_sorted_and_the_unknown_comes_last(sort: str, pids: list[int]) -> None:
    model = tracker()
    holders = [holder(1), holder(2), holder(3, False, name="a master")]
    taken = [count(1, 9, waits_us=[1]), count(2, 5, waits_us=[7])]
    feed(model, 1, taken, [listener(100, holders)])
    assert [row.pid for row in ordered(model.snapshot(), sort).acceptors] == pids


def test_an_unknown_order_is_an_error() -> None:
    with pytest.raises(ValueError, match="no column 'colour'"):
        ordered(four_workers(), "colour")
