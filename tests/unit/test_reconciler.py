"""What the books say of each listener and port, by what came, left, waits and was lost."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import (
    Counts,
    Flow,
    Inventory,
    Listener,
    ListenerCount,
    Losses,
    Passed,
    PortCount,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.books import CPUS
from accepttrace.model.entries import Entry
from accepttrace.model.listeners import Listeners, Verdict
from accepttrace.model.reconciler import Arrivals, Evidence, Reconciler
from tests.unit.pictures import count, counted, listener
from tests.unit.test_books import BY_PORT, EVERYTHING

LATELY_S = 2.0

NETNS = listener().netns
PORT = (NETNS, 80)


def flow(
    arrived: int | None = 0, lost: int | None = 0, came: int = 0, out: int = 0, **sums: int
) -> Flow:
    return Flow(arrived, lost, came, out, 0, **sums)


def passing(passed: Flow | None = None, inode: int = 100, **facts: object) -> ListenerCount:
    return replace(counted(inode), **{"flow": passed, **facts})  # type: ignore[arg-type]


def taker(
    accepts: int, inode: int = 100, *, waits: bool = False, ended: int = 0, **facts: object
) -> Entry:
    row = replace(count(1, accepts, inode), **facts)  # type: ignore[arg-type]
    return Entry(inode, (1, 1), (1, 1), row, waits=waits, ended=ended, active_s=-9.0)


class Scene:
    """Readings, each twice: the second finds nothing under way."""

    def __init__(self, sees: Sight = EVERYTHING, filters: Filters | None = None) -> None:
        self.listeners = Listeners(filters or Filters())
        self.it = Reconciler(filters or Filters(), sees)
        self.now_s = 0.0

    def once(
        self,
        found: Iterable[Listener],
        counts: Sequence[ListenerCount] = (),
        entries: Sequence[Entry] = (),
        *,
        came: int | Sequence[PortCount] = (),
        losses: Losses | None = None,
        after: Passed | None = None,
    ) -> None:
        """`came`: at the port."""
        self.now_s += 1
        ports = (PortCount(*PORT, came),) if isinstance(came, int) else tuple(came)
        reading = Counts((), tuple(counts), losses or Losses(), ports=ports, at_s=self.now_s)
        self.listeners.update(reading, Inventory(tuple(found)), (), self.now_s)
        evidence = Evidence(reading, after, 0, round(self.now_s * 1e6))
        self.it.update(self.listeners, entries, evidence)

    def read(
        self,
        found: Sequence[Listener],
        counts: Sequence[ListenerCount] = (),
        entries: Sequence[Entry] = (),
        *,
        came: int | Sequence[PortCount] = (),
        losses: Losses | None = None,
    ) -> Verdict:
        for _ in range(2):
            self.once(found, counts, entries, came=came, losses=losses)
        return self.it.verdict(100)


@pytest.mark.parametrize(
    ("passed", "accepts", "queue", "found"),
    [
        (flow(10), 7, 3, ("balanced", 0, 0)),
        (flow(10), 8, 3, ("balanced", 0, 1)),
        (flow(10), 6, 3, ("unbalanced", 1, 0)),
        (flow(10), 600, 3, ("unbalanced", 512 - 593, 0)),
        (flow(10, lost=5, came=6, out=3), 6, 2, ("balanced", 0, 0)),
        (flow(10, lost=5, came=6, out=3), 6, 1, ("unbalanced", 1, 0)),
        (Flow(None, None, None, None, None), 2, 1, ("balanced", 0, 3)),
        (None, 0, 2, ("balanced", 0, 2)),
    ],
)
def test_queue_at_the_start_and_came_are_left_and_queue_now(
    passed: Flow | None, accepts: int, queue: int, found: tuple[str, int, int]
) -> None:
    scene = Scene()
    verdict = scene.read([listener(queue=queue)], [passing(passed)], [taker(accepts)])
    assert (verdict.book, verdict.imbalance, verdict.start) == found
    assert (verdict.unseen, verdict.refused) == (0, 0)
    assert scene.it.quiet


def test_without_a_backlog_any_number_may_have_waited() -> None:
    one = replace(listener(queue=3), backlog=None)
    verdict = Scene().read([one], [passing(flow(10))], [taker(100_000)])
    assert (verdict.book, verdict.start) == ("balanced", 99_993)


def test_all_who_accepted_there_are_counted() -> None:
    entries = [taker(3), taker(4), taker(50, 101), Entry(100, (2, 2))]
    verdict = Scene().read([listener(queue=3)], [passing(flow(10))], entries)
    assert (verdict.book, verdict.start) == ("balanced", 0)


@pytest.mark.parametrize(
    ("one", "doubt"),
    [
        (taker(7), 0),
        (taker(7, waits=True), 1),
        (taker(7, waits=True, ended=1), 0),
    ],
)
def test_whoever_may_be_in_accept_may_have_one_more(one: Entry, doubt: int) -> None:
    """A call that is under way: one on each CPU, and one in the hands of each taker."""
    for missing, book in ((CPUS + doubt, "balanced"), (CPUS + doubt + 1, "unbalanced")):
        scene = Scene()
        scene.once([listener(queue=3)], [passing(flow(10 + missing))], [one])
        assert scene.it.verdict(100).book == book
        assert not scene.it.quiet


def test_a_thread_is_in_a_call_for_a_short_time_at_most() -> None:
    for age_s, book in ((LATELY_S, "balanced"), (LATELY_S + 0.01, "unbalanced")):
        scene, one = Scene(), taker(7)
        one.active_s = 1.0 - age_s
        scene.once([listener(queue=3)], [passing(flow(11 + CPUS))], [one])
        assert scene.it.verdict(100).book == book


@pytest.mark.parametrize("why", ["mptcp", "no queue", "pids", "addresses", "rowless"])
def test_where_something_is_not_known_nothing_is_said(why: str) -> None:
    filters = {
        "pids": Filters(pids=frozenset({1})),
        "addresses": Filters(addresses=frozenset({"0.0.0.0"})),
    }
    scene = Scene(filters=filters.get(why))
    rows = [] if why == "rowless" else [passing(flow(10), mptcp=why == "mptcp")]
    one = listener(queue=None if why == "no queue" else 3)
    verdict = scene.read([one], rows, [taker(2)], losses=Losses(rowless=why == "rowless"))
    unseen = None if why == "rowless" else 0
    assert verdict._replace(oldest_us=None) == Verdict("unchecked", None, unseen, refused=0)


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        ({"refused": 3, "errors": {errno.EMFILE: 9}}, 3),
        ({"refused": None, "errors": {errno.EMFILE: 2, errno.ENFILE: 4, errno.EINTR: 8}}, 6),
        ({"refused": None, "errors": None}, 0),
    ],
)
def test_refused_calls_are_counted_by_the_kernel_or_by_their_errors(
    facts: Mapping[str, Any], refused: int
) -> None:
    entries = [taker(1, **facts), taker(2, refused=10)]
    verdict = Scene().read([listener()], [passing(flow(3))], entries)
    assert verdict.refused == refused + 10
    for sees in (replace(EVERYTHING, refused=False), Sight()):
        assert Scene(sees).read([listener()], [passing(flow(3))], entries).refused is None
    nothing = replace(Sight(), refused=True)
    assert Scene(nothing).read([listener()], [], entries) == Verdict(refused=refused + 10)


def test_the_mean_length_is_that_of_the_time_since_the_start() -> None:
    scene = Scene()
    # One came at 0.5 s and was taken at 1.5 s; of two that came at 1 s both wait on.
    rows = [passing(flow(3, came_us=500_000 + 2_000_000, waited_us=0))]
    entries = [taker(1, left_us=1_500_000, waited_us=1_000_000, ready_us=500_000)]
    verdict = scene.read([listener(queue=2)], rows, entries)
    assert verdict.start == 0
    assert verdict.mean == pytest.approx((1.0 + 2 * 1.0) / 2)
    unknown = [taker(1, left_us=1_500_000, waited_us=1_000_000, wait_unknown=1)]
    verdict = Scene().read([listener(queue=2)], rows, unknown)
    assert verdict.mean == pytest.approx(1.5)
    without = [replace(rows[0], uncounted=1)]
    assert Scene().read([listener(queue=2)], without, entries).mean is None


def test_what_was_lost_has_left_the_queue_too() -> None:
    # One came at 0.5 s and was reset at 1.5 s; another waits since 1 s.
    passed = flow(2, lost=1, came_us=1_500_000, left_us=1_500_000, waited_us=1_000_000)
    entries = [taker(1, left_us=700_000, waited_us=100_000)]
    rows = [passing(replace(passed, arrived=3, came_us=2_100_000))]
    verdict = Scene().read([listener(queue=1)], rows, entries)
    assert verdict.start == 0
    assert verdict.mean == pytest.approx((1.0 + 1.0 + 0.1) / 2)


def test_the_mean_of_one_that_closed_is_until_then() -> None:
    scene = Scene()
    rows = [passing(flow(1, came_us=500_000))]
    entries = [taker(1, left_us=1_500_000, waited_us=1_000_000)]
    scene.read([listener()], rows, entries)  # at 1 s and 2 s
    assert scene.it.verdict(100).mean == pytest.approx(1 / 2)
    scene.read([], rows, entries)  # gone at 3 s
    assert scene.it.verdict(100).mean == pytest.approx(1 / 3)


def test_the_first_in_the_queue_waits_since_the_reading_that_met_it() -> None:
    scene, one = Scene(), taker(7)
    scene.once([listener(queue=1)], [passing(flow(8))], [one])
    scene.once([listener(queue=1)], [passing(flow(8))], [one])
    assert scene.it.verdict(100).oldest_us == 1_000_000
    scene.once([listener(queue=1)], [passing(flow(9, lost=1))], [one])
    assert scene.it.verdict(100).oldest_us == 0
    scene.once([listener(queue=0)], [passing(flow(9, lost=2))], [one])
    assert scene.it.verdict(100).oldest_us is None
    assert scene.it.verdict(999) == Verdict()


def test_what_left_meanwhile_bounds_how_long_the_first_waited() -> None:
    scene, one = Scene(), taker(7)
    scene.once([listener(queue=1)], [passing(flow(8))], [one])
    scene.listeners.known[100].forgotten = 5
    # With those that were forgotten it is 7, then 8.
    for left, oldest in ((2, 1_000_000), (3, 0)):
        after = Passed({100: 8}, {100: left}, {})
        scene.once([listener(queue=1)], [passing(flow(8))], [one], after=after)
        assert scene.it.verdict(100).oldest_us == oldest


def test_what_passed_since_the_counts_were_read_is_no_imbalance() -> None:
    """Six more came, or left, by the time that the queue was read."""
    more = CPUS + 6
    for after, queue in (
        (Passed({100: 10 + more}, {100: 7}, {}), 3 + more),
        (Passed({100: 10}, {100: 7 + more}, {}), 3 - 3),
        (Passed({}, {}, {}), 3),
    ):
        scene = Scene()
        for _ in range(2):
            scene.once([listener(queue=queue)], [passing(flow(10))], [taker(7)], after=after)
        assert scene.it.verdict(100).book == "balanced"
        assert scene.it.quiet == (after.came == {})


@pytest.mark.parametrize(
    ("books", "lost", "word"),
    [
        ((), 0, "balanced"),
        ((), 1, "unchecked"),
        (("balanced",), 0, "balanced"),
        (("balanced", "unchecked"), 0, "unchecked"),
        (("unbalanced", "unchecked"), 1, "unbalanced"),
        (("balanced",), 1, "unchecked"),
    ],
)
def test_the_worst_word_is_that_of_all(books: Sequence[str], lost: int, word: str) -> None:
    assert Scene().it.word(books, lost) == word  # type: ignore[arg-type]


def at_port(scene: Scene, found: Sequence[Listener], came: int, *takers: Entry) -> Verdict:
    rows = [passing(flow(None), one.inode) for one in found]
    return scene.read(found, rows, takers, came=came)


@pytest.mark.parametrize(
    ("came", "accepts", "queue", "verdict", "unseen"),
    [
        (10, 7, 3, Verdict("balanced", 0, 0, refused=0), 0),
        (10, 5, 3, Verdict("unchecked", 0, 2, refused=0), 2),
        (10, 600, 3, Verdict("unbalanced", -81, 0, refused=0), 0),
    ],
)
def test_at_a_port_what_is_missing_was_accepted_unseen(
    came: int, accepts: int, queue: int, verdict: Verdict, unseen: int
) -> None:
    scene = Scene(BY_PORT)
    found = at_port(scene, [listener(queue=queue)], came, taker(accepts))
    assert found._replace(oldest_us=None) == verdict
    assert scene.it.unseen == unseen
    assert scene.it.word(["balanced"], 0) == ("unchecked" if unseen else "balanced")


def test_while_something_is_under_way_more_may_be_unseen() -> None:
    scene = Scene(BY_PORT)
    scene.once([listener()], [passing(flow(None))], [taker(10)], came=10)
    assert (scene.it.unseen, scene.it.unseen_at_least) == (0, True)
    scene.once([listener()], [passing(flow(None))], [taker(10)], came=10)
    assert (scene.it.unseen, scene.it.unseen_at_least) == (0, False)


def test_what_the_tracer_lost_is_not_unseen() -> None:
    scene = Scene(BY_PORT)
    rows, lost = [passing(flow(None))], Losses(map_full=2)
    found = scene.read([listener()], rows, [taker(5)], came=10, losses=lost)
    assert found == Verdict("unbalanced", 2, 3, refused=0)
    assert scene.it.unseen == 3
    more = Scene(BY_PORT)
    more.read([listener()], rows, [taker(5)], came=10, losses=Losses(map_full=7))
    assert more.it.unseen == 0


def test_how_long_the_first_waits_is_not_known_where_some_left_unseen() -> None:
    one, both = [listener(queue=3)], [listener(queue=3), listener(101)]
    assert at_port(Scene(BY_PORT), one, 10, taker(7)).oldest_us == 1_000_000
    assert at_port(Scene(BY_PORT), one, 10, taker(5)).oldest_us is None
    assert at_port(Scene(BY_PORT), both, 10, taker(7)).oldest_us is None


def test_of_two_listeners_of_a_port_nobody_knows_whose_is_unseen() -> None:
    scene = Scene(BY_PORT)
    both = [listener(queue=1), listener(101, queue=2)]
    found = at_port(scene, both, 10, taker(3), taker(3, 101))
    assert found._replace(oldest_us=None) == Verdict("unchecked", 0, None, refused=0)
    assert scene.it.unseen == 1


@pytest.mark.parametrize(
    ("sees", "unseen"),
    [
        (EVERYTHING, 0),
        (replace(EVERYTHING, unseen=False), None),
        (BY_PORT, 0),
        (replace(BY_PORT, unseen=False), None),
    ],
)
def test_what_cannot_be_seen_is_known_by_the_attach_type(sees: Sight, unseen: int | None) -> None:
    assert Scene(sees).it.unseen == unseen
    assert not Scene(sees).it.unseen_at_least
    by_pid = Scene(sees, Filters(pids=frozenset({1})))
    assert by_pid.it.unseen == (0 if sees == EVERYTHING else None)


def test_what_left_a_port_by_no_listener_is_not_missing() -> None:
    for strayed, unmade, late, unseen in ((0, 0, 0, 3), (1, 2, 0, 0), (1, 1, 0, 1), (0, 0, 3, 0)):
        scene = Scene(BY_PORT)
        port = PortCount(*PORT, 10, strayed, unmade, late)
        scene.read([listener()], [passing(flow(None))], [taker(7)], came=[port])
        assert scene.it.unseen == unseen


@pytest.mark.parametrize(
    ("facts", "filters", "book"),
    [
        ({}, None, "balanced"),
        ({"mptcp": True}, None, "unchecked"),
        ({"flow": Flow(None, None, 0, 0, 0)}, None, "unchecked"),
        ({}, Filters(family="ipv4"), "unchecked"),
    ],
)
def test_a_port_is_not_checked_where_one_of_its_listeners_hides_something(
    facts: Mapping[str, object], filters: Filters | None, book: str
) -> None:
    scene = Scene(BY_PORT, filters)
    both = [listener(100, address="0.0.0.0"), listener(101, address="::")]
    rows = [passing(flow(None)), passing(flow(None), 101, **facts)]
    verdict = scene.read(both, rows, [taker(10)], came=10)
    assert verdict.book == book
    assert scene.it.may_have_passed(scene.listeners.known[100])


def test_another_port_is_checked_though_one_hides_something() -> None:
    scene = Scene(BY_PORT)
    both = [listener(100), listener(101, port=81)]
    rows = [passing(flow(None), mptcp=True), replace(passing(flow(None), 101), local_port=81)]
    came = [PortCount(*PORT, 10), PortCount(NETNS, 81, 5)]
    scene.read(both, rows, [taker(10), taker(4, 101)], came=came)
    assert [scene.it.verdict(inode).book for inode in (100, 101)] == ["unchecked", "unchecked"]
    assert [scene.it.verdict(inode).unseen for inode in (100, 101)] == [None, 1]


def test_an_idle_listener_is_looked_at_again_when_something_waits_there() -> None:
    scene = Scene()
    assert scene.read([listener()]).book == "balanced"
    for second in range(2):
        scene.once([listener(queue=1)])
        assert scene.it.verdict(100).oldest_us == second * 1_000_000
    scene.read([listener(queue=1)], [passing(flow(5))])
    assert scene.it.verdict(100).imbalance == 4


def test_a_listener_of_ipv4_hides_nothing_of_a_filter_by_family() -> None:
    scene = Scene(BY_PORT, Filters(family="ipv4"))
    assert at_port(scene, [listener()], 10, taker(10)).book == "balanced"


def test_whether_something_may_have_come_is_known_by_listener_or_port() -> None:
    scene = Scene()
    scene.read([listener()], [], [], losses=Losses(rowless=True))
    assert scene.it.may_have_passed(scene.listeners.known[100])
    scene.read([listener()], [])
    assert not scene.it.may_have_passed(scene.listeners.known[100])
    by_port = Scene(BY_PORT)
    at_port(by_port, [listener()], 0)
    assert not by_port.it.may_have_passed(by_port.listeners.known[100])
    at_port(by_port, [listener()], 1)
    assert by_port.it.may_have_passed(by_port.listeners.known[100])
    blind = Scene(Sight())
    blind.read([listener()])
    assert blind.it.may_have_passed(blind.listeners.known[100])


def test_what_left_listeners_that_are_gone_stays_with_their_port() -> None:
    scene = Scene(BY_PORT)
    at_port(scene, [listener(), listener(101)], 20, taker(9), taker(11, 101))
    known = scene.listeners.known[101]
    scene.it.drop(101, replace(known, counted=passing(flow(None, lost=2), 101)), 11)
    scene.listeners.drop(101)
    assert at_port(scene, [listener()], 22, taker(9)).book == "balanced"
    assert (scene.it.unseen, scene.it.verdict(101)) == (0, Verdict())


@pytest.mark.parametrize("facts", [{"mptcp": True}, {"flow": Flow(None, None, 0, 0, 0)}])
def test_a_port_is_not_checked_after_one_that_hid_something(facts: Mapping[str, object]) -> None:
    scene = Scene(BY_PORT)
    at_port(scene, [listener(), listener(101)], 20, taker(9), taker(11, 101))
    hidden = passing(flow(None), 101, **facts)
    scene.it.drop(101, replace(scene.listeners.known[101], counted=hidden), 11)
    scene.it.drop(999, replace(scene.listeners.known[101]), 0)
    scene.listeners.drop(101)
    verdict = at_port(scene, [listener()], 20, taker(9))
    assert (verdict.book, verdict.unseen, scene.it.unseen) == ("unchecked", None, 0)


def test_a_port_is_not_checked_where_nobody_knows_how_many_wait() -> None:
    scene = Scene(BY_PORT)
    verdict = at_port(scene, [listener(queue=None)], 20, taker(9))
    assert (verdict.book, verdict.unseen, scene.it.unseen) == ("unchecked", None, 0)


def test_a_port_without_listeners_is_let_go_with_what_was_missing_there() -> None:
    scene = Scene(BY_PORT)
    at_port(scene, [listener()], 10, taker(8))
    assert (scene.it.idle_ports, scene.it.unseen) == ((), 2)
    scene.listeners.drop(100)
    scene.once([], came=10)
    assert (scene.it.idle_ports, scene.it.unseen) == ((PORT,), 2)
    scene.once([])
    assert (scene.it.idle_ports, scene.it.unseen) == ((), 2)
    assert at_port(scene, [listener()], 5, taker(4)).unseen == 1
    assert scene.it.unseen == 3


def test_arrivals_go_on_where_the_kernel_begins_anew() -> None:
    it, other = Arrivals(), (NETNS, 81)
    assert it.at({PORT: 5, other: 7}) == {PORT: 5, other: 7}
    assert it.at({PORT: 6}) == {PORT: 6}
    assert it.at({PORT: 2, other: 1}) == {PORT: 8, other: 8}
    assert (it.last(PORT), it.last(other), it.last((NETNS, 82))) == (2, 1, 0)
    later = Passed({}, {}, {PORT: PortCount(*PORT, 4)})
    assert [it.after(PORT, seen, 8) for seen in (None, Passed({}, {}, {}), later)] == [8, 8, 10]
    assert it.after(other, later, 8) == 8


def test_what_is_closed_for_good_keeps_its_verdict_and_others_get_theirs() -> None:
    scene = Scene()
    scene.read([listener(), listener(101)], [passing(flow(1)), passing(flow(1), 101)])
    scene.listeners.finish(100)
    scene.read([listener(101)], [passing(flow(9)), passing(flow(2), 101)], [taker(2, 101)])
    assert [scene.it.verdict(inode).imbalance for inode in (100, 101)] == [1, 0]


def test_ports_are_idle_where_nothing_comes_and_nobody_listens() -> None:
    it, other = Arrivals(), (NETNS, 81)
    it.at({PORT: 5, other: 7})
    assert it.idle([]) == []
    it.at({PORT: 5, other: 8})
    assert it.idle([PORT]) == []
    assert it.idle([]) == [PORT]
    assert it.at({PORT: 1, other: 8}) == {PORT: 1, other: 8}
    it.at({PORT: 0})
    it.at({})
    assert it.idle([other]) == []
    assert it.at({PORT: 3, other: 2}) == {PORT: 3, other: 10}
