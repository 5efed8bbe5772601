"""Accepts that fail, by errno, against what the server itself saw."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .conftest import Tracing, wait_until

SIGNALS = 5
FAILURES = 3
ACCEPT_CALLS = {"43", "288", "202", "242"}  # accept and accept4, on x86-64 and arm64

INTERRUPTED = """
import signal, socket
listener = socket.create_server(("127.0.0.1", 0))
signal.signal(signal.SIGUSR1, lambda *_: print("interrupted", flush=True))
print(listener.getsockname()[1], flush=True)
listener.accept()  # Python calls again after each signal
print("accepted", flush=True)
input()
"""
OUT_OF_FILES = """
import resource, socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
input()
resource.setrlimit(resource.RLIMIT_NOFILE, (listener.fileno() + 1, 4096))
for _ in range(int(input())):
    try:
        listener.accept()
    except OSError as error:
        print(error.errno, flush=True)
input()
"""


@contextmanager
def running(code: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of a few lines, and the port it listens on."""
    with subprocess.Popen(
        (sys.executable, "-c", code), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        try:
            yield server, int(server.stdout.readline())
        finally:
            server.kill()


def sleeps_in_accept(pid: int) -> bool:
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in ACCEPT_CALLS


def test_interrupted_accepts_are_counted_as_eintr(tracing: Tracing) -> None:
    with running(INTERRUPTED) as (server, port):
        assert server.stdout is not None
        account = tracing.of(port)
        for _ in range(SIGNALS):
            wait_until(lambda: sleeps_in_accept(server.pid), "it sleeps in accept()")
            server.send_signal(10)
            assert server.stdout.readline() == "interrupted\n"
        with socket.create_connection(("127.0.0.1", port)):
            assert server.stdout.readline() == "accepted\n"
        (row,) = account.snapshot().acceptors
    assert (row.pid, row.accepts) == (server.pid, 1)
    if "errors" in tracing.plan.sees:
        assert (row.errors, row.failed_accepts) == ({"EINTR": SIGNALS}, SIGNALS)
    else:
        assert (row.errors, row.failed_accepts) == (None, None)


def test_accepts_without_a_free_descriptor_are_counted(tracing: Tracing) -> None:
    with running(OUT_OF_FILES) as (server, port):
        assert server.stdin is not None
        assert server.stdout is not None
        account = tracing.of(port)
        with socket.create_connection(("127.0.0.1", port)):
            server.stdin.write(f"\n{FAILURES}\n")
            server.stdin.flush()
            assert [server.stdout.readline() for _ in range(FAILURES)] == ["24\n"] * FAILURES
            snapshot = account.snapshot()
    errors = [row.errors for row in snapshot.acceptors if row.failed_accepts]
    assert errors == ([{"EMFILE": FAILURES}] if "errors" in tracing.plan.sees else [])
    assert [row.refused_accepts for row in snapshot.listeners] == [
        FAILURES if "refused" in tracing.plan.sees else None
    ]
