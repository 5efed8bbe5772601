"""Each connection as an event, against the clients' own log of them."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from collections.abc import Iterator
from threading import Thread

import pytest

from accepttrace.config import Filters
from accepttrace.facts.connections import Called, ConnectionEvent, Kind, Wish
from accepttrace.probe.connections import Connections
from accepttrace.run.eventsource import EventSource

from .clients import address_of, inode_of, listen, port_of
from .conftest import NOBODY, Tracing, Way, attached, name, offered
from .echoing import Logged, connect, echoing, group

CONNECTIONS = 40
CHURN = 1_100  # listeners: more than a sixteenth of what the map holds
CLOCKS_US = 1_000  # between two clocks that are read one after the other
ALL: frozenset[Kind] = frozenset(("accept", "failed", "reset", "dropped"))


@pytest.fixture(scope="module", params=offered(), ids=name)
def writing(request: pytest.FixtureRequest) -> Iterator[Tracing]:
    """A session whose events are written."""
    way: Way = request.param
    if way.loader == "bcc":
        pytest.skip("bcc writes no events")
    with attached(way, events=True) as session:
        yield Tracing(session)


class Events:
    """Those of one port from now on."""

    def __init__(self, tracing: Tracing, port: int, wish: Wish) -> None:
        self._session = tracing.session
        self._connections: Connections = self._session.connections(lambda *_: Called(""))
        self._session.filter(NOBODY)
        self._session.reset()
        self._connections.begin(wish)
        self._session.filter(Filters(ports=frozenset((port,))))

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def read(self) -> list[ConnectionEvent]:
        """All; each must be accounted for."""
        found: list[ConnectionEvent] = []
        while more := self._connections.read(7):
            found += more
        counts, ours = self._session.counts(), self._connections.counts()
        assert ours.accepts == sum(one.accepts for one in counts.acceptors)
        assert (ours.lost, ours.written) == (0, len(found))
        return found


def events(tracing: Tracing, port: int, wish: Wish | None = None) -> Events:
    return Events(tracing, port, wish or Wish(ALL))


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "mapped"])
def test_they_are_the_connections_that_the_clients_logged(writing: Tracing, family: str) -> None:
    with group(2, family) as listeners, echoing(listeners) as pids:
        port = port_of(listeners[0])
        inodes = dict(zip(pids, map(inode_of, listeners), strict=True))
        with events(writing, port) as found:
            log = [connect(address_of(family, port)) for _ in range(CONNECTIONS)]
            seen = found.read()
    mapped = "::ffff:" if family == "mapped" else ""
    peers = [(mapped + one.peer[0], one.peer[1], one.pid) for one in log]
    assert [(one.peer_address, one.peer_port, one.pid) for one in seen] == peers
    assert {one.pid: one.listener_inode for one in seen}.items() <= inodes.items()
    for event, logged in zip(seen, log, strict=True):
        assert_possible(event, logged)
        assert (event.type, event.tid, event.local_port) == ("accept", logged.pid, port)
    (number,) = {one.group for one in seen}
    assert number is not None


def assert_possible(event: ConnectionEvent, logged: Logged) -> None:
    """It was accepted, and had waited, while the client knows that it can have."""
    slack_ns = CLOCKS_US * 1000
    assert logged.began_ns - slack_ns < event.time_ns < logged.answered_ns + slack_ns
    assert event.wait_us is not None
    assert event.wait_us * 1000 <= event.time_ns - logged.began_ns + slack_ns


def test_the_wait_is_what_the_server_let_it_wait(writing: Tracing) -> None:
    with listen(8) as listener, events(writing, port_of(listener)) as found:
        began = time.monotonic_ns()
        with socket.create_connection(listener.getsockname()):
            connected = time.monotonic_ns()
            time.sleep(0.02)
            called = time.monotonic_ns()
            listener.accept()[0].close()
            accepted = time.monotonic_ns()
        (event,) = found.read()
    assert event.wait_us is not None
    assert (called - connected) // 1000 <= event.wait_us + 1  # two clocks of whole microseconds
    assert event.wait_us <= (accepted - began) // 1000 + 1


def test_the_descriptor_is_that_of_the_server_or_not_known(writing: Tracing) -> None:
    with (
        listen(8) as listener,
        events(writing, port_of(listener)) as found,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as taken,
    ):
        (event,) = found.read()
        knows = writing.plan.attach == "tracepoint"
        assert event.fd == (taken.fileno() if knows else None)


def test_what_is_left_behind_is_the_queue_then(writing: Tracing) -> None:
    with listen(8) as listener, events(writing, port_of(listener)) as found:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(4)]
        for _ in clients:
            listener.accept()[0].close()
        for client in clients:
            client.close()
        assert [one.queue for one in found.read()] == [3, 2, 1, 0]


def test_the_slow_ones_are_those_that_waited_so_long(writing: Tracing) -> None:
    wish = Wish(ALL, slower_us=50_000)
    with listen(8) as listener, events(writing, port_of(listener), wish) as found:
        slow = socket.create_connection(listener.getsockname())
        time.sleep(0.06)
        listener.accept()[0].close()
        with socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()
        (event,) = found.read()
        assert event.peer_port == slow.getsockname()[1]
        slow.close()


def test_peers_are_those_of_the_network(writing: Tracing) -> None:
    place, mask = bytes(10) + b"\xff\xff\x7f\x00\x00\x02", b"\xff" * 15 + b"\xfe"
    wish = Wish(ALL, peer=(place, mask))  # 127.0.0.2/31
    with listen(8) as listener, events(writing, port_of(listener), wish) as found:
        for last in (1, 2, 3, 4):
            source = (f"127.0.0.{last}", 0)
            with socket.create_connection(listener.getsockname(), source_address=source):
                listener.accept()[0].close()
        assert [one.peer_address for one in found.read()] == ["127.0.0.2", "127.0.0.3"]


def test_a_sample_has_one_of_each_block_of_whoever_takes_turns(writing: Tracing) -> None:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # each CPU has blocks of its own
    try:
        wish = Wish(ALL, sample=4)
        with listen(8) as listener, events(writing, port_of(listener), wish) as found:
            log = []
            for _ in range(40):
                with socket.create_connection(listener.getsockname()) as client:
                    log.append(client.getsockname()[1])
                    listener.accept()[0].close()
            places = [log.index(one.peer_port or 0) for one in found.read()]
    finally:
        os.sched_setaffinity(0, cpus)
    assert [place // 4 for place in places] == [*range(10)]
    assert len({place % 4 for place in places}) > 1


def test_failures_have_their_errno(writing: Tracing) -> None:
    with listen(8) as listener, events(writing, port_of(listener)) as found:
        with socket.create_connection(listener.getsockname()):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
            try:
                with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                    listener.accept()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            listener.accept()[0].close()
        seen = [(one.type, one.error, one.pid) for one in found.read()]
    failed = [("failed", "EMFILE", os.getpid())] if writing.plan.sees.errors else []
    assert seen == [*failed, ("accept", None, os.getpid())]


def test_what_is_lost_has_lines_of_its_own(writing: Tracing) -> None:
    """Three wait in a queue for two, as its listener closes; a fourth met the full queue."""
    listener = listen(1)
    with events(writing, port_of(listener)) as found:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        late = socket.socket()
        late.setblocking(False)
        late.connect_ex(listener.getsockname())
        ports = [client.getsockname()[1] for client in clients]
        port_of_late = late.getsockname()[1]
        listener.close()
        seen = found.read()
    for client in (*clients, late):
        client.close()
    reset = [one for one in seen if one.type == "reset"]
    assert sum(one.connections for one in reset) == 2
    dropped = {one.peer_port for one in seen if one.type == "dropped"}
    if writing.plan.sees.overflow:
        assert sorted(one.peer_port or 0 for one in reset) == sorted(ports)
        assert dropped == {port_of_late}
    assert {one.type for one in seen} <= {"reset", "dropped"}


def test_rows_of_closed_listeners_and_ended_threads_are_let_go_and_stay_counted(
    writing: Tracing,
) -> None:
    """More of them come and go than the maps may hold before they are looked through."""
    own = Filters(pids=frozenset((os.getpid(),)))
    source = EventSource(writing.session, own)
    try:
        source.begin(Wish(ALL))
        mine = set()
        for number in range(CHURN):
            with listen(8) as listener, socket.create_connection(listener.getsockname()):
                mine.add(inode_of(listener))
                if number % 4:
                    listener.accept()[0].close()
                else:
                    thread = Thread(target=lambda one=listener: one.accept()[0].close())
                    thread.start()
                    thread.join()
        assert mine <= {one.inode for one in writing.session.counts().listeners}
        for _ in range(2):
            source.let_go()
        left = writing.session.counts()
        assert not mine & {one.inode for one in left.listeners}
        assert not mine & {one.listener_inode for one in left.acceptors}
        source.stop(time.sleep)
        seen = [event for events in source.batches() for event in events]
        account = source.account()
    finally:
        source.close()
    assert (account.accepts, account.counts.accepts, account.counts.lost) == (CHURN, CHURN, 0)
    assert sum(event.type == "accept" for event in seen) == CHURN
