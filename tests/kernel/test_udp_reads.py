"""Who reads a UDP socket that several processes share, against what each of them took."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from accepttrace.model.datagrams import Reader, ReceiverRow

from .keepers import Keeper, Order, keepers
from .test_udp import FAMILIES, UdpAccount, UdpTracing, udp
from .udpserver import LOOPBACK, UDP_GRO, UDP_SEGMENT, inode_of

__all__ = ["udp"]

SIZE = 64
IP_RECVERR = 11
_LIBC = ctypes.CDLL(None, use_errno=True)
Take = Callable[[socket.socket], None]


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr, with its struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("took", ctypes.c_uint),
    )


def by_recvmmsg(sock: socket.socket) -> None:
    """Three at once."""
    buffer = ctypes.create_string_buffer(SIZE)
    vector = _Vector(ctypes.addressof(buffer), SIZE)
    messages = (_Message * 3)()
    for one in messages:
        one.vectors, one.vector_count = ctypes.addressof(vector), 1
    assert _LIBC.recvmmsg(sock.fileno(), messages, 3, 0, None) == 3


def by_peeking(sock: socket.socket) -> None:
    """Twice what is still there, and then it is taken."""
    for flags in (socket.MSG_PEEK, socket.MSG_PEEK, 0):
        assert sock.recv(SIZE, flags) is not None


# By name, a call and how many packets it takes.
TAKES: dict[str, tuple[Take, int]] = {
    "recv": (lambda sock: sock.recv(SIZE), 1),  # type: ignore[dict-item]
    "recvmsg": (lambda sock: sock.recvmsg(SIZE), 1),  # type: ignore[dict-item]
    "recvmmsg": (by_recvmmsg, 3),
    "peek": (by_peeking, 1),
    "read": (lambda sock: os.read(sock.fileno(), SIZE), 1),  # type: ignore[dict-item]
}


@contextmanager
def sharing(sock: socket.socket, number: int) -> Iterator[list[Keeper]]:
    """Processes that inherited the socket, and take from it when asked."""
    orders: dict[str, Order] = {
        name: (lambda _, take=take: take(sock))  # type: ignore[misc]
        for name, (take, _) in TAKES.items()
    }
    with keepers(number, **orders) as found:
        yield found


def bound(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((LOOPBACK[family], 0))
    return sock


def row_of(account: UdpAccount, sock: socket.socket) -> ReceiverRow:
    return account.rows()[inode_of(sock)]


def needs_reads(tracing: UdpTracing) -> None:
    if not tracing.session.plan.sees.read:
        pytest.skip("before 6.3 trampolines alone see who reads")


def readers_of(row: ReceiverRow) -> dict[int, int]:
    assert row.readers is not None
    return {one.pid: one.packets for one in row.readers if one.pid is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_process_has_what_it_took_by_whatever_call(udp: UdpTracing, family: int) -> None:
    needs_reads(udp)
    turns = (0, 1, 1, 0, 1)  # who takes by which call
    with bound(family) as sock, socket.socket(family, socket.SOCK_DGRAM) as client:
        account = udp.of(sock.getsockname()[1])
        with sharing(sock, 3) as readers:
            took = dict.fromkeys([one.pid for one in readers], 0)
            for who, (name, (_, number)) in zip(turns, TAKES.items(), strict=True):
                for size in range(number):  # the first of them is empty
                    client.sendto(bytes(size), sock.getsockname())
                readers[who].ask(name)
                took[readers[who].pid] += number
            row = row_of(account, sock)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):  # an error is no packet, and nothing is left
            sock.recv(SIZE)
        again = row_of(account, sock)
    mine = os.getpid()
    assert readers_of(row) == {**took, mine: 0}
    assert row.read == sum(took.values()) == 7
    first, *_ = row.readers or ()
    assert first == Reader(readers[1].pid, first.start_ticks, first.name, 5, 5 / 7)
    assert readers_of(again)[mine] == 0
    if udp.sees_datagrams:
        assert row.datagrams == row.read


def test_what_gro_put_together_is_one_packet(udp: UdpTracing) -> None:
    needs_reads(udp)
    with bound(socket.AF_INET) as sock, socket.socket(type=socket.SOCK_DGRAM) as client:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        account = udp.of(sock.getsockname()[1])
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
        client.sendto(bytes(450), sock.getsockname())
        packets = 0
        size = 0
        while size < 450:
            size += len(sock.recv(1000))
            packets += 1
        row = row_of(account, sock)
    assert (row.read, readers_of(row)) == (packets, {os.getpid(): packets})


def test_neither_the_end_of_input_nor_a_raw_socket_is_a_datagram(udp: UdpTracing) -> None:
    needs_reads(udp)
    with bound(socket.AF_INET) as sock, bound(socket.AF_INET) as peer:
        account = udp.of(sock.getsockname()[1])
        sock.connect(peer.getsockname())
        sock.shutdown(socket.SHUT_RD)
        assert [sock.recv(SIZE) for _ in range(3)] == [b""] * 3
        assert not row_of(account, sock).read
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
            account = udp.of(socket.IPPROTO_UDP)  # its number stands where a port does
            raw.bind(("127.0.0.1", 0))
            client.sendto(b"x", ("127.0.0.1", 9))
            assert raw.recv(SIZE)
        assert account.rows() == {}
        assert udp.session.counts().readers == ()
