"""UDP: readings in, pictures out. Closed sockets, resolvers, filters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accepttrace.config import Filters
from accepttrace.facts.datagrams import Receiver, ReceiverCounts, Receivers, UdpReading
from accepttrace.facts.records import Losses
from accepttrace.facts.sight import Sight
from accepttrace.model.receivers import CLOSED_ROWS, ReceiverTracker
from accepttrace.views.columns.udp import TABLE, ordered
from tests.unit.udppictures import SEES, count, feed, receiver, tracker


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
