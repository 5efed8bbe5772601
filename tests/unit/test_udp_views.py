"""`--udp` as people and programs see it. `ACCEPTTRACE_SNAPSHOTS=write` stores new pictures."""

from __future__ import annotations

import csv
import io
import json
import re
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.config import Config, Output
from accepttrace.model.datagrams import ReceiverBooks, ReceiverRow, ReceiverSnapshot
from accepttrace.run.sinks import screen_for
from accepttrace.views import receiverlines
from accepttrace.views.columns.udp import COLUMNS, TABLE
from accepttrace.views.jsonl import books_fields
from accepttrace.views.receivers import header, render
from accepttrace.views.text import cells, plain
from tests.unit.pictures import holder
from tests.unit.test_table import WRITE
from tests.unit.udppictures import UDP_META, feed, resolvers, tracker

SCHEMA: dict[str, Any] = json.loads(
    (Path(accepttrace.views.__file__).parent / "udp.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)
PICTURES = {"seen": resolvers(), "blind": resolvers(blind=True)}
STORED = Path(__file__).parent / "snapshots_udp"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", PICTURES)
def test_the_table_is_as_stored(name: str, width: int) -> None:
    text = plain(render(PICTURES[name], width, None))
    path = STORED / f"{name}-{width}.txt"
    if WRITE:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("width", [1, 10, 40, 60, 79, 80, 100, 120, 200])
@pytest.mark.parametrize("height", [1, 4, 8, 24, None])
@pytest.mark.parametrize("name", PICTURES)
def test_it_fits_the_window(name: str, width: int, height: int | None) -> None:
    lines = render(PICTURES[name], width, height)
    assert all(sum(cells(text) for text, _ in line) <= width for line in lines)
    assert height is None or len(lines) <= height


def test_rows_that_do_not_fit_are_counted() -> None:
    text = plain(render(PICTURES["seen"], 120, None, rows=2))
    assert "… 4 more rows (57 datagrams)" in text
    total = next(line for line in text.splitlines() if "TOTAL" in line)
    assert "1,235,524" in total


@pytest.mark.parametrize(
    ("dropped", "drops", "words"),
    [
        (0, 0, "nothing lost"),
        (1, 1, "1 datagram dropped"),
        (0, 1, "1 datagram dropped (kernel's own count)"),
        (1, 2, "2 datagrams dropped (kernel's own count)"),
        (None, 1, "1 datagram dropped (kernel's own count)"),
    ],
)
def test_the_header_says_who_counted_what_was_dropped(
    dropped: int | None, drops: int, words: str
) -> None:
    snapshot = PICTURES["seen"]
    books = replace(snapshot.books, dropped=dropped, drops=drops)
    second = plain(render(replace(snapshot, books=books), 200, None)).splitlines()[1]
    assert words in second.split("  ")


@pytest.mark.parametrize("height", range(7, 16))
def test_as_many_rows_are_shown_as_there_is_room_for(height: int) -> None:
    snapshot = PICTURES["seen"]
    lines = plain(render(snapshot, 120, height)).splitlines()
    assert len(lines) <= height
    assert any("TOTAL" in line for line in lines)
    shown = sum(":53" in line and "accepttrace" not in line for line in lines)
    more = [int(found[1]) for found in map(re.compile(r"… (\d+) more row").match, lines) if found]
    assert shown + sum(more) == len(snapshot.sockets)
    assert len(lines) == height or not more


@pytest.mark.parametrize(
    ("height", "footer", "there"), [(None, True, True), (None, False, False), (40, True, False)]
)
def test_what_could_be_lost_ends_what_is_not_cut(
    height: int | None, footer: bool, there: bool
) -> None:
    lines = plain(render(PICTURES["seen"], 120, height, footer=footer))
    assert ("lost by clients:" in lines) is there
    assert ("lost by the tracer:" in lines) is there


def test_an_empty_table_is_never_silent() -> None:
    model = tracker()
    feed(model, 1, [], [])
    assert "no socket: UDP :53" in plain(render(model.snapshot(), 80, None))


def test_columns_are_chosen_once_and_explained() -> None:
    base, more = TABLE.chosen("socket")
    assert sorted(one.key for one in (*base, *more)) == sorted(TABLE.keys())
    assert all(column.help and column.title for column in COLUMNS)


def parsed(line: str) -> dict[str, Any]:
    assert "\n" not in line
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", PICTURES)
def test_json_is_valid(name: str) -> None:
    snapshot = PICTURES[name]
    VALIDATOR.validate(parsed(receiverlines.meta_line(UDP_META)))
    VALIDATOR.validate(parsed(receiverlines.snapshot_line(snapshot)))
    VALIDATOR.validate(parsed(receiverlines.summary_line(snapshot)))


def test_seconds_since_the_start_have_three_digits() -> None:
    snapshot = replace(PICTURES["seen"], elapsed_s=1.23456, interval_s=0.98765)
    value = parsed(receiverlines.snapshot_line(snapshot))
    assert (value["elapsed_s"], value["interval_s"]) == (1.235, 0.988)
    lines = receiverlines.csv_rows(snapshot).splitlines()
    assert {line.split(",")[1] for line in lines} == {"1.235"}


def test_the_schema_names_every_field() -> None:
    definitions = SCHEMA["$defs"]
    assert list(definitions["socket"]["properties"]) == [one.name for one in fields(ReceiverRow)]
    assert tuple(definitions["books"]["properties"]) == books_fields(ReceiverBooks)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (("sockets", 0, "datagrams"), -1),
        (("sockets", 0, "datagrams"), "5"),
        (("sockets", 0, "colour"), "red"),
        (("sockets", 0, "share"), 1.1),
        (("sockets", 0, "holders", 0, "start_ticks"), 5),
        (("sockets", 0, "selector"), "magic"),
        (("books", "balanced"), None),
        (("books", "unlisted_sockets"), None),
        (("type",), "meta"),
        (("more",), 1),
    ],
)
def test_the_schema_is_strict(path: tuple[str | int, ...], change: object) -> None:
    value = deepcopy(parsed(receiverlines.snapshot_line(PICTURES["seen"])))
    place: Any = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = change
    assert not VALIDATOR.is_valid(value)


