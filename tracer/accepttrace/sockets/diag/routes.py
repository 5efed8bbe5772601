"""Where packets to an address go: the kernel's own answer, as `ip route get` has it."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from accepttrace.sockets.diag import netlink

NLM_F_REQUEST: Final = 0x1
RTM_NEWROUTE: Final = 24
RTM_GETROUTE: Final = 26
RTA_DST: Final = 1
RTA_SRC: Final = 2
RTA_IIF: Final = 3
RTA_OIF: Final = 4
RTN_LOCAL: Final = 2
RTM_F_FIB_MATCH: Final = 0x2000  # the entry itself: that of a local address has its own device
# rtmsg, of a request: family, bits of destination and source, nothing, flags; of an answer: type
ASKED: Final = struct.Struct("=BBB5xI")
ROUTE: Final = struct.Struct("=7xB4x")
INDEX: Final = struct.Struct("=I")
# No IPv6 in this kernel: EOPNOTSUPP.
NO_WAY: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EOPNOTSUPP}
IMPOSSIBLE: Final = {errno.EINVAL, errno.EXDEV}


@dataclass(frozen=True, slots=True)
class Route:
    """`local`: it is an address of this network namespace.

    `device`: through which packets leave; of a local address the one that has it, through which the
    kernel takes those of its own clients to come, though they are on no wire.
    """

    local: bool
    device: str | None


class ImpossibleError(OSError):
    """The kernel drops such packets (`martian`), or the route is a black hole."""


def route_to(address: str, device: str | None = None) -> Route | None:
    """In the network namespace of the calling thread; None: there is no route. OSError.

    `device`: through which packets must leave, where an address needs that (fe80::).
    """
    rest = {RTA_OIF: INDEX.pack(socket.if_nametoindex(device))} if device else {}
    try:
        return _ask(address, RTM_F_FIB_MATCH, rest)
    except ImpossibleError:
        return None


def route_of(source: str, address: str, device: str) -> Route | None:
    """Of a packet that comes in through a device. ImpossibleError, and as `route_to`."""
    rest = {
        RTA_SRC: socket.inet_pton(_family(source), source),
        RTA_IIF: INDEX.pack(socket.if_nametoindex(device)),
    }
    return _ask(address, 0, rest)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _ask(address: str, flags: int, rest: Mapping[int, bytes]) -> Route | None:
    family = _family(address)
    packed = {RTA_DST: socket.inet_pton(family, address), **rest}
    bits = len(packed[RTA_DST]) * 8
    body = ASKED.pack(family, bits, bits if RTA_SRC in packed else 0, flags)
    for kind, value in packed.items():
        body += netlink.ATTRIBUTE.pack(netlink.ATTRIBUTE.size + len(value), kind) + value
    request = netlink.framed(RTM_GETROUTE, body, NLM_F_REQUEST)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE) as link:
        link.settimeout(netlink.TIMEOUT_S)
        link.send(request)
        return _decoded(link.recv(netlink.RECEIVE_BYTES))


def _decoded(reply: bytes) -> Route | None:
    size, kind, _ = netlink.NLMSGHDR.unpack_from(reply)
    body = reply[netlink.NLMSGHDR.size : size]
    if kind == netlink.NLMSG_ERROR:
        (code,) = netlink.ERROR.unpack_from(body)
        if -code in NO_WAY:
            return None
        if -code in IMPOSSIBLE:
            raise ImpossibleError(-code, os.strerror(-code))
        raise OSError(-code, os.strerror(-code))
    if kind != RTM_NEWROUTE or len(body) < ROUTE.size:
        raise OSError(errno.EBADMSG, "no route in the answer")
    index = netlink.attribute(body, RTA_OIF, ROUTE.size)
    device = netlink.device(int.from_bytes(index, sys.byteorder)) if index else None
    (route_type,) = ROUTE.unpack_from(body)
    return Route(route_type == RTN_LOCAL, device)
