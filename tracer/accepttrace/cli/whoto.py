"""`accepttrace who --to`: reads its options, and asks the kernel about routes and programs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from accepttrace.cli.options import parse_address, parse_port
from accepttrace.cli.whonetns import entering
from accepttrace.config import Family, Filters
from accepttrace.errors import EXIT_BAD_VERDICT, EXIT_NO_VERDICT, UsageError
from accepttrace.facts.matching import LOOPBACK, is_address, is_any, is_loopback, unmapped

if TYPE_CHECKING:
    from accepttrace.facts.records import Inventory
    from accepttrace.model.who.lookup import Drop, Lookup, Packet
    from accepttrace.sockets.reaching import Reaching
    from accepttrace.views.who.to import Asked

ANY: Final = ("", "*", "0.0.0.0", "::", "[::]")
STATUS: Final = {"refused": EXIT_BAD_VERDICT, "not local": EXIT_BAD_VERDICT,
                 "dropped": EXIT_BAD_VERDICT, "program": EXIT_NO_VERDICT}  # fmt: skip


class Place(NamedTuple):
    """`127.0.0.1:80`, `[fe80::1%eth0]:80`, `80`; no address: any."""

    address: str | None
    port: int | None
    device: str | None = None


def parse_place(text: str) -> Place:
    """An address with its port, or a port alone. ValueError says what is wrong."""
    text = text.strip()
    if "/" in text or text.startswith("@"):
        raise ValueError(f"{text!r} is no address and port; `who {text}` is about a UNIX socket")
    host, colon, port = text.rpartition(":")
    if not port or text.endswith("]") or (not colon and is_address(text)):
        raise ValueError("a port is missing: write 127.0.0.1:80, [::1]:80 or 80")
    if not colon or host in ANY:
        return Place(None, parse_port(port))
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("write an IPv6 address in brackets and its port behind them: [::1]:80")
    return _host(host)._replace(port=parse_port(port))


def parse_client(text: str) -> Place:
    """As `parse_place`, or an address alone."""
    text = text.strip()
    try:
        place = _host(text)
    except ValueError:
        place = parse_place(text) if ":" in text else Place(None, None)
    if place.address is None or is_any(place.address):
        raise ValueError(f"{text!r} names no address; names of hosts are not looked up")
    return place


def _host(text: str) -> Place:
    """An address, of a device: `[fe80::1%eth0]`."""
    bare, _, zone = text.removeprefix("[").removesuffix("]").partition("%")
    try:
        return Place(unmapped(parse_address(bare)), None, zone or None)
    except ValueError as error:
        raise ValueError(f"{error}; names of hosts are not looked up") from None


def lookup(
    to: Place, client: Place | None, device: str | None, filters: Filters, inventory: Inventory
) -> tuple[list[Lookup], Asked]:
    """Who gets a connection. `inventory`: all listeners on the port, of every namespace."""
    from accepttrace.model.who.lookup import look_up, packets

    device = device or to.device or (client.device if client else None)
    netns = next(iter(filters.netns), None)
    there = _reaching(netns, to, client, device)
    rows = there.sort(inventory.listeners)
    guessed = None if device else _through(there, client)
    assert to.port is not None
    asked = _asked(to, client, there, inventory)
    found = packets(
        there.netns,
        to.port,
        rows,
        to.address,
        device or guessed,
        _family(to, client, filters),
        there.near,
    )
    answers = [replace(look_up(one, rows), dropped=_dropped(one, client, there)) for one in found]
    vrf = not there.vrfs.isdisjoint(one.device or there.near for one in found)
    matters = any(row.device for row in rows if row.netns == there.netns)
    remote = there.back is not None and not there.back.local
    return answers, replace(asked, vrf=vrf, guessed=guessed is not None and remote and matters)


def target_filters(to: Place) -> Filters:
    """Those of the inventory that `lookup` needs."""
    assert to.port is not None
    return Filters(ports=frozenset({to.port}))


def check(to: Place, client: Place | None, filters: Filters) -> None:
    """UsageError where the question makes no sense."""
    if len(filters.netns) > 1:
        raise UsageError("--to is about one network namespace", "give --netns once")
    if filters != Filters(netns=filters.netns, family=filters.family):
        raise UsageError(
            "--to is answered for every listener on the port",
            "give it without filters, but for --netns, -4 and -6",
        )
    known = _family(to, client, Filters())
    if filters.family and known and filters.family != known:
        raise UsageError(
            f"-4 and -6 do not go with an address of {'IPv6' if known == 'ipv6' else 'IPv4'}",
            "leave them away",
        )
    if client and client.address and to.address and (":" in client.address) != (":" in to.address):
        raise UsageError(
            "--to and --from are addresses of different families",
            "give two of IPv4, or two of IPv6",
        )


def status(answers: list[Lookup], asked: Asked) -> int:
    """0: somebody gets it; else that of the first that nobody gets."""
    from accepttrace.views.who.to import result

    found = [STATUS.get(result(answer, asked), 0) for answer in answers]
    return 0 if 0 in found else max(found)


def _family(to: Place, client: Place | None, filters: Filters) -> Family | None:
    known = to.address or (client.address if client else None)
    return filters.family if known is None else "ipv6" if ":" in known else "ipv4"


def _reaching(netns: int | None, to: Place, client: Place | None, device: str | None) -> Reaching:
    from accepttrace.sockets.reaching import reaching

    with entering():
        return reaching(netns, to.address, client.address if client else None, device)


def _through(there: Reaching, client: Place | None) -> str | None:
    """The device that a client's packets come through: that of the route back to it.

    Those of this machine's own clients: that which has the address they go to.
    """
    if client is None or there.back is None:
        return None
    if there.back.local:
        return there.here.device if there.here else None
    return there.back.device


def _dropped(packet: Packet, client: Place | None, there: Reaching) -> Drop | None:
    """Why the kernel looks for no socket."""
    if client is not None and there.back is None:
        return "no_route_back"
    elsewhere = packet.device not in (None, there.near, LOOPBACK)
    if packet.address and is_loopback(packet.address) and elsewhere:
        reached = packet.family == "ipv4" and packet.device in there.localnet
        return None if reached else "loopback"
    return "martian" if there.martian else None


def _asked(to: Place, client: Place | None, there: Reaching, inventory: Inventory) -> Asked:
    from accepttrace.views.who.to import Asked

    route = ""
    if to.address is not None and not (there.here and there.here.local):
        device = there.here.device if there.here else None
        way = f"packets to it leave through {device}" if device else "there is no route to it"
        route = f"{to.address} is no address of this network namespace; {way}"
    known = there.programs, inventory.unread, there.tables
    return Asked(route, _spelled(client), False, *known)


def _spelled(client: Place | None) -> str | None:
    if client is None or client.address is None:
        return None
    host = f"[{client.address}]" if ":" in client.address else client.address
    return host if client.port is None else f"{host}:{client.port}"
