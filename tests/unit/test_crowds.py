"""Listeners by the thousand: idle ones, and those that just closed, share rows; no sum changes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from accepttrace.config import By
from accepttrace.facts.datagrams import Receiver
from accepttrace.facts.records import Holder, Listener
from accepttrace.facts.sight import Sight
from accepttrace.model.crowds import CLOSED_APART, FEW, HOLDERS_NAMED, LEVELS, MOST_ROWS, crowds
from accepttrace.model.grains import GRAINS
from accepttrace.model.receivers import CLOSED_ROWS
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.views.csvrows import rows as csv_rows
from accepttrace.views.jsonl import snapshot_line
from accepttrace.views.receiverlines import snapshot_line as udp_line
from accepttrace.views.receivers import render as render_udp
from accepttrace.views.table import render
from accepttrace.views.text import plain
from tests.unit.pictures import META, count, counted, feed, holder, listener
from tests.unit.test_jsonl import SCHEMA
from tests.unit.test_udp_views import SCHEMA as UDP_SCHEMA
from tests.unit.udppictures import count as udp_count
from tests.unit.udppictures import feed as feed_udp
from tests.unit.udppictures import receiver, tracker

MANY = LEVELS[0][1] + 44
OF_OWNER = LEVELS[1][1] + 88
Holders = tuple[Holder, ...]
SEES = Sight.of(
    *("empty", "errors", "accepts", "arrived"), *("closed", "migrated", "overflow", "selected")
)
STRANGER = 65534


def model(sees: Sight = SEES) -> Tracker:
    return Tracker(META, None, 0.0, sees)


def group(first: int, size: int, pid: int, **facts: object) -> list[Listener]:
    """Sockets of one process in one reuseport group on port 80."""
    found = []
    for inode in range(first, first + size):
        one = listener(inode, [holder(pid, fd=inode)], group=7, size=size)
        found.append(replace(one, **{"uid": STRANGER, **facts}))  # type: ignore[arg-type]
    return found


def server() -> Listener:
    """A busy one of somebody else, on the same port."""
    return replace(listener(1, [holder(10)], address="10.0.0.1"), uid=33)


def the(rows: Iterable[ListenerRow]) -> ListenerRow:
    (found,) = [row for row in rows if row.folded]
    return found


def workers(snapshot: Snapshot) -> dict[int | None, AcceptorRow]:
    return {row.pid: row for row in snapshot.acceptors}


def test_many_idle_ones_at_a_place_share_a_row() -> None:
    it = model()
    feed(it, 1, [count(10, 40, 1)], [server(), *group(100, MANY, 20)])
    for by in (*GRAINS, "group"):
        snapshot = it.snapshot(by)
        own, crowd = sorted(snapshot.listeners, key=lambda row: row.folded)
        assert (own.inode, own.accepted, own.folded) == (1, 40, 0)
        assert (crowd.inode, crowd.folded, crowd.open, crowd.ended) == (None, MANY, True, 0)
        assert (crowd.local_port, crowd.group, crowd.group_size, crowd.backlog) == (
            80,
            7,
            MANY,
            511,
        )
        assert (crowd.accepted, crowd.arrived, crowd.queue, crowd.drops) == (0, 0, 0, None)
        assert [h.pid for h in crowd.holders] == [20]
        assert len(snapshot.acceptors) == 2
        assert sum(row.accepts for row in snapshot.acceptors) == snapshot.books.accepts == 40
    mine = workers(it.snapshot())[20]
    assert (mine.listener_inode, mine.folded, mine.waits, mine.group) == (None, MANY, True, 7)
    (row,) = [row for row in it.snapshot("socket").acceptors if row.folded]
    assert (row.folded, row.alive, row.selected, row.accepts) == (MANY, True, 0, 0)


def test_who_closed_while_it_was_read_is_one_of_the_crowd_at_its_place() -> None:
    """Its group is not known; at another place, where there is none, it stands alone."""
    known = group(1_000, 300, 7)
    gone = [replace(one, inode=one.inode + 1_000, group=None) for one in known[:80]]
    elsewhere = [replace(one, inode=one.inode + 2_000, local_port=81) for one in gone]
    ((crowd, members),) = crowds([*known, *gone, *elsewhere]).items()
    assert crowd.group == known[0].group
    assert members == [*known, *gone]
    unknown = [replace(one, group=None) for one in known]
    some = [replace(one, group=known[0].group) for one in gone]
    ((crowd, members),) = crowds([*unknown, *some]).items()
    assert (crowd.group, members) == (known[0].group, [*some, *unknown])
    few = [
        *known[:140],
        *(replace(one, inode=one.inode + 3_000, group=None) for one in known[:140]),
    ]
    assert [*crowds(few).values()] == [few]
    others = group(9_000, 140, 9, group=8)
    assert crowds([*few, *others]) == {}  # of which of the two groups is not known


def test_as_many_as_a_server_has_keep_rows_of_their_own() -> None:
    it = model()
    feed(it, 1, [], group(100, LEVELS[0][1], 20))
    snapshot = it.snapshot("socket")
    assert len(snapshot.listeners) == len(snapshot.acceptors) == LEVELS[0][1]
    assert not any(row.folded for row in snapshot.listeners)
    assert not any(row.folded for row in snapshot.acceptors)


def test_who_gets_a_client_gets_a_row_and_ratios_stay_those_of_all() -> None:
    it = model()
    sockets = group(100, MANY, 20)
    feed(it, 1, [], sockets)
    feed(it, 2, [count(20, 6, 100), count(20, 4, 101)], sockets)
    assert the(it.snapshot().listeners).folded == MANY - 2
    by_socket = it.snapshot("socket").acceptors
    ratios = {row.listener_inode: row.fair_ratio for row in by_socket}
    assert ratios == pytest.approx({100: 6 * MANY / 10, 101: 4 * MANY / 10, None: 0})
    by_worker = {row.listener_inode: row for row in it.snapshot().acceptors}
    assert {inode: row.accepts for inode, row in by_worker.items()} == {100: 6, 101: 4, None: 0}
    assert (by_worker[None].fair_ratio, by_worker[None].folded) == (0, MANY - 2)
    assert it.snapshot("group").acceptors[0].accepts == 10
    assert it.snapshot("process").acceptors[0].fair_ratio is not None


def test_what_happened_anywhere_is_no_part_of_it() -> None:
    it = model()
    odd = [
        replace(listener(1), queue=3),
        replace(listener(2), half_open=1),
        replace(listener(3), drops=0),
    ]
    odd = [replace(one, uid=STRANGER) for one in odd]
    for second, drops in ((1, 0), (2, 5)):
        odd[2] = replace(odd[2], drops=drops)
        requests = replace(counted(4), requests=1)
        there = [*odd, replace(listener(4), uid=STRANGER), *group(100, MANY, 20)]
        feed(it, second, [], there, counted=[requests])
    snapshot = it.snapshot()
    assert {row.inode for row in snapshot.listeners} == {1, 2, 3, 4, None}
    assert the(snapshot.listeners).folded == MANY


def test_what_cannot_be_seen_is_not_0_of_many() -> None:
    it = model(Sight())
    feed(it, 1, [], group(100, MANY, 20, queue=None))
    crowd = the(it.snapshot().listeners)
    assert (crowd.arrived, crowd.queue, crowd.lost_on_close, crowd.book) == (
        *(None,) * 3,
        "unchecked",
    )


def test_facts_in_which_they_differ_are_n_a() -> None:
    it = model()
    sockets = group(100, MANY, 20)
    sockets[5] = replace(sockets[5], backlog=1, selector="cbpf")
    feed(it, 1, [], sockets)
    crowd = the(it.snapshot().listeners)
    assert (crowd.backlog, crowd.capacity, crowd.selector) == (None,) * 3
    assert (crowd.local_address, crowd.group_size) == ("0.0.0.0", MANY)


def test_idle_ones_of_one_owner_at_many_places_share_a_row() -> None:
    it = model()
    theirs = [
        replace(listener(100 + n, [holder(20)], port=1000 + n), uid=STRANGER)
        for n in range(OF_OWNER)
    ]
    others = [replace(listener(1 + n, [holder(10)], port=5000 + n), uid=33) for n in range(50)]
    feed(it, 1, [count(20, 3, 100)], [*others, *theirs])
    snapshot = it.snapshot()
    crowd = the(snapshot.listeners)
    assert (crowd.folded, crowd.local_port, crowd.local_address) == (OF_OWNER - 1, None, "0.0.0.0")
    assert len(snapshot.listeners) == 50 + 1 + 1


def test_a_thousand_workers_that_wait_on_a_hundred_each_have_a_row_each() -> None:
    it = model()
    sockets, pids = 2 * FEW, range(10, 11 + MOST_ROWS // (2 * FEW))
    held = tuple(map(holder, pids))
    there = [listener(100 + n, held, port=1000 + n) for n in range(sockets)]
    feed(it, 1, [], there)
    snapshot = it.snapshot()
    assert the(snapshot.listeners).folded == sockets
    assert {row.pid: row.folded for row in snapshot.acceptors} == dict.fromkeys(pids, sockets)
    feed(it, 2, [], [replace(one, holders=held[1:]) for one in there])
    assert not any(row.folded for row in it.snapshot().listeners)


def test_those_who_hold_many_are_named_up_to_a_limit() -> None:
    it = model()
    sockets = [replace(one, holders=(holder(1000 + one.inode),)) for one in group(100, MANY, 20)]
    feed(it, 1, [], sockets)
    crowd = the(it.snapshot().listeners)
    assert len(crowd.holders) == HOLDERS_NAMED
    assert crowd.holders_elsewhere == MANY - HOLDERS_NAMED


def test_a_listed_one_that_closes_without_a_client_has_no_row_any_more() -> None:
    it = model()
    sockets = group(100, 4, 20)
    feed(it, 1, [count(20, 7, 100)], sockets)
    feed(it, 2, [count(20, 7, 100)], sockets)
    feed(it, 3, [count(20, 7, 100)], sockets)
    stopped = [replace(counted(inode), stops=1) for inode in (110, 111)]
    more = group(110, 2, 20, group=8)
    feed(it, 4, [count(20, 7, 100)], [*sockets, *more])
    assert {row.inode for row in it.snapshot().listeners} == {100, 101, 102, 103, 110, 111}
    feed(it, 5, [count(20, 7, 100)], sockets, counted=stopped)
    assert {row.inode for row in it.snapshot().listeners} == {100, 101, 102, 103}
    assert len(it.snapshot().acceptors) == 4


@pytest.mark.parametrize("holders", [(), (holder(20),)])
def test_who_had_a_part_in_the_group_is_remembered_when_it_closes(holders: Holders) -> None:
    it = model()
    sockets = [replace(one, holders=holders) for one in group(100, 2, 20)]
    feed(it, 1, [], sockets)
    feed(it, 2, [count(20, 7, 100)], sockets)
    feed(it, 3, [count(20, 7, 100)], sockets[:1])
    assert {row.inode for row in it.snapshot().listeners} == {100, 101}


@pytest.mark.parametrize("by", [*GRAINS, "group"])
def test_many_that_closed_just_now_are_summed_up_where_they_were(by: By) -> None:
    it, size = model(), 2 * CLOSED_APART
    taken = [count(20, 1, inode) for inode in range(100, 100 + size)]
    feed(it, 1, taken, [server(), *group(100, size, 20)])
    for second in (2, 3, 4):
        feed(it, second, taken, [server()])
        snapshot = it.snapshot(by)
        assert len(snapshot.listeners) <= 2 + CLOSED_APART
        assert sum(row.ended or row.inode != 1 for row in snapshot.listeners) == size
        assert sum(row.accepted for row in snapshot.listeners) == size
        assert sum(row.accepts for row in snapshot.acceptors) == snapshot.books.accepts == size


def test_those_that_closed_later_are_added_to_those_that_closed_before() -> None:
    it, size = model(), 2 * CLOSED_APART
    first = [count(20, 1, inode) for inode in range(100, 100 + size)]
    feed(it, 1, first, [server(), *group(100, size, 20)])
    for second in (2, 3, 4):
        feed(it, second, first, [server()])
        it.snapshot()
    both = [*first, *(count(20, 2, inode) for inode in range(500, 500 + size))]
    feed(it, 5, both, [server(), *group(500, size, 20)])
    feed(it, 6, both, [server()])
    closed = [row for row in it.snapshot().listeners if row.inode != 1]
    assert sum(row.ended or 1 for row in closed) == 2 * size
    assert sum(row.accepted for row in closed) == 3 * size
    for second in (7, 8, 9):
        feed(it, second, both, [server()])
        rows = [row for row in it.snapshot("socket").acceptors if row.accepts]
    assert sum(row.ended or 1 for row in rows) == 2 * size
    assert sum(row.accepts for row in rows) == 3 * size


def test_threads_of_a_worker_that_closed_many_are_one_worker() -> None:
    it, size = model(), 2 * CLOSED_APART
    taken = [count(20, 1, 100 + at, tid=20 + at % 2) for at in range(size)]
    feed(it, 1, taken, [server(), *group(100, size, 20)])
    feed(it, 2, taken, [server()])
    rows = {by: [row for row in it.snapshot(by).acceptors if row.accepts] for by in GRAINS}
    assert [row.accepts for row in rows["worker"]] == [size]
    assert [(row.tid, row.accepts) for row in rows["thread"]] == [(20, size // 2), (21, size // 2)]


def test_every_view_says_how_many_there_are() -> None:
    it = model()
    feed(it, 1, [count(10, 40, 1)], [server(), *group(100, MANY, 20)])
    line = snapshot_line(it.snapshot())
    Draft202012Validator(SCHEMA).validate(json.loads(line))
    assert len(line) < 6000
    assert [row["folded"] for row in json.loads(line)["listeners"]] == [MANY, 0]
    table = plain(render(it.snapshot(), 160, None))
    assert f"on {MANY + 1} listeners" in table
    assert f"{MANY} x 0.0.0.0:80" in table
    assert f"0/{511 * MANY}" in plain(render(it.snapshot("socket"), 200, None))
    assert len(csv_rows(it.snapshot("socket")).splitlines()) == 2


def test_a_parent_of_workers_holds_as_many_as_there_are() -> None:
    it = model()
    sockets = [
        replace(one, holders=(holder(20), holder(30, False))) for one in group(100, MANY, 20)
    ]
    feed(it, 1, [], sockets)
    assert f"(pid 30) holds {MANY} listeners" in plain(render(it.snapshot(), 120, None))


def datagram_sockets(many: int) -> list[Receiver]:
    """Of one process each, on one address and port."""
    return [receiver(100 + n, [holder(20 + n)], group=7) for n in range(many)]


def test_sockets_that_got_no_datagram_share_a_row() -> None:
    it = tracker()
    sockets = [*datagram_sockets(MANY), receiver(1, [holder(10)], address="10.0.0.1")]
    sockets[3] = replace(sockets[3], queue=1, queue_bytes=768)
    feed_udp(it, 1, [udp_count(1, 9), udp_count(100, 5)], sockets)
    snapshot = it.snapshot()
    rows = {row.inode: row for row in snapshot.sockets}
    assert {inode: row.datagrams for inode, row in rows.items()} == {1: 9, 100: 5, 103: 0, None: 0}
    crowd = rows[None]
    assert (crowd.folded, crowd.queue, crowd.drops, crowd.open) == (MANY - 2, 0, 0, True)
    assert len(crowd.holders) + crowd.holders_more == MANY - 2
    assert (snapshot.books.datagrams, snapshot.books.unlisted_sockets) == (14, 0)
    line = udp_line(snapshot)
    Draft202012Validator(UDP_SCHEMA).validate(json.loads(line))
    table = plain(render_udp(snapshot, 160, None))
    assert f"{MANY + 1} workers on {MANY + 1} sockets" in table
    assert f"{MANY - 2} x 127.0.0.1:53" in table


@pytest.mark.parametrize("got", [0, 2])
def test_sockets_that_closed_just_now_have_no_row_each(got: int) -> None:
    it, many = tracker(), 2 * CLOSED_ROWS
    counts = [udp_count(100 + n, got) for n in range(many)]
    feed_udp(it, 1, counts, datagram_sockets(many))
    for second in (2, 3, 4):
        feed_udp(it, second, counts if second < 4 else [], [])
        snapshot = it.snapshot()
        assert len(snapshot.sockets) <= CLOSED_ROWS
        assert snapshot.books.datagrams == got * many
        shown = len(snapshot.sockets) + snapshot.books.unlisted_sockets
        assert shown == (many if got else 0)
