"""Who uses a port, and what came of trying to bind it: facts of one network namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from accepttrace.facts.records import Family, Holder, Unread

Use = Literal["listens", "bound", "connected", "time_wait"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A bind() with the options set before it. `uid`: of whom asks; the kernel compares it."""

    family: Family
    address: str
    port: int
    reuseport: bool = False
    reuseaddr: bool = False
    v6only: bool = False
    device: str | None = None
    uid: int = 0
    freebind: bool = False


@dataclass(frozen=True, slots=True)
class PortUser:
    """A TCP socket that has the port as its own. Source: sock_diag, /proc.

    `inode`: 0 where no process holds it any more, as in TIME-WAIT. `uid`: None in TIME-WAIT, which
    belongs to nobody, and in FIN-WAIT-2 without a holder, which the kernel keeps and treats alike.
    `reuseport`, `reuseaddr`: None where that is not known.
    """

    use: Use
    family: Family
    local_address: str
    local_port: int
    inode: int
    uid: int | None
    device: str | None
    v6only: bool | None
    remote_address: str | None = None
    remote_port: int | None = None
    holders: tuple[Holder, ...] = ()
    reuseport: bool | None = None
    reuseaddr: bool | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One bind() that was tried: 0, or its errno. None: it may not be tried from here.

    `spared`: it was not tried for the sake of the sockets that are there.
    """

    wish: Wish
    code: int | None
    spared: bool = False


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port of one network namespace.

    `users`: the first of each use; `counts`: how many there are of it; `owners`: local addresses
    and users of all connections. `complete`: the kernel lists sockets that are bound and do not
    listen, too (since 6.8). `exact`: devices and IPV6_V6ONLY are known. `unprivileged_from`:
    ip_unprivileged_port_start; None: not known. `reserved`: it is one of ip_local_reserved_ports;
    `ephemeral`: none, and in ip_local_port_range.
    """

    netns: int
    users: tuple[PortUser, ...]
    counts: Mapping[Use, int] = field(default_factory=dict)
    owners: frozenset[tuple[str, int]] = frozenset()
    complete: bool = True
    exact: bool = True
    unprivileged_from: int | None = None
    reserved: bool = False
    ephemeral: bool = False
    unread: tuple[Unread, ...] = ()
