"""UDP: readings in, pictures out. Closed sockets, resolvers, filters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accepttrace.config import Filters
from accepttrace.facts.datagrams import (
    Receiver,
    ReceiverCount,
    ReceiverCounts,
    Receivers,
    UdpReading,
)
from accepttrace.facts.records import Baseline, Losses, NamespaceCount, Program, Unread
from accepttrace.facts.sight import Sight
from accepttrace.model.datagrams import ReceiverRow
from accepttrace.model.receivers import CLOSED_ROWS, ReceiverTracker
from accepttrace.views.columns.udp import TABLE, ordered
from tests.unit.pictures import has, holder
from tests.unit.udppictures import SEES, UDP_META, count, feed, receiver, tracker


def test_counts_rates_and_shares() -> None:
    model = tracker()
    feed(model, 10, [count(1, 30), count(2, 10)], [receiver(1), receiver(2), receiver(3)])
    feed(model, 12, [count(1, 90), count(2, 10)], [receiver(1), receiver(2), receiver(3)])
    rows = {row.inode: row for row in model.snapshot().sockets}
    assert [row.inode for row in model.snapshot().sockets] == [1, 2, 3]
    assert [rows[i].datagrams for i in (1, 2, 3)] == [90, 10, 0]
    assert [rows[i].datagrams_interval for i in (1, 2, 3)] == [60, 0, 0]
    assert [rows[i].rate for i in (1, 2, 3)] == [30.0, 0.0, 0.0]
    assert [rows[i].share for i in (1, 2, 3)] == [0.9, 0.1, 0.0]
    assert model.snapshot().books.datagrams == 100
    whole = {row.inode: row for row in model.summary().sockets}
    assert whole[1].datagrams_interval == 90
    assert whole[1].rate == pytest.approx(90 / 12)


def test_what_is_not_seen_is_unknown_and_never_0() -> None:
    model = tracker(sees=Sight())
    feed(model, 1, [], [receiver(1, drops=7)])
    (row,) = model.snapshot().sockets
    books = model.snapshot().books
    assert (row.selected, row.datagrams, row.dropped, row.rate, row.share) == (None,) * 5
    assert (books.selected, books.datagrams, books.dropped) == (None, None, None)
    assert (row.drops, row.queue, row.queue_bytes) == (7, 0, 0)


def test_a_member_that_closed_keeps_its_row_and_its_last_counts() -> None:
    model = tracker()
    assert feed(model, 1, [count(1, 5)], [receiver(1, group=3)]) == ()
    # It closes between the two halves of this reading: what it got meanwhile comes with the next.
    assert feed(model, 2, [count(1, 5)], []) == ()
    assert feed(model, 3, [count(1, 8)], []) == (1,)
    assert feed(model, 4, [], []) == ()
    (row,) = model.snapshot().sockets
    assert (row.open, row.datagrams, row.datagrams_interval, row.queue) == (False, 8, 0, None)
    assert model.snapshot().books.unlisted_sockets == 0


def test_an_inode_number_that_is_used_again_is_another_socket() -> None:
    model = tracker()
    for now in (1, 2, 3):
        feed(model, now, [count(1, 5)], [receiver(1, group=3)] if now == 1 else [])
    feed(model, 4, [count(1, 2)], [receiver(1, group=4)])
    rows = [(row.group, row.datagrams, row.open) for row in model.snapshot().sockets]
    assert rows == [(3, 5, False), (4, 2, True)]
    assert model.snapshot().books.datagrams == 7


@pytest.mark.parametrize("kind", ["resolver", "connected", "unseen"])
def test_other_sockets_that_are_gone_are_summed_up(kind: str) -> None:
    model = tracker()
    found = {
        "resolver": [receiver(1)],
        "connected": [receiver(1, group=3, remote="192.0.2.1")],
        "unseen": [],
    }[kind]
    feed(model, 1, [count(1, 5)], found)
    last = [count(1, 6, selected=2, dropped=1)]
    gone = [feed(model, 2, last, [])]
    if not gone[0]:
        gone.append(feed(model, 3, last, []))
    assert gone[-1] == (1,)
    feed(model, 4, [], [])
    snapshot = model.snapshot()
    assert snapshot.sockets == ()
    books = snapshot.books
    assert (books.unlisted_sockets, books.unlisted_datagrams) == (1, 6)
    assert (books.selected, books.datagrams, books.dropped) == (2, 6, 1)


def test_with_a_filter_for_processes_only_their_sockets_are_counted() -> None:
    model = tracker(Filters(pids=frozenset({1000})))
    counts = [count(1, 5), count(2, 7), count(3, 11)]
    found = Receivers((receiver(1),), others=frozenset({2}))
    gone = [
        model.update(UdpReading(ReceiverCounts(tuple(counts), at_s=second), found, wall=""))
        for second in (1, 2)
    ]
    assert gone == [(), (3,)]
    snapshot = model.snapshot()
    assert [row.inode for row in snapshot.sockets] == [1]
    assert (snapshot.books.datagrams, snapshot.books.unlisted_sockets) == (5, 0)


def test_losses_unbalance_the_books() -> None:
    model = tracker()
    counts = ReceiverCounts((), Losses(map_full=2, probe_misses=None), 1)
    model.update(UdpReading(counts, Receivers(), wall=""))
    books = model.snapshot().books
    assert (books.losses.map_full, books.losses.probe_misses, books.balanced) == (2, None, False)


@pytest.mark.parametrize(
    ("dropped", "drops", "lost"),
    [(0, 0, 0), (None, None, 0), (3, 0, 3), (0, 3, 3), (None, 2, 2), (2, None, 2), (5, 4, 5)],
)
def test_what_no_reader_got_is_the_larger_of_two_counts(
    dropped: int | None, drops: int | None, lost: int
) -> None:
    books = tracker().snapshot().books
    assert replace(books, dropped=dropped, drops=drops).lost == lost


@pytest.mark.parametrize(("second", "drops"), [(4, 7), (None, None), (0, 3)])
def test_drops_are_summed_where_they_are_known_of_all(
    second: int | None, drops: int | None
) -> None:
    model = tracker()
    feed(model, 1, [], [receiver(1, drops=3), receiver(2, drops=second)])
    assert model.snapshot().books.drops == drops


def test_what_went_to_a_socket_that_no_list_has_is_counted_before_it_is_final() -> None:
    model = tracker()
    feed(model, 1, [count(9, 4)], [receiver(1)])
    books = model.snapshot().books
    assert (books.datagrams, books.unlisted_sockets, books.unlisted_datagrams) == (4, 1, 4)


def test_order_is_by_field_then_by_place() -> None:
    model = tracker()
    sockets: list[Receiver] = [
        receiver(5),
        receiver(4, remote="192.0.2.1"),
        receiver(3, port=52),
        receiver(2),
    ]
    feed(model, 1, [count(3, 1)], sockets)
    snapshot = model.snapshot()
    assert [row.inode for row in snapshot.sockets] == [3, 2, 5, 4]
    assert [row.inode for row in ordered(snapshot, "inode").sockets] == [2, 3, 4, 5]
    assert ordered(snapshot, "remote").sockets[0].inode == 4
    for column in TABLE.columns:
        assert len(ordered(snapshot, column.key).sockets) == 4
    with pytest.raises(ValueError, match="no column"):
        ordered(snapshot, "holders")


def test_connected_sockets_are_sorted_by_their_peer_and_stand_first() -> None:
    model = tracker()
    peers = {1: None, 2: "192.0.2.9", 3: "192.0.2.1", 4: None, 5: "192.0.2.5"}
    feed(model, 1, [], [receiver(inode, remote=peer) for inode, peer in peers.items()])
    rows = ordered(model.snapshot(), "remote").sockets
    assert [row.inode for row in rows] == [3, 5, 2, 1, 4]


def test_the_first_interval_begins_with_tracing() -> None:
    model = ReceiverTracker(tracker()._meta, Filters(), 100.0, SEES)
    feed(model, 104, [count(1, 8)], [receiver(1)])
    assert model.snapshot().sockets[0].rate == 2.0
    assert model.snapshot().elapsed_s == 4.0


def test_what_nobody_was_shown_is_of_the_next_interval() -> None:
    model = tracker()
    feed(model, 2, [count(1, 8)], [receiver(1)])
    model.go_on()
    feed(model, 4, [count(1, 10)], [receiver(1)])
    (row,) = model.snapshot().sockets
    assert (row.datagrams_interval, row.rate) == (10, 10 / model.snapshot().interval_s)
    assert model.snapshot().interval_s == model.snapshot().elapsed_s
    feed(model, 5, [count(1, 11)], [receiver(1)])
    (row,) = model.snapshot().sockets
    assert (row.datagrams_interval, row.rate) == (1, 1.0)


def test_closed_members_keep_few_rows_and_all_their_sums() -> None:
    """A churn of sockets costs no memory: the last ones have rows, all others one sum."""
    model = tracker()
    forgotten: set[int] = set()
    for now in range(1, 203):
        found = [receiver(now, group=3), receiver(1000 + now, group=3)] if now < 200 else []
        taken = [count(inode, 5) for inode in range(1, min(now, 199) + 1)]
        forgotten |= set(feed(model, now, [c for c in taken if c.inode not in forgotten], found))
    snapshot = model.snapshot()
    assert len(snapshot.sockets) == CLOSED_ROWS
    assert {row.open for row in snapshot.sockets} == {False}
    assert snapshot.books.datagrams == 199 * 5
    assert snapshot.books.unlisted_sockets == 199 - CLOSED_ROWS
    assert len(model._tallies) == 0


def test_between_two_intervals_the_gone_go_and_the_interval_stays_whole() -> None:
    model = tracker()
    feed(model, 10, [count(1, 30), count(2, 5)], [receiver(1, group=3), receiver(2, group=3)])
    for now, got in ((11, 40), (12, 50)):
        reading = ReceiverCounts((count(1, got), count(2, 9)), Losses(), now)
        gone = model.drain(UdpReading(reading, Receivers((receiver(1, group=3),))))
    assert gone == (2,)
    assert feed(model, 13, [count(1, 60)], [receiver(1, group=3)]) == ()
    rows = {row.inode: row for row in model.snapshot().sockets}
    assert (rows[1].datagrams, rows[1].datagrams_interval, rows[1].rate) == (60, 30, 10.0)
    assert (rows[2].datagrams, rows[2].datagrams_interval, rows[2].open) == (9, 4, False)


def test_one_that_came_between_two_intervals_got_all_of_its_own_in_the_next() -> None:
    model = tracker()
    feed(model, 10, [], [])
    model.drain(UdpReading(ReceiverCounts((count(1, 4),), at_s=11), Receivers((receiver(1),))))
    feed(model, 12, [count(1, 6)], [receiver(1)])
    (row,) = model.snapshot().sockets
    assert (row.datagrams, row.datagrams_interval, row.rate) == (6, 6, 3.0)


def rows(model: ReceiverTracker) -> dict[int | None, ReceiverRow]:
    return {row.inode: row for row in model.snapshot().sockets}


def test_a_row_says_all_that_the_inventory_knows() -> None:
    model = tracker()
    full = Receiver(
        *(1, 2, "ipv6", "::1", 53, None, None, 33, 9, 768, 4096, 1),
        *(7, 4, "ebpf", Program(42, "steer"), True, "eth0", (holder(5),)),
    )
    feed(model, 2, [count(1, 8, selected=9, dropped=3)], [full])
    has(
        rows(model)[1],
        inode=1,
        netns=2,
        family="ipv6",
        local_address="::1",
        local_port=53,
        device="eth0",
        v6only=True,
        remote_address=None,
        remote_port=None,
        uid=33,
        group=7,
        group_size=4,
        selector="ebpf",
        selector_program=Program(42, "steer"),
        selected=9,
        datagrams=8,
        datagrams_interval=8,
        rate=4.0,
        share=1.0,
        dropped=3,
        drops=9,
        queue=1,
        queue_bytes=768,
        queue_limit_bytes=4096,
        open=True,
        folded=0,
        holders=(holder(5),),
        holders_more=0,
    )
    feed(model, 3, [count(1, 8)], [])
    closed = rows(model)[1]
    assert (closed.open, closed.queue, closed.queue_bytes) == (False, None, None)
    assert closed.queue_limit_bytes == 4096


def test_drops_are_those_since_tracing_began() -> None:
    model = ReceiverTracker(UDP_META, Filters(), 0.0, SEES)
    model.start(Baseline(namespaces={4026531840: NamespaceCount(4026531840, {1: 5, 2: 5})}))
    elsewhere = replace(receiver(4, drops=6), netns=1)
    found = [receiver(1, drops=7), receiver(2, drops=3), receiver(3, drops=6), elsewhere]
    found.append(replace(receiver(6, drops=0), netns=1))
    feed(model, 1, [], [*found, receiver(5, drops=None)])
    assert [rows(model)[inode].drops for inode in range(1, 7)] == [2, 0, 6, 0, None, 0]
    feed(model, 2, [], [replace(one, drops=8) for one in found])
    assert [rows(model)[inode].drops for inode in (1, 2, 3, 4, 6)] == [3, 3, 8, 2, 8]


def test_without_time_or_datagrams_there_is_no_rate_and_no_share() -> None:
    model = ReceiverTracker(UDP_META, Filters(), 5.0, SEES)
    feed(model, 5, [count(1, 0)], [receiver(1)])
    row = rows(model)[1]
    assert (row.datagrams, row.rate, row.share) == (0, None, None)
    feed(model, 4, [count(1, 3)], [receiver(1)])
    assert (rows(model)[1].rate, model.snapshot().interval_s) == (None, 0.0)
    feed(model, 6, [count(1, 5)], [receiver(1)])
    snapshot, summary = model.snapshot(), model.summary()
    assert (snapshot.interval_s, snapshot.elapsed_s, snapshot.sockets[0].rate) == (2.0, 1.0, 1.0)
    assert (summary.interval_s, summary.sockets[0].datagrams_interval) == (1.0, 5)


EXCEPTIONS: list[tuple[dict[str, object], ReceiverCount | None]] = [
    ({"queue": 1}, None),
    ({"queue_bytes": 1}, None),
    ({"drops": 1}, None),
    ({"remote_address": "192.0.2.1", "remote_port": 9}, None),
    ({}, count(1, 1)),
    ({}, count(1, 0, selected=1)),
    ({}, count(1, 0, dropped=1)),
]


@pytest.mark.parametrize(("facts", "got"), EXCEPTIONS)
def test_what_anything_happened_to_is_no_part_of_a_crowd(
    facts: dict[str, object], got: ReceiverCount | None
) -> None:
    model = tracker()
    first = replace(receiver(1), **facts)  # type: ignore[arg-type]
    crowd = [receiver(inode) for inode in range(2, 300)]
    feed(model, 1, [got] if got else [], [first, *crowd])
    assert {inode: row.folded for inode, row in rows(model).items()} == {1: 0, None: 298}
    feed(model, 2, [], [receiver(2, drops=0), *crowd])
    assert rows(model)[None].folded == 298


def test_a_crowd_has_the_facts_of_all_and_none_that_differ() -> None:
    model = tracker()
    one = replace(receiver(0, [holder(7)]), program=Program(4, "p"), device="eth0", uid=8)
    crowd = [replace(one, inode=inode) for inode in range(1, 301)]
    feed(model, 1, [], [*crowd, receiver(999, port=54)])
    row = rows(model)[None]
    assert (row.selector_program, row.device, row.uid, row.local_port) == (
        *(one.program, "eth0", 8, 53),
    )
    assert (row.queue, row.queue_bytes, row.drops, row.queue_limit_bytes) == (0, 0, 0, 212992)
    assert (row.holders, row.holders_more, row.open) == ((holder(7),), 0, True)
    crowd[-1] = replace(crowd[-1], device=None, program=None, queue=None, drops=None)
    feed(model, 2, [], crowd)
    row = rows(model)[None]
    assert (row.folded, row.device, row.selector_program, row.queue, row.drops) == (
        *(300, None, None, None, None),
    )
    assert (row.datagrams, row.selected, row.dropped, row.share) == (0, 0, 0, None)


@pytest.mark.parametrize("unseen", [False, True])
def test_who_got_nothing_and_closed_is_not_counted_where_that_is_seen(unseen: bool) -> None:
    model = tracker(sees=Sight() if unseen else SEES)
    both = [receiver(1), receiver(2, group=3)]
    feed(model, 1, [], both)
    for now in (2, 3):
        assert set(rows(model)) == ({1, 2} if now == 2 or unseen else set())
        gone = feed(model, now, [], [])
    assert gone == (1, 2)
    assert set(rows(model)) == ({2} if unseen else set())
    assert model.snapshot().books.unlisted_sockets == int(unseen)


def test_one_that_closed_is_no_part_of_a_crowd_of_open_ones() -> None:
    model, sockets = tracker(sees=Sight()), [receiver(inode) for inode in range(1, 301)]
    feed(model, 1, [], sockets)
    feed(model, 2, [], sockets[1:])
    found = {inode: (row.folded, row.open) for inode, row in rows(model).items()}
    assert found == {None: (299, True), 1: (0, False)}


def test_as_many_that_close_at_once_as_may_have_rows_have_them() -> None:
    for number in (CLOSED_ROWS, CLOSED_ROWS + 1):
        model = tracker()
        sockets = [receiver(inode) for inode in range(1, number + 1)]
        counts = [count(one.inode, 2, selected=3, dropped=1) for one in sockets]
        feed(model, 1, counts, sockets)
        feed(model, 2, counts, [])
        snapshot, few = model.snapshot(), number == CLOSED_ROWS
        assert len(snapshot.sockets) == (number if few else 0)
        assert snapshot.books.unlisted_sockets == (0 if few else number)
        assert snapshot.books.unlisted_datagrams == (0 if few else 2 * number)
        found = snapshot.books
        assert (found.selected, found.datagrams, found.dropped, found.drops) == (
            *(3 * number, 2 * number, number, 0),
        )


@pytest.mark.parametrize(
    "filters",
    [
        Filters(pids=frozenset({1})),
        Filters(comms=frozenset({"a"})),
        Filters(cgroups=frozenset({"/a"})),
        Filters(),
    ],
)
def test_what_no_list_has_is_somebody_elses_under_a_filter_of_processes(filters: Filters) -> None:
    model = tracker(filters)
    for now in (1, 2):
        feed(model, now, [count(9, 4, dropped=2)], [receiver(1)])
        books = model.snapshot().books
        found = (books.unlisted_sockets, books.unlisted_datagrams, books.dropped, books.drops)
        assert found == ((1, 4, 2, 2) if filters == Filters() else (0, 0, 0, 0))


def test_what_others_hold_is_kept_until_they_close_it() -> None:
    model = tracker(Filters(pids=frozenset({1})))
    found = [receiver(1), receiver(2)]
    feed(model, 1, [count(1, 5), count(2, 7)], found)
    for second in (2, 3, 4):
        counts = ReceiverCounts((count(1, 5), count(2, 9)), at_s=second)
        others = Receivers(tuple(found[:1]), frozenset({2}), (Unread("x", "y", 1),))
        assert model.update(UdpReading(counts, others)) == ()
        assert set(rows(model)) == {1}
        assert model.snapshot().unread == (Unread("x", "y", 1),)
    for now in range(5, 9):
        others = Receivers(tuple(found[:1]), frozenset({2}))
        model.update(UdpReading(ReceiverCounts((count(1, 5),), at_s=now), others))
    assert feed(model, 9, [count(1, 5), count(2, 9)], found) == ()
    assert rows(model)[2].datagrams == 9
    for now in range(10, 14):
        others = Receivers(tuple(found[:1]), frozenset({2}))
        assert model.update(UdpReading(ReceiverCounts((count(1, 5),), at_s=now), others)) == ()
    assert feed(model, 14, [count(1, 5)], found[:1]) == (2,)


def test_the_most_datagrams_come_first_and_equal_ones_by_place() -> None:
    model = tracker()
    sockets = [
        receiver(6, port=54),
        receiver(5, address="127.0.0.2"),
        receiver(4, remote="192.0.2.1"),
        receiver(3),
        receiver(2),
        receiver(1, port=99),
    ]
    feed(model, 1, [count(1, 7), count(6, 2)], sockets)
    assert [row.inode for row in model.snapshot().sockets] == [1, 6, 2, 3, 4, 5]
    blind = tracker(sees=Sight())
    feed(blind, 1, [], sockets)
    assert [row.inode for row in blind.snapshot().sockets] == [2, 3, 4, 5, 6, 1]
