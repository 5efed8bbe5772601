"""What a refresh costs the model and the views, by size: CPU, memory, bytes of JSON.

    .venv/bin/python -m bench.scale [SHAPE …]

Readings are made up, so no privileges are needed. Each size runs in a process of its own. `grows`:
the power of the size with which the CPU of the model grows (1: in proportion).
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from accepttrace.facts.meta import Meta
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Counts,
    Flow,
    Holder,
    Inventory,
    Listener,
    ListenerCount,
)
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.probe.plans import FENTRY
from accepttrace.run.run import collect_seldom
from accepttrace.views import csvrows, jsonl, table

REFRESHES: Final = 5
META: Final = Meta("0", "6.1", "fentry", "libbpf", (), "2026-01-02T12:00:00Z", "")
SEES: Final = FENTRY.sees


@dataclass(frozen=True)
class Shape:
    """`workers` of them hold all `listeners`; with `reuseport` each waits on one of its own."""

    name: str
    sizes: tuple[int, ...]
    listeners: Callable[[int], int]
    workers: Callable[[int], int]
    reuseport: bool = False
    busy: bool = True


SHAPES: Final = (
    Shape("idle listeners", (1_000, 3_000, 10_000), lambda n: n, lambda _: 1, busy=False),
    Shape("busy listeners", (1_000, 3_000, 10_000), lambda n: n, lambda _: 1),
    Shape("workers", (32, 128, 512), lambda _: 1, lambda n: n),
    Shape("idle workers", (100, 300, 1_000), lambda _: 100, lambda n: n, busy=False),
    Shape("reuseport", (16, 64, 256), lambda n: n, lambda n: n, reuseport=True),
)


FORMS: Final[tuple[Callable[[Snapshot], object], ...]] = (
    lambda snapshot: table.render(snapshot, 120, 55),
    jsonl.snapshot_line,
    csvrows.rows,
)


class Cost(NamedTuple):
    """CPU in milliseconds, of the model and then of each of the `FORMS`."""

    spent: tuple[float, ...]
    mib: float
    json_bytes: int


def measure(shape: Shape, size: int) -> Cost:
    """The mean of some refreshes, after the first one."""
    collect_seldom()
    tracker = Tracker(META, None, 0.0, SEES, grains=["worker"])
    rounds: list[list[float]] = []
    for second in range(1, REFRESHES + 2):
        counts, inventory = reading(shape, size, second)
        times = [time.process_time()]
        snapshot = picture(tracker, counts, inventory)
        times.append(time.process_time())
        for form in FORMS:
            form(snapshot)
            times.append(time.process_time())
        rounds.append([end - begin for begin, end in pairwise(times)])
    spent = tuple(sum(each) / REFRESHES * 1000 for each in zip(*rounds[1:], strict=True))
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(spent, mib, len(jsonl.snapshot_line(snapshot)))


def picture(tracker: Tracker, counts: Counts, inventory: Inventory) -> Snapshot:
    """One refresh of the model."""
    tracker.update(Reading(counts, inventory, wall="2026-01-02T12:00:00Z"))
    return tracker.snapshot()


def reading(shape: Shape, size: int, second: int) -> tuple[Counts, Inventory]:
    """Everybody has accepted some more than a second ago."""
    inodes, pids = range(1, shape.listeners(size) + 1), range(1, shape.workers(size) + 1)
    pairs = zip(inodes, pids, strict=True) if shape.reuseport else _all_pairs(inodes, pids)
    takers = tuple(_taker(i, pid, second * (i + pid)) for i, pid in pairs if shape.busy)
    came = {inode: 0 for inode in inodes}
    for taker in takers:
        came[taker.listener_inode] += taker.accepts
    counted = tuple(_counted(i, came[i]) for i in inodes if shape.busy)
    holders = tuple(_holder(pid) for pid in pids)
    listed = tuple(_listed(shape, i, holders, len(inodes)) for i in inodes)
    return Counts(takers, counted, at_s=second), Inventory(listed)


def _all_pairs(inodes: range, pids: range) -> list[tuple[int, int]]:
    return [(inode, pid) for inode in inodes for pid in pids]


def _taker(inode: int, pid: int, accepts: int) -> AcceptorCount:
    return AcceptorCount(
        listener_inode=inode,
        pid=pid,
        tid=pid,
        start_ns=pid * 10**7,
        comm="server",
        accepts=accepts,
        empty=1,
        errors={},
        wait_us=(*(0,) * 17, accepts),
        wait_max_us=10,
        wait_unknown=0,
        wasted=0,
        refused=0,
        left_us=accepts,
        waited_us=accepts * 10,
        process_start_ns=pid * 10**7,
    )


def _counted(inode: int, came: int) -> ListenerCount:
    flow = Flow(came, 0, 0, 0, 0, came_us=came)
    return ListenerCount(inode, 1, "ipv4", "127.0.0.1", 1024 + inode % 60000, came, flow)


def _holder(pid: int) -> Holder:
    return Holder(pid, pid, "server", "server: worker", 3, waits=True, waits_in="epoll")


def _listed(shape: Shape, inode: int, holders: tuple[Holder, ...], size: int) -> Listener:
    if shape.reuseport:
        holders = tuple(replace(one, waits=one.pid == inode) for one in holders)
    return Listener(
        inode=inode,
        netns=1,
        family="ipv4",
        local_address="127.0.0.1",
        local_port=80 if shape.reuseport else 1024 + inode % 60000,
        backlog=511,
        queue=0,
        sharing="reuseport" if shape.reuseport else "shared",
        group=7 if shape.reuseport else None,
        group_size=size if shape.reuseport else None,
        selector="hash" if shape.reuseport else None,
        holders=holders,
    )


def main(names: list[str]) -> None:
    """Print a table of each shape."""
    print(
        f"{'':15} {'size':>6} {'model':>8} {'table':>8} {'JSON':>8} {'CSV':>8}  grows    MiB   line"
    )
    for shape in SHAPES:
        if names and not any(name in shape.name for name in names):
            continue
        before: tuple[int, float] | None = None
        for size in shape.sizes:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                cost = pool.apply(_measure_named, (shape.name, size))
            ratio = ""
            if before is not None:
                power = math.log(cost.spent[0] / before[1]) / math.log(size / before[0])
                ratio = f"{power:.2f}"
            before = (size, cost.spent[0])
            times = " ".join(f"{each:6.1f}ms" for each in cost.spent)
            kib = cost.json_bytes / 1024
            print(f"{shape.name:15} {size:6,} {times} {ratio:>6} {cost.mib:6.1f} {kib:5.0f}k")


def _measure_named(name: str, size: int) -> Cost:
    return measure(next(shape for shape in SHAPES if shape.name == name), size)


if __name__ == "__main__":
    main(sys.argv[1:])
