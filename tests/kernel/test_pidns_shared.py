"""Inside a PID namespace of its own: who takes from sockets that others share beyond it."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import pytest

from accepttrace.config import Config, Filters
from accepttrace.facts.connections import Wish
from accepttrace.facts.records import OUTSIDE
from accepttrace.probe.unix import open_unix
from accepttrace.run.udp import UdpSubject
from accepttrace.run.unix import UnixSubject
from accepttrace.run.unixeventsource import UnixEventSource

from .conftest import iterator
from .pidspaces import below, beside
from .test_top_unix import address
from .unixlisteners import unix_listener

CLIENTS: Final = 40
LATE_S: Final = 120
# Servers end after their test, so that a name is not free at once.
ACCEPTS, EVENTS = (f"@accepttrace-{what}-{os.getpid()}" for what in ("accepts", "events"))
Take = Callable[[bytes], object]  # one connection or packet, and answer with the label
LABELS: Final = ("inside", "outside")
# What a tracer there counted until it is asked, once it is told that all is done.
Trace = Callable[[Callable[[], None]], Any]


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid():
        pytest.skip("a PID namespace needs root")


def in_turns(take: Take, stack: ExitStack) -> list[Callable[[], None]]:
    """A server for each label: none takes twice in a row."""
    pipes = [os.pipe() for _ in LABELS]
    for each in pipes:
        for fd in each:
            stack.callback(os.close, fd)

    def serve(own: int) -> None:
        while True:
            os.read(pipes[own][0], 1)
            take(LABELS[own].encode())
            os.write(pipes[1 - own][1], b".")

    os.write(pipes[0][1], b".")
    return [partial(serve, own) for own in range(len(LABELS))]


def within(take: Take, trace: Trace, ask: Callable[[], str]) -> tuple[int, Any]:
    """The PID of a server inside, as the tracer beside it has it, and what that found."""
    ours, theirs = socket.socketpair()
    ours.settimeout(LATE_S)

    with ours, ExitStack() as there:
        inside, outside = in_turns(take, there)

        def run() -> None:
            ours.close()
            with beside(inside) as pid:
                iterator.cache_clear()  # that is of a process in another namespace
                theirs.sendall(json.dumps([pid, trace(lambda: ready(theirs))]).encode())

        there.enter_context(beside(outside))
        there.enter_context(below(run))
        theirs.close()
        assert ours.recv(5) == b"ready"
        assert Counter(ask() for _ in range(CLIENTS)) == dict.fromkeys(LABELS, CLIENTS // 2)
        ours.sendall(b".")
        pid, found = json.loads(ours.recv(65536))
    return pid, found


def ready(channel: socket.socket) -> None:
    """Say so, and wait until all is done."""
    channel.sendall(b"ready")
    channel.recv(1)


def connected(name: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LATE_S)
        client.connect(address(name))
        return client.recv(16).decode()


def accepting(sock: socket.socket) -> Take:
    def take(label: bytes) -> None:
        connection, _ = sock.accept()
        connection.sendall(label)
        connection.close()

    return take


def test_accepts_from_a_unix_socket() -> None:
    def trace(until: Callable[[], None]) -> list[Any]:
        with UnixSubject(Config(unix=frozenset((ACCEPTS,)))) as subject:
            subject.refresh()
            until()
            rows = subject.refresh().acceptors
        return [[row.pid, row.name, row.accepts] for row in rows if row.accepts]

    with unix_listener(address(ACCEPTS), CLIENTS) as sock:
        pid, found = within(accepting(sock), trace, partial(connected, ACCEPTS))
    assert {row[0]: row[2] for row in found} == dict.fromkeys((pid, None), CLIENTS // 2)
    assert [row[1] for row in found if row[0] is None] == [OUTSIDE]


def test_events_of_a_unix_socket() -> None:
    """The clients are all outside, so that they have no PID here either."""

    def trace(until: Callable[[], None]) -> list[Any]:
        config = Config(unix=frozenset((EVENTS,)), events=True)
        with open_unix(config) as session:
            source = UnixEventSource(session, config)
            source.begin(Wish(frozenset(("accept",))))
            until()
            events = [one for batch in source.batches() for one in batch]
            source.close()
        return [[one.pid, one.tid, one.path, one.peer_pid, one.peer_uid] for one in events]

    with unix_listener(address(EVENTS), CLIENTS) as sock:
        pid, found = within(accepting(sock), trace, partial(connected, EVENTS))
    assert Counter(one[0] for one in found) == dict.fromkeys((pid, None), CLIENTS // 2)
    assert all(one[0] == one[1] for one in found)
    assert {tuple(one[2:]) for one in found} == {(EVENTS, None, os.getuid())}


def test_reads_from_a_udp_socket() -> None:
    def take(label: bytes) -> None:
        _, client = sock.recvfrom(16)
        sock.sendto(label, client)

    def ask() -> str:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(LATE_S)
            client.sendto(b"?", place)
            return client.recv(16).decode()

    def trace(until: Callable[[], None]) -> list[Any] | None:
        filters = Filters(ports=frozenset((place[1],)))
        with UdpSubject(Config(filters, udp=True)) as subject:
            subject.refresh()
            until()
            (row,) = subject.refresh().sockets
        if row.readers is None:
            return None
        return [[one.pid, one.name, one.packets] for one in row.readers if one.packets]

    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        place = sock.getsockname()
        pid, found = within(take, trace, ask)
    if found is None:
        pytest.skip("before 6.3 trampolines alone see who reads")
    assert {one[0]: one[2] for one in found} == dict.fromkeys((pid, None), CLIENTS // 2)
    assert [one[1] for one in found if one[0] is None] == [OUTSIDE]
