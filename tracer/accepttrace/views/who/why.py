"""The answer of `accepttrace who --why`: whether a port can be bound, and who is in the way."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from accepttrace.facts.binding import Attempt, PortUser, Use, Wish
from accepttrace.facts.records import Holder
from accepttrace.model.who.binding import Conflict, Finding, Rule
from accepttrace.views.formats import endpoint, plural
from accepttrace.views.jsonl import dump, named
from accepttrace.views.text import clean
from accepttrace.views.unread import objects, sentence
from accepttrace.views.who.objects import holder_object

LISTED: Final = 8  # sockets of one kind that get a line each
PROCESSES: Final = 3  # that are named of one socket
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
    "first": "it has not set the option itself (connections have those of their listener)",
}
_UNSURE: Final = "it, or another one in the way, has not set the option itself"
_CODES: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "address already in use",
    errno.EACCES: "permission denied",
    errno.EADDRNOTAVAIL: "the address is none of this network namespace",
    errno.ENODEV: "there is no such device in this network namespace",
}
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
            "tried_instead": [_attempt(one) for one in found.remedies],
            "unprivileged_from": found.use.unprivileged_from,
            "reserved": found.use.reserved,
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
    words = _CODES.get(found.code, os.strerror(found.code))
    return f"refused, {errno_name(found.code)}: {words}"


def _asked(wish: Wish) -> str:
    place = endpoint(wish.address, wish.port, wish.family, 1, wish.device)
    return " ".join([place, *_options(wish), f"as uid {wish.uid}"])


def _options(wish: Wish) -> list[str]:
    names = {
        "SO_REUSEADDR": wish.reuseaddr,
        "SO_REUSEPORT": wish.reuseport,
        "IPV6_V6ONLY": wish.v6only,
    }
    found = [name for name, is_set in names.items() if is_set]
    return [f"with {' and '.join(found)}"] if found else []


def _in_the_way(found: Finding) -> Iterator[str]:
    for one in found.conflicts[:LISTED]:
        yield f"  in the way: {_described(one.user)}"
        yield f"    {_rule(one)}"
    yield from _more([one.user for one in found.conflicts], found)


def _more(users: Sequence[PortUser], found: Finding) -> Iterator[str]:
    """Those beyond the ones that are shown, some of which were not even kept."""
    kept = Counter(user.use for user in found.use.users)
    shown = Counter(user.use for user in users[:LISTED])
    here = Counter(user.use for user in users)
    for use, name in _USES.items():
        beyond = max(found.use.counts.get(use, 0) - kept[use], 0) if here[use] else 0
        number = here[use] - shown[use] + beyond
        if number:
            yield f"    and {number:,} more of this port: {name}"


def _rule(one: Conflict) -> str:
    uid = "n/a" if one.user.uid is None else one.user.uid
    if not one.sure:
        return _UNSURE
    text = _RULES[one.rule].format(uid=uid)
    lacks = one.rule in ("listens", "uid") and one.user.reuseport is False
    return f"{text}; it has not set it" if lacks else text


def _described(user: PortUser) -> str:
    place = endpoint(user.local_address, user.local_port, user.family, 1, user.device)
    parts = [place, _USES[user.use]]
    if user.remote_address is not None:
        peer = endpoint(user.remote_address, user.remote_port, user.family, 1)
        parts[1] += f" {'of' if user.use == 'time_wait' else 'with'} {peer}"
    if user.inode:
        parts.append(f"inode {user.inode}")
    if user.uid is not None:
        parts.append(f"uid {user.uid}")
    if user.use != "time_wait":
        parts.append(_holders(user.holders))
    return "  ".join(parts)


def _holders(holders: Sequence[Holder]) -> str:
    if not holders:
        return "held by nobody visible"
    names = ", ".join(f"pid {one.pid} {clean(one.name)}" for one in holders[:PROCESSES])
    more = len(holders) - PROCESSES
    return names + (f" and {more} more" if more > 0 else "")


def _remedies(found: Finding) -> Iterator[str]:
    let = [one.wish for one in found.remedies if one.code == 0]
    for wish in let:
        # Two options, where one of them is enough, are no news.
        if not any(_is_less(other, wish) for other in let):
            yield f"  would work: {_difference(wish, found.wish)} (tried)"
    for code in sorted({one.code for one in found.remedies if one.code}):
        refused = [_difference(one.wish, found.wish) for one in found.remedies if one.code == code]
        yield f"  would not: {'; '.join(refused)} (tried: {errno_name(code)})"
    if found.conflicts and not let:
        yield "  so: end what is in the way, or take another port or address"


def _is_less(wish: Wish, than: Wish) -> bool:
    if wish == than or wish.uid != than.uid:
        return False
    return all(set_ <= than_ for set_, than_ in zip(_set(wish), _set(than), strict=True))


def _set(wish: Wish) -> tuple[bool, bool, bool]:
    return wish.reuseaddr, wish.reuseport, wish.v6only


def _difference(wish: Wish, first: Wish) -> str:
    words = " ".join(_options(wish)) or "without an option"
    return words if wish.uid == first.uid else f"{words} as uid {wish.uid}"


def _beside(found: Finding) -> Iterator[str]:
    shown = [user for user in found.beside if user.use == "listens"]
    for user in shown[:LISTED]:
        yield f"  not in the way: {_described(user)}"
    if len(shown) > LISTED:
        yield f"  and {plural(len(shown) - LISTED, 'more listener')} not in the way"


def _notes(found: Finding) -> Iterator[str]:
    port, first = found.wish.port, found.use.unprivileged_from
    if first is not None and port < first:
        yield (
            f"{port} is below ip_unprivileged_port_start ({first}): without CAP_NET_BIND_SERVICE"
            " nobody but root binds it"
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
    if found.result == "works" and found.tried:
        yield "the port was bound for a moment, without listen(); listen() asks the same again"
    if not found.tried:
        yield "this user may not enter that namespace, or become that user: run as root to try it"
