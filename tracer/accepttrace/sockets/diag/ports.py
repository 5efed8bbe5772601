"""Every TCP socket that has a port as its own, in whatever state, in one network namespace."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from accepttrace.facts import addresses
from accepttrace.facts.binding import PortUser, Use
from accepttrace.facts.records import Family
from accepttrace.sockets.diag import netlink, proctcp
from accepttrace.sockets.diag.tcp import ask, v6only

Row = TypeVar("Row")

KEPT: Final = 32  # sockets of each use; the others are counted
# States of net/tcp_states.h. Half-open requests (3, 12) have no port of their own.
USES: Final[dict[int, Use]] = {
    **dict.fromkeys((1, 2, 4, 5, 8, 9, 11), "connected"),
    6: "time_wait",
    7: "bound",  # TCP_CLOSE: how one of 13 is sent
    10: "listens",
    13: "bound",  # TCP_BOUND_INACTIVE: asked for since Linux 6.8; before, these are not listed
}
CONNECTED: Final = ("connected", "time_wait")  # uses with a remote address
STATES: Final = sum(1 << state for state in USES if state != 7)
PORTS: Final = (0, *range(61001, 61017))  # these are above ip_local_port_range where it is not set
TIMEWAIT_TIMER: Final = 3  # idiag_timer of sockets that are kept without an owner, FIN-WAIT-2 too


@dataclass(slots=True)
class Users:
    """The first of each use, and how many there are; see `PortUse` for the rest."""

    complete: bool
    exact: bool
    first: list[PortUser] = field(default_factory=list)
    counts: Counter[Use] = field(default_factory=Counter)
    owners: set[tuple[str, int]] = field(default_factory=set)

    def add(self, user: PortUser) -> None:
        """One more."""
        self.counts[user.use] += 1
        if user.use == "connected" and user.uid is not None:
            self.owners.add((user.local_address, user.uid))
        if self.counts[user.use] <= KEPT:
            self.first.append(user)


def port_users(port: int, netns_path: str | None = None) -> Users:
    """Of the namespace at `netns_path` (None: the caller's own).

    AcceptTraceError and UnsupportedError as `tcp.ask` raises them.
    """

    def dump() -> tuple[Users, ...]:
        found = Users(lists_bound(), exact=True)

        def take(body: bytes) -> None:
            user = decode(body)
            # Of sockets that are bound and do not listen the kernel sends those of other ports too.
            if user is not None and user.local_port == port:
                found.add(user)

        _dump(STATES, take, port)
        return (found,)

    def from_text(folder: str) -> tuple[Users, ...]:
        found = Users(complete=False, exact=False)
        for family, line in proctcp.sockets(folder, proctcp.TABLES):
            user = parse(line, family)
            if user is not None and user.local_port == port:
                found.add(user)
        return (found,)

    (users,) = ask(netns_path, "sockets", dump, from_text)
    return users


def lists_bound() -> bool:
    """Whether the kernel lists sockets that are bound and do not listen: it is shown one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        if not _binds(bound):
            return False
        number = os.fstat(bound.fileno()).st_ino
        port = bound.getsockname()[1]
        inodes = _dump(1 << 13, lambda body: int(netlink.fields(body)[-1]), port)
        return number in inodes


def _binds(sock: socket.socket) -> bool:
    """To any port, though connections may have all that are given to who asks for any."""
    for port in PORTS:
        with suppress(OSError):
            sock.bind(("0.0.0.0", port))
            return True
    return False


def _dump(states: int, decode: Callable[[bytes], Row], port: int) -> tuple[Row, ...]:
    return netlink.dump(addresses.FAMILIES, socket.IPPROTO_TCP, states, decode, port)


def decode(body: bytes) -> PortUser | None:
    """One `struct inet_diag_msg`; None: it has no port of its own. OSError if it is none."""
    family, state, timer, _, sport, dport, src, dst, *rest = netlink.fields(body)
    interface, *_, uid, inode = rest
    use = _use(state, timer)
    if use is None:
        return None
    far = use in CONNECTED
    return PortUser(
        use=use,
        family=addresses.family_of(family),
        local_address=addresses.spelled(family, src),
        local_port=int.from_bytes(sport, "big"),
        inode=inode,
        uid=None if use == "time_wait" else uid,
        device=netlink.device(interface),
        v6only=v6only(body, family),
        remote_address=addresses.spelled(family, dst) if far else None,
        remote_port=int.from_bytes(dport, "big") if far else None,
    )


def _use(state: int, timer: int) -> Use | None:
    return "time_wait" if timer == TIMEWAIT_TIMER else USES.get(state)


def parse(line: str, family: Family) -> PortUser | None:
    """One line of /proc/net/tcp or tcp6."""
    fields = line.split()
    local, remote = (proctcp.endpoint(text, family) for text in fields[1:3])
    use = _use(int(fields[3], 16), int(fields[5].partition(":")[0], 16))
    if use is None:
        return None
    far = use in CONNECTED
    return PortUser(
        use=use,
        family=family,
        local_address=local[0],
        local_port=local[1],
        inode=int(fields[9]),
        uid=None if use == "time_wait" else int(fields[7]),
        device=None,
        v6only=None,
        remote_address=remote[0] if far else None,
        remote_port=remote[1] if far else None,
    )
