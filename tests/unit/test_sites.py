"""Who accepts where, and what of it changed: step by step, until it is another change."""

from __future__ import annotations

from collections.abc import Iterable

from accepttrace.config import Filters
from accepttrace.facts.records import Counts, Inventory, Process
from accepttrace.model.census import Census, ProcessKey
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.listeners import Listeners
from accepttrace.model.places import ELSEWHERE
from accepttrace.model.sites import Change, Site, SiteKey, Sites, sites
from tests.unit.pictures import count, counted, holder, listener

LONGEST_S = 60.0

NETNS = listener().netns
WEB = SiteKey(NETNS, "ipv4", "0.0.0.0", 80)
SOON_S = 10.0


def key(pid: int) -> ProcessKey:
    return pid, pid


def keys(*pids: int) -> set[ProcessKey]:
    return set(map(key, pids))


class Scene:
    """One place, reading by reading."""

    def __init__(self) -> None:
        self.it = Sites(SOON_S)
        self.open: set[int] = set()

    def read(
        self,
        now_s: float,
        workers: Iterable[int] = (),
        sockets: Iterable[int] = (100,),
        *,
        holders: Iterable[int] = (),
        busy: bool = True,
    ) -> Change | None:
        workers, sockets = list(workers), set(sockets)
        site = Site(sockets, keys(*workers, *holders), {key(p): f"w{p}" for p in workers}, busy)
        there = {WEB: site} if sockets or workers or holders else {}
        found = self.it.update(there, self.open.__contains__, now_s)
        assert [where for where, _ in found] in ([], [WEB])
        return found[0][1] if found else None


def test_places_are_where_sockets_listen_and_workers_who_take_part_there() -> None:
    census, known = Census(), Listeners(Filters())
    there = [
        listener(100, [holder(1), holder(2), holder(3, False)]),
        listener(101, [holder(1)]),
        listener(102, [holder(9)], port=81),
        listener(103),
    ]
    inventory = Inventory(tuple(there))
    census.update((), inventory, {8: Process(8, 8, "x", "x")})
    known.update(Counts((), (counted(102),)), inventory, (), 1.0)
    known.update(Counts((), (counted(102),)), Inventory(tuple(there[:3])), (), 2.0)
    entries = [
        Entry(100, key(1), waits=True),
        Entry(100, Bygone("httpd", kept=True), count=count(7, 5)),
        Entry(100, key(3), waits=False),
        Entry(100, key(8), waits=True),
        Entry(102, key(9), count=count(9, 2)),
        Entry(999, key(1), waits=True),
    ]
    found = sites(known, census, [ELSEWHERE, 998, 100, 101, 102, 103], entries)
    other = WEB._replace(local_port=81)
    assert set(found) == {WEB, other}
    assert found[WEB] == Site({100, 101}, keys(1, 2, 3), {key(1): "nginx: worker"}, busy=False)
    assert found[other] == Site({102}, keys(9), {key(9): "nginx: worker"}, busy=True)
    queued = listener(102, [holder(9)], port=81, queue=1)
    known.update(Counts(), Inventory((queued,)), (), 3.0)
    assert sites(known, census, [102], [])[other].busy


def test_the_first_reading_is_no_change() -> None:
    scene = Scene()
    assert scene.read(1, [1, 2]) is None
    assert scene.read(2, [1, 2]) is None
    assert scene.read(3, [1, 2], holders=[3]) is None


def test_workers_that_leave_and_come_are_counted() -> None:
    scene = Scene()
    scene.read(1, [1, 2])
    change = scene.read(2, [1, 11])
    assert change == Change(2, 2, frozenset(keys(1, 2)), 1, keys(2), keys(11), program="w2")
    assert not change.all_left
    change = scene.read(5, [11, 12])
    assert change is not None
    assert (change.began_s, change.until_s) == (2, 5)
    assert (change.left, change.came, change.all_left) == (keys(1, 2), keys(11, 12), True)
    change = scene.read(6, [12])
    assert change is not None
    assert (change.left, change.came) == (keys(1, 2), keys(12))
    assert (change.sockets, change.closed, change.opened, change.sockets_now) == (1, 0, 0, 1)


