"""The answer of `accepttrace who --why PATH` and `@NAME`: can it be bound, and who has it?"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from accepttrace.facts.naming import At, NameState, NameUse, NameUser
from accepttrace.views.formats import plural
from accepttrace.views.jsonl import dump, named
from accepttrace.views.text import clean
from accepttrace.views.unread import objects, sentence
from accepttrace.views.who.alike import alike, processes
from accepttrace.views.who.objects import holder_object
from accepttrace.views.who.why import LISTED, errno_name

_STATES: Final[Mapping[NameState, str]] = {
    "listens": "listens",
    "bound": "bound, does not listen",
    "connected": "bound, then connected",
}
_FILES: Final[Mapping[At, str]] = {
    "socket": "a socket file",
    "link": "a symbolic link",
    "file": "a file that is no socket",
}
_CODES: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "address already in use",
    errno.EACCES: "this user may not make a file there",
    errno.ENOENT: "the directory is not there",
    errno.EINVAL: "longer than 107 bytes",
}


def text_lines(found: NameUse) -> Iterator[str]:
    """Lines for people."""
    how = "tried" if found.outcome.tried else "derived, not tried"
    yield f"bind {clean(found.name)} as uid {found.uid}: {_word(found)} ({how})"
    if found.outcome.code == errno.EADDRINUSE:
        yield from _of_abstract(found) if found.is_abstract else _of_path(found)
    yield from _beside(found)
    missing = sentence(found.unread)
    if missing and not all(user.holders for user in found.users):
        yield f"note: holders are missing: {missing}"
    if found.outcome.code is None:
        yield "note: this user may not become that user: run as root"
    elif not found.outcome.tried and not found.outcome.code:
        yield "note: to try it would make a file there; other programs could see it"


def json_line(found: NameUse) -> str:
    """One object; `views/who.why.unix.schema.json` is the contract."""
    code, later = found.outcome.code, found.outcome.later
    return dump(
        {
            "type": "bind_unix",
            "result": result(found),
            "errno": errno_name(code) if code else None,
            "tried": found.outcome.tried,
            "name": found.name,
            "uid": found.uid,
            "netns": found.netns,
            "at": found.outcome.at,
            "stale": is_stale(found),
            "errno_once_removed": errno_name(later) if later else None,
            "sockets": [_object(user, found) for user in found.users[:LISTED]],
            "sockets_in_all": len(found.users),
            "unread": objects(found.unread),
        }
    )


def result(found: NameUse) -> str:
    """As for ports."""
    code = found.outcome.code
    return "not known" if code is None else "refused" if code else "works"


def is_stale(found: NameUse) -> bool | None:
    """Whether the file is all that is left of a server; None: not known, or there is none."""
    bound = found.outcome.bound
    return None if bound is None else not bound


def _object(user: NameUser, found: NameUse) -> dict[str, object]:
    names = ("state", "kind", "inode", "uid", "netns", "there")
    holders = [holder_object(holder) for holder in user.holders[:LISTED]]
    counted = {"holders": holders, "holders_in_all": len(user.holders)}
    return {**named(user, names), "in_the_way": user in found.in_the_way(), **counted}


def _word(found: NameUse) -> str:
    code = found.outcome.code
    if not code:
        return "not known" if code is None else "would work"
    return f"refused, {_reason(code)}"


def _reason(code: int) -> str:
    return f"{errno_name(code)}: {_CODES.get(code, os.strerror(code))}"


def _of_abstract(found: NameUse) -> Iterator[str]:
    yield from _sockets("in the way", found.in_the_way())
    if not found.in_the_way():
        yield "  in the way: nothing that is there any more: ask again"
        return
    yield "    no option lets two sockets of one type have one name"
    yield "  so: end what is in the way, or take another name"


def _of_path(found: NameUse) -> Iterator[str]:
    at, users = found.outcome.at or "nothing", found.in_the_way()
    if at == "nothing":
        yield "  in the way: nothing that is there any more: ask again"
        return
    yield f"  in the way: {_FILES[at]}: bind() takes no path at which there is anything"
    yield from _sockets("it leads to", users)
    if not users and at == "socket":
        yield f"    {_left(found)}"
    if at != "socket":
        yield "  so: take another path"
        return
    later = found.outcome.later
    if later:
        yield f"  would not: once the file is removed ({_reason(later)})"
        return
    listens = any(user.state == "listens" for user in users)
    after = "; the one that listens there then gets no connections any more" if listens else ""
    yield f"  would work: once the file is removed{after} (not tried)"


def _left(found: NameUse) -> str:
    if is_stale(found):
        return "it is left over: no socket is bound to it any more, and connect() is refused"
    if found.outcome.bound is None:
        return "whether a socket is bound to it is not known: this user may not connect to it"
    return "a socket is bound to it that is not seen here: of a namespace that could not be asked"


def _beside(found: NameUse) -> Iterator[str]:
    way = found.in_the_way()
    others = [user for user in found.users if user not in way]
    accepted = [user for user in others if user.state == "connected"]
    yield from _sockets("not in the way", [user for user in others if user not in accepted])
    if accepted:
        yield f"  not in the way: {plural(len(accepted), 'accepted connection')}"


def _sockets(title: str, users: Sequence[NameUser]) -> Iterator[str]:
    groups = alike(users, lambda user: (user.state, user.kind, user.uid, user.there))
    for group in groups[:LISTED]:
        yield f"  {title}: {_described(group)}"
    if len(groups) > LISTED:
        yield f"  and {plural(len(groups) - LISTED, 'more socket')}"


def _described(users: Sequence[NameUser]) -> str:
    first, number = users[0], len(users)
    state = "receives" if first.kind == "dgram" else _STATES[first.state]
    parts = [f"SOCK_{first.kind.upper()}  {state}"]
    parts.append(f"inode {first.inode}" if number == 1 else f"{number:,} sockets")
    parts += [f"uid {first.uid}"] if first.uid is not None else []
    parts.append(processes(user.holders for user in users))
    if not first.there:
        parts.append("its file was removed, or is of another mount namespace")
    return "  ".join(parts)
