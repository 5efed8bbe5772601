"""A listener that ends with connections in its queue: reload, crash, scale-down.

What is lost is compared with the clients that were reset, what moves with `nstat` and with who
accepts it in the end.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from accepttrace.lab.children import READY, fork
from accepttrace.model.snapshot import Migration

from .clients import Clients, address_of, drain, inode_of, listen, port_of
from .conftest import Tracing, wait_until
from .network import counted, listening, own_network
from .packets import Peers
from .reading import assert_balanced, begin, by_inode, if_seen, only, settled

# Since 5.14. The switch alone proves nothing: later 5.10 has it, and it does nothing there.
MIGRATES = "TCPMigrateReqSuccess" in counted()
NEVER = {"tcp_migrate_req": 0} if MIGRATES else {}
ALWAYS = {"tcp_migrate_req": 1}
CLIENTS = 500
QUEUED = 200  # at least so many of them on one of two sockets, but for 3 runs in a million
FEW = 20
PORT = 8080  # the namespace has nobody else
PEERS = range(20_000, 20_010)

where_they_move = pytest.mark.xfail(not MIGRATES, run=False, reason="no migration before 5.14")


@contextmanager
def doomed(how: str, port: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """One more listener in the group of `port`: its inode, and what ends it."""
    if how == "crash":
        before = listening(port).keys()
        child = fork(partial(_hold, port))
        try:
            child.await_ready()
            (inode,) = listening(port).keys() - before
            yield inode, partial(os.kill, child.pid, signal.SIGKILL)
        finally:
            child.hang_up()
            child.reap()
        return
    with listen(1000, port=port, reuseport=True) as opened:
        ends: dict[str, Callable[[], None]] = {
            "close": opened.close,
            "shutdown": partial(opened.shutdown, socket.SHUT_RD),
        }
        yield inode_of(opened), ends[how]


def _hold(port: int, channel: socket.socket) -> None:
    with listen(1000, port=port, reuseport=True):
        channel.sendall(READY)
        channel.recv(1)


@pytest.mark.parametrize("how", ["close", "crash", "shutdown"])
def test_queued_connections_are_lost_with_their_listener(tracing: Tracing, how: str) -> None:
    with own_network(**NEVER), listen(1000, reuseport=True) as stays:
        port, other = port_of(stays), inode_of(stays)
        with doomed(how, port) as (inode, end):
            account = begin(tracing, port)
            with Clients(address_of("ipv4", port), CLIENTS) as clients:
                queued = listening(port)[inode].queue
                assert queued >= QUEUED
                end()
                wait_until(lambda: clients.resets() >= queued, "the clients' resets")
                assert clients.resets() == queued
                assert listening(port).keys() == {other}
                assert drain(stays) == CLIENTS - queued
                snapshot = settled(account)
    rows = by_inode(snapshot)  # a slow machine has others: that nobody accepted for a second
    (event,) = (one for one in snapshot.events if one.kind == "GROUP")
    assert (event.sockets, event.closed, event.opened) == (2, 1, 0)
    assert event.lost.get("lost_on_close") == if_seen(tracing, "closed", queued)
    gone, left = rows[inode], rows[other]
    assert (gone.open, gone.accepted, gone.queue) == (False, 0, None)
    assert gone.lost_on_close == if_seen(tracing, "closed", queued)
    assert gone.arrived == if_seen(tracing, "arrived", queued)
    assert (left.open, left.accepted, left.queue) == (True, CLIENTS - queued, 0)
    assert left.lost_on_close == if_seen(tracing, "closed", 0)
    assert left.arrived == if_seen(tracing, "arrived", CLIENTS - queued)
    for row in (gone, left):
        moved = (row.migrated_in, row.migrated_out)
        assert moved == (if_seen(tracing, "migrated", 0),) * 2
    assert_balanced(gone, left)


@where_they_move
@pytest.mark.parametrize("how", ["close", "crash", "shutdown"])
def test_queued_connections_move_where_the_kernel_may(tracing: Tracing, how: str) -> None:
    with own_network(**ALWAYS), listen(1000, reuseport=True) as stays:
        port, other = port_of(stays), inode_of(stays)
        with doomed(how, port) as (inode, end):
            account = begin(tracing, port)
            with Clients(address_of("ipv4", port), CLIENTS) as clients:
                queued = listening(port)[inode].queue
                assert queued >= QUEUED
                end()
                wait_until(lambda: listening(port)[other].queue == CLIENTS, "all on the other")
                assert clients.resets() == 0
                assert counted()["TCPMigrateReqSuccess"] == queued
                waiting = by_inode(settled(account))
                assert drain(stays) == CLIENTS
                snapshot = settled(account)
    rows = by_inode(snapshot)
    assert (waiting[other].queue, rows[other].queue, rows[other].accepted) == (CLIENTS, 0, CLIENTS)
    assert (rows[inode].open, rows[inode].accepted) == (False, 0)
    for at in (waiting, rows):
        gone, left = at[inode], at[other]
        assert (gone.migrated_in, gone.migrated_out) == (
            if_seen(tracing, "migrated", 0),
            if_seen(tracing, "migrated", queued),
        )
        assert (left.migrated_in, left.migrated_out) == (
            if_seen(tracing, "migrated", queued),
            if_seen(tracing, "migrated", 0),
        )
        # An attach type that does not see them move may not call them lost.
        assert gone.lost_on_close in (if_seen(tracing, "migrated", 0), None)
        assert left.lost_on_close in (0, None)
        assert gone.arrived == if_seen(tracing, "arrived", queued)
        assert left.arrived == if_seen(tracing, "arrived", CLIENTS - queued)
    if tracing.plan.sees.migrated:
        assert snapshot.migrations == (Migration(inode, other, queued, 0),)
        assert_balanced(*waiting.values(), *rows.values())
    assert "unbalanced" not in {row.book for row in (*waiting.values(), *rows.values())}


@where_they_move
def test_half_open_requests_move_when_their_client_comes_back(tracing: Tracing) -> None:
    with own_network(**ALWAYS), listen(100, reuseport=True) as first:
        port, inode = port_of(first), inode_of(first)
        account = begin(tracing, port)
        with Peers(port) as peers:
            peers.open(PEERS)
            with listen(100, port=port, reuseport=True) as second:
                other = inode_of(second)
                account.snapshot()
                first.close()
                peers.finish(PEERS)
                wait_until(lambda: listening(port)[other].queue == len(PEERS), "all on the other")
                assert counted()["TCPMigrateReqSuccess"] == len(PEERS)
                assert drain(second) == len(PEERS)
                snapshot = settled(account)
    gone, left = by_inode(snapshot)[inode], by_inode(snapshot)[other]
    assert gone.arrived == if_seen(tracing, "arrived", 0)
    assert left.arrived == if_seen(tracing, "arrived", len(PEERS))
    assert (gone.accepted, left.accepted) == (0, len(PEERS))
    assert gone.selected == if_seen(tracing, "selected", len(PEERS))
    if tracing.plan.sees.migrated:
        (moved,) = snapshot.migrations
        assert moved == Migration(moved.from_inode, other, 0, len(PEERS))
        assert moved.from_inode in (inode, 0)  # closed long ago: it may not be known any more
    assert_balanced(gone, left)


@where_they_move
def test_what_could_not_be_moved_is_lost(tracing: Tracing) -> None:
    """The last one of its group has nowhere to move them to."""
    with own_network(**ALWAYS), listen(100, reuseport=True) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), FEW) as clients:
            server.close()
            wait_until(lambda: clients.resets() >= FEW, "the clients' resets")
            assert counted()["TCPMigrateReqFailure"] == FEW
            row = only(account)
    assert row.migration_failed == if_seen(tracing, "migrated", FEW)
    assert row.lost_on_close in (if_seen(tracing, "migrated", FEW), None)
    if tracing.plan.sees.migrated:
        assert_balanced(row)
    else:
        assert row.book == "unchecked"


def test_only_the_last_descriptor_closes_a_listener(tracing: Tracing) -> None:
    with own_network(), listen(100) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with server.dup() as copy, Clients(address_of("ipv4", port), FEW) as clients:
            server.close()
            row = only(account)
            assert (row.open, row.queue, clients.resets()) == (True, FEW, 0)
            assert row.lost_on_close == if_seen(tracing, "closed", 0)
            copy.close()
            wait_until(lambda: clients.resets() >= FEW, "the clients' resets")
            row = only(account)
    assert (row.open, row.lost_on_close) == (False, if_seen(tracing, "closed", FEW))
    assert_balanced(row)


def test_clients_that_gave_up_before_are_not_lost(tracing: Tracing) -> None:
    """They stay in the queue and would have been accepted; nobody is left to be reset."""
    with own_network(), listen(100) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), FEW) as patient:
            with Clients(address_of("ipv4", port), 7):
                pass
            assert listening(port).popitem()[1].queue == FEW + 7
            server.close()
            wait_until(lambda: patient.resets() >= FEW, "the clients' resets")
            row = only(account)
    assert row.arrived == if_seen(tracing, "arrived", FEW + 7)
    assert_balanced(row)


def test_a_socket_that_listens_again_is_the_same_in_its_second_epoch(tracing: Tracing) -> None:
    # Of a port that the kernel chose nothing is left at the end of the first.
    with own_network(), listen(100, port=PORT) as server:
        port, inode = port_of(server), inode_of(server)
        account = begin(tracing, port)
        assert only(account).epoch == 1
        with Clients(address_of("ipv4", port), FEW) as lost:
            assert drain(server, 5) == 5
            before = lost.resets()
            server.shutdown(socket.SHUT_RD)
            wait_until(lambda: lost.resets() >= FEW, "the clients' resets")
            assert before == 5
        server.listen(50)
        with Clients(address_of("ipv4", port), 7):
            assert drain(server, 4) == 4
            row = only(account)
            shown = listening(port)[inode]
    assert (row.inode, row.open, row.backlog) == (inode, True, 50)
    assert (row.accepted, row.queue, shown.queue) == (9, 3, 3)
    if tracing.plan.sees.closed:
        assert row.epoch == 2
    assert row.arrived == if_seen(tracing, "arrived", FEW + 7)
    assert row.lost_on_close == if_seen(tracing, "closed", FEW - 5)
    assert_balanced(row)


def test_a_listener_opened_again_on_its_port_is_another_one(tracing: Tracing) -> None:
    with own_network(), listen(100) as server:
        port, inode = port_of(server), inode_of(server)
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), FEW):
            assert drain(server, 5) == 5
            server.close()
        with listen(100, port=port) as again, Clients(address_of("ipv4", port), 7):
            assert drain(again, 4) == 4
            rows = by_inode(settled(account))
            other = inode_of(again)
    assert rows.keys() == {inode, other}
    old, new = rows[inode], rows[other]
    assert (old.open, old.epoch, old.accepted) == (False, 1, 5)
    assert (new.open, new.epoch, new.accepted, new.queue) == (True, 1, 4, 3)
    assert (old.lost_on_close, new.lost_on_close) == (
        if_seen(tracing, "closed", FEW - 5),
        if_seen(tracing, "closed", 0),
    )
    assert (old.arrived, new.arrived) == (
        if_seen(tracing, "arrived", FEW),
        if_seen(tracing, "arrived", 7),
    )
    assert_balanced(old, new)
