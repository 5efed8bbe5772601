"""Where snapshots go: `--histogram` and `--rows` reach every kind of output."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import By, Config, Output
from accepttrace.run.sinks import screen_for
from accepttrace.views.receiverlines import csv_header, csv_rows
from tests.unit.pictures import four_workers
from tests.unit.udppictures import resolvers


def printed(config: Config, by: By = "worker") -> str:
    """All that one run of two pictures prints into a pipe."""
    out = io.StringIO()
    snapshot = four_workers(by=by)
    with screen_for(config, out) as screen:
        screen.begin(snapshot)
        screen.show(replace(snapshot))
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


@pytest.mark.parametrize("by", ["worker", "socket"])
def test_csv_has_the_columns_that_were_asked_for(by: By) -> None:
    text = printed(Config(output="csv", columns=("share", "pid", "queue")), by)
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["time", "elapsed_s", "share", "pid", "queue"]
    assert len(rows) == (2 if by == "socket" else 10)
    assert {row[0] for row in rows} == {"2026-01-02T12:00:03.000Z"}
    assert rows[0][1:] == (
        ["3.0", "1.0", "", "2"] if by == "socket" else ["3.0", "0.61", "1001", "2"]
    )


def test_csv_of_udp_has_the_columns_that_were_asked_for() -> None:
    assert csv_header(("datagrams", "pid")) == "time,elapsed_s,datagrams,pid"
    snapshot = resolvers()
    rows = [*csv.reader(io.StringIO(csv_rows(snapshot, ("datagrams", "inode"))))]
    assert [row[2:] for row in rows] == [
        [str(one.datagrams), str(one.inode)] for one in snapshot.sockets
    ]


@pytest.mark.parametrize("output", ["table", "jsonl", "csv"])
def test_what_was_shown_is_not_shown_again_where_the_window_changed(output: Output) -> None:
    out, snapshot = io.StringIO(), four_workers()
    screen = screen_for(Config(output=output), out)
    screen.show(snapshot)
    once = out.getvalue()
    assert once
    screen.show(snapshot)
    assert out.getvalue() == once


class Terminal(io.StringIO):
    """A person sits before it."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self._master, self._slave = os.openpty()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._slave

    def close(self) -> None:
        for fd in (self._master, self._slave):
            os.close(fd)
        super().close()


@pytest.mark.parametrize("how", [{"plain": True}, {"once": True}])
def test_a_terminal_gets_plain_tables_if_it_is_asked_for(
    how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for config, escapes in ((Config(), True), (Config(**how), False)):
        out = Terminal()
        with screen_for(config, out) as screen:
            screen.show(four_workers())
        assert ("\x1b" in out.getvalue()) == escapes
        assert "nginx: worker" in out.getvalue()
        out.close()


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_cannot_be_drawn_on_gets_plain_tables(
    term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    out = Terminal()
    snapshot = four_workers()
    with screen_for(Config(live=True), out) as screen:
        screen.begin(snapshot)
        first = out.getvalue()
        screen.show(snapshot)  # its window has changed
        assert out.getvalue() == first
        screen.show(four_workers())
    assert "\x1b" not in out.getvalue()
    assert out.getvalue() == 2 * first
    out.close()


def test_no_bars_are_read_aloud() -> None:
    drawn, plain = (printed(Config(histogram=True, plain=plain)) for plain in (False, True))
    assert "###" in drawn
    assert "#" not in plain
    assert re.sub(r"#+ ?| +$", "", drawn, flags=re.M).split() == plain.split()


@pytest.mark.parametrize("output", ["table", "jsonl", "csv"])
def test_every_output_ends_with_a_newline(output: Output) -> None:
    assert printed(Config(output=output)).endswith("\n")
