"""Who holds a listener and who waits on it, against `ss` and what the processes do."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Inventory
from accepttrace.lab.servers import Server
from accepttrace.sockets.inventory import InventoryReader

from . import uring
from .clients import listen, port_of
from .conftest import iterator, wait_until

MANY, STEPS = 200, 30  # the buffer of 32 KiB ends amid them; what is written of one has 200 bytes
READ_S = 30.0
NEVER = "BPF may not list open files here"
EXPECTED = {
    "epoll": "epoll",
    "reuseport": "epoll",
    "blocking": "accept",
    "threads": "accept",
}


def look(port: int) -> Inventory:
    """By the kernel's list of open files alone."""
    found = iterator()
    if found is None:
        pytest.skip(NEVER)
    reader = InventoryReader(Filters(ports=frozenset({port})), found)
    try:
        return reader.read(full=True)
    finally:
        reader.close()


def ss_holders(port: int) -> set[tuple[int, int]]:
    """(PID, descriptor) of every holder, as `ss -ltnp` shows them."""
    command = ["ss", "-Hltnp", f"sport = :{port}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {(int(pid), int(fd)) for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", lines)}


@pytest.mark.parametrize("mode", EXPECTED)
def test_holders_are_those_of_ss_and_workers_wait(mode: str) -> None:
    with Server(mode, workers=4) as server:
        workers = {count.pid for count in server.counts()}

        def waiting() -> dict[int, str | None]:
            rows = look(server.port).listeners
            return {h.pid: h.waits_in for row in rows for h in row.holders if h.waits}

        wait_until(lambda: waiting() == dict.fromkeys(workers, EXPECTED[mode]), mode)
        rows = look(server.port).listeners
        mine = {(h.pid, h.fd) for row in rows for h in row.holders}
        assert mine == ss_holders(server.port)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen(10) as sock:
        yield sock


def test_who_waits_through_io_uring_is_named(listener: socket.socket) -> None:
    try:
        opened = uring.Ring(8)
    except OSError as error:
        pytest.skip(f"no io_uring here: {error}")
    try:
        opened.accept(listener)
        (row,) = look(port_of(listener)).listeners
        ways = {holder.pid: holder.waits_in for holder in row.holders}
    finally:
        opened.close()
    assert ways[os.getpid()] == "io_uring"


def test_nobody_is_lost_where_the_kernels_buffer_ends() -> None:
    """What is listed first moves all others on, so that the end falls on each part of a process."""
    found = iterator()
    if found is None:
        pytest.skip(NEVER)
    found.ask(())
    with Server("reuseport", workers=MANY) as server, ExitStack() as stack:
        workers = set(server.pids)
        for _ in range(STEPS):
            holdings = found.read(READ_S)
            assert holdings is not None
            assert workers <= {table.pid for table in holdings.tables if table.fds}
            assert workers <= holdings.epolls.keys()
            waiters = [one for one in holdings.waiters.values() if one.found]
            assert len(waiters) >= MANY
            stack.enter_context(listen(1))
