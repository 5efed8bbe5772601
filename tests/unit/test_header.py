"""The lines above a table, and how much room what stands below it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from accepttrace.config import By
from accepttrace.facts.records import Losses
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import frame, header
from accepttrace.views.frame import framed, nothing
from accepttrace.views.text import Line, plain
from tests.unit.pictures import META, four_workers, reuseport, seen

OWN = "LOST by the tracer:"


def rows(*facts: Mapping[str, Any], by: str = "worker") -> Snapshot:
    """One listener, and such rows beside each other."""
    snapshot = four_workers()
    row = replace(snapshot.acceptors[0], accepts=0, waits=True)
    made = [replace(row, pid=number, tid=number, **each) for number, each in enumerate(facts, 1)]
    return replace(snapshot, by=cast("By", by), acceptors=tuple(made))


def words(snapshot: Snapshot, width: int = 300) -> list[str]:
    """The parts of the second line."""
    return plain(header.header(snapshot, width)).splitlines()[-1].split("  ")


def test_those_alive_that_take_connections_are_counted() -> None:
    nobody: list[dict[str, Any]] = [
        {"alive": False},
        {"left": True},
        {"waits": False},
        {"waits": None},
    ]
    assert words(rows(*nobody))[2] == "0 workers on 1 listener"
    some = [*nobody, {}, {"waits": False, "accepts": 1}, {"waits": None, "accepts": 2}]
    for by, found in (("worker", "3 workers"), ("process", "3 workers"), ("thread", "3 threads")):
        assert words(rows(*some, by=by))[2] == f"{found} on 1 listener"
    twice = rows({}, {})
    same = replace(twice, acceptors=tuple(replace(row, pid=5) for row in twice.acceptors))
    assert words(same)[2] == "1 worker on 1 listener"
    assert words(replace(same, by="thread"))[2] == "2 threads on 1 listener"
    for by in ("socket", "group"):
        assert words(rows({}, by=by))[2] == "1 listener"
    without = rows({}, {})
    first, second = without.acceptors
    unnamed = replace(without, acceptors=(replace(first, pid=None), second))
    assert words(unnamed)[2] == "1 worker on 1 listener"


def test_open_listeners_are_counted_and_many_in_one_row_as_many() -> None:
    one, two, three = reuseport((1, 1, 1)).listeners
    listeners = (one, replace(two, open=False), replace(three, folded=1000))
    snapshot = replace(reuseport((1, 1, 1)), listeners=listeners, by="socket")
    assert words(snapshot)[2] == "1,001 listeners"
    empty = replace(snapshot, acceptors=())
    assert nothing(empty) == "0 accepts on :80 so far; 1,001 listeners there"
    assert nothing(replace(empty, listeners=(listeners[1],))) == "nobody listens on :80"


def test_the_rate_is_that_of_the_last_interval() -> None:
    for interval_s, rate in ((2.0, "150/s"), (0.5, "600/s"), (0.0, "0.0/s"), (-1.0, "0.0/s")):
        shown = rows({"accepts_interval": 100}, {"accepts_interval": 200})
        assert words(replace(shown, interval_s=interval_s))[1] == rate


@pytest.mark.parametrize(
    ("time", "clock"),
    [
        ("2026-01-02T12:00:01.250Z", "12:00:01Z"),
        ("2026-01-02T12:00:01Z", "12:00:01Z"),
        ("12:00:01.5Z", "12:00:01Z"),
        ("", ""),
    ],
)
def test_the_title_says_what_is_traced_how_and_since_when(time: str, clock: str) -> None:
    parts = [text for text, _ in header.title(META, time, 62.0)]
    assert parts == ["accepttrace :80", "attach tracepoint (libbpf)", clock, "up 1m02s"]


@pytest.mark.parametrize(
    ("losses", "parts"),
    [
        (Losses(), ["nothing lost"]),
        (Losses(1, 0, 0, 0, 0), [f"{OWN} 1 event"]),
        (
            Losses(0, 2, 3, 1, 0),
            [f"{OWN} 2 map full, 3 probe misses, 1 recursion miss"],
        ),
        (Losses(0, 0, None, None, 0), ["nothing lost", "(probe misses, recursion misses: n/a)"]),
        (Losses(5, 0, None, 0, 0), [f"{OWN} 5 events", "(probe misses: n/a)"]),
        (
            Losses(over_share=2, over_whose=("uid 3", "uid 4")),
            ["nothing lost", "2 events of uid 3 and uid 4 not counted: share used up"],
        ),
    ],
)
def test_what_was_lost_is_in_words(losses: Losses, parts: list[str]) -> None:
    assert [text for text, _ in header.loss(losses, None)] == parts
    felt = ("LOSSES BELOW", "bold red")
    told = [part for part in parts if part != "nothing lost"]
    spans = header.loss(losses, felt)
    assert [text for text, _ in spans if text != felt[0]] == told
    assert felt in spans


def test_namespaces_are_counted_from_the_second_on() -> None:
    (one,) = seen(four_workers()).listeners
    others = [replace(one, netns=number) for number in (1, 2)]
    assert header.namespaces([one, one])[0] == ""
    assert header.namespaces([one, *others])[0] == "in 3 network namespaces"


@pytest.mark.parametrize(
    ("height", "said"), [(1, 2), (5, 2), (6, 2), (8, 2), (9, 3), (11, 3), (12, 4)]
)
def test_what_is_below_has_a_third_of_the_window_but_two_lines_at_least(
    height: int, said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def notes(*_: object) -> list[Line]:
        return [((f"note {number}", ""),) for number in range(20)]

    monkeypatch.setattr(frame, "_NOTES", (notes,))
    monkeypatch.setattr(frame, "changes", lambda *_: [])
    rooms: list[int | None] = []

    def body(room: int | None) -> list[Line]:
        rooms.append(room)
        return []

    snapshot = four_workers()
    above = len(header.header(snapshot, 80))
    lines = framed(snapshot, 80, height, body, [(("after", ""),)], footer=True, full=False)
    assert rooms == [height - above - said - 1]
    shown = plain(lines).splitlines()
    assert len(shown) == min(height, above + said + 1)
    told = [f"note {number}" for number in range(said - 1)]
    more = f"… {20 - said + 1} more lines of this in the summary at the end"
    assert shown[above:] == [*told, more, "after"][: max(height - above, 0)]
