"""The columns of `--udp`: who owns a socket, where it is, and in which order rows stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.facts.records import Holder, Program
from accepttrace.model.datagrams import ReceiverRow, ReceiverSnapshot
from accepttrace.views.columns.udp import TABLE, ordered, owners
from tests.unit.udppictures import feed, receiver, tracker


def snapshot(*facts: dict[str, Any]) -> ReceiverSnapshot:
    """Rows of sockets that nobody holds, with other facts."""
    model = tracker()
    feed(model, 1, [], [receiver(1)])
    (row,) = model.snapshot().sockets
    rows = [replace(row, inode=number, **each) for number, each in enumerate(facts, 1)]
    return replace(model.snapshot(), sockets=tuple(rows))


def row(**facts: Any) -> ReceiverRow:
    return snapshot(facts).sockets[0]


def cell(key: str, **facts: Any) -> str:
    column = TABLE.column(key)
    return column.text(column.shown([row(**facts)]))[0]


def held(*waits: bool | None, name: str = "") -> tuple[Holder, ...]:
    return tuple(Holder(9 - n, 1, "comm", name, 3, each) for n, each in enumerate(waits))


@pytest.mark.parametrize(
    ("waits", "who"),
    [
        ((), []),
        ((False, True, None, True), [8, 6]),
        ((False, None, False), [8]),
        ((False, False), [9, 8]),
    ],
)
def test_the_owners_are_those_who_wait_or_may(waits: Sequence[bool | None], who: list[int]) -> None:
    holders = held(*waits)
    assert [holder.pid for holder in owners(row(holders=holders))] == who
    cells = {0: "n/a", 1: str((who or [0])[0]), 2: "several"}
    assert cell("pid", holders=holders) == cells[len(who)]
    assert TABLE.column("pid").value(row(holders=holders)) == min(who, default=None)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"holders": ()}, "n/a"),
        ({"holders": held(True)}, "comm"),
        ({"holders": held(True, name="dns")}, "dns"),
        ({"holders": held(True, True, name="dns")}, "2 x dns"),
        ({"holders": (*held(True), *held(True, name="dns"))}, "2 x comm, dns"),
        ({"holders": (), "open": False}, "closed"),
        ({"holders": held(True), "open": False}, "closed comm"),
    ],
)
def test_the_name_is_that_of_the_owners(facts: dict[str, Any], name: str) -> None:
    assert cell("name", **facts) == name


def test_a_place_is_an_endpoint() -> None:
    assert cell("local") == "127.0.0.1:53"
    assert cell("local", folded=1234, device="eth0") == "1,234 x 127.0.0.1%eth0:53"
    assert cell("remote") == ""
    assert cell("remote", remote_address="::1", remote_port=9, family="ipv6") == "[::1]:9"
    assert cell("selector", selector="ebpf", selector_program=Program(3, "p")) == "ebpf 3 p"


def test_rows_are_sorted_by_address_and_port() -> None:
    places = [(81, "10.0.0.1"), (80, "10.0.0.2"), (80, "10.0.0.1"), (80, None), (None, None)]
    local = snapshot(*({"local_port": p, "local_address": a} for p, a in places))
    assert [one.inode for one in ordered(local, "local").sockets] == [5, 4, 3, 2, 1]
    peers = [("10.0.0.2", 1), (None, None), ("10.0.0.1", 7), ("10.0.0.1", 5), ("10.0.0.1", None)]
    remote = snapshot(*({"remote_port": p, "remote_address": a} for a, p in peers))
    assert [one.inode for one in ordered(remote, "remote").sockets] == [5, 4, 3, 1, 2]
    owned = snapshot({"holders": held(True)}, {"holders": held(False, True)}, {"holders": ()})
    assert [one.inode for one in ordered(owned, "pid").sockets] == [2, 1, 3]
