"""`top` on AF_UNIX: each accept by the worker's and the clients' own count, queues as `ss`."""

from __future__ import annotations

import os
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from accepttrace.model.conditions import Condition, judge
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from tests.unit.forked import child

from .conftest import Way, offered, wait_until
from .conftest import name as way_name
from .unixlisteners import ss_queue, traced, unix_listener
from .uring import by_ring, ring

KINDS = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}
ABSTRACT = f"@accepttrace-top-{os.getpid()}"
WORKERS, CONNECTIONS = 3, 60


def address(name: str) -> str:
    """As bind() takes it."""
    return "\0" + name[1:] if name.startswith("@") else name


def taken_by(snapshot: Snapshot) -> dict[int | None, int]:
    """By PID, of those that took any."""
    return {row.pid: row.accepts for row in snapshot.acceptors if row.accepts}


def only(snapshot: Snapshot) -> tuple[ListenerRow, AcceptorRow]:
    """One listener and one row."""
    (listener,), (acceptor,) = snapshot.listeners, snapshot.acceptors
    return listener, acceptor


def answering(sock: socket.socket) -> Callable[[], None]:
    """A worker that tells each client its PID, as long as it lives."""

    def run() -> None:
        while True:
            connection, _ = sock.accept()
            connection.send(str(os.getpid()).encode())
            connection.close()

    return run


def served_by(name: str, kind: int) -> int:
    """One connection: the PID of who accepted it."""
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(address(name))
        return int(client.recv(16))


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def if_counted(way: Way, *counts: int) -> tuple[int | None, ...]:
    """What is not seen is not 0."""
    return tuple(None if way.attach == "tracepoint" else one for one in counts)


@pytest.fixture(params=offered(), ids=way_name)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["path", "abstract"])
def test_each_accept_is_counted_for_the_worker_that_the_client_met(
    way: Way, tmp_path: Path, place: str, kind: str
) -> None:
    """Also the first of each, who slept in accept() when it was attached."""
    name = str(tmp_path / "s") if place == "path" else ABSTRACT
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(address(name), 17, KINDS[kind]))
        workers = {stack.enter_context(child(answering(sock))) for _ in range(WORKERS)}
        wait_until(lambda: all(map(is_asleep, workers)), "accept()")
        other = stack.enter_context(unix_listener(f"{tmp_path}/other"))
        subject = stack.enter_context(traced(name, way=way))
        met = Counter(served_by(name, KINDS[kind]) for _ in range(CONNECTIONS))
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(f"{tmp_path}/other")
            other.accept()[0].close()
        snapshot = subject.refresh()
        assert taken_by(snapshot) == met
        (row,) = snapshot.listeners
        assert (row.local_address, row.family, row.accepted) == (name, "unix", CONNECTIONS)
        assert (row.queue, row.backlog) == ss_queue(name) == (0, 17)
        rows = {one.pid: one for one in snapshot.acceptors}
        assert rows.keys() == {*workers, os.getpid()}  # who only holds it has a row
        assert sum(one.share or 0 for one in rows.values()) == pytest.approx(1)
        if way.attach == "tracepoint":
            assert {one.wait_p50_us for one in rows.values()} == {None}
        else:
            assert sum(sum(one.wait_histogram) for one in rows.values()) == CONNECTIONS
        assert {one.empty_accepts for one in rows.values()} <= {0}
        (verdict,) = snapshot.verdicts
        assert (verdict.finding.connections, verdict.finding.members) == (CONNECTIONS, WORKERS)


@by_ring
def test_accepts_by_a_ring_are_counted_where_the_hook_is_in_the_kernel(
    way: Way, tmp_path: Path
) -> None:
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(name))
        sock.setblocking(True)  # else io_uring would not wait either
        accepting = stack.enter_context(ring())
        subject = stack.enter_context(traced(name, way=way))
        for _ in range(5):
            accepting.accept(sock)
        for _ in range(5):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(name)
        for done in accepting.wait(5):
            assert done.result >= 0, os.strerror(-done.result)
            os.close(done.result)
        seen = {} if way.attach == "tracepoint" else {os.getpid(): 5}
        assert taken_by(subject.refresh()) == seen


