"""The examples of docs/library.md, run on a real server as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accepttrace import read_recording, trace
from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from tests.kernel.conftest import ACCEPTTRACE

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.DOTALL)
CONNECTIONS = 2000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("reuseport", workers=4) as server:
        yield server


def load(server: Server) -> None:
    assert run_load(server.addresses, CONNECTIONS).connected == CONNECTIONS


def test_a_run(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    before = {one.pid: one.accepts for one in server.counts()}
    names: dict[str, Any] = {"PORT": server.port, "make_load": lambda: load(server)}
    exec(EXAMPLES[0], names)
    taken = {one.pid: one.accepts - before[one.pid] for one in server.counts()}
    assert {row.pid: row.accepts for row in names["summary"].acceptors} == taken
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[:2]] == [str(CONNECTIONS)] * 2
    assert len(lines) == 2 + len(taken)


def test_each_connection(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    before = {one.pid: one.accepts for one in server.counts()}
    names = {"PORT": server.port, "make_load": lambda: load(server), "trace": trace}
    exec(EXAMPLES[1], names)
    pids = [int(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    taken = {one.pid: one.accepts - before[one.pid] for one in server.counts()}
    assert {pid: pids.count(pid) for pid in taken} == taken


def test_a_recording(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.gz"
    command = (
        *ACCEPTTRACE,
        "record",
        str(file),
        str(server.port),
        "-i",
        "0.2",
        "-d",
        "1",
        "--events",
    )
    ready = tmp_path / "ready"
    with subprocess.Popen((*command, "--ready-file", str(ready))) as process:
        while not ready.exists():
            assert process.poll() is None
        load(server)
        process.terminate()
    exec(EXAMPLES[2], {"FILE": file})
    assert capsys.readouterr().out.rstrip().endswith("a second at most whole")
    recording = read_recording(file)
    pictures = list(recording)
    assert pictures[-1].books.accepts == recording.summary().books.accepts == CONNECTIONS
    events = list(recording.events())
    assert len({(one.peer_address, one.peer_port) for one in events}) == CONNECTIONS
    exec(EXAMPLES[3], {"FILE": file, "read_recording": read_recording})
    longest = max(one.wait_us or 0 for one in events)
    assert f"waited {longest} us for pid " in capsys.readouterr().out


def pytest_says(server: Server, tmp_path: Path, test: str) -> str:
    """Of a test of somebody who has accepttrace installed."""
    prelude = f"""
from accepttrace.lab.load import run_load
PORT = {server.port}
def make_load():
    run_load({server.addresses!r}, {CONNECTIONS})
"""
    (tmp_path / "test_own.py").write_text(prelude + test)
    command = (sys.executable, "-m", "pytest", "-q", "-rfs", "--rootdir", str(tmp_path))
    done = subprocess.run(
        (*command, str(tmp_path), "-p", "no:cacheprovider"),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    return done.stdout


def test_a_fixture_for_ones_own_server(server: Server, tmp_path: Path) -> None:
    assert "1 passed" in pytest_says(server, tmp_path, EXAMPLES[4])
    stricter = EXAMPLES[4].replace("--min-workers 4", "--min-workers 5")
    said = pytest_says(server, tmp_path, stricter)
    assert "1 failed" in said
    assert "FAILED      --min-workers 5: measured 4" in said


def test_nothing_is_read_outside_of_the_block(server: Server) -> None:
    run = trace(server.port)
    with pytest.raises(RuntimeError, match="outside of the `with` block"):
        run.read()
    with run:
        assert run.read().meta.filter == f":{server.port}"
    with pytest.raises(RuntimeError):
        run.summary()
    with run, pytest.raises(RuntimeError, match="events=True"):
        next(run.events())
