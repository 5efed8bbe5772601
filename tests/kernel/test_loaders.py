"""libbpf and bcc at the same time, on the same connections: the same numbers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from accepttrace.config import Filters
from accepttrace.facts.buckets import BUCKETS
from accepttrace.facts.records import AcceptorCount, Counts, ListenerCount
from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.model.histogram import add
from accepttrace.probe.load import btf
from accepttrace.probe.load.bcc import BY_HEADERS
from accepttrace.probe.load.headers import found
from accepttrace.probe.load.loaders import NAMES
from accepttrace.probe.session import Session

from .conftest import ACCEPTTRACE, Tracing, Way, attached, offered, wait_until
from .test_cli import START_S, lines, programs_loaded, started
from .test_udp import CLIENTS, all_received, group, send, udp_session
from .udpserver import UdpServer

CONNECTIONS = 500
QUEUED = 20
TIMES = dict.fromkeys(("came_us", "left_us", "waited_us", "carried_us"), 0)
HOLD_S = 0.3  # its buckets are 32 ms wide
# Runs a command where BTF is hidden. Only /sys is cut off from the mounts outside: / need not be a
# mount point (chroot).
WITHOUT_BTF = (
    *("unshare", "--mount", "--propagation", "unchanged", "sh", "-c"),
    'mount --make-rprivate /sys && mount -t tmpfs none /sys/kernel/btf && exec "$@"',
    "sh",
)
TYPES = sorted({way.attach for way in offered()})


@pytest.fixture(scope="module", params=TYPES)
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Session, Session]]:
    """One session by each loader, for all tests: under emulation bcc compiles for a minute."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(attached(Way(request.param, name))) for name in NAMES)
        assert (one.loader, two.loader) == NAMES
        yield one, two


def begin(both: tuple[Session, Session], port: int) -> None:
    """Count for one port from now on."""
    for session in both:
        Tracing(session).of(port)


def rows(counts: Counts) -> dict[tuple[int, int], AcceptorCount]:
    return {(item.listener_inode, item.tid): item for item in counts.acceptors}


def facts(item: AcceptorCount) -> tuple[object, ...]:
    """All that must be the same to the last one. Every accept is in one bucket or unknown."""
    assert sum(item.wait_us) + item.wait_unknown == item.accepts
    times = (item.start_ns, item.process_start_ns)
    who = (item.pid, item.comm)
    failed = (item.empty, item.wasted, item.errors, item.refused)
    return (*times, *who, item.via, item.accepts, *failed, item.wait_unknown)


def untimed(counts: Counts) -> list[ListenerCount]:
    """All that was counted of listeners, without what differs from one moment to the next.

    Those are the sums of moments, and the queue, which may grow or shrink between two programs.
    """
    return [
        replace(item, queue_max=0, flow=item.flow and replace(item.flow, **TIMES))
        for item in sorted(counts.listeners, key=lambda item: item.inode)
    ]


def cumulated(counts: Counts) -> list[list[int]]:
    """For each acceptor, how many accepts had waited no longer than each bucket."""
    none: Sequence[int] = (0,) * BUCKETS
    whole = (add(item.wait_us, none) for _, item in sorted(rows(counts).items()))
    return [list(accumulate(each)) for each in whole]


def later(one: Counts, two: Counts) -> tuple[list[list[int]], list[list[int]]]:
    """Histograms of the loader whose programs ran first, and of the other.

    On one hook the programs of one loader always run before those of the other, and both subtract
    the same time stamp of the kernel: no connection can have waited less for the second. Where the
    buckets differ at all, they must differ in that direction for every acceptor.
    """
    first, second = cumulated(one), cumulated(two)
    if any(a < b for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)):
        first, second = second, first
    for x, y in zip(first, second, strict=True):
        assert all(a >= b for a, b in zip(x, y, strict=True))
    return first, second


@pytest.mark.parametrize("mode", ["epoll", "blocking", "reuseport", "threads"])
def test_both_count_the_same_connections_to_the_last(
    both: tuple[Session, Session], mode: str
) -> None:
    with Server(mode, workers=4) as server:
        begin(both, server.port)
        load = run_load(server.addresses, CONNECTIONS, concurrency=8)
        server.stop()
        one, two = (session.counts() for session in both)
    assert load.connected == CONNECTIONS == sum(item.accepts for item in one.acceptors)
    assert {key: facts(item) for key, item in rows(one).items()} == {
        key: facts(item) for key, item in rows(two).items()
    }
    assert untimed(one) == untimed(two)
    assert (one.ports, one.migrations) == (two.ports, two.migrations)
    assert one.losses.map_full == two.losses.map_full == 0
    assert one.losses.unattributed == two.losses.unattributed == 0
    later(one, two)


