"""The filters of the user as the kernel side reads them."""

from __future__ import annotations

import socket

from accepttrace.config import Filters
from accepttrace.errors import UsageError
from accepttrace.facts.matching import is_ipv4
from accepttrace.probe import pidns, wire


def settings_of(filters: Filters) -> wire.Settings:
    """The one entry of the map `settings`; PIDs go into a map of their own.

    UsageError where they are more than the kernel side has room for. `UnsupportedError`: see
    `pidns.seen_from`.
    """
    for what, given, room in (
        ("network namespaces", filters.netns, wire.MAX_NETNS),
        ("PIDs", filters.pids, wire.MAX_PIDS),
    ):
        if len(given) > room:
            raise UsageError(f"{len(given)} {what} are too many: at most {room}")
    family = _family(filters)
    settings = wire.Settings(
        netns_count=len(filters.netns),
        family=family,
        any_place=not filters.netns and not family,
        any_pid=not filters.pids,
        pidns=pidns.seen_from(),
    )
    for index, netns in enumerate(sorted(filters.netns)):
        settings.netns[index] = netns
    for port in filters.ports or range(wire.PORTS):
        settings.ports[port] = 1
    return settings


def _family(filters: Filters) -> int:
    """Of the clients. Addresses are not in the kernel's filter, but may be all of one family.

    Then the kernel's answer is exact for a socket of IPv6 that is known from nowhere else.
    """
    if filters.addresses and all(map(is_ipv4, filters.addresses)):
        return socket.AF_INET
    return {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, None: 0}[filters.family]
