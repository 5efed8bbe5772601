"""The immutable picture that every view is made from. Field names are the JSON and CSV names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from accepttrace.config import By
from accepttrace.facts.meta import Meta
from accepttrace.facts.record import record
from accepttrace.facts.records import (
    Book,
    Family,
    Holder,
    Losses,
    Program,
    Selector,
    Sharing,
    Unread,
    Via,
    is_partial,
)
from accepttrace.model.pattern import Pattern
from accepttrace.model.verdict import Finding, Word
from accepttrace.model.who.diagnosis import Kind


@dataclass(frozen=True, slots=True)
class GroupSize:
    """A reuseport group had so many sockets from then on."""

    elapsed_s: float
    size: int


@dataclass(frozen=True, slots=True)
class SelectorChange:
    """Members of a reuseport group were chosen so from then on; `program`: by which eBPF."""

    elapsed_s: float
    selector: Selector
    program: Program | None = None


@dataclass(frozen=True, slots=True)
class Migration:
    """What the kernel moved from one listener to another: queued connections, half-open requests.

    An inode of 0: that listener is not known any more.
    """

    from_inode: int
    to_inode: int
    connections: int
    requests: int


@dataclass(frozen=True, slots=True)
class NamespaceLoss:
    """Packets lost at one of several listeners, the kernel does not say which.

    `cause`: `overflow`, `syn_queue` or `other`, as `dropped_…` of a listener; `cookie`: final ACKs
    answered with a reset, as there was no good SYN cookie in them. `listeners`: the inodes of those
    shown that it may have been. `sure`: it was one of these.
    """

    netns: int
    cause: str
    packets: int
    listeners: tuple[int, ...]
    sure: bool


@record(frozen=True, slots=True)
class ListenerRow:
    """One listening socket, since the start. `None` = not visible with this attach type.

    Of those that closed the last ones have rows; the others at one address share a row without an
    `inode` that stands for so many that `ended`, or one without an address. So do idle ones where
    they are very many: a row without an `inode` stands for so many open ones that are `folded`, of
    which it has what they have in common. `capacity`: connections
    that its queue holds (backlog + 1). `queue_start`: its length when it was first seen.
    `queue_max`: where it is `queue_max_sampled`, only the longest at any time when somebody
    looked. `queue_full_s`: for so long every reading has found it full; None: it is not.
    `oldest_wait_us`: so long the connection at the head of the queue has waited; where the kernel
    could not be read, at least so long.
    `queue_mean` is weighted by time. `arrived`: connections established, also those that migrated
    to another socket later; `uncounted`: of the accepted, by workers without a row of their own;
    `unseen`: of the arrived, accepted by threads that the attach type cannot see. `overflow_syn`
    and `overflow_ack` count packets dropped because the queue was full, `overflow_peers` the
    clients that sent them (address and port), `overflow_aborted` the ACKs answered with a reset.
    `dropped_syn_queue` are SYNs dropped because too many others were half-open, `dropped_other`
    attempts to connect that the kernel gave up for a reason that it does not count,
    `dropped_unclear` packets of which it is not known whether a client lost by that. `deferred` are
    bare final ACKs that TCP_DEFER_ACCEPT ignored: no client lost anything, it is connected and has
    sent nothing yet. `defer_accept`: whether that option is set; `half_open`: handshakes that are
    not finished, with it also those that wait for data. `drops` is the kernel's own count of
    packets dropped for whatever reason, lost by clients or not. `lost_on_close` are queued
    connections reset because the listener closed; of them `migration_failed` would have moved.
    `half_open_lost`: handshakes cut off with it, before their final ACK. `refused_accepts` are
    calls of accept() that had no file descriptor left (EMFILE, ENFILE) while a connection waited.
    `epoch` counts how often it began to listen. `book`: whether queue_start + arrived = accepted +
    unseen + queue now + lost + migrated out - migrated in; `imbalance`: by how much the left side
    is larger. `holders` of a member of a reuseport group: those who wait here, or on none of its
    sockets; `holders_elsewhere`: how many wait on its other sockets. Of those that are `folded`:
    who holds one of them, and how many more do.
    """

    inode: int | None
    epoch: int
    netns: int | None
    family: Family | None
    local_address: str | None
    local_port: int | None
    device: str | None  # that it is bound to (SO_BINDTODEVICE)
    v6only: bool | None  # of IPv6: it refuses IPv4; None: IPv4, or not known
    backlog: int | None
    capacity: int | None
    queue: int | None
    queue_start: int | None
    queue_max: int | None
    queue_max_sampled: bool
    queue_full_s: float | None
    queue_mean: float | None
    oldest_wait_us: int | None
    arrived: int | None
    accepted: int
    uncounted: int
    unseen: int | None
    selected: int | None
    dropped_overflow: int | None  # overflow_syn + overflow_ack, also where these are not known
    overflow_syn: int | None
    overflow_ack: int | None
    overflow_aborted: int | None
    overflow_peers: int | None
    dropped_syn_queue: int | None
    dropped_other: int | None
    dropped_unclear: int | None
    deferred: int | None
    defer_accept: bool | None
    half_open: int | None
    drops: int | None
    lost_on_close: int | None
    half_open_lost: int | None
    migration_failed: int | None
    refused_accepts: int | None
    migrated_in: int | None
    migrated_out: int | None
    counted: Mapping[str, int]  # plain counters that the attach type has, by name
    book: Book
    imbalance: int | None
    sharing: Sharing | None
    group: int | None
    group_size: int | None
    group_sizes: tuple[GroupSize, ...]  # changes since the start: the first, and the latest
    selector: Selector | None
    selector_program: Program | None
    selectors: tuple[SelectorChange, ...]  # changes of both, in the same way
    open: bool  # False once it was seen to be gone
    ended: int
    folded: int
    holders: tuple[Holder, ...]
    holders_elsewhere: int


@record(frozen=True, slots=True)
class AcceptorRow:
    """One row of the table: what it stands for depends on `--by`.

    The last workers that ended have rows; the others of one program and listener share a row
    without a `pid` that stands for so many that `ended`. `folded`: it is about so many idle
    listeners that share a row (see `ListenerRow`), and about no other. `serves`: it is about so
    many processes that hold connections of the port, accepted none and hold no listener there: who
    accepted handed them on; 0 of all other rows. Where they are many they share a row without a
    `pid`. `left`: its process is alive and holds the listener no more. `share` is of all accepts
    shown (0..1). `fair_ratio` is accepts ÷ those after an even split, at each moment over those who
    could have taken them then: the waiting workers of the same listener or reuseport group; None
    for a holder that does not wait for connections, and where not everybody is known. `recent_…`:
    the same of the last seconds (`Snapshot.window_s`); None without a window, or while that is the
    whole run. `trend`: accepts per second in the last parts of it, the latest last, None before the
    start; empty where nobody asked for it. Waiting times are upper
    bounds of histogram buckets (≤ 12.5 % wide), in microseconds; None where nothing was measured.
    `wait_sum_us` is exact: all of them added up, as far as they fell into the run.
    `wait_histogram` has their counts, by the buckets of `model.histogram`; empty where nothing was
    measured.
    `open_connections`: established ones at the listener's port and of its family that the process
    holds now, whoever accepted them; for rows by worker and process. None where that is not known,
    and for one of several listeners of the process at one port: connections do not name theirs.
    `cpu`: processor time of the process in the last interval as a share of one processor, in the
    same rows. `local`: the part of the accepts that were on the CPU that had received the
    connection's last packet; None: that was not asked for.
    """

    pid: int | None
    tid: int | None
    comm: str
    name: str
    alive: bool
    left: bool
    ended: int
    folded: int
    serves: int
    waits: bool | None
    listener_inode: int | None
    netns: int | None
    family: Family | None
    local_address: str | None
    local_port: int | None
    device: str | None
    group: int | None
    accepts: int
    accepts_interval: int
    rate: float  # accepts per second over the last interval
    share: float
    fair_ratio: float | None
    recent_accepts: int | None
    recent_share: float | None
    recent_ratio: float | None
    trend: Sequence[float | None]
    wait_p50_us: int | None
    wait_p90_us: int | None
    wait_p99_us: int | None
    wait_max_us: int | None
    wait_sum_us: int | None
    wait_histogram: Sequence[int]
    empty_accepts: int | None
    wasted_wakeups: int | None  # woken, and the first accept() found nothing
    failed_accepts: int | None
    errors: Mapping[str, int] | None  # by errno name
    via: Via | None  # how it accepts; None: several ways, or no accepts
    selected: int | None  # rows by socket or group
    open_connections: int | None
    cpu: float | None
    local: float | None
    cgroup: str | None
    container: str | None
    ns_pid: int | None
    unit: str | None
    pod: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one sharing set: a reuseport group, or one listener (`inode`).

    `over_s`: the counts are those of the last seconds, so many. `since_s`: it has been called so
    since then, in seconds since the start; None for what is no fault. `pattern`: of all accepts
    since the start, where a run asks for it.
    """

    netns: int | None
    family: Family | None
    local_address: str | None
    local_port: int | None
    group: int | None
    inode: int | None
    over_s: float
    since_s: float | None
    finding: Finding
    pattern: Pattern | None = None


