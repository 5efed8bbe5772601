"""From what is known of each sharing set to what is said of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final, NamedTuple

from accepttrace.facts.records import (
    STUCK_US,
    US_PER_S,
    Holder,
    LocalPort,
    Losses,
    Opened,
    Order,
    Program,
    Selector,
)
from accepttrace.model.census import ProcessKey
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.listeners import Listeners, SetKey
from accepttrace.model.recent import Part
from accepttrace.model.snapshot import ListenerRow, Verdict
from accepttrace.model.stats.sketch import distinct
from accepttrace.model.turns import pattern
from accepttrace.model.verdict import (
    DOUBLED,
    EACH,
    FAULTS,
    WORDS,
    Case,
    Finding,
    Member,
    counted,
    judge,
)
from accepttrace.model.watch import GONE, SetWatch, Watch
from accepttrace.model.yardstick import is_group

BY_CPU: Final = "the shares follow how the network card spreads packets over the CPUs"
NONE: Final = Part()  # of who took nothing
UNSEEN: Final = 0.05  # of all, from where on those that were accepted unseen may be the difference
REPEATED: Final = 2  # connections of each client, from where on they are no longer independent
# Of those that wait for one socket, by how they wait.
WOKEN: Final[Mapping[str | None, str]] = {
    "epoll": "epoll tries those that wait always in the same order",
    "accept": "accept() wakes the one that waits longest",
    "poll": "poll() wakes all, and the fastest takes it",
    "select": "select() wakes all, and the fastest takes it",
}


Workers = Mapping[int, set[ProcessKey]]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture has to say so far. `now_s`: of CLOCK_MONOTONIC; `elapsed_s`: since the start.

    `whole`: it is about the run, not about the window.
    """

    rows: Sequence[ListenerRow]
    entries: Sequence[Entry]
    losses: Losses
    now_s: float
    elapsed_s: float
    whole: bool
    opened: Opened | None = None
    orders: Sequence[Order] = ()


class Verdicts:
    """Of every sharing set; the gravest first."""

    def __init__(self, watch: Watch, listeners: Listeners) -> None:
        self._watch = watch
        self._listeners = listeners

    def of(self, scene: Scene) -> tuple[Verdict, ...]:
        """Those of sets that share or are stuck; without any, that of the busiest listener.

        What the tracer lost may belong to any: then one stands for all.
        """
        sets: defaultdict[SetKey, list[ListenerRow]] = defaultdict(list)
        for row in scene.rows:
            if row.inode is not None:
                sets[self._listeners.set_of(row.inode)].append(row)
        telling = {key: rows for key, rows in sets.items() if self._tells(key, rows)}
        if sets and (scene.losses.total or not telling):
            telling = dict([max(sets.items(), key=lambda one: _accepted(one[1]))])
        sockets = {row.inode for rows in telling.values() for row in rows}
        entries = [entry for entry in scene.entries if entry.socket in sockets]
        workers, taken = _workers(entries), _taken(entries)
        judged = [self._of(key, rows, scene, workers, taken) for key, rows in telling.items()]
        found = [one for one in judged if one is not None]
        order = {word: place for place, word in enumerate(WORDS)}
        found.sort(key=lambda one: (order[one.finding.word], -one.finding.connections))
        return tuple(found)

    def _tells(self, key: SetKey, rows: Sequence[ListenerRow]) -> bool:
        """Whether there is more to say than that one process accepts there."""
        return self._watch.get(key) is not None or any(
            row.book == "unbalanced" or (row.queue and _waits_long(row)) for row in rows
        )

    def _of(
        self,
        key: SetKey,
        rows: Sequence[ListenerRow],
        scene: Scene,
        workers: Workers,
        taken: Mapping[object, int],
    ) -> Verdict | None:
        known = self._watch.get(key)
        over_s = scene.elapsed_s if scene.whole else min(self._window_s(), scene.elapsed_s)
        finding = (
            incomplete(rows, scene.losses)
            or _stuck(rows, taken)
            or self._split(key, rows, known, scene, workers)
        )
        if finding is None:
            return None
        since_s = _since(known, finding, scene.elapsed_s) if not scene.whole else _kept(known)
        first = rows[0]
        return Verdict(
            netns=first.netns,
            family=first.family,
            local_address=first.local_address,
            local_port=first.local_port,
            group=first.group,
            inode=first.inode if len(rows) == 1 else None,
            over_s=over_s,
            since_s=since_s if finding.word in FAULTS else None,
            finding=finding,
            pattern=pattern(key, rows, scene.entries, scene.orders, scene.losses),
        )

    def _window_s(self) -> float:
        return float("inf") if self._watch.window_s is None else self._watch.window_s

    def _split(
        self,
        key: SetKey,
        rows: Sequence[ListenerRow],
        known: SetWatch | None,
        scene: Scene,
        workers: Workers,
    ) -> Finding | None:
        if known is None:
            return _sole(rows, scene.entries)
        parts = known.whole if scene.whole else known.recent(self._watch.window_s, scene.now_s)
        there = set(known.there)
        if is_group(key):
            there &= {row.inode for row in rows if row.open}
        else:
            there &= {p for p, waits in self._listeners.waits(_inode(rows)).items() if waits}
        named = known.members.named(EACH)
        members = [
            self._member(
                _Seen(key, member, member in there, member in named), parts, scene, workers
            )
            for member in {**parts, **dict.fromkeys(there)}
        ]
        noun = "socket" if is_group(key) else "worker"
        selectors = {change.selector for row in rows for change in row.selectors}
        hashed = is_group(key) and selectors == {"hash"}
        because = _few_clients(members, scene) if hashed else _because(rows)
        drawn = hashed and because is None
        return judge(Case(noun, members, drawn, known.evidence.p, because))

    def _member(
        self, seen: _Seen, parts: Mapping[object, Part], scene: Scene, workers: Workers
    ) -> Member:
        member, part = seen.member, parts.get(seen.member, NONE)
        process = inode = None
        if is_group(seen.key) and isinstance(member, int):
            inode, those = member, workers.get(member, set())
            process = next(iter(those)) if len(those) == 1 else None
            name = f"socket {inode}" if process is None else f"worker {process[0]}"
        elif isinstance(member, tuple) and not isinstance(member, Bygone):
            process = member
            name = f"worker {process[0]}"
        else:
            name = "those that are gone" if member == GONE else str(getattr(member, "name", ""))
        return Member(
            name,
            None if process is None else process[0],
            inode,
            part.accepts,
            part.expected,
            seen.there,
            seen.named,
            None if process is None else self._held(process, seen.key, inode, scene),
        )

    def _held(
        self, process: ProcessKey, key: SetKey, inode: int | None, scene: Scene
    ) -> int | None:
        """The connections of the port that a process has open."""
        socket = key[1] if inode is None else inode
        facts = self._listeners.facts(socket) if isinstance(socket, int) else None
        if facts is None or scene.opened is None:
            return None
        return scene.opened.of(*process, LocalPort(facts.netns, facts.local_port, facts.family))


