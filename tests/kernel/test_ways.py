"""Other ways to accept than by system call, and connections that are made in another way.

Compared with completions of io_uring, with `nstat` and with the clients.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from accepttrace.config import Filters
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from accepttrace.probe.choosing import attempt
from accepttrace.probe.plans import by_preference
from accepttrace.probe.preemption import preempts
from accepttrace.probe.session import Session

from .clients import IPPROTO_MPTCP, Clients, address_of, drain, has_mptcp, inode_of, listen, port_of
from .conftest import Account, Tracing, Way, name, offered, wait_until
from .network import counted, listening, own_network
from .reading import assert_balanced, begin, if_seen, number_of, settled
from .uring import ALLOCATE_SLOT, ASYNC, MULTISHOT, Ring, by_ring, ring

FEW = 10
RELEASE = tuple(int(part) for part in os.uname().release.split(".")[:2])
TCP_FASTOPEN = 23
WITHOUT_COOKIE = 0x1 | 0x2 | 0x4 | 0x200  # client, server; both without a cookie
RDS_PORT = 16385

since_multishot = pytest.mark.xfail(RELEASE < (5, 19), run=False, reason="not before 5.19")
since_slots = pytest.mark.xfail(RELEASE < (5, 15), run=False, reason="not before 5.15")


def one(account: Account) -> tuple[Snapshot, ListenerRow, tuple[AcceptorRow, ...]]:
    """A new reading; its listener, and who accepted."""
    snapshot = settled(account, "thread")
    (row,) = snapshot.listeners
    return snapshot, row, tuple(each for each in snapshot.acceptors if each.accepts)


def assert_accepted_by_ring(tracing: Tracing, account: Account, count: int) -> None:
    """Where io_uring is not seen, what it took is known to be missing, to the last one."""
    snapshot, row, acceptors = one(account)
    if tracing.plan.attach == "tracepoint":
        assert (acceptors, row.accepted) == ((), 0)
        assert row.unseen == snapshot.books.unseen == count
        assert (row.book, row.imbalance) == ("unchecked", 0)
    else:
        assert {(each.pid, each.via) for each in acceptors} == {(os.getpid(), "io_uring")}
        assert sum(each.accepts for each in acceptors) == row.accepted == count
        assert (row.unseen, snapshot.books.unseen) == (0, 0)
        assert {each.empty_accepts for each in acceptors} == {0}  # its first look is no accept()
        assert_balanced(row)
    assert row.queue == 0


def take(accepting: Ring, count: int) -> None:
    """See the accepts through."""
    for done in accepting.wait(count):
        assert done.result >= 0, os.strerror(-done.result)
        os.close(done.result)


@contextmanager
def served(tracing: Tracing) -> Iterator[tuple[socket.socket, Account, Ring]]:
    """A listener for a ring, and the account of it."""
    with own_network(), listen(100) as server, ring() as accepting:
        server.setblocking(True)  # else io_uring would not wait either
        yield server, begin(tracing, port_of(server)), accepting


@by_ring
@pytest.mark.parametrize("flags", [0, ASYNC], ids=["itself", "worker-thread"])
@pytest.mark.parametrize("first", ["connections", "requests"])
def test_single_accepts_by_ring(tracing: Tracing, first: str, flags: int) -> None:
    with served(tracing) as (server, account, accepting):
        if first == "requests":
            for _ in range(FEW):
                accepting.accept(server, flags=flags)
        with Clients(address_of("ipv4", port_of(server)), FEW):
            if first == "connections":
                for _ in range(FEW):
                    accepting.accept(server, flags=flags)
            take(accepting, FEW)
            assert_accepted_by_ring(tracing, account, FEW)


@by_ring
@since_multishot
@pytest.mark.parametrize("first", ["connections", "requests"])
def test_one_request_for_many_accepts(tracing: Tracing, first: str) -> None:
    with served(tracing) as (server, account, accepting):
        if first == "requests":
            accepting.accept(server, how=MULTISHOT)
        with Clients(address_of("ipv4", port_of(server)), FEW):
            if first == "connections":
                accepting.accept(server, how=MULTISHOT)
            take(accepting, FEW)
            assert_accepted_by_ring(tracing, account, FEW)


@by_ring
@since_slots
@pytest.mark.parametrize(
    "many", [False, pytest.param(True, marks=since_multishot)], ids=["single", "multishot"]
)
def test_accepts_without_a_descriptor(tracing: Tracing, many: bool) -> None:
    """No descriptor of the process ever shows these connections."""
    with served(tracing) as (server, account, accepting):
        accepting.make_slots(FEW)
        if many:
            accepting.accept(server, how=MULTISHOT, slot=ALLOCATE_SLOT)
        else:
            for slot in range(FEW):
                accepting.accept(server, slot=slot + 1)
        with Clients(address_of("ipv4", port_of(server)), FEW):
            done = accepting.wait(FEW)
            assert all(each.result >= 0 for each in done)
            assert_accepted_by_ring(tracing, account, FEW)


@by_ring
def test_who_accepts_in_two_ways_has_no_single_one(tracing: Tracing) -> None:
    with (
        served(tracing) as (server, account, accepting),
        Clients(address_of("ipv4", port_of(server)), FEW + 7),
    ):
        assert drain(server, FEW) == FEW
        for _ in range(7):
            accepting.accept(server)
        take(accepting, 7)
        _, row, _ = one(account)
        (worker,) = settled(account, "worker").acceptors
    if tracing.plan.attach == "tracepoint":
        assert (worker.accepts, worker.via, row.unseen) == (FEW, "syscall", 7)
        assert (row.book, row.imbalance) == ("unchecked", 0)
    else:
        assert (worker.accepts, worker.via, row.unseen) == (FEW + 7, None, 0)
        assert_balanced(row)


@pytest.fixture(params=offered(), ids=name)
def unhooked(request: pytest.FixtureRequest) -> Iterator[Tracing]:
    """As if the kernel had no io_accept() to hook."""
    way: Way = request.param
    plan = next(plan for plan in by_preference(preempts()) if plan.attach == way.attach)
    hooks = tuple(hook for hook in plan.hooks if hook.site != "io_accept")
    session = attempt(replace(plan, hooks=hooks, fallback=None), way.loader, [], Session)  # type: ignore[arg-type]
    assert session is not None
    with session:
        yield Tracing(session)


@by_ring
@pytest.mark.parametrize("via", ["syscall", "io_uring"])
def test_what_no_hook_tells_of_the_way_is_right_or_unknown(unhooked: Tracing, via: str) -> None:
    with (
        served(unhooked) as (server, account, accepting),
        Clients(address_of("ipv4", port_of(server)), FEW),
    ):
        if via == "syscall":
            assert drain(server, FEW) == FEW
        else:
            for _ in range(FEW):
                accepting.accept(server)
            take(accepting, FEW)
        _, row, acceptors = one(account)
    is_seen = via == "syscall" or unhooked.plan.attach != "tracepoint"
    assert row.accepted == (FEW if is_seen else 0)
    # FRED, which moves the registers of system calls, is no older than 6.9.
    unknown = {None} if RELEASE >= (6, 9) else set()
    assert {each.via for each in acceptors} <= {via, *unknown}


@pytest.mark.xfail(not has_mptcp(), run=False, reason="this kernel is built without MPTCP")
def test_accepts_of_multipath_connections_and_of_plain_ones(tracing: Tracing) -> None:
    with own_network(), socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        server.setblocking(False)
        port = port_of(server)
        account = begin(tracing, port)
        with (
            Clients(address_of("ipv4", port), FEW, protocol=IPPROTO_MPTCP),
            Clients(address_of("ipv4", port), 7),
        ):
            assert drain(server, FEW + 2) == FEW + 2
            snapshot, row, acceptors = one(account)
            assert listening(port)[number_of(row)].queue == row.queue == 5
        assert counted()["MPCapableSYNRX"] == FEW
        inode = inode_of(server)
    assert (row.inode, row.accepted) == (inode, FEW + 2)
    assert [(each.pid, each.via, each.accepts) for each in acceptors] == [
        (os.getpid(), "syscall", FEW + 2)
    ]
    assert row.arrived == if_seen(tracing, "arrived", FEW + 7)
    assert (row.book, snapshot.books.balanced) == ("unchecked", True)  # subflows may join


def test_connections_that_bring_data_with_their_first_packet(tracing: Tracing) -> None:
    """Fast Open: in the queue, and accepted, before they are established."""
    with own_network(tcp_fastopen=WITHOUT_COOKIE), listen(100) as server:
        server.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, FEW)
        port = port_of(server)
        account = begin(tracing, port)
        clients = []
        for _ in range(FEW):
            client = socket.socket()
            client.sendto(b"hello", socket.MSG_FASTOPEN, ("127.0.0.1", port))
            clients.append(client)
        wait_until(lambda: listening(port).popitem()[1].queue == FEW, "all in the queue")
        assert counted()["TCPFastOpenPassive"] == FEW
        assert drain(server, FEW - 3) == FEW - 3
        _, row, acceptors = one(account)
        for client in clients:
            client.close()
    assert (row.queue, row.accepted) == (3, FEW - 3)
    assert [each.accepts for each in acceptors] == [FEW - 3]
    assert row.arrived == if_seen(tracing, "arrived", FEW)
    assert row.dropped_overflow == 0
    assert_balanced(row)


def loads(module: str) -> bool:
    try:
        done = subprocess.run(["modprobe", module], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def test_a_kernel_thread_accepts_as_one(tracing: Tracing) -> None:
    """RDS listens in every namespace once it is loaded; a work queue accepts."""
    if not loads("rds_tcp"):
        pytest.xfail("no module rds_tcp here")
    with own_network():
        wait_until(lambda: bool(listening(RDS_PORT)), "a listener of the kernel's own")
        here = os.stat("/proc/thread-self/ns/net").st_ino
        filters = Filters(ports=frozenset({RDS_PORT}), netns=frozenset({here}))
        account = tracing.of(filters=filters)
        settled(account)
        for _ in range(FEW):  # it may leave the second of two in the queue
            with Clients(("127.0.0.1", RDS_PORT), 1):
                wait_until(lambda: listening(RDS_PORT).popitem()[1].queue == 0, "an accept")
        snapshot, row, acceptors = one(account)
    if tracing.plan.attach == "tracepoint":
        assert (acceptors, row.accepted) == ((), 0)
        assert row.unseen == snapshot.books.unseen == FEW
        assert (row.book, row.imbalance) == ("unchecked", 0)
    else:
        assert {each.via for each in acceptors} == {"kernel"}
        assert sum(each.accepts for each in acceptors) == row.accepted == FEW
        assert row.unseen == 0
        assert_balanced(row)
