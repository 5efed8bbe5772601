"""Dumps of the kernel's NETLINK_SOCK_DIAG, for any protocol: requests, framing, attributes."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

Row = TypeVar("Row")

NETLINK_SOCK_DIAG: Final = 4
NETLINK_NETFILTER: Final = 12
TCPDIAG_GETSOCK: Final = 18
SOCK_DIAG_BY_FAMILY: Final = 20
DUMP_REQUEST: Final = 0x301  # NLM_F_REQUEST, NLM_F_DUMP
NLM_F_DUMP_INTR: Final = 0x10
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_MIN_TYPE: Final = 16  # below are the messages of netlink itself
INET_DIAG_SKMEMINFO: Final = 7
SK_MEMINFO_RCVBUF: Final = 1
SK_MEMINFO_DROPS: Final = 8

# nlmsghdr: size, kind, flags; then what nobody needs, a number and a sender
NLMSGHDR: Final = struct.Struct("=IHH8x")
# inet_diag_req_v2: family, protocol, extensions, pad, states, then an inet_diag_sockid: the local
# port (0: any), the rest zeros
REQUEST: Final = struct.Struct("=BBBxI2s46x")
# inet_diag_req: nothing, then an inet_diag_sockid of zeros, states, and nothing again
OLD_REQUEST: Final = struct.Struct("=4x48xI4x")
# unix_diag_req: family, nothing, states, no inode, what to show, no cookie
UNIX_REQUEST: Final = struct.Struct("=B3xI4xI8x")
# inet_diag_msg: family, state, timer, retrans; sport dport src dst if cookie; expires rqueue wqueue
# uid inode
MESSAGE: Final = struct.Struct("=BBBB2s2s16s16sIIIIIIII")
ATTRIBUTE: Final = struct.Struct("=HH")
ERROR: Final = struct.Struct("=i")
COUNTER: Final = struct.Struct("=I")

ATTEMPTS: Final = 3  # a dump that the kernel had to interrupt is asked for again
RECEIVE_BYTES: Final = 65536
TIMEOUT_S: Final = 5.0


def dump(
    families: Iterable[int],
    protocol: int,
    states: int,
    decode: Callable[[bytes], Row],
    port: int = 0,
) -> tuple[Row, ...]:
    """Every socket of these families and states (a mask) in the network namespace of the thread.

    `port`: only those on this local port. OSError with the kernel's errno, also where it sends what
    `decode` refuses.
    """
    requests = [_request(family, protocol, states, port) for family in families]
    with _link() as link:
        return tuple(row for each in requests for row in _dump(link, each, decode))


def dump_tcp(states: int, decode: Callable[[bytes], Row]) -> tuple[Row, ...]:
    """As `dump`, TCP sockets of both families in one list, in the kernel's order.

    The request has its oldest form, the only one that names no family.
    """
    with _link() as link:
        return tuple(_dump(link, framed(TCPDIAG_GETSOCK, OLD_REQUEST.pack(states)), decode))


def dump_unix(states: int, show: int, decode: Callable[[bytes], Row]) -> tuple[Row, ...]:
    """As `dump`, sockets of AF_UNIX. `show`: the attributes to send (UDIAG_SHOW_*)."""
    body = UNIX_REQUEST.pack(socket.AF_UNIX, states, show)
    with _link() as link:
        return tuple(_dump(link, framed(SOCK_DIAG_BY_FAMILY, body), decode))


def dump_netfilter(kind: int, body: bytes, decode: Callable[[bytes], Row]) -> tuple[Row, ...]:
    """What netfilter answers to a request of this kind. OSError, as `dump`."""
    with _link(NETLINK_NETFILTER) as link:
        return tuple(_dump(link, framed(kind, body), decode))


def dump_routing(kind: int, body: bytes, decode: Callable[[bytes], Row]) -> tuple[Row, ...]:
    """The same of routing: devices, addresses, routes."""
    with _link(socket.NETLINK_ROUTE) as link:
        return tuple(_dump(link, framed(kind, body), decode))


def _link(protocol: int = NETLINK_SOCK_DIAG) -> socket.socket:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, protocol)
    link.settimeout(TIMEOUT_S)
    return link


def _dump(link: socket.socket, request: bytes, decode: Callable[[bytes], Row]) -> list[Row]:
    for _ in range(ATTEMPTS):
        link.send(request)
        rows, interrupted = _replies(link, decode)
        if not interrupted:
            break
    return rows


def _request(family: int, protocol: int, states: int, port: int) -> bytes:
    extensions = 1 << (INET_DIAG_SKMEMINFO - 1)
    body = REQUEST.pack(family, protocol, extensions, states, port.to_bytes(2, "big"))
    return framed(SOCK_DIAG_BY_FAMILY, body)


def framed(kind: int, body: bytes, flags: int = DUMP_REQUEST) -> bytes:
    """A message with its header."""
    return NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags) + body


def _replies(link: socket.socket, decode: Callable[[bytes], Row]) -> tuple[list[Row], bool]:
    """All rows up to the end of the dump, and whether the kernel calls the dump inconsistent."""
    rows: list[Row] = []
    interrupted = False
    while True:
        for kind, flags, body in _messages(link.recv(RECEIVE_BYTES)):
            interrupted |= bool(flags & NLM_F_DUMP_INTR)
            if kind == NLMSG_DONE:
                _raise_code(body)
                return rows, interrupted
            if kind == NLMSG_ERROR:
                _raise_code(body)
            elif kind >= NLMSG_MIN_TYPE:
                rows.append(decode(body))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + NLMSGHDR.size <= len(data):
        size, kind, flags = NLMSGHDR.unpack_from(data, offset)
        if not NLMSGHDR.size <= size <= len(data) - offset:
            raise OSError(errno.EBADMSG, "a cut-off netlink message")
        yield kind, flags, data[offset + NLMSGHDR.size : offset + size]
        offset += (size + 3) & ~3


def _raise_code(body: bytes) -> None:
    if len(body) < ERROR.size:
        return
    (code,) = ERROR.unpack_from(body)
    if code < 0:
        raise OSError(-code, os.strerror(-code))


def fields(body: bytes) -> tuple[Any, ...]:
    """The fields of `struct inet_diag_msg`, in its order. OSError if it is too short."""
    if len(body) < MESSAGE.size:
        raise OSError(errno.EBADMSG, "a short inet_diag message")
    return MESSAGE.unpack_from(body)


def device(index: int) -> str | None:
    """The name of a network device; None for index 0: no device."""
    try:
        return socket.if_indextoname(index) if index else None  # as its owner named it
    except OSError:  # it has been taken away
        return f"if{index}"


def meminfo(body: bytes, index: int) -> int | None:
    """One of the socket's memory counters (SK_MEMINFO_*); None where they were not sent."""
    return counter(attribute(body, INET_DIAG_SKMEMINFO), index)


def counter(content: bytes, index: int = 0) -> int | None:
    """One of the 32-bit numbers in an attribute; None where it was not sent."""
    at = index * COUNTER.size
    if len(content) < at + COUNTER.size:
        return None
    (found,) = COUNTER.unpack_from(content, at)
    return int(found)


def attribute(body: bytes, wanted: int, offset: int = MESSAGE.size) -> bytes:
    """The content of one attribute of those at `offset`; empty where it is not there."""
    while offset + ATTRIBUTE.size <= len(body):
        size, kind = ATTRIBUTE.unpack_from(body, offset)
        if size < ATTRIBUTE.size:
            break
        if kind == wanted:
            return body[offset + ATTRIBUTE.size : offset + size]
        offset += (size + 3) & ~3
    return b""
