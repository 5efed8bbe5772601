"""The answer of `who --udp`: group → socket → holders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from accepttrace.facts.datagrams import Receiver, Receivers
from accepttrace.facts.kin import Surroundings
from accepttrace.model.who.ways import Way, way_of


@dataclass(frozen=True, slots=True)
class Socket:
    """A UDP socket and how it is shared. `rank`: which of its group that is shown, from 1 on."""

    row: Receiver
    way: Way
    rank: int


Group = tuple[Socket, ...]  # of one reuseport group, or a lone socket


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that `who` says of UDP."""

    receivers: Receivers = field(default_factory=Receivers)
    around: Surroundings = field(default_factory=Surroundings)
    groups: tuple[Group, ...] = ()


def answer(receivers: Receivers, around: Surroundings) -> Answer:
    """The tree, by port."""
    found: defaultdict[tuple[object, ...], list[Receiver]] = defaultdict(list)
    rows = receivers.sockets
    for row in sorted(rows, key=lambda row: (row.local_port, row.netns, row.family, row.inode)):
        found[_key(row)].append(row)
    groups = tuple(_group(some, around, receivers.partial) for some in found.values())
    return Answer(receivers, around, groups)


def _key(row: Receiver) -> tuple[object, ...]:
    place = (row.local_port, row.netns, row.family, row.local_address, row.device)
    return (*place, row.inode) if row.group is None else (*place, row.uid, "group", row.group)


def _group(rows: Sequence[Receiver], around: Surroundings, partial: bool) -> Group:
    return tuple(
        Socket(row, way_of(row, around, partial), rank) for rank, row in enumerate(rows, 1)
    )
