"""What `probe` and `sockets` read of UDP sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from accepttrace.facts.records import Family, Holder, Losses, Program, Selector, Unread, is_partial


@dataclass(frozen=True, slots=True)
class ReceiverCount:
    """Counters of one UDP socket since tracing began. Source: BPF map `receivers`."""

    inode: int
    netns: int
    family: Family
    local_address: str
    local_port: int
    selected: int
    datagrams: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ReaderCount:
    """What one process read from one UDP socket since tracing began. Source: BPF map `readers`.

    `packets`: receive calls (each message of recvmmsg()) that took one out of the queue; what GRO
    put together is one. `start_ticks`: of the process, as in `Holder`. `pid` and `start_ticks` 0:
    all processes that have no PID here.
    """

    inode: int
    pid: int
    start_ticks: int
    comm: str
    packets: int


@dataclass(frozen=True, slots=True)
class ReceiverCounts:
    """One reading of the BPF maps; `at_s`: when (CLOCK_MONOTONIC)."""

    receivers: tuple[ReceiverCount, ...] = ()
    losses: Losses = field(default_factory=Losses)
    at_s: float = 0.0
    readers: tuple[ReaderCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Receiver:
    """A UDP socket as it stands now. Source: sock_diag, /proc, the BPF socket iterator.

    `None`: not known to this source, or (group) it is in none. A socket with a remote address is
    connected: it gets datagrams of that peer alone, and the hash of a group never chooses it.
    """

    inode: int
    netns: int
    family: Family
    local_address: str
    local_port: int
    remote_address: str | None
    remote_port: int | None
    uid: int
    drops: int | None
    queue_bytes: int
    queue_limit_bytes: int | None
    queue: int | None = None
    group: int | None = None
    group_size: int | None = None
    selector: Selector | None = None
    program: Program | None = None
    v6only: bool | None = None  # of IPv6: it refuses IPv4 (IPV6_V6ONLY)
    device: str | None = None  # that it is bound to (SO_BINDTODEVICE); None: to none
    holders: tuple[Holder, ...] = ()
    in_kernel: bool | None = None  # a service of the kernel made it (VXLAN, WireGuard)


@dataclass(frozen=True, slots=True)
class Receivers:
    """Every UDP socket that the filters let through, at one moment.

    `others`: inodes of those whose port and address do, but none of their holders.
    """

    sockets: tuple[Receiver, ...] = ()
    others: frozenset[int] = frozenset()
    unread: tuple[Unread, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether holders or sockets may be missing."""
        return is_partial(self.unread)


@dataclass(frozen=True, slots=True)
class UdpReading:
    """All that one refresh reads. `wall`: UTC in RFC 3339."""

    counts: ReceiverCounts
    receivers: Receivers
    wall: str = ""
