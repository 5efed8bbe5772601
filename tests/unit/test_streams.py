"""Outputs that are not UTF-8: a name, or a mark of our own, is printed as well as they can."""

from __future__ import annotations

import io
import sys

import pytest

from accepttrace.cli import streams


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
