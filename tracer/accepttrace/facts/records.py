"""What `probe` and `sockets` hand to the model: plain facts, read once, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from accepttrace.facts.record import record

Family = Literal["ipv4", "ipv6", "unix"]
Sharing = Literal["sole", "shared", "reuseport"]
Selector = Literal["hash", "cbpf", "ebpf", "incoming_cpu"]
WaitsIn = Literal["epoll", "accept", "recv", "poll", "select", "io_uring"]  # recv: of UDP
Came = Literal["SCM_RIGHTS", "pidfd_getfd", "other"]  # other: io_uring, 32-bit code, seccomp
Via = Literal["syscall", "io_uring", "kernel"]
Book = Literal["balanced", "unbalanced", "unchecked"]
# USER_HZ, the unit of /proc/PID/stat: 100 on x86 and arm64, whatever the kernel's own HZ is.
TICKS_PER_S: Final = 100
NS_PER_TICK: Final = 10_000_000
US_PER_S: Final = 1_000_000
STUCK_US: Final = 1_000_000  # a connection that waits so long to be accepted waits long
BOOKS: Final[tuple[Book, ...]] = ("balanced", "unchecked", "unbalanced")  # the worst last
# What processes without a PID in the tracer's own PID namespace are called, all together.
OUTSIDE: Final = "outside this PID namespace"


class Locality(NamedTuple):
    """Accepts on the CPU that received the connection's last packet, of those looked at."""

    local: int
    accepts: int


class Placing(NamedTuple):
    """Accepts, by who took the connection before them among those who share; see `Order`.

    `placed`: those of which that is known. `again`: of these, those after one of its own. `steady`:
    those after another's, if that is the same other as the last time.
    """

    placed: int
    again: int
    steady: int


@dataclass(frozen=True, slots=True)
class Order:
    """Accepts in a row by a process of a shared socket, or at a socket of a group.

    Source: BPF map `orders`, in the order in which the hooks of accept() ran. `runs`: how many
    another one ended, by length: in place n those of 2^n to 2^(n+1) - 1. `run`: the length of the
    last one, which may go on. `raced`: accepts on several CPUs at a time, which have no place in
    the order.
    """

    inode: int | None  # of the listener; None: of a group
    group: int | None  # reuseport_id
    local_port: int | None  # of the group
    runs: tuple[int, ...]
    run: int
    raced: int


@record(frozen=True, slots=True)
class AcceptorCount:
    """Counters of one thread on one listener since tracing began. Source: BPF map `acceptors`.

    With `tid` 0 (`start_ns` is the process's then) of all threads of a process that have no row of
    their own, because it has so many. With `pid` 0 too of all processes that have no PID here.
    `None` marks what the attach type cannot see. `wait_us` is a histogram of the time in the
    accept queue up to the last bucket that is not empty: `model.histogram` knows them. `errors`
    maps errno (positive) to a count, EAGAIN excepted: that is `empty`.
    """

    listener_inode: int
    pid: int
    tid: int
    start_ns: int  # thread start, CLOCK_BOOTTIME: distinguishes a reused TID
    comm: str
    accepts: int
    empty: int | None
    errors: Mapping[int, int] | None
    wait_us: Sequence[int]
    wait_max_us: int
    wait_unknown: int  # accepts whose waiting time could not be read
    wasted: int | None = None  # EAGAIN before any success since the thread last woke
    via: Via | None = "syscall"  # None: in several ways, or it never took any
    refused: int | None = None  # EMFILE, ENFILE, while a connection waited; None: not known
    left_us: int = 0  # sum of the times of its accepts (µs, CLOCK_MONOTONIC), modulo 2^64
    waited_us: int = 0  # sum of the waits that ended with them, since tracing began
    ready_us: int = 0  # when the connection that it took last became ready to be taken
    process_start_ns: int = 0  # of the thread group leader, as /proc shows it here; 0: not known
    locality: Locality | None = None  # None: that was not looked at
    clients: int = 0  # bits, one for each value of a short hash of clients (address and port)
    placing: Placing | None = None  # the same


@record(frozen=True, slots=True)
class Flow:
    """Connections that came to a listener, and those that left it other than by accept().

    `arrived`: children made. `lost`: queued ones that the kernel reset. `came_us` and `left_us` sum
    the times at which they came and left (µs, CLOCK_MONOTONIC), modulo 2^64: their difference is
    the time that they spent in the queue. `waited_us`: the waits of those that left, since tracing
    began. `carried_us`: of those that moved here, until then. `None`: not visible.
    """

    arrived: int | None
    lost: int | None
    migrated_in: int | None
    migrated_out: int | None
    migration_failed: int | None
    came_us: int = 0
    left_us: int = 0
    waited_us: int = 0
    carried_us: int = 0


