"""UDP sockets as sock_diag and /proc/net/udp show them, against sockets of our own."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from accepttrace.facts import addresses
from accepttrace.sockets.diag import proctcp
from accepttrace.sockets.diag import udp as udpdiag
from accepttrace.sockets.diag.udp import UdpSocket, udp_sockets
from tests.unit.forked import wait_until

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def own(sock: socket.socket) -> UdpSocket:
    inode = os.fstat(sock.fileno()).st_ino
    return next(row for row in udp_sockets() if row.inode == inode)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def server(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket(request.param, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind((LOOPBACK[request.param], 0))
        yield sock


@pytest.fixture
def client(server: socket.socket) -> Iterator[socket.socket]:
    with socket.socket(server.family, socket.SOCK_DGRAM) as sock:
        sock.connect(server.getsockname())
        yield sock


def test_reports_what_was_bound_and_set(server: socket.socket) -> None:
    row = own(server)
    assert (row.local_address, row.local_port) == server.getsockname()[:2]
    assert row.family == ("ipv4" if server.family == socket.AF_INET else "ipv6")
    assert (row.remote_address, row.remote_port) == (None, None)
    assert (row.uid, row.queue_bytes, row.drops) == (os.geteuid(), 0, 0)
    assert row.queue_limit_bytes == server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_a_connected_socket_has_its_peer(server: socket.socket, client: socket.socket) -> None:
    row = own(client)
    assert (row.remote_address, row.remote_port) == server.getsockname()[:2]
    assert (row.local_address, row.local_port) == client.getsockname()[:2]


def test_counts_what_waits_and_what_was_dropped(
    server: socket.socket, client: socket.socket
) -> None:
    for _ in range(40):
        client.send(bytes(200))
    server.setblocking(False)
    wait_until(lambda: bool(own(server).drops))
    full = own(server)
    assert full.queue_bytes > 40
    received = 0
    while received + (own(server).drops or 0) < 40:
        try:
            received += bool(server.recv(200))
        except BlockingIOError:
            continue
    assert own(server).queue_bytes == 0


def test_the_text_tables_say_the_same(server: socket.socket, client: socket.socket) -> None:
    client.send(b"one")
    wait_until(lambda: own(server).queue_bytes > 0)
    for sock in (server, client):
        row = own(sock)
        entries = (
            udpdiag.parse(line, family)
            for family, line in proctcp.sockets("/proc/self/net", udpdiag.TABLES)
        )
        entry = next(one for one in entries if one.inode == row.inode)
        assert entry == replace(row, queue_limit_bytes=None, v6only=None)


def test_falls_back_to_text_where_sock_diag_is_absent(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # AF_APPLETALK has no sock_diag handler: the kernel's real answer to a missing module, ENOENT.
    monkeypatch.setattr(addresses, "FAMILIES", {5: "ipv4"})
    row = own(server)
    assert row.local_port == server.getsockname()[1]
    assert (row.queue_limit_bytes, row.drops) == (None, 0)


def test_short_messages_are_refused() -> None:
    with pytest.raises(OSError, match="short") as error:
        udpdiag.decode(b"\x02\x07")
    assert error.value.errno == errno.EBADMSG
