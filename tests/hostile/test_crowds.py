"""Somebody opens and closes listeners by the thousand, beside a server whose numbers matter."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from accepttrace.lab.acceptors import RESET_ON_CLOSE
from tests.hostile.processes import END_S, SLACK_S, seconds_to_end, started, wait_for

MANY, CLIENTS = 3000, 200
LINE_BYTES = 20_000
# Opens so many SO_REUSEPORT listeners; `churn`: again and again.
CROWD = """
import resource, socket, sys, time
_, many, churn = sys.argv
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
port, before = 0, []
while True:
    held = []
    for _ in range(int(many)):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", port))
        one.listen(1)
        port = one.getsockname()[1]
        held.append(one)
    print(port, flush=True)
    time.sleep(0.3 if churn == "churn" else 60)
    for one in held:
        one.close()
"""


@pytest.mark.parametrize("how", ["churn", "stay"])
def test_a_crowd_of_listeners_costs_neither_time_nor_room(how: str, tmp_path: Path) -> None:
    command = (sys.executable, "-c", CROWD, str(MANY), how)
    with (
        subprocess.Popen(command, stdout=-1) as crowd,
        socket.create_server(("127.0.0.1", 0)) as server,
        (tmp_path / "lines").open("wb") as lines,
    ):
        try:
            assert crowd.stdout is not None
            ports = f"{int(crowd.stdout.readline())},{server.getsockname()[1]}"
            with started("-p", ports, "-i", "0.5", "-o", "jsonl", stdout=lines) as process:
                wait_for(lambda: written(tmp_path) > 2, "lines")
                serve(server)
                before = written(tmp_path)
                wait_for(lambda: written(tmp_path) > before + 4, "lines")
                assert seconds_to_end(process, signal.SIGTERM) < END_S + SLACK_S
        finally:
            crowd.kill()
    found = (tmp_path / "lines").read_bytes().splitlines()
    assert max(map(len, found)) < LINE_BYTES
    _, *snapshots, summary = map(json.loads, found)
    assert max(one["interval_s"] for one in snapshots[1:]) < 1.0
    assert max(map(idle_ones, snapshots)) == MANY
    mine = [row for row in summary["listeners"] if row["local_port"] == server_port(ports)]
    assert [(row["accepted"], row["folded"]) for row in mine] == [(CLIENTS, 0)]
    assert summary["books"]["accepts"] == CLIENTS


def written(folder: Path) -> int:
    return (folder / "lines").read_bytes().count(b"\n")


def serve(server: socket.socket) -> None:
    """So many clients, one after the other."""
    for _ in range(CLIENTS):
        with socket.create_connection(server.getsockname()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            server.accept()[0].close()


def idle_ones(snapshot: dict[str, list[dict[str, int]]]) -> int:
    return sum(row["folded"] for row in snapshot["listeners"])


def server_port(ports: str) -> int:
    return int(ports.partition(",")[2])
