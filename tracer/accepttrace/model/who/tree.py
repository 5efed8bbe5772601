"""The answer of `who` as a tree: group → socket → holders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import Inventory, Listener, LocalPort, Serving
from accepttrace.model.who.diagnosis import Diagnosis
from accepttrace.model.who.serving import port_of
from accepttrace.model.who.ways import Way, way_of

GroupKey = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Socket:
    """A listener and how it is shared. `rank`: which of its group, from 1 on."""

    row: Listener
    way: Way
    rank: int


@dataclass(frozen=True, slots=True)
class Group:
    """A reuseport group, or a lone socket: among the sockets of one the kernel chooses."""

    sockets: tuple[Socket, ...]

    @property
    def first(self) -> Listener:
        """All have its address, port, device and owner."""
        return self.sockets[0].row

    @property
    def size(self) -> int:
        """Of the whole group, those that the filters keep out among them."""
        return max(self.first.group_size or 1, len(self.sockets))


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that `who` says of TCP.

    `blind`: why BPF could not be used; empty: it was. `time`: UTC, RFC 3339. `at_port`: the groups
    where connections end. `serving`: those who hold connections there, and no listener.
    """

    inventory: Inventory
    around: Surroundings
    groups: tuple[Group, ...]
    blind: str = ""
    time: str = ""
    at_port: Mapping[LocalPort, Sequence[Group]] = field(default_factory=dict)
    serving: Mapping[LocalPort, Sequence[Serving]] = field(default_factory=dict)
    closed: Sequence[Diagnosis] = ()  # while it was watched

    @property
    def namespaces(self) -> frozenset[int]:
        """Network namespaces with a listener."""
        return frozenset(group.first.netns for group in self.groups)


def answer(inventory: Inventory, around: Surroundings, blind: str = "", time: str = "") -> Answer:
    """The tree, in the order of the listeners."""
    found: defaultdict[GroupKey, list[Listener]] = defaultdict(list)
    for row in inventory.listeners:
        found[group_key(row)].append(row)
    groups = tuple(_group(rows, inventory, around) for rows in found.values())
    at_port: defaultdict[LocalPort, list[Group]] = defaultdict(list)
    for group in groups:
        if where := port_of(group.first):
            at_port[where].append(group)
    serving: defaultdict[LocalPort, list[Serving]] = defaultdict(list)
    for one in inventory.serving:
        serving[one.where].append(one)
    return Answer(inventory, around, groups, blind, time, at_port, serving)


def group_key(row: Listener) -> GroupKey:
    """What the sharing units on one port are: a reuseport group, or a lone socket."""
    own = row.group if row.sharing == "reuseport" else row.inode
    return (row.local_port, row.netns, row.family, row.local_address, row.device, row.uid, own)


def _group(rows: Sequence[Listener], inventory: Inventory, around: Surroundings) -> Group:
    ranked = enumerate(sorted(rows, key=_place), 1)
    partial = inventory.partial
    return Group(
        tuple(
            Socket(row, way_of(row, around, partial), _rank(row, number)) for number, row in ranked
        )
    )


def _place(row: Listener) -> tuple[int, int]:
    place = row.options.place if row.options else None
    return (-1 if place is None else place, row.inode)


def _rank(row: Listener, number: int) -> int:
    place = row.options.place if row.options else None
    return number if place is None else place + 1
