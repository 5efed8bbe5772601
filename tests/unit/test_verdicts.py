"""What is said of each sharing set, by whom, since when, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from accepttrace.config import Filters
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    STUCK_US,
    AcceptorCount,
    Counts,
    Flow,
    Holder,
    Inventory,
    Listener,
    LocalPort,
    Losses,
    Opened,
    Selector,
    WaitsIn,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.snapshot import Verdict
from accepttrace.model.tracker import Tracker
from accepttrace.model.verdict import Case, Finding, Member, counted, judge
from tests.unit.pictures import LONG_AGO_S, META, SEES, count, feed, holder, listener
from tests.unit.pictures import counted as seen

NETNS = listener().netns


def model(window_s: float | None = None) -> Tracker:
    return Tracker(META, Filters(), 0.0, SEES, window_s=window_s)


def verdicts(
    rows: Sequence[AcceptorCount], listeners: Sequence[Listener], losses: Losses | None = None
) -> tuple[Verdict, ...]:
    it = model()
    for second in (1, 2):
        feed(it, second, rows, listeners, losses=losses)
    return it.snapshot().verdicts


def stuck(queue: int = 3, oldest_us: int | None = STUCK_US, **facts: object) -> Listener:
    found = replace(listener(queue=queue, holders=[holder(1)]), oldest_us=oldest_us)
    return replace(found, **facts)  # type: ignore[arg-type]


def words(found: Sequence[Verdict]) -> list[str]:
    return [one.finding.word for one in found]


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (stuck(), "STUCK"),
        (stuck(oldest_us=STUCK_US - 1), "ONE ACCEPTOR"),
        (stuck(queue=0), "ONE ACCEPTOR"),
        (stuck(oldest_us=None), "STUCK"),  # it was there at the reading before
    ],
)
def test_stuck_is_what_waits_for_a_second_while_nobody_takes_any(one: Listener, word: str) -> None:
    (found,) = verdicts([count(1, 9)], [one])
    assert found.finding.word == word
    it = model()
    feed(it, 1, [count(1, 9)], [one])
    feed(it, 2, [count(1, 10)], [one])
    assert words(it.snapshot().verdicts) == ["ONE ACCEPTOR"]


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (stuck(), "100 (pid 1): 3 of 512 wait, the oldest for 1 s"),
        (stuck(backlog=None), "100 (pid 1): 3 wait, the oldest for 1 s"),
        (stuck(holders=()), "100: 3 of 512 wait, the oldest for 1 s"),
        (
            stuck(2000, 62_500_000, backlog=4095, holders=tuple(map(holder, range(1, 6)))),
            "100 (pid 1, pid 2, pid 3): 2,000 of 4,096 wait, the oldest for 62 s",
        ),
        # Not the master, which never accepts; but nobody is left out where nobody waits.
        (
            stuck(holders=(holder(1, False), holder(2, None), holder(3))),
            "100 (pid 2, pid 3): 3 of 512 wait, the oldest for 1 s",
        ),
        (
            stuck(holders=(holder(1, False), holder(2, False))),
            "100 (pid 1, pid 2): 3 of 512 wait, the oldest for 1 s",
        ),
    ],
)
def test_what_is_stuck_is_said_with_how_much_waits(one: Listener, text: str) -> None:
    (found, *_) = verdicts([count(1, 9)], [one])
    assert found.finding == Finding("STUCK", f"nobody accepts from socket {text}", 9, 1)
    assert found.inode == 100


def test_of_a_stuck_group_the_longest_queue_is_said() -> None:
    members = [
        replace(stuck(queue, inode=inode), group=7, group_size=2, sharing="reuseport")
        for inode, queue in ((100, 2), (101, 5), (102, 4))
    ]
    (found,) = verdicts([count(1, 9), count(1, 4, 101)], members)
    assert found.finding.text.startswith("nobody accepts from socket 101 (pid 1): 5 of 512 wait")
    assert (found.finding.connections, found.finding.members) == (13, 3)
    assert (found.inode, found.group, found.local_port) == (None, 7, 80)
    assert (found.netns, found.family, found.local_address) == (NETNS, "ipv4", "0.0.0.0")


@pytest.mark.parametrize(
    ("rows", "holders", "text"),
    [
        ([count(1, 1)], [holder(1)], "pid 1 (nginx: worker) alone accepts here: 1 connection"),
        ([], [holder(1)], "pid 1 (nginx: worker) alone accepts here: 0 connections"),
        (
            [],
            [replace(holder(1), waits=None)],
            "pid 1 (nginx: worker) alone may accept here: 0 connections",
        ),
        ([count(1, 2)], [holder(1, name="")], "pid 1 (nginx) alone accepts here: 2 connections"),
        ([count(1, 2)], [], "one process alone accepts here: 2 connections"),
        (
            [count(1, 2)],
            [holder(1), holder(2, False)],
            "pid 1 (nginx: worker) alone accepts here: 2 connections",
        ),
        ([], [], None),
        ([], [holder(1, None), holder(2, None)], None),
        ([], [holder(1), holder(2)], None),
    ],
)
def test_of_one_listener_with_one_process_it_is_said_who_it_is(
    rows: Sequence[AcceptorCount], holders: Sequence[Holder], text: str | None
) -> None:
    found = verdicts(rows, [listener(holders=holders)])
    number = sum(row.accepts for row in rows)
    said = [Finding("ONE ACCEPTOR", text, number, 1)] if text else []
    assert [one.finding for one in found] == said


@pytest.mark.parametrize(
    ("accepts", "others", "takers", "said"),
    [
        (28, (None, None), 1, True),  # of three a doubled share
        (27, (None, None), 1, False),
        (900, (None,), 1, True),
        (900, (None, None), 2, False),
    ],
)
def test_where_nobody_saw_the_others_wait_one_may_have_taken_all(
    accepts: int, others: Sequence[bool | None], takers: int, said: bool
) -> None:
    may = [holder(pid, waits) for pid, waits in enumerate(others, 2)]
    rows = [count(pid, accepts) for pid in range(1, takers + 1)]
    found = verdicts(rows, [listener(holders=[holder(1, None), *may, holder(9, False)])])
    assert {one.finding.members for one in found if one.finding.word == "ONE ACCEPTOR"} <= {1}
    texts = [one.finding.text for one in found if one.finding.word == "ONE ACCEPTOR"]
    text = f"pid 1 (nginx: worker) took all {accepts} connections; {len(may)} more hold the socket"
    assert [one.startswith(text) for one in texts] == [True] * said


def test_of_a_group_that_nobody_reached_nothing_is_said() -> None:
    members = [listener(100 + n, [holder(1 + n)], group=7, size=2) for n in range(2)]
    assert verdicts([], members) == ()


def test_who_took_all_is_not_said_where_it_holds_the_socket_no_more() -> None:
    assert verdicts([count(50, 900)], [listener(holders=[holder(1, None), holder(2, None)])]) == ()


def test_of_what_one_process_takes_nothing_is_said_beside_those_that_share() -> None:
    sees = Sight.of("empty", "errors", "accepts", "arrived", "closed", "migrated")
    it = Tracker(META, Filters(), 0.0, sees)
    there = [listener(holders=[holder(1)]), both(101, 81)]
    passed = [replace(seen(), flow=Flow(9, 0, 0, 0, 0))]
    for second in (1, 2):
        feed(it, second, [count(1, 9), count(2, 7, 101)], there, counted=passed)
    assert {row.book for row in it.snapshot().listeners} == {"balanced"}
    assert [one.inode for one in it.snapshot().verdicts] == [101]


def both(inode: int, port: int = 80) -> Listener:
    return listener(inode, [holder(inode), holder(inode + 1)], port=port)


def test_equal_words_are_said_of_the_busiest_first() -> None:
    rows = [count(100, 300), count(101, 310)]
    rows += [count(200, 500, 200), count(201, 510, 200)]
    rows += [count(300, 99, 300), count(301, 910, 300)]
    found = verdicts(rows, [both(100), both(200, 81), both(300, 82)])
    assert [(one.local_port, one.finding.word) for one in found] == [
        *((82, "UNEVEN"), (81, "FAIR"), (80, "FAIR"))
    ]
    assert [one.inode for one in found] == [300, 200, 100]
    assert [one.since_s for one in found] == [2.0, None, None]


def test_without_any_that_share_the_busiest_is_said_and_with_losses_it_stands_for_all() -> None:
    waits = replace(listener(100, [holder(1)], queue=1), oldest_us=5)
    alone = [waits, listener(200, [holder(2)], port=81)]
    found = verdicts([count(1, 5), count(2, 9, 200)], alone)
    assert [(one.inode, one.finding.word) for one in found] == [(200, "ONE ACCEPTOR")]
    shared = [both(100), both(200, 81), listener(300, [holder(9)], port=82)]
    rows = [count(100, 300), count(101, 310), count(200, 5, 200), count(9, 2000, 300)]
    lossy = verdicts(rows, shared, Losses(map_full=1))
    assert [(one.inode, one.finding.word) for one in lossy] == [(300, "INCOMPLETE")]


def test_a_stuck_one_is_said_though_others_are_busier() -> None:
    busy = [listener(200, [holder(2)], port=81), listener(300, [holder(3)], port=82)]
    rows = [count(1, 5), count(2, 9, 200), count(3, 8, 300)]
    found = verdicts(rows, [stuck(), *busy])
    assert [(one.inode, one.finding.word) for one in found] == [(100, "STUCK")]


def test_a_fault_has_its_time_until_it_is_over() -> None:
    it = model(window_s=2.0)
    sums = [0, 0]
    told = []
    for second, taken in enumerate(((90, 910), (90, 910), (500, 505), (500, 505), (90, 910)), 3):
        sums = [before + more for before, more in zip(sums, taken, strict=True)]
        feed(it, 2 * second, [count(100, sums[0]), count(101, sums[1])], [both(100)])
        (found,) = it.snapshot().verdicts
        told.append((found.finding.word, found.since_s, found.over_s))
    assert told[:2] == [("UNEVEN", 6.0, 2.0), ("UNEVEN", 6.0, 2.0)]
    assert told[3:] == [("FAIR", None, 2.0), ("UNEVEN", 14.0, 2.0)]
    (whole,) = it.summary().verdicts
    assert (whole.finding.connections, whole.over_s, whole.since_s) == (5010, 14.0, 14.0)


def test_before_a_window_is_full_it_is_the_whole_run() -> None:
    it = model(window_s=60.0)
    feed(it, 3, [count(100, 300), count(101, 310)], [both(100)])
    assert it.snapshot().verdicts[0].over_s == 3.0


@pytest.mark.parametrize(
    ("ways", "because"),
    [
        (("epoll", "epoll"), "; epoll tries those that wait always in the same order"),
        (("accept", "accept"), "; accept() wakes the one that waits longest"),
        (("poll", "poll"), "; poll() wakes all, and the fastest takes it"),
        (("select", "select"), "; select() wakes all, and the fastest takes it"),
        (("epoll", "accept"), ""),
        ((None, None), ""),
        (("io_uring", "io_uring"), ""),
    ],
)
def test_how_they_wait_is_said_of_processes_on_one_socket(
    ways: Sequence[WaitsIn | None], because: str
) -> None:
    holders = [replace(holder(pid), waits_in=way) for pid, way in zip((1, 2), ways, strict=True)]
    asleep = replace(holder(3, False), waits_in="poll")
    (found,) = verdicts([count(1, 900), count(2, 90)], [listener(holders=[*holders, asleep])])
    assert found.finding.text == f"worker 1 took 1.82x its share (900 of 990){because}"
    assert (found.finding.p, found.finding.members) == (None, 2)


@pytest.mark.parametrize(
    ("selectors", "because"),
    [
        (("ebpf", "ebpf"), "; ebpf chooses, not the hash"),
        (("cbpf", "hash"), "; cbpf and hash chooses, not the hash"),
        ((None, None), ""),  # not known: not said to be drawn by the hash either
    ],
)
def test_what_chooses_instead_of_the_hash_is_said(
    selectors: Sequence[Selector | None], because: str
) -> None:
    members = [
        replace(listener(inode, [holder(inode)], group=7, size=2), selector=selector)
        for inode, selector in zip((1, 2), selectors, strict=True)
    ]
    (found,) = verdicts([count(1, 900, 1), count(2, 90, 2)], members)
    assert found.finding.text == f"worker 1 took 1.82x its share (900 of 990){because}"


def test_of_a_group_that_closed_before_the_window_nothing_is_held_against_anybody() -> None:
    it = model(10.0)
    group = [listener(100 + n, [holder(n)], group=7, size=2) for n in (1, 2)]
    feed(it, 1, [count(1, 50, 101), count(2, 50, 102)], group)
    for second in (2, 3, 30):
        feed(it, second, [], [])
    assert words(it.snapshot().verdicts) == ["TOO FEW"]
    assert it.summary().verdicts[0].finding.connections == 100


def test_members_of_a_group_are_named_after_the_one_that_serves_them() -> None:
    members = [
        listener(200, [holder(1), holder(2)], group=7, size=4),
        listener(201, [holder(3, start=99)], group=7, size=4),
        listener(202, [], group=7, size=4),
        listener(203, [holder(4)], group=7, size=4),
    ]
    rows = [count(1, 500, 200), count(2, 450, 200), count(3, 9, 201, start=99)]
    (found,) = verdicts(rows, members)
    names = {one.listener_inode: one.pid for one in found.finding.standouts}
    assert names == {200: None, 201: 3, 202: None, 203: 4}
    assert found.finding.text.startswith("socket 200 took 3.96x its share (950 of 959)")
    assert all(one.p is not None and one.p < 1e-3 for one in found.finding.standouts)
    rows = [count(3, 950, 201, start=99), count(1, 9, 200)]
    (found,) = verdicts(rows, members)
    assert found.finding.text.startswith("worker 3 took 3.96x its share")


def test_of_many_that_are_gone_all_but_the_last_are_named_together() -> None:
    """Each second another worker takes 30 and ends, while the one that stays takes 10."""
    it, steady = model(), holder(1)
    feed(it, 0, [], [listener(holders=[steady, holder(1000)])])
    for second in range(1, 81):
        ended = [count(1000 + each, 30) for each in range(second)]
        there = [listener(holders=[steady, holder(1000 + second)])]
        feed(it, second, [count(1, 10 * second), *ended], there)
    (found,) = it.summary().verdicts
    assert found.finding.text == "those that are gone took 1.50x its share (450 of 3,200)"
    assert [(one.pid, one.accepts, one.expected) for one in found.finding.standouts] == [
        *((None, 450, 300.0), (1, 800, 1600.0))
    ]


def test_connections_held_are_those_of_the_port_and_its_family() -> None:
    where = LocalPort(NETNS, 80, "ipv4")
    opened = Opened(2.0, frozenset({80}), {1: 1, 2: 2}, {(1, where): 520, (2, where): 20})
    for group in (False, True):
        listeners = [listener(100, [holder(1), holder(2)])]
        rows = [count(1, 480), count(2, 500)]
        if group:
            listeners = [listener(99 + n, [holder(n)], group=7, size=2) for n in (1, 2)]
            rows = [count(1, 480, 100), count(2, 500, 101)]
        it = model()
        counts = Counts(tuple(rows), at_s=1.0, ahead_s=LONG_AGO_S)
        it.update(Reading(counts, Inventory(tuple(listeners), opened=opened), wall=""))
        (found,) = it.snapshot().verdicts
        assert found.finding.word == "UNEVEN OPEN"
        assert found.finding.open_ratio == pytest.approx(520 * 2 / 540)
        assert "worker 1 holds 1.93x" in found.finding.text


def case(counts: Sequence[int], fair: float = 100.0, **facts: object) -> Case:
    members = [
        Member(f"worker {pid}", pid, pid + 10, n, fair, there=True)
        for pid, n in enumerate(counts, 1)
    ]
    return replace(Case("worker", members), **facts)  # type: ignore[arg-type]


def test_one_alone_and_nobody() -> None:
    nobody = judge(case([]))
    assert nobody == Finding("TOO FEW", "nobody waits here, and nothing came")
    assert (nobody.members, nobody.connections) == (0, 0)
    assert not Case("worker", case([1, 9]).members, drawn=True).is_certain  # nothing says so
    alone = Finding("ONE ACCEPTOR", "worker 1 alone accepts here: 1 connection", 1, 1)
    assert judge(case([1])) == alone
    gone = Member("gone", 9, None, 4, 0.0, there=False)
    ghost = Member("ghost", 9, None, 4, 0.0, there=True)
    waits = Member("waits", 9, None, 0, 0.0, there=True)
    found = judge(Case("worker", [*case([1]).members, gone, ghost]))
    assert (found.word, found.connections) == ("ONE ACCEPTOR", 9)
    assert judge(Case("worker", [*case([1]).members, waits])).word == "TOO FEW"


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ((1200, 1000, 800), "UNEVEN"),
        ((1199, 1000, 801), "FAIR"),
        ((120, 100, 80), "FAIR"),  # chance alone would do that
        ((1000, 1000, 0, 1000), "IDLE WORKERS"),
        ((1199, 801, 0), "IDLE WORKERS"),
        ((1200, 800, 0), "UNEVEN"),
    ],
)
def test_an_effect_is_a_fifth_more_or_less(counts: Sequence[int], word: str) -> None:
    assert judge(case(counts, 1000.0)).word == word


@pytest.mark.parametrize(("drawn", "word"), [(True, "UNEVEN"), (False, "FAIR")])
def test_where_nothing_is_drawn_it_has_to_be_rarer(drawn: bool, word: str) -> None:
    """Of the hash there is evidence of another kind too: 65 of 100 are p = 0.004."""
    found = judge(case((65, 35), 50.0, drawn=drawn, p_always=0.0))
    assert found.word == word
    assert [one.p is not None for one in found.standouts] == [True, True] * drawn


def test_who_expects_few_is_not_idle() -> None:
    few = [Member(f"{n}", n, None, 100, 100.0, there=True) for n in (1, 2, 3)]
    for expected, word in ((4.9, "FAIR"), (5.0, "IDLE WORKERS")):
        late = Member("late", 4, None, 0, expected, there=True)
        assert judge(Case("worker", [*few, late])).word in (word, "ROUND ROBIN")
        assert (judge(Case("worker", [*few, late])).word == "IDLE WORKERS") == (expected == 5.0)


def test_standouts_are_told_with_their_numbers() -> None:
    found = judge(case((200, 100, 0)))
    assert found.text == "worker 1 took 2.00x its share (200 of 300), 1 of 3 workers got none"
    assert [(one.pid, one.listener_inode, one.accepts) for one in found.standouts] == [
        *((1, 11, 200), (3, 13, 0))
    ]
    assert [(one.expected, one.ratio, one.p) for one in found.standouts] == [
        *((100.0, 2.0, None), (100.0, 0.0, None))
    ]
    assert (found.ratio, found.members, found.connections) == (2.0, 3, 300)


def held(numbers: Sequence[int | None], **facts: object) -> Finding:
    members = [
        Member(f"worker {pid}", pid, None, n, 250.0, there=pid < 4, held=now)
        for pid, (n, now) in enumerate(zip((262, 241, 250, 247), numbers, strict=True), 1)
    ]
    return judge(replace(Case("worker", members, drawn=True), **facts))  # type: ignore[arg-type]


def test_open_connections_are_compared_among_those_that_are_there() -> None:
    # The fourth is gone: what it holds is no part of it.
    assert held((200, 100, 100, 9)).open_ratio == pytest.approx(1.5)
    assert held((200, 100, 100, None)).word == "UNEVEN OPEN"
    assert held((199, 100, 101, 0)).word == "FAIR"
    assert held((199, 100, 101, 0)).open_ratio == pytest.approx(199 * 3 / 400)
    assert held((15, 6, 6, 0)).open_ratio is None  # 28 show a doubled share
    assert held((16, 6, 6, 0)).open_ratio == pytest.approx(16 * 3 / 28)
    assert held((16, 6, 6, 0)).word == "FAIR"  # by chance
    assert held((200, None, 100, 0)).open_ratio is None


def test_numbers_have_their_noun() -> None:
    assert [counted(n, "socket") for n in (0, 1, 2, 1000)] == [
        *("0 sockets", "1 socket", "2 sockets", "1,000 sockets")
    ]
    assert [counted(n, "process", "processes") for n in (1, 2)] == ["1 process", "2 processes"]
