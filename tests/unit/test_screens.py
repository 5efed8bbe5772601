"""Where snapshots go: `--histogram` and `--rows` reach every kind of output."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from accepttrace.config import By, Config, Output
from accepttrace.run.sinks import screen_for
from tests.unit.pictures import four_workers


def printed(config: Config, by: By = "worker") -> str:
    """All that one run of two pictures prints into a pipe."""
    out = io.StringIO()
    snapshot = four_workers(by=by)
    with screen_for(config, out) as screen:
        screen.begin(snapshot)
        screen.show(snapshot)
        screen.finish(snapshot, replace(snapshot, interval_s=snapshot.elapsed_s))
    return out.getvalue()


@pytest.mark.parametrize("histogram", [False, True])
def test_json_has_the_histogram_in_snapshots_and_summary(histogram: bool) -> None:
    text = printed(Config(output="jsonl", histogram=histogram))
    meta, *others = [json.loads(line) for line in text.splitlines()]
    assert [one["type"] for one in (meta, *others)] == ["meta", "snapshot", "summary"]
    rows = [row for one in others for row in one["acceptors"]]
    assert {"wait_histogram" in row for row in rows} == {histogram}


@pytest.mark.parametrize("by", ["worker", "socket"])
@pytest.mark.parametrize("histogram", [False, True])
def test_csv_is_one_table_with_one_header(histogram: bool, by: By) -> None:
    text = printed(Config(output="csv", histogram=histogram), by)
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert all(None not in row and None not in row.values() for row in rows)
    assert ("wait_histogram" in rows[0]) == histogram
    assert ("arrived" in rows[0]) == (by == "socket")
    assert len(rows) == (2 if by == "socket" else 10)


def test_a_pipe_gets_bars_in_place_of_the_table() -> None:
    bars = printed(Config(histogram=True))
    assert bars.count("all rows\n") == 2
    assert "WAIT p50" not in bars
    table = printed(Config())
    assert table.count("WAIT p50") == 2
    assert "all rows" not in table


@pytest.mark.parametrize("histogram", [False, True])
def test_rows_limit_what_a_pipe_gets(histogram: bool) -> None:
    text = printed(Config(histogram=histogram, rows=1))
    assert text.count("… ") == 2
    assert "1002 nginx" not in text


@pytest.mark.parametrize("output", ["table", "jsonl", "csv"])
def test_every_output_ends_with_a_newline(output: Output) -> None:
    assert printed(Config(output=output)).endswith("\n")
