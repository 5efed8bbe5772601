"""Accepts whose listener must be found by its port.

A descriptor may be closed, or given to another socket, while a thread sleeps in accept(). Who looks
it up when the call ends finds another socket, or none; only the child has the port it came to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from accepttrace.facts.records import Counts, Inventory, Listener, ListenerCount, PortCount

Port = tuple[int, int]  # network namespace and local port


class Strays:
    """Gives them to the only listener of their port; where there are several, none is right."""

    def __init__(self) -> None:
        self._seen: dict[Port, int] = {}
        self._given: defaultdict[int, int] = defaultdict(int)  # by inode
        self._left: defaultdict[Port, int] = defaultdict(int)
        self._left_before = 0  # at ports whose rows are gone
        self._inventory = Inventory()
        self._places: dict[Port, dict[int, Listener | ListenerCount]] = {}

    def settle(self, counts: Counts, inventory: Inventory | None) -> Counts:
        """The same counts, with `uncounted` accepts of listeners and `unattributed` ones."""
        if inventory is not None:
            self._inventory = inventory
        self._forget_ports(counts.ports)
        if not any(port.strayed for port in counts.ports):
            return self._with_left(counts)
        if inventory is not None or not self._places:
            self._places = {}
            self._note(self._inventory.listeners)
        self._note(counts.listeners)
        for port in counts.ports:
            self._give(port)
        ports = tuple(
            replace(port, strayed=self._left[port.netns, port.local_port]) for port in counts.ports
        )
        found = replace(counts, listeners=self._with_given(counts.listeners), ports=ports)
        return self._with_left(found)

    def _with_left(self, counts: Counts) -> Counts:
        left = self._left_before + sum(self._left.values())
        if not left:
            return counts
        losses = counts.losses
        return replace(counts, losses=replace(losses, unattributed=losses.unattributed + left))

    def _forget_ports(self, ports: Iterable[PortCount]) -> None:
        """Those whose rows are gone; what was left there is kept as a sum."""
        if not self._seen:
            return
        for place in self._seen.keys() - {(port.netns, port.local_port) for port in ports}:
            del self._seen[place]
            self._left_before += self._left.pop(place, 0)

    def _note(self, found: Iterable[Listener | ListenerCount]) -> None:
        for one in found:
            there = self._places.setdefault((one.netns, one.local_port), {})
            there.setdefault(one.inode, one)

    def _give(self, port: PortCount) -> None:
        place = (port.netns, port.local_port)
        seen = self._seen.get(place, 0)
        new = port.strayed - (seen if seen <= port.strayed else 0)  # else its row was deleted
        self._seen[place] = port.strayed
        there = self._places.get(place, {})
        if len(there) == 1:
            self._given[next(iter(there))] += new
        else:
            self._left[place] += new

    def _with_given(self, counted: Iterable[ListenerCount]) -> tuple[ListenerCount, ...]:
        rows = {row.inode: row for row in counted}
        there = {inode: one for place in self._places.values() for inode, one in place.items()}
        for inode in self._given.keys() - there.keys():  # it is closed, and was reported before
            del self._given[inode]
        for inode, given in self._given.items():
            row = rows.get(inode) or _count_of(there[inode])
            rows[inode] = replace(row, uncounted=row.uncounted + given)
        return tuple(rows.values())


def _count_of(listener: Listener | ListenerCount) -> ListenerCount:
    """Of one on which nothing else was counted."""
    if isinstance(listener, ListenerCount):
        return listener
    return ListenerCount(
        listener.inode,
        listener.netns,
        listener.family,
        listener.local_address,
        listener.local_port,
        selected=None,
    )
