"""What rows are called, by what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Counts, Inventory, Process
from accepttrace.model.census import Census, ProcessKey
from accepttrace.model.entries import SEVERAL, Bygone, Entry, Thread
from accepttrace.model.labels import (
    NAMED,
    Where,
    Who,
    common,
    few,
    of_place,
    of_process,
    of_sockets,
)
from accepttrace.model.listeners import Listeners
from accepttrace.model.order import ordered
from accepttrace.model.places import ELSEWHERE, Place
from accepttrace.model.tallies import WITHOUT_ROW
from tests.unit.pictures import count, counted, four_workers, listener

NETNS = listener().netns
KEY: ProcessKey = (7, 70)
PROGRAM = Bygone("httpd", kept=True)


def census(*processes: Process, alive: bool = True) -> Census:
    known = Census()
    for process in processes:
        known.update((), None, {process.pid: process})
    known.update((), None, {one.pid: one for one in processes} if alive else {})
    return known


FULL = Process(7, 70, "comm", "name", "/web", "docker:1", 3)


def test_a_process_is_called_as_proc_says() -> None:
    entries = [Entry(100, KEY, (8, 9), count(7, 1, comm="thread"), waits=False)]
    assert of_process(entries, census(FULL), by_thread=False) == Who(
        *(7, None, "comm", "name", True, False, False, 0, "/web", "docker:1", 3)
    )
    unnamed = census(replace(FULL, name=""))
    assert of_process(entries, unnamed, by_thread=False).name == "comm"
    nobody = of_process(entries, Census(), by_thread=False)
    assert (nobody.comm, nobody.name, nobody.alive) == ("thread", "thread", False)
    other = Entry(101, KEY, (9, 9), count(7, 1, comm="other"))
    assert of_process([*entries, other], Census(), by_thread=False).comm == "thread"
    unknown = of_process([Entry(100, KEY)], Census(), by_thread=False)
    assert (unknown.comm, unknown.name) == ("", "")


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        ((True, None), True),
        ((False, True), True),
        ((False, None), None),
        ((False, False), False),
    ],
)
def test_a_row_waits_if_one_of_it_does(answers: Sequence[bool | None], waits: bool | None) -> None:
    entries = [Entry(100, KEY, waits=answer) for answer in answers]
    assert of_process(entries, census(FULL), by_thread=False).waits is waits


def test_a_process_has_left_if_it_did_everywhere() -> None:
    both = [Entry(100, KEY, left=True), Entry(101, KEY, left=False)]
    assert not of_process(both, census(FULL), by_thread=False).left
    assert of_process(both[:1], census(FULL), by_thread=False).left
    assert not of_process(both[:1], census(FULL, alive=False), by_thread=False).left


@pytest.mark.parametrize(
    ("comm", "process", "name"),
    [
        ("http-nio", FULL, "name: http-nio"),
        ("comm", FULL, "name"),
        ("", FULL, "name"),
        ("MainThread", FULL, "name"),
        ("na", FULL, "name"),
        ("http-nio", replace(FULL, name=""), "comm: http-nio"),
        ("http-nio", Process(7, 70), "http-nio"),
        ("", Process(7, 70), ""),
    ],
)
def test_a_thread_has_a_name_of_its_own_if_it_is_another(
    comm: str, process: Process, name: str
) -> None:
    entries = [Entry(100, KEY, (8, 9), count(7, 1, comm=comm))]
    who = of_process(entries, census(process), by_thread=True)
    assert (who.tid, who.comm, who.name, who.alive) == (8, comm, name, True)


@pytest.mark.parametrize(
    ("thread", "ended", "tid", "alive", "number"),
    [
        ((8, 9), 0, 8, True, 0),
        ((8, 9), 1, 8, False, 0),
        (SEVERAL, 2, None, False, 2),
        (None, 0, None, True, 0),
    ],
)
def test_threads_that_ended_are_counted_where_they_are_several(
    thread: Thread | None, ended: int, tid: int | None, alive: bool, number: int
) -> None:
    entries = [Entry(100, KEY, thread, count(7, 1, comm="other"), ended=ended)]
    who = of_process(entries, census(FULL), by_thread=True)
    assert (who.tid, who.alive, who.ended) == (tid, alive, number)
    assert who.name == ("name" if number else "name: other")
    process = of_process(entries, census(FULL), by_thread=False)
    assert (process.tid, process.alive, process.ended) == (None, True, 0)


def test_a_program_stands_for_processes_that_ended() -> None:
    entries = [Entry(100, PROGRAM, workers=2), Entry(101, PROGRAM, workers=3)]
    gone = Who(None, None, "", "httpd", alive=False, waits=False, ended=5)
    assert of_process(entries, Census(), by_thread=False) == gone
    lives = Who(None, None, "", WITHOUT_ROW.name, alive=True, waits=None, ended=0)
    some = [Entry(100, WITHOUT_ROW, workers=4)]
    assert of_process(some, Census(), by_thread=True) == lives


def listeners(inventory: Inventory, *counts: int) -> Listeners:
    known = Listeners(Filters())
    known.update(Counts((), tuple(map(counted, counts))), inventory, (), 1.0)
    return known


def test_sockets_are_called_after_those_who_serve_them() -> None:
    there = listeners(Inventory((listener(),)))
    people = census(Process(1, 1, "a", "one"), Process(2, 2, "b", ""), Process(3, 3, "a", "one"))
    entries = [Entry(100, (pid, pid), count=count(pid, pid > 1), waits=False) for pid in (3, 2, 1)]
    found = of_sockets(entries, [100], there, people)
    assert found == Who(None, None, "", "2 x b, one", alive=True, waits=False)
    same = of_sockets([entries[0]], [100, 999], there, people)
    assert (same.comm, same.name, same.alive) == ("a", "one", True)
    entries[-1].waits = True
    three = of_sockets(entries, iter([100]), there, people)
    assert (three.name, three.waits) == ("3 x one, b", True)
    closed = of_sockets(entries, [999], there, people)
    assert (closed.alive, closed.waits) == (False, None)


def test_the_dead_name_a_socket_only_where_nobody_lives() -> None:
    there = listeners(Inventory((listener(),)))
    people = census(Process(1, 1, "a", "one"))
    dead = Entry(100, (2, 2), count=count(2, 5))
    people.update([count(2, 5, comm="dead")], None, {1: Process(1, 1, "a", "one")})
    live = Entry(100, (1, 1), waits=True)
    bygone = [Entry(100, PROGRAM, count=count(9, 1)), Entry(100, PROGRAM, count=count(9, 1))]
    bygone += [Entry(100, Bygone("zero", kept=True))]
    assert of_sockets([dead, live, *bygone], [100], there, people).name == "one"
    assert of_sockets([dead, *bygone], [100], there, people).name == "dead"
    assert of_sockets(bygone, [100], there, people).name == "httpd"
    assert of_sockets([], [100], there, people) == Who(None, None, "", "", True, None)


def test_few_are_named_and_the_others_counted() -> None:
    assert few([]) == ""
    assert few(["a"]) == "a"
    assert few(list("abcd")) == "a, b, c, d"
    assert few(list("abcde")) == "a, b, c, d and 1 more"
    assert few(["x"] * (NAMED + 1000)) == "x, x, x, x and 1,000 more"


def test_what_all_have_in_common() -> None:
    assert [common(values) for values in ([], [3], [3, 3], [3, 4], [3, 3, 4], [0, 0])] == [
        *(None, 3, 3, None, None, 0)
    ]


def test_sockets_listen_where_they_all_do() -> None:
    one = replace(listener(group=7, size=2), device="eth0")
    other = replace(one, inode=101)
    sole = listener(103, address="10.0.0.1", port=81, netns=1)
    there = listeners(Inventory((one, other, sole)), 102)
    here = Where(100, NETNS, "ipv4", "0.0.0.0", 80, "eth0", 7)
    assert of_place([100], there) == here
    assert of_place([100, 101], there) == here._replace(inode=None)
    assert of_place(iter([101, 999]), there) == here._replace(inode=None)
    assert of_place([102], there) == Where(102, NETNS, "ipv4", "0.0.0.0", 80, None, None)
    assert of_place([100, 102], there) == here._replace(inode=None, device=None, group=None)
    assert of_place([999], there) == Where(999, None, None, None, None, None, None)
    assert of_place([], there) == Where(None, None, None, None, None, None, None)
    far = Where(None, None, "ipv4", None, None, None, None)
    assert of_place([100, 103], there) == far


def test_places_are_where_they_say() -> None:
    there = listeners(Inventory((listener(),)))
    place = Place(NETNS, "ipv4", "10.0.0.1", 80)
    here = Where(None, NETNS, "ipv4", "10.0.0.1", 80, None, None)
    assert of_place([place], there) == here
    assert of_place([ELSEWHERE], there) == Where(None, None, None, None, None, None, None)
    # One without a family says nothing of the family of the others.
    mixed = of_place([100, Place(port=80)], there)
    assert mixed == Where(None, None, "ipv4", None, 80, None, None)


def test_rows_are_in_the_order_of_the_first_thing_in_which_they_differ() -> None:
    (row, *_) = four_workers().acceptors
    names = ("accepts", "local_port", "local_address", "waits", "pid", "tid", "listener_inode")
    better: dict[str, Any] = dict(zip(names, (9, 80, "10.0.0.1", True, 5, 5, 100), strict=True))
    worse: dict[str, Any] = dict(zip(names, (8, 81, "10.0.0.2", False, 6, 6, 101), strict=True))
    first = replace(row, **better)
    for place, name in enumerate(names):
        last = replace(first, **{name: worse[name]})
        all_else = replace(first, **{later: worse[later] for later in names[place + 1 :]})
        assert ordered([last, all_else]) == [all_else, last]
    unknown = replace(first, local_port=None, local_address=None, pid=None, tid=None, waits=None)
    assert ordered([first, unknown]) == [unknown, first]
    for name in ("pid", "tid", "listener_inode"):
        numbers: tuple[dict[str, Any], ...] = ({name: 1}, {name: None})
        lowest, none = (replace(first, **number) for number in numbers)
        assert ordered([lowest, none]) == [none, lowest]
