"""JSON Lines against the published schema, and the schema against the records."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.config import By
from accepttrace.facts.records import Holder, Losses, Program
from accepttrace.facts.sight import Sight
from accepttrace.model.grains import GRAINS
from accepttrace.model.snapshot import (
    AcceptorRow,
    Books,
    GroupSize,
    ListenerRow,
    Migration,
    SelectorChange,
)
from accepttrace.views.columns.tcp import TABLE
from accepttrace.views.jsonl import (
    DRAWN,
    meta_line,
    named,
    rounded,
    snapshot_line,
    summary_line,
)
from tests.unit.pictures import (
    META,
    count,
    feed,
    four_workers,
    listener,
    reuseport,
    seen,
    tracker,
    troubled,
    unbalanced,
)

SCHEMA: dict[str, Any] = json.loads(
    (Path(accepttrace.views.__file__).parent / "schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)


def parsed(line: str) -> dict[str, Any]:
    assert "\n" not in line
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_meta_is_valid_and_numbered() -> None:
    value = parsed(meta_line(META))
    VALIDATOR.validate(value)
    assert (value["type"], value["schema"], value["attach"]) == ("meta", 1, "tracepoint")


@pytest.mark.parametrize("by", GRAINS)
def test_snapshots_are_valid(by: By) -> None:
    pictures = (four_workers(by=by), reuseport((3, 0, 1), by), troubled(by), unbalanced(by))
    for snapshot in pictures:
        for histogram in (False, True):
            VALIDATOR.validate(parsed(snapshot_line(snapshot, histogram=histogram)))
            VALIDATOR.validate(parsed(summary_line(snapshot, histogram=histogram)))


def test_what_is_blind_or_empty_is_valid_too() -> None:
    model = tracker(sees=Sight())
    feed(model, 0, [], [])
    VALIDATOR.validate(parsed(snapshot_line(model.snapshot())))
    blind = count(1, 3, empty=None, errors={24: 1})
    feed(model, 1, [blind], [listener(7, queue=None)], losses=Losses(probe_misses=None))
    value = parsed(snapshot_line(model.snapshot()))
    VALIDATOR.validate(value)
    assert value["acceptors"][0]["empty_accepts"] is None
    assert value["books"]["probe_misses"] is None


def test_the_numbers_are_those_of_the_snapshot() -> None:
    value = parsed(snapshot_line(four_workers()))
    first, *_, master = value["acceptors"]
    assert (first["pid"], first["accepts"], first["share"]) == (1001, 610, 0.61)
    assert (first["fair_ratio"], first["rate"], first["wait_p99_us"]) == (2.44, 152.5, 127)
    assert (master["accepts"], master["fair_ratio"], master["waits"]) == (0, None, False)
    assert value["listeners"][0]["holders"][0] == {
        "pid": 1000,
        "comm": "nginx",
        "name": "nginx: master",
        "fd": 6,
        "waits": False,
        "waits_in": None,
    }
    assert value["books"] == {
        "accepts": 1000,
        "events_lost": 0,
        "map_full": 0,
        "probe_misses": 0,
        "recursion_misses": 0,
        "unattributed": 0,
        "over_share": 0,
        "over_whose": [],
        "uncounted": 0,
        "unseen": None,
        "unseen_at_least": False,
        "word": "unchecked",
        "balanced": True,
    }


def test_the_facts_of_a_listener_are_those_of_the_snapshot() -> None:
    first, second = parsed(snapshot_line(troubled()))["listeners"]
    assert (first["overflow_syn"], first["overflow_ack"], first["overflow_peers"]) == (48, 3, 12)
    assert (first["capacity"], first["backlog"], first["queue_mean"]) == (512, 511, 0.25)
    assert first["selector_program"] == {"id": 42, "name": "steer"}
    sizes = [{"elapsed_s": 0.0, "size": 2}, {"elapsed_s": 1.5, "size": 1}]
    assert first["group_sizes"] == sizes
    assert (second["lost_on_close"], second["migrated_out"], second["epoch"]) == (203, 5, 2)
    assert (second["queue_start"], second["arrived"], second["book"]) == (200, 708, "balanced")
    assert second["selector_program"] is None
    assert first["selectors"] == [
        {"elapsed_s": 0.0, "selector": "hash", "program": None},
        {"elapsed_s": 1.5, "selector": "ebpf", "program": {"id": 42, "name": "steer"}},
    ]


def test_migrations_are_distinguished_from_where_to_where() -> None:
    assert parsed(snapshot_line(four_workers()))["migrations"] == []
    (one,) = parsed(summary_line(troubled()))["migrations"]
    assert one == {"from_inode": 201, "to_inode": 200, "connections": 5, "requests": 1}


def test_books_that_do_not_balance_say_by_how_much() -> None:
    value = parsed(snapshot_line(unbalanced()))
    (row,) = value["listeners"]
    assert (row["book"], row["imbalance"]) == ("unbalanced", 7)
    assert (value["books"]["word"], value["books"]["balanced"]) == ("unbalanced", False)


def test_a_book_that_balances_does_so_with_the_numbers_of_its_line() -> None:
    for row in parsed(snapshot_line(troubled()))["listeners"]:
        came = row["queue_start"] + row["arrived"] + row["migrated_in"]
        left = row["accepted"] + row["unseen"] + (row["queue"] or 0)
        assert came == left + row["lost_on_close"] + row["migrated_out"]


def test_means_are_rounded_to_what_they_mean() -> None:
    line = snapshot_line(seen(four_workers(), {100: {"queue_mean": 1 / 3}}))
    assert parsed(line)["listeners"][0]["queue_mean"] == 0.333


def test_the_histogram_is_for_those_who_ask() -> None:
    plain = parsed(snapshot_line(four_workers()))["acceptors"]
    assert not any("wait_histogram" in row for row in plain)
    first, *_, master = parsed(snapshot_line(four_workers(), histogram=True))["acceptors"]
    assert first["wait_histogram"] == [[120, 127, 609], [3328, 3583, 1]]
    assert first["wait_p99_us"] == first["wait_histogram"][0][1]  # the bound of the bucket
    assert master["wait_histogram"] == []


@pytest.mark.parametrize("kind", ["snapshot", "summary"])
def test_the_type_tells_a_summary(kind: str) -> None:
    line = {"snapshot": snapshot_line, "summary": summary_line}[kind]
    assert parsed(line(four_workers()))["type"] == kind


@pytest.mark.parametrize(
    ("definition", "record"),
    [
        ("acceptor", AcceptorRow),
        ("listener", ListenerRow),
        ("migration", Migration),
        ("group_size", GroupSize),
        ("selector_change", SelectorChange),
        ("program", Program),
    ],
)
def test_the_schema_knows_every_field_of_a_record(definition: str, record: type) -> None:
    columns = TABLE.made() if record is AcceptorRow else []
    made, some = ({one.key for one in columns if bool(one.by) is some} for some in (False, True))
    names = {field.name for field in fields(record)} - {DRAWN} | made
    known = SCHEMA["$defs"][definition]
    assert set(known["properties"]) == names | some
    assert set(known["required"]) == names - {"wait_histogram"}


def test_the_schema_knows_what_stands_in_books() -> None:
    known = SCHEMA["$defs"]["books"]
    names = {field.name for field in (*fields(Books), *fields(Losses))} - {"losses", "rowless"}
    assert set(known["properties"]) == set(known["required"]) == names
    assert set(parsed(snapshot_line(four_workers()))["books"]) == names


def test_a_holder_tells_what_its_record_knows_of_the_descriptor() -> None:
    names = {field.name for field in fields(Holder)}
    assert set(SCHEMA["$defs"]["holder"]["properties"]) <= names


def broken(path: tuple[str | int, ...], change: object) -> dict[str, Any]:
    value = deepcopy(parsed(snapshot_line(troubled(), histogram=True)))
    place: Any = value
    for key in path[:-1]:
        place = place[key]
    if change is None:
        del place[path[-1]]
    else:
        place[path[-1]] = change
    return value


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (("acceptors", 0, "accepts"), -1),
        (("acceptors", 0, "accepts"), "610"),
        (("acceptors", 0, "colour"), "red"),
        (("acceptors", 0, "errors"), {"EMFILE": 0}),
        (("acceptors", 0, "share"), 1.1),
        (("acceptors", 0, "wait_p99_us"), None),
        (("listeners", 0, "family"), "inet"),
        (("listeners", 0, "holders", 0, "start_ticks"), 5),
        (("listeners", 0, "book"), "even"),
        (("listeners", 0, "epoch"), 0),
        (("listeners", 0, "queue_mean"), "0.25"),
        (("listeners", 0, "overflow_syn"), -48),
        (("listeners", 0, "migrated_in"), None),
        (("listeners", 0, "selector_program", "id"), None),
        (("listeners", 0, "group_sizes", 0, "size"), 2.5),
        (("acceptors", 0, "via"), "thread"),
        (("acceptors", 0, "wasted_wakeups"), None),
        (("acceptors", 0, "wait_histogram"), [[120, 127]]),
        (("acceptors", 0, "wait_histogram"), [[120, 127, 0]]),
        (("acceptors", 0, "wait_histogram"), [[120, 127, 1, 1]]),
        (("migrations", 0, "to_inode"), None),
        (("migrations", 0, "reason"), "close"),
        (("migrations",), None),
        (("books", "word"), "fine"),
        (("books", "balanced"), None),
        (("books", "events_lost"), 1.5),
        (("time",), "2026-01-02 12:00"),
        (("by",), "colour"),
        (("type",), "meta"),
        (("more",), 1),
    ],
)
def test_the_schema_is_strict(path: tuple[str | int, ...], change: object) -> None:
    assert VALIDATOR.is_valid(parsed(snapshot_line(troubled(), histogram=True)))
    assert not VALIDATOR.is_valid(broken(path, change))


def test_a_name_of_stray_bytes_still_makes_a_line() -> None:
    model = tracker()
    feed(model, 1, [count(1, 1, comm='a\udcff\n"')], [listener()])
    line = snapshot_line(model.snapshot())
    assert line.isascii()
    assert parsed(line)["acceptors"][0]["comm"] == 'a\ufffd\n"'


def test_fractions_have_the_decimals_that_they_mean() -> None:
    decimals = dict.fromkeys(("rate", "queue_mean", "queue_full_s", "elapsed_s"), 3)
    decimals |= dict.fromkeys(("over_s", "since_s", "expected", "began_s", "until_s"), 3)
    decimals |= {"mean_run": 3, "chance_run": 3, "chance_steady": 4}
    decimals |= dict.fromkeys(("fair_ratio", "recent_ratio", "wasted_per_accept"), 4)
    decimals |= dict.fromkeys(("ratio", "chance_ratio", "open_ratio"), 4)
    decimals |= dict.fromkeys(("share", "recent_share", "cpu", "local"), 6)
    numbers = SimpleNamespace(**dict.fromkeys(decimals, 2 / 3), accepts=7, other=2 / 3)
    names = (*decimals, "accepts", "other")
    assert named(numbers, names) == {
        **{name: round(2 / 3, digits) for name, digits in decimals.items()},
        "accepts": 7,
        "other": 2 / 3,
    }
    assert (rounded(2 / 3), rounded(0.0), rounded(None)) == (0.667, 0.0, None)
    times = replace(four_workers(), elapsed_s=2 / 3, interval_s=5 / 3, open_age_s=1 / 3)
    value = parsed(snapshot_line(times))
    assert [value[name] for name in ("elapsed_s", "interval_s", "open_age_s")] == [
        0.667,
        1.667,
        0.333,
    ]
