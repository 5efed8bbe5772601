"""Who has a name of AF_UNIX, and what is at its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accepttrace.facts.records import Holder, Unread

Kind = Literal["stream", "seqpacket", "dgram"]
NameState = Literal["listens", "bound", "connected"]
At = Literal["socket", "link", "file", "nothing"]


@dataclass(frozen=True, slots=True)
class NameUser:
    """A socket that has the name. Source: unix_diag.

    `connected`: accepted, with the name of its listener. `there`: the path leads to its file, or
    the name is abstract; False: its file was removed, or is of another mount namespace.
    """

    state: NameState
    kind: Kind
    inode: int
    uid: int | None
    netns: int
    there: bool
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class NameTried:
    """What came of bind(): 0 or its errno. None: not known. `tried`: for real; else derived from
    what is `at` the path (None: the name is abstract) and who may write there. `bound`: a socket of
    any namespace is bound to the file; None: not known, or there is none. `later`: as `code`, once
    what is there is removed.
    """

    code: int | None
    tried: bool
    at: At | None
    bound: bool | None = None
    later: int | None = None


@dataclass(frozen=True, slots=True)
class NameUse:
    """A path or `@NAME`, for a stream socket of a user."""

    name: str
    uid: int
    netns: int
    outcome: NameTried
    users: tuple[NameUser, ...]
    unread: tuple[Unread, ...] = ()

    @property
    def is_abstract(self) -> bool:
        """Without a file: names of one network namespace, for each type of socket apart."""
        return self.outcome.at is None

    def in_the_way(self) -> list[NameUser]:
        """Sockets because of which it cannot be bound, or at which its file is bound.

        Accepted ones keep no name taken; who bound it and then connected looks just like them.
        """
        there = [user for user in self.users if user.there]
        if self.is_abstract:
            there = [user for user in there if user.kind == "stream"] if self.outcome.code else []
        bound = [user for user in there if user.state != "connected"]
        return bound or (there if self.is_abstract else [])
