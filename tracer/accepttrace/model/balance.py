"""How even a split is: indices, and two plain sentences about a snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from accepttrace.model.stats.power import chance_ratio
from accepttrace.model.stats.split import more_even_p

RARE: Final = 0.001  # a split this unlikely to be so even was made by turns, not by chance


def max_over_mean(counts: Sequence[int]) -> float | None:
    """The largest as a multiple of its fair share; None without accepts."""
    total = sum(counts)
    return max(counts) * len(counts) / total if total else None


def idle(counts: Sequence[int]) -> int:
    """How many got nothing."""
    return sum(count == 0 for count in counts)


class _Scene(NamedTuple):
    """The busiest sharing set of a snapshot."""

    sockets: Sequence[ListenerRow]
    takers: Sequence[tuple[str, int]]  # name and accepts of those who could take connections
    noun: str  # what the takers are: worker or thread

    @property
    def accepts(self) -> int:
        return sum(socket.accepted for socket in self.sockets)

    @property
    def place(self) -> str:
        address = self.sockets[0].local_address
        host = f"[{address}]" if self.sockets[0].family == "ipv6" else address
        return f"{host}:{self.sockets[0].local_port}"


def describe(snapshot: Snapshot) -> tuple[str, str]:
    """Two sentences on the busiest listener or group: who shares it and how, and how it went.

    Made for rows by worker or thread; of other rows only the sockets are spoken of.
    """
    scene = _scene(snapshot)
    if scene is None:
        return f"Nobody listens ({snapshot.meta.asked}).", "So there was nothing to share."
    return _sharing(scene), _outcome(scene) + _reservation(snapshot)


def _reservation(snapshot: Snapshot) -> str:
    if snapshot.books.word == "unbalanced":
        return " The books do not balance: some connections are not accounted for."
    if not snapshot.books.balanced:
        return " Events were lost: all numbers are lower bounds."
    return ""


def _scene(snapshot: Snapshot) -> _Scene | None:
    sets: defaultdict[tuple[object, ...], list[ListenerRow]] = defaultdict(list)
    for row in snapshot.listeners:
        key = (row.inode,) if row.group is None else (row.group, row.netns, row.family)
        sets[(*key, row.local_port)].append(row)
    if not sets:
        return None
    sockets = max(sets.values(), key=lambda rows: sum(row.accepted for row in rows))
    inodes = {row.inode for row in sockets}
    if snapshot.by not in ("worker", "thread"):
        return _Scene(sockets, (), "worker")
    rows = [row for row in snapshot.acceptors if row.listener_inode in inodes]
    return _Scene(sockets, _takers(rows, snapshot.by), snapshot.by)


def _takers(rows: Sequence[AcceptorRow], by: str) -> list[tuple[str, int]]:
    accepts: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        if row.accepts or row.waits:
            accepts[str(row.tid if by == "thread" and row.tid else row.pid)] += row.accepts
    return sorted(accepts.items(), key=lambda taker: -taker[1])


def _sharing(scene: _Scene) -> str:
    who = _count(len(scene.takers), scene.noun)
    if len(scene.sockets) > 1:
        selector = scene.sockets[0].selector
        how = f", chosen by {selector}" if selector else ""
        by = f" for {who}" if scene.takers else ""
        return f"{len(scene.sockets)} SO_REUSEPORT sockets{by} on {scene.place}{how}."
    if len(scene.takers) > 1:
        return f"{who} share one socket on {scene.place}."
    if scene.takers:
        return f"{who} has the socket on {scene.place} to itself."
    return f"One socket listens on {scene.place}."


def _outcome(scene: _Scene) -> str:
    if not scene.accepts:
        return "No connection was accepted."
    if len(scene.sockets) > 1:
        return _selection(scene)
    if len(scene.takers) > 1:
        return _race(scene)
    return f"It took all {_count(scene.accepts, 'connection')}."


def _race(scene: _Scene) -> str:
    """A shared queue: described only, for chance has no part in who comes first."""
    counts = [accepts for _, accepts in scene.takers]
    name, most = scene.takers[0]
    text = (
        f"{scene.noun.capitalize()} {name} took {most / sum(counts):.0%} of"
        f" {_count(sum(counts), 'connection')} ({max_over_mean(counts):.2f}x its fair share)"
    )
    if more_even_p(counts).p < RARE:
        text += ", more even than chance alone would make it"
    return f"{text}{_left_out(counts, scene.noun)}."


def _selection(scene: _Scene) -> str:
    """A reuseport group: held against chance where the kernel's hash chose among the same few."""
    counts = [socket.accepted for socket in scene.sockets]
    most = max_over_mean(counts) or 0.0
    text = (
        f"The busiest socket took {most:.2f}x its fair share of {_count(sum(counts), 'connection')}"
    )
    if _drawn_by_hash(scene):
        text += _against_chance(counts, most)
    return f"{text}{_left_out(counts, 'socket')}."


def _against_chance(counts: Sequence[int], most: float) -> str:
    chance = chance_ratio(sum(counts), len(counts))
    limit = f"(up to {chance:.2f}x in 19 of 20 runs)"
    if more_even_p(counts).p < RARE:
        return f", more even than chance alone would make it {limit}"
    relation = "within" if most <= chance else "beyond"
    return f", {relation} what chance alone gives {limit}"


def _drawn_by_hash(scene: _Scene) -> bool:
    """The multinomial law needs the hash, and the same sockets all the time."""
    return all(
        {change.selector for change in socket.selectors} == {"hash"}
        and socket.open
        and socket.group_size == len(scene.sockets)
        for socket in scene.sockets
    )


def _left_out(counts: Sequence[int], noun: str) -> str:
    none = idle(counts)
    return f"; {none} of {_count(len(counts), noun)} got none" if none else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
