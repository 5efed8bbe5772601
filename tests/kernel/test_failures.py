"""Accepts that fail, by errno, against what the server itself saw."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Tracing, wait_until

SIGNALS = 5
FAILURES = 3
ACCEPT_CALLS = {"43", "288", "202", "242"}  # accept and accept4, on x86-64 and arm64

# Prints what accept() gives to its caller: Python itself would call again after EINTR.
INTERRUPTED = """
import ctypes, signal, socket, struct, sys
listener = socket.create_server(("127.0.0.1", 0))
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, lambda *_: None)
signal.siginterrupt(signal.SIGUSR2, False)  # SA_RESTART
if "limited" in sys.argv:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@qq", 60, 0))
libc = ctypes.CDLL(None, use_errno=True)
print(listener.getsockname()[1], flush=True)
while libc.accept(listener.fileno(), None, None) < 0:
    print(ctypes.get_errno(), flush=True)
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
def running(code: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of a few lines, and the port it listens on."""
    with subprocess.Popen(
        (sys.executable, "-c", code, *options),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        try:
            yield server, int(server.stdout.readline())
        finally:
            server.kill()


def sleeps_in_accept(pid: int) -> bool:
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in ACCEPT_CALLS


def is_back_in_accept(pid: int) -> bool:
    """It has handled the signal that was sent to it."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = [int(line.split()[1], 16) for line in status.splitlines() if "Pnd:" in line]
    return not any(pending) and sleeps_in_accept(pid)


@pytest.mark.parametrize(
    ("sent", "options", "seen_by_caller"),
    [
        ((signal.SIGUSR1,), (), SIGNALS),
        ((signal.SIGUSR2,), (), 0),
        ((signal.SIGUSR2,), ("limited",), SIGNALS),  # SO_RCVTIMEO: never restarted
        ((signal.SIGSTOP, signal.SIGCONT), (), 0),
    ],
    ids=["no-restart", "restart", "limited", "stopped"],
)
def test_interrupted_accepts_are_counted_as_their_caller_sees_them(
    tracing: Tracing, sent: Sequence[int], options: Sequence[str], seen_by_caller: int
) -> None:
    with running(INTERRUPTED, *options) as (server, port):
        assert server.stdout is not None
        account = tracing.of(port)
        for _ in range(SIGNALS):
            wait_until(lambda: sleeps_in_accept(server.pid), "it sleeps in accept()")
            for number in sent:
                server.send_signal(number)
            if seen_by_caller:
                assert server.stdout.readline() == f"{errno.EINTR}\n"
            wait_until(lambda: is_back_in_accept(server.pid), "it sleeps in accept() again")
        with socket.create_connection(("127.0.0.1", port)):
            assert server.stdout.readline() == "accepted\n"
        (row,) = account.snapshot().acceptors
    assert (row.pid, row.accepts) == (server.pid, 1)
    if tracing.plan.sees.errors:
        errors = {"EINTR": seen_by_caller} if seen_by_caller else {}
        assert (row.errors, row.failed_accepts) == (errors, seen_by_caller)
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
    assert errors == ([{"EMFILE": FAILURES}] if tracing.plan.sees.errors else [])
    assert [row.refused_accepts for row in snapshot.listeners] == [
        FAILURES if tracing.plan.sees.refused else None
    ]
