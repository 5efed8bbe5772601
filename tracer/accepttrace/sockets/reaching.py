"""What decides which listener gets a connection, beside the listeners: order, routes, programs."""

from __future__ import annotations

from dataclasses import dataclass

from accepttrace.facts.records import Listener, Program
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.diag.routes import Route, route_to
from accepttrace.sockets.diag.tcp import lookup_order
from accepttrace.sockets.namespaces import Namespaces


@dataclass(frozen=True, slots=True)
class Reaching:
    """One network namespace.

    `order`: inodes of its listeners, as the kernel compares them; empty: not known. `here`: the
    route to the address that was asked about, `back` to the client; None: there is none, or it was
    not asked. `programs`: of type sk_lookup; None: it may not be asked.
    """

    netns: int
    order: tuple[int, ...]
    here: Route | None
    back: Route | None
    programs: tuple[Program, ...] | None

    def sort(self, rows: tuple[Listener, ...]) -> list[Listener]:
        """Those in the kernel's list first, in its order."""
        rank = {inode: place for place, inode in enumerate(self.order)}
        return sorted(rows, key=lambda row: rank.get(row.inode, len(rank)))


def reaching(netns: int | None, to: str | None, client: str | None) -> Reaching:
    """Of a namespace by its number; None: our own. OSError if it may not be entered."""
    namespaces = Namespaces()
    if netns not in (None, namespaces.own):
        namespaces.refresh()
    number = namespaces.own if netns is None else netns
    path = namespaces.path(number)

    def ask() -> tuple[tuple[int, ...], Route | None, Route | None]:
        return _order(), _route(to), _route(client)

    found = call_inside(path, ask) if path else ask()
    return Reaching(number, *found, _programs(path or "/proc/self/ns/net"))


def _order() -> tuple[int, ...]:
    try:
        return lookup_order()
    except OSError:
        return ()


def _route(address: str | None) -> Route | None:
    return None if address is None else route_to(address)


def _programs(path: str) -> tuple[Program, ...] | None:
    from accepttrace.probe.lookups import programs

    return programs(path)
