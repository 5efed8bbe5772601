"""Sentences about what could not be read, and about sockets that are alone at one address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from accepttrace.facts.records import Baseline, Losses, NamespaceCount, Unread, is_partial
from accepttrace.model.snapshot import Snapshot, Verdict
from accepttrace.model.verdict import Finding
from accepttrace.views import verdicts
from accepttrace.views.sameplace import alone
from accepttrace.views.text import plain
from accepttrace.views.unread import objects, sentence
from tests.unit.pictures import four_workers
from tests.unit.udppictures import feed, receiver, tracker


def denied(*pids: int, reason: str = "permission denied") -> list[Unread]:
    return [Unread(f"w{pid}", reason, pid) for pid in pids]


@pytest.mark.parametrize(
    ("unread", "words"),
    [
        ([], ""),
        ([Unread("w", "silent", 5, holders=False)], ""),
        (denied(5), "1 process could not be read (PID 5 w5: permission denied)"),
        ([Unread("", "gone", 5)], "1 process could not be read (PID 5: gone)"),
        (
            denied(3, 1, 2),
            "3 processes could not be read (PID 3 w3, PID 1 w1, PID 2 w2: permission denied)",
        ),
        (
            [*denied(1, 2), *denied(9, reason="busy"), *denied(3, 4, 5)],
            "6 processes could not be read (PID 9 w9: busy;"
            " PID 1 w1, PID 2 w2, PID 3 w3 and 2 more: permission denied)",
        ),
        (
            [Unread("net\x1b", "closed"), *denied(5), Unread("b", "hidden")],
            "1 process could not be read (PID 5 w5: permission denied); net?: closed; b: hidden",
        ),
        ([Unread("b", "hidden", 0)], "1 process could not be read (PID 0 b: hidden)"),
    ],
)
def test_what_could_not_be_read_is_one_sentence(unread: list[Unread], words: str) -> None:
    assert sentence(unread) == words
    assert is_partial(unread) is bool(words)


def test_programs_get_the_first_few() -> None:
    found = objects(denied(*range(20)))
    assert found == [
        {"pid": pid, "name": f"w{pid}", "reason": "permission denied"} for pid in range(8)
    ]


def test_sockets_at_one_address_are_counted() -> None:
    rows = [receiver(10 * port + n, port=port) for port in (1, 2, 3, 4, 5) for n in range(port)]
    said = [line.split(" without")[0] for line in alone(rows)]
    assert said == [f"{port} sockets have 127.0.0.1:{port}" for port in (5, 4, 3, 2)]
    more = [receiver(100 + n, port=6) for n in range(6)]
    assert len([*alone([*rows, *more])]) == 4
    one = receiver(1)
    for other in (
        replace(one, netns=5),
        replace(one, device="eth0"),
        replace(one, local_port=54),
        replace(one, local_address="127.0.0.2"),
        replace(one, group=0),
        replace(one, queue=None),
        replace(one, remote_address="10.0.0.1"),
    ):
        assert [*alone([one, other])] == []
        assert len([*alone([one, other, one])]) == 1


def test_a_row_of_many_sockets_counts_as_all_of_them() -> None:
    model = tracker()
    feed(model, 1, [], [receiver(1)])
    (row,) = model.snapshot().sockets
    assert [*alone([row])] == []
    (said,) = alone([replace(row, folded=4)])
    assert said.startswith("4 sockets have 127.0.0.1:53")
    (said,) = alone([replace(row, folded=4), replace(row, folded=0)])
    assert said.startswith("5 sockets")


def test_losses_are_added_up_by_event() -> None:
    losses = Losses(1, 20, 300, 4000, 50000, over_share=600000)
    assert losses.total == 54321
    assert Losses(1, 20, None, None, 50000).total == 50021
    assert Losses(over_share=3, rowless=True).total == 0
    assert [word for _, word in losses.by_cause] == [
        *("event", "map full", "probe miss", "recursion miss", "unattributed")
    ]


def test_what_a_socket_had_dropped_at_the_start() -> None:
    known = {5: NamespaceCount(5, {7: 3})}
    for complete in (True, False):
        baseline = Baseline(namespaces=known, complete=complete)
        assert (baseline.drops(5, 7), baseline.drops(5, 8)) == (3, 0)
        assert baseline.drops(6, 7) == (0 if complete else None)


def judged(number: int, **facts: Any) -> Snapshot:
    """So many sets of one word: `facts` of verdicts, and of the snapshot by its names."""
    snapshot = four_workers()
    finding = Finding("UNEVEN", "a\x1b is odd")
    verdict = Verdict(1, "ipv4", "10.0.0.1", 80, None, 7, 5.0, None, finding)
    verdict = replace(verdict, **{k: v for k, v in facts.items() if k in ("over_s", "since_s")})
    changed = {k: v for k, v in facts.items() if k not in ("over_s", "since_s")}
    return replace(snapshot, verdicts=(verdict,) * number, **changed)


def test_the_gravest_verdicts_have_a_line_each() -> None:
    said = "UNEVEN  10.0.0.1:80: a? is odd"
    for number, more in (
        (0, []),
        (3, []),
        (4, ["… 1 more verdict: JSON has them"]),
        (5, ["… 2 more verdicts: JSON has them"]),
    ):
        snapshot = judged(number)
        shown = [said] * min(number, 3) + more
        assert plain(verdicts.lines(snapshot, 80)).splitlines() == shown
        alike = ["UNEVEN: 10.0.0.1:80: a? is odd"] * min(number, 3)
        assert verdicts.sentences(snapshot) == alike
    assert verdicts.sentences(judged(1)) == ["UNEVEN: a? is odd"]
    (line,) = verdicts.lines(judged(1), 80)
    assert line[0] == ("UNEVEN", verdicts.STYLES["UNEVEN"])


def test_a_long_sentence_begins_beside_its_word_where_there_is_room_and_all_of_it_is_said() -> None:
    words = " ".join(f"word{number}" for number in range(30))
    (one,) = judged(1).verdicts
    snapshot = replace(judged(1), verdicts=(replace(one, finding=Finding("STUCK", words)),))
    for width in (10, 20, 36, 37, 60, 80, 120):
        shown = plain(verdicts.lines(snapshot, width)).splitlines()
        assert max(map(len, shown)) <= width
        assert " ".join(" ".join(shown).split()) == f"STUCK {words}"
        assert shown[0] != "STUCK" or width < 37


@pytest.mark.parametrize(
    ("facts", "more"),
    [
        ({"window_s": None, "over_s": 5.0, "elapsed_s": 60.0}, ""),
        ({"window_s": 10, "over_s": 59.0, "elapsed_s": 60.0}, "; in the last 59s"),
        ({"window_s": 10, "over_s": 60.0, "elapsed_s": 60.0}, ""),
        ({"since_s": 2.0, "interval_s": 2.0, "elapsed_s": 3.0}, ""),
        ({"since_s": 2.5, "interval_s": 2.0, "elapsed_s": 4.5}, "; since 12:00:01Z"),
        ({"since_s": None, "interval_s": 2.0}, ""),
    ],
)
def test_a_verdict_says_of_what_time_it_is(facts: dict[str, Any], more: str) -> None:
    assert verdicts.sentences(judged(1, **facts)) == [f"UNEVEN: a? is odd{more}"]


def test_a_clock_is_in_utc() -> None:
    snapshot = replace(four_workers(), time="2026-01-02T00:00:01.500Z", elapsed_s=10.0)
    assert verdicts.clock(snapshot, 10.0) == "00:00:01Z"
    assert verdicts.clock(snapshot, 4.0) == "23:59:55Z"
