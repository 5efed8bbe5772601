"""In a PID namespace of its own: others may hold a listener and accept from it, too."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from accepttrace.facts.records import OUTSIDE as UNNAMED
from tests.hostile.processes import ACCEPTTRACE, wait_for
from tests.kernel.clients import port_of
from tests.kernel.echoing import connect, echoing, group

OUTSIDE = "processes outside of this PID namespace"
INSIDE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
CLIENTS = 24


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid():
        pytest.skip("a PID namespace needs root")


def test_events_of_those_outside_have_no_pid_and_say_so(tmp_path: Path) -> None:
    """The tracer is alone in its namespace: all that it sees are outside, also by another name."""
    ready = tmp_path / "ready"
    with group(1) as listeners, echoing(listeners, b"stranger"):
        port = port_of(listeners[0])
        options = ("events", str(port), "-n", str(CLIENTS), "--ready-file", str(ready))
        command = (*INSIDE, *ACCEPTTRACE, *options, "-o", "jsonl", "--comm", "stranger")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: ready.exists() or process.poll() is not None, "ready")
            clients = Counter(connect(("127.0.0.1", port)).peer[1] for _ in range(CLIENTS))
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    events = [line for line in map(json.loads, out.splitlines()) if line["type"] == "accept"]
    assert Counter(event["peer_port"] for event in events) == clients
    assert {(event["pid"], event["tid"], event["name"]) for event in events} == {
        (None, None, UNNAMED)
    }
    assert {event["comm"] for event in events} == {"stranger"}


def test_another_namespaces_proc_is_refused_with_what_to_do() -> None:
    """By its PIDs every process would have the name of another one."""
    command = ("unshare", "--pid", "--fork", "--kill-child", *ACCEPTTRACE, "--duration", "1")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 77
    assert "/proc shows the PIDs of another PID namespace" in done.stderr
    assert "--mount-proc" in done.stderr
    assert done.stdout == ""


def test_a_holder_outside_is_not_denied() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
        inside = [*INSIDE, *ACCEPTTRACE]
        command = [*inside, "who", "-p", str(port), "-o", "jsonl"]
        kept = (server.fileno(),)
        # Who asks holds it as well, and has a PID there: not so the one outside.
        found = subprocess.run(command, capture_output=True, text=True, check=True, pass_fds=kept)
        lines = [json.loads(line) for line in found.stdout.splitlines()]
        shown = subprocess.run([*inside, "who", "-p", str(port)], capture_output=True, text=True)
    (row,) = [line for line in lines if line["type"] == "listener"]
    assert row["inode"] == inode
    assert os.getpid() not in {one["pid"] for one in row["holders"]}
    assert all(one["pid"] < 10 for one in row["holders"])
    assert row["way"] != "sole"
    assert row["sharing"] != "sole"
    assert f"{OUTSIDE}: they have no PID in it" in shown.stderr
    assert "NOBODY WAITS" not in shown.stdout