def test_what_finds_nothing_and_what_has_no_descriptor_is_counted(way: Way, tmp_path: Path) -> None:
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(name))
        sock.setblocking(False)
        subject = stack.enter_context(traced(name, way=way))
        for _ in range(5):
            with pytest.raises(BlockingIOError):
                sock.accept()
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        began_ns = time.monotonic_ns()
        for each in clients:
            each.connect(name)
        queued_ns = time.monotonic_ns()
        assert only(subject.refresh())[0].queue == ss_queue(name)[0] == 3
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            for _ in range(2):
                with pytest.raises(OSError, match="Too many open files"):
                    sock.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        called_ns = time.monotonic_ns()
        sock.accept()[0].close()
        accepted_ns = time.monotonic_ns()
        listener, row = only(subject.refresh())
        assert (row.pid, row.accepts, row.empty_accepts) == (os.getpid(), 1, 5)
        knows = way.attach != "kprobe"
        assert (row.failed_accepts, row.errors) == ((2, {"EMFILE": 2}) if knows else (None, None))
        assert (listener.refused_accepts, listener.queue) == (2, 2)
        if way.attach == "tracepoint":
            assert row.wait_max_us is None
        else:  # clocks of whole microseconds
            assert row.wait_max_us is not None
            least, most = called_ns - queued_ns, accepted_ns - began_ns
            assert least // 1000 - 1 <= row.wait_max_us <= most // 1000 + 1
        passed = (listener.arrived, listener.dropped_overflow, listener.lost_on_close)
        assert passed == if_counted(way, 3, 0, 0)
        assert listener.queue_max == 3
        assert listener.queue_max_sampled == (way.attach == "tracepoint")
        assert listener.book == ("unchecked" if way.attach == "tracepoint" else "balanced")


@contextmanager
def connected(name: str, number: int) -> Iterator[list[socket.socket]]:
    """So many clients."""
    with ExitStack() as opened:
        clients = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(number)]
        for each in clients:
            each.connect(name)
            each.settimeout(10)
        yield clients


def turned_away(name: str, wait_s: float, number: int) -> int:
    """How many of so many clients find no room."""
    found = 0
    for _ in range(number):
        with socket.socket(socket.AF_UNIX) as client:
            limit = struct.pack("@ll", 0, round(wait_s * 1e6))
            client.setblocking(wait_s > 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            try:
                client.connect(name)
            except BlockingIOError:
                found += 1
    return found


def test_who_finds_no_room_is_counted_as_the_client_knows_it(way: Way, tmp_path: Path) -> None:
    """Who never waits, who gives up, who is let in after all; and what the close resets."""
    name = str(tmp_path / "s")

    def come_late() -> None:
        sock.close()  # which it would keep open
        served_by(name, socket.SOCK_STREAM)

    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(name, 1))
        subject = stack.enter_context(traced(name, way=way))
        sees = subject._session.plan.sees
        assert sees.overflow == (way.attach != "tracepoint")
        clients = stack.enter_context(connected(name, 2))
        refused = turned_away(name, 0, 5), turned_away(name, 0.004, 2)
        late = stack.enter_context(child(come_late))
        wait_until(lambda: is_asleep(late), "connect()")
        (listener,) = subject.refresh().listeners
        sleepers = 3 if sees.overflow else None
        assert (listener.dropped_overflow,) == if_counted(way, sum(refused))
        assert listener.counted.get("blocked") == sleepers
        accepted, _ = sock.accept()  # there is room: the late one comes in
        wait_until(lambda: ss_queue(name)[0] == 2, "the late one")
        accepted.close()
        snapshot = subject.refresh()
        (listener,) = snapshot.listeners
        assert (taken_by(snapshot), listener.queue) == ({os.getpid(): 1}, 2)
        passed = (listener.arrived, listener.dropped_overflow, listener.lost_on_close)
        assert passed == if_counted(way, 3, sum(refused), 0)
        (outcome,) = judge([Condition("no-loss", 0)], snapshot)
        assert (outcome.held, outcome.measured) == (
            (False, sum(refused)) if sees.overflow else (None, None)
        )
        sock.close()
        with pytest.raises(ConnectionResetError):
            clients[1].recv(1)
        (listener,) = subject.refresh().listeners
        assert (listener.lost_on_close,) == if_counted(way, 2)
        assert (listener.dropped_overflow, listener.overflow_syn) == (*if_counted(way, 7), None)
        assert listener.book == ("unchecked" if way.attach == "tracepoint" else "balanced")


