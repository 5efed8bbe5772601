"""`accepttrace events` as a user starts it: forms, ends, filters, readers that are slow or stop."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server

from .clients import listen, port_of
from .conftest import ACCEPTTRACE, wait_until
from .echoing import connect, echoing
from .test_cli import CHOICE, started

MANY = 20_000  # events of which neither a pipe nor what is written at once holds a third
LATE_S = 0.1


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    return tmp_path / "ready"


def taken(listener: socket.socket, number: int) -> list[int]:
    """Connect and accept so many times; the clients' ports."""
    ports = []
    for _ in range(number):
        with socket.create_connection(listener.getsockname()) as client:
            ports.append(client.getsockname()[1])
            listener.accept()[0].close()
    return ports


def ended(process: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    """Lines of JSON, and what stands on standard error."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()], err


def test_each_line_is_there_within_a_tenth_of_a_second(ready: Path) -> None:
    with listen(8) as listener:
        options = ("events", str(port_of(listener)), "-o", "jsonl", *CHOICE)
        with started(*options, ready=ready) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["type"] == "meta"
            late = []
            for _ in range(5):
                (port,) = taken(listener, 1)
                began = time.monotonic()
                assert json.loads(process.stdout.readline())["peer_port"] == port
                late.append(time.monotonic() - began)
            assert sorted(late)[2] < LATE_S
            _, err = ended(process)
    assert err.endswith("5 accepts counted; nothing lost\n")


def test_events_of_a_load_are_as_many_as_the_server_counted(ready: Path) -> None:
    with Server("shared", workers=2) as server:
        options = ("events", str(server.port), "-o", "csv", "-n", "3000", *CHOICE)
        with started(*options, ready=ready) as process:
            run_load(server.addresses, 3_000, concurrency=8)
            wait_until(lambda: sum(one.accepts for one in server.counts()) == 3_000, "all")
            out, err = process.communicate(timeout=60)
        expected = {one.pid: one.accepts for one in server.counts() if one.accepts}
    rows = list(csv.DictReader(io.StringIO(out)))
    pids = [int(row["pid"]) for row in rows]
    assert {pid: pids.count(pid) for pid in set(pids)} == expected
    assert len({row["peer_port"] for row in rows}) == 3_000
    assert "3,000 events" in err
    assert err.endswith("3,000 accepts counted; nothing lost\n")


def test_a_reader_that_stops_loses_events_and_holds_up_nobody(ready: Path) -> None:
    with listen(64) as listener:
        options = ("events", str(port_of(listener)), "-o", "jsonl", *CHOICE)
        with started(*options, ready=ready) as process:
            taken(listener, MANY)
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory = int(status.split("RssAnon:")[1].split()[0])
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            assert time.monotonic() - began < 2.5
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0
    assert memory < 60_000
    shown = sum(json.loads(line)["type"] == "accept" for line in out.splitlines())
    assert 0 < shown < MANY
    assert f"{MANY:,} accepts counted" in err
    assert f"{MANY - shown:,} not shown" in err
    assert "nothing lost" not in err


def test_count_ends_it(ready: Path) -> None:
    with listen(8) as listener:
        options = ("events", str(port_of(listener)), "-n", "3", "-o", "jsonl", *CHOICE)
        with started(*options, ready=ready) as process:
            ports = taken(listener, 5)
            out, _ = process.communicate(timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [one["peer_port"] for one in lines[1:-1]] == ports[:3]
    assert (lines[-1]["shown"], process.returncode) == (3, 0)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--peer", "127.0.0.0/8"), 2),
        (("--peer", "192.0.2.0/24"), 0),
        (("--slower-than", "1h"), 0),
        (("--address", "127.0.0.1"), 2),
        (("--address", "127.0.0.9"), 0),
        (("--comm", "nobody"), 0),
        (("--comm", "{comm}"), 2),
        (("--pid", "{pid}"), 2),
        (("-6",), 0),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_filters_leave_out_what_is_not_asked_for(
    ready: Path, filters: tuple[str, ...], expected: int
) -> None:
    own = {"pid": os.getpid(), "comm": Path("/proc/self/comm").read_text().strip()}
    options = [one.format(**own) for one in filters]
    with listen(8) as listener:
        command = ("events", str(port_of(listener)), "-o", "jsonl", *CHOICE, *options)
        with started(*command, ready=ready) as process:
            taken(listener, 2)
            (*_, last), _ = ended(process)
    assert (last["shown"], last["balanced"]) == (expected, True)


def test_a_worker_is_called_as_it_calls_itself(ready: Path) -> None:
    with listen(8) as listener, echoing([listener], comm=b"worker\x1b[2J") as (pid,):
        command = ("events", str(port_of(listener)), *CHOICE)
        with started(*command, ready=ready, env={**os.environ, "COLUMNS": "300"}) as process:
            connect(listener.getsockname())
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
    _, line = out.splitlines()
    assert "worker?[2J" in line
    assert "\x1b" not in out
    assert str(pid) in line.split()


def test_bcc_is_refused_in_one_line() -> None:
    command = (*ACCEPTTRACE, "events", "--loader", "bcc")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 77
    first, hint = done.stderr.splitlines()
    assert "bcc" in first
    assert "accepttrace top" in hint
