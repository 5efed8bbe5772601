"""CSV: the names of JSON, one line an acceptor, the unknown empty."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

from accepttrace.facts.records import Losses
from accepttrace.facts.sight import Sight
from accepttrace.model.grains import GRAINS
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import csvrows
from accepttrace.views.jsonl import snapshot_line
from tests.unit.pictures import count, feed, four_workers, holder, listener, tracker, troubled


def table(snapshot: Snapshot) -> list[dict[str, str]]:
    text = f"{csvrows.header(snapshot.by)}\n{csvrows.rows(snapshot)}\n"
    return list(csv.DictReader(io.StringIO(text), strict=True))


def test_columns_are_the_time_the_fields_of_json_and_the_books() -> None:
    value = json.loads(snapshot_line(four_workers()))
    totals = [name for name in value["books"] if name != "accepts"]
    names = csvrows.header("worker").split(",")
    assert names == ["time", "elapsed_s", "verdict", *value["acceptors"][0], *totals, "open_age_s"]
    assert len(set(names)) == len(names)


def test_a_row_of_a_socket_has_what_is_known_of_the_socket() -> None:
    snapshot = troubled("socket")
    names = csvrows.header("socket").split(",")
    assert len(set(names)) == len(names)
    first, second = table(snapshot)
    value = json.loads(snapshot_line(snapshot))
    for row, expected in zip((first, second), value["listeners"], strict=True):
        for name in ("arrived", "overflow_syn", "lost_on_close", "migrated_in", "unseen", "book"):
            assert row[name] == str(expected[name])
    assert (first["overflow_syn"], second["lost_on_close"]) == ("48", "203")
    assert (first["selector_program"], second["selector_program"]) == ("id:42;name:steer", "")
    assert (first["queue"], second["queue"]) == ("0", "")
    assert (first["word"], first["balanced"]) == ("balanced", "true")
    assert "overflow_syn" not in csvrows.header("worker").split(",")


def test_every_row_has_as_many_cells_as_there_are_names() -> None:
    for by in GRAINS:
        for histogram in (False, True):
            text = csvrows.rows(troubled(by), histogram=histogram)
            names = csvrows.header(by, histogram=histogram).split(",")
            assert {len(cells) for cells in csv.reader(io.StringIO(text))} == {len(names)}


def test_seconds_have_three_decimals() -> None:
    snapshot = replace(four_workers(), elapsed_s=3.00049, open_age_s=0.123456)
    assert {(row["elapsed_s"], row["open_age_s"]) for row in table(snapshot)} == {("3.0", "0.123")}
    (line, *_) = csvrows.rows(snapshot, columns=("pid", "accepts")).splitlines()
    assert line == "2026-01-02T12:00:03.000Z,3.0,1001,610"
    later = replace(snapshot, elapsed_s=3.0006)
    assert {row["elapsed_s"] for row in table(later)} == {"3.001"}
    assert csvrows.rows(later, columns=("pid",)).startswith("2026-01-02T12:00:03.000Z,3.001,1001")


def test_a_histogram_is_one_cell_and_only_for_those_who_ask() -> None:
    snapshot = four_workers()
    assert "wait_histogram" not in csvrows.header("worker").split(",")
    text = csvrows.header("worker", histogram=True) + "\n" + csvrows.rows(snapshot, histogram=True)
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert rows[0]["wait_histogram"] == "120-127:609;3328-3583:1"
    assert rows[-1]["wait_histogram"] == ""


def test_wasted_wake_ups_and_the_way_of_accepting_are_cells() -> None:
    model = tracker()
    feed(model, 1, [count(1, 2, wasted=7, via="io_uring")], [listener(100, [holder(1)])])
    (row,) = table(model.snapshot())
    assert (row["wasted_wakeups"], row["via"]) == ("7", "io_uring")


def test_cells_are_the_values_of_json() -> None:
    snapshot = four_workers()
    value = json.loads(snapshot_line(snapshot))
    rows = table(snapshot)
    assert len(rows) == len(value["acceptors"]) == 5
    for row, expected in zip(rows, value["acceptors"], strict=True):
        assert row["time"] == "2026-01-02T12:00:03.000Z"
        assert row["accepts"] == str(expected["accepts"])
        assert row["rate"] == str(expected["rate"])
        assert row["alive"] == "true"
        assert (row["map_full"], row["balanced"]) == ("0", "true")
    assert [row["waits"] for row in rows] == ["true"] * 4 + ["false"]


def test_the_unknown_is_empty_and_never_0() -> None:
    model = tracker(sees=Sight())
    losses = Losses(probe_misses=None)
    feed(model, 1, [count(1, 1, empty=None)], [listener(100, [holder(2, None)])], losses=losses)
    row = table(model.snapshot())[1]
    assert (row["fair_ratio"], row["waits"], row["empty_accepts"]) == ("", "", "")
    assert (row["wait_p99_us"], row["tid"], row["probe_misses"]) == ("", "", "")
    assert row["accepts"] == "0"


def test_errors_and_odd_names_stay_one_cell() -> None:
    model = tracker()
    odd = holder(1, name='a "b", c\n\udcff')
    feed(model, 1, [count(1, 1, errors={24: 3, 4: 1})], [listener(100, [odd])])
    (row,) = table(model.snapshot())
    assert row["errors"] == "EINTR:1;EMFILE:3"
    assert row["name"] == 'a "b", c?\ufffd'


def test_no_cell_is_a_formula() -> None:
    for name, cell in (("=1+2", "'=1+2"), ("@a", "'@a"), ("-bash", "'-bash"), ("a=1", "a=1")):
        assert csvrows.text(name) == cell
    assert csvrows.text(-7) == "-7"


def test_a_line_end_in_a_cell_is_quoted() -> None:
    assert csvrows.line(["a\rb", "c\nd", "e"]) == '"a\rb","c\nd",e'


def test_losses_are_reported_even_when_there_is_no_acceptor() -> None:
    model = tracker()
    feed(model, 1, [], [])
    assert csvrows.rows(model.snapshot()) == ""
    feed(model, 2, [], [], losses=Losses(map_full=4))
    (row,) = table(model.snapshot())
    assert (row["map_full"], row["balanced"], row["pid"], row["accepts"]) == ("4", "false", "", "")


def test_owners_of_a_full_share_are_named_and_nobody_is_nothing() -> None:
    model = tracker()
    feed(
        model,
        1,
        [],
        [listener(100, [holder(1)])],
        losses=Losses(over_share=2, over_whose=("uid 33", "uid 1000")),
    )
    (row,) = table(model.snapshot())
    assert (row["over_share"], row["over_whose"]) == ("2", "uid 33;uid 1000")
    feed(model, 2, [], [listener(100, [holder(1)])])
    (row,) = table(model.snapshot())
    assert row["over_whose"] == ""


def test_what_is_known_of_a_socket_stands_in_rows_of_sockets_alone() -> None:
    for by in GRAINS:
        assert ("overflow_syn" in csvrows.header(by).split(",")) is (by == "socket")
