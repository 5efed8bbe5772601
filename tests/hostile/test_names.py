"""Processes that call themselves what they like, through every output, whatever its encoding."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.hostile.processes import ACCEPTTRACE, Terminal
from tests.unit.strangers import is_harmless

COMMS = (
    b"a\nb\nc",
    b"x\r\n1;2,\"'",
    b"\x1b[2J\x1b[31mhi",
    b"=1+cmd|z!A0",
    b"\xff\xfe\x80",
    "日本 é".encode(),
    "\u202ee\u200d\u2066".encode(),
    b"MainThread",
)
FLOOD = "php-fpm: pool e" + "\u0301" * 60_000
SERVE = """
import os, socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
open("/proc/self/comm", "wb").write(bytes.fromhex(sys.argv[2]))
print("ready", flush=True)
while True:
    server.accept()
"""
ENCODINGS = ("utf-8", "latin-1", "ascii")


@dataclass(frozen=True)
class Strangers:
    """Processes that share one listener, and how many they are."""

    port: int
    number: int


@pytest.fixture(scope="module")
def strangers() -> Iterator[Strangers]:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        fd = server.fileno()
        for comm in COMMS:
            command = (sys.executable, "-c", SERVE, str(fd), comm.hex())
            child = subprocess.Popen(command, pass_fds=[fd], stdout=subprocess.PIPE)
            stack.enter_context(child)
            stack.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        sleeper = subprocess.Popen((FLOOD, "1000"), executable="/bin/sleep", pass_fds=[fd])
        stack.enter_context(sleeper)
        stack.callback(sleeper.kill)
        # Ourselves, too: a holder that does not wait.
        yield Strangers(server.getsockname()[1], len(COMMS) + 2)


def printed(encoding: str, *arguments: str) -> str:
    """What a run prints, in an encoding; skipped where nothing can be traced."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "100"}
    command = (*ACCEPTTRACE, *arguments)
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
    if done.returncode == 77:
        pytest.skip(done.stderr.decode())
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert all(map(is_harmless, done.stderr.decode(encoding).split("\n")))
    return done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tables_are_harmless(strangers: Strangers, encoding: str) -> None:
    port = str(strangers.port)
    for arguments in (("-p", port, "-d", "0.1"), ("who", "-p", port)):
        lines = printed(encoding, *arguments).split("\n")
        assert all(map(is_harmless, lines))
        assert max(map(len, lines)) < 160
    assert any("php-fpm: pool e" in line for line in lines)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_csv_has_a_row_for_each(strangers: Strangers, encoding: str) -> None:
    text = printed(encoding, "-p", str(strangers.port), "-d", "0.1", "-o", "csv")
    assert all(map(is_harmless, text.split("\n")))
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert len(rows) == strangers.number
    assert not [row for row in rows if None in row or None in row.values()]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@"))]
    names = {row["name"] for row in rows}
    assert {"a?b?c", "'=1+cmd|z!A0", "?[2J?[31mhi"} <= names


def test_json_is_strict_and_short(strangers: Strangers) -> None:
    port = str(strangers.port)
    text = printed("ascii", "-p", port, "-i", "0.1", "-d", "0.3", "-o", "jsonl")
    text += printed("ascii", "who", "-p", port, "-o", "jsonl")
    for line in text.splitlines():
        json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")
        assert len(line) < 2000 * strangers.number
    ends = [json.loads(line) for line in text.splitlines() if '"summary"' in line[:20]]
    assert len(ends) == 2  # of the run, and of who
    summary = ends[0]
    names = {row["name"] for row in summary["acceptors"]}
    assert "\ufffd\ufffd\ufffd" in names
    assert max(map(len, names)) <= 64


def test_a_terminal_that_is_not_utf8_shows_the_table(strangers: Strangers) -> None:
    terminal = Terminal(
        "-p", str(strangers.port), "-d", "0.3", "-i", "0.1", LC_ALL="POSIX", PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    try:
        screen = terminal.rest()
        terminal.wait()
        screen += terminal.rest()
    finally:
        terminal.close()
    if terminal.status == 77:
        pytest.skip(screen.decode())
    assert terminal.status == 0
    assert b"Traceback" not in screen
    assert b"?[2J?[31mhi" in screen
    assert b"\x1b[31mhi" not in screen
    assert screen.isascii()


def test_on_the_screen_names_stay_in_their_cells(strangers: Strangers) -> None:
    """Whatever they are called, nothing moves: one line each, then the total, the keys last."""
    from tests.kernel.screen import shown  # its emulator is not in every userland

    with shown("-p", str(strangers.port), columns=100, lines=30) as screen:
        waiting = strangers.number - 1
        screen.until(lambda text: f"TOTAL {waiting}" in text and "q quit" in text)
        for hostile in (b"\x1b[31mhi", b"a\nb", "\u202e".encode(), b"\xff"):
            assert hostile not in screen.raw
        assert "?[2J?[31mhi" in screen.text
        titles = next(n for n, line in enumerate(screen.display) if "WORKER" in line)
        assert f"TOTAL {waiting}" in screen.display[titles + waiting + 1]
        assert screen.display[-1].startswith(" q quit")
        screen.press("\r")
        screen.until("SOCKETS", 3)
