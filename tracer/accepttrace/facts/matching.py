"""Which sockets and which processes the filters let through: for `who`, `top` and UDP alike."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Protocol

from accepttrace.config import Filters
from accepttrace.facts.records import Family

COMM_LENGTH: Final = 15  # bytes: the kernel cuts names of tasks to it
_MAPPED: Final = bytes(10) + b"\xff\xff"  # before an IPv4 address that stands in one of IPv6
LOOPBACK: Final = "lo"  # the device of every network namespace
_ANY: Final = bytes(16)
_ANY_IPV4: Final = _MAPPED + bytes(4)


class Bound(Protocol):
    """What the filters ask of a socket, whichever record describes it."""

    @property
    def family(self) -> Family: ...
    @property
    def local_address(self) -> str: ...
    @property
    def local_port(self) -> int: ...


class Local(Bound, Protocol):
    """A socket of which the network namespace is known too."""

    @property
    def netns(self) -> int: ...


class Named(Protocol):
    """What the filters ask of a process: a holder, or any."""

    @property
    def pid(self) -> int: ...
    @property
    def comm(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def cgroup(self) -> str | None: ...


def listener_matches(filters: Filters, listener: Local, v6only: bool | None = None) -> bool:
    """As `place_matches`, and by the network namespace."""
    return (not filters.netns or listener.netns in filters.netns) and place_matches(
        filters, listener, v6only
    )


def place_matches(filters: Filters, sock: Bound, v6only: bool | None = None) -> bool:
    """By port, and by whether clients of the family and the address reach it.

    A socket of IPv6 serves IPv4 too where it is bound to any address or to a mapped one. `v6only`:
    not then (IPV6_V6ONLY); None: not known here, where the kernel's filter has asked already.
    """
    return (
        (not filters.ports or sock.local_port in filters.ports)
        and (filters.family is None or _serves(filters.family, sock, v6only))
        and (not filters.addresses or _is_reached(filters.addresses, sock, v6only))
    )


def process_matches(filters: Filters, process: Named, comm: str = "") -> bool:
    """Pid, name and cgroup. `comm` is the name of the thread, which may differ."""
    return (
        (not filters.pids or process.pid in filters.pids)
        and (not filters.comms or _name_matches(filters, {process.comm, process.name, comm}))
        and (not filters.cgroups or is_below(process.cgroup, filters.cgroups))
    )


def held(filters: Filters, holders: Iterable[Named]) -> bool:
    """Whether one of the holders is a process that was asked for; True where none was."""
    return not by_process(filters) or any(process_matches(filters, one) for one in holders)


def by_process(filters: Filters) -> bool:
    """Whether some connections of a listener may be left out because of who took them."""
    return bool(filters.pids or filters.comms or filters.cgroups)


def cut(name: str) -> str:
    """A name as the kernel keeps it."""
    return name.encode("utf-8", "replace")[:COMM_LENGTH].decode("utf-8", "replace")


def is_address(text: str) -> bool:
    """Whether it is an address at all."""
    try:
        _packed(text)
    except (OSError, ValueError):
        return False
    return True


def is_ipv4(address: str) -> bool:
    """Whether it is an address of IPv4, be it one that stands in an address of IPv6."""
    return _packed(address).startswith(_MAPPED)


def is_any(address: str) -> bool:
    """Whether it stands for every local address, of IPv4 or of IPv6."""
    return _packed(address) in (_ANY, _ANY_IPV4)


def is_loopback(address: str) -> bool:
    """Whether it is one that no wire may carry: of 127.0.0.0/8, or ::1."""
    packed = _packed(address)
    return packed.startswith((_MAPPED + b"\x7f", _ANY[:15] + b"\1"))


def is_link_local(address: str) -> bool:
    """Whether it is of IPv6, and means something on one device only: fe80::/10."""
    first, second = _packed(address)[:2]
    return first == 0xFE and second & 0xC0 == 0x80


def unmapped(address: str) -> str:
    """An IPv4 address as such, where it stands in one of IPv6: so packets to it are of IPv4."""
    return address.removeprefix("::ffff:") if is_ipv4(address) else address


def same_address(one: str, other: str) -> bool:
    """Whether both are the same, be one of them an IPv4 address that stands in one of IPv6."""
    return _packed(one) == _packed(other)


def is_within(address: str, network: tuple[bytes, bytes]) -> bool:
    """Whether it is in a network: address and mask, both as of IPv6."""
    place, mask = (int.from_bytes(part, "big") for part in network)
    return not (int.from_bytes(_packed(address), "big") ^ place) & mask


def _name_matches(filters: Filters, names: set[str]) -> bool:
    return any(comm in names or cut(comm) in names for comm in filters.comms)


def is_below(cgroup: str | None, tops: Iterable[str]) -> bool:
    """Whether the path of a control group is one of these, or below it."""
    if cgroup is None:
        return False
    path = cgroup.strip("/") + "/"
    return any(path.startswith(top.strip("/") + "/") or not top.strip("/") for top in tops)


def _serves(family: Family, sock: Bound, v6only: bool | None) -> bool:
    if family == "ipv6":
        return sock.family == "ipv6" and not is_ipv4(sock.local_address)
    return is_ipv4(sock.local_address) or (
        _packed(sock.local_address) == _ANY and v6only is not True
    )


def _is_reached(addresses: Iterable[str], sock: Bound, v6only: bool | None) -> bool:
    own = _packed(sock.local_address)
    return any(_reaches(_packed(address), own, v6only) for address in addresses)


def _reaches(address: bytes, own: bytes, v6only: bool | None) -> bool:
    """Whether clients of `address` come to a socket that is bound to `own`."""
    if address.startswith(_MAPPED):
        return own in (address, _ANY_IPV4) or (own == _ANY and v6only is not True)
    return own in (address, _ANY)


@lru_cache(maxsize=4096)
def _packed(address: str) -> bytes:
    """All as of IPv6."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address.strip("[]"))
    return _MAPPED + socket.inet_pton(socket.AF_INET, address)
