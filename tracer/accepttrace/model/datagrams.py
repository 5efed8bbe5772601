"""UDP: what was read of sockets, and the picture that views are made from.

Field names of the rows are the JSON and CSV names.
"""

from __future__ import annotations

from dataclasses import dataclass

from accepttrace.facts.meta import Meta
from accepttrace.facts.records import Family, Holder, Losses, Program, Selector, Unread, is_partial


@dataclass(frozen=True, slots=True)
class Reader:
    """A process that read a socket, or may. `share`: its part of all packets read there (0..1).

    `pid` None: all those together that have none here.
    """

    pid: int | None
    start_ticks: int  # of the process, as in `Holder`
    name: str
    packets: int
    share: float | None


@dataclass(frozen=True, slots=True)
class ReceiverRow:
    """One UDP socket, since the start. `None` = not visible with this attach type, or not there.

    `selected`: packets for which SO_REUSEPORT chose it. A packet may be chosen for more than once
    (a group with a connected member goes on looking), and may be many datagrams (GRO).
    `datagrams`: those that its queue took; `dropped`: those that it did not, as it was full.
    `drops`: packets dropped for whatever reason, by the kernel's own count of the socket. `share`:
    of all datagrams shown (0..1). `queue`: packets waiting to be read; `queue_bytes`: the memory
    that they take, of at most `queue_limit_bytes` (SO_RCVBUF). A row without an `inode` stands for
    so many open ones of which nothing was counted that are `folded`, and has what they have in
    common; `holders_more`: processes that hold one of them, beside those of `holders`. `read`:
    packets that processes took out of the queue, by `readers`, holders that took none among them;
    what GRO put together is one packet, and what was only peeked at (MSG_PEEK) is none.
    """

    inode: int | None
    netns: int | None
    family: Family | None
    local_address: str | None
    local_port: int | None
    device: str | None  # that it is bound to (SO_BINDTODEVICE)
    v6only: bool | None  # of IPv6: it refuses IPv4; None: IPv4, or not known
    remote_address: str | None
    remote_port: int | None
    uid: int | None
    group: int | None
    group_size: int | None
    selector: Selector | None
    selector_program: Program | None
    selected: int | None
    datagrams: int | None
    datagrams_interval: int | None
    rate: float | None  # datagrams per second over the last interval
    share: float | None
    dropped: int | None
    drops: int | None
    read: int | None
    readers: tuple[Reader, ...] | None
    queue: int | None
    queue_bytes: int | None
    queue_limit_bytes: int | None
    open: bool  # False once it was seen to be gone
    folded: int
    holders: tuple[Holder, ...]
    holders_more: int


@dataclass(frozen=True, slots=True)
class ReceiverBooks:
    """Sums over all sockets, and what the tracer itself lost.

    `unlisted`: of the sums, what went to sockets without a row: those that are gone, but for the
    last members of groups, and those in network namespaces that cannot be entered.
    """

    selected: int | None
    datagrams: int | None
    dropped: int | None
    drops: int | None
    unlisted_sockets: int
    unlisted_datagrams: int | None
    losses: Losses
    balanced: bool  # the tracer is not known to have missed anything

    @property
    def lost(self) -> int:
        """Datagrams that no reader got, as far as that is known."""
        return max(self.dropped or 0, self.drops or 0)


@dataclass(frozen=True, slots=True)
class ReceiverSnapshot:
    """Everything at one moment, from the start of tracing."""

    time: str  # UTC, RFC 3339
    elapsed_s: float
    interval_s: float
    meta: Meta
    sockets: tuple[ReceiverRow, ...]
    books: ReceiverBooks
    unread: tuple[Unread, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether holders or sockets may be missing."""
        return is_partial(self.unread)
