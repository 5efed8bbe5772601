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
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from accepttrace.facts.matching import Local
from accepttrace.facts.records import Family, Holder, Listener
from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.places import Place, at_place, both
from accepttrace.model.snapshot import ListenerRow

HOLDERS_NAMED: Final = 64  # of a crowd
CLOSED_APART: Final = 16  # that closed at the same time
# What all that share a row may have in common: sockets of TCP and UDP, and listeners.
BOUND: Final = ("netns", "family", "local_address", "local_port", "device", "v6only")
GROUPED: Final = ("group", "group_size", "selector")
_FACTS: Final = (*BOUND, "backlog", "defers", "sharing", *GROUPED, "program")
Draw = Callable[[Socket], ListenerRow | None]
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


class Owned(Local, Protocol):
    """A socket of TCP or UDP, as an inventory has it."""

    @property
    def uid(self) -> int | None: ...
    @property
    def group(self) -> int | None: ...


S = TypeVar("S", bound=Owned)


def _of_place(one: Owned) -> Crowd:
    address = one.family, one.local_address, one.local_port
    return Crowd(one.uid, one.netns, *address, one.group)


# So many of a kind have rows of their own; those of more share one.
LEVELS: Final[Sequence[tuple[Callable[[Owned], Crowd], int]]] = (
    (_of_place, 256),
    (lambda one: Crowd(one.uid), 512),
    (lambda _: Crowd(), 4096),
)

# So many, too, where they have more rows of workers than that.
FEW: Final = 16
MOST_ROWS: Final = 4096


@dataclass(frozen=True, slots=True)
class Crowds:
    """`shared`: which row a listener has, if not one of its own; `rows`: these rows."""

    shared: Mapping[Socket, Shared] = field(default_factory=dict)
    rows: Mapping[Shared, ListenerRow] = field(default_factory=dict)


class Judge(NamedTuple):
    """What is said of one listener, or place: the row of its own, and the verdict of the books.

    Idle ones in one network namespace with the same verdict have the same row, but for their names.
    """

    draw: Draw
    verdict: Callable[[int], Hashable]


def gathered(
    idle: Iterable[Listener], closing: Sequence[int], listeners: Listeners, judge: Judge
) -> Crowds:
    """Who shares a row. `idle`: open ones without accepts and losses; `closing`: inodes of those
    that closed just now."""
    shared: dict[Socket, Shared] = {}
    rows: dict[Shared, ListenerRow] = {}
    for crowd, members in crowds(idle, _waiting).items():
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


def _waiting(one: Listener) -> int:
    return sum(holder.waits is not False for holder in one.holders)


def crowds(idle: Iterable[S], rows: Callable[[S], int] = lambda _: 1) -> dict[Crowd, list[S]]:
    """The members of each; all others stand alone. `rows`: of workers that one has, if alone."""
    found: dict[Crowd, list[S]] = {}
    apart = list(idle)
    for kind, most in LEVELS:
        kinds: defaultdict[Crowd, list[S]] = defaultdict(list)
        for one in apart:
            kinds[kind(one)].append(one)
        _join_unknown(kinds)
        found.update(
            (crowd, those)
            for crowd, those in kinds.items()
            if len(those) > most or (len(those) > FEW and sum(map(rows, those)) > MOST_ROWS)
        )
        apart = [one for crowd, those in kinds.items() if crowd not in found for one in those]
    return found


def _join_unknown(kinds: dict[Crowd, list[S]]) -> None:
    """Of what closes while it is read the group is not known: that of all others at its place."""
    groups: defaultdict[Crowd, list[Crowd]] = defaultdict(list)
    for kind in kinds:
        if kind.group is not None:
            groups[kind._replace(group=None)].append(kind)
    for unknown, known in groups.items():
        if len(known) == 1 and unknown in kinds:
            kinds[known[0]] += kinds.pop(unknown)


def _row(members: Sequence[Listener], listeners: Listeners, judge: Judge) -> ListenerRow:
    """Its sums are 0, or n/a where they are n/a of one of the members."""
    alike = {(one.netns, judge.verdict(one.inode)): one.inode for one in members}
    rows = [row for inode in alike.values() if (row := judge.draw(inode)) is not None]
    holders, elsewhere = named_holders(listeners.holders(one.inode) for one in members)
    facts = in_common(members, _FACTS)
    backlog = facts["backlog"]
    return replace(
        reduce(both, rows),
        **{_NAMES.get(name, name): fact for name, fact in facts.items()},
        capacity=None if backlog is None else backlog + 1,
        inode=None,
        open=True,
        folded=len(members),
        queue=nothing_of(one.queue for one in members),
        queue_mean=None,
        half_open=nothing_of(one.half_open for one in members),
        holders=holders,
        holders_elsewhere=elsewhere,
    )


def in_common(members: Iterable[object], names: Sequence[str]) -> dict[str, Any]:
    """The facts in which none of them differs; None for the others."""
    columns = zip(*set(map(attrgetter(*names), members)), strict=True)
    values = [column[0] if len(set(column)) == 1 else None for column in columns]
    return dict(zip(names, values, strict=True))


def nothing_of(numbers: Iterable[int | None]) -> int | None:
    """0; None where it is not known of all."""
    return None if None in set(numbers) else 0


def named_holders(held: Iterable[Iterable[Holder]]) -> tuple[tuple[Holder, ...], int]:
    """Each process once, with its descriptor on one of them; and how many there are beyond."""
    found: dict[tuple[int, int], Holder] = {}
    for holders in held:
        for holder in holders:
            found.setdefault((holder.pid, holder.start_ticks), holder)
    named = tuple(sorted(found.values(), key=attrgetter("pid")))[:HOLDERS_NAMED]
    return named, len(found) - len(named)
