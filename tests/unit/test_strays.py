"""Accepts through descriptors that changed meanwhile: given to the only listener of their port."""

from __future__ import annotations

from dataclasses import replace

from accepttrace.facts.records import Counts, Inventory, PortCount
from accepttrace.model.strays import Strays
from tests.unit.pictures import counted, listener

FIRST, SECOND, ELSEWHERE = listener(100), listener(101), listener(102, port=81)
NETNS = FIRST.netns


def strayed(number: int) -> Counts:
    return Counts(ports=(PortCount(NETNS, 80, 9, number),))


def given(counts: Counts) -> dict[int, int]:
    return {row.inode: row.uncounted for row in counts.listeners if row.uncounted}


def test_the_only_listener_of_a_port_gets_them() -> None:
    found = Strays().settle(strayed(5), Inventory((FIRST, ELSEWHERE)))
    assert given(found) == {100: 5}
    assert found.losses.unattributed == 0
    assert found.ports == (PortCount(NETNS, 80, 9, 0),)


def test_among_several_listeners_none_is_right() -> None:
    found = Strays().settle(strayed(5), Inventory((FIRST, SECOND)))
    assert given(found) == {}
    assert found.losses.unattributed == 5
    assert found.ports == (PortCount(NETNS, 80, 9, 5),)


def test_what_was_given_stays_given() -> None:
    strays = Strays()
    strays.settle(strayed(5), Inventory((FIRST,)))
    found = strays.settle(strayed(7), Inventory((FIRST, SECOND)))
    assert given(found) == {100: 5}
    assert found.losses.unattributed == 2
    found = strays.settle(strayed(8), Inventory((SECOND,)))
    assert given(found) == {101: 1}  # nothing is reported again of one that is closed
    assert found.losses.unattributed == 2


def test_a_listener_that_closed_before_it_was_listed_is_known_by_its_counts() -> None:
    row = replace(counted(100), uncounted=3)
    found = Strays().settle(replace(strayed(5), listeners=(row,)), Inventory(()))
    assert given(found) == {100: 8}


def test_a_row_that_was_deleted_begins_anew() -> None:
    strays = Strays()
    strays.settle(strayed(5), Inventory((FIRST,)))
    assert given(strays.settle(strayed(2), None)) == {100: 7}


def test_what_was_left_at_a_port_that_is_gone_stays_lost_and_the_port_is_forgotten() -> None:
    strays = Strays()
    strays.settle(strayed(5), Inventory((FIRST, SECOND)))
    for _ in range(2):
        assert strays.settle(Counts(), Inventory(())).losses.unattributed == 5
    found = strays.settle(strayed(2), Inventory((FIRST, SECOND)))  # a new row
    assert found.losses.unattributed == 7
    assert found.ports == (PortCount(NETNS, 80, 9, 2),)


def test_nothing_changes_where_nothing_strayed() -> None:
    counts = strayed(0)
    assert Strays().settle(counts, Inventory((FIRST,))) is counts