def test_buckets_differ_between_neighbours_at_most(both: tuple[Session, Session]) -> None:
    """Where a bucket is wider than the time between two programs: one connection, one step."""
    with Server("epoll", workers=2) as server:
        begin(both, server.port)
        hold(server)
        one, two = (session.counts() for session in both)
    assert sum(item.accepts for item in one.acceptors) == QUEUED
    first, second = later(one, two)
    for x, y in zip(first, second, strict=True):
        assert all(a <= b for a, b in zip(x, y[1:], strict=False))


def hold(server: Server) -> None:
    """Connect to paused workers, and let them accept after the wait."""
    server.pause()
    clients = [socket.create_connection(server.addresses[0], 5) for _ in range(QUEUED)]
    time.sleep(HOLD_S)  # the wait itself is what is measured
    server.resume()
    wait_until(lambda: sum(c.accepts for c in server.counts()) == QUEUED, "all accepted")
    for client in clients:
        client.close()


@pytest.mark.parametrize("attach", TYPES, ids=[f"{attach}-datagrams" for attach in TYPES])
def test_both_count_the_same_datagrams(attach: str) -> None:
    port, sockets = group(socket.AF_INET)
    filters = Filters(ports=frozenset({port}))
    with ExitStack() as stack:
        one, two = (stack.enter_context(udp_session(Way(attach, loader))) for loader in NAMES)
        for session in (one, two):
            session.filter(filters)
            session.reset()
        server = stack.enter_context(UdpServer(sockets))
        send(socket.AF_INET, port)
        received = all_received(server, CLIENTS)
        counts = [session.counts() for session in (one, two)]
        queues = [{q for q in s.queues() if q.inode in received} for s in (one, two)]
    for reading in counts:
        assert reading.losses.map_full == reading.losses.unattributed == 0
        if one.plan.sees.datagrams:
            assert {row.inode: row.datagrams for row in reading.receivers} == received
            assert {row.inode: row.selected for row in reading.receivers} == received
    assert set(counts[0].receivers) == set(counts[1].receivers)
    if btf.VMLINUX.exists():
        assert len(queues[0]) == len(received)
    # What it placed by headers has no iterator, and so knows no queue.
    assert queues[1] == (set() if os.environ.get(BY_HEADERS) else queues[0])


def test_both_read_the_same_group_members(both: tuple[Session, Session]) -> None:
    one, two = both
    with Server("reuseport", workers=3) as server:
        inodes = {count.inode for count in server.counts()}
        listening = [s.listening() for s in (one, two)]
        members = [{inode: found.get(inode) for inode in inodes} for found in listening]
    assert all(members[0].values())
    # What is placed by headers has no iterator, and so knows no group.
    if os.environ.get(BY_HEADERS):
        assert members[1] == dict.fromkeys(inodes)
        return
    for inode, fact in members[0].items():
        assert fact is not None
        assert fact.options is not None
        assert fact.options.reuseport
        # bcc cannot place a bit, and finds no place in a group.
        unknown = replace(fact, options=fact.options._replace(reuseport=None, place=None))
        assert members[1][inode] == unknown


def test_the_command_with_bcc_prints_nothing_of_the_compiler(tmp_path: Path) -> None:
    options = ("--attach", TYPES[0], "--loader", "bcc", "-o", "jsonl", "-d", "0.2")
    with started(*options, ready=tmp_path / "ready") as process:
        out, err = process.communicate(timeout=START_S)
    assert (process.returncode, err) == (0, "")
    assert lines(out)[0]["loader"] == "bcc"


def test_nothing_of_bcc_stays_after_sigkill(tmp_path: Path) -> None:
    before = programs_loaded()
    options = ("--attach", TYPES[0], "--loader", "bcc")
    with started(*options, ready=tmp_path / "ready") as process:
        mine = programs_loaded() - before
        process.kill()
        process.wait()
        wait_until(lambda: not mine & programs_loaded(), "the kernel freed the programs")
    assert not list(Path("/sys/kernel/tracing").glob("events/kprobes/*accept*"))


def test_without_visible_btf_bcc_is_used_or_what_it_lacks_is_named() -> None:
    command = (*ACCEPTTRACE, "--attach", "tracepoint", "-o", "jsonl", "-d", "0.2")
    done = subprocess.run((*WITHOUT_BTF, *command), capture_output=True, text=True)
    if found() is None:
        assert done.returncode == 77
        assert "no headers of the running kernel" in done.stderr
        assert "linux-headers-" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout.splitlines()[0])["loader"] == "bcc"


def test_libbpf_without_visible_btf_is_an_error_that_names_bcc() -> None:
    command = (*ACCEPTTRACE, "--loader", "libbpf")
    done = subprocess.run((*WITHOUT_BTF, *command), capture_output=True, text=True)
    assert done.returncode == 77
    assert "--loader bcc" in done.stderr