EventKind = Literal[
    "LOST",
    "RELOAD",
    "WORKERS",
    "GROUP",
    "PASSED",
    "STUCK",
    "UNEVEN",
    "IDLE WORKERS",
    "UNEVEN OPEN",
    Kind,
]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened from one reading to another; what follows soon at one place is one event.

    `number`: from 1, in the order in which they began; it stays where an event goes on. `time`: of
    the reading that showed it first (UTC, RFC 3339), `began_s` the same in seconds since the start,
    `until_s`: of the last that did; of a verdict that ended, the first that did not. `going_on`:
    more of it may come. `lost`: what clients lost by it, by the fields of a `ListenerRow`; `cookie`
    as in a `NamespaceLoss`. `clients`: who lost it, by address and port; None: not known.
    `workers`: how many there were before, `left` and `came` of those that ended or let go of the
    sockets, and of the new ones; `sockets`, `closed` and `opened`: the same of listening sockets.
    `program`: what the workers are called. `text`: the words of a verdict, or of what `who` finds.
    None: it is not about such things.
    """

    number: int
    kind: EventKind
    time: str
    began_s: float
    until_s: float
    going_on: bool
    netns: int | None
    family: Family | None
    local_address: str | None
    local_port: int | None
    group: int | None = None
    inode: int | None = None
    lost: Mapping[str, int] = field(default_factory=dict)
    clients: int | None = None
    program: str | None = None
    workers: int | None = None
    left: int | None = None
    came: int | None = None
    sockets: int | None = None
    closed: int | None = None
    opened: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """What was counted and what was lost on the way.

    `uncounted`: of the accepts, those by workers for whom there was no row. `unseen`:
    accepts that cannot be seen, or more where it is `unseen_at_least`. `word`: of all
    listeners' books, the worst; not balanced where the tracer lost something.
    `balanced`: nothing is known to be missing, and no listener's book is unbalanced.
    """

    accepts: int
    losses: Losses
    uncounted: int
    unseen: int | None
    unseen_at_least: bool
    word: Book
    balanced: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment, from the start of tracing.

    `open_age_s`: how old `open_connections` of the rows are; None: they were not read. They are
    read less often where that takes long.
    """

    time: str  # UTC, RFC 3339
    elapsed_s: float
    interval_s: float
    by: By
    meta: Meta
    listeners: tuple[ListenerRow, ...]
    acceptors: tuple[AcceptorRow, ...]
    books: Books
    earlier_events: int  # that are not among `events`
    window_s: float | None = None  # how far back the `recent_…` reach; None: there is no window
    verdicts: tuple[Verdict, ...] = ()  # the gravest first; of the whole, the first
    migrations: tuple[Migration, ...] = ()
    namespace_losses: tuple[NamespaceLoss, ...] = ()
    unread: tuple[Unread, ...] = ()
    unix: tuple[str, ...] = ()  # as `records.Inventory.unix`
    open_age_s: float | None = None
    events: tuple[Event, ...] = ()  # the last ones, in the order in which they began

    @property
    def verdict(self) -> Word | None:
        """Of the whole: the gravest. None: nobody shares."""
        return self.verdicts[0].finding.word if self.verdicts else None

    @property
    def partial(self) -> bool:
        """Whether holders or listeners may be missing."""
        return is_partial(self.unread)
