"""Workers that tell each client who accepted it, and clients that log every connection."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .clients import listen


class Logged(NamedTuple):
    """What a client knows of its connection. Times: CLOCK_REALTIME, in nanoseconds."""

    peer: tuple[str, int]
    pid: int  # that served it, as it says itself
    began_ns: int  # before the call of connect()
    connected_ns: int  # when it returned
    answered_ns: int  # when the worker's answer was there


@contextmanager
def echoing(listeners: list[socket.socket], comm: bytes = b"") -> Iterator[list[int]]:
    """A forked worker for each listener, called `comm`; their PIDs."""
    pids: list[int] = []
    try:
        for listener in listeners:
            pid = os.fork()
            if not pid:
                _serve(listener, comm)
            pids.append(pid)
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _serve(listener: socket.socket, comm: bytes) -> None:
    try:
        if comm:
            Path("/proc/self/comm").write_bytes(comm)
        listener.setblocking(True)
        while True:
            connection, _ = listener.accept()
            connection.sendall(str(os.getpid()).encode())
            connection.close()
    finally:
        os._exit(1)


def connect(address: tuple[str, int]) -> Logged:
    """One connection, from the first packet to the worker's answer."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        began_ns = time.time_ns()
        client.connect(address)
        connected_ns = time.time_ns()
        pid = int(client.recv(16))
        return Logged(client.getsockname()[:2], pid, began_ns, connected_ns, time.time_ns())


@contextmanager
def group(number: int, family: str = "ipv4") -> Iterator[list[socket.socket]]:
    """So many listeners of one SO_REUSEPORT group."""
    first = listen(64, family=family, reuseport=True)
    port = first.getsockname()[1]
    rest = [listen(64, family=family, port=port, reuseport=True) for _ in range(number - 1)]
    try:
        yield [first, *rest]
    finally:
        for one in (first, *rest):
            one.close()
