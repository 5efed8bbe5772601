"""The ways in which workers can share a port."""

from __future__ import annotations

import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from accepttrace.errors import UsageError


@dataclass(frozen=True, slots=True)
class Mode:
    """One sharing mode.

    `summary` describes it to people. `own_socket`: every worker has a listening socket of its own.
    `late`: workers are started before the socket exists. `blocks`: workers sleep in accept().
    `threads`: workers are threads of one process. `drain`: accept until EAGAIN at every wake-up.
    `events`: the epoll events each worker registers the socket for.
    """

    name: str
    summary: str
    own_socket: bool = False
    late: bool = False
    blocks: bool = False
    threads: bool = False
    drain: bool = False
    events: int = select.EPOLLIN


_ALL: Final = (
    Mode(
        "reuseport",
        "every worker has a socket of its own (SO_REUSEPORT), the kernel picks one by hash",
        own_socket=True,
    ),
    Mode(
        "shared",
        "all workers poll one socket, opened before they were forked; each wake-up accepts once",
    ),
    Mode(
        "blocking",
        "prefork: all workers sleep in accept() on one socket, the kernel wakes them in turn",
        blocks=True,
    ),
    Mode(
        "epoll",
        "all workers poll one socket and accept at every wake-up until it is empty",
        drain=True,
    ),
    Mode(
        "exclusive",
        "all workers poll one socket with EPOLLEXCLUSIVE, so a connection wakes few of them",
        events=select.EPOLLIN | select.EPOLLEXCLUSIVE,
    ),
    Mode(
        "passed",
        "workers started before the socket existed got it over a Unix socket (SCM_RIGHTS)",
        late=True,
    ),
    Mode(
        "threads",
        "one process whose threads all sleep in accept() on one socket",
        blocks=True,
        threads=True,
    ),
)

_BY_NAME: Final[Mapping[str, Mode]] = {mode.name: mode for mode in _ALL}

MODES: Final = tuple(_BY_NAME)


def find_mode(name: str) -> Mode:
    """The mode of that name; UsageError if there is none."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UsageError(f"no sharing mode {name!r}", f"choose from: {', '.join(MODES)}") from None
