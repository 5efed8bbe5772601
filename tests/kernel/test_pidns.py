"""Inside a PID namespace of its own the tracer has PIDs as they are seen there."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.records import OUTSIDE
from accepttrace.probe.holders import HolderIterator
from accepttrace.probe.session import Session, open_session

from .clients import inode_of, port_of
from .conftest import ATTEMPTS, EXPECTED, Account, Way, iterator, name, offered, wait_until
from .echoing import group
from .pidspaces import below, beside, serving
from .reading import settled

CLIENTS = 60
SERVERS = ("inside", "nested", "outside", "sibling")
SLEEPERS = 5  # one of each, but two outside
LATE_S = 300  # a session in an emulated machine


def opened(way: Way) -> Session:
    return open_session(Config(attach=way.attach, loader=way.loader))  # type: ignore[arg-type]


def waiters(listeners: list[socket.socket]) -> list[list[int]]:
    """Of each, who sleeps in accept(), by the kernel's list of open files."""
    inodes = [inode_of(listener) for listener in listeners]
    found: list[list[int]] = []

    def all_sleep() -> bool:
        now = files.read(LATE_S)
        assert now is not None
        found[:] = [[one.who for one in now.waiters[inode].found] for inode in inodes]
        return sum(map(len, found)) == SLEEPERS

    with HolderIterator() as files:
        files.ask([port_of(listeners[0])])
        wait_until(all_sleep, "all servers wait", LATE_S)
    return found


def found_by(
    way: Way, filters: Filters, channel: socket.socket, listeners: list[socket.socket]
) -> dict[str, Any]:
    """What a tracer in this very namespace counts until the channel says that all is done."""
    try:
        session = opened(way)
    except UnsupportedError as error:
        return {"refused": error.message}
    with session:
        session.filter(filters)
        iterator.cache_clear()  # that is of a process in another namespace
        account = Account(session, filters)
        channel.sendall(b"ready")
        channel.recv(1)
        picture = settled(account, "process")
        waiting = waiters(listeners)
        kept = sum(not one.pid for one in session.counts().acceptors)
        skipped = sum((session.skipped() or {}).values())
    rows = [row for row in picture.acceptors if row.accepts]
    return {
        "rows": [(row.pid, row.accepts) for row in rows],
        "unnamed": [row.name for row in rows if row.pid is None],
        "waiting": waiting,
        "kept": kept,
        "book": picture.books.word,
        "skipped": skipped,
    }


def traced(way: Way, *, alone: bool) -> tuple[Counter[str], dict[str, Any]]:
    """What each server told its clients, and what a tracer in a namespace of its own found.

    `alone`: it asks for the process beside it alone. `pids`: those of servers as it sees them.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(LATE_S)
    with group(len(SERVERS)) as listeners, ours, ExitStack() as there:
        port = port_of(listeners[0])
        inside, nested, outside, sibling = listeners

        def trace() -> None:
            ours.close()
            with (
                beside(serving(inside, "inside")) as pid,
                below(serving(nested, "nested")) as other,
            ):
                filters = Filters(ports=frozenset({port}), pids=frozenset({pid} if alone else ()))
                found = found_by(way, filters, theirs, listeners)
                found |= {"inside": pid, "nested": other}
                theirs.sendall(json.dumps(found).encode())

        for _ in range(2):
            there.enter_context(beside(serving(outside, "outside")))
        there.enter_context(below(serving(sibling, "sibling")))
        there.enter_context(below(trace))
        theirs.close()
        answer = ours.recv(65536)
        took: Counter[str] = Counter()
        if answer == b"ready":
            took, told = connected(port)
            ours.sendall(b".")
            answer = ours.recv(65536)
        found = json.loads(answer)
        found["rows"] = {tuple(row) for row in found.get("rows", ())}
        if took:
            assert told["nested"] == told["sibling"] == 1
            assert told["inside"] == found["inside"]
        return took, found


def connected(port: int) -> tuple[Counter[str], dict[str, int]]:
    """By label, the connections that a server told of, and its PID as it sees itself."""
    took: Counter[str] = Counter()
    told: dict[str, int] = {}
    for _ in range(CLIENTS):
        with socket.create_connection(("127.0.0.1", port), LATE_S) as client:
            label, pid = client.recv(64).decode().split()
            took[label] += 1
            told[label] = int(pid)
    return took, told


def complete(way: Way, *, alone: bool) -> tuple[Counter[str], dict[str, Any]]:
    """As `traced`, and no hook was skipped."""
    for _ in range(ATTEMPTS):
        took, found = traced(way, alone=alone)
        if "refused" in found and way.attach not in EXPECTED:
            pytest.skip(f"{way}: {found['refused']}")
        assert "refused" not in found
        if not found["skipped"]:
            assert set(took) == set(SERVERS)
            return took, found
    pytest.fail("hooks were skipped in each attempt")


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid():
        pytest.skip("a PID namespace needs root")


@pytest.mark.parametrize("way", offered(), ids=name)
def test_pids_are_those_of_the_tracers_own_namespace(way: Way) -> None:
    took, found = complete(way, alone=False)
    # Two have the same PID as they see themselves: in the tracer's namespace it is neither's.
    assert found["rows"] == {
        (found["inside"], took["inside"]),
        (found["nested"], took["nested"]),
        (None, took["outside"] + took["sibling"]),
    }
    assert found["unnamed"] == [OUTSIDE]
    assert found["kept"] == 2  # a row of each listener: nobody knows when one of them ends
    assert found["waiting"] == [[found["inside"]], [found["nested"]], [0, 0], [0]]
    assert found["book"] == "balanced"


@pytest.mark.parametrize("way", offered(), ids=name)
def test_a_pid_asked_for_is_one_of_the_tracers_own_namespace(way: Way) -> None:
    took, found = complete(way, alone=True)
    assert found["rows"] == {(found["inside"], took["inside"])}
