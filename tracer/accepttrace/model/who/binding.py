"""Why a port cannot be bound: the kernel's rules, over who uses it.

Two TCP sockets may have one port where their devices or their addresses differ (any address
covers all of its family, and of IPv4 too where it is dual-stack). Else both must have set
SO_REUSEADDR, and that which is there must not listen; or both SO_REUSEPORT, and belong to the
same user, unless it is in TIME-WAIT. Connections of IPv6 are in the way of 0.0.0.0, too, unless
IPV6_V6ONLY is set on them, as it is where their listener was bound to one address.
Source: inet_csk_bind_conflict, inet_rcv_saddr_equal, Linux 5.10 to 7.x.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from accepttrace.facts.binding import Attempt, PortUse, PortUser, Wish
from accepttrace.facts.matching import is_any, is_ipv4, is_link_local, same_address

Result = Literal["works", "refused", "not known"]
Rule = Literal[
    # Of the socket in the way:
    "listens",  # it listens, and the wish is without SO_REUSEPORT
    "uid",  # the wish is with SO_REUSEPORT, but the socket belongs to another user
    "reuseport",  # ... but the socket has not set it, or that is not known
    "reuseaddr",  # it does not listen, and the wish is without either option
    "first",  # ... and has not set the option of the wish, or that is not known
    "ipv6",  # a connection of IPv6, and the wish is for 0.0.0.0; not known: IPV6_V6ONLY set on it?
]
OTHER_USERS: Final = 3  # owners of sockets on the port, as whom it is tried, too
PROBES: Final = 16  # wishes, at most, that are tried to find out what others have set


@dataclass(frozen=True, slots=True)
class Conflict:
    """A socket in the way, and the rule. `sure`: False where it may have set what is asked for."""

    user: PortUser
    rule: Rule
    sure: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a wish.

    `code`: errno where it is refused. `tried`: for real; else derived. `remedies`: other wishes,
    with what came of them. `spared`: something was not tried for the sake of who is there.
    """

    wish: Wish
    use: PortUse
    result: Result
    code: int
    tried: bool
    conflicts: tuple[Conflict, ...]
    beside: tuple[PortUser, ...]
    remedies: tuple[Attempt, ...]
    spared: bool


def remedies(wish: Wish, use: PortUse, code: int = errno.EADDRINUSE) -> list[Wish]:
    """What else is worth a try where a wish is refused with that errno, the least first."""
    if code == errno.EADDRNOTAVAIL:
        return [] if wish.freebind else [replace(wish, freebind=True)]
    if code == errno.EACCES:
        return [replace(wish, uid=0)] if wish.uid and is_privileged(wish, use) else []
    return _of_others(wish, use) if code == errno.EADDRINUSE else []


def is_privileged(wish: Wish, use: PortUse) -> bool:
    """Whether the port is for those with CAP_NET_BIND_SERVICE."""
    return use.unprivileged_from is not None and wish.port < use.unprivileged_from


def _of_others(wish: Wish, use: PortUse) -> list[Wish]:
    options = [replace(wish, reuseaddr=True), replace(wish, reuseport=True)]
    options.append(replace(wish, reuseaddr=True, reuseport=True))
    if wish.family == "ipv6" and is_any(wish.address):
        # Not with SO_REUSEPORT: the kernel then lets in who wants IPv4 too, whatever is in the way.
        options.append(replace(wish, v6only=True, reuseport=False))
    there = [user for user in use.users if user.use in ("listens", "bound")]
    uids = {user.uid for user in there if user.uid is not None and overlaps(wish, user)}
    others = sorted(uids - {wish.uid})[:OTHER_USERS]
    options += [replace(wish, reuseport=True, uid=uid) for uid in others]
    found = [option for option in dict.fromkeys(options) if option != wish]
    return sorted(found, key=lambda option: option.reuseaddr and option.reuseport)


def has_strangers(use: PortUse) -> bool:
    """Whether there are connections, and not all sockets on the port belong to one user."""
    there = {one.uid for one in use.users if one.use in ("listens", "bound")}
    return bool(use.owners) and len(there.union(uid for _, uid in use.owners)) > 1


def _meets_strangers(group: Wish, use: PortUse) -> bool:
    """Whether connections of other users have the address of a group."""
    return any(
        uid != group.uid and (same_address(group.address, address) or _covers_it(group, address))
        for address, uid in use.owners
    )


def _covers_it(wish: Wish, address: str) -> bool:
    """Whether the wish is for any address, this one among them."""
    ipv4, ipv6 = _covers(wish.family, wish.address, wish.v6only)
    return is_any(wish.address) and (ipv4 if is_ipv4(address) else ipv6)


def may_be_tried(wish: Wish, use: PortUse, probed: Sequence[Attempt]) -> bool:
    """Whether nobody is refused later because it was tried. `probed`: `probes` of all on the port.

    The kernel takes the next member of a group (SO_REUSEPORT) without a look at the connections on
    the port, until something else is bound there. From then on it refuses it for the sake of those
    of another user. What is refused changes nothing, nor does another of the same kind.
    """
    groups = [one.wish for one in probed if one.wish.reuseport and one.code in (0, None)]
    groups = [each for each in groups if _meets_strangers(each, use)]
    if not groups or replace(wish, reuseaddr=False) in groups:
        return True
    users = (user for user in learned(use.users, probed) if overlaps(wish, user))
    return any(found.sure for user in users if (found := conflict(wish, user)))


def probes(users: Iterable[PortUser]) -> list[Wish]:
    """Wishes that show which options each of these sockets has set, if nothing else is."""
    found: list[Wish] = []
    for user in users:
        if user.use in ("listens", "bound") and user.uid is not None:
            same = Wish(
                user.family,
                user.local_address,
                user.local_port,
                v6only=user.v6only is True,
                device=user.device,
                uid=user.uid,
            )
            found.append(replace(same, reuseport=True))
            if user.use == "bound":
                found.append(replace(same, reuseaddr=True))
    return list(dict.fromkeys(found))[:PROBES]


