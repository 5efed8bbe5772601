"""Which listener the kernel gives a new TCP connection to: its own rules, over what is listening.

Sockets bound to the very address come first, then those bound to any. Of each kind the one with
the most points gets it: one for a device that it is bound to, one for IPv4 where the packet is of
IPv4, one for the CPU that handles the packet (SO_INCOMING_CPU). Among equals it is the first in
the list of the kernel: the last that began to listen, but those of IPv6 with SO_REUSEPORT stand
behind all others. A socket with SO_REUSEPORT and more points than all before it ends the search:
its group chooses among its members. Source: inet_lhash2_lookup and inet6_lhash2_lookup, Linux
5.10 to 7.x.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from accepttrace.facts.matching import (
    LOOPBACK,
    is_any,
    is_ipv4,
    is_link_local,
    same_address,
    unmapped,
)
from accepttrace.facts.records import Family, Listener
from accepttrace.model.who.selecting import may_be_picked

Miss = Literal["netns", "family", "v6only", "address", "device"]
Behind = Literal["any_address", "no_device", "ipv4_first", "group_first", "listed_later"]
# Those that do not serve the packet at all, those that would if another were not there, and members
# of the group that gets it which its selector passes over.
Reason = Miss | Behind | Literal["not_selected"]
# Why the kernel looks for no socket at all.
Drop = Literal["no_route_back", "martian", "loopback"]


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection.

    `address`: None is any local address that no socket of the port is bound to. `device`: through
    which it comes in; None: whichever, where no socket of the port is bound to one.
    """

    netns: int
    family: Family
    address: str | None
    port: int
    device: str | None


@dataclass(frozen=True, slots=True)
class Other:
    """A listener on the port that does not get it, and why."""

    listener: Listener
    reason: Reason


@dataclass(frozen=True, slots=True)
class Lookup:
    """Who gets a packet.

    `chosen`: a lone socket, or those of the `members` of a group among which the group chooses;
    nobody: refused.
    `otherwise`: who gets it if lone sockets have SO_REUSEPORT, which was not to be seen, and that
    makes a difference. `by_cpu`: who gets it instead where that CPU handles it. `dropped`: nobody
    gets it then, whoever would.
    """

    packet: Packet
    chosen: tuple[Listener, ...]
    members: int
    others: tuple[Other, ...]
    otherwise: tuple[Listener, ...] = ()
    by_cpu: tuple[tuple[int, tuple[Listener, ...]], ...] = ()
    dropped: Drop | None = None

    @property
    def grouped(self) -> bool:
        """Whether a reuseport group chooses, be it of one."""
        return bool(self.chosen) and _chooses(self.chosen[0])


def look_up(packet: Packet, listeners: Sequence[Listener]) -> Lookup:
    """Who gets a packet, and why no other listener does.

    `listeners`: of any port and namespace, those of one in the order of the kernel's list.
    """
    there = [row for row in listeners if row.local_port == packet.port]
    serving = [row for row in there if missed(row, packet) is None]
    first = _first(serving, packet)
    members = _members(first, there)
    chosen = tuple(filter(may_be_picked, members)) or members
    inodes = {row.inode for row in chosen}
    passed = {row.inode for row in members} - inodes
    otherwise = _members(_first(serving, packet, suspect=True), there)
    cpus = sorted({cpu for row in serving if (cpu := cpu_of(row)) is not None})
    by_cpu = ((cpu, _members(_first(serving, packet, cpu), there)) for cpu in cpus)
    return Lookup(
        packet,
        chosen,
        len(members),
        tuple(
            Other(row, "not_selected" if row.inode in passed else _why_not(row, first, packet))
            for row in there
            if row.inode not in inodes
        ),
        () if otherwise == members else otherwise,
        tuple((cpu, rows) for cpu, rows in by_cpu if rows != members),
    )


def missed(row: Listener, packet: Packet) -> Miss | None:
    """Why a listener does not serve a packet; None: it does."""
    if row.netns != packet.netns:
        return "netns"
    if not _speaks(row, packet.family):
        return "v6only" if row.family == "ipv6" and is_any(row.local_address) else "family"
    if not (is_any(row.local_address) or _is_bound_to(row, packet)):
        return "address"
    if row.device is not None and row.device != packet.device:
        return "device"
    return None