def printed(config: Config, snapshot: ReceiverSnapshot) -> str:
    """All that one run of one picture prints into a pipe."""
    out = io.StringIO()
    with screen_for(config, out) as screen:
        screen.begin(snapshot)
        screen.show(replace(snapshot))
        screen.finish(snapshot, replace(snapshot, interval_s=snapshot.elapsed_s))
    return out.getvalue()


@pytest.mark.parametrize("output", ["table", "jsonl", "csv"])
def test_every_output_reaches_a_pipe(output: Output) -> None:
    text = printed(Config(udp=True, output=output), PICTURES["seen"])
    assert text.endswith("\n")
    if output == "jsonl":
        kinds = [json.loads(line)["type"] for line in text.splitlines()]
        assert kinds == ["meta", "snapshot", "summary"]
    if output == "table":
        assert text.count("DATAGRAMS") == 2


def test_csv_has_the_fields_of_json() -> None:
    text = printed(Config(udp=True, output="csv"), PICTURES["seen"])
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert len(rows) == 2 * len(PICTURES["seen"].sockets)
    assert len(set(rows[0])) == len(rows[0])
    value = parsed(receiverlines.snapshot_line(PICTURES["seen"]))
    assert set(value["sockets"][0]) | {"balanced", "unlisted_datagrams"} <= set(rows[0])
    assert (rows[0]["datagrams"], rows[0]["holders"]) == ("1234567", "1200;1201")
    blind = printed(Config(udp=True, output="csv"), PICTURES["blind"])
    assert {row["datagrams"] for row in csv.DictReader(io.StringIO(blind))} == {""}


def told(**facts: Any) -> list[str]:
    """The parts of the second line of the header; `facts` of the books, rows or the snapshot."""
    snapshot = replace(tracker().snapshot(), **facts)
    return plain(header(snapshot, 300)).splitlines()[1].split("  ")


def test_the_header_counts_workers_and_open_sockets() -> None:
    row = PICTURES["seen"].sockets[0]
    mine = replace(row, holders=(holder(1), holder(2)), rate=2.5, holders_more=0, folded=0)
    assert told(sockets=(mine,))[2] == "2 workers on 1 socket"
    many = replace(mine, holders=(holder(2), holder(3)), holders_more=10, folded=40, rate=None)
    closed = replace(mine, holders=(holder(9),), open=False, rate=1.0)
    assert told(sockets=(mine, many, closed))[2] == "13 workers on 41 sockets"
    assert told(sockets=(mine, many, closed))[1] == "3.5/s"
    idle = replace(mine, holders=(holder(1), holder(2, False)))
    assert told(sockets=(idle,))[2] == "1 worker on 1 socket"


@pytest.mark.parametrize(
    ("dropped", "drops", "words"),
    [
        (0, 0, "nothing lost"),
        (3, None, "3 datagrams dropped"),
        (3, 3, "3 datagrams dropped"),
        (3, 4, "4 datagrams dropped (kernel's own count)"),
        (None, 1, "1 datagram dropped (kernel's own count)"),
    ],
)
def test_what_was_dropped_is_said_with_its_source(
    dropped: int | None, drops: int | None, words: str
) -> None:
    books = replace(tracker().snapshot().books, datagrams=5, dropped=dropped, drops=drops)
    assert words in told(books=books)
    assert told(books=books)[0] == "5 datagrams"
    unknown = told(books=replace(books, datagrams=None))
    assert unknown[0] == "datagrams: n/a"
    assert not unknown[1].endswith("/s")


def test_what_has_no_row_any_more_is_still_said() -> None:
    def below(**facts: Any) -> list[str]:
        books = replace(tracker().snapshot().books, **facts)
        shown = render(replace(PICTURES["seen"], books=books), 120, 24)
        return [line for line in plain(shown).splitlines() if "without a row" in line]

    assert below(unlisted_sockets=0, unlisted_datagrams=7) == []
    for sockets, datagrams, words in (
        (1, None, "and 1 socket without a row, gone by now: 0 datagrams"),
        (2, 1, "and 2 sockets without a row, gone by now: 1 datagram"),
    ):
        assert below(unlisted_sockets=sockets, unlisted_datagrams=datagrams) == [words]
