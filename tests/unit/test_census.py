"""Who is who: names, starts, who is alive, and who is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accepttrace.facts.records import NS_PER_TICK, AcceptorCount, Holder, Inventory, Process
from accepttrace.model.census import Census
from tests.unit.pictures import count, holder, listener

FULL = Holder(7, 70, "comm", "name", 6, True, "/web", "docker:1", 3)


def seen(*holders: Holder) -> Inventory:
    return Inventory((listener(100, holders),))


def thread(pid: int, start: float, tid: int = 99) -> AcceptorCount:
    """Of a process of which the start is not known; `start` of the thread in ticks."""
    start_ns = round(start * NS_PER_TICK)
    return replace(count(pid, 1, tid=tid), start_ns=start_ns, process_start_ns=0)


def test_a_holder_is_known_with_all_that_proc_shows() -> None:
    census = Census()
    census.update((), seen(FULL), {})
    assert census.process((7, 70)) == Process(7, 70, "comm", "name", "/web", "docker:1", 3)
    assert census.process((7, 71)) == Process(7, 71)
    assert census.holders == {7}


def test_who_is_alive_is_as_of_the_last_look() -> None:
    census = Census()
    census.update([count(5, 1, start=50)], seen(FULL), {6: Process(6, 60)})
    assert [census.alive(key) for key in ((5, 50), (6, 60), (7, 70), (7, 71))] == [
        *(False, True, True, False)
    ]
    census.update((), None, {})
    assert [census.alive(key) for key in ((6, 60), (7, 70))] == [False, True]
    census.update((), seen(), {})
    assert not census.alive((7, 70))


def test_a_thread_lends_its_name_until_proc_was_read() -> None:
    census = Census()
    census.update([count(5, 1, start=50, comm="nginx")], None, {})
    assert census.process((5, 50)) == Process(5, 50, "nginx", "nginx")
    census.update([count(5, 2, start=50, comm="other")], None, {5: Process(5, 50, "a", "b")})
    census.update([count(5, 3, start=50, comm="other")], None, {})
    assert census.process((5, 50)) == Process(5, 50, "a", "b")


def test_a_start_that_proc_did_not_show_is_the_newest_known() -> None:
    census = Census()
    census.update((), seen(holder(7, start=70), holder(7, start=90, fd=7)), {})
    census.update((), None, {7: Process(7, 0, "late")})
    assert census.process((7, 90)).comm == "late"
    assert census.alive((7, 90))
    census.update((), None, {8: Process(8, 0, "unknown")})
    assert census.alive((8, 0))


@pytest.mark.parametrize(
    ("start", "process"), [(70, 70), (89.9, 70), (90, 90), (200, 90), (69.9, 0), (0, 90)]
)
def test_a_thread_is_of_the_newest_process_that_is_not_younger(start: float, process: int) -> None:
    census = Census()
    census.update((), seen(holder(7, start=70), holder(7, start=90, fd=7)), {})
    assert census.key_of(thread(7, start)) == (7, process)


def test_the_counters_know_the_start_best() -> None:
    census = Census()
    census.update((), seen(holder(7, start=70)), {})
    assert census.key_of(count(7, 1, start=80, tid=9)) == (7, 80)
    assert census.key_of(thread(7, 85.5, tid=7)) == (7, 85)
    assert census.key_of(thread(9, 85, tid=10)) == (9, 0)


def test_only_the_dead_that_nobody_wants_are_forgotten() -> None:
    census = Census()
    old, new, gone = (holder(7, start=start, name=f"{start}", fd=start) for start in (70, 80, 90))
    census.update((), seen(old, new, gone), {})
    census.update([count(5, 1, start=50)], seen(old), {6: Process(6, 60, "six")})
    census.keep([(7, 80)])
    assert census.process((7, 70)).name == "70"
    assert census.process((7, 80)).name == "80"
    assert census.process((6, 60)).comm == "six"
    assert census.process((7, 90)) == Process(7, 90)
    assert census.process((5, 50)) == Process(5, 50)
    assert census.key_of(thread(7, 100)) == (7, 80)
    assert census.key_of(thread(5, 100)) == (5, 0)
    census.update([count(5, 1, start=50)], None, {})
    assert census.key_of(thread(5, 100)) == (5, 50)
