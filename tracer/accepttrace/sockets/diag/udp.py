"""UDP sockets of one network namespace, from the kernel's NETLINK_SOCK_DIAG dump.

Where the kernel has no sock_diag for UDP (module udp_diag missing), /proc/net/udp and
/proc/net/udp6 are read instead: without the limit of the queue, which is then None.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from accepttrace.facts import addresses
from accepttrace.facts.records import Family
from accepttrace.sockets.diag import netlink, proctcp
from accepttrace.sockets.diag.tcp import Rows, ask, v6only

TABLES: Final[proctcp.Tables] = (("udp", "ipv4"), ("udp6", "ipv6"))
CONNECTED: Final = 1  # TCP_ESTABLISHED
UNCONNECTED: Final = 7  # TCP_CLOSE


@dataclass(frozen=True, slots=True)
class UdpSocket:
    """One bound UDP socket. `None`: not connected, or not known to this source."""

    inode: int
    family: Family
    local_address: str
    local_port: int
    remote_address: str | None
    remote_port: int | None
    uid: int
    queue_bytes: int  # memory that waiting packets take
    queue_limit_bytes: int | None
    drops: int | None  # packets dropped at it, for whatever reason
    v6only: bool | None = None  # of IPv6: it refuses IPv4
    device: str | None = None  # the name of the device that it is bound to


def udp_sockets(netns_path: str | None = None) -> Rows[UdpSocket]:
    """All UDP sockets of the namespace at `netns_path` (None: the caller's own).

    AcceptTraceError and UnsupportedError as `sockdiag.ask` raises them.
    """
    return ask(netns_path, "UDP sockets", _dump, _from_text)


def _dump() -> Rows[UdpSocket]:
    states = sum(1 << state for state in (CONNECTED, UNCONNECTED))
    return netlink.dump(addresses.FAMILIES, socket.IPPROTO_UDP, states, decode)


def decode(body: bytes) -> UdpSocket:
    """One `struct inet_diag_msg` with its attributes. OSError if it is none."""
    family, state, _, _, sport, dport, src, dst, *rest = netlink.fields(body)
    interface, _cookie_low, _cookie_high, _expires, queue, _sending, uid, inode = rest
    connected = state == CONNECTED
    return UdpSocket(
        inode=inode,
        family=addresses.family_of(family),
        local_address=addresses.spelled(family, src),
        local_port=int.from_bytes(sport, "big"),
        remote_address=addresses.spelled(family, dst) if connected else None,
        remote_port=int.from_bytes(dport, "big") if connected else None,
        uid=uid,
        queue_bytes=queue,
        queue_limit_bytes=netlink.meminfo(body, netlink.SK_MEMINFO_RCVBUF),
        drops=netlink.meminfo(body, netlink.SK_MEMINFO_DROPS),
        v6only=v6only(body, family),
        device=netlink.device(interface),
    )


def _from_text(folder: str) -> Rows[UdpSocket]:
    return tuple(parse(line, family) for family, line in proctcp.sockets(folder, TABLES))


def parse(line: str, family: Family) -> UdpSocket:
    """One line of the table."""
    fields = line.split()
    local, remote = (proctcp.endpoint(text, family) for text in fields[1:3])
    connected = int(fields[3], 16) == CONNECTED
    return UdpSocket(
        inode=int(fields[9]),
        family=family,
        local_address=local[0],
        local_port=local[1],
        remote_address=remote[0] if connected else None,
        remote_port=remote[1] if connected else None,
        uid=int(fields[7]),
        queue_bytes=int(fields[4].split(":")[1], 16),
        queue_limit_bytes=None,
        drops=int(fields[12]),
    )
