"""CSV: the names of JSON, one line an acceptor, the unknown empty."""

from __future__ import annotations

import csv
import io
import json

from accepttrace.model.records import Losses
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import csvrows
from accepttrace.views.jsonl import snapshot_line
from tests.unit.pictures import count, feed, four_workers, holder, listener, tracker


def table(snapshot: Snapshot) -> list[dict[str, str]]:
    text = f"{csvrows.header()}\n{csvrows.rows(snapshot)}\n"
    return list(csv.DictReader(io.StringIO(text), strict=True))


def test_columns_are_the_time_the_fields_of_json_and_the_books() -> None:
    value = json.loads(snapshot_line(four_workers()))
    ledger = [name for name in value["books"] if name != "accepts"]
    names = csvrows.header().split(",")
    assert names == ["time", "elapsed_s", *value["acceptors"][0], *ledger]
    assert len(set(names)) == len(names)


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
    model = tracker(sees=())
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
    assert row["name"] == 'a "b", c\n?'


def test_losses_are_told_even_when_there_is_no_acceptor() -> None:
    model = tracker()
    feed(model, 1, [], [])
    assert csvrows.rows(model.snapshot()) == ""
    feed(model, 2, [], [], losses=Losses(map_full=4))
    (row,) = table(model.snapshot())
    assert (row["map_full"], row["balanced"], row["pid"], row["accepts"]) == ("4", "false", "", "")
