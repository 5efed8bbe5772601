"""How a listener is shared: one socket among processes, or one port among sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from accepttrace.facts.records import Holder, ListenerFact, Program, Selector, Sharing
from accepttrace.sockets.diag.tcp import ListenSocket


class Share(NamedTuple):
    """`sharing`, `group`, `group_size`, `selector` and `program` of `records.Listener`."""

    sharing: Sharing | None
    group: int | None = None
    size: int | None = None
    selector: Selector | None = None
    program: Program | None = None


Bond = tuple[object, ...]


def bond(netns: int, sock: ListenSocket) -> Bond:
    """What the members of one reuseport group have in common (kernel: inet_reuseport_add_sock)."""
    address = (sock.family, sock.local_address, sock.local_port)
    return (netns, *address, sock.uid, sock.v6only, sock.interface)


def bonds(sockets: Iterable[tuple[int, ListenSocket]]) -> Counter[Bond]:
    """How many listeners have each bond in common; `sockets` are pairs (netns, socket)."""
    return Counter(bond(netns, sock) for netns, sock in sockets)


def share_of(
    together: int,
    holders: tuple[Holder, ...],
    fact: ListenerFact | None,
    partial: bool,
) -> Share:
    """What is known of one listener.

    `together`: listeners with the same bond, itself included. `fact`: from the kernel's own
    reuseport group, where BPF could read it. Without it, several listeners on the same address
    and port prove SO_REUSEPORT, as the kernel allows that with it alone; one alone may have set
    it or not. With `partial` sight, one visible holder does not prove that there is no other.
    """
    if fact is not None and fact.size:
        return Share("reuseport", fact.group, fact.size, fact.selector, fact.program)
    if together > 1:
        return Share("reuseport", None, together)
    if len(holders) > 1:
        return Share("shared")
    return Share("sole") if holders and not partial else Share(None)


Facts = Mapping[int, ListenerFact]  # by inode