@record(frozen=True, slots=True)
class Overflow:
    """Packets that met a full accept queue; `peers`: the clients that sent them."""

    syn: int  # of AF_UNIX: calls of connect()
    ack: int
    aborted: int  # of the ACKs, answered with a reset
    peers: int


@record(frozen=True, slots=True)
class ListenerCount:
    """What the kernel side saw of one listening socket. Source: BPF map `listeners`.

    `counted`: by name, counters that only grow and that no other number rests on.
    """

    inode: int
    netns: int
    family: Family
    local_address: str
    local_port: int
    selected: int | None  # requests for a connection that were steered here
    flow: Flow | None = None
    overflow: Overflow | None = None
    queue_max: int | None = None
    queue_start: int | None = None  # before anything was counted, but for what was under way then
    stops: int = 0  # times it ended to listen
    mptcp: bool = False
    uncounted: int = 0  # accepts by workers that have no row of their own (`AcceptorCount`)
    drops: int | None = None  # sk_drops when it last ended to listen; None: it never did
    requests: int = 0  # SYNs that came here, also those that were answered with a cookie
    cut_off: int | None = 0  # handshakes half-open when it ended to listen, moved later or not
    counted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MigrationCount:
    """Moved from one listener to another (inodes; 0: unknown). Source: BPF map `migrations`."""

    from_inode: int
    to_inode: int
    connections: int
    requests: int


@dataclass(frozen=True, slots=True)
class PortCount:
    """Children made on a port, whichever of its listeners made them. Source: BPF map `ports`.

    `strayed`: accepted through a descriptor that named another socket when the call ended.
    `unmade`: reset before they were queued, as their listener closed. `late`: queued as it closed,
    and reset by the client at once: among what is `lost` there or not.
    """

    netns: int
    local_port: int
    arrived: int
    strayed: int = 0
    unmade: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class Passed:
    """Connections that came to and left each listener (by inode), or came to a port, so far.

    Read again right after the queues: what came or left meanwhile bounds what they should hold.
    """

    came: Mapping[int, int]
    left: Mapping[int, int]
    ports: Mapping[tuple[int, int], PortCount]  # by netns and port
    places: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # those, by inode


@dataclass(frozen=True, slots=True)
class Program:
    """A BPF program by the id and name that `bpftool prog` shows.

    Classic BPF has neither: no id, and as its name what it returns: `member 2`, or `cpu`, `queue`,
    `packet hash`, `random`, as they are or with ` modulo 4` or ` and 0x3` behind them.
    """

    id: int | None
    name: str


