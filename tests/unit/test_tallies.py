"""Entries of the living, of the last that ended, and the sums of all before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest

from accepttrace.facts.records import AcceptorCount, Counts, Inventory
from accepttrace.model.census import Census
from accepttrace.model.entries import SEVERAL, Bygone, Entry
from accepttrace.model.places import ELSEWHERE
from accepttrace.model.tallies import LAST, MOST_PROGRAMS, OTHERS, OUTSIDERS, WITHOUT_ROW, Tallies
from tests.unit.pictures import count, holder, listener

Row = tuple[object, object, int]  # socket, process, accepts
HTTPD = Bygone("httpd", kept=True)


class Scene(NamedTuple):
    """`joined`: whom the sums were made of; `names`: of the processes, by pid."""

    tallies: Tallies
    census: Census
    joined: list[tuple[Entry, Entry]]
    names: dict[int, Bygone]

    def read(self, *rows: AcceptorCount, now_s: float = 1.0) -> set[int]:
        return self.tallies.count(Counts(tuple(rows)), now_s)

    def live(self, *pids: int) -> None:
        """These hold a listener, and so are alive; all others are not."""
        found = listener(100, [holder(pid, fd=pid) for pid in pids])
        self.census.update((), Inventory((found,)), {})

    def end(self, *rows: AcceptorCount) -> dict[tuple[int, int, int], int]:
        return self.tallies.let_go([_key(row) for row in rows])


def _key(row: AcceptorCount) -> tuple[int, int, int]:
    return row.listener_inode, row.tid, row.start_ns


def scene() -> Scene:
    census, names = Census(), dict[int, Bygone]()
    joined: list[tuple[Entry, Entry]] = []

    def name(entry: Entry) -> Bygone:
        assert not isinstance(entry.process, Bygone)
        return names.get(entry.process[0], HTTPD)

    def join(one: Entry, other: Entry) -> None:
        joined.append((one, other))

    return Scene(Tallies(census, name, join), census, joined, names)


def rows(entries: Iterable[Entry]) -> list[Row]:
    return [(entry.socket, entry.process, entry.accepts) for entry in entries]


def workers(number: int, inode: int = 100, first: int = 1) -> Sequence[AcceptorCount]:
    return [count(pid, 1, inode) for pid in range(first, first + number)]


def test_those_without_a_pid_are_one_row_that_says_so_and_bars_comparisons() -> None:
    it = scene()
    outside = replace(count(0, 5), pid=0, tid=0, start_ns=0, process_start_ns=0)
    it.read(count(1, 3), outside)
    it.read(count(1, 3), replace(outside, accepts=9))
    it.tallies.end_processes()
    assert set(rows(it.tallies)) == {(100, (1, 1), 3), (100, OUTSIDERS, 9)}
    (row,) = [entry for entry in it.tallies if entry.process == OUTSIDERS]
    assert row.barred
    assert row.interval == 9
    it.end(outside)
    it.tallies.close([100])
    assert (100, OUTSIDERS, 9) in rows(it.tallies)


def test_counting_names_the_listeners_that_were_accepted_from() -> None:
    it = scene()
    assert it.read(count(1, 2), count(2, 0, 200)) == {100}
    assert it.read(count(1, 2), count(2, 1, 200)) == {200}
    assert rows(it.tallies.live) == [(100, (1, 1), 2), (200, (2, 2), 1)]
    assert [entry.thread for entry in it.tallies] == [(1, 10_004_321), (2, 20_004_321)]


def test_an_interval_ends_for_all_that_took_something_in_it() -> None:
    it = scene()
    it.read(count(1, 2), count(2, 3, 200))
    it.read(count(1, 4), count(2, 3, 200))
    assert [entry.interval for entry in it.tallies] == [4, 3]
    it.tallies.begin_interval()
    assert [entry.interval for entry in it.tallies] == [0, 0]
    it.read(count(1, 5), count(2, 3, 200))
    assert [entry.interval for entry in it.tallies] == [1, 0]
    it.tallies.begin_interval()
    it.read(count(1, 5), count(2, 3, 200))
    assert [entry.interval for entry in it.tallies] == [0, 0]


def test_an_interval_ends_for_sums_of_those_that_ended_in_it() -> None:
    it, dead = scene(), workers(LAST + 2)
    it.read(*dead)
    it.end(*dead)
    assert [entry.interval for entry in it.tallies] == [1] * (LAST + 2)
    it.tallies.begin_interval()
    assert [entry.interval for entry in it.tallies] == [0] * (LAST + 2)


def test_a_start_that_becomes_known_later_is_that_of_the_process() -> None:
    it = scene()
    nobody = replace(count(9, 1, start=90, tid=12), process_start_ns=0)
    it.read(nobody)
    assert rows(it.tallies) == [(100, (9, 0), 1)]
    it.live(9)
    it.read(nobody)
    assert rows(it.tallies) == [(100, (9, 9), 1)]


def test_a_reading_agrees_if_everybody_has_the_accepts_that_are_known() -> None:
    it, two = scene(), (count(1, 2), count(2, 3, 200))
    it.read(*two)
    assert it.tallies.agree(Counts(two))
    assert not it.tallies.agree(Counts(two[:1]))
    assert not it.tallies.agree(Counts((count(1, 3), two[1])))
    assert not it.tallies.agree(Counts((*two, count(3, 1))))
    it.end(two[0])
    assert it.tallies.agree(Counts(two))
    assert it.tallies.agree(Counts(two[1:]))


def test_what_the_kernel_has_not_forgotten_is_not_counted_again() -> None:
    it, one = scene(), count(1, 2)
    it.read(one)
    assert it.end(one, count(7, 1)) == {_key(one): 2}
    assert it.read(one) == set()
    assert it.end() == {_key(one): 0}
    it.read(one)
    assert rows(it.tallies) == [(100, (1, 1), 2)]
    it.read()
    assert it.end() == {}


def test_a_key_that_comes_again_is_another_thread() -> None:
    it, one = scene(), count(1, 2)
    it.read(one)
    it.end(one)
    it.read()
    assert it.read(one) == {100}
    assert rows(it.tallies) == [(100, (1, 1), 2), (100, (1, 1), 2)]


def test_accepts_without_a_row_are_one_entry_a_listener() -> None:
    it = scene()
    it.tallies.count_without_row(100, 5, 1.0)
    it.tallies.count_without_row(100, 7, 2.0)
    it.tallies.count_without_row(200, 1, 2.0)
    assert rows(it.tallies) == [(100, WITHOUT_ROW, 7), (200, WITHOUT_ROW, 1)]
    for entry in it.tallies:
        assert (entry.thread, entry.barred, entry.active_s) == (SEVERAL, True, 2.0)
    assert [entry.interval for entry in it.tallies] == [7, 1]
    found = next(iter(it.tallies)).count
    assert found == AcceptorCount(100, 0, 0, 0, "", 7, 0, {}, (), 0, 7, 0, None, 0)
    assert (found.left_us, found.waited_us, found.ready_us) == (0, 0, 0)
    assert (found.process_start_ns, found.clients) == (0, 0)
    assert (found.locality, found.placing) == (None, None)


def test_the_last_threads_that_ended_stay_apart_by_when_they_were_active() -> None:
    it, threads = scene(), [count(9, tid, tid=tid) for tid in range(20, 20 + LAST)]
    early, earlier = count(9, 5, tid=10), count(9, 7, tid=11)
    it.read(early, now_s=3.0)
    it.read(early, *threads, now_s=4.0)
    it.read(early, *threads, earlier, now_s=2.0)
    it.end(*threads)
    assert [entry.accepts for entry in it.tallies.live] == [5, 7]
    assert [entry.thread for entry in it.tallies.at(100)] == [(r.tid, r.start_ns) for r in threads]
    it.end(early, earlier)
    whole, *apart = it.tallies
    assert (whole.thread, whole.accepts, whole.ended) == (SEVERAL, 20 + 21, 2)
    assert [entry.accepts for entry in apart] == [*range(22, 20 + LAST), 7, 5]
    assert {entry.ended for entry in apart} == {1}
    assert it.joined[-1][1] is whole


def test_a_closed_listener_keeps_who_accepted_there_as_they_were() -> None:
    it, one, two, other = scene(), count(1, 2), count(2, 3), count(1, 4, 200)
    it.read(one, two, other)
    assert it.tallies.close([]) == {}
    assert it.tallies.close([300]) == {}
    assert it.tallies.close([100]) == {_key(one): 2, _key(two): 3}
    assert rows(it.tallies.live) == [(200, (1, 1), 4)]
    assert rows(it.tallies.at(100)) == [(100, (1, 1), 2), (100, (2, 2), 3)]
    assert [entry.ended for entry in it.tallies.at(100)] == [0, 0]
    assert it.end() == {_key(one): 0, _key(two): 0}
    assert it.read(one, two, other) == set()


def test_what_is_at_rest_is_all_but_what_may_go_on() -> None:
    it, ended, closed, live = scene(), count(1, 2), count(2, 3, 200), count(3, 4, 300)
    it.read(ended, closed, live)
    it.tallies.count_without_row(400, 1, 1.0)
    it.end(ended)
    it.tallies.close([200])
    assert it.tallies.at_rest == {100, 200, 400}
    assert rows(it.tallies) == [
        *((400, WITHOUT_ROW, 1), (200, (2, 2), 3), (100, (1, 1), 2), (300, (3, 3), 4))
    ]


@pytest.mark.parametrize("place", [ELSEWHERE, None])
def test_what_belongs_to_a_listener_is_summed_up_at_its_place_or_dropped(place: object) -> None:
    it, mine = scene(), [count(1, 2), count(2, 3)]
    others = [count(3, 4, 200), count(4, 5, 200)]
    it.read(*mine, *others)
    it.tallies.count_without_row(100, 6, 1.0)
    it.end(mine[0], others[0])
    it.tallies.close([100, 200])
    it.tallies.fold(100, ELSEWHERE if place else None)
    assert it.tallies.at(100) == []
    assert rows(it.tallies.at(200)) == [(200, (4, 4), 5), (200, (3, 3), 4)]
    found = {(1, 1): 2, (2, 2): 3, WITHOUT_ROW: 6} if place else {}
    assert {e.process: e.accepts for e in it.tallies.at(ELSEWHERE)} == found
    for entry in it.tallies.at(ELSEWHERE):
        assert (entry.thread, entry.members) == (SEVERAL, ("socket", ELSEWHERE))


def test_a_sum_at_its_own_listener_stays_in_its_set() -> None:
    it = scene()
    it.tallies.wait_no_more(Entry(100, (1, 1), members=("group", 1, 7)))
    (whole,) = it.tallies.at(100)
    assert (whole.members, whole.ended, whole.accepts) == (("group", 1, 7), 1, 0)


def buried(tallies: Tallies) -> Counter[Bygone]:
    """Accepts of those that ended and are summed up, by their program."""
    found: Counter[Bygone] = Counter()
    for entry in tallies:
        if isinstance(entry.process, Bygone):
            found[entry.process] += entry.accepts
    return found


def test_the_last_processes_that_ended_stay_apart() -> None:
    it, dead = scene(), workers(LAST + 1)
    it.read(*dead)
    it.end(*dead)
    it.live(LAST + 1)
    it.tallies.end_processes()
    assert buried(it.tallies) == {}
    assert it.tallies.undecided == [(LAST + 1, LAST + 1)]
    it.live()
    it.tallies.end_processes()
    assert buried(it.tallies).keys() == {HTTPD}
    assert rows(it.tallies)[0] == (100, HTTPD, 1)
    assert {entry.process for entry in it.tallies} == {HTTPD, *((p, p) for p in range(2, LAST + 2))}


def test_a_process_with_a_thread_that_may_accept_again_has_not_ended() -> None:
    it, dead = scene(), workers(LAST)
    thread = count(99, 1, tid=100)
    it.read(*dead, thread)
    it.end(*dead)
    it.tallies.end_processes()
    assert (buried(it.tallies), it.tallies.undecided) == ({}, [(99, 99)])
    it.end(thread)
    it.tallies.end_processes()
    assert buried(it.tallies).keys() == {HTTPD}


def test_who_turns_out_to_be_alive_is_not_among_the_ended() -> None:
    it, dead = scene(), workers(2)
    it.read(*dead)
    it.end(*dead)
    it.tallies.end_processes()
    assert it.tallies.undecided == []
    it.live(1)
    it.tallies.end_processes()
    assert it.tallies.undecided == [(1, 1)]
    it.read(count(2, 1, 200))
    it.tallies.end_processes()
    assert it.tallies.undecided == [(1, 1), (2, 2)]


def test_a_process_that_ended_is_summed_up_wherever_it_accepted() -> None:
    it = scene()
    it.names[2] = Bygone("ntpd", kept=False)
    here = [count(1, 2), count(1, 3, tid=11), count(1, 4, 200), count(2, 5), count(2, 6, 300)]
    it.read(*here)
    it.tallies.close([200, 300])
    it.end(*here[:2], here[3])
    it.tallies.end_processes()
    last = workers(LAST, first=10)
    it.read(*last)
    it.end(*last)
    it.tallies.end_processes()
    assert buried(it.tallies).keys() == {HTTPD, it.names[2]}
    assert rows(it.tallies.at(200)) == [(200, HTTPD, 4)]
    assert rows(it.tallies.at(300)) == [(300, it.names[2], 6)]
    sums = [entry for entry in it.tallies.at(100) if isinstance(entry.process, Bygone)]
    assert sorted((e.process, e.accepts, e.workers, e.ended) for e in sums) == [
        *((HTTPD, 5, 1, 2), (it.names[2], 5, 1, 1))
    ]


def test_one_after_the_other_they_are_summed_up() -> None:
    it = scene()
    for pid in range(1, LAST + 4):
        row = count(pid, 1)
        it.read(row)
        it.end(row)
        it.tallies.end_processes()
        it.tallies.end_processes()
        assert buried(it.tallies)[HTTPD] == max(pid - LAST, 0)


@pytest.mark.parametrize("kept", [True, False])
def test_programs_of_many_names_share_a_row(kept: bool) -> None:
    it, dead = scene(), workers(LAST + MOST_PROGRAMS + 2)
    it.names.update({pid: Bygone(f"p{pid}", kept) for pid in range(1, 99)})
    it.names[MOST_PROGRAMS + 2] = it.names[1]
    it.read(*dead)
    it.end(*dead)
    it.tallies.end_processes()
    sums = {e.process: e.accepts for e in it.tallies.at(100) if isinstance(e.process, Bygone)}
    assert len(sums) == MOST_PROGRAMS + 1
    assert sums[Bygone(OTHERS, kept)] == 1
    assert sums[it.names[1]] == 2


def test_processes_in_a_sum_take_no_room_from_programs() -> None:
    it = scene()
    for pid in range(1, MOST_PROGRAMS + 9):
        it.tallies.wait_no_more(Entry(100, (pid, pid)))
    it.tallies.wait_no_more(Entry(100, Bygone("new", kept=True)))
    it.tallies.wait_no_more(Entry(100, (999, 999)))
    found = {entry.process for entry in it.tallies}
    assert Bygone("new", kept=True) in found
    assert (999, 999) in found


def test_programs_take_no_room_from_processes() -> None:
    it = scene()
    for number in range(MOST_PROGRAMS):
        it.tallies.wait_no_more(Entry(100, Bygone(f"p{number}", kept=True)))
    p3, new, newer = (Bygone(name, kept=True) for name in ("p3", "new", "newer"))
    for actor in ((7, 7), p3, new, newer):
        it.tallies.wait_no_more(Entry(100, actor))
    found = {entry.process: entry.workers for entry in it.tallies}
    assert len(found) == MOST_PROGRAMS + 2
    assert [found[one] for one in ((7, 7), p3)] == [0, 2]
    assert found[Bygone(OTHERS, kept=True)] == 2


def test_who_comes_or_goes_or_begins_to_take_part_is_a_change() -> None:
    it, one = scene(), count(1, 0)
    steps: list[Callable[[], object]] = [
        lambda: it.read(one),
        lambda: it.read(count(1, 1)),
        lambda: it.tallies.count_without_row(100, 0, 1.0),
        lambda: it.tallies.wait_no_more(Entry(100, (2, 2))),
    ]
    for step in steps:
        before = it.tallies.changes
        step()
        assert it.tallies.changes > before
        before = it.tallies.changes
        it.read(*(count(1, e.accepts) for e in it.tallies.live))
        assert it.tallies.changes == before
