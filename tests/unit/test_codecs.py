"""Compressed lines, by each module that can: read as far as they go, cut or damaged."""

from __future__ import annotations

import importlib
import subprocess
import tracemalloc
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from accepttrace.errors import UnsupportedError, UsageError
from accepttrace.run.replay import Recording
from accepttrace.store import codecs
from accepttrace.store.codecs import CHUNK
from accepttrace.store.files import LineReader, LineWriter
from accepttrace.store.steps import Mark

from .test_recording import LINES, recorded

MODULES = {"gzip": "", "zstandard": "zstandard", "python": "compression.zstd"}


@pytest.fixture(params=MODULES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a file is called that is written by one of the modules."""
    only_have(MODULES[request.param], monkeypatch)
    return "f.gz" if request.param == "gzip" else "f.zst"


def only_have(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the modules for zstd that alone is found; before Python 3.14 its copy is taken for it."""

    def find(module: str) -> Any:
        return object() if module == wanted.partition(".")[0] else None

    def take(module: str) -> Any:
        if module == "compression.zstd" and find_spec("compression") is None:
            module = "backports.zstd"
        return importlib.import_module(module)

    monkeypatch.setattr(codecs, "find_spec", find)
    monkeypatch.setattr(codecs, "import_module", take)


def test_lines_come_back_from_a_file_of_several_members(name: str, tmp_path: Path) -> None:
    path, many = tmp_path / name, LINES * 20
    writer = LineWriter(path)
    for line in many:
        writer.write(line + b"\n")
        assert path.stat().st_size == writer.size
    writer.close()
    reader = LineReader(path)
    assert (list(reader), reader.why) == (many, None)
    read = {"f.gz": "zcat", "f.zst": "zstdcat"}[name]
    assert subprocess.check_output((read, path)) == b"".join(line + b"\n" for line in many)


def test_each_line_can_be_read_before_the_next_one_is_written(name: str, tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / name)
    for number in range(1, 4):
        writer.write(b"%d\n" % number)
        assert list(LineReader(tmp_path / name)) == [b"%d" % one for one in range(1, number + 1)]
    writer.abandon()


def test_every_prefix_is_read_as_far_as_it_goes(name: str, tmp_path: Path) -> None:
    recorded(tmp_path / name, 2)
    data, cut = (tmp_path / name).read_bytes(), tmp_path / f"cut-{name}"
    whole = list(Recording(tmp_path / name).steps())
    assert whole[-1] == Mark("end")
    found = set()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with suppress(UsageError):  # not even the first line
            recording = Recording(cut)
            steps = list(recording.steps())
            assert steps == whole[: len(steps)]
            assert recording.why or (steps == whole and length >= len(data) - 10)
            found.add(len(steps))
    assert found == set(range(len(whole) + 1))


def test_damage_is_said_where_it_is(name: str, tmp_path: Path) -> None:
    recorded(tmp_path / name, 2)
    data, path = (tmp_path / name).read_bytes(), tmp_path / f"damaged-{name}"
    whole = list(Recording(tmp_path / name).steps())
    for place in range(4, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with suppress(UsageError):
            recording = Recording(path)
            steps = list(recording.steps())
            assert recording.why or steps == whole


def test_a_small_file_of_much_text_is_read_a_piece_at_a_time(name: str) -> None:
    text = bytes(CHUNK) * 1000
    command = {"f.gz": "gzip", "f.zst": "zstd"}[name]
    compressed = subprocess.run([command, "-c"], input=text, capture_output=True).stdout
    assert len(compressed) < CHUNK
    codec, rest = codecs.codec_of(compressed), iter([b""])
    assert codec is not None
    tracemalloc.start()
    try:
        length = sum(map(len, codec.texts(compressed, lambda: next(rest, b""))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length == len(text)
    assert peak < 16 << 20


def test_without_a_module_for_zstd_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path / "run.zst", 1)
    only_have("", monkeypatch)
    for use in (lambda: LineWriter(tmp_path / "new.zst"), lambda: Recording(tmp_path / "run.zst")):
        with pytest.raises(UnsupportedError, match=r"\.zst need Python 3\.14 or the package") as it:
            use()
        assert "pip install 'accepttrace[record]'" in (it.value.hint or "")
    assert not (tmp_path / "new.zst").exists()
