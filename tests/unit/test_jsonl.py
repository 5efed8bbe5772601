"""JSON Lines against the published schema, and the schema against the records."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.model.records import Holder, Losses
from accepttrace.model.snapshot import AcceptorRow, Books, ListenerRow
from accepttrace.views.jsonl import meta_line, snapshot_line, summary_line
from tests.unit.pictures import META, count, feed, four_workers, listener, reuseport, tracker

SCHEMA: dict[str, Any] = json.loads(
    (Path(accepttrace.views.__file__).parent / "schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)
KINDS = ("worker", "process", "thread", "socket", "group")


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


@pytest.mark.parametrize("by", KINDS)
def test_snapshots_are_valid(by: str) -> None:
    for snapshot in (four_workers(by=by), reuseport((3, 0, 1), by)):
        VALIDATOR.validate(parsed(snapshot_line(snapshot)))
        VALIDATOR.validate(parsed(summary_line(snapshot)))


def test_what_is_blind_or_empty_is_valid_too() -> None:
    model = tracker(sees=())
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
        "balanced": True,
    }


@pytest.mark.parametrize("kind", ["snapshot", "summary"])
def test_the_type_tells_a_summary(kind: str) -> None:
    line = {"snapshot": snapshot_line, "summary": summary_line}[kind]
    assert parsed(line(four_workers()))["type"] == kind


@pytest.mark.parametrize(
    ("definition", "record"),
    [("acceptor", AcceptorRow), ("listener", ListenerRow), ("books", Books)],
)
def test_the_schema_knows_every_field_of_a_record(definition: str, record: type) -> None:
    names = {field.name for field in fields(record)}
    assert set(SCHEMA["$defs"][definition]["properties"]) == names


def test_a_holder_tells_what_its_record_knows_of_the_descriptor() -> None:
    names = {field.name for field in fields(Holder)}
    assert set(SCHEMA["$defs"]["holder"]["properties"]) <= names


def broken(path: tuple[str | int, ...], change: object) -> dict[str, Any]:
    value = deepcopy(parsed(snapshot_line(four_workers())))
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
        (("books", "balanced"), None),
        (("books", "events_lost"), 1.5),
        (("time",), "2026-01-02 12:00"),
        (("by",), "colour"),
        (("type",), "meta"),
        (("more",), 1),
    ],
)
def test_the_schema_is_strict(path: tuple[str | int, ...], change: object) -> None:
    assert VALIDATOR.is_valid(parsed(snapshot_line(four_workers())))
    assert not VALIDATOR.is_valid(broken(path, change))


def test_a_name_of_stray_bytes_still_makes_a_line() -> None:
    model = tracker()
    feed(model, 1, [count(1, 1, comm='a\udcff\n"')], [listener()])
    line = snapshot_line(model.snapshot())
    assert line.isascii()
    assert parsed(line)["acceptors"][0]["comm"] == 'a\udcff\n"'
