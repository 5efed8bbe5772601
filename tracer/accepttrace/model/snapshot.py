"""The immutable picture that every view is made from. Field names are the JSON and CSV names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accepttrace.model.records import Family, Holder, Selector, Sharing


@dataclass(frozen=True, slots=True)
class Meta:
    """What was traced, how, and what this way cannot see."""

    version: str
    kernel: str
    attach: str
    loader: str
    blind_spots: tuple[str, ...]
    started: str  # UTC, RFC 3339
    filter: str  # for people, as `Filters.describe` says it


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """One listening socket. `None` = not visible with this attach type."""

    inode: int
    netns: int
    family: Family
    local_address: str
    local_port: int
    backlog: int | None
    queue: int | None
    queue_max: int | None
    arrived: int | None
    accepted: int
    selected: int | None
    dropped_overflow: int | None
    lost_on_close: int | None
    migrated_in: int | None
    migrated_out: int | None
    sharing: Sharing | None
    group: int | None
    group_size: int | None
    selector: Selector | None
    open: bool  # False once it was seen to be gone
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class AcceptorRow:
    """One row of the table: what it stands for depends on `--by`.

    `share` is of all accepts shown (0..1). `fair_ratio` is accepts ÷ the mean over those who could
    have taken them: the waiting workers of the same listener or reuseport group; None for a holder
    that does not wait for connections. Waiting times are upper bounds of histogram buckets
    (≤ 12.5 % wide), in microseconds; None where nothing was measured.
    """

    pid: int | None
    tid: int | None
    comm: str
    name: str
    alive: bool
    waits: bool | None
    listener_inode: int | None
    netns: int | None
    family: Family | None
    local_address: str | None
    local_port: int | None
    group: int | None
    accepts: int
    accepts_interval: int
    rate: float  # accepts per second over the last interval
    share: float
    fair_ratio: float | None
    wait_p50_us: int | None
    wait_p90_us: int | None
    wait_p99_us: int | None
    wait_max_us: int | None
    empty_accepts: int | None
    failed_accepts: int | None
    errors: Mapping[str, int] | None  # by errno name
    selected: int | None  # rows by socket or group
    cgroup: str | None
    container: str | None
    ns_pid: int | None


@dataclass(frozen=True, slots=True)
class Books:
    """What was counted and what was lost on the way. `balanced`: nothing is known to be missing."""

    accepts: int
    events_lost: int
    map_full: int
    probe_misses: int | None
    recursion_misses: int | None
    unattributed: int
    balanced: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment, from the start of tracing."""

    time: str  # UTC, RFC 3339
    elapsed_s: float
    interval_s: float
    by: str
    meta: Meta
    listeners: tuple[ListenerRow, ...]
    acceptors: tuple[AcceptorRow, ...]
    books: Books
    partial: bool = False  # some holders could not be read
