"""Outputs that are not UTF-8: a name, or a mark of our own, is printed as well as they can."""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from accepttrace.run import streams
from accepttrace.run.output import Output
from accepttrace.run.pace import Pace


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("utf-8", "日本 é … e\u0301 \ufffd|"),
        ("latin-1", "???? \xe9 + e ?|"),
        ("ascii", "???? ? + e ?|"),
    ],
)
def test_prints_what_the_encoding_holds(
    encoding: str, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding))
    streams.tolerate()
    for stream in (sys.stdout, sys.stderr):
        raw.seek(0)
        raw.truncate()
        stream.write("日本 é … e\u0301 \ufffd|")
        stream.flush()
        assert raw.getvalue().decode(encoding) == printed


def test_a_closed_output_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    streams.tolerate()


class Unhurried:
    """Nobody asks to end; `wait` is where the reader reads."""

    ended = False

    def __init__(self, reader: int = -1) -> None:
        self.reader, self.got = reader, b""

    def wait(self, seconds: float | None, writable: int | None = None) -> bool:  # noqa: ARG002
        self.got += os.read(self.reader, 1000)
        return True


def test_what_a_line_costs_grows_with_its_length_alone(tmp_path: Path) -> None:
    """It is written in parts of 4 KiB; none of them may copy all that is left."""
    path, line = tmp_path / "lines", "x" * (16 << 20)
    with path.open("wb") as file:
        out = Output(file.fileno(), cast(Pace, Unhurried()))
        out.write(line)
        began = time.process_time()
        out.flush()
        assert time.process_time() - began < 1.5
    assert path.read_text() == line


def test_a_pipe_gets_every_byte_once_and_in_order() -> None:
    reader, writer = os.pipe()
    pace, text = Unhurried(reader), "".join(f"{number}\n" for number in range(100_000))
    out = Output(writer, cast(Pace, pace))
    for start in range(0, len(text), 150_000):
        out.write(text[start : start + 150_000])
        out.flush()
    os.close(writer)
    os.set_blocking(reader, False)
    with suppress(BlockingIOError):
        while part := os.read(reader, 1 << 20):
            pace.got += part
    os.close(reader)
    assert pace.got.decode() == text
    assert not out.cut
