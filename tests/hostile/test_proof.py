"""The proof of the hooks on a machine where others are busy, and connect to whatever listens."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from accepttrace.errors import UnsupportedError
from accepttrace.facts.datagrams import ReceiverCount, ReceiverCounts
from accepttrace.facts.records import Counts
from accepttrace.facts.sight import Sight
from accepttrace.probe import selftest, udptest
from accepttrace.probe.session import Session
from tests.kernel.conftest import Way, attached, exact, name

STRANGERS = 20
BUSY = 75
MANY = 1100  # select() knows 1024
LIMIT_S = 30.0


@pytest.fixture(params=exact(), ids=name)
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    way: Way = request.param
    with attached(way) as session:
        yield session


@contextmanager
def strangers(port: int) -> Iterator[None]:
    """They connect at once; only what they do not get is left of it."""
    sockets = [socket.socket() for _ in range(STRANGERS)]
    try:
        for each in sockets:
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(("127.0.0.1", port))
        yield
    finally:
        for each in sockets:
            each.close()


def test_many_descriptors_are_open(session: Session) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = len(os.listdir("/proc/self/fd"))  # sessions of other tests
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(MANY + others + 500, hard), hard))
    try:
        with ExitStack() as stack:
            for _ in range(MANY):
                stack.enter_context(open(os.devnull, "rb"))
            session.prove()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_strangers_do_not_get_to_the_listener(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, tries = selftest.Traffic.make, []

    def crowded(traffic: selftest.Traffic) -> None:
        tries.append(traffic.port)
        with strangers(traffic.port):
            make(traffic)

    monkeypatch.setattr(selftest.Traffic, "make", crowded)
    session.prove()
    assert len(tries) == 1


def test_without_a_filter_they_are_noticed_and_it_is_tried_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, tries = selftest.Traffic.make, []

    def crowded_at_first(traffic: selftest.Traffic) -> None:
        tries.append(traffic.port)
        if len(tries) > 1:
            return make(traffic)
        with strangers(traffic.port):
            return make(traffic)

    monkeypatch.setattr(selftest, "_admit_only", lambda *_: None)
    monkeypatch.setattr(selftest.Traffic, "make", crowded_at_first)
    session.prove()
    assert len(tries) == 2


def test_what_does_not_arrive_in_time_is_no_silent_hook(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_admitted(listener: socket.socket, ports: list[int]) -> None:
        admit_only(listener, [1 for _ in ports])

    admit_only = selftest._admit_only
    monkeypatch.setattr(selftest, "_admit_only", nothing_admitted)
    monkeypatch.setattr(selftest, "LIMITS_S", (0.05, 0.1))
    with pytest.raises(selftest.LoopbackError, match=r"no connection .* in 0\.1 s"):
        session.prove()


def test_a_silent_hook_is_named_after_all_tries(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[None] = []

    def nothing(_: Session) -> Counts:
        tries.append(None)
        return Counts()

    monkeypatch.setattr(Session, "counts", nothing)
    with pytest.raises(UnsupportedError, match="is silent: 0 of 3 accepts were counted"):
        session.prove()
    assert len(tries) == len(selftest.LIMITS_S)


@contextmanager
def busy_machine() -> Iterator[None]:
    children = []
    try:
        for _ in range(BUSY):
            child = os.fork()
            if child == 0:
                while True:
                    pass
            children.append(child)
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def test_a_busy_machine_is_no_silent_hook(session: Session) -> None:
    with busy_machine():
        session.prove()


@pytest.mark.parametrize("datagrams", [0, STRANGERS])
def test_datagrams_of_strangers_are_distinguished_from_ours(datagrams: int) -> None:
    """What came in all is compared: to the last one, from whomever it is."""
    traffic = udptest.Traffic.prepare(LIMIT_S)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(datagrams):
            stranger.sendto(b"hello", ("127.0.0.1", traffic.port))
        traffic.make()
        for _ in range(datagrams):  # too late: nothing gets in any more
            with suppress(ConnectionRefusedError):
                stranger.sendto(b"hello", ("127.0.0.1", traffic.port))
    traffic.end()
    came = traffic.received + traffic.dropped
    assert came == udptest.SENT + datagrams
    assert traffic.received
    assert traffic.dropped
    assert bool(traffic.strange) == bool(datagrams)
    facts = Sight.of("selected", "datagrams", "dropped")
    right = counted(traffic, came, traffic.received, traffic.dropped)
    assert udptest.verdicts(right, traffic, facts) == {}
    for wrong in (
        counted(traffic, 0, traffic.received, traffic.dropped),
        counted(traffic, came + 1, traffic.received, traffic.dropped),
        counted(traffic, came, traffic.received - 1, traffic.dropped),
        counted(traffic, came, traffic.received, traffic.dropped + 1),
    ):
        (fault,) = udptest.verdicts(wrong, traffic, facts).values()
        assert fault.silent is fault.story.startswith("0 of")


def counted(
    traffic: udptest.Traffic, selected: int, datagrams: int, dropped: int
) -> ReceiverCounts:
    row = ReceiverCount(
        traffic.inode, 1, "ipv4", "127.0.0.1", traffic.port, selected, datagrams, dropped
    )
    return ReceiverCounts((row,))
