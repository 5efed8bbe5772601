"""Who uses a port of one network namespace, whatever for, and the switches that rule it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from accepttrace.config import Filters
from accepttrace.facts.binding import PortUse, PortUser
from accepttrace.facts.matching import is_any, unmapped
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.diag.ports import port_users
from accepttrace.sockets.diag.routes import route_to
from accepttrace.sockets.holding import Holding

SWITCHES: Final = "/proc/sys/net"
LONGEST: Final = 1 << 19  # of ip_local_reserved_ports, in characters: all ports, one by one


class Place(NamedTuple):
    """Where a port would be bound: the namespace's path (None: our own), and the address's kind."""

    netns_path: str | None
    local: bool


def port_use(netns: int | None, port: int, address: str) -> tuple[PortUse, Place]:
    """Of a namespace by its number; None: our own. OSError if it may not be entered.

    AcceptTraceError and UnsupportedError where the kernel does not list sockets.
    """
    holding = Holding(Filters(ports=frozenset({port})), None)
    try:
        holding.begin(full=True)
        number = holding.own if netns is None else netns
        path = holding.path(number)
        users = port_users(port, path)
        holding.finish([user.inode for user in users.first if user.inode], full=True)
        first, reserved, ephemeral, local = _inside(path, port, address)
        found = tuple(_held(user, holding) for user in users.first)
        use = PortUse(
            number,
            found,
            dict(users.counts),
            frozenset(users.owners),
            users.complete,
            users.exact,
            first,
            reserved,
            ephemeral,
            holding.unread,
        )
        return use, Place(path, local)
    finally:
        holding.close()


def _held(user: PortUser, holding: Holding) -> PortUser:
    return replace(user, holders=holding.holders(user.inode)) if user.inode else user


def _inside(path: str | None, port: int, address: str) -> tuple[int | None, bool, bool, bool]:
    """The first unprivileged port; of this one, whether it is reserved, and else, whether it may be
    given to a connection; whether the address is here.
    """

    def read() -> tuple[int | None, bool, bool, bool]:
        reserved = _is_reserved(port)
        ephemeral = not reserved and _is_in_range(port)
        return _unprivileged_from(), reserved, ephemeral, _may_bind(address)

    try:
        return call_inside(path, read) if path else read()
    except PermissionError:
        return None, False, False, True


def _may_bind(address: str) -> bool:
    """Whether the namespace has it, or lets others be bound too."""
    if is_any(address):
        return True
    route = route_to(unmapped(address))
    family = "ipv6" if ":" in address else "ipv4"
    return (route is not None and route.local) or _binds_others(family)


def _binds_others(family: str) -> bool:
    try:
        return _switch("ip_nonlocal_bind", family) != "0"
    except OSError:
        return False


def _unprivileged_from() -> int | None:
    try:
        return int(_switch("ip_unprivileged_port_start"))
    except (OSError, ValueError):
        return None


def _is_reserved(port: int) -> bool:
    """Whether the kernel gives it to nobody who asks for any port."""
    try:
        ranges = [part.partition("-") for part in _switch("ip_local_reserved_ports").split(",")]
        return any(int(low) <= port <= int(high or low) for low, _, high in ranges if low)
    except (OSError, ValueError):
        return False


def _is_in_range(port: int) -> bool:
    """Whether the kernel gives it to who asks for any port."""
    try:
        low, high = map(int, _switch("ip_local_port_range").split())
    except (OSError, ValueError):
        return False
    return low <= port <= high


def _switch(name: str, family: str = "ipv4") -> str:
    with open(f"{SWITCHES}/{family}/{name}", encoding="ascii") as file:
        return file.read(LONGEST).strip()