def finding(
    wish: Wish,
    use: PortUse,
    attempts: Sequence[Attempt],
    probed: Sequence[Attempt] = (),
    local: bool = True,
) -> Finding:
    """`attempts`: of this wish, if it was tried, and of `remedies`; `probed`: of `probes`.

    `local`: the address is one of the namespace.
    """
    code = next((one.code for one in attempts if one.wish == wish), None)
    users = learned(use.users, (*attempts, *probed))
    inside = [user for user in users if overlaps(wish, user)]
    found = [each for user in inside if (each := conflict(wish, user)) is not None]
    tried = code is not None
    if code is None:
        result, code = _derived(wish, use, found, local)
    else:
        result = "refused" if code else "works"
    ours = [] if result == "works" else found
    beside = [user for user in users if user not in [one.user for one in ours]]
    others = tuple(one for one in attempts if one.wish != wish)
    spared = any(one.spared for one in attempts)
    return Finding(wish, use, result, code, tried, tuple(ours), tuple(beside), others, spared)


def overlaps(wish: Wish, user: PortUser) -> bool:
    """Whether both would have, or may have, one port of one address and device."""
    if None not in (wish.device, user.device) and wish.device != user.device:
        return False
    if _is_of_ipv6(wish, user):
        return True
    mine, theirs = wish.address, user.local_address
    if is_any(mine) or is_any(theirs):
        return _meet(wish.family, mine, wish.v6only, user) or same_address(mine, theirs)
    return same_address(mine, theirs)


def _is_of_ipv6(wish: Wish, user: PortUser) -> bool:
    """Whether the wish is for 0.0.0.0, and here is a connection of IPv6, or what is left of one."""
    if wish.family != "ipv4" or not is_any(wish.address) or is_ipv4(user.local_address):
        return False
    kept = user.use in ("connected", "time_wait") and user.v6only is None
    return not is_any(user.local_address) and (kept or user.v6only is False)


def _meet(family: str, mine: str, v6only: bool, user: PortUser) -> bool:
    """Where one of both is bound to any address."""
    my_4, my_6 = _covers(family, mine, v6only)
    their_4, their_6 = _covers(user.family, user.local_address, user.v6only is True)
    return (my_4 and their_4) or (my_6 and their_6)


def _covers(family: str, address: str, v6only: bool) -> tuple[bool, bool]:
    """Whether it has to do with IPv4, and with IPv6."""
    if is_ipv4(address):
        return True, False
    return is_any(address) and family == "ipv6" and not v6only, True


def conflict(wish: Wish, user: PortUser) -> Conflict | None:
    """The rule by which a socket that overlaps refuses a wish; None: it does not."""
    by_address = wish.reuseaddr and user.use != "listens"
    same_user = user.use == "time_wait" or user.uid == wish.uid
    by_port = wish.reuseport and same_user
    if (by_address and user.reuseaddr) or (by_port and user.reuseport):
        return None
    may = (by_address and user.reuseaddr is None) or (by_port and user.reuseport is None)
    if _is_of_ipv6(wish, user):
        return Conflict(user, "ipv6", sure=not may and user.v6only is False)
    return Conflict(user, _rule(wish, user, by_address or by_port), sure=not may)


def _rule(wish: Wish, user: PortUser, asked: bool) -> Rule:
    if wish.reuseport and user.use != "time_wait" and user.uid != wish.uid:
        return "uid"
    if user.use == "listens":
        return "reuseport" if wish.reuseport else "listens"
    return "first" if asked else "reuseaddr"


def learned(users: Iterable[PortUser], attempts: Sequence[Attempt]) -> list[PortUser]:
    """The sockets, with what the attempts show of their options.

    All that an attempt overlaps let it where it works; where it is refused, and overlaps one
    socket alone, that one refuses it.
    """
    found = list(users)
    for one in attempts:
        met = [user for user in found if overlaps(one.wish, user)]
        if one.code == 0:
            found = [_lets(user, one.wish) if user in met else user for user in found]
        elif one.code == errno.EADDRINUSE and len(met) == 1:
            found = [_refuses(user, one.wish) if user in met else user for user in found]
    return found


def _lets(user: PortUser, wish: Wish) -> PortUser:
    if wish.reuseport and not wish.reuseaddr:
        return replace(user, reuseport=True)
    if wish.reuseaddr and not wish.reuseport:
        return replace(user, reuseaddr=True)
    return user


def _refuses(user: PortUser, wish: Wish) -> PortUser:
    if wish.reuseport and (user.use == "time_wait" or user.uid == wish.uid):
        user = replace(user, reuseport=False)
    if wish.reuseaddr and user.use != "listens":
        user = replace(user, reuseaddr=False)
    return user


def _derived(
    wish: Wish, use: PortUse, found: Sequence[Conflict], local: bool
) -> tuple[Result, int]:
    """Without a try: what these rules say of it."""
    if is_ipv4(wish.address) and wish.family == "ipv6" and wish.v6only:
        return "refused", errno.EINVAL
    if is_link_local(wish.address) and not wish.device:
        return "refused", errno.EINVAL
    if not local and not wish.freebind:
        return "refused", errno.EADDRNOTAVAIL
    if is_privileged(wish, use) and wish.uid != 0:
        return "refused", errno.EACCES
    if use.exact and any(one.sure for one in found):
        return "refused", errno.EADDRINUSE
    unsure = found or use.unprivileged_from is None or not use.complete
    return ("not known", 0) if unsure else ("works", 0)
