"""The lines above a table: what is traced and how, how much came, and what was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from accepttrace.facts.meta import Meta
from accepttrace.facts.records import Losses, Unread
from accepttrace.model.datagrams import ReceiverRow
from accepttrace.model.losses import Verdict, verdict
from accepttrace.model.snapshot import ListenerRow, Snapshot
from accepttrace.views import verdicts
from accepttrace.views.books import word
from accepttrace.views.formats import many, plural, rate, span
from accepttrace.views.losses import fullness
from accepttrace.views.text import Line, Span, clean, clip, flow
from accepttrace.views.unread import sentence

NAME_CELLS: Final = 40  # of what all processes belong to
BY_CLIENTS: Final[Mapping[Verdict, Span | None]] = {
    "nothing": None,
    "unclear": ("losses not clear: see below", "yellow"),
    "lost": ("LOSSES BELOW", "bold red"),
}


def header(snapshot: Snapshot, width: int) -> list[Line]:
    """Two lines where they fit; more in a narrow window."""
    first = title(snapshot.meta, snapshot.time, snapshot.elapsed_s)
    accepts = snapshot.books.accepts
    second: list[Span] = [
        (plural(accepts, "accept"), "bold"),
        (f"{rate(rate_of(snapshot))}/s", ""),
        (crowd(snapshot), ""),
        (belonging(snapshot), ""),
        namespaces(snapshot.listeners),
        *loss(snapshot.books.losses, BY_CLIENTS[verdict(snapshot)]),
        word(snapshot.books),
    ]
    if crowded := fullness(snapshot):
        second.append((crowded, "bold yellow"))
    lines = flow(first, width) + verdicts.lines(snapshot, width) + flow(second, width)
    return lines + unread_lines(snapshot.unread, width)


def unread_lines(unread: Sequence[Unread], width: int) -> list[Line]:
    """What could not be read, where holders or sockets may be missing for that."""
    found = sentence(unread)
    return flow([(found, "yellow")], width) if found else []


def title(meta: Meta, time: str, elapsed_s: float) -> list[Span]:
    """What is traced and how, and since when."""
    clock = time.partition("T")[2] or time
    return [
        (f"accepttrace {clean(meta.asked)}", "bold"),
        (f"attach {meta.attach} ({meta.loader})", ""),
        (_seconds(clock), ""),
        (f"up {span(elapsed_s)}", ""),
    ]


def loss(losses: Losses, by_clients: Span | None) -> list[Span]:
    """`nothing lost`, or what the tracer lost, in words, and what clients did."""
    counts = losses.by_cause
    lost = ", ".join(plural(number, word) for number, word in counts if number)
    unknown = ", ".join(many(word) for number, word in counts if number is None)
    spans: list[Span] = [(f"LOST by the tracer: {lost}", "bold red")] if lost else []
    if by_clients:
        spans.append(by_clients)
    if not spans:
        spans.append(("nothing lost", ""))
    if unknown:
        spans.append((f"({unknown}: n/a)", "dim"))
    if shares := over_share(losses):
        spans.append((shares, "yellow"))
    return spans


def over_share(losses: Losses) -> str:
    """What was not counted because its owner had used up a share of a map; empty: nothing."""
    if not losses.over_share:
        return ""
    whose = " and ".join(losses.over_whose)
    return f"{plural(losses.over_share, 'event')} of {whose} not counted: share used up"


def namespaces(rows: Iterable[ListenerRow | ReceiverRow]) -> Span:
    """How many network namespaces the numbers are of, where it is more than one."""
    number = len({row.netns for row in rows})
    return (f"in {number:,} network namespaces" if number > 1 else "", "yellow")


def _seconds(clock: str) -> str:
    """`12:00:01.25Z` → `12:00:01Z`: the header counts in seconds."""
    whole, dot, _ = clock.partition(".")
    return f"{whole}Z" if dot else clock


def rate_of(snapshot: Snapshot) -> float:
    """Accepts per second in the interval of a snapshot."""
    accepts = sum(row.accepts_interval for row in snapshot.acceptors)
    return accepts / snapshot.interval_s if snapshot.interval_s > 0 else 0.0


def belonging(snapshot: Snapshot) -> str:
    """`pod shop/web-0 container app`, or `unit nginx.service`: where all processes belong to it."""
    rows = [row for row in snapshot.acceptors if row.pid is not None]
    pods, containers = {row.pod for row in rows}, {row.container for row in rows}
    named = [("pod", pods), ("container", containers)]
    if containers == {None}:
        named.append(("unit", {row.unit for row in rows}))
    only = [(word, next(iter(names))) for word, names in named if len(names) == 1]
    return " ".join(f"{word} {clip(clean(name), NAME_CELLS)}" for word, name in only if name)


def crowd(snapshot: Snapshot) -> str:
    """`4 workers on 2 listeners`: those alive that take connections, and the open sockets."""
    sockets = plural(sum(row.folded or row.open for row in snapshot.listeners), "listener")
    rows = [
        row
        for row in snapshot.acceptors
        if row.alive and not row.left and row.pid is not None and (row.accepts or row.waits)
    ]
    if snapshot.by == "thread":
        return f"{plural(len({(row.pid, row.tid) for row in rows}), 'thread')} on {sockets}"
    if snapshot.by in ("worker", "process"):
        return f"{plural(len({row.pid for row in rows}), 'worker')} on {sockets}"
    return sockets
