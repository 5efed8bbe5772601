"""UNIX sockets that are called what their owners like: by name, in lines and in JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.cli.who import who
from accepttrace.views import csvrows, jsonl, table
from tests.kernel.unixlisteners import rows_of, traced, unix_listener
from tests.unit.strangers import is_harmless

SCHEMA = json.loads((Path(accepttrace.views.__file__).parent / "who.schema.json").read_text())
TAG = f"at{os.getpid()}".encode()
FORGED = b"0: 00000002 00000000 00010000 0001 01 77777777 /run/forged"
# Name as bind() takes it → as it is spelled.
NAMES = {
    b"\0" + TAG + b"\n" + FORGED: f"@{TAG.decode()}\n{FORGED.decode()}",
    b"\0" + TAG + b"\x1b[2J\x1b]0;x\x07\r": f"@{TAG.decode()}\x1b[2J\x1b]0;x\x07\r",
    b"\0" + TAG + b"\0a\0\0": f"@{TAG.decode()}@a@@",
    b"\0" + TAG + b"\xff\xc3": f"@{TAG.decode()}\ufffd\ufffd",
    b"\0" + TAG + "\u202ee\u200d\u2066".encode(): f"@{TAG.decode()}\u202ee\u200d\u2066",
    b"\0" + TAG.ljust(107, b"x"): "@" + TAG.decode().ljust(107, "x"),
    b"\0" + TAG + b"  inode 1  queue 0, backlog 9": f"@{TAG.decode()}  inode 1  queue 0, backlog 9",
}


@pytest.fixture(scope="module")
def strangers() -> Iterator[dict[int, str]]:
    """By inode, how each is to be spelled."""
    with ExitStack() as stack:
        found = {}
        for name, spelled in NAMES.items():
            sock = stack.enter_context(unix_listener(name))
            found[os.fstat(sock.fileno()).st_ino] = spelled
        yield found


def test_each_is_one_line_of_json_under_its_name(strangers: dict[int, str]) -> None:
    result = CliRunner().invoke(who, ["--unix", "-o", "jsonl"])
    lines = [line for line in result.output.split("\n") if line.startswith("{")]
    for line in lines:
        assert is_harmless(line)
        Draft202012Validator(SCHEMA).validate(json.loads(line))
    rows = {row["inode"]: row for row in map(json.loads, lines) if row["type"] == "listener"}
    assert {inode: rows[inode]["local_address"] for inode in strangers} == strangers
    assert 77777777 not in rows
    assert "/run/forged" not in {row["local_address"] for row in rows.values()}


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_lines_are_harmless_and_of_their_width(strangers: dict[int, str], columns: str) -> None:
    result = CliRunner(env={"COLUMNS": columns}).invoke(who, ["--unix"])
    assert result.exit_code == 0
    lines = result.output.split("\n")
    shown = [line for line in lines if not line.startswith("1 process could not")]
    assert all(is_harmless(line) for line in shown)
    assert max(map(len, shown)) <= int(columns)
    # What a name says of itself stands in quotes.
    tree = result.output.partition("\nNOBODY WAITS")[0].split("\n")
    forged = [line for line in tree if "inode 1 " in line]
    assert forged
    assert all(line.startswith('"@') for line in forged)
    for inode in strangers:
        assert any(f"inode {inode}" in line for line in shown)


@pytest.mark.parametrize("asked", [name for name in NAMES.values() if "\0" not in name])
def test_each_is_found_by_its_name(strangers: dict[int, str], asked: str) -> None:
    assert {row["inode"] for row in rows_of(asked)} == {
        inode for inode, name in strangers.items() if name == asked
    }


def test_what_is_traced_of_them_is_harmless_in_every_output(strangers: dict[int, str]) -> None:
    schema = json.loads((Path(accepttrace.views.__file__).parent / "schema.json").read_text())
    with traced() as subject:
        for name in NAMES:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(name)
        snapshot = subject.refresh()
    line = jsonl.snapshot_line(snapshot)
    assert is_harmless(line)
    shown = json.loads(line)
    Draft202012Validator(schema).validate(shown)
    rows = {row["inode"]: row for row in shown["listeners"] if row["inode"] in strangers}
    assert {inode: row["local_address"] for inode, row in rows.items()} == strangers
    assert {(row["local_port"], row["queue"]) for row in rows.values()} == {(None, 1)}
    for width in (40, 80, 200):
        lines = ["".join(text for text, _ in one) for one in table.render(snapshot, width, None)]
        assert all(is_harmless(one) for one in lines)
    written = "\n".join((csvrows.header(snapshot.by), csvrows.rows(snapshot)))
    assert len({len(row) for row in csv.reader(io.StringIO(written))}) == 1


def test_trailing_zeros_need_not_be_asked_for() -> None:
    with unix_listener((b"\0" + TAG + b"padded").ljust(108, b"\0")) as sock:
        (row,) = rows_of(f"@{TAG.decode()}padded")
        assert row["inode"] == os.fstat(sock.fileno()).st_ino


def test_a_path_of_every_byte_that_a_file_may_have(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    name = (folder + b"/\n\x1b[31m  inode 5").ljust(107, b"\xf0")
    with unix_listener(name) as sock:
        inode = os.fstat(sock.fileno()).st_ino
        (row,) = rows_of(os.fsdecode(name))
        assert row["inode"] == inode
        assert row["local_address"] == name.decode("utf-8", "replace")
        output = CliRunner().invoke(who, [os.fsdecode(name)]).output
        assert all(is_harmless(line) for line in output.split("\n"))
        assert output.startswith('"')


def test_what_is_asked_for_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "loop", "none", "x" * 5000, "\x1b[2J"):
        result = CliRunner().invoke(who, [f"{tmp_path}/{name}"])
        assert result.exit_code == 0
        assert result.output.startswith("nobody listens on ")
        assert all(is_harmless(line) for line in result.output.split("\n"))


def test_a_queue_that_is_full_does_not_hold_the_tool(tmp_path: Path) -> None:
    with unix_listener(str(tmp_path / "s"), 0), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        (row,) = rows_of(str(tmp_path / "s"))
        assert (row["queue"], row["backlog"]) == (1, 0)
