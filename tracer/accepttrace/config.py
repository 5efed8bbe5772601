"""What the user asked for, checked once by the CLI and never changed after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

By = Literal["worker", "process", "thread", "socket", "group"]
Output = Literal["table", "jsonl", "csv"]
Attach = Literal["auto", "fentry", "kprobe", "tracepoint"]
Loader = Literal["auto", "libbpf", "bcc"]
Detail = Literal["accepts", "waits", "full"]
Family = Literal["ipv4", "ipv6"]
LIVE_WINDOW_S: Final = 60.0  # on a screen, unless another one is asked for
WINDOWS_S: Final = (10.0, LIVE_WINDOW_S)  # that can be chosen there


@dataclass(frozen=True, slots=True)
class Filters:
    """Which connections are traced; an empty set means any. All of them must hold."""

    ports: frozenset[int] = frozenset()
    pids: frozenset[int] = frozenset()
    netns: frozenset[int] = frozenset()  # inode numbers, as in /proc/PID/ns/net
    family: Family | None = None  # of the clients that a socket serves
    comms: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()  # local addresses at which clients reach a socket
    cgroups: frozenset[str] = frozenset()  # path prefixes below the cgroup root

    def describe(self) -> str:
        """One short text for headers: `:80,443 pid 12`; empty where nothing is filtered."""
        parts: list[str] = []
        if self.ports:
            parts.append(":" + ",".join(named_ranges(ranges(self.ports))))
        for word, values in (
            ("pid", map(str, sorted(self.pids))),
            ("netns", map(str, sorted(self.netns))),
            ("comm", sorted(self.comms)),
            ("address", sorted(self.addresses)),
            ("cgroup", sorted(self.cgroups)),
        ):
            text = ",".join(values)
            if text:
                parts.append(f"{word} {text}")
        if self.family:
            parts.append(self.family)
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Config:
    """One run of the tracer."""

    filters: Filters = field(default_factory=Filters)
    interval_s: float = 1.0
    duration_s: float | None = None
    count: int | None = None  # intervals, after which it ends
    once: bool = False  # one interval is shown, and nothing else
    by: By = "worker"
    sort: str | None = None  # a column; None: the most accepts, or datagrams, first
    window_s: float | None = None  # how far back recent sums and verdicts reach; None: to the start
    columns: tuple[str, ...] = ()  # of the table, in this order; none: as many as fit
    rows: int | None = None
    histogram: bool = False
    full: bool = False  # every number of the books, and every cause of a loss, in the summary
    plain: bool = False  # no screen that is drawn anew, and no bars
    udp: bool = False
    unix: frozenset[str] | None = None  # listeners of AF_UNIX, by path or @NAME; empty: all
    output: Output = "table"
    attach: Attach = "auto"
    loader: Loader = "auto"
    detail: Detail = "full"
    locality: bool = False  # compare the CPUs that receive and accept each connection
    patterns: bool = False  # note who accepts after whom
    events: bool = False  # each connection is written down
    sample: int = 1  # of so many events of a listener, one
    ready_file: Path | None = None
    replays: bool = False  # what is shown was recorded
    live: bool = False  # on a screen whose rows can be grouped, and their window changed

    @property
    def windows(self) -> tuple[float, ...]:
        """Those that can be chosen on the screen, beside the whole run."""
        if not self.live:
            return ()
        return tuple(sorted({*WINDOWS_S, *(() if self.window_s is None else (self.window_s,))}))


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """[80, 8000, 8001, 8002] → [(80, 80), (8000, 8002)], in their order."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def named_ranges(found: Iterable[tuple[int, int]]) -> list[str]:
    """[(80, 80), (8000, 8002)] → ["80", "8000-8002"]."""
    return [f"{low}-{high}" if high > low else str(low) for low, high in found]
