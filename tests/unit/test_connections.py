"""Events of connections as lines, read back by readers that are not ours."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.cli.events import parse_peer
from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.connections import ConnectionEvent
from accepttrace.facts.meta import Meta
from accepttrace.facts.records import Process
from accepttrace.model.ledger import Ledger
from accepttrace.probe.load import btf
from accepttrace.run.events import Asked
from accepttrace.run.eventsource import People, fits, require_events
from accepttrace.store.steps import Happened, line_of, step_of
from accepttrace.views.columns.connections import TABLE
from accepttrace.views.connections import (
    FIELDS,
    LEDGER_FIELDS,
    WRITERS,
    Csv,
    JsonLines,
    Plain,
    Shown,
    Stamps,
    summary,
)
from accepttrace.views.text import cells
from tests.unit.strangers import NASTY, is_harmless, names

SCHEMA: dict[str, Any] = json.loads(
    (Path(accepttrace.views.__file__).parent / "events.schema.json").read_text()
)
VALIDATOR = Draft202012Validator(SCHEMA)
AT_NS = 1_795_737_997_558_351_291  # 2026-11-27T00:06:37.558351Z, by `date`
BEGAN_NS = AT_NS - 2_500_000_999
META = Meta("1", "6.1", "fentry", "libbpf", (), "2026-11-27T00:06:35.000Z", ":80")
ACCEPT = ConnectionEvent(
    *("accept", AT_NS, 12, 13, "nginx: worker", "nginx", 5, None, "ipv4", "127.0.0.1", 80),
    *("127.0.0.2", 40000, 99, 4026531833, 7, 120, 3, 1, 1, True, 1),
)
RESET = ConnectionEvent(
    *("reset", AT_NS, None, None, None, None, None, None, "ipv4", "127.0.0.1", 80),
    *(None, None, 99, 4026531833, None, None, 3, 1, None, None, 4),
)
UNIX = ConnectionEvent(
    *("accept", AT_NS, 12, 13, "gunicorn: worker", "gunicorn", 5, None, "unix", None, None),
    *(None, None, 99, 4026531833, None, None, 3, 1, None, None, 1),
    path="/run/app.sock",
    peer_pid=7,
    peer_uid=33,
)
EVENTS = (ACCEPT, RESET, ACCEPT._replace(type="failed", error="EMFILE", fd=None, wait_us=0))
LEDGER = Ledger(1.5, 10, 6, 1, 2, 0, 1, 0)


def read(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        VALIDATOR.validate(line)
    return found


def test_json_has_each_field_and_follows_the_schema() -> None:
    lines = JsonLines(Stamps("iso", BEGAN_NS))
    found = read(lines.begin(META, 3) + lines.rows(EVENTS) + lines.end(LEDGER))
    meta, *events, last = found
    assert (meta["sample"], last["lost"], last["balanced"]) == (3, 1, False)
    for event, line in zip(EVENTS, events, strict=True):
        expected = {name: getattr(event, name) for name in FIELDS if name != "time"}
        assert line == {**expected, "time": "2026-11-27T00:06:37.558351Z"}
    assert list(events[0]) == list(FIELDS)
    assert list(last) == ["type", *LEDGER_FIELDS, "balanced"]


def test_of_unix_sockets_the_path_and_who_connected_stand_there() -> None:
    lines = JsonLines(Stamps("iso", BEGAN_NS))
    meta, event = read(lines.begin(replace(META, protocol="unix"), 1) + lines.rows((UNIX,)))
    assert (meta["protocol"], event["family"], event["local_address"]) == ("unix", "unix", None)
    assert (event["path"], event["peer_pid"], event["peer_uid"]) == ("/run/app.sock", 7, 33)
    plain = Plain(Stamps("iso", BEGAN_NS), 80, "unix")
    title, row = (plain.begin(META, 1) + plain.rows((UNIX,))).splitlines()
    shown = dict(zip(title.split(), row.replace(": ", ":").split(), strict=True))
    assert (shown["LOCAL"], shown["PEERPID"], shown["QUEUE"]) == ("/run/app.sock", "7", "3")


@pytest.mark.parametrize("kind", ["unix", "any of unix"])
def test_who_connected_to_a_unix_socket_stands_in_80_columns(kind: Shown) -> None:
    head = Plain(Stamps("iso", BEGAN_NS), 80, kind).begin(META, 1).splitlines()[-1]
    assert "PEERPID" in head
    assert len(head) <= 80


@pytest.mark.parametrize(
    ("form", "expected"), [("relative", 2.500000), ("unix", 1_795_737_997.558351)]
)
def test_times_may_be_numbers(form: Any, expected: float) -> None:
    (line,) = read(JsonLines(Stamps(form, BEGAN_NS)).rows(EVENTS[:1]))
    assert line["time"] == pytest.approx(expected, abs=2e-6)


def test_an_event_from_before_the_start_is_not_a_second_early() -> None:
    early = ACCEPT._replace(time_ns=BEGAN_NS - 1_000)
    (line,) = read(JsonLines(Stamps("relative", BEGAN_NS)).rows([early]))
    assert line["time"] == pytest.approx(-1e-6)


def test_csv_has_the_same_and_empty_is_not_known() -> None:
    lines = Csv(Stamps("iso", BEGAN_NS))
    text = lines.begin(META, 1) + lines.rows(EVENTS) + lines.end(LEDGER)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["time"] == "2026-11-27T00:06:37.558351Z"
    assert (rows[0]["local"], rows[0]["wait_us"], rows[1]["wait_us"]) == ("true", "120", "")
    assert [row["connections"] for row in rows] == ["1", "4", "1"]
    assert rows[1]["pid"] == rows[1]["name"] == ""


@pytest.mark.parametrize("width", [1, 40, 80, 120, 300])
@pytest.mark.parametrize("kind", ["accept", "any"])
def test_a_table_keeps_its_columns(width: int, kind: Any) -> None:
    table = Plain(Stamps("iso", BEGAN_NS), width, kind)
    head, *rows = (table.begin(META, 1) + table.rows(EVENTS)).splitlines()
    assert head.startswith("TIME")
    assert width == 1 or cells(head) <= width
    if width == 300:
        end = head.index(" WAIT") + 5
        assert [row[:end].split()[-1] for row in rows] == ["120us", "n/a", "0us"]


def test_a_table_says_who_came_and_to_where() -> None:
    (accept, reset, _) = Plain(Stamps("relative", BEGAN_NS), 300, "any").rows(EVENTS).splitlines()
    assert " 127.0.0.2:40000 " in accept
    assert " 127.0.0.1:80 " in accept
    assert reset.split()[:5] == ["2.500000", "reset", "n/a", "n/a", "n/a"]
    assert "*:*" not in reset


@pytest.mark.parametrize(("form", "cells_of_time"), [("iso", 27), ("relative", 11), ("unix", 17)])
def test_columns_stand_where_their_titles_do(form: Any, cells_of_time: int) -> None:
    table = Plain(Stamps(form, BEGAN_NS), 300, "any")
    head = table.begin(META, 1)
    titles = (
        "EVENT       PID     TID WORKER         COMM        FD PEER                  LOCAL"
        "               INODE      NETNS   GROUP   WAIT QUEUE   CPU RXCPU SAME ERROR  CONNS"
        " POD          CONTAINER    UNIT"
    )
    assert head == f"{'TIME':<{cells_of_time}} {titles}\n"
    early, late = ACCEPT, ACCEPT._replace(time_ns=BEGAN_NS + 9_999_900_000_000)
    assert head.index("EVENT") == cells_of_time + 1
    for line in (table.rows([event]) for event in (early, late)):
        assert line.index("accept") == head.index("EVENT")
        assert line.index("nginx: worker") == head.index("WORKER")


def test_as_many_columns_as_fit_are_shown() -> None:
    def titles(width: int) -> str:
        return Plain(Stamps("relative", BEGAN_NS), width, "accept").begin(META, 1)[:-1]

    assert titles(1) == titles(11) == titles(18) == "TIME"
    assert titles(19).split() == ["TIME", "PID"]
    base, more = TABLE.chosen("accept")
    order = [column.title for column in (*base, *more)]
    for width in range(19, 200):
        shown = titles(width)
        assert len(shown) <= width
        assert {*shown.split()} == {*order[: len(shown.split())]}
    assert len(titles(300).split()) == len(order)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_line_is_the_same_whatever_stands_beside_it(writer: Any) -> None:
    """Texts are made of the values of a column, all at once."""
    others = [
        ACCEPT._replace(name="100%s", comm="%", time_ns=ACCEPT.time_ns + 1, local=None, fd=0),
        ACCEPT._replace(group=None, wait_us=0, local=False, pid=None, peer_port=None, queue=7),
    ]
    events = [*EVENTS, *others, *EVENTS]
    lines = writer(Stamps("unix", 0))
    assert lines.rows(events) == "".join(lines.rows([event]) for event in events)
    assert lines.rows(events).count("100%s") == 1


def test_times_of_events_are_to_the_microsecond() -> None:
    times = [-1_000, 0, 999, 1_000, 1_000_000_000, 1_000_000_999_999_999]
    shown = ["-0.000001", "0.000000", "0.000000", "0.000001", "1.000000", "1000000.999999"]
    assert Stamps("unix", BEGAN_NS).texts(times) == shown
    assert Stamps("relative", 7).texts([each + 7 for each in times]) == shown


@given(names)
def test_names_are_harmless(name: str) -> None:
    event = ACCEPT._replace(name=name, comm=name)
    (line,) = read(JsonLines(Stamps("iso", 0)).rows([event]))
    assert line["name"] == name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    for form in (Csv(Stamps("iso", 0)), Plain(Stamps("iso", 0), 300, "accept")):
        text = form.rows([event])
        assert text.count("\n") == 1
        assert is_harmless(text[:-1])


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_are_no_formula(name: str) -> None:
    (row,) = csv.reader(io.StringIO(Csv(Stamps("iso", 0)).rows([ACCEPT._replace(name=name)])))
    assert not row[FIELDS.index("name")].startswith(tuple("=+-@\uff1d\uff0b"))


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        (Ledger(1.0, 5, 5, 0, 0, 0, 0, 0), "5 events in 1.0s; 5 accepts counted; nothing lost"),
        (LEDGER, "1 lost: the reader was too slow for the ring buffer"),
        (Ledger(1.0, 5, 4, 0, 0, 0, 0, 1), "1 accepts without an event"),
    ],
)
def test_the_summary_says_what_is_missing(ledger: Ledger, words: str) -> None:
    assert words in summary(ledger)
    assert ("nothing lost" in summary(ledger)) == ledger.balanced


@pytest.mark.parametrize(
    ("filters", "local", "expected"),
    [
        (Filters(family="ipv4"), "127.0.0.1", True),
        (Filters(family="ipv4"), "::ffff:127.0.0.1", True),
        (Filters(family="ipv4"), "::1", False),
        (Filters(family="ipv6"), "::ffff:127.0.0.1", False),
        (Filters(family="ipv6"), "::1", True),
        (Filters(addresses=frozenset(("127.0.0.1",))), "::ffff:127.0.0.1", True),
        (Filters(addresses=frozenset(("127.0.0.1",))), "127.0.0.2", False),
        (Filters(addresses=frozenset(("0.0.0.0",))), "127.0.0.2", True),
    ],
)
def test_filters_are_about_the_connection(filters: Filters, local: str, expected: bool) -> None:
    event = ACCEPT._replace(local_address=local, family="ipv6" if ":" in local else "ipv4")
    assert fits(filters, event) is expected


@pytest.mark.parametrize(
    ("text", "address", "mask"),
    [
        ("192.0.2.7/24", bytes(10) + b"\xff\xff\xc0\0\x02\0", b"\xff" * 15 + b"\0"),
        ("192.0.2.7", bytes(10) + b"\xff\xff\xc0\0\x02\x07", b"\xff" * 16),
        ("2001:db8::/32", b"\x20\x01\x0d\xb8" + bytes(12), b"\xff" * 4 + bytes(12)),
        ("::/0", bytes(16), bytes(16)),
    ],
)
def test_a_network_is_one_of_ipv6(text: str, address: bytes, mask: bytes) -> None:
    assert Asked(peer=parse_peer(text)).wish.peer == (address, mask)


@pytest.mark.parametrize("loader", ["auto", "libbpf", "bcc"])
def test_without_types_of_the_kernel_one_advice_is_given_and_it_is_right(
    loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not headers for bcc, which writes no events."""
    monkeypatch.setattr(btf, "VMLINUX", tmp_path / "vmlinux")
    with pytest.raises(UnsupportedError) as raised:
        require_events(Config(loader=loader, events=True))
    assert "accepttrace top" in raised.value.hint
    assert "headers" not in f"{raised.value} {raised.value.hint}"


