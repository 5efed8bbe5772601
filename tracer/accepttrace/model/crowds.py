"""Listeners that share a row of the picture: many idle ones, and many that closed just now.

Whoever may listen can do so by the thousand. The rows must not grow with that, and no sum may lack
anything: so only those share a row on which nothing was accepted and nothing lost, or that are
closed and will be summed up at their place anyway.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import attrgetter
from typing import Any, Final, NamedTuple

from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.places import Place, at_place, both
from accepttrace.model.records import Family, Holder, Listener
from accepttrace.model.snapshot import ListenerRow

HOLDERS_NAMED: Final = 64  # of a crowd
CLOSED_APART: Final = 16  # that closed at the same time
_FACTS: Final = (
    "netns",
    "family",
    "local_address",
    "local_port",
    "device",
    "v6only",
    "backlog",
    "defers",
    "sharing",
    "group",
    "group_size",
    "selector",
    "program",
)
_NAMES: Final = {"defers": "defer_accept", "program": "selector_program"}


class Crowd(NamedTuple):
    """Idle listeners that share a row. None: they may differ in that."""

    uid: int | None = None
    netns: int | None = None
    family: Family | None = None
    address: str | None = None
    port: int | None = None
    group: int | None = None


Shared = Place | Crowd


def _of_place(one: Listener) -> Crowd:
    address = one.family, one.local_address, one.local_port
    return Crowd(one.uid, one.netns, *address, one.group)


# So many of a kind have rows of their own; those of more share one.
LEVELS: Final[Sequence[tuple[Callable[[Listener], Crowd], int]]] = (
    (_of_place, 256),
    (lambda one: Crowd(one.uid), 512),
    (lambda _: Crowd(), 4096),
)


@dataclass(frozen=True, slots=True)
class Crowds:
    """`shared`: which row a listener has, if not one of its own; `rows`: these rows."""

    shared: Mapping[Socket, Shared] = field(default_factory=dict)
    rows: Mapping[Shared, ListenerRow] = field(default_factory=dict)

    def row_of(self, socket: Socket) -> Socket | Crowd:
        """What it is a part of in the picture; as a rule itself."""
        return self.shared.get(socket, socket)


class Judge(NamedTuple):
    """What is said of one listener, or place: the row of its own, and the verdict of the books.

    Idle ones in one network namespace with the same verdict have the same row, but for their names.
    """

    draw: Callable[[Socket], ListenerRow | None]
    verdict: Callable[[int], Hashable]


def gathered(
    idle: Iterable[Listener], closing: Sequence[int], listeners: Listeners, judge: Judge
) -> Crowds:
    """Who shares a row. `idle`: open ones without accepts and losses; `closing`: inodes of those
    that closed just now."""
    shared: dict[Socket, Shared] = {}
    rows: dict[Shared, ListenerRow] = {}
    for crowd, members in _crowds(idle).items():
        rows[crowd] = _row(members, listeners, judge)
        shared.update(dict.fromkeys((one.inode for one in members), crowd))
    for inode in closing if len(closing) > CLOSED_APART else ():
        row = judge.draw(inode)
        if row is not None:
            place = shared[inode] = listeners.places.nearest(row)
            row = at_place(row, place)
            before = rows.get(place)
            if before is None and place in listeners.places.rows:
                before = judge.draw(place)
            rows[place] = both(before, row) if before else row
    return Crowds(shared, rows)


def _crowds(idle: Iterable[Listener]) -> dict[Crowd, list[Listener]]:
    found: dict[Crowd, list[Listener]] = {}
    apart = list(idle)
    for kind, most in LEVELS:
        kinds: defaultdict[Crowd, list[Listener]] = defaultdict(list)
        for one in apart:
            kinds[kind(one)].append(one)
        found.update((crowd, those) for crowd, those in kinds.items() if len(those) > most)
        apart = [one for crowd, those in kinds.items() if crowd not in found for one in those]
    return found


def _row(members: Sequence[Listener], listeners: Listeners, judge: Judge) -> ListenerRow:
    """Its sums are 0, or n/a where they are n/a of one of the members."""
    alike = {(one.netns, judge.verdict(one.inode)): one.inode for one in members}
    rows = [row for inode in alike.values() if (row := judge.draw(inode)) is not None]
    holders, elsewhere = _holders(members, listeners)
    return replace(
        reduce(both, rows),
        **_in_common(members),
        inode=None,
        open=True,
        folded=len(members),
        queue=_none_waits(one.queue for one in members),
        queue_mean=None,
        half_open=_none_waits(one.half_open for one in members),
        holders=holders,
        holders_elsewhere=elsewhere,
    )


def _in_common(members: Iterable[Listener]) -> dict[str, Any]:
    """The facts in which none of them differs; None for the others."""
    columns = zip(*set(map(attrgetter(*_FACTS), members)), strict=True)
    values = [column[0] if len(set(column)) == 1 else None for column in columns]
    facts = dict(zip((_NAMES.get(name, name) for name in _FACTS), values, strict=True))
    backlog = facts["backlog"]
    return {**facts, "capacity": None if backlog is None else backlog + 1}


def _none_waits(numbers: Iterable[int | None]) -> int | None:
    """0; None where it is not known of all."""
    return None if None in set(numbers) else 0


def _holders(members: Iterable[Listener], listeners: Listeners) -> tuple[tuple[Holder, ...], int]:
    """Each process once, with its descriptor on one of them; and how many there are beyond."""
    found: dict[tuple[int, int], Holder] = {}
    for one in members:
        for holder in listeners.holders(one.inode):
            found.setdefault((holder.pid, holder.start_ticks), holder)
    named = tuple(sorted(found.values(), key=attrgetter("pid")))[:HOLDERS_NAMED]
    return named, len(found) - len(named)
