"""Rows of every kind: what they sum up, whom they compare, and what a shared row has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import By, Filters
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Baseline,
    Counts,
    CpuTime,
    Flow,
    Inventory,
    Listener,
    ListenerCount,
    MigrationCount,
    Opened,
    PortCount,
    Process,
    Program,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.cpu import Cpus
from accepttrace.model.crowds import (
    CLOSED_APART,
    FEW,
    HOLDERS_NAMED,
    LEVELS,
    MOST_ROWS,
    crowds,
    in_common,
    named_holders,
    nothing_of,
)
from accepttrace.model.entries import Bygone
from accepttrace.model.migrations import Migrations
from accepttrace.model.snapshot import AcceptorRow, Migration
from accepttrace.model.strays import Strays
from accepttrace.model.tallies import WITHOUT_ROW
from accepttrace.model.tracker import Tracker
from tests.unit.pictures import META, SEES, count, counted, feed, has, holder, listener, tracker
from tests.unit.test_books import EVERYTHING

NETNS = listener().netns
SELECTS = replace(SEES, selected=True)


def model(sees: Sight = SEES, **facts: Any) -> Tracker:
    return Tracker(META, facts.pop("filters", None), facts.pop("started_s", 0.0), sees, **facts)


def row_of(it: Tracker, by: By = "worker", **facts: object) -> AcceptorRow:
    """The one row that has all these."""
    rows = it.snapshot(by).acceptors
    (found,) = [row for row in rows if all(getattr(row, k) == v for k, v in facts.items())]
    return found


def test_equal_rows_stand_by_place_by_who_waits_and_by_number() -> None:
    it = tracker(Filters())
    holders = [holder(1, False), holder(3), holder(2)]
    there = [listener(100, holders), listener(101, [holder(4)], port=79)]
    there.append(listener(102, [holder(5)], address="127.0.0.1"))
    taken = [count(pid, 5, tid=tid) for pid, tid in ((1, 10), (3, 31), (3, 30), (2, 99))]
    for second in (1.0, 20.0):  # the first has not asked for so long that it does not wait
        feed(it, second, [*taken, count(5, 5, 102, tid=1), count(4, 5, 101, tid=40)], there)
    assert [row.tid for row in it.snapshot("thread").acceptors] == [40, 99, 30, 31, 10, 1]


def test_a_rate_is_per_second_however_short_the_interval() -> None:
    it = tracker()
    feed(it, 1, [count(1, 5)], [listener(100, [holder(1)])])
    feed(it, 1.5, [count(1, 9)], [listener(100, [holder(1)])])
    assert row_of(it, "worker", pid=1).rate == 8.0


def test_a_worker_has_all_that_is_known_of_it() -> None:
    it = model()
    one = replace(
        holder(7, start=70, name="nginx: worker"), cgroup="/web", container="docker:1", ns_pid=3
    )
    taken = count(7, 6, start=70, waits_us=[1, 1, 3, 3, 3, 5], empty=4, errors={24: 2}, wasted=1)
    there = [replace(listener(100, [one, holder(8)], group=9, size=1), device="eth0")]
    feed(it, 1, [], there)
    feed(it, 3, [taken, count(8, 2)], there)
    has(
        row_of(it, pid=7),
        pid=7,
        tid=None,
        comm="nginx",
        name="nginx: worker",
        alive=True,
        left=False,
        ended=0,
        folded=0,
        waits=True,
        listener_inode=100,
        netns=NETNS,
        family="ipv4",
        local_address="0.0.0.0",
        local_port=80,
        device="eth0",
        group=9,
        accepts=6,
        accepts_interval=6,
        rate=3.0,
        share=0.75,
        fair_ratio=1.5,
        recent_accepts=None,
        recent_share=None,
        recent_ratio=None,
        trend=(),
        wait_p50_us=3,
        wait_p90_us=5,
        wait_p99_us=5,
        wait_max_us=5,
        wait_histogram=(0, 2, 0, 3, 0, 1, *[0] * (len(taken.wait_us) - 6)),
        empty_accepts=4,
        wasted_wakeups=1,
        failed_accepts=2,
        errors={"EMFILE": 2},
        via="syscall",
        selected=None,
        open_connections=None,
        cpu=None,
        local=None,
        cgroup="/web",
        container="docker:1",
        ns_pid=3,
    )
    whole = it.summary().acceptors[0]
    assert (whole.accepts_interval, whole.rate) == (6, 2.0)


@pytest.mark.parametrize(
    ("first", "second", "selected"), [(3, 4, 7), (3, None, None), (None, None, None), (0, 0, 0)]
)
def test_selection_of_a_group_is_that_of_all_its_sockets(
    first: int | None, second: int | None, selected: int | None
) -> None:
    it = model(SELECTS)
    there = [listener(inode, [holder(inode)], group=7, size=2) for inode in (100, 101)]
    found = [counted(100, 1), counted(101, 1)]
    feed(it, 1, [], there, counted=found)
    it._listeners.known[100].counted = counted(100, first)
    it._listeners.known[101].counted = counted(101, second)
    visible = None not in (first, second)
    assert row_of(it, "group").selected == (selected if visible else None)
    assert row_of(it, "socket", listener_inode=100).selected == (first if visible else None)
    assert row_of(it, "worker", pid=100).selected is None


def test_only_rows_of_a_process_have_its_processor_time_and_connections() -> None:
    it = model()
    there = Inventory((listener(100, [holder(1), holder(2)]),))
    for second in (1.0, 2.0):
        counts = Counts((count(1, 4, tid=5), count(2, 3)), at_s=second)
        cpu = {1: CpuTime(1, second / 4, second), 2: CpuTime(2, second / 2, second)}
        it.update(Reading(counts, there, cpu=cpu, wall=""))
    assert row_of(it, "worker", pid=1).cpu == row_of(it, "process", pid=1).cpu == 0.25
    assert row_of(it, "thread", pid=1).cpu is None
    assert row_of(it, "worker", pid=2).cpu == 0.5
    assert row_of(it, "socket").cpu is None


def test_processor_time_is_of_the_same_process_and_never_negative() -> None:
    it, key = Cpus(), (7, 70)
    it.update({7: CpuTime(70, 1.0, 1.0)})
    assert it.of(key, whole=False) is None
    it.update({7: CpuTime(70, 1.5, 2.0)})
    it.update({7: CpuTime(70, 2.5, 4.0)})
    assert (it.of(key, whole=False), it.of(key, whole=True)) == (0.5, 0.5)
    it.update({7: CpuTime(70, 3.3, 5.0)})
    assert it.of(key, whole=False) == pytest.approx(0.8)
    assert it.of(key, whole=True) == pytest.approx(2.3 / 4)
    it.update({7: CpuTime(70, 3.3, 5.0)})
    assert it.of(key, whole=False) is None  # no time has passed
    it.update({7: CpuTime(70, 3.3, 6.0)})
    assert it.of(key, whole=False) == 0.0
    it.update({7: CpuTime(70, 3.0, 7.0)})
    assert it.of(key, whole=False) is None
    it.update({7: CpuTime(71, 9.0, 8.0)})
    assert [it.of(one, whole=True) for one in (key, (7, 71))] == [None, None]
    assert it.of(Bygone("httpd", kept=True), whole=True) is None


def test_a_filter_of_names_hides_those_without_a_row_and_one_of_pids_does_not() -> None:
    for filters, shown in (
        (Filters(pids=frozenset({1})), True),
        (Filters(comms=frozenset({"x"})), False),
        (Filters(cgroups=frozenset({"/x"})), False),
        (Filters(), True),
    ):
        it = model(filters=filters)
        feed(it, 1, [], [listener()], counted=[replace(counted(100), uncounted=5)])
        rows = it.snapshot().acceptors
        assert [row.name for row in rows] == ([WITHOUT_ROW.name] if shown else [])
        assert it.snapshot().books.uncounted == (5 if shown else 0)


@pytest.mark.parametrize("by", ["worker", "process", "thread"])
def test_a_ratio_is_of_who_accepts_or_waits(by: By) -> None:
    it = model()
    there = [listener(100, [holder(1), holder(2), holder(3, False)])]
    feed(it, 1, [count(1, 8)], there)
    ratios = {row.pid: row.fair_ratio for row in it.snapshot(by).acceptors}
    assert ratios == {1: 2.0, 2: 0.0, 3: None}


def test_a_set_of_one_has_a_ratio_by_worker_and_none_by_socket() -> None:
    it = model()
    feed(it, 1, [count(1, 8)], [listener(100, [holder(1)])])
    assert row_of(it, "worker").fair_ratio == 1.0
    assert row_of(it, "socket").fair_ratio is None
    assert row_of(it, "group").fair_ratio is None


def test_without_time_there_is_no_rate_and_without_accepts_no_share() -> None:
    it = model(started_s=1.0)
    feed(it, 1, [], [listener(100, [holder(1)])])
    row = row_of(it)
    assert (row.rate, row.share, row.accepts) == (0.0, 0.0, 0)


# --- shared rows --------------------------------------------------------------------------------


def idle(inode: int, **facts: Any) -> Listener:
    return replace(listener(inode), uid=facts.pop("uid", 1), **facts)


def test_of_each_kind_so_many_stand_alone() -> None:
    of_place, of_owner, of_all = (most for _, most in LEVELS)
    assert (of_place, of_owner, of_all, FEW, MOST_ROWS) == (256, 512, 4096, 16, 4096)
    alike = [idle(inode) for inode in range(of_place + 1)]
    assert crowds(alike[1:]) == {}
    ((crowd, members),) = crowds(alike).items()
    assert (len(members), crowd) == (257, (1, NETNS, "ipv4", "0.0.0.0", 80, None))
    by_port = [idle(port, local_port=port) for port in range(of_owner + 1)]
    assert crowds(by_port[1:]) == {}
    ((crowd, members),) = crowds(by_port).items()
    assert (len(members), crowd) == (513, (1, None, None, None, None, None))
    by_all = [idle(port, local_port=port, uid=port // 100) for port in range(of_all + 1)]
    assert crowds(by_all[1:]) == {}
    ((crowd, members),) = crowds(by_all).items()
    assert (len(members), crowd) == (4097, (None,) * 6)


def test_a_few_with_very_many_workers_share_a_row_too() -> None:
    rows = MOST_ROWS // (FEW + 1)
    some = [idle(inode) for inode in range(FEW + 1)]
    assert crowds(some, lambda _: rows) == {}  # 4,080 rows
    assert len(crowds(some, lambda _: rows + 1)) == 1
    assert crowds(some[1:], lambda _: 10 * rows) == {}
    exact = [16] * 15 + [MOST_ROWS - 16 * 15 - 1, 1]
    by_inode = dict(enumerate(exact))
    assert crowds(some, lambda one: by_inode[one.inode]) == {}
    by_inode[0] += 1
    assert len(crowds(some, lambda one: by_inode[one.inode])) == 1


def test_facts_are_those_of_all_or_none() -> None:
    some = [idle(1), idle(2), idle(3, local_port=81)]
    assert in_common(some, ("uid", "local_port")) == {"uid": 1, "local_port": None}
    assert in_common(some[:2], ("uid", "local_port")) == {"uid": 1, "local_port": 80}
    assert [nothing_of(numbers) for numbers in ([0, 0], [0, None], [])] == [0, None, 0]


def test_holders_are_named_once_and_the_others_counted() -> None:
    many = [holder(pid) for pid in range(HOLDERS_NAMED + 3, 0, -1)]
    named, more = named_holders([many, many])
    assert ([one.pid for one in named], more) == ([*range(1, HOLDERS_NAMED + 1)], 3)
    twice = [holder(1, start=5, fd=3), holder(1, start=6, fd=4), holder(1, start=5, fd=9)]
    named, more = named_holders([twice[:1], twice[1:]])
    assert [(one.start_ticks, one.fd) for one in named] == [(5, 3), (6, 4)]
    assert more == 0


@pytest.mark.parametrize(("waits", "shared"), [(True, True), (None, True), (False, False)])
def test_workers_count_who_may_wait(waits: bool | None, shared: bool) -> None:
    it = model(EVERYTHING)
    many = [holder(pid) for pid in range(1, MOST_ROWS // (FEW + 1) + 1)]
    there = [idle(inode, holders=tuple(many)) for inode in range(100, 100 + FEW + 1)]
    last = [holder(pid, waits) for pid in range(1000, 1000 + 17)]
    there[0] = replace(there[0], holders=(*many, *last))
    feed(it, 1, [], there)
    found = it.snapshot("socket").listeners
    assert [row.folded for row in found] == ([FEW + 1] if shared else [0] * (FEW + 1))
    assert {row.capacity for row in found} == {512}


@pytest.mark.parametrize("number", [CLOSED_APART, CLOSED_APART + 1])
def test_so_many_that_close_at_once_have_rows_of_their_own(number: int) -> None:
    it = model(EVERYTHING)
    there = [listener(inode, [holder(1 + inode % 2)]) for inode in range(100, 100 + number)]
    rows = [
        replace(counted(one.inode), flow=Flow(2, 0, 0, 0, 0), queue_max=1 + one.inode % 7)
        for one in there
    ]
    taken = [count(1 + one.inode % 2, 2, one.inode) for one in there]
    feed(it, 1, taken, there, counted=rows)
    feed(it, 2, taken, [], counted=rows)
    found = it.snapshot().listeners
    assert len(found) == (number if number == CLOSED_APART else 1)
    assert (
        sum(row.accepted for row in found) == sum(row.arrived or 0 for row in found) == 2 * number
    )
    if number > CLOSED_APART:
        (row,) = found
        assert (row.ended, row.inode, row.open, row.queue_max) == (number, None, False, 7)
        assert row_of(it, "socket").ended == number
        assert row_of(it, "socket").accepts == 2 * number
        by_thread = {row.pid: row.accepts for row in it.snapshot("thread").acceptors}
        assert by_thread == {1: number + 1, 2: number - 1}


# --- what moved, and what went astray ------------------------------------------------------------


def moved(it: Migrations, *moves: tuple[int, int, int, int], known: frozenset[int]) -> None:
    it.update([MigrationCount(*move) for move in moves], known)


def test_moves_are_summed_up_where_the_kernel_forgot_its_row() -> None:
    it, known = Migrations(), frozenset({1, 2})
    moved(it, (1, 2, 5, 3), (7, 8, 4, 4), known=known)
    assert it.among({1}) == (Migration(1, 2, 5, 3),)
    assert it.among({7}) == (Migration(7, 8, 4, 4),)
    assert it.among({9}) == ()
    moved(it, (1, 2, 6, 3), known=known)
    assert it.among({2}) == (Migration(1, 2, 6, 3),)
    moved(it, (1, 2, 5, 4), known=known)
    assert it.among({2}) == (Migration(1, 2, 11, 7),)
    moved(it, (1, 2, 5, 3), known=known)
    assert it.among({2}) == (Migration(1, 2, 16, 10),)
    moved(it, known=known)
    assert it.among({1, 7}) == (Migration(1, 2, 16, 10),)


def test_one_that_is_gone_has_no_inode_and_its_moves_stay() -> None:
    it, known = Migrations(), frozenset({1, 2, 3})
    moved(it, (1, 3, 5, 0), (2, 3, 4, 0), known=known)
    it.forget(9)
    it.forget(1)
    assert it.among({3}) == (Migration(0, 3, 5, 0), Migration(2, 3, 4, 0))
    assert it.among(frozenset()) == (Migration(0, 3, 5, 0),)
    it.forget(2)
    assert it.among({3}) == (Migration(0, 3, 9, 0),)
    moved(it, known=frozenset({3}))
    assert it.among({3}) == (Migration(0, 3, 9, 0),)


def test_one_that_got_them_may_be_gone_too() -> None:
    it = Migrations()
    moved(it, (1, 2, 5, 3), (1, 3, 1, 0), known=frozenset({1, 2, 3}))
    it.forget(2)
    assert it.among({1}) == (Migration(1, 0, 5, 3), Migration(1, 3, 1, 0))
    it.forget(1)
    it.forget(3)
    assert it.among(frozenset()) == (Migration(0, 0, 6, 3),)


def test_a_forgotten_inode_that_no_way_names_is_anybodys() -> None:
    it = Migrations()
    moved(it, (1, 2, 5, 0), known=frozenset({1, 2}))
    it.forget(1)
    moved(it, known=frozenset({2}))
    it.forget(5)
    moved(it, (5, 2, 1, 0), known=frozenset({2, 5}))
    assert it.among({2}) == (Migration(0, 2, 5, 0), Migration(5, 2, 1, 0))


def strayed(*numbers: int, port: int = 80) -> Counts:
    losses = Counts().losses
    ports = tuple(PortCount(NETNS, port + place, 9, n) for place, n in enumerate(numbers))
    return Counts(ports=ports, losses=replace(losses, unattributed=10))


def given(counts: Counts) -> Mapping[int, int]:
    return {row.inode: row.uncounted for row in counts.listeners}


def test_strays_without_any_listener_are_nobodys() -> None:
    it = Strays()
    found = it.settle(strayed(3, 4), Inventory((listener(100),)))
    assert (given(found), found.losses.unattributed) == ({100: 3}, 14)
    assert [port.strayed for port in found.ports] == [0, 4]
    found = it.settle(strayed(5, 4), None)
    assert (given(found), found.losses.unattributed) == ({100: 5}, 14)


def test_strays_before_the_first_list_are_settled_by_the_counts_alone() -> None:
    it = Strays()
    row = replace(counted(100), uncounted=1)
    found = it.settle(replace(strayed(3), listeners=(row,)), None)
    assert given(found) == {100: 4}
    found = it.settle(replace(strayed(3), listeners=(row, counted(101))), None)
    assert given(found) == {100: 4, 101: 0}
    found = it.settle(replace(strayed(5), listeners=(row, counted(101))), None)
    assert (given(found), found.losses.unattributed) == ({100: 4, 101: 0}, 12)


def test_a_list_of_which_nothing_strayed_is_remembered() -> None:
    it = Strays()
    it.settle(strayed(0), Inventory((listener(100),)))
    assert given(it.settle(strayed(3), None)) == {100: 3}
    it.settle(strayed(3), Inventory((listener(101),)))
    assert given(it.settle(strayed(4), None)) == {101: 1}


# --- the tracker ---------------------------------------------------------------------------------


def test_a_trend_begins_with_the_start() -> None:
    it = model(started_s=100.0, windows=(12.0,))
    there = [listener(100, [holder(1)])]
    for second, accepts in ((101, 3), (102, 7), (103, 7)):
        feed(it, second, [count(1, accepts)], there)
    assert list(row_of(it).trend)[-4:] == [None, 3.0, 4.0, 0.0]
    assert list(row_of(it, "group").trend)[-4:] == [None, 3.0, 4.0, 0.0]


def test_all_times_are_since_the_start() -> None:
    it = model(EVERYTHING, started_s=100.0)
    flow = Flow(1, 0, 0, 0, 0, came_us=101_000_000)
    there = [listener(100, [holder(1)], group=7, size=1, queue=1)]
    for second in (102, 104):
        feed(it, second, [], there, counted=[replace(counted(100), flow=flow)])
        snapshot = it.snapshot()
        assert snapshot.interval_s == 2.0
    (row,) = snapshot.listeners
    assert (snapshot.elapsed_s, snapshot.interval_s) == (4.0, 2.0)
    assert row.queue_mean == pytest.approx((104 - 101) / (104 - 100))
    assert row.group_sizes[0].elapsed_s == 2.0
    assert row.selectors[0].elapsed_s == 2.0
    feed(it, 103, [], there)
    assert (it.snapshot().interval_s, it.snapshot().elapsed_s) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("process", "name"),
    [
        (Process(1, 1, "comm", "name"), "name"),
        (Process(1, 1, "comm", ""), "comm"),
        (Process(1, 1, "", ""), "thread"),
    ],
)
def test_a_program_is_called_as_its_processes_were(process: Process, name: str) -> None:
    it = model()
    row = count(1, 1, comm="thread")
    feed(it, 1, [row], [listener()], processes={1: process})
    (entry,) = it._tallies
    assert it._program(entry) == Bygone(name, kept=True)
    entry.count = None
    assert it._program(entry).name == (name if name != "thread" else "")


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(comms=frozenset({"thread"})), True),
        (Filters(comms=frozenset({"other"})), False),
    ],
)
def test_a_program_keeps_what_the_filters_said_of_its_processes(
    filters: Filters, kept: bool
) -> None:
    it = model(filters=filters)
    feed(it, 1, [count(1, 1, comm="thread")], [listener()])
    (entry,) = it._tallies
    assert it._program(entry).kept is kept


@pytest.mark.parametrize(("filters", "shown"), [(None, [2]), ("10.0.0.1", [])])
def test_accepts_of_listeners_that_nothing_describes_are_kept_unless_filtered(
    filters: str | None, shown: list[int]
) -> None:
    it = model(filters=Filters(addresses=frozenset({filters}) if filters else frozenset()))
    row = count(1, 2, 999)
    ended = frozenset({(999, row.tid, row.start_ns)})
    for second in (1.0, 2.0):
        counts = Counts((row,), at_s=second, ended=ended)
        it.update(Reading(counts, Inventory(()), wall=""))
    kinds: tuple[By, ...] = ("worker", "process", "thread", "socket", "group")
    for by in kinds:
        assert [one.accepts for one in it.snapshot(by).acceptors] == shown
        assert it.snapshot(by).books.accepts == sum(shown)
    assert it.snapshot().listeners == ()
    assert 999 not in it._tallies.at_rest


def test_before_the_first_reading_there_is_nothing() -> None:
    snapshot = model(started_s=5.0).snapshot()
    assert (snapshot.interval_s, snapshot.elapsed_s, snapshot.time) == (0.0, 0.0, META.started)
    assert (snapshot.acceptors, snapshot.listeners, snapshot.verdicts) == ((), (), ())


def test_nothing_can_be_seen_before_anything_was_counted() -> None:
    unknown = Tracker(META)
    feed(unknown, 1, [], [listener(100, [holder(1)])])
    assert unknown.snapshot().acceptors[0].empty_accepts is None
    feed(unknown, 2, [count(1, 1)], [listener(100, [holder(1), holder(2)])])
    assert [row.empty_accepts for row in unknown.snapshot().acceptors] == [0, 0]
    sighted = model()
    feed(sighted, 1, [], [listener(100, [holder(1)])])
    assert sighted.snapshot().acceptors[0].empty_accepts == 0


def test_open_connections_have_the_age_of_their_reading() -> None:
    it, there = model(), (listener(100, [holder(1)]),)
    opened = Opened(1.5, frozenset({80}), {1: 1}, {})
    for second, age in ((1.0, 0.0), (2.0, 0.5)):
        reading = Reading(Counts(at_s=second), Inventory(there, opened=opened), wall="")
        it.update(reading)
        assert it.snapshot().open_age_s == age
    assert model().snapshot().open_age_s is None


def test_of_a_listener_that_nothing_describes_nobody_knows_what_is_open() -> None:
    it = model()
    opened = Opened(1.0, frozenset({80}), {1: 1}, {})
    counts = Counts((count(1, 2), count(1, 3, 999)), at_s=1.0)
    it.update(Reading(counts, Inventory((listener(100, [holder(1)]),), opened=opened), wall=""))
    found = {row.listener_inode: row.open_connections for row in it.snapshot().acceptors}
    assert found == {100: 0, 999: None}


def test_the_last_that_closed_have_rows() -> None:
    it = model(EVERYTHING)
    there = [listener(inode, [holder(1)]) for inode in (100, 101, 102)]
    rows = [replace(counted(one.inode), flow=Flow(2, 0, 0, 0, 0)) for one in there]
    taken = [count(1, 2, one.inode) for one in there]
    for second in range(1, 8):
        feed(it, second, taken, there if second < 2 else [], counted=rows)
    assert [row.inode for row in it.snapshot().listeners] == [100, 101, 102]


def test_a_listener_is_idle_while_nothing_happened_there() -> None:
    """Idle ones share a row; who has anything has its own."""
    it = model(EVERYTHING)
    it.start(Baseline(complete=True))
    there = [listener(inode) for inode in range(1000, 1000 + LEVELS[0][1] + 9)]
    touched: list[ListenerCount] = [replace(counted(1000), requests=1)]
    touched.append(replace(counted(1001), flow=Flow(1, 0, 0, 0, 0)))
    there[2] = replace(there[2], queue=1)
    there[3] = replace(there[3], drops=1)
    feed(it, 1, [count(1, 1, 1004)], there, counted=touched)
    alone = {row.inode for row in it.snapshot().listeners if not row.folded}
    assert alone == {1000, 1001, 1002, 1003, 1004}
    assert [row.folded for row in it.snapshot().listeners if row.folded] == [len(there) - 5]


def test_listeners_are_sorted_by_place_and_those_summed_up_come_last() -> None:
    it = tracker(Filters())
    places = [(103, 81, "10.0.0.1"), (102, 80, "10.0.0.2"), (101, 80, "10.0.0.1")]
    places += [(100, 80, "10.0.0.1")]
    feed(it, 1, [], [listener(inode, port=port, address=at) for inode, port, at in places])
    assert [row.inode for row in it.snapshot().listeners] == [100, 101, 102, 103]


def test_a_program_that_chooses_is_shown_with_its_name() -> None:
    it = model()
    one = replace(listener(group=7, size=1), selector="ebpf", program=Program(4, "p"))
    feed(it, 1, [], [one])
    assert it.snapshot().listeners[0].selector_program == Program(4, "p")


def test_a_listener_without_a_client_that_closed_leaves_nothing_in_the_account_of_its_port() -> (
    None
):
    it = model(Sight.of("accepts", "empty", "errors", "refused", "closed", "unseen"))
    flow = Flow(None, 0, 0, 0, 0)
    row = replace(counted(100), flow=flow)
    both = (listener(100, [holder(1)]), listener(101))
    for second in range(1, 8):
        there, came = both if second < 2 else both[:1], 10 * (second > 5)
        port = PortCount(NETNS, 80, came)
        counts = Counts((count(1, came),), (row,), ports=(port,), at_s=second)
        it.update(Reading(counts, Inventory(there), wall=""))
    snapshot = it.snapshot()
    assert [one.inode for one in snapshot.listeners] == [100]
    assert (snapshot.books.unseen, snapshot.listeners[0].book) == (0, "balanced")


def test_accepts_without_a_row_belong_to_no_process() -> None:
    it = model()
    rows: list[AcceptorCount] = [count(1, 3)]
    feed(it, 1, rows, [listener(100, [holder(1)])], counted=[replace(counted(100), uncounted=4)])
    assert it.pids == {1}
    assert it.holders == {1}
    assert {row.pid: row.accepts for row in it.snapshot().acceptors} == {1: 3, None: 4}
    assert row_of(it, pid=1).fair_ratio is None