def test_where_a_process_runs_is_said_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    people = People(Filters())
    process = Process(
        *(12, 700, "nginx", "nginx: worker"),
        cgroup="/a.slice/x.service",
        container="web\x1b[2J",
        pod="shop/web-0",
    )
    try:
        monkeypatch.setattr(people, "_look", lambda pid, _: process if pid == 12 else None)
        assert people.called(12, 7, "?") == (
            "nginx: worker",
            "x.service",
            "web\x1b[2J",
            "shop/web-0",
        )
        assert people.called(13, 7, "gone") == ("gone", None, None, None)
        event = ACCEPT._replace(**people.called(12, 7, "?")._asdict())
    finally:
        people.close()
    table = Plain(Stamps("relative", BEGAN_NS), 300, "any").rows([event])
    assert table.split()[-3:] == ["shop/web-0", "web?[2J", "x.service"]
    (line,) = read(JsonLines(Stamps("iso", BEGAN_NS)).rows([event]))
    assert (line["unit"], line["pod"]) == ("x.service", "shop/web-0")


def test_recorded_events_without_where_a_process_runs_are_read() -> None:
    kept = line_of(Happened((ACCEPT,)))
    before = kept.replace(b",null,null,null]", b"]")
    assert before != kept
    assert step_of(before) == Happened((ACCEPT,))
