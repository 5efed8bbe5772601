"""Invented readings and pictures: the smallest that a test of model and views needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from accepttrace.config import By, Filters
from accepttrace.facts.buckets import BUCKETS, bucket_of
from accepttrace.facts.kin import Surroundings
from accepttrace.facts.meta import Meta
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Counts,
    Holder,
    Inventory,
    Listener,
    ListenerCount,
    Losses,
    Process,
    Program,
    Unread,
    Via,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.snapshot import Event, GroupSize, Migration, SelectorChange, Snapshot
from accepttrace.model.tracker import Tracker

STEER = Program(42, "steer")
TICK_NS = 10_000_000
SEES = Sight.of("empty", "errors")
META = Meta(
    version="0.1.0",
    kernel="6.18.44 x86_64",
    attach="tracepoint",
    loader="libbpf",
    blind_spots=("reuseport selection",),
    started="2026-01-02T12:00:00.000Z",
    filter=":80",
)


LONG_AGO_S = 1e6  # so long before the first reading all processes began


def count(
    pid: int,
    accepts: int,
    inode: int = 100,
    *,
    tid: int | None = None,
    start: int | None = None,
    waits_us: Sequence[int] = (),
    empty: int | None = 0,
    errors: Mapping[int, int] | None = None,
    comm: str = "nginx",
    wasted: int | None = 0,
    via: Via = "syscall",
) -> AcceptorCount:
    """A thread of a process that started at tick `start` (default: its pid)."""
    ticks = pid if start is None else start
    histogram = [0] * BUCKETS
    for us in waits_us:
        histogram[bucket_of(us)] += 1
    return AcceptorCount(
        listener_inode=inode,
        pid=pid,
        tid=pid if tid is None else tid,
        start_ns=(ticks + (0 if tid is None else 1)) * TICK_NS + 4321,
        comm=comm,
        accepts=accepts,
        empty=empty,
        errors={} if errors is None else errors,
        wait_us=histogram,
        wait_max_us=max(waits_us, default=0),
        wait_unknown=0,
        wasted=wasted,
        via=via,
        process_start_ns=ticks * TICK_NS + 4321,
    )


def holder(
    pid: int,
    waits: bool | None = True,
    *,
    start: int | None = None,
    fd: int = 6,
    name: str = "nginx: worker",
    cgroup: str | None = None,
) -> Holder:
    """A process that started at tick `start` (default: its pid)."""
    ticks = pid if start is None else start
    return Holder(pid, ticks, "nginx", name, fd, waits, cgroup=cgroup)


def listener(
    inode: int = 100,
    holders: Sequence[Holder] = (),
    *,
    port: int = 80,
    address: str = "0.0.0.0",
    group: int | None = None,
    size: int | None = None,
    queue: int | None = 0,
    netns: int = 4026531840,
) -> Listener:
    """A listener; with a `group` one of a reuseport group that the hash chooses from."""
    return Listener(
        inode=inode,
        netns=netns,
        family="ipv6" if ":" in address else "ipv4",
        local_address=address,
        local_port=port,
        backlog=511,
        queue=queue,
        sharing="reuseport" if group else "shared" if len(holders) > 1 else "sole",
        group=group,
        group_size=size,
        selector="hash" if group else None,
        holders=tuple(holders),
    )


def counted(inode: int = 100, selected: int | None = None, port: int = 80) -> ListenerCount:
    """A listener as the kernel side has it."""
    return ListenerCount(inode, 4026531840, "ipv4", "0.0.0.0", port, selected)


def tracker(filters: Filters | None = None, sees: Sight = SEES) -> Tracker:
    """One that started at second 0."""
    return Tracker(META, filters or Filters(ports=frozenset({80})), 0.0, sees)


UNREAD = (Unread("systemd", "permission denied", 1),)


def feed(
    model: Tracker,
    second: float,
    acceptors: Sequence[AcceptorCount] = (),
    listeners: Sequence[Listener] | None = None,
    *,
    counted: Sequence[ListenerCount] = (),
    processes: Mapping[int, Process] | None = None,
    losses: Losses | None = None,
    partial: bool = False,
    around: Surroundings | None = None,
) -> None:
    """One update; `listeners` None: the inventory was not read again."""
    model.update(
        Reading(
            Counts(
                tuple(acceptors),
                tuple(counted),
                losses or Losses(),
                at_s=second,
                ahead_s=LONG_AGO_S,
            ),
            None if listeners is None else Inventory(tuple(listeners), UNREAD if partial else ()),
            processes or {},
            wall=f"2026-01-02T{12 + int(second) // 3600}:00:{int(second) % 60:02}.000Z",
            around=around,
        )
    )


def four_workers(
    accepts: Sequence[int] = (610, 250, 140, 0), by: By = "worker", losses: Losses | None = None
) -> Snapshot:
    """nginx on one shared socket: a master that only holds it, and four workers."""
    model = tracker()
    workers = range(1001, 1001 + len(accepts))
    holders = [holder(1000, False, name="nginx: master"), *map(holder, workers)]
    half = [count(pid, n // 2) for pid, n in zip(workers, accepts, strict=True) if n]
    full = [
        count(pid, n, waits_us=[120] * (n - 1) + [3400], empty=n // 10)
        for pid, n in zip(workers, accepts, strict=True)
        if n
    ]
    feed(model, 1, half, [listener(100, holders)])
    feed(model, 3, full, [listener(100, holders, queue=2)], losses=losses)
    return model.snapshot(by)


def reuseport(accepts: Sequence[int], by: By = "worker") -> Snapshot:
    """nginx with `reuseport`: every worker holds all sockets and waits on its own."""
    model = tracker()
    size = len(accepts)
    sockets = [
        listener(
            200 + own,
            [holder(1000, False, name="nginx: master")]
            + [holder(1001 + pid, pid == own) for pid in range(size)],
            group=7,
            size=size,
        )
        for own in range(size)
    ]
    taken = [count(1001 + own, n, 200 + own) for own, n in enumerate(accepts) if n]
    feed(model, 2, taken, sockets)
    return model.snapshot(by)


# A listener of which everything is visible, and that lost nothing.
QUIET: Mapping[str, Any] = {
    "queue_start": 0,
    "queue_max_sampled": False,
    "queue_mean": 0.25,
    "unseen": 0,
    "dropped_overflow": 0,
    "overflow_syn": 0,
    "overflow_ack": 0,
    "overflow_aborted": 0,
    "overflow_peers": 0,
    "dropped_syn_queue": 0,
    "dropped_other": 0,
    "dropped_unclear": 0,
    "deferred": 0,
    "drops": 0,
    "lost_on_close": 0,
    "half_open_lost": 0,
    "migration_failed": 0,
    "refused_accepts": 0,
    "migrated_in": 0,
    "migrated_out": 0,
    "book": "balanced",
    "imbalance": 0,
}


def seen(snapshot: Snapshot, facts: Mapping[int, Mapping[str, Any]] | None = None) -> Snapshot:
    """With every fact of its listeners visible; `facts` by inode are other than quiet.

    As many arrived as the book wants, and the books of the snapshot follow from the listeners.
    """
    rows = []
    for row in snapshot.listeners:
        mine = (facts or {}).get(row.inode or 0, {})
        known = {**QUIET, "queue": row.queue, **mine}
        if mine.keys() & {"overflow_syn", "overflow_ack"} and "dropped_overflow" not in mine:
            known["dropped_overflow"] = _sum(known["overflow_syn"], known["overflow_ack"])
        gone = sum(known[name] or 0 for name in ("unseen", "queue", "lost_on_close"))
        moved = (known["migrated_out"] or 0) - (known["migrated_in"] or 0)
        arrived = row.accepted + gone + moved - known["queue_start"] + known["imbalance"]
        rows.append(replace(row, **{"arrived": arrived, **known}))
    wrong = any(row.book == "unbalanced" for row in rows)
    books = replace(
        snapshot.books,
        unseen=sum(row.unseen or 0 for row in rows),
        word="unbalanced" if wrong else "balanced",
        balanced=snapshot.books.balanced and not wrong,
    )
    return replace(snapshot, listeners=tuple(rows), books=books)


def _sum(*numbers: int | None) -> int | None:
    return None if None in numbers else sum(number or 0 for number in numbers)


_EVENT = Event(
    *(1, "LOST", "2026-01-02T12:00:01.500Z", 1.5, 2.0, True, 4026531840, "ipv4", "0.0.0.0", 80),
    inode=200,
    lost={"overflow_syn": 48, "overflow_ack": 3},
    clients=12,
)
# What `troubled` shows, and when.
EVENTS = (
    _EVENT,
    replace(
        _EVENT,
        number=2,
        kind="GROUP",
        inode=None,
        lost={"lost_on_close": 203},
        clients=None,
        program="nginx: worker",
        workers=2,
        left=1,
        came=0,
        sockets=2,
        closed=1,
        opened=0,
    ),
)


def troubled(by: By = "worker") -> Snapshot:
    """Two sockets of a group: one overflowed, the other closed and lost what was queued."""
    sizes = (GroupSize(0.0, 2), GroupSize(1.5, 1))
    overflow = {
        "dropped_overflow": 51,
        "overflow_syn": 48,
        "overflow_ack": 3,
        "overflow_peers": 12,
        "drops": 52,
        "refused_accepts": 12,
        "migrated_in": 5,
        "group_sizes": sizes,
        "selector": "ebpf",
        "selector_program": STEER,
        "selectors": (SelectorChange(0.0, "hash"), SelectorChange(1.5, "ebpf", STEER)),
    }
    closed = {
        "queue_start": 200,
        "queue": None,
        "lost_on_close": 203,
        "migration_failed": 3,
        "migrated_out": 5,
        "open": False,
        "epoch": 2,
        "group_sizes": sizes,
    }
    snapshot = seen(reuseport((4990, 700), by), {200: overflow, 201: closed})
    return replace(snapshot, migrations=(Migration(201, 200, 5, 1),), events=EVENTS)


def unbalanced(by: By = "worker") -> Snapshot:
    """One listener of which seven connections are missing."""
    return seen(
        four_workers(by=by),
        {100: {"queue_start": 200, "book": "unbalanced", "imbalance": 7}},
    )


def has(row: object, **facts: object) -> None:
    """Assert that a row has all these, whatever else it has."""
    assert {name: getattr(row, name) for name in facts} == facts