def _speaks(row: Listener, family: Family) -> bool:
    if row.family == family:
        return family == "ipv4" or not is_ipv4(row.local_address)
    if family == "ipv6":
        return False
    return is_ipv4(row.local_address) or (is_any(row.local_address) and row.v6only is not True)


def _is_bound_to(row: Listener, packet: Packet) -> bool:
    return packet.address is not None and same_address(row.local_address, packet.address)


def _first(
    serving: Iterable[Listener], packet: Packet, cpu: int | None = None, suspect: bool = False
) -> Listener | None:
    """The socket at which the search ends. `suspect`: a lone one has SO_REUSEPORT."""
    rows = list(serving)
    bound = [row for row in rows if not is_any(row.local_address)]
    for bucket in (bound, [row for row in rows if is_any(row.local_address)]):
        best, most = None, 0
        for row in bucket:
            points = _points(row, packet, cpu)
            if points > most:
                best, most = row, points
                if _chooses(row, suspect):
                    break
        if best is not None:
            return best
    return None


def _points(row: Listener, packet: Packet, cpu: int | None) -> int:
    own_family = packet.family == "ipv4" and row.family == "ipv4"
    same_cpu = cpu is not None and cpu_of(row) == cpu
    return 1 + (row.device is not None) + own_family + same_cpu


def _chooses(row: Listener, suspect: bool = False) -> bool:
    """Whether it ends the search: no longer where it has taken SO_REUSEPORT back."""
    known = row.options.reuseport if row.options else None
    return known is not False and (row.sharing == "reuseport" or (suspect and known is None))


def cpu_of(row: Listener) -> int | None:
    """SO_INCOMING_CPU; None: not set, or not known."""
    return row.options.incoming_cpu if row.options else None


def _members(first: Listener | None, there: Iterable[Listener]) -> tuple[Listener, ...]:
    if first is None:
        return ()
    if not _chooses(first):
        return (first,)
    return tuple(row for row in there if _bond(row) == _bond(first))


def _bond(row: Listener) -> tuple[object, ...]:
    """What the members of one group have in common.

    Of a group that is seen nothing else: a member stays in it that is bound to a device later.
    """
    if row.group is not None:
        return (row.netns, row.group)
    return (row.netns, row.family, row.local_address, row.device, row.v6only, row.uid)


def _why_not(row: Listener, first: Listener | None, packet: Packet) -> Reason:
    miss = missed(row, packet)
    if miss is not None:
        return miss
    assert first is not None  # else this one would have been it
    if is_any(row.local_address) and not is_any(first.local_address):
        return "any_address"
    if _points(first, packet, None) > _points(row, packet, None):
        return "ipv4_first" if row.family != first.family else "no_device"
    return "group_first" if _chooses(first) else "listed_later"


def packets(
    netns: int,
    port: int,
    listeners: Iterable[Listener],
    address: str | None = None,
    device: str | None = None,
    family: Family | None = None,
    near: str = LOOPBACK,
) -> list[Packet]:
    """Those to ask about. Without an address or a device: each that makes a difference here.

    `near`: the device through which the machine's own clients come to the address.
    """
    rows = [row for row in listeners if (row.netns, row.local_port) == (netns, port)]
    if address is not None:
        family = "ipv6" if ":" in address else "ipv4"
    bound = sorted({row.device for row in rows if row.device is not None})
    through: list[str | None] = [*dict.fromkeys((near, *bound))] if bound else [None]
    if address is not None and is_link_local(address):
        through = [near]
    if device is not None:
        through = [device]
    families: tuple[Family, ...] = (family,) if family else ("ipv4", "ipv6")
    return [
        Packet(netns, one, place, port, each)
        for one in families
        for place in ([address] if address is not None else _places(rows, one))
        for each in through
    ]


def _places(rows: Iterable[Listener], family: Family) -> list[str | None]:
    """Local addresses of a family that some are bound to, and any other."""
    theirs = {unmapped(row.local_address) for row in rows if not is_any(row.local_address)}
    return [*sorted(one for one in theirs if is_ipv4(one) == (family == "ipv4")), None]
