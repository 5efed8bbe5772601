"""In a PID namespace of its own `who` knows that others may hold a listener, too."""

from __future__ import annotations

import json
import os
import socket
import subprocess

import pytest

from tests.hostile.processes import ACCEPTTRACE

OUTSIDE = "processes outside of this PID namespace"


def test_a_holder_outside_is_not_denied() -> None:
    if os.geteuid():
        pytest.skip("a PID namespace needs root")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
        inside = ["unshare", "--pid", "--fork", "--mount-proc", *ACCEPTTRACE]
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
