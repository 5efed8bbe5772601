"""Listening TCP sockets of one network namespace, from the kernel's NETLINK_SOCK_DIAG dump.

Where the kernel has no sock_diag (modules inet_diag or tcp_diag missing), /proc/net/tcp and
/proc/net/tcp6 are read instead: without backlog, cookie, v6only and interface, which are then None.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.model.records import Family
from accepttrace.probe import proctcp
from accepttrace.probe.netns import call_inside

FAMILIES: Final[dict[int, Family]] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 0x1
NLM_F_DUMP: Final = 0x300
NLM_F_DUMP_INTR: Final = 0x10
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
TCP_LISTEN: Final = 10
INET_DIAG_SKMEMINFO: Final = 7
INET_DIAG_SKV6ONLY: Final = 11
SK_MEMINFO_DROPS: Final = 8

NLMSGHDR: Final = struct.Struct("=IHHII")
# inet_diag_req_v2: family, protocol, extensions, pad, states, then an inet_diag_sockid of zeros
REQUEST: Final = struct.Struct("=BBBxI48x")
# inet_diag_msg: family, state, timer, retrans; sport dport src dst if cookie; expires rqueue wqueue
# uid inode
MESSAGE: Final = struct.Struct("=BBBB2s2s16s16sIIIIIIII")
ATTRIBUTE: Final = struct.Struct("=HH")
ERROR: Final = struct.Struct("=i")
COUNTER: Final = struct.Struct("=I")

ATTEMPTS: Final = 3  # a dump that the kernel had to interrupt is asked for again
RECEIVE_BYTES: Final = 65536
TIMEOUT_S: Final = 5.0
ABSENT: Final = {errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT}
REFUSED: Final = {errno.EPERM, errno.EACCES}


@dataclass(frozen=True, slots=True)
class ListenSocket:
    """One socket in state LISTEN. `None`: this source does not tell."""

    inode: int
    family: Family
    local_address: str
    local_port: int
    backlog: int | None  # limit as listen() set it; the queue holds one more
    queue: int | None  # connections waiting for accept()
    uid: int
    cookie: int | None
    v6only: bool | None  # None for IPv4
    interface: int | None  # index of the device it is bound to, 0: none
    drops: int | None = None  # packets dropped at it, for whatever reason


def listeners(netns_path: str | None = None) -> tuple[ListenSocket, ...]:
    """All TCP listeners of the namespace at `netns_path` (None: the caller's own).

    Entering another namespace needs CAP_SYS_ADMIN; without it the text tables of a
    /proc/PID/ns/net path are read, and UnsupportedError is raised for any other path.
    AcceptTraceError if the kernel refuses or does not answer; also if the namespace is gone.
    """
    if netns_path is None:
        return _dump_or_text()
    try:
        return call_inside(netns_path, _dump_or_text)
    except OSError as error:
        if error.errno in REFUSED:
            return _from_outside(netns_path)
        raise AcceptTraceError(
            f"cannot enter the network namespace {netns_path}: {error.strerror}",
            "it may just have ended; `lsns -t net` lists those that are there",
        ) from error


def _dump_or_text() -> tuple[ListenSocket, ...]:
    try:
        return _dump()
    except OSError as error:
        if error.errno in ABSENT:
            return _from_text("/proc/thread-self/net")
        raise AcceptTraceError(
            f"the kernel refused to list listening sockets: {error.strerror or error}",
            "`ss -ltn` asks the same question: see whether it can",
        ) from error


def _dump() -> tuple[ListenSocket, ...]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as link:
        link.settimeout(TIMEOUT_S)
        return tuple(found for family in FAMILIES for found in _dump_family(link, family))


def _dump_family(link: socket.socket, family: int) -> list[ListenSocket]:
    for _ in range(ATTEMPTS):
        link.send(_request(family))
        rows, interrupted = _replies(link)
        if not interrupted:
            break
    return rows


def _request(family: int) -> bytes:
    wanted = 1 << (INET_DIAG_SKMEMINFO - 1)
    body = REQUEST.pack(family, socket.IPPROTO_TCP, wanted, 1 << TCP_LISTEN)
    size = NLMSGHDR.size + len(body)
    return NLMSGHDR.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0) + body


def _replies(link: socket.socket) -> tuple[list[ListenSocket], bool]:
    """All rows up to the end of the dump, and whether the kernel calls the dump inconsistent."""
    rows: list[ListenSocket] = []
    interrupted = False
    while True:
        for kind, flags, body in _messages(link.recv(RECEIVE_BYTES)):
            interrupted |= bool(flags & NLM_F_DUMP_INTR)
            if kind == NLMSG_DONE:
                _raise_code(body)
                return rows, interrupted
            if kind == NLMSG_ERROR:
                _raise_code(body)
            elif kind == SOCK_DIAG_BY_FAMILY:
                rows.append(decode(body))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + NLMSGHDR.size <= len(data):
        size, kind, flags, _, _ = NLMSGHDR.unpack_from(data, offset)
        if not NLMSGHDR.size <= size <= len(data) - offset:
            raise OSError(errno.EBADMSG, "a cut-off netlink message")
        yield kind, flags, data[offset + NLMSGHDR.size : offset + size]
        offset += (size + 3) & ~3


def _raise_code(body: bytes) -> None:
    code = ERROR.unpack_from(body)[0] if len(body) >= ERROR.size else 0
    if code < 0:
        raise OSError(-code, os.strerror(-code))


def decode(body: bytes) -> ListenSocket:
    """One `struct inet_diag_msg` with its attributes. OSError if it is too short."""
    if len(body) < MESSAGE.size:
        raise OSError(errno.EBADMSG, "a short inet_diag message")
    values = MESSAGE.unpack_from(body)
    family, sport, src = values[0], values[4], values[6]
    interface, cookie_low, cookie_high, _expires, queue, backlog, uid, inode = values[8:]
    return ListenSocket(
        inode=inode,
        family=FAMILIES[family],
        local_address=socket.inet_ntop(family, src[:4] if family == socket.AF_INET else src),
        local_port=int.from_bytes(sport, "big"),
        backlog=backlog,
        queue=queue,
        uid=uid,
        cookie=cookie_high << 32 | cookie_low,
        v6only=_v6only(body) if family == socket.AF_INET6 else None,
        interface=interface,
        drops=_drops(body),
    )


def _v6only(body: bytes) -> bool | None:
    value = _attribute(body, INET_DIAG_SKV6ONLY)
    return value[0] != 0 if value else None


def _drops(body: bytes) -> int | None:
    value = _attribute(body, INET_DIAG_SKMEMINFO)
    at = SK_MEMINFO_DROPS * COUNTER.size
    return COUNTER.unpack_from(value, at)[0] if len(value) >= at + COUNTER.size else None


def _attribute(body: bytes, wanted: int) -> bytes:
    """The content of one attribute; empty where it is not there."""
    offset = MESSAGE.size
    while offset + ATTRIBUTE.size <= len(body):
        size, kind = ATTRIBUTE.unpack_from(body, offset)
        if size < ATTRIBUTE.size:
            break
        if kind == wanted:
            return body[offset + ATTRIBUTE.size : offset + size]
        offset += (size + 3) & ~3
    return b""


def _from_outside(netns_path: str) -> tuple[ListenSocket, ...]:
    """The tables of a process in that namespace: these need no privilege to be read."""
    process, marker, _ = netns_path.partition("/ns/")
    try:
        if marker:
            return _from_text(f"{process}/net")
    except AcceptTraceError:
        pass
    raise UnsupportedError(
        f"cannot look into the network namespace {netns_path} without CAP_SYS_ADMIN",
        "run it as root",
    )


def _from_text(folder: str) -> tuple[ListenSocket, ...]:
    try:
        entries = proctcp.listening(folder)
    except OSError as error:
        raise AcceptTraceError(
            f"cannot read {error.filename}: {error.strerror}",
            "the kernel offers neither sock_diag nor /proc/net/tcp: is /proc mounted?",
        ) from error
    return tuple(
        ListenSocket(e.inode, e.family, e.address, e.port, None, e.queue, e.uid, None, None, None)
        for e in entries
    )
