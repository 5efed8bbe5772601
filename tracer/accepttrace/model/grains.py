"""What a row may stand for: one entry for each value of `--by`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from accepttrace.config import By
from accepttrace.model.entries import Entry, Key


@dataclass(frozen=True, slots=True)
class Grain:
    """`key`: what entries of one row have in common.

    `noun` and `identity`: a row is known by this word and this field of AcceptorRow. `of_sockets`:
    it stands for sockets, not for an acceptor.
    """

    noun: str
    identity: str
    key: Callable[[Entry], Key]
    of_sockets: bool = False


GRAINS: Final[Mapping[By, Grain]] = {
    "worker": Grain("pid", "pid", lambda e: (e.socket, e.process)),
    "process": Grain("pid", "pid", lambda e: e.process),
    "thread": Grain("thread", "tid", lambda e: (e.socket, e.process, e.thread)),
    "socket": Grain("inode", "listener_inode", lambda e: e.socket, of_sockets=True),
    "group": Grain("group", "group", lambda e: e.members, of_sockets=True),
}
OF_PROCESSES: Final = ("worker", "process")
OF_SOCKETS: Final = tuple(by for by, grain in GRAINS.items() if grain.of_sockets)
