"""What the kernel dropped, and whether a client lost by it: beside `nstat`, `ss` and clients."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from accepttrace.config import Filters
from accepttrace.model.losses import verdict
from accepttrace.model.snapshot import ListenerRow

from .clients import Clients, address_of, drain, inode_of, listen, port_of
from .conftest import Tracing, wait_until
from .network import counted, listening, own_network, sockets, visited
from .packets import FIRST_SEQUENCE, SYN, SYN_ACK, Peers
from .reading import assert_balanced, begin, by_inode, if_seen, number_of, only, settled
from .test_cli import CHOICE, started

FAMILIES = ["ipv4", "ipv6", "mapped"]
CLIENTS, SILENT = 9, 4
TOO_MANY = 7
SEED = range(20_000, 20_010)
PORT = 21_999
LONG_S = 60  # TCP_DEFER_ACCEPT: until then only data make a connection of a handshake


def deferring(backlog: int = 64, *, family: str = "ipv4", port: int = 0) -> socket.socket:
    """A listener as Apache and unicorn have it by default, nginx with `deferred`."""
    server = listen(backlog, family=family, port=port)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, LONG_S)
    return server


@contextmanager
def turned_away(port: int, fit: int) -> Iterator[int]:
    """A full queue and clients before it; yields how many SYNs were dropped so far."""
    before = counted()["ListenOverflows"]
    with Clients(address_of("ipv4", port), fit):
        with Clients(address_of("ipv4", port), TOO_MANY, wait=False):
            wait_until(lambda: counted()["ListenOverflows"] >= before + TOO_MANY, "SYNs dropped")
        yield counted()["ListenOverflows"] - before


@contextmanager
def strangers(port: int) -> Iterator[Peers]:
    """They sent a SYN each, which was answered or dropped, and say no more."""
    with Peers(port) as peers:
        for peer in SEED:
            peers.send(peer, SYN, FIRST_SEQUENCE)
        wait_until(
            lambda: counted()["ListenDrops"] + len(peers.answers(SYN_ACK)) == len(SEED), "all"
        )
        yield peers


@pytest.mark.parametrize("family", FAMILIES)
def test_a_client_that_sends_nothing_yet_lost_nothing(tracing: Tracing, family: str) -> None:
    with own_network(), deferring(family=family) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Clients(address_of(family, port), CLIENTS) as clients:
            for client in clients.sockets[SILENT:]:
                client.send(b"x")
            wait_until(lambda: listening(port)[inode_of(server)].queue == CLIENTS - SILENT, "data")
            snapshot = settled(account)
            (row,) = snapshot.listeners
            waiting = sockets("syn-recv", port)
        put_off = counted()["TCPDeferAcceptDrop"]
        assert counted()["ListenDrops"] == 0
        assert drain(server) == CLIENTS - SILENT
    assert (row.half_open, waiting, row.queue) == (SILENT, SILENT, CLIENTS - SILENT)
    assert (row.deferred, row.drops) == (put_off, put_off) == (CLIENTS, CLIENTS)
    assert row.defer_accept is True
    assert verdict(snapshot) == "nothing"
    assert_lost(row)
    assert_balanced(row)


def assert_lost(row: ListenerRow, overflow: int = 0, syn_queue: int = 0, other: int = 0) -> None:
    found = (row.dropped_overflow, row.dropped_syn_queue, row.dropped_other, row.dropped_unclear)
    assert found == (overflow, syn_queue, other, 0)


def test_a_loss_beside_clients_that_are_only_deferred(tracing: Tracing) -> None:
    with own_network(), deferring() as one, listen(2) as two:
        account = begin(tracing, port_of(one), port_of(two))
        with Clients(address_of("ipv4", port_of(one)), CLIENTS), turned_away(port_of(two), 3) as n:
            snapshot = settled(account)
            shown = listening(port_of(two))[inode_of(two)].drops
        assert (counted()["TCPDeferAcceptDrop"], counted()["ListenDrops"]) == (CLIENTS, n)
        rows = by_inode(snapshot)
        deferred, lossy = rows[inode_of(one)], rows[inode_of(two)]
    assert_lost(deferred)
    assert (deferred.deferred, lossy.deferred) == (CLIENTS, 0)
    assert_lost(lossy, overflow=n)
    assert lossy.drops == shown == n
    assert verdict(snapshot) == "lost"


def test_too_many_half_open_ones_are_lost_without_cookies(tracing: Tracing) -> None:
    with own_network(tcp_syncookies=0), listen(3) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with strangers(port) as peers:
            snapshot = settled(account)
            (row,) = snapshot.listeners
            answered = len(peers.answers(SYN_ACK))
        full = counted()["TCPReqQFullDrop"]
        assert full == counted()["ListenDrops"] == len(SEED) - answered > 0
    assert_lost(row, syn_queue=full)
    assert (row.drops, row.half_open) == (full, answered)
    assert verdict(snapshot) == "lost"


def test_too_many_half_open_ones_are_not_lost_with_cookies(tracing: Tracing) -> None:
    with own_network(tcp_syncookies=1), listen(3) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with strangers(port):
            snapshot = settled(account)
        assert counted()["TCPReqQFullDoCookies"] > 0
        assert counted()["ListenDrops"] == 0
    assert_lost(snapshot.listeners[0])
    assert verdict(snapshot) == "nothing"


def test_what_the_kernel_gives_up_without_a_reason_has_no_known_cause(tracing: Tracing) -> None:
    """Without cookies it keeps a quarter of the half-open ones for peers it knows."""
    with own_network(tcp_syncookies=0, tcp_max_syn_backlog=4), listen(64) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with strangers(port):
            snapshot = settled(account)
        dropped = counted()["ListenDrops"]
        assert counted()["TCPReqQFullDrop"] == counted()["ListenOverflows"] == 0 < dropped
    assert_lost(snapshot.listeners[0], other=dropped)
    assert verdict(snapshot) == "lost"


def test_a_syn_sent_again_is_no_loss(tracing: Tracing) -> None:
    """The kernel counts it as dropped at the socket: its handshake is half-open already."""
    with own_network(), listen(9) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Peers(port) as peers:
            for _ in range(3):
                peers.send(SEED[0], SYN, FIRST_SEQUENCE)
            wait_until(lambda: listening(port)[inode_of(server)].drops == 2, "both dropped")
            snapshot = settled(account)
        assert counted()["ListenDrops"] == 0
    (row,) = snapshot.listeners
    assert (row.drops, row.half_open) == (2, 1)
    assert_lost(row)
    assert verdict(snapshot) == "nothing"


def test_what_is_dropped_before_the_first_reading_counts(tracing: Tracing) -> None:
    with own_network(), listen(2) as server:
        port = port_of(server)
        with turned_away(port, 3):
            pass
        drain(server)
        before = listening(port)[inode_of(server)].drops
        account = tracing.of(port)  # what the ready file announces
        with turned_away(port, 3) as dropped:
            row = only(account)
            shown = listening(port)[number_of(row)].drops
    assert before >= TOO_MANY
    assert row.drops == dropped == shown - before
    assert_lost(row, overflow=dropped)


@pytest.mark.parametrize("listed", [True, False])
def test_a_listener_that_is_born_and_closes_while_traced(tracing: Tracing, listed: bool) -> None:
    with own_network():
        account = tracing.of(filters=Filters(ports=frozenset({PORT})))
        if listed:
            settled(account)
        with listen(2, port=PORT) as server, turned_away(PORT, 3):
            if listed:
                settled(account)
            with turned_away(PORT, 0):
                drain(server)
            shown = listening(PORT)[inode_of(server)].drops
        row = only(account)
        lost = counted()["ListenOverflows"]
    assert row.drops == shown >= lost > 0
    assert_lost(row, overflow=lost)


def test_handshakes_are_cut_off_by_a_listener_that_closes(tracing: Tracing) -> None:
    """Their clients are connected, as far as they know, and reset when they go on."""
    with own_network():
        with deferring() as server:
            port = port_of(server)
            account = begin(tracing, port)
            clients = Clients(address_of("ipv4", port), SILENT)
            assert sockets("syn-recv", port) == only(account).half_open == SILENT
        with clients:
            snapshot = settled(account)
            for client in clients.sockets:
                client.send(b"x")
            wait_until(lambda: clients.resets() == SILENT, "every client reset")
    assert [row.half_open_lost for row in snapshot.listeners] == [SILENT]
    assert verdict(snapshot) == "lost"


def test_calls_without_a_descriptor_delay_and_lose_nobody(tracing: Tracing) -> None:
    with own_network(), listen(64) as server:
        port = port_of(server)
        account = begin(tracing, port)
        limit = os.dup(server.fileno())
        os.close(limit)
        refuse(server, limit)  # nobody waits
        with Clients(address_of("ipv4", port), 3):
            refuse(server, limit)
            assert drain(server) == 3
            snapshot = settled(account)
    assert snapshot.listeners[0].refused_accepts == if_seen(tracing, "refused", 1)
    assert verdict(snapshot) == "nothing"


def refuse(server: socket.socket, limit: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with pytest.raises(OSError, match="Too many open") as caught:
            server.accept()
        assert caught.value.errno == errno.EMFILE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_ready_file_promises_that_drops_count_from_then_on(tmp_path: Path) -> None:
    with own_network(), listen(2) as server:
        port = port_of(server)
        options = (*CHOICE, "--port", str(port), "-o", "jsonl", "-i", "1000")
        running = started(*options, ready=tmp_path / "ready")
        with running as process, turned_away(port, 3) as dropped:
            first_line(process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert counted()["ListenOverflows"] == dropped
    assert (process.returncode, err) == (0, "")
    (row,) = json.loads(out.splitlines()[-1])["listeners"]
    assert (row["drops"], row["dropped_overflow"]) == (dropped, dropped)


def test_deferred_clients_are_named_and_it_is_said_that_nothing_was_lost(tmp_path: Path) -> None:
    with own_network(), deferring() as server:
        port = port_of(server)
        options = (*CHOICE, "--port", str(port), "-i", "0.5")
        running = started(*options, ready=tmp_path / "ready")
        with running as process, Clients(address_of("ipv4", port), SILENT):
            first_line(process)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
    assert "Clients lost nothing" in out
    assert "LOSSES" not in out
    deferred = f"deferred on 127.0.0.1:{port} (TCP_DEFER_ACCEPT): {SILENT} clients half-open"
    assert deferred in re.sub(r"\s+", " ", out)


def test_another_namespace_has_its_own_counters(tracing: Tracing) -> None:
    with own_network(), listen(2) as mine, ExitStack() as there:
        port = port_of(mine)
        with own_network():
            other = there.enter_context(listen(2, port=port))
            there.enter_context(sleeping())  # a namespace is found by who is in it
            away = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        account = tracing.of(filters=Filters(ports=frozenset({port})))
        settled(account)
        with visited(away):
            dropped = there.enter_context(turned_away(port, 3))
        rows = by_inode(settled(account))
        quiet, lossy = rows[inode_of(mine)], rows[inode_of(other)]
    assert quiet.netns != lossy.netns
    assert_lost(quiet)
    assert_lost(lossy, overflow=dropped)


@contextmanager
def sleeping() -> Iterator[None]:
    """A process in the namespace that we are in."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    """It comes after the first reading; a signal before that ends a run without one."""
    assert process.stdout is not None
    return process.stdout.readline()
