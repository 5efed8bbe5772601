"""Names that strangers choose, through every writer: nothing breaks, nothing is obeyed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accepttrace.facts.datagrams import Receivers
from accepttrace.facts.diagnosis import Diagnosis, Finding, Way
from accepttrace.facts.kin import Kin, Surroundings
from accepttrace.facts.records import Holder, Inventory
from accepttrace.model.grains import GRAINS
from accepttrace.model.who import datagrams
from accepttrace.model.who.tree import answer
from accepttrace.views import (
    csvrows,
    doctor,
    histogram,
    jsonl,
    receiverlines,
    receivers,
    table,
)
from accepttrace.views.text import Line, cells, clean, clip, degraded, plain
from accepttrace.views.who import objects as who_objects
from accepttrace.views.who import tree as who
from accepttrace.views.who import udp as whoudp
from accepttrace.views.who.holders import Style
from tests.unit import udppictures
from tests.unit.pictures import count, feed, four_workers, listener, seen, tracker, troubled
from tests.unit.strangers import NASTY, is_harmless, names

STYLE = Style(80)
AROUND = Surroundings({7: Kin(7, 7, "\x1b[2J", 1, 7, 7, "0-1")}, {7: "\x1b]0;x\x07"})


def strict(line: str) -> dict[str, Any]:
    """As a parser reads that knows Unicode: no NaN, and nothing but whole characters."""
    value = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert isinstance(value, dict)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def named(name: str) -> Holder:
    return Holder(7, 7, name[:15], name, 6, True, cgroup=f"/{name}", container=name)


def harmless(lines: list[Line], width: int) -> bool:
    return all(is_harmless(text) for line in lines for text, _ in line) and all(
        sum(cells(text) for text, _ in line) <= width for line in lines
    )


@given(names, st.integers(1, 80))
@example("e" + "\u0301" * 60_000, 40)
def test_a_name_in_a_cell(name: str, width: int) -> None:
    text = clean(name)
    assert is_harmless(text)
    assert clean(text) == text
    assert cells(clip(text, width)) <= width
    assert len(clip(text, width)) <= 3 * width + 2
    assert len(degraded(text)) == cells(text)
    assert degraded(text).isascii()


@given(names, names)
def test_csv_is_what_a_reader_reads_back(name: str, comm: str) -> None:
    model = tracker()
    taken = [count(7, 1, comm=comm, errors={24: 1}), count(8, 2, comm=name)]
    feed(model, 1, taken, [listener(100, [named(name)])])
    for by in GRAINS:
        snapshot = model.snapshot(by)
        text = f"{csvrows.header(by)}\n{csvrows.rows(snapshot)}\n"
        assert all(is_harmless(line) for line in text.split("\n"))
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        assert len(rows) == 1 + len(snapshot.acceptors)
        assert {len(row) for row in rows} == {len(rows[0])}
        assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\uff1d"))]
        for row, acceptor in zip(rows[1:], snapshot.acceptors, strict=True):
            assert row[rows[0].index("name")].removeprefix("'") == clean(
                acceptor.name
            ).removeprefix("'")


@given(names, names)
def test_json_is_read_by_strict_readers(name: str, comm: str) -> None:
    model = tracker()
    feed(model, 1, [count(7, 1, comm=comm)], [listener(100, [named(name)])])
    for by in GRAINS:
        strict(jsonl.snapshot_line(model.snapshot(by)))
    (row,) = strict(jsonl.summary_line(model.snapshot()))["acceptors"]
    assert row["name"] == whole(name or comm)
    strict(jsonl.meta_line(replace(four_workers().meta, filter=name)))
    line, *_ = who_objects.json_lines(answer(Inventory((listener(100, [named(name)]),)), AROUND))
    assert strict(line)["holders"][0]["name"] == whole(name)


def whole(name: str) -> str:
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in name)


@given(names, st.integers(20, 200))
def test_tables_are_harmless_and_fit(name: str, width: int) -> None:
    model = tracker()
    idle = replace(named(name), pid=9, waits=False)
    feed(model, 1, [count(7, 1, waits_us=[5])], [listener(100, [named(name), idle])])
    for by in GRAINS:
        snapshot = seen(model.snapshot(by))
        snapshot = replace(snapshot, meta=replace(snapshot.meta, filter=f"comm {name}"))
        for view in (table, histogram):
            assert harmless(view.render(snapshot, width, None), width)
        assert harmless(table.render(replace(snapshot, acceptors=()), width, None), width)


@given(names, st.integers(20, 200))
def test_udp_is_harmless_too(name: str, width: int) -> None:
    model = udppictures.tracker()
    udppictures.feed(
        model, 1, [udppictures.count(1, 1)], [udppictures.receiver(1, [named(name), named(name)])]
    )
    snapshot = model.snapshot()
    assert harmless(receivers.render(snapshot, width, None), width)
    strict(receiverlines.snapshot_line(snapshot))
    text = receiverlines.csv_rows(snapshot)
    assert is_harmless(text)
    (row,) = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert len(row) == len(receiverlines.csv_fields())


@given(st.lists(names, min_size=1, max_size=8))
def test_who_is_harmless(found: list[str]) -> None:
    holders = [replace(named(name), waits=index % 2 == 0) for index, name in enumerate(found)]
    lines = list(who.text_lines(answer(Inventory((listener(100, holders),)), AROUND), ":80", STYLE))
    lines += who.text_lines(answer(Inventory(), AROUND), f"comm {found[0]}", STYLE)
    sockets = Receivers((udppictures.receiver(1, holders),))
    udp, none = (datagrams.answer(each, AROUND) for each in (sockets, Receivers()))
    lines += whoudp.text_lines(udp, ":53", STYLE)
    lines += whoudp.text_lines(none, f"comm {found[0]}", STYLE)
    lines.append(whoudp.instead(udp, f"comm {found[0]}"))
    assert all(map(is_harmless, lines))
    for line in whoudp.json_lines(udp):
        strict(line)


@given(names)
def test_doctor_is_harmless(name: str) -> None:
    way = Way("fentry", "libbpf", name, name, (), (name,), name)
    diagnosis = Diagnosis((Finding("kernel", "good", name, name),), (way,))
    assert all(map(is_harmless, doctor.text(diagnosis, verbose=True).split("\n")))
    strict(doctor.as_json(diagnosis))


def test_the_name_of_a_selector_is_one_of_a_stranger() -> None:
    for name in NASTY:
        snapshot = troubled("socket")
        program = replace(snapshot.listeners[0].selector_program, name=name)  # type: ignore[type-var]
        first = replace(snapshot.listeners[0], selector_program=program)
        snapshot = replace(snapshot, listeners=(first, *snapshot.listeners[1:]))
        assert all(is_harmless(line) for line in csvrows.rows(snapshot).split("\n"))
        strict(jsonl.snapshot_line(snapshot))
        assert all(map(is_harmless, plain(table.render(snapshot, 250, None)).split("\n")))
