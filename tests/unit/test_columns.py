"""The columns of what happens between the SYN and the worker: their cells, and when they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import By
from accepttrace.facts.records import Program
from accepttrace.facts.sight import Sight
from accepttrace.model.snapshot import ListenerRow, Snapshot
from accepttrace.views.columns.tcp import TABLE, TcpRow, ordered, rows_of
from accepttrace.views.layout import Strip
from accepttrace.views.sockets import Sockets
from accepttrace.views.table import render
from accepttrace.views.text import plain
from tests.unit.pictures import (
    count,
    feed,
    four_workers,
    holder,
    listener,
    reuseport,
    seen,
    tracker,
    troubled,
)

LOSSES = (
    "lost_on_close",
    "overflow_syn",
    "overflow_peers",
    "overflow_ack",
    "overflow_aborted",
    "refused_accepts",
    "migrated_in",
    "migrated_out",
    "unseen",
)


def cells_of(snapshot: Snapshot, key: str) -> list[str]:
    """Of one column, from the first row to the total."""
    return strip(snapshot, key).cells[1:]


def strip(snapshot: Snapshot, key: str) -> Strip[TcpRow]:
    rows = rows_of(snapshot, snapshot.acceptors)
    return Strip.of(TABLE, TABLE.column(key), rows, rows)


def titles(snapshot: Snapshot, width: int) -> list[str]:
    (line,) = [one for one in plain(render(snapshot, width, 24)).splitlines() if "ACCEPTS" in one]
    return line.split()


def pair(facts: Mapping[int, Mapping[str, Any]], by: By = "socket") -> Snapshot:
    return seen(reuseport((6, 2), by), facts)


def test_a_row_of_a_socket_shows_what_is_known_of_the_socket() -> None:
    snapshot = troubled("socket")
    assert cells_of(snapshot, "arrived") == ["4,985", "708", "5,693"]
    assert cells_of(snapshot, "lost_on_close") == ["0", "203", "203"]
    assert cells_of(snapshot, "overflow_syn") == ["48", "0", "48"]
    assert cells_of(snapshot, "overflow_peers") == ["12", "0", ""]  # some may be the same ones
    assert cells_of(snapshot, "migrated_in") == ["5", "0", "5"]
    assert cells_of(snapshot, "migrated_out") == ["0", "5", "5"]
    assert cells_of(snapshot, "refused_accepts") == ["12", "0", "12"]
    assert cells_of(snapshot, "selector") == ["ebpf 42 steer", "hash", ""]
    assert cells_of(snapshot, "epoch") == ["1", "2", ""]
    assert cells_of(snapshot, "queue") == ["0/511", "n/a", ""]
    assert cells_of(snapshot, "capacity") == ["512", "n/a", ""]


def test_a_row_of_a_group_adds_its_sockets_up() -> None:
    facts = {
        200: {"queue": 3, "queue_max": 40, "queue_mean": 1.5, "overflow_syn": 4},
        201: {"queue": 4, "queue_max": 9, "queue_mean": 0.25, "overflow_syn": 5},
    }
    snapshot = pair(facts, "group")
    assert cells_of(snapshot, "queue") == ["7/1022", ""]
    assert cells_of(snapshot, "capacity") == ["1,024", ""]
    assert cells_of(snapshot, "queue_max") == ["40", ""]  # of one socket
    assert cells_of(snapshot, "queue_mean") == ["1.75", ""]
    assert cells_of(snapshot, "overflow_syn") == ["9", "9"]
    assert cells_of(snapshot, "group_size") == ["2", ""]
    assert cells_of(snapshot, "selector") == ["hash", ""]


def test_a_socket_that_closed_has_no_queue_but_counts_in_its_group() -> None:
    closed = {"queue": None, "open": False, "overflow_syn": 5}
    snapshot = pair({200: {"queue": 3}, 201: closed}, "group")
    assert cells_of(snapshot, "queue") == ["3/511", ""]
    assert cells_of(snapshot, "capacity") == ["512", ""]
    assert cells_of(snapshot, "overflow_syn") == ["5", "5"]


def test_a_group_is_its_own_sockets_and_no_others() -> None:
    """The id alone does not name a group: it may be used again in another family or namespace."""
    snapshot = pair({200: {"lost_on_close": 1}, 201: {"lost_on_close": 2}}, "group")
    stranger = replace(snapshot.listeners[0], inode=999, family="ipv6", lost_on_close=100)
    snapshot = replace(snapshot, listeners=(*snapshot.listeners, stranger))
    assert cells_of(snapshot, "lost_on_close") == ["3", "3"]


def test_what_one_socket_does_not_know_the_group_does_not_know() -> None:
    snapshot = pair({200: {"overflow_syn": 4}, 201: {"overflow_syn": None}}, "group")
    assert cells_of(snapshot, "overflow_syn") == ["n/a", ""]
    assert cells_of(four_workers(by="socket"), "arrived") == ["n/a", ""]


def test_a_program_is_named_by_id_and_name_and_several_are() -> None:
    steer = {"selector": "ebpf", "selector_program": Program(42, "steer")}
    other = {"selector": "ebpf", "selector_program": Program(43, "steer")}
    assert cells_of(pair({200: steer, 201: steer}, "group"), "selector") == ["ebpf 42 steer", ""]
    assert cells_of(pair({200: steer, 201: other}, "group"), "selector") == ["several", ""]


@pytest.mark.parametrize("key", LOSSES)
def test_a_loss_has_a_column_only_where_there_is_one(key: str) -> None:
    assert strip(pair({}), key).empty
    assert strip(pair({200: {key: None}, 201: {key: None}}), key).empty
    assert not strip(pair({200: {key: 1}}), key).empty
    assert TABLE.column(key).title not in titles(pair({}), 300)
    assert set(TABLE.column(key).title.split()) <= {*titles(pair({201: {key: 1}}), 300)}


def test_a_column_shows_for_a_row_that_is_cut_too() -> None:
    snapshot = pair({201: {"lost_on_close": 3}})
    rows = rows_of(snapshot, snapshot.acceptors)
    one = Strip.of(TABLE, TABLE.column("lost_on_close"), rows[:1], rows)
    assert one.cells[1:] == ["0", "3"]
    assert not one.empty


def test_epochs_show_from_the_second_on() -> None:
    assert "EPOCH" not in titles(pair({}), 300)
    assert "EPOCH" in titles(pair({200: {"epoch": 2}}), 300)


def accepted_by(**vias: Any) -> Snapshot:
    """Workers by name of the way in which they accept; `several` does both."""
    model = tracker()
    taken = []
    for pid, (name, via) in enumerate(vias.items(), 1):
        for tid, way in enumerate(via):
            taken.append(count(pid, 2, tid=10 * pid + tid, via=way, comm=name))
    feed(model, 1, taken, [listener(100, [holder(9)])])
    return ordered(model.snapshot(), "pid")


def test_the_way_of_accepting_shows_only_where_it_is_not_the_usual_one() -> None:
    assert "VIA" not in titles(four_workers(), 300)
    assert "VIA" not in titles(accepted_by(a=["syscall"]), 300)
    snapshot = accepted_by(a=["io_uring"], b=["kernel"], c=["syscall"], d=["syscall", "io_uring"])
    assert "VIA" in titles(snapshot, 80)
    ways = dict(
        zip([row.pid for row in snapshot.acceptors], cells_of(snapshot, "via"), strict=False)
    )
    assert ways == {1: "io_uring", 2: "kernel", 3: "syscall", 4: "several", 9: "n/a"}


def test_wake_ups_for_nothing_are_counted_and_set_against_the_connections() -> None:
    model = tracker()
    taken = [count(1, 4, wasted=10), count(1, 4, tid=5, wasted=2), count(2, 0, wasted=3)]
    feed(model, 1, taken, [listener(100, [holder(1), holder(2), holder(3)])])
    snapshot = ordered(model.snapshot(), "pid")
    assert cells_of(snapshot, "wasted_wakeups") == ["12", "3", "0", "15"]
    assert cells_of(snapshot, "wasted_per_accept") == ["1.50", "n/a", "n/a", ""]
    assert "WASTED" in titles(snapshot, 80)
    assert {"WASTED", "PER", "ACCEPT"} <= {*titles(snapshot, 300)}


def test_wake_ups_that_are_not_visible_have_no_column() -> None:
    model = tracker(sees=Sight())
    feed(model, 1, [count(1, 4, empty=None, wasted=None)], [listener(100, [holder(1)])])
    assert model.snapshot().acceptors[0].wasted_wakeups is None
    assert "WASTED" not in titles(model.snapshot(), 300)


def test_a_queue_is_what_ss_says_and_its_capacity_one_more() -> None:
    snapshot = seen(four_workers(by="socket"), {100: {"queue": 512, "backlog": 511}})
    assert cells_of(snapshot, "queue") == ["512/511", ""]
    assert cells_of(snapshot, "capacity") == ["512", ""]


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "w"),
        ({"left": True}, "left w"),
        ({"left": True, "alive": False, "ended": 3}, "left w"),
        ({"alive": False, "pid": 7, "waits": None}, "gone w"),
        ({"alive": False, "pid": 7, "waits": True}, "gone w"),
        ({"alive": False, "pid": None, "waits": False}, "gone w"),
        ({"alive": False, "pid": None, "waits": None}, "closed w"),
        ({"alive": False, "pid": None, "waits": None, "name": ""}, "closed"),
        ({"alive": False, "pid": None, "waits": False, "ended": 1234}, "1,234 gone w"),
        ({"alive": True, "ended": 2}, "w"),
    ],
)
def test_a_name_tells_what_became_of_it(facts: dict[str, Any], name: str) -> None:
    assert cells_of(of_rows({"name": "w", **facts}), "name")[0] == name


def of_rows(*facts: Mapping[str, Any]) -> Snapshot:
    """Rows of one picture, with other facts."""
    snapshot = four_workers()
    rows = [replace(snapshot.acceptors[0], **each) for each in facts]
    return replace(snapshot, acceptors=tuple(rows))


def test_rows_are_sorted_by_where_they_listen() -> None:
    places = [(81, "10.0.0.1"), (80, "10.0.0.2"), (80, "10.0.0.1"), (80, None), (None, None)]
    rows = [{"local_port": port, "local_address": address} for port, address in places]
    found = ordered(of_rows(*rows), "listener").acceptors
    assert [(row.local_port, row.local_address) for row in found] == places[::-1]
    assert cells_of(of_rows({"folded": 1234}), "listener")[0] == "1,234 x 0.0.0.0:80"


def test_what_differs_within_a_row_is_several() -> None:
    two = of_rows({"netns": None}, {"netns": 5}, {"netns": 6})
    assert cells_of(two, "netns")[:3] == ["several", "5", "6"]
    ways = of_rows({"via": None, "accepts": 1}, {"via": None, "accepts": 0}, {"via": "kernel"})
    assert cells_of(ways, "via")[:3] == ["several", "n/a", "kernel"]


def test_the_longest_queue_says_whether_it_may_have_been_longer() -> None:
    for facts, cell in (
        ({"queue_max": 1234, "queue_max_sampled": False}, "1,234"),
        ({"queue_max": 0, "queue_max_sampled": False}, "0"),
        ({"queue_max": 1, "queue_max_sampled": True}, "1+"),
        ({"queue_max": 0, "queue_max_sampled": True}, "n/a"),
        ({"queue_max": None, "queue_max_sampled": True}, "n/a"),
    ):
        assert cells_of(pair({200: facts}), "queue_max")[0] == cell
    for other, cell in ((7, "7+"), (None, "5")):
        second = {"queue_max": other, "queue_max_sampled": True}
        shown = cells_of(pair({200: {"queue_max": 5}, 201: second}, "group"), "queue_max")
        assert shown[0] == cell


def test_a_queue_whose_backlog_is_not_known_still_has_a_length() -> None:
    assert cells_of(pair({200: {"queue": 3, "backlog": None}}), "queue")[0] == "3/n/a"
    unknown = pair({200: {"queue": 3}, 201: {"queue": None}}, "group")
    assert cells_of(unknown, "queue")[0] == "n/a"


def test_a_plain_counter_is_added_up_where_all_of_a_group_have_it() -> None:
    def sent(*counted: Mapping[str, int]) -> list[str]:
        facts = {200 + own: {"counted": each} for own, each in enumerate(counted)}
        return cells_of(pair(facts, "group"), "cookies_sent")

    assert sent({"cookies_sent": 3}, {"cookies_sent": 4}) == ["7", "7"]
    assert sent({"cookies_sent": 3}, {})[0] == "n/a"


def test_only_what_makes_sense_as_a_sum_has_a_total() -> None:
    """Not of what is a ratio, a mean or a quantile, nor of what may be counted twice."""
    without = {one.key for one in TABLE.columns if one.kind != "label" and not one.adds_up}
    assert without == set(
        "group_size epoch fair_ratio cpu recent_ratio local queue capacity queue_max queue_mean"
        " oldest_wait_us wait_p50_us wait_p90_us wait_p99_us wait_max_us wasted_per_accept"
        " overflow_peers".split()
    )


def test_a_row_stands_for_its_own_sockets() -> None:
    snapshot = seen(four_workers())
    (one,), row = snapshot.listeners, snapshot.acceptors[0]
    two, three = (replace(one, inode=inode, group=7) for inode in (2, 3))
    closed = replace(one, inode=None, local_port=81)
    crowd = replace(one, inode=9, folded=3, local_port=82)
    grouped = replace(crowd, group=7)
    sockets = Sockets([one, two, three, closed, crowd, grouped])
    row = replace(row, listener_inode=None, pid=None, group=None)

    def of(**facts: Any) -> list[ListenerRow]:
        return list(sockets.of(replace(row, **facts)))

    assert of(listener_inode=one.inode) == [one]
    assert of(listener_inode=one.inode, pid=5) == [one]
    assert of(listener_inode=99) == []
    assert of(group=7) == [two, three]
    assert of(group=7, listener_inode=3) == [three]
    assert of(group=8) == []
    assert of(group=7, netns=5) == []
    assert of(group=7, local_port=82) == [grouped]
    assert of(local_port=81) == [closed]
    assert of(local_port=81, pid=5) == []
    assert of(local_port=83) == []
    assert of(local_port=82) == []
    assert of(local_port=82, folded=3) == [crowd]
    assert of(local_port=82, folded=3, group=7) == [grouped]
    assert of(local_port=81, folded=3) == []
    twice = Sockets([crowd, replace(crowd, queue=5)])
    assert list(twice.of(replace(row, local_port=82, folded=6))) == []