class _Seen(NamedTuple):
    key: SetKey
    member: object
    there: bool
    named: bool


def _because(rows: Sequence[ListenerRow]) -> str | None:
    """What decides where no hash does; None where that is not known."""
    changes = {(change.selector, change.program) for row in rows for change in row.selectors}
    if changes:
        names = sorted(f"{kind} {made.name}" if made else kind for kind, made in changes)
        by_cpu = f"; {BY_CPU}" if any(map(_is_by_cpu, changes)) else ""
        return f"{' and '.join(names)} chooses, not the hash{by_cpu}"
    holders = [holder for row in rows for holder in row.holders]
    waiting = {holder.name for holder in holders if holder.waits}
    aside = sum(holder.waits is False and holder.name in waiting for holder in holders)
    if aside > 1:  # more than a parent
        return f"{aside} more of that name do not wait on it: they may wait for a lock"
    ways = {holder.waits_in for holder in holders if holder.waits}
    return WOKEN.get(next(iter(ways))) if len(ways) == 1 else None


def _is_by_cpu(change: tuple[Selector, Program | None]) -> bool:
    kind, program = change
    return kind == "incoming_cpu" or (
        kind == "cbpf" and program is not None and program.name.startswith("cpu")
    )


def _few_clients(members: Sequence[Member], scene: Scene) -> str | None:
    """Why the hash draws no lots: the same few always come back. Of the one that took most."""
    if not members:  # all have closed, and the window has passed since
        return None
    top = max(members, key=lambda one: one.accepts / one.expected if one.expected else 0.0)
    counts = [entry.count for entry in scene.entries if entry.socket == top.inode and entry.count]
    connections = sum(count.accepts - count.wait_unknown for count in counts)
    clients = distinct(reduce(or_, (count.clients for count in counts), 0))
    if not clients or clients * REPEATED > connections:
        return None
    return (
        f"the same clients (address and port) return to it, about {clients}, and the hash sends"
        " each to one socket always"
    )


def _accepted(rows: Sequence[ListenerRow]) -> int:
    return sum(row.accepted for row in rows)


def _inode(rows: Sequence[ListenerRow]) -> int:
    inode = rows[0].inode
    assert inode is not None
    return inode


def _taken(entries: Iterable[Entry]) -> Mapping[object, int]:
    """By inode, the accepts of the last interval."""
    sums: defaultdict[object, int] = defaultdict(int)
    for entry in entries:
        sums[entry.socket] += entry.interval
    return sums