def test_with_less_detail_accepts_alone_are_counted(way: Way, tmp_path: Path) -> None:
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(name, 1))
        subject = stack.enter_context(traced(name, way=way, detail="waits"))
        assert subject._session.plan.sees.facts == {"accepts"}
        stack.enter_context(connected(name, 2))
        turned_away(name, 0, 1)
        sock.accept()[0].close()
        listener, row = only(subject.refresh())
        assert (row.pid, row.accepts, listener.queue) == (os.getpid(), 1, 1)
        assert (row.wait_max_us, row.empty_accepts, listener.refused_accepts) == (None,) * 3
        assert (listener.arrived, listener.dropped_overflow, listener.lost_on_close) == (None,) * 3


@by_ring
def test_a_ring_that_looks_first_and_then_waits_is_not_refused(way: Way, tmp_path: Path) -> None:
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(name, 0))
        connecting = stack.enter_context(ring())
        subject = stack.enter_context(traced(name, way=way))
        stack.enter_context(connected(name, 1))
        connecting.connect(stack.enter_context(socket.socket(socket.AF_UNIX)), name)
        if subject._session.plan.sees.overflow:
            wait_until(lambda: only(subject.refresh())[0].counted["blocked"] == 1, "connect()")
        sock.accept()[0].close()
        assert [done.result for done in connecting.wait(1)] == [0]
        listener, row = only(subject.refresh())
        assert (listener.dropped_overflow, listener.arrived) == if_counted(way, 0, 2)
        assert (row.accepts, listener.queue) == (1, 1)


def test_a_full_queue_is_said(tmp_path: Path) -> None:
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        stack.enter_context(unix_listener(name, 1))
        subject = stack.enter_context(traced(name))
        for _ in range(2):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(name)
        listener, row = only(subject.refresh())
        assert (listener.queue, listener.capacity) == (2, 2)
        assert listener.queue_full_s is not None
        assert (row.pid, row.accepts) == (os.getpid(), 0)


def test_who_listens_anew_on_a_path_goes_on_in_a_row_of_its_own(tmp_path: Path) -> None:
    name = str(tmp_path / "s")
    with traced(name) as subject:
        for _ in range(2):
            with unix_listener(name) as sock, child(answering(sock)) as worker:
                assert [served_by(name, socket.SOCK_STREAM) for _ in range(4)] == [worker] * 4
                snapshot = subject.refresh()
                assert taken_by(snapshot)[worker] == 4
            os.unlink(name)
        snapshot = subject.refresh()
    assert sum(row.accepts for row in snapshot.acceptors) == 8
    assert {row.local_address for row in snapshot.acceptors} == {name}


def test_nothing_stays_behind_of_names_that_were_not_asked_for(tmp_path: Path) -> None:
    """Nobody else would let go their rows, and the kernel's maps would fill."""
    other = str(tmp_path / "other")

    def taken_by_one_that_ends() -> None:
        with child(lambda: sock.accept()[0].close()), socket.socket(socket.AF_UNIX) as one:
            one.connect(other)
            assert one.recv(1) == b""  # it has been accepted, and counted

    with traced(str(tmp_path / "asked")) as subject:
        with unix_listener(other) as sock:
            rows = subject._session.counts
            inode = os.fstat(sock.fileno()).st_ino
            for _ in range(3):
                taken_by_one_that_ends()
            before = [one for one in rows().acceptors if one.listener_inode == inode]
            assert len(before) == 3
            for _ in range(2):
                subject.refresh()
            assert not [one for one in rows().acceptors if one.listener_inode == inode]
            taken_by_one_that_ends()
        for _ in range(2):
            subject.refresh()
        assert inode not in {one.inode for one in rows().listeners}
        assert not subject._source._asked
