"""Listening TCP sockets of one network namespace, from the kernel's NETLINK_SOCK_DIAG dump.

Where the kernel has no sock_diag (modules inet_diag or tcp_diag missing), /proc/net/tcp and
/proc/net/tcp6 are read instead: without backlog, cookie, v6only and interface, which are then None.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts import addresses
from accepttrace.facts.record import record
from accepttrace.facts.records import Family, ListenerFact, TcpCounters
from accepttrace.sockets.diag import netlink, proctcp
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.diag.netstat import tcp_counters

Row = TypeVar("Row")
Rows = tuple[Row, ...]

TCP_ESTABLISHED: Final = 1
TCP_LISTEN: Final = 10
MAX_CONNECTIONS: Final = 131072  # that are listed, in one namespace
INET_DIAG_SKV6ONLY: Final = 11

ABSENT: Final = {errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT}
REFUSED: Final = {errno.EPERM, errno.EACCES}


@record(frozen=True, slots=True)
class ListenSocket:
    """One socket in state LISTEN. `None`: not known to this source."""

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
    device: str | None = None  # the name of that device; None: not bound to one


@record(frozen=True, slots=True)
class Connection:
    """One in state ESTABLISHED, as far as it takes to find who holds it."""

    inode: int
    family: Family
    local_port: int


@dataclass(frozen=True, slots=True)
class Look:
    """One network namespace. `None`: it was not read.

    `counters`: read just before the sockets. `facts`: what else is known, by inode.
    `connections`: of the ports asked for.
    """

    sockets: Rows[ListenSocket]
    counters: TcpCounters | None = None
    facts: Mapping[int, ListenerFact] | None = None
    connections: Rows[Connection] | None = None


AskFacts = Callable[[], Mapping[int, ListenerFact]]


def look(
    netns_path: str | None,
    counting: bool,
    ask_facts: AskFacts | None = None,
    open_ports: Collection[int] = (),
) -> Look:
    """The namespace at `netns_path` (None: the caller's own), with its counters if asked.

    `ask_facts` is called inside of it. Connections are listed of `open_ports`.
    AcceptTraceError and UnsupportedError as `ask` raises them.
    Entered only once, so that all is of the same namespace, whatever the path leads to.
    """

    def dump() -> Rows[Look]:
        counters = _counters() if counting else None
        facts = ask_facts() if ask_facts else None
        return (Look(_dump(), counters, facts, _connections(open_ports)),)

    def from_text(folder: str) -> Rows[Look]:
        return (Look(_from_text(folder)),)

    (found,) = ask(netns_path, "listening sockets", dump, from_text)
    return found


def _counters() -> TcpCounters | None:
    try:
        return tcp_counters()
    except (OSError, ValueError):  # without them the causes of drops stay unknown
        return None


def _connections(ports: Collection[int]) -> Rows[Connection] | None:
    """None where none were asked for, or there are too many to list."""
    found: list[Connection] = []

    def take(body: bytes) -> None:
        values = netlink.fields(body)
        port = int.from_bytes(values[4], "big")
        if port in ports:
            found.append(Connection(values[-1], addresses.family_of(values[0]), port))
        if len(found) > MAX_CONNECTIONS:
            raise OSError(errno.E2BIG, "too many connections")

    try:
        if ports:
            netlink.dump(addresses.FAMILIES, socket.IPPROTO_TCP, 1 << TCP_ESTABLISHED, take)
    except OSError:
        return None
    return tuple(found) if ports else None


def listeners(netns_path: str | None = None) -> Rows[ListenSocket]:
    """All TCP listeners of the namespace at `netns_path`, as `look` finds them."""
    return look(netns_path, counting=False).sockets


def ask(
    netns_path: str | None,
    what: str,
    dump: Callable[[], Rows[Row]],
    from_text: Callable[[str], Rows[Row]],
) -> Rows[Row]:
    """What `dump` returns in the namespace at `netns_path` (None: the caller's own).

    Entering another namespace needs CAP_SYS_ADMIN; without it the text tables of a
    /proc/PID/ns/net path are read, and UnsupportedError is raised for any other path.
    AcceptTraceError if the kernel refuses or does not answer; also if the namespace is gone.
    """

    def here() -> Rows[Row]:
        return _dump_or_text(what, dump, from_text)

    if netns_path is None:
        return here()
    try:
        return call_inside(netns_path, here)
    except OSError as error:
        if error.errno in REFUSED:
            return _from_outside(netns_path, from_text)
        raise AcceptTraceError(
            f"cannot enter the network namespace {netns_path}: {error.strerror}",
            "it may just have ended; `lsns -t net` lists those that are there",
        ) from error


def _dump_or_text(
    what: str, dump: Callable[[], Rows[Row]], from_text: Callable[[str], Rows[Row]]
) -> Rows[Row]:
    try:
        return dump()
    except OSError as error:
        if error.errno in ABSENT:
            return _read(from_text, "/proc/thread-self/net")
        raise AcceptTraceError(
            f"the kernel refused to list {what}: {error.strerror or error}",
            "`ss -ltun` asks the same question: see whether it can",
        ) from error


def _from_outside(netns_path: str, from_text: Callable[[str], Rows[Row]]) -> Rows[Row]:
    """The tables of a process in that namespace: these need no privilege to be read."""
    process, marker, _ = netns_path.partition("/ns/")
    try:
        if marker:
            return _read(from_text, f"{process}/net")
    except AcceptTraceError:
        pass
    raise UnsupportedError(
        f"cannot look into the network namespace {netns_path} without CAP_SYS_ADMIN",
        "run it as root",
    )


def _read(from_text: Callable[[str], Rows[Row]], folder: str) -> Rows[Row]:
    try:
        return from_text(folder)
    except OSError as error:
        raise AcceptTraceError(
            f"cannot read {error.filename}: {error.strerror}",
            "the kernel offers neither sock_diag nor these tables: is /proc mounted?",
        ) from error


def lookup_order() -> Rows[int]:
    """The inodes of all listeners in the order in which the kernel compares those on one port.

    In the network namespace of the calling thread. OSError where there is no sock_diag.
    """
    return netlink.dump_tcp(1 << TCP_LISTEN, lambda body: netlink.fields(body)[-1])


def _dump() -> Rows[ListenSocket]:
    return netlink.dump(addresses.FAMILIES, socket.IPPROTO_TCP, 1 << TCP_LISTEN, decode)


def decode(body: bytes) -> ListenSocket:
    """One `struct inet_diag_msg` with its attributes. OSError if it is none.

    The name of a device is looked up in the network namespace of the calling thread.
    """
    found = _decoded(body)
    if found.interface:
        return replace(found, device=netlink.device(found.interface))
    return found


@lru_cache(maxsize=2048)  # most listeners are as they were at the last look
def _decoded(body: bytes) -> ListenSocket:
    values = netlink.fields(body)
    family, sport, src = values[0], values[4], values[6]
    interface, cookie_low, cookie_high, _expires, queue, backlog, uid, inode = values[8:]
    return ListenSocket(
        inode=inode,
        family=addresses.family_of(family),
        local_address=addresses.spelled(family, src),
        local_port=int.from_bytes(sport, "big"),
        backlog=backlog,
        queue=queue,
        uid=uid,
        cookie=(cookie_high << 32) + cookie_low,
        v6only=v6only(body, family),
        interface=interface,
        drops=netlink.meminfo(body, netlink.SK_MEMINFO_DROPS),
    )


def v6only(body: bytes, family: int) -> bool | None:
    """Whether a socket of IPv6 refuses IPv4; None where that was not sent, and of IPv4."""
    value = netlink.attribute(body, INET_DIAG_SKV6ONLY) if family == socket.AF_INET6 else b""
    return bool(value[0]) if value else None


def _from_text(folder: str) -> Rows[ListenSocket]:
    return tuple(
        ListenSocket(e.inode, e.family, e.address, e.port, None, e.queue, e.uid, None, None, None)
        for e in proctcp.listening(folder)
    )
