"""Listeners by the thousand beside a server whose numbers matter, and processes by ten thousand."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from accepttrace.lab.acceptors import RESET_ON_CLOSE
from accepttrace.model.crowds import LEVELS
from tests.hostile.processes import ACCEPTTRACE, END_S, SLACK_S, seconds_to_end, started, wait_for

MANY, CLIENTS = 3000, 200
LINE_BYTES = 20_000
MOST_APART = LEVELS[1][1]  # of one user: few of a crowd may be there while it opens or closes
PROCESSES, LISTENERS, HOLD_ALL = 10_000, 1_000, 10  # the other processes hold one each
HOLDERS = (1 + HOLD_ALL) * LISTENERS + PROCESSES - HOLD_ALL  # of all listeners; 1: the parent
MOST_MIB = 100
# 2 s where it takes 0.1 s to read a file of each of so many processes, on any machine.
MOST_READS = 20
TRIES = 5  # others use the machine, too
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
    _, *snapshots, summary = map(json.loads, found)
    lengths = [
        len(line) for line, one in zip(found[1:], snapshots, strict=False) if idle_ones(one) == MANY
    ]
    assert max(lengths) < LINE_BYTES
    assert max(len(one["listeners"]) for one in (*snapshots, summary)) <= MOST_APART + 2
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


def test_ten_thousand_processes_on_a_thousand_listeners_are_told_in_two_seconds(
    tmp_path: Path,
) -> None:
    with crowd(tmp_path):
        for _ in range(TRIES):
            before = seconds_to_read_all()
            took_s, peak_mib = who(tmp_path / "lines")
            allowed_s = MOST_READS * (before + seconds_to_read_all()) / 2
            if took_s < allowed_s:
                break
    text = (tmp_path / "lines").read_text()
    shared = re.findall(r"shared by (\d+) processes\s+likely inherited from \d+ crowd\b", text)
    assert (len(shared), sum(map(int, shared))) == (LISTENERS, HOLDERS)
    assert peak_mib < MOST_MIB
    assert took_s < allowed_s


@contextmanager
def crowd(folder: Path) -> Iterator[None]:
    """So many processes, which are gone at the end of the block."""
    source = Path(__file__).parents[2] / "bench" / "crowd.c"
    program = folder / "crowd"
    if subprocess.run(["cc", "-O1", "-o", program, source], capture_output=True).returncode:
        pytest.skip("there is no C compiler")
    command = [str(program), *map(str, (PROCESSES, LISTENERS, HOLD_ALL, 0, 1))]
    before = len(os.listdir("/proc"))
    with subprocess.Popen(command, stdin=-1, stdout=-1) as process:
        assert process.stdout
        try:
            assert process.stdout.readline()
            yield
        finally:
            process.kill()
            wait_for(lambda: len(os.listdir("/proc")) < before + PROCESSES / 2, "their end")


def seconds_to_read_all() -> float:
    """Of a processor, for /proc/PID/status of all processes."""
    began = time.process_time()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fd = os.open(f"/proc/{name}/status", os.O_RDONLY)
            try:
                os.read(fd, 65536).decode().split("\n")
            finally:
                os.close(fd)
    return time.process_time() - began


# A program begins with the peak of the process that started it: of a small one, not of pytest.
MEASURE = """
import os, sys
_, lines, *command = sys.argv
actions = [(os.POSIX_SPAWN_OPEN, 1, lines, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
_, status, used = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def who(lines: Path) -> tuple[float, float]:
    """(seconds of a processor that it took, its most memory in MiB)."""
    command = (sys.executable, "-S", "-c", MEASURE, str(lines), *ACCEPTTRACE, "who")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    status, took_s, peak_mib = map(float, done.stdout.split())
    assert status == 0
    return took_s, peak_mib
