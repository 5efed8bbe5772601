"""What a run says when it ends: whole sentences, one thing a line, and the ledger if asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from accepttrace.facts.records import Losses
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import table
from accepttrace.views.closing import closing
from accepttrace.views.text import plain
from tests.unit.pictures import (
    count,
    feed,
    four_workers,
    holder,
    listener,
    reuseport,
    seen,
    tracker,
    troubled,
    unbalanced,
)


def said(snapshot: Snapshot, width: int = 400, **options: Any) -> list[str]:
    return plain(closing(snapshot, width, **options)).splitlines()


def test_a_run_is_told_one_thing_a_line() -> None:
    snapshot = replace(seen(four_workers()), interval_s=3.0, events=())
    rows = [replace(row, accepts_interval=row.accepts) for row in snapshot.acceptors]
    assert said(replace(snapshot, acceptors=tuple(rows))) == [
        "1,000 connections accepted in 3s (333/s): 4 workers on 1 listener.",
        "UNEVEN: worker 1001 took 2.44x its share (610 of 1,000), 1 of 4 workers got none.",
        "Accounted for: all 1,002: 1,000 accepted, 2 waiting.",
        "In the accept queue half of them waited at most 127us, 99% at most 127us,"
        " the longest 3.4ms.",
        "Clients lost nothing.",
        "The tracer lost nothing.",
    ]


def test_every_sentence_ends_and_none_is_wider_than_the_window() -> None:
    for width in (40, 80, 120):
        lines = said(troubled(), width)
        assert max(map(len, lines)) <= width


def test_all_that_are_accounted_for_need_no_parts_where_all_were_accepted() -> None:
    assert "Accounted for: all 1,509." in said(seen(reuseport((1000, 509))))
    assert not any("ccounted" in line for line in said(seen(reuseport((0, 0)))))


def test_books_that_do_not_balance_are_always_spoken_of() -> None:
    (line,) = (line for line in said(unbalanced()) if line.startswith("books of"))
    assert line.endswith("7 unaccounted for")
    nowhere = replace(unbalanced(), listeners=())
    assert "Not all that came are accounted for." in said(nowhere)
    unchecked = "Whether all that came are accounted for could not be checked."
    assert unchecked in said(four_workers())


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (Losses(), "The tracer lost nothing."),
        (Losses(map_full=3, probe_misses=1), "LOST by the tracer: 3 map full, 1 probe miss."),
        (
            Losses(probe_misses=None),
            "The tracer lost nothing that it can count; not counted: probe misses.",
        ),
        (Losses(events_lost=2, probe_misses=None), "LOST by the tracer: 2 events."),
        (
            Losses(over_share=1200, over_whose=("uid 33",)),
            "1,200 events of uid 33 not counted: share used up.",
        ),
    ],
)
def test_what_the_tracer_lost_is_always_said(losses: Losses, words: str) -> None:
    assert words in said(four_workers(losses=losses))


def test_what_clients_lost_is_said_by_cause_and_not_that_it_was_nothing() -> None:
    lines = said(troubled())
    assert any(line.startswith("lost on 0.0.0.0:80: 48 SYNs and 3 final ACKs") for line in lines)
    assert "Clients lost nothing." not in lines


def test_what_cannot_be_seen_was_not_nothing() -> None:
    snapshot = seen(four_workers(), {100: {"lost_on_close": None, "overflow_peers": None}})
    assert (
        "Clients lost nothing that can be seen; not visible: connections reset on close."
        in said(snapshot)
    )


def test_waits_that_were_not_measured_are_counted() -> None:
    model = tracker()
    feed(model, 1, [count(1, 9, waits_us=[100] * 6)], [listener(100, [holder(1)])])
    (line,) = (line for line in said(model.summary()) if "accept queue" in line)
    assert line.endswith("the longest 100us (3 were not measured).")
    model = tracker()
    feed(model, 1, [count(1, 9)], [listener(100, [holder(1)])])
    assert not any("accept queue" in line for line in said(model.summary()))


def test_workers_that_ended_are_counted_with_what_they_took() -> None:
    model = tracker()
    feed(model, 1, [count(1, 10), count(2, 5)], [listener(100, [holder(1), holder(2)])])
    feed(model, 2, [count(1, 10), count(2, 7)], [listener(100, [holder(2)])])
    assert "1 worker ended, having accepted 10 connections." in said(model.summary())
    assert not any("ended" in line for line in said(model.summary("socket")))
    assert not any("ended" in line for line in said(four_workers()))


def test_the_ledger_comes_only_if_it_is_asked_for() -> None:
    brief, whole = said(troubled()), said(troubled(), ledger=True)
    assert whole[: len(brief)] == brief
    assert [line.partition(":")[0] for line in whole[len(brief) :]] == [
        "books balanced",
        "lost by clients",
        "not lost",
        "lost by the tracer",
    ]


def test_a_verdict_that_lasts_is_said_once() -> None:
    model = tracker()
    stuck = replace(listener(100, [holder(1)], queue=3), oldest_us=2_000_000)
    for second in (1, 2):
        feed(model, second, [], [stuck])
        model.snapshot()
    text = plain(table.render(model.summary(), 120, None))
    assert text.count("nobody accepts from socket 100") == 1
    assert "12:00:01Z STUCK since then\n" in text