def test_sockets_that_close_and_open_are_counted() -> None:
    scene = Scene()
    scene.read(1, [1], [100, 101, 102])
    change = scene.read(2, [1], [102, 103])
    assert change is not None
    assert (change.sockets, change.closed, change.opened, change.sockets_now) == (3, 2, 1, 2)
    assert (change.left, change.came, change.program) == (set(), set(), None)
    scene.open = {103}
    change = scene.read(3, [1], [102, 104])
    assert change is not None
    assert (change.closed, change.opened, change.sockets_now) == (2, 2, 3)


def test_what_follows_soon_is_the_same_change_but_not_for_ever() -> None:
    scene = Scene()
    scene.read(1, range(1, 40))
    first = scene.read(10, range(2, 40))
    assert scene.read(20, range(3, 40)) is first
    later = scene.read(30.1, range(4, 40))
    assert later is not None
    assert (later is first, later.began_s, later.left) == (False, 30.1, keys(3))
    assert later.workers == frozenset(keys(*range(3, 40)))
    now_s, last = 30.1, 4
    while now_s + 9 <= 30.1 + LONGEST_S:
        now_s, last = now_s + 9, last + 1
        assert scene.read(now_s, range(last, 40)) is later
    assert scene.read(30.1 + LONGEST_S, range(last + 1, 40)) is later
    assert scene.read(30.2 + LONGEST_S, range(last + 2, 40)) is not later


def test_who_held_it_from_the_start_has_not_come() -> None:
    scene = Scene()
    scene.read(1, [1], holders=[2])
    assert scene.read(2, [1, 2]) is None
    change = scene.read(3, [1, 2, 3])
    assert change is not None
    assert (change.came, change.workers, change.program) == (keys(3), frozenset(keys(1, 2)), "w3")
    change = scene.read(4, [1, 2], holders=[3, 4])
    assert change is None
    change = scene.read(5, [1, 2, 3, 4])
    assert change is not None
    assert change.came == keys(3, 4)


def test_who_let_go_and_came_back_has_come() -> None:
    scene = Scene()
    scene.read(1, [1, 2])
    assert scene.read(2, [1]) is not None
    change = scene.read(20, [1, 2])
    assert change is not None
    assert (change.left, change.came) == (set(), keys(2))


def test_what_begins_later_may_take_a_while_to_be_complete() -> None:
    scene = Scene()
    scene.read(1, sockets=())
    assert scene.read(2, [1]) is None
    assert scene.read(2 + SOON_S, [1, 2], [100, 101]) is None
    assert scene.read(2.1 + SOON_S, [1, 2, 3], [100, 101]) is not None
    scene = Scene()
    scene.read(1, sockets=())
    scene.read(2, [1, 2])
    assert scene.read(3, [1]) is not None


def test_where_nobody_came_only_what_stays_matters() -> None:
    scene = Scene()
    scene.read(1, [1], busy=False)
    assert scene.read(2, sockets=()) is None
    scene = Scene()
    scene.read(1, [1], [100, 101], busy=False)
    assert scene.read(2, [1], [101], busy=False) is not None
    scene = Scene()
    scene.read(1, [1], busy=False)
    scene.read(2, [1], busy=True)
    assert scene.read(3, sockets=()) is not None


def test_one_that_closed_is_remembered_for_a_while() -> None:
    scene = Scene()
    scene.read(1, [1, 2])
    first = scene.read(2, sockets=())
    assert first is not None
    assert (first.closed, first.left, first.sockets_now) == (1, keys(1, 2), 0)
    assert scene.read(2 + SOON_S, [5], [105]) is first
    assert (first.came, first.sockets_now, first.all_left) == (keys(5), 1, True)
    scene = Scene()
    scene.read(1, [1, 2])
    scene.read(2, sockets=())
    scene.read(2.1 + SOON_S, sockets=())
    assert scene.read(13, [5], [105]) is None
    assert not Change(1, 1, frozenset(), 1).all_left
