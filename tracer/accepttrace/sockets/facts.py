"""What one look at a process shows, whichever way it was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from accepttrace.facts.records import Came, WaitsIn


class Waiting(NamedTuple):
    """`waits` and `waits_in` of `records.Holder`."""

    waits: bool | None
    where: WaitsIn | None = None


UNKNOWN: Final = Waiting(None)
NOT: Final = Waiting(False)


class Rest(NamedTuple):
    """How the threads of a process sleep. `on`: listeners that they wait on, by descriptor.

    `idle`: all of them sleep in what has to do with no connection.
    """

    on: Mapping[int, WaitsIn]
    idle: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """A process that holds sockets asked for. `tid`: a thread of it that lives."""

    pid: int
    tid: int
    start_ticks: int
    comm: str
    fds: Mapping[int, int]  # inode → its lowest descriptor
    waits: Mapping[int, Waiting]  # by inode, at this moment
    sure: bool  # it does not wait at this moment where that is UNKNOWN, but may be busy
    came: Mapping[int, Came] = field(default_factory=dict)  # by inode, where it was handed over
