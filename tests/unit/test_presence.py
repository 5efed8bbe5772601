"""Who waits, who serves, who left; and who waits and accepted nothing yet."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import AcceptorCount, Counts, Holder, Inventory, Listener, Process
from accepttrace.model.census import Census
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.presence import Presence
from accepttrace.model.tallies import Tallies
from tests.unit.pictures import count, holder, listener

SERVES_S = 10.0


def name(_: Entry) -> Bygone:
    return Bygone("httpd", kept=True)


class Scene:
    """Readings of what listens and who accepted."""

    def __init__(self) -> None:
        self.census, self.listeners = Census(), Listeners(Filters())
        self.tallies = Tallies(self.census, name, lambda *_: None)
        self.it = Presence(self.listeners, self.census, self.tallies)

    def read(
        self,
        found: Iterable[Listener] | None,
        *rows: AcceptorCount,
        now_s: float = 1.0,
        others: Iterable[int] = (),
    ) -> list[Entry]:
        """`others`: processes that hold no listener, by pid."""
        inventory = None if found is None else Inventory(tuple(found))
        counts = Counts(rows, at_s=now_s)
        self.census.update(rows, inventory, {pid: Process(pid, pid) for pid in others})
        self.tallies.count(counts, now_s)
        self.listeners.update(counts, inventory, (), now_s)
        return self.it.update(now_s, looked=inventory is not None)

    def found(self) -> dict[tuple[Socket, object], tuple[bool | None, bool]]:
        """Whether each waits, and has left."""
        return {(e.socket, e.process): (e.waits, e.left) for e in self.it.entries}

    def waits(self, pid: int = 1, inode: int = 100) -> tuple[bool | None, bool]:
        return self.found()[inode, (pid, pid)]


def test_those_who_wait_and_accepted_nothing_are_entries_too() -> None:
    it = Scene()
    it.read([listener(holders=[holder(1), holder(2, None), holder(3, False)])], count(1, 5))
    assert it.found() == {
        (100, (1, 1)): (True, False),
        (100, (2, 2)): (None, False),
        (100, (3, 3)): (False, False),
    }
    assert [entry.thread for entry in it.it.entries] == [(1, 10_004_321), None, None]


@pytest.mark.parametrize("look", [True, False, None])
def test_who_asked_lately_may_be_too_busy_to_wait(look: bool | None) -> None:
    it, there = Scene(), [listener(holders=[holder(1, look)])]
    it.read(there, count(1, 5), now_s=1.0)
    assert it.waits() == (True, False)
    it.read(there, count(1, 5), now_s=0.9 + SERVES_S)
    assert it.waits() == (True, False)
    it.read(there, count(1, 5), now_s=1.0 + SERVES_S)
    assert it.waits() == (look, False)
    it.read(there, count(1, 6), now_s=2.0 + SERVES_S)
    assert it.waits() == (True, False)


@pytest.mark.parametrize(
    ("row", "waits"),
    [
        (count(1, 1), True),
        (count(1, 0, empty=1), True),
        (count(1, 0, errors={24: 1}), True),
        (count(1, 0), False),
        (count(1, 0, empty=None), False),
    ],
)
def test_who_was_sent_away_asked_too(row: AcceptorCount, waits: bool) -> None:
    it = Scene()
    it.read([listener(holders=[holder(1, False)])], row)
    assert it.waits() == (waits, False)


def test_who_is_not_alive_waits_no_more_and_has_not_left() -> None:
    it = Scene()
    it.read([listener(holders=[holder(1), holder(2)])], count(1, 5))
    gone = it.read([listener(holders=[holder(2)])], count(1, 5), now_s=2.0)
    assert (it.waits(), gone) == ((False, False), [])
    gone = it.read([listener(holders=[])], count(1, 5), now_s=3.0)
    assert [(entry.socket, entry.process) for entry in gone] == [(100, (2, 2))]
    assert set(it.found()) == {(100, (1, 1))}


@pytest.mark.parametrize(
    ("row", "then", "found"),
    [
        (count(1, 5), [holder(2)], (False, True)),
        (count(1, 5, via="io_uring"), [holder(2)], (True, False)),
        (count(1, 0, empty=1, via="io_uring"), [holder(2)], (False, True)),
        (count(1, 5), [], (True, False)),
        (count(1, 0), [], (None, False)),
    ],
)
def test_who_holds_it_no_more_has_left_if_it_took_by_a_descriptor(
    row: AcceptorCount, then: list[Holder], found: tuple[bool | None, bool]
) -> None:
    it = Scene()
    it.read([listener(holders=[holder(1), holder(2)])], row)
    it.read([listener(holders=then)], row, now_s=2.0, others=[1])
    assert it.waits() == found
    it.read([listener(holders=[holder(1), holder(2)])], row, now_s=3.0)
    assert it.waits() == (True, False)


def test_who_accepted_since_the_look_before_has_not_left() -> None:
    it = Scene()
    it.read([listener(holders=[holder(1), holder(2)])], count(1, 5))
    it.read([listener(holders=[holder(2)])], count(1, 6), now_s=2.0, others=[1])
    assert it.waits() == (True, False)
    it.read(None, count(1, 6), now_s=3.0, others=[1])
    assert it.waits() == (True, False)
    it.read([listener(holders=[holder(2)])], count(1, 6), now_s=4.0, others=[1])
    assert it.waits() == (False, True)


def test_of_those_without_a_row_it_is_not_known_and_sums_do_not_wait() -> None:
    it = Scene()
    it.tallies.count_without_row(100, 5, 1.0)
    it.tallies.wait_no_more(Entry(100, Bygone("httpd", kept=True)))
    it.read([listener()])
    answers = {entry.process: entry.waits for entry in it.it.entries}
    assert list(answers.values()) == [None, False]


def member(inode: int, *holders: Holder) -> Listener:
    return listener(inode, holders, group=7, size=2)


def test_a_hold_of_one_who_works_elsewhere_in_the_group_is_no_entry() -> None:
    def both(first: bool | None, second: bool | None) -> set[tuple[Socket, object]]:
        it = Scene()
        it.read([member(100, holder(1, first)), member(101, holder(1, second))])
        return set(it.found())

    here, there = (100, (1, 1)), (101, (1, 1))
    assert both(True, False) == {here}
    assert both(None, True) == {there}
    assert both(True, True) == {here, there}
    assert both(False, False) == {here, there}
    assert both(False, None) == {here, there}
    it = Scene()
    it.read([member(100, holder(1, False)), member(101, holder(1, False))], count(1, 5))
    assert set(it.found()) == {here}
    it = Scene()
    it.read([listener(100, [holder(1)]), listener(101, [holder(1, False)])])
    assert set(it.found()) == {here, there}


def test_entries_know_their_set_and_keep_their_part() -> None:
    it = Scene()
    it.read([member(100, holder(1)), listener(101, [holder(2)])], count(2, 5, 101))
    assert [entry.members[0] for entry in it.it.entries] == ["socket", "group"]
    idle = it.it.entries[1]
    it.read([member(100, holder(1), holder(3)), listener(101, [holder(2)])])
    assert idle in it.it.entries
    gone = it.read([])
    assert [entry.process for entry in gone] == [(1, 1), (3, 3)]
    assert it.read([]) == []
