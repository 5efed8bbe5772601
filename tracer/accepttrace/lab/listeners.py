"""Listening sockets of the lab, and the addresses that clients reach them by."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from accepttrace.errors import AcceptTraceError, UsageError

Family = Literal["ipv4", "ipv6", "mapped"]
Address = tuple[str, int]

# A wildcard listener is reachable by all of 127/8: more destinations, more free source ports.
_LOOPBACKS: Final = tuple(f"127.0.0.{last}" for last in range(1, 9))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a family of listeners binds, and the hosts by which clients reach it."""

    domain: int
    host: str
    reached_by: tuple[str, ...]
    dual_stack: bool = False


PLACES: Final[Mapping[str, Place]] = {
    "ipv4": Place(socket.AF_INET, "127.0.0.1", ("127.0.0.1",)),
    "ipv6": Place(socket.AF_INET6, "::1", ("::1",)),
    "mapped": Place(socket.AF_INET6, "::", _LOOPBACKS, dual_stack=True),
}


def find_place(family: str) -> Place:
    """Where listeners of that family bind; UsageError if there is no such family."""
    try:
        return PLACES[family]
    except KeyError:
        raise UsageError(f"no family {family!r}", f"choose from: {', '.join(PLACES)}") from None


def bind(family: str, port: int = 0, *, reuseport: bool = False) -> socket.socket:
    """A bound socket that does not listen yet (port 0: one that is free).

    With `reuseport` it also serves to reserve a port: listeners with SO_REUSEPORT, or with
    SO_REUSEADDR as servers set it, may bind the same port while it is held, and as it never
    listens it takes no connections. AcceptTraceError when it cannot be bound.
    """
    place = find_place(family)
    opened: socket.socket | None = None
    try:
        opened = socket.socket(place.domain, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuseport:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if place.domain == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not place.dual_stack)
        opened.bind((place.host, port))
    except OSError as error:
        if opened is not None:
            opened.close()
        raise AcceptTraceError(
            f"cannot bind {place.host} port {port}: {error.strerror}",
            "choose another port, or another address family",
        ) from None
    return opened


def addresses(family: str, port: int) -> tuple[Address, ...]:
    """(host, port) of every address that clients of this family connect to."""
    return tuple((host, port) for host in find_place(family).reached_by)
