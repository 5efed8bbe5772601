"""What decides which listener gets a connection, beside the listeners: order, routes, programs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from accepttrace.errors import UsageError
from accepttrace.facts.matching import LOOPBACK, is_link_local, is_loopback
from accepttrace.facts.records import Listener, Program
from accepttrace.sockets.diag import links, netfilter
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.diag.routes import ImpossibleError, Route, route_of, route_to
from accepttrace.sockets.diag.tcp import lookup_order
from accepttrace.sockets.namespaces import Namespaces


@dataclass(frozen=True, slots=True)
class Reaching:
    """One network namespace.

    `order`: inodes of its listeners, as the kernel compares them; empty: not known. `here`: the
    route to the address that was asked about, `back` to the client; None: there is none, or it was
    not asked. `martian`: what comes from the client is dropped. `localnet`: devices through which
    127.0.0.1 may be reached; `vrfs`: VRFs, and those in one. `programs`: of type sk_lookup,
    `tables`: of netfilter; None: it may not be asked.
    """

    netns: int
    order: tuple[int, ...]
    here: Route | None
    back: Route | None
    martian: bool
    localnet: frozenset[str]
    vrfs: frozenset[str]
    tables: tuple[str, ...] | None
    programs: tuple[Program, ...] | None

    @property
    def near(self) -> str:
        """The device through which the machine's own clients come to the address."""
        return (self.here and self.here.device) or LOOPBACK

    def sort(self, rows: tuple[Listener, ...]) -> list[Listener]:
        """Those in the kernel's list first, in its order."""
        rank = {inode: place for place, inode in enumerate(self.order)}
        return sorted(rows, key=lambda row: rank.get(row.inode, len(rank)))


def reaching(
    netns: int | None, to: str | None, client: str | None, device: str | None = None
) -> Reaching:
    """Of a namespace by its number; None: our own. `device`: through which packets come.

    OSError if it may not be entered. UsageError if it has no such device.
    """
    namespaces = Namespaces()
    if netns not in (None, namespaces.own):
        namespaces.refresh()
    number = namespaces.own if netns is None else netns
    path = namespaces.path(number)

    def ask() -> Reaching:
        _check(device)
        here, back = _route(to, device), _route(client, device)
        here, martian = _arriving(to, client, device, here, back)
        programs = _programs(path or "/proc/self/ns/net")
        devices, tables = (_localnet(), links.of_kind("vrf")), netfilter.tables()
        return Reaching(number, _order(), here, back, martian, *devices, tables, programs)

    return call_inside(path, ask) if path else ask()


def _check(device: str | None) -> None:
    try:
        if device is not None:
            socket.if_nametoindex(device)
    except (OSError, ValueError):
        raise UsageError(
            f"there is no device {device} in this network namespace", "`ip link` lists them"
        ) from None


def _arriving(
    to: str | None, client: str | None, device: str | None, here: Route | None, back: Route | None
) -> tuple[Route | None, bool]:
    """`here` and `martian`, by the way that packets of another machine take."""
    through = device or (back.device if back else None)
    if to is None or client is None or through is None or (back and back.local):
        return here, False
    if ":" in to and is_loopback(to):  # the answer would be of routes, which it never comes to
        return here, False
    try:
        arrives = route_of(client, to, through)
    except ImpossibleError:
        return here, True
    local = arrives is not None and arrives.local
    return Route(local, here.device if here else None), False


def _localnet() -> frozenset[str]:
    """Where `all` is set, all of them."""
    top = Path("/proc/sys/net/ipv4/conf")
    try:
        found = {one.name: (one / "route_localnet").read_text()[:1] == "1" for one in top.iterdir()}
    except OSError:
        return frozenset()
    return frozenset(name for name, allows in found.items() if allows or found.get("all"))


def _order() -> tuple[int, ...]:
    try:
        return lookup_order()
    except OSError:
        return ()


def _route(address: str | None, device: str | None) -> Route | None:
    """`device` counts where the address is of one device."""
    if address is None:
        return None
    return route_to(address, device if is_link_local(address) else None)


def _programs(path: str) -> tuple[Program, ...] | None:
    from accepttrace.probe.lookups import programs

    return programs(path)