@dataclass(frozen=True, slots=True)
class Losses:
    """What the tracer itself lost. `None`: this kernel does not count it."""

    events_lost: int = 0
    map_full: int = 0
    probe_misses: int | None = 0
    recursion_misses: int | None = 0
    unattributed: int = 0
    over_share: int = 0  # events of owners who had used up their share of a map
    over_whose: tuple[str, ...] = ()  # those owners: "uid 33"
    rowless: bool = False  # a listener has no row: where none was read, nothing is known

    @property
    def total(self) -> int:
        """Everything known to be lost, in events; what is over a share is its owner's own."""
        return sum(number or 0 for number, _ in self.by_cause)

    @property
    def by_cause(self) -> tuple[tuple[int | None, str], ...]:
        """Each number with the name of one."""
        return (
            (self.events_lost, "event"),
            (self.map_full, "map full"),
            (self.probe_misses, "probe miss"),
            (self.recursion_misses, "recursion miss"),
            (self.unattributed, "unattributed"),
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """One reading of all BPF maps; `at_s`: when (CLOCK_MONOTONIC), during it.

    `ended`: acceptors (listener_inode, tid, start_ns) whose thread had ended before the maps were
    read, so their counts are final. `ahead_s`: by how much the clock of process starts (of
    /proc/PID/stat) is ahead of that of `at_s`.
    """

    acceptors: tuple[AcceptorCount, ...] = ()
    listeners: tuple[ListenerCount, ...] = ()
    losses: Losses = field(default_factory=Losses)
    migrations: tuple[MigrationCount, ...] = ()
    ports: tuple[PortCount, ...] = ()
    at_s: float = 0.0
    ended: frozenset[tuple[int, int, int]] = frozenset()
    ahead_s: float = 0.0
    orders: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Gone:
    """What the model has summed up and will not look for again: the kernel's rows may go.

    `acceptors`: (listener_inode, tid, start_ns) of ended threads. `listeners`: inodes of closed
    ones, with everything that belongs to them. `ports`: (netns, port) without any listener.
    """

    acceptors: tuple[tuple[int, int, int], ...] = ()
    listeners: tuple[int, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpCounters:
    """Counters of one network namespace since it was made, over all of its listeners.

    Source: TcpExt of /proc/net/netstat. `listen_drops`: attempts to connect that the kernel gave
    up, for whatever reason; `overflows` and `syn_queue_full` are parts of it. `deferred` is none:
    these clients are connected, and TCP_DEFER_ACCEPT waits for their data.
    """

    overflows: int = 0  # ListenOverflows: SYNs and final ACKs that met a full accept queue
    listen_drops: int = 0  # ListenDrops
    syn_queue_full: int = 0  # TCPReqQFullDrop: SYNs, while too many others were half-open
    deferred: int = 0  # TCPDeferAcceptDrop: bare final ACKs
    cookies_failed: int = 0  # SyncookiesFailed: final ACKs without a good cookie, reset


@dataclass(frozen=True, slots=True)
class NamespaceCount:
    """What the kernel dropped in one network namespace so far.

    `drops`: sk_drops by inode, of all of its listeners (or UDP sockets), traced or not; those
    without any are left out. `counters`, read just before these: None where they were not read.
    """

    netns: int
    drops: Mapping[int, int]
    counters: TcpCounters | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was there when tracing began, so that what came later can be counted.

    `sockets`: the inodes of all. `complete`: no namespace was hidden.
    """

    sockets: frozenset[int] = frozenset()
    namespaces: Mapping[int, NamespaceCount] = field(default_factory=dict)  # by netns
    complete: bool = False

    def drops(self, netns: int, inode: int) -> int | None:
        """What a socket had dropped by then; 0 of one that was born later, None: not known."""
        here = self.namespaces.get(netns)
        if here is not None:
            return here.drops.get(inode, 0)
        return 0 if self.complete else None


@record(frozen=True, slots=True)
class Holder:
    """A process with a file descriptor on a listener. Source: /proc.

    `container`, `pod` (NAMESPACE/NAME): what people call them, where files of the engine on this
    machine say so, else the number and the uid. `ns_pid`: its PID in its own PID namespace.
    """

    pid: int
    start_ticks: int  # field 22 of /proc/PID/stat: distinguishes a reused PID
    comm: str
    name: str  # what people call it: "nginx: worker", "gunicorn", else comm
    fd: int
    waits: bool | None  # it waits on it, or did so lately; None: not known
    cgroup: str | None = None
    container: str | None = None
    ns_pid: int | None = None
    waits_in: WaitsIn | None = None  # where it was seen to wait; None while `waits` is not True
    came: Came | None = None  # how it was handed over to this process; None: that was not seen
    pod: str | None = None


@record(frozen=True, slots=True)
class CpuTime:
    """Processor time of all threads of a process so far, when it was read (CLOCK_MONOTONIC)."""

    start_ticks: int  # of the process, as in `Process`
    used_s: float
    at_s: float


@record(frozen=True, slots=True)
class Process:
    """A process by name, holder or not. Source: /proc; only `pid` is sure once it is gone."""

    pid: int
    start_ticks: int = 0  # field 22 of /proc/PID/stat; 0: unknown
    comm: str = ""
    name: str = ""  # as `Holder.name`
    cgroup: str | None = None
    container: str | None = None
    ns_pid: int | None = None
    pod: str | None = None


class Options(NamedTuple):
    """What its program has set of a listening socket, and its place. Source: as `ListenerFact`.

    `in_kernel`: a service of the kernel made it (NFS, SMB, MPTCP): no process holds or waits.
    """

    reuseport: bool | None  # SO_REUSEPORT, in a group or not; None: not known to this loader
    mptcp: bool
    fast_open: int  # TCP_FASTOPEN: how many may wait for their final ACK; 0: not set
    incoming_cpu: int | None  # SO_INCOMING_CPU; None: not set
    place: int | None  # in its group, from 0 on, as selectors count; None: in none, or not found
    in_kernel: bool = False


@record(frozen=True, slots=True)
class ListenerFact:
    """What no system call shows of one listening socket. Source: the BPF socket iterator.

    In no reuseport group: `group`, `size` and `selector` are None.
    """

    group: int | None = None  # reuseport_id of the kernel
    size: int | None = None  # sockets in the group now
    selector: Selector | None = None
    program: Program | None = None
    defers: bool | None = None  # TCP_DEFER_ACCEPT is set
    half_open: int | None = None  # handshakes that are not finished
    oldest_us: int | None = None  # how long the head of the accept queue has waited
    options: Options | None = None


@record(frozen=True, slots=True)
class Listener:
    """A listening socket as it stands now. Source: sock_diag, /proc, the socket iterator.

    One of AF_UNIX has its name for a local address, as `sockets.diag.unix` spells it, and port 0.
    """

    inode: int
    netns: int
    family: Family
    local_address: str
    local_port: int
    backlog: int | None  # sk_max_ack_backlog; the queue holds one more
    queue: int | None
    sharing: Sharing | None
    group: int | None  # reuseport id
    group_size: int | None
    selector: Selector | None
    holders: tuple[Holder, ...] = ()
    uid: int | None = None  # owner of the socket; sockets of two owners never share a group
    program: Program | None = None  # BPF that chooses among the group
    drops: int | None = None  # sk_drops: packets dropped for whatever reason, since it was made
    defers: bool | None = None  # TCP_DEFER_ACCEPT is set
    half_open: int | None = None  # handshakes that are not finished
    v6only: bool | None = None  # of IPv6: it refuses IPv4 (IPV6_V6ONLY)
    device: str | None = None  # that it is bound to (SO_BINDTODEVICE); None: to none
    oldest_us: int | None = None  # how long the head of the accept queue has waited
    options: Options | None = None  # None: not known without BPF
    seqpacket: bool = False  # of AF_UNIX: SOCK_SEQPACKET

    @property
    def is_full(self) -> bool:
        """The queue holds one more than the limit."""
        return self.queue is not None and self.backlog is not None and self.queue > self.backlog

    @property
    def waits_long(self) -> bool:
        """A connection has waited in the queue for a second or more."""
        return bool(self.queue) and (self.oldest_us or 0) >= STUCK_US


class LocalPort(NamedTuple):
    """Where connections end on this machine, whichever listener they came through."""

    netns: int
    port: int
    family: Family


@dataclass(frozen=True, slots=True)
class Opened:
    """Established connections that processes hold, whoever accepted them, as of one look.

    `at_s`: when it ended (CLOCK_MONOTONIC). `ports`: local ones that were looked for. `started`: by
    PID the start (ticks) of each process that was read. `counts`: by PID and local port; none is 0.
    Sources: the BPF iterator over files, or sock_diag and /proc.
    """

    at_s: float
    ports: frozenset[int]
    started: Mapping[int, int]
    counts: Mapping[tuple[int, LocalPort], int]
    namespaces: frozenset[int] | None = None  # that were looked at; None: all
    comms: Mapping[int, str] = field(default_factory=dict)  # of those that hold any

    def of(self, pid: int, start_ticks: int, where: LocalPort) -> int | None:
        """Those of one process; None where it, the port or the namespace was not looked at."""
        if where.port not in self.ports or self.started.get(pid) != start_ticks:
            return None
        if self.namespaces is not None and where.netns not in self.namespaces:
            return None
        return self.counts.get((pid, where), 0)


class Serving(NamedTuple):
    """A process that holds connections of a port without holding a listener there.

    It inherited them, or got them over a Unix socket; or it gave up its listener. `process`: where
    there are many, of most of them only pid, start and comm are known.
    """

    process: Process
    where: LocalPort
    connections: int


@dataclass(frozen=True, slots=True)
class Unread:
    """What an inventory lacks: a process, or something else, that could not be read, and why."""

    name: str  # of the process; else what it is: "network namespace 4026532177"
    reason: str  # "permission denied"
    pid: int | None = None
    holders: bool = True  # holders may be missing for that; False: only its own name


def is_partial(unread: Iterable[Unread]) -> bool:
    """Whether holders or sockets may be missing for what could not be read."""
    return any(each.holders for each in unread)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every listener that the filters let through, at one moment."""

    listeners: tuple[Listener, ...] = ()
    unread: tuple[Unread, ...] = ()
    unix: tuple[str, ...] = ()  # where the processes asked for listen instead, if on no TCP socket
    namespaces: tuple[NamespaceCount, ...] = ()  # those that these listeners are in
    opened: Opened | None = None  # the last that was read, perhaps before all else
    serving: tuple[Serving, ...] = ()  # of the same look

    @property
    def partial(self) -> bool:
        """Whether holders or listeners may be missing."""
        return is_partial(self.unread)
