"""A column for a counter that is already read: one entry in a table, and it is everywhere."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from accepttrace.cli.top import top
from accepttrace.config import By
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import csvrows, jsonl, receiverlines, receivers, table
from accepttrace.views.columns import reference, tcp, udp
from accepttrace.views.columns.column import Column
from accepttrace.views.text import Line, plain
from tests.unit.pictures import reuseport, seen
from tests.unit.test_udp_views import PICTURES

TITLE, KEY, HELP = "LATE", "late", "handshakes that have not ended, and those that wait for data"


@pytest.fixture(autouse=True)
def _a_copy_with_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    late: Column[tcp.TcpRow] = Column(
        *(KEY, TITLE, "counter", "count", HELP),
        lambda line: sum(one.half_open or 0 for one in line.sockets),
        adds_up=True,
        by=("socket", "group"),
    )
    of_udp: Column[Any] = Column(
        *(KEY, TITLE, "gauge", "ratio", HELP), lambda row: (row.queue or 0) / 3, hide_if=(None,)
    )
    monkeypatch.setattr(tcp, "TABLE", replace(tcp.TABLE, columns=(*tcp.COLUMNS, late)))
    monkeypatch.setattr(udp, "TABLE", replace(udp.TABLE, columns=(*udp.COLUMNS, of_udp)))


def picture(by: By = "socket") -> Snapshot:
    return seen(reuseport((6, 2), by), {200: {"half_open": 3}, 201: {"half_open": 14}})


def cells(lines: list[Line], title: str) -> list[str]:
    """What stands right-aligned below a title."""
    titles, *rows = [one for one in plain(lines).splitlines() if one.strip()]
    while title not in titles:
        titles, *rows = rows
    end = titles.index(title) + len(title)
    return [row[:end].split()[-1] for row in rows[:3]]


def test_it_has_cells_and_a_total() -> None:
    assert cells(table.render(picture(), 400, None), TITLE) == ["3", "14", "17"]
    assert TITLE not in plain(table.render(picture("worker"), 400, None))


def test_rows_are_sorted_by_it() -> None:
    by_late = tcp.ordered(picture(), KEY)
    assert [row.listener_inode for row in by_late.acceptors] == [201, 200]
    assert [row.listener_inode for row in picture().acceptors] == [200, 201]
    for udp_too in ((), ("--udp",)):
        done = CliRunner().invoke(top, (*udp_too, "--sort", "nothing"))
        assert KEY in done.output.partition("choose from: ")[2].replace(",", " ").split()


def test_programs_read_it() -> None:
    line = json.loads(jsonl.snapshot_line(picture()))
    assert [row[KEY] for row in line["acceptors"]] == [3, 14]
    text = "\n".join((csvrows.header("socket"), csvrows.rows(picture())))
    assert [row[KEY] for row in csv.DictReader(io.StringIO(text))] == ["3", "14"]
    of_workers = json.loads(jsonl.snapshot_line(picture("worker")))
    assert all(KEY not in row for row in of_workers["acceptors"])
    assert KEY not in csvrows.header("worker")


def test_the_schema_and_the_reference_explain_it() -> None:
    rows = reference.properties(tcp.TABLE, {"pid": {}, "of an older table": {}})
    assert rows[KEY] == {"type": ["integer", "null"], "minimum": 0, "description": HELP}
    assert "of an older table" not in rows
    assert KEY not in reference.required(tcp.TABLE, ["pid"])  # not every kind of row has it
    assert KEY in reference.required(udp.TABLE, ["inode"])
    accepts, datagrams = reference.markdown().split("## Datagrams")
    assert f"| {TITLE} | `{KEY}` | counter | count | socket, group | {HELP} |" in accepts
    assert f"| {TITLE} | `{KEY}` | gauge | ratio | all | {HELP} |" in datagrams


def test_udp_has_it_in_the_same_way() -> None:
    snapshot = PICTURES["seen"]
    queues = [round((row.queue or 0) / 3, 4) for row in snapshot.sockets]
    assert any(queues)
    line = json.loads(receiverlines.snapshot_line(snapshot))
    assert [row[KEY] for row in line["sockets"]] == queues
    text = "\n".join((receiverlines.csv_header(), receiverlines.csv_rows(snapshot)))
    assert [float(row[KEY]) for row in csv.DictReader(io.StringIO(text))] == queues
    assert TITLE in plain(receivers.render(snapshot, 400, None))
    sorted_rows = [round((row.queue or 0) / 3, 4) for row in udp.ordered(snapshot, KEY).sockets]
    assert sorted_rows == sorted(queues, reverse=True)