def _workers(entries: Iterable[Entry]) -> Workers:
    """By inode, the processes that took something there."""
    found: defaultdict[int, set[ProcessKey]] = defaultdict(set)
    for entry in entries:
        takes = entry.waits or entry.accepts
        if takes and isinstance(entry.socket, int) and not isinstance(entry.process, Bygone):
            found[entry.socket].add(entry.process)
    return found


def incomplete(rows: Sequence[ListenerRow], losses: Losses) -> Finding | None:
    """What forbids a verdict: something is missing, no one knows of whom."""
    if losses.total:
        text = f"{losses.total:,} events were lost by the tracer: the counts are lower bounds"
        return Finding("INCOMPLETE", text)
    off = [row for row in rows if row.book == "unbalanced"]
    if off:
        text = f"the books of {off[0].inode} do not balance: some connections are not accounted for"
        return Finding("INCOMPLETE", text)
    unseen = sum(row.unseen or 0 for row in rows)
    if unseen > UNSEEN * (unseen + _accepted(rows)):
        text = f"at least {unseen:,} connections were accepted unseen: whose they are is not known"
        return Finding("INCOMPLETE", text)
    return None


def _waits_long(row: ListenerRow) -> bool:
    return (row.oldest_wait_us or 0) >= STUCK_US


def _stuck(rows: Sequence[ListenerRow], taken: Mapping[object, int]) -> Finding | None:
    """Connections wait, and nobody takes any."""
    stuck = [
        row
        for row in rows
        if row.open and row.queue and _waits_long(row) and not taken.get(row.inode)
    ]
    if not stuck:
        return None
    worst = max(stuck, key=lambda row: row.queue or 0)
    there = [holder for holder in worst.holders if holder.waits is not False] or worst.holders
    who = ", ".join(f"pid {holder.pid}" for holder in there[:3])
    limit = "" if worst.capacity is None else f" of {worst.capacity:,}"
    oldest = (worst.oldest_wait_us or 0) / US_PER_S
    text = (
        f"nobody accepts from socket {worst.inode}{f' ({who})' if who else ''}:"
        f" {worst.queue:,}{limit} wait, the oldest for {oldest:.0f} s"
    )
    return Finding("STUCK", text, _accepted(rows), len(rows))


def _sole(rows: Sequence[ListenerRow], entries: Iterable[Entry]) -> Finding | None:
    """One listener, that one process accepts from."""
    if len(rows) > 1:
        return None
    (row,) = rows
    number = row.accepted
    others, may = _apart(row.holders)
    if len(may) > 1:
        return _takes_all(row, may, entries)
    who = next((f"pid {one.pid} ({one.name or one.comm})" for one in may), "")
    if not who and not number:
        return None
    does = "accepts" if number or any(one.waits for one in may) else "may accept"
    text = f"{who or 'one process'} alone {does} here: {counted(number, 'connection')}"
    if len(others) > 1:  # more than a parent
        text += f"; {len(others)} more hold the socket and do not wait on it"
    return Finding("ONE ACCEPTOR", text, number, 1)


def _apart(holders: Iterable[Holder]) -> tuple[list[Holder], list[Holder]]:
    """Those that do not wait, and those that do or may do."""
    parts: tuple[list[Holder], list[Holder]] = ([], [])
    for holder in holders:
        parts[holder.waits is not False].append(holder)
    return parts


def _takes_all(row: ListenerRow, may: Sequence[Holder], entries: Iterable[Entry]) -> Finding | None:
    """One of several that could accept, where nobody saw the others wait."""
    from accepttrace.model.stats.power import connections_needed

    took = {entry.process for entry in entries if entry.socket == row.inode and entry.accepts}
    if len(took) != 1:
        return None
    one = next((holder for holder in may if (holder.pid, holder.start_ticks) in took), None)
    if one is None or any(holder.waits and holder != one for holder in may):
        return None
    if row.accepted < connections_needed(len(may), DOUBLED):
        return None
    text = (
        f"pid {one.pid} ({one.name or one.comm}) took all {row.accepted:,} connections;"
        f" {len(may) - 1} more hold the socket and were not seen to wait on it: they may wait for a"
        " lock"
    )
    return Finding("ONE ACCEPTOR", text, row.accepted, 1)


def _since(known: SetWatch | None, finding: Finding, elapsed_s: float) -> float | None:
    """Since when the set is at fault, as of now."""
    if known is None:
        return None
    if finding.word not in FAULTS:
        known.uneven_s, known.judged = None, True
    elif known.uneven_s is None and known.judged:
        known.uneven_s = elapsed_s
    return known.uneven_s


def _kept(known: SetWatch | None) -> float | None:
    return None if known is None else known.uneven_s
