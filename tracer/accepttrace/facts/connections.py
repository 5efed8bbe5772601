"""What happened to one connection, or to several at once, when and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from accepttrace.facts.records import Family

Kind = Literal["accept", "failed", "reset", "dropped"]
KINDS: Final[frozenset[Kind]] = frozenset(get_args(Kind))


class Called(NamedTuple):
    """What people call a process and where it runs, as in `Holder`; None: not known, or nowhere."""

    name: str
    unit: str | None = None
    container: str | None = None
    pod: str | None = None


class ConnectionEvent(NamedTuple):
    """One event. Source: the BPF ring buffer `events`. None: not known, or there is no such thing.

    `failed`: a call of accept() that took nothing. `reset`: queued connections, with their
    listener. `dropped`: a SYN, a final ACK or a connect() to a UNIX socket that met a full queue.
    """

    type: Kind
    time_ns: int  # wall clock, since the epoch
    pid: int | None  # None of an accept: it has none in this PID namespace
    tid: int | None
    name: str | None  # as `Holder.name`, or OUTSIDE; `comm` where the process was gone before
    comm: str | None  # of the thread
    fd: int | None
    error: str | None  # EMFILE
    family: Family
    local_address: str | None  # None of AF_UNIX, as the next three
    local_port: int | None
    peer_address: str | None
    peer_port: int | None
    listener_inode: int
    netns: int
    group: int | None  # reuseport_id of the listener
    wait_us: int | None  # in the accept queue
    queue: int  # left behind in the queue of the listener
    cpu: int
    received_cpu: int | None  # that handled the last packet of the connection
    local: bool | None  # accepted on that CPU
    connections: int  # that it is about
    path: str | None = None  # AF_UNIX: the name of the listener, `@NAME` where it is abstract
    peer_pid: int | None = None  # AF_UNIX: who connected, as SO_PEERCRED; it may be gone
    peer_uid: int | None = None  # in the initial user namespace
    unit: str | None = None  # these three: of the process
    container: str | None = None
    pod: str | None = None


class UnixName(NamedTuple):
    """The name of a listener of AF_UNIX. Source: BPF map `unix_names`.

    `file`: major, minor and lower 32 bits of the inode number of the socket's file; None: abstract.
    """

    sun_path: bytes
    file: tuple[int, int, int] | None


class Batch(NamedTuple):
    """Accepts, of which most have much in common: what a text of each is made of soonest.

    `likes`: an event for each set of values that they have in common; `which`: for each accept its
    index there. The others: what is of its own, as in `ConnectionEvent`.
    """

    likes: Sequence[ConnectionEvent]
    which: Sequence[int]
    time_ns: Sequence[int]
    fd: Sequence[int | None]
    peer_address: Sequence[str | None]
    peer_port: Sequence[int | None]
    wait_us: Sequence[int | None]
    queue: Sequence[int]


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What became of all events. Source: BPF map `event_counts`.

    `accepts`: as events, whatever became of them. `left_out`: by `--slower-than` and `--peer`.
    """

    accepts: int
    left_out: int
    not_sampled: int
    lost: int  # the ring buffer was full
    written: int  # to the ring buffer


@dataclass(frozen=True, slots=True)
class Account:
    """What became of all events of a run so far.

    `left_out`: by filters of processes and addresses, after they were written to the ring buffer.
    `accepts`: counted by the same programs, in other maps; None: not known, for others still come.
    """

    elapsed_s: float
    counts: EventCounts
    left_out: int = 0
    accepts: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """Which events are written. `peer`: address and mask, as of IPv6; None: any."""

    kinds: frozenset[Kind]
    slower_us: int = 0
    sample: int = 1
    peer: tuple[bytes, bytes] | None = None
