"""What `accepttrace check` answers: the number, the words, on both sides of each bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.facts.records import Losses
from accepttrace.model.snapshot import NamespaceLoss, Snapshot
from accepttrace.model.verdict import Finding
from tests.unit.pictures import UNREAD, reuseport, seen
from tests.unit.test_conditions import (
    EVEN,
    SHARE,
    acceptors,
    held,
    listeners,
    located,
    nothing_came,
    opened,
    outcome,
    waited,
)


def said(*findings: Finding) -> Snapshot:
    """With these verdicts, the gravest first."""
    first = EVEN.verdicts[0]
    return replace(EVEN, verdicts=tuple(replace(first, finding=one) for one in findings))


DRAWN = Finding("UNEVEN", "drawn", 100, 4, 1.8, 1.2, 0.001)
COUNTED = Finding("UNEVEN", "counted", 100, 4, 1.7)
STUCK = Finding("STUCK", "stuck", 9, 1)
FAIR = Finding("FAIR", "fair", 100, 4, 1.1, 1.2, 0.5)
FEW = Finding("TOO FEW", "few", 3, 2, 2.0, 3.0, 0.5)
ALONE = Finding("ONE ACCEPTOR", "alone", 9, 1)
ALL_TO_ONE = Finding("ONE ACCEPTOR", "all", 9, 2, 2.0)
LACKS = Finding("INCOMPLETE", "lacks")
Said = tuple[bool | None, float | str | None, str, bool]


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ((DRAWN, COUNTED), (False, "UNEVEN", "drawn", True)),
        ((COUNTED, DRAWN), (False, "UNEVEN", "counted", False)),
        ((STUCK, DRAWN), (False, "STUCK", "stuck", False)),
        ((ALL_TO_ONE,), (False, "ONE ACCEPTOR", "all", False)),
        ((ALONE,), (None, "ONE ACCEPTOR", "alone", False)),
        ((ALONE, FAIR), (True, "FAIR", "fair", False)),
        ((FEW, FAIR), (True, "FAIR", "fair", False)),
        ((FEW,), (None, "TOO FEW", "few", False)),
        ((LACKS, FAIR), (None, "INCOMPLETE", "lacks", False)),
    ],
)
def test_fair_is_what_the_gravest_says(findings: Sequence[Finding], expected: Said) -> None:
    found = outcome("fair", "FAIR", said(*findings))
    assert (found.held, found.measured, found.text, found.certain) == expected


CHANCE = "chance alone reaches it 1 time in 20; "
STUCK_RATIO = 510 / (1985 / 4)  # of the rows: a stuck set has no verdict on its split


@pytest.mark.parametrize(
    ("allowed", "findings", "expected"),
    [
        (1.79, (DRAWN, COUNTED), (False, 1.8, "UNEVEN: drawn", True)),
        (1.8, (DRAWN, COUNTED), (True, 1.8, "UNEVEN: drawn", False)),
        (1.69, (COUNTED,), (False, 1.7, "UNEVEN: counted", False)),
        (1.75, (COUNTED, DRAWN), (False, 1.8, "UNEVEN: drawn", True)),
        (1.0, (FAIR,), (None, 1.1, f"{CHANCE}FAIR: fair", False)),
        (1.0, (replace(FAIR, ratio=1.2),), (None, 1.2, f"{CHANCE}FAIR: fair", False)),
        (1.0, (replace(FAIR, ratio=1.21),), (False, 1.21, "FAIR: fair", False)),
        (1.0, (replace(FAIR, chance_ratio=None),), (False, 1.1, "FAIR: fair", False)),
        (0.5, (replace(FAIR, ratio=0.9, chance_ratio=None),), (False, 0.9, "FAIR: fair", False)),
        (1.1, (FAIR,), (True, 1.1, "FAIR: fair", False)),
        (1.5, (FEW, FAIR), (True, 1.1, "FAIR: fair", False)),
        (9.0, (FEW,), (None, 2.0, "TOO FEW: few", False)),
        (9.0, (ALONE,), (None, None, "ONE ACCEPTOR: alone", False)),
        (1.9, (ALL_TO_ONE,), (False, 2.0, "ONE ACCEPTOR: all", False)),
        (STUCK_RATIO + 0.01, (STUCK,), (True, STUCK_RATIO, "STUCK: stuck", False)),
        (STUCK_RATIO - 0.01, (STUCK,), (False, STUCK_RATIO, "STUCK: stuck", False)),
    ],
)
def test_the_worst_ratio_of_all_sets_decides(
    allowed: float, findings: Sequence[Finding], expected: Said
) -> None:
    found = outcome("max-ratio", allowed, said(*findings))
    assert (found.held, found.text, found.certain) == (expected[0], *expected[2:])
    assert found.measured == (expected[1] if expected[1] is None else pytest.approx(expected[1]))


TOOK = "510 of 1,985"
TOP = f"pid 1003 (nginx: worker) took {TOOK}"
NAMELESS = acceptors(EVEN, {"pid": None})  # 510 by processes without a row of their own


@pytest.mark.parametrize(
    ("allowed", "snapshot", "expected"),
    [
        (SHARE, EVEN, (True, SHARE, TOP)),
        (0.25, EVEN, (None, SHARE, f"{TOP}; chance alone reaches 27.2% 1 time in 20")),
        (0.2499, EVEN, (False, SHARE, TOP)),
        (0.25, NAMELESS, (False, 500 / 1985, "pid 1001 (nginx: worker) took 500 of 1,985")),
        (0.256, NAMELESS, (None, 500 / 1985, f"{TOOK} by processes without a row of their own")),
        (SHARE, NAMELESS, (True, 500 / 1985, "pid 1001 (nginx: worker) took 500 of 1,985")),
    ],
)
def test_the_largest_share_is_told_with_whose_it_is(
    allowed: float, snapshot: Snapshot, expected: tuple[bool | None, float, str]
) -> None:
    found = outcome("max-share", allowed, snapshot)
    assert (found.held, found.text) == (expected[0], expected[2])
    assert found.measured == pytest.approx(expected[1])


FEW_CAME = reuseport((3, 1, 0, 2), "process")
MANY_CAME = seen(reuseport((300, 100, 0, 200), "process"))


@pytest.mark.parametrize(
    ("wanted", "snapshot", "expected"),
    [
        (4, EVEN, (True, 4, "4 of 4 processes there took connections")),
        (5, EVEN, (False, 4, "4 of 4 processes there took connections")),
        (3, FEW_CAME, (True, 3, "3 of 4 processes there took connections")),
        (
            *(4, FEW_CAME),
            (
                *(None, 3),
                "3 of 4 processes there took connections; TOO FEW: about 47 show a doubled share",
            ),
        ),
        (5, FEW_CAME, (False, 3, "3 of 4 processes there took connections")),
        (4, MANY_CAME, (False, 3, "3 of 4 processes there took connections")),
        (
            2,
            acceptors(EVEN, {"alive": False}, {"left": True}),
            (True, 2, "2 of 2 processes there took connections"),
        ),
        (
            3,
            acceptors(EVEN, {"alive": False}, {"left": True}),
            (False, 2, "2 of 2 processes there took connections"),
        ),
        (1, replace(EVEN, listeners=(), acceptors=()), (None, None, "nobody listens")),
    ],
)
def test_workers_are_those_that_are_there(
    wanted: int, snapshot: Snapshot, expected: tuple[bool | None, int | None, str]
) -> None:
    found = outcome("min-workers", wanted, snapshot)
    assert (found.held, found.measured, found.text) == expected


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (11, "pid 1001 (nginx: worker) took 12 of 47"),
        (10, "pid 1001 (nginx: worker) took 12 of 46; TOO FEW: about 47 show a doubled share"),
    ],
)
def test_as_many_as_are_needed_are_enough(last: int, text: str) -> None:
    snapshot = seen(reuseport((12, 12, 12, last), "process"))
    assert outcome("max-share", 0.9, snapshot).text == text


LATE = waited(*([100] * 98), 3000)
QUEUES = replace(
    LATE,
    listeners=(
        replace(LATE.listeners[0], queue=2, oldest_wait_us=5000),
        replace(LATE.listeners[1], queue=3, oldest_wait_us=9000),
        *LATE.listeners[2:],
    ),
)
WAIT = "104 connections; 5 still waiting, the first for 9.0 ms"
UNTIMED = replace(LATE, books=replace(LATE.books, accepts=101))


@pytest.mark.parametrize(
    ("allowed", "quantile", "snapshot", "expected"),
    [
        (99, 1.0, LATE, (False, 3000, "99 connections; 1 to 99 waited longer, 0 may", True)),
        (2999, 1.0, LATE, (False, 3000, "99 connections", True)),
        (3000, 1.0, LATE, (True, 3000, "99 connections", False)),
        (99, 1.0, QUEUES, (False, 9000, f"{WAIT}; 3 to 104 waited longer, 0 may", True)),
        (2999, 0.97, QUEUES, (None, 103, f"{WAIT}; 3 to 6 waited longer, 3 may", False)),
        (4999, 0.97, QUEUES, (None, 103, f"{WAIT}; 2 to 5 waited longer, 3 may", False)),
        (5000, 0.97, QUEUES, (True, 103, f"{WAIT}; 1 to 3 waited longer, 3 may", False)),
        (8999, 1.0, QUEUES, (False, 9000, f"{WAIT}; 1 to 3 waited longer, 0 may", True)),
        (9000, 1.0, QUEUES, (True, 9000, WAIT, False)),
        (5000, 0.99, UNTIMED, (None, 3000, "101 connections; 0 to 2 waited longer, 1 may", False)),
        (5000, 0.98, UNTIMED, (True, 103, "101 connections; 0 to 2 waited longer, 2 may", False)),
        (
            0,
            1.0,
            listeners(waited(0), queue=1, oldest_wait_us=0),
            (True, 0, "2 connections; 1 still waiting", False),
        ),
        (3000, 1.0, listeners(LATE, queue=5, open=False), (True, 3000, "99 connections", False)),
        (
            *(5000, 1.0, listeners(nothing_came(), queue=4, oldest_wait_us=None)),
            (
                *(None, None, "4 connections; 4 still waiting; 0 to 4 waited longer, 0 may"),
                False,
            ),
        ),
    ],
)
def test_how_long_is_told_with_how_many(
    allowed: float, quantile: float, snapshot: Snapshot, expected: Said
) -> None:
    found = outcome("max-wait", allowed, snapshot, quantile)
    assert (found.held, found.measured, found.text, found.certain) == expected


def test_how_long_the_first_waits_is_in_milliseconds() -> None:
    waiting = listeners(LATE, queue=1, oldest_wait_us=61_234_567)
    found = outcome("max-wait", 1e9, waiting)
    assert found.text == "100 connections; 1 still waiting, the first for 61,234.6 ms"


def test_what_is_missing_is_said_after_what_was_found() -> None:
    for losses, books, missing in (
        (Losses(map_full=1), {}, "INCOMPLETE: 1 event lost by the tracer"),
        (Losses(), {"balanced": False}, "INCOMPLETE: the books do not balance"),
        (Losses(), {"unseen": 3}, "INCOMPLETE: 3 accepts not seen"),
    ):
        facts: dict[str, Any] = {"losses": losses, **books}
        lacks = replace(EVEN, books=replace(EVEN.books, **facts))
        assert outcome("max-share", 0.9, lacks).text == f"{TOP}; {missing}"
        nowhere = listeners(lacks, queue_max=5, inode=None)
        assert outcome("max-queue", 9, nowhere).text == missing


SAMPLED = "seen at each refresh alone: it may have been longer between them"


@pytest.mark.parametrize(
    ("allowed", "facts", "expected"),
    [
        (4, {"queue_max": 5}, (False, 5, "socket 200", True)),
        (5, {"queue_max": 5}, (True, 5, "socket 200", False)),
        (4, {"queue_max": 5, "inode": None}, (False, 5, "", True)),
        (9, {"queue_max": None}, (None, 0, SAMPLED, False)),
        (511, {"queue_max": 5, "queue_max_sampled": True}, (None, 5, SAMPLED, False)),
        (512, {"queue_max": 5, "queue_max_sampled": True}, (True, 5, "socket 200", False)),
        (
            *(512, {"queue_max": 5, "queue_max_sampled": True, "capacity": None}),
            (None, 5, SAMPLED, False),
        ),
    ],
)
def test_the_longest_queue_is_told_with_where_it_was(
    allowed: int, facts: dict[str, Any], expected: Said
) -> None:
    found = outcome("max-queue", allowed, listeners(EVEN, **facts))
    assert (found.held, found.measured, found.text, found.certain) == expected


def test_the_longest_queue_is_that_of_any_listener() -> None:
    both = tuple(
        replace(EVEN.listeners[0], inode=inode, queue_max=longest)
        for inode, longest in ((200, 0), (201, 1))
    )
    for rows in (both, both[::-1]):
        found = outcome("max-queue", 0, replace(EVEN, listeners=rows))
        assert (found.held, found.measured, found.text) == (False, 1, "socket 201")


def test_of_two_workers_chance_may_give_one_more_than_half() -> None:
    found = outcome("max-share", 0.5, seen(reuseport((55, 45), "process")))
    assert (found.held, found.measured) == (None, 0.55)
    assert found.text.endswith("; chance alone reaches 60.0% 1 time in 20")


@pytest.mark.parametrize("name", ["arrived", "queue", "queue_max"])
def test_what_arrived_or_waits_has_come(name: str) -> None:
    nothing = nothing_came()
    facts: dict[str, Any] = {"arrived": None, "queue": None, "queue_max": 0, name: 1}
    assert outcome("max-queue", 9, nothing).text == "nothing came"
    assert outcome("max-queue", 9, listeners(nothing, **facts)).text != "nothing came"


LOST: dict[str, Any] = {"dropped_overflow": 1, "dropped_syn_queue": 2, "dropped_other": 3}
LOST |= {"lost_on_close": 4, "half_open_lost": 5}
SURE = NamespaceLoss(1, "overflow", 7, (200,), sure=True)
UNCLEAR = "packets were dropped, and whether a client lost by that is not known"


@pytest.mark.parametrize(
    ("facts", "shared", "expected"),
    [
        ({}, (), (True, 0, "nothing lost", False)),
        (LOST, (), (False, 15, "socket 200 lost 15", True)),
        ({**LOST, "inode": None}, (), (False, 15, "sockets that closed lost 15", True)),
        ({}, (SURE,), (False, 7, "7 packets at one of several listeners", True)),
        (LOST, (SURE, replace(SURE, sure=False)), (False, 22, "socket 200 lost 15", True)),
        ({}, (replace(SURE, sure=False),), (None, None, UNCLEAR, False)),
        ({"dropped_unclear": 1}, (), (None, None, UNCLEAR, False)),
        (
            *({"dropped_syn_queue": None, "dropped_other": None, "lost_on_close": None}, ()),
            (None, None, "not visible: dropped_other, dropped_syn_queue", False),
        ),
        ({"half_open_lost": None}, (), (True, 0, "nothing lost", False)),
        (
            *({"half_open_lost": None, "epoch": 2}, ()),
            (None, None, "not visible: half_open_lost", False),
        ),
        (
            *({"lost_on_close": None, "open": False}, ()),
            (None, None, "not visible: lost_on_close", False),
        ),
    ],
)
def test_what_was_lost_is_told_with_where_or_why_it_is_not_known(
    facts: dict[str, Any], shared: tuple[NamespaceLoss, ...], expected: Said
) -> None:
    snapshot = replace(listeners(EVEN, **facts), namespace_losses=shared)
    found = outcome("no-loss", 0, snapshot)
    assert (found.held, found.measured, found.text, found.certain) == expected


ONE = replace(EVEN, listeners=EVEN.listeners[:1])
PARTLY = "1 listener; not all holders could be read"


@pytest.mark.parametrize(
    ("allowed", "sharing", "partial", "expected"),
    [
        ("sole", "sole", False, (True, "sole", "1 listener")),
        ("sole", "sole", True, (True, "sole", "1 listener")),
        ("sole", "shared", True, (False, "shared", "1 listener")),
        ("shared", "sole", False, (False, "sole", "1 listener")),
        ("shared", "sole", True, (None, "sole", PARTLY)),
        ("shared", "reuseport", True, (False, "reuseport", "1 listener")),
        ("reuseport", "sole", True, (False, "sole", "1 listener")),
        ("reuseport", None, False, (None, None, PARTLY)),
    ],
)
def test_how_a_listener_is_shared_may_be_in_doubt(
    allowed: str, sharing: str | None, partial: bool, expected: tuple[bool | None, str | None, str]
) -> None:
    snapshot = replace(listeners(ONE, sharing=sharing), unread=UNREAD if partial else ())
    found = outcome("expect", allowed, snapshot)
    assert (found.held, found.measured, found.text) == expected


def test_every_open_listener_has_to_be_shared_so() -> None:
    mixed = listeners(EVEN, sharing="shared")
    found = outcome("expect", "shared", mixed)
    assert (found.held, found.measured) == (False, "reuseport and shared")
    assert held("expect", "reuseport", listeners(mixed, open=False)) is True
    assert outcome("expect", "shared", listeners(EVEN, folded=7)).text == "10 listeners"


HOLDS = "pid 1003 (nginx: worker) holds"
GONE = acceptors(opened(50, 30, 20, 20), {}, {"alive": False}, {"left": True})
ONE_THERE = acceptors(GONE, {}, {}, {}, {"left": True})


@pytest.mark.parametrize(
    ("allowed", "snapshot", "expected"),
    [
        (1.66, opened(50, 30, 20, 20), (False, 50 / 30, f"{HOLDS} 50 of 120")),
        (1.67, opened(50, 30, 20, 20), (True, 50 / 30, f"{HOLDS} 50 of 120")),
        (1.42, GONE, (False, 50 / 35, f"{HOLDS} 50 of 70")),
        (1.43, GONE, (True, 50 / 35, f"{HOLDS} 50 of 70")),
        (9.0, opened(50, 30, 20, None), (None, None, "not known of every process")),
        (9.0, opened(0, 0, 0, 0), (None, None, "0 connections open at 4 processes")),
        (9.0, ONE_THERE, (None, None, "50 connections open at 1 process")),
        (2.0, opened(12, 11, 12, 12), (True, 12 * 4 / 47, f"{HOLDS} 12 of 47")),
        (
            *(2.0, opened(12, 11, 11, 12)),
            (None, 12 * 4 / 46, f"{HOLDS} 12 of 46; TOO FEW: about 47 show a doubled share"),
        ),
    ],
)
def test_the_open_ratio_is_told_with_who_holds_most(
    allowed: float, snapshot: Snapshot, expected: tuple[bool | None, float | None, str]
) -> None:
    found = outcome("max-open-ratio", allowed, snapshot)
    assert (found.held, found.text) == (expected[0], expected[2])
    assert found.measured == (expected[1] if expected[1] is None else pytest.approx(expected[1]))


def test_the_local_part_is_weighted_by_accepts() -> None:
    snapshot = located(1.0, 0.5, 0.25, 0.75)
    part = (510 + 500 * 0.5 + 495 * 0.25 + 480 * 0.75) / 1985
    found = outcome("min-local", part - 1e-9, snapshot)
    assert found.held is True
    assert found.measured == pytest.approx(part)
    assert found.text == "pid 1004 (nginx: worker) has the least: 25.0% of 495"
    assert held("min-local", part + 1e-9, snapshot) is False
    unknown = outcome("min-local", 0.1, located(1.0, 0.5, None, 0.75))
    assert (unknown.held, unknown.text) == (None, "not known of every connection")
    assert held("min-local", 0.0, located(0.0, 0.0, 0.0, 0.0)) is True
