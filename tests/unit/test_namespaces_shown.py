"""Network namespaces and devices: distinguished in every view as soon as two differ."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from accepttrace.config import By
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import csvrows, histogram, jsonl, receivers, table
from accepttrace.views.text import plain
from tests.unit import udppictures
from tests.unit.pictures import count, feed, four_workers, holder, listener, tracker

HERE, THERE = 4026531840, 4026532999


def two_namespaces(by: By = "worker") -> Snapshot:
    """The same address twice: ours, and that of a stranger who is called as ours is."""
    model = tracker()
    ours, theirs = [holder(1)], [holder(2)]
    sockets = [listener(100, ours), listener(101, theirs, netns=THERE)]
    taken = [count(1, 25, waits_us=[5] * 25), count(2, 75, 101, waits_us=[5] * 75)]
    feed(model, 1, taken, sockets)
    return model.snapshot(by)


@pytest.mark.parametrize("by", ["worker", "process", "thread", "socket", "group"])
@pytest.mark.parametrize("width", [80, 140, 250])
def test_a_namespace_is_a_column_where_there_are_two(by: By, width: int) -> None:
    text = plain(table.render(two_namespaces(by), width, None))
    assert "NETNS" in text
    assert re.search(rf"\b{HERE}\b.*\b25\b", text)
    assert re.search(rf"\b{THERE}\b.*\b75\b", text)
    assert "in 2 network namespaces" in " ".join(text.split())


def test_a_column_of_one_namespace_is_none() -> None:
    text = plain(table.render(four_workers(), 250, None))
    assert "NETNS" not in text
    assert "network namespaces" not in text


def test_the_rows_that_are_not_shown_count_too() -> None:
    assert "NETNS" in plain(table.render(two_namespaces(), 140, None, rows=1))


def test_bars_and_csv_tell_them_apart() -> None:
    text = plain(histogram.render(two_namespaces(), 100, None))
    assert f"in netns {HERE}" in text
    assert f"in netns {THERE}" in text
    names = csvrows.header("worker").split(",")
    rows = [line.split(",") for line in csvrows.rows(two_namespaces()).splitlines()]
    assert {row[names.index("netns")] for row in rows} == {str(HERE), str(THERE)}


def test_a_device_stands_where_ss_has_it() -> None:
    model = tracker()
    bound = replace(listener(100, [holder(1)]), device="eth0")
    feed(model, 1, [], [bound, listener(101, [holder(2)])])
    text = plain(table.render(model.snapshot(), 120, None))
    assert "0.0.0.0%eth0:80" in text
    assert "0.0.0.0:80" in text
    value = json.loads(jsonl.snapshot_line(model.snapshot()))
    for rows in (value["listeners"], value["acceptors"]):
        assert [row["device"] for row in rows] == ["eth0", None]


def test_udp_tells_them_apart_too() -> None:
    model = udppictures.tracker()
    sockets = [udppictures.receiver(1, [holder(1)])]
    udppictures.feed(model, 1, [udppictures.count(1, 1)], sockets)
    assert "NETNS" not in plain(receivers.render(model.snapshot(), 120, None))
    other = replace(udppictures.receiver(2, [holder(2)]), netns=THERE, device="eth1")
    udppictures.feed(model, 2, [], [*sockets, other])
    text = plain(receivers.render(model.snapshot(), 120, None))
    assert "NETNS" in text
    assert "127.0.0.1%eth1:53" in text
    assert "in 2 network namespaces" in text
