"""One address in two network namespaces: a stranger's server is not taken for ours."""

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
from pathlib import Path
from typing import IO

import pytest

from tests.hostile.processes import ACCEPTTRACE, started, wait_for

SERVE = """
import os, socket, sys
os.system("ip link set lo up")
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
print(os.stat("/proc/self/ns/net").st_ino, flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        client = socket.create_connection(server.getsockname())
        server.accept()[0].close()
        client.close()
    print("done", flush=True)
"""


class Serving:
    """A server that connects to itself."""

    def __init__(self, stack: ExitStack, port: int, *before: str) -> None:
        command = (*before, sys.executable, "-c", SERVE, str(port))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.enter_context(self.process)
        stack.callback(self.process.kill)
        self.netns = int(_line(self.process.stdout))

    def accept(self, number: int) -> None:
        assert self.process.stdin is not None
        print(number, file=self.process.stdin, flush=True)
        assert _line(self.process.stdout) == "done\n"


def _line(file: IO[str] | None) -> str:
    assert file is not None
    return file.readline()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[int, Serving, Serving]]:
    if os.geteuid():
        pytest.skip("a network namespace needs root")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ExitStack() as stack:
        yield port, Serving(stack, port), Serving(stack, port, "unshare", "--net")


def traced(port: int, ours: Serving, theirs: Serving, ready: Path, *options: str) -> str:
    """What a run prints during which we accept 20 connections, and they 60."""
    ready.unlink(missing_ok=True)
    command = ("-p", str(port), "-d", "1", "-i", "10", "--ready-file", str(ready), *options)
    with started(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: ready.exists() or process.poll() is not None, "the ready file")
        if process.poll() == 77:
            pytest.skip(process.communicate()[1].decode())
        ours.accept(20)
        theirs.accept(60)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.decode()


def test_every_form_tells_them_apart(servers: tuple[int, Serving, Serving], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    port, ours, theirs = servers
    expected = {str(ours.netns): "20", str(theirs.netns): "60"}
    text = traced(*servers, ready)
    assert "in 2 network namespaces" in " ".join(text.split())
    for netns, accepts in expected.items():
        (line,) = (line for line in text.splitlines() if netns in line.split())
        assert accepts in line.split()
    rows = csv.DictReader(io.StringIO(traced(*servers, ready, "-o", "csv")))
    assert {row["netns"]: row["accepts"] for row in rows} == expected
    answer = subprocess.run((*ACCEPTTRACE, "who", "-p", str(port)), capture_output=True, text=True)
    assert all(f"netns {netns}" in answer.stdout for netns in expected)


def test_one_namespace_can_be_asked_for(
    servers: tuple[int, Serving, Serving], tmp_path: Path
) -> None:
    _, ours, theirs = servers
    for asked in (str(ours.netns), f"/proc/{ours.process.pid}/ns/net", str(ours.process.pid)):
        out = traced(*servers, tmp_path / "ready", "--netns", asked, "-o", "jsonl")
        summary = json.loads(out.splitlines()[-1])
        assert summary["books"]["accepts"] == 20
        assert {row["netns"] for row in summary["listeners"]} == {ours.netns} != {theirs.netns}
