"""The answer of `accepttrace who --why`: whether a port can be bound, and who is in the way."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from accepttrace.facts.binding import Attempt, PortUser, Use, Wish
from accepttrace.facts.matching import is_ipv4, is_link_local
from accepttrace.model.who.binding import Conflict, Finding, Result, Rule, is_privileged
from accepttrace.views.formats import endpoint, plural
from accepttrace.views.jsonl import dump, named
from accepttrace.views.unread import objects, sentence
from accepttrace.views.who.alike import alike, processes
from accepttrace.views.who.objects import holder_object

LISTED: Final = 8  # sockets of one kind that get a line each
_USES: Final[Mapping[Use, str]] = {
    "listens": "listens",
    "bound": "bound, does not listen",
    "connected": "connection",
    "time_wait": "TIME-WAIT",
}
_RULES: Final[Mapping[Rule, str]] = {
    "listens": "beside a listener another binds only with SO_REUSEPORT, set by both, same user",
    "uid": "SO_REUSEPORT lets in sockets of the same user only, and this one belongs to uid {uid}",
    "reuseport": "it has not set SO_REUSEPORT itself",
    "reuseaddr": "SO_REUSEADDR, set by both, would let it in, as this one does not listen",
    "ipv6": "connections of IPv6 take 0.0.0.0, too, where IPV6_V6ONLY is not set on them",
    "first": "it has not set the option itself (connections have those of their listener)",
}
_MANY: Final[Mapping[Use, str]] = {
    "listens": "listeners",
    "bound": "bound, do not listen",
    "connected": "connections",
    "time_wait": "in TIME-WAIT",
}
_UNSURE: Final[Mapping[Result, str]] = {
    "refused": "it, or another one in the way, has not set the option itself",
    "not known": "lets it in if it has set the option itself, which is not known",
    "works": "",
}
_CODES: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "address already in use",
    errno.EACCES: "by a security module (SELinux, AppArmor, Landlock)",
    errno.EPERM: (
        "by a BPF program of the control group (cgroup/bind; systemd: SocketBindDeny=),"
        " or a security module"
    ),
    errno.ENODEV: "there is no such device in this network namespace",
}
_SPARED: Final = (
    "not tried: it would disturb the group that listens there: the kernel would refuse its next"
    " member with SO_REUSEPORT alone, as there are connections of another user"
)
_NOT_SHOWN: Final = {
    False: "a socket that is bound and does not listen: this kernel lists none (6.8 and newer do)",
    True: "nothing that is there any more: ask again",
}


def text_lines(found: Finding) -> Iterator[str]:
    """Lines for people."""
    yield _first(found)
    yield from _in_the_way(found)
    if found.result == "refused" and found.code == errno.EADDRINUSE and not found.conflicts:
        yield f"  in the way: {_NOT_SHOWN[found.use.complete]}"
    yield from _remedies(found)
    yield from _beside(found)
    yield from (f"note: {note}" for note in _notes(found))


def json_line(found: Finding) -> str:
    """One object; `views/who.why.schema.json` is the contract."""
    return dump(
        {
            "type": "bind",
            "result": found.result,
            "errno": errno_name(found.code) if found.code else None,
            "tried": found.tried,
            "netns": found.use.netns,
            "wish": _wish(found.wish),
            "conflicts": [_conflict(one) for one in found.conflicts[:LISTED]],
            "beside": [_user(user) for user in found.beside[:LISTED]],
            "sockets": {use: found.use.counts.get(use, 0) for use in _USES},
            "tried_instead": [_attempt(one) for one in found.remedies if one.code is not None],
            "unprivileged_from": found.use.unprivileged_from,
            "reserved": found.use.reserved,
            "ephemeral": found.use.ephemeral,
            "unread": objects(found.use.unread),
        }
    )


def errno_name(code: int) -> str:
    """`EADDRINUSE`."""
    return errno.errorcode.get(code, str(code))


def _wish(wish: Wish) -> dict[str, object]:
    return named(wish, tuple(Wish.__dataclass_fields__))


def _attempt(one: Attempt) -> dict[str, object]:
    return {"wish": _wish(one.wish), "errno": errno_name(one.code) if one.code else None}


def _conflict(one: Conflict) -> dict[str, object]:
    return {**_user(one.user), "rule": one.rule, "sure": one.sure}


def _user(user: PortUser) -> dict[str, object]:
    names = tuple(name for name in PortUser.__dataclass_fields__ if name != "holders")
    holders = [holder_object(holder) for holder in user.holders[:LISTED]]
    return {**named(user, names), "holders": holders, "holders_in_all": len(user.holders)}


def _first(found: Finding) -> str:
    how = "tried" if found.tried else "derived, not tried"
    return f"bind {_asked(found.wish)}: {_word(found)} ({how})"


def _word(found: Finding) -> str:
    if found.result != "refused":
        return "would work" if found.result == "works" else "not known"
    return f"refused, {errno_name(found.code)}: {_reason(found)}"


def _reason(found: Finding) -> str:
    """What the errno means here."""
    wish, code = found.wish, found.code
    if code == errno.EACCES and is_privileged(wish, found.use):
        return "permission denied: a privileged port"
    if code == errno.EADDRNOTAVAIL:
        six = wish.family == "ipv6" and not is_ipv4(wish.address)
        where = f"the device {wish.device}" if six and wish.device else "this network namespace"
        return f"no address of {where}" + (", or still a tentative one" if six else "")
    if code == errno.EINVAL and wish.family == "ipv6":
        if is_ipv4(wish.address):
            return "an IPv4 address does not go with IPV6_V6ONLY"
        if is_link_local(wish.address) and not wish.device:
            return "a link-local address needs its device: --device NAME"
    return _CODES.get(code, os.strerror(code))


def _asked(wish: Wish) -> str:
    place = endpoint(wish.address, wish.port, wish.family, 1, wish.device)
    return " ".join([place, *_options(wish), f"as uid {wish.uid}"])


def _options(wish: Wish) -> list[str]:
    found = _set_by(wish)
    return [f"with {' and '.join(found)}"] if found else []


def _in_the_way(found: Finding) -> Iterator[str]:
    groups = alike(
        found.conflicts, lambda one: (_place(one.user), one.user.uid, _rule(one, found.result))
    )
    for group in groups[:LISTED]:
        yield f"  in the way: {_described([one.user for one in group])}"
        yield f"    {_rule(group[0], found.result)}"
    shown = [one.user for group in groups[:LISTED] for one in group]
    yield from _more(shown, [one.user for one in found.conflicts], found)


def _more(shown: Sequence[PortUser], users: Sequence[PortUser], found: Finding) -> Iterator[str]:
    """Those beyond the ones that are shown, some of which were not even kept."""
    kept = Counter(user.use for user in found.use.users)
    here = Counter(user.use for user in users)
    seen = Counter(user.use for user in shown)
    for use, name in _MANY.items():
        beyond = max(found.use.counts.get(use, 0) - kept[use], 0) if here[use] else 0
        number = here[use] - seen[use] + beyond
        if number:
            yield f"    and {number:,} more of this port: {name}"


def _rule(one: Conflict, result: Result) -> str:
    uid = "n/a" if one.user.uid is None else one.user.uid
    if not one.sure and one.rule != "ipv6":
        return _UNSURE[result]
    text = _RULES[one.rule].format(uid=uid)
    lacking = one.user.reuseaddr if one.rule == "reuseaddr" else one.user.reuseport
    lacks = one.rule in ("listens", "uid", "reuseaddr") and lacking is False
    return f"{text}; it has not set it" if lacks else text


def _place(user: PortUser) -> tuple[object, ...]:
    return (user.use, user.family, user.local_address, user.local_port, user.device)


def _described(users: Sequence[PortUser]) -> str:
    """Sockets of one place and use."""
    first, number = users[0], len(users)
    parts = [
        endpoint(first.local_address, first.local_port, first.family, 1, first.device),
        _USES[first.use] if number == 1 else f"{number:,} {_MANY[first.use]}",
    ]
    if first.remote_address is not None:
        peer = endpoint(first.remote_address, first.remote_port, first.family, 1)
        parts[1] += f" with {peer}" + (" and others" if number > 1 else "")
    if first.inode and number == 1:
        parts.append(f"inode {first.inode}")
    if first.uid is not None:
        parts.append(f"uid {first.uid}")
    if first.use != "time_wait":
        parts.append(processes(user.holders for user in users))
    return "  ".join(parts)


def _remedies(found: Finding) -> Iterator[str]:
    let = [one.wish for one in found.remedies if one.code == 0]
    for wish in let:
        # Two options, where one of them is enough, are no news.
        if not any(_is_less(other, wish) for other in let):
            yield f"  would work: {_difference(wish, found.wish)} (tried)"
    untried = [one for one in found.remedies if one.code is None]
    for spared, reason in ((False, "not tried: run as root"), (True, "not tried: see below")):
        those = [_difference(one.wish, found.wish) for one in untried if one.spared == spared]
        if those:
            yield f"  not known: {'; '.join(those)} ({reason})"
    for code in sorted({one.code for one in found.remedies if one.code}):
        refused = [_difference(one.wish, found.wish) for one in found.remedies if one.code == code]
        yield f"  would not: {'; '.join(refused)} (tried: {errno_name(code)})"
    if found.code == errno.EADDRINUSE and found.conflicts and not let and not untried:
        waits = all(one.user.use == "time_wait" for one in found.conflicts)
        end = "wait until TIME-WAIT is over (60 s)" if waits else "end what is in the way"
        yield f"  so: {end}, or take another port or address"


def _is_less(wish: Wish, than: Wish) -> bool:
    if wish == than or wish.uid != than.uid:
        return False
    return set(_set_by(wish)) <= set(_set_by(than))


def _set_by(wish: Wish) -> list[str]:
    """The names of the options that it sets."""
    options = {
        "SO_REUSEADDR": wish.reuseaddr,
        "SO_REUSEPORT": wish.reuseport,
        "IPV6_V6ONLY": wish.v6only,
        "IP_FREEBIND": wish.freebind,
    }
    return [name for name, is_set in options.items() if is_set]


def _difference(wish: Wish, first: Wish) -> str:
    asked = [] if wish.uid == first.uid else [f"as uid {wish.uid}"]
    return " ".join([*_options(wish), *asked])


def _beside(found: Finding) -> Iterator[str]:
    listening = [user for user in found.beside if user.use == "listens"]
    groups = alike(listening, lambda user: (_place(user), user.uid))
    for group in groups[:LISTED]:
        yield f"  not in the way: {_described(group)}"
    if len(groups) > LISTED:
        yield f"  and {plural(len(groups) - LISTED, 'more address')} not in the way"


def _notes(found: Finding) -> Iterator[str]:
    port = found.wish.port
    if is_privileged(found.wish, found.use):
        yield (
            f"{port} is below ip_unprivileged_port_start ({found.use.unprivileged_from}): to bind"
            " it takes CAP_NET_BIND_SERVICE, which root has"
        )
    shown = [one.user for one in found.conflicts[:LISTED] if one.user.inode]
    missing = sentence(found.use.unread)
    if missing and not all(user.holders for user in shown):
        yield f"holders are missing: {missing}"
    if found.use.reserved:
        yield (
            f"{port} is in ip_local_reserved_ports: connections that ask for any port do not get"
            " it, and bind() does"
        )
    if found.use.ephemeral:
        yield (
            f"{port} is in ip_local_port_range: a connection to elsewhere may have it as its own"
            " port at any time, unless it is in ip_local_reserved_ports"
        )
    if found.result == "works" and found.tried:
        yield "the port was bound for a moment, without listen(); listen() asks the same again"
    if found.spared:
        yield _SPARED
    if found.code == errno.EADDRNOTAVAIL:
        yield "no client gets there until the address is one of this machine"
    if not found.tried and not found.spared:
        yield "this user may not enter that namespace, or become that user: run as root to try it"
