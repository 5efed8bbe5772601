"""The rows of listeners in the maps: read, and deleted once they are closed."""

from __future__ import annotations

import ctypes as c
from collections import Counter
from collections.abc import Collection
from typing import Final

from accepttrace.probe import wire
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map
from accepttrace.probe.shares import Shares

_COUNTERS: Final = tuple(field[0] for field in wire.Listener._fields_ if field[1] is c.c_uint64)


class ListenerRows:
    """Listeners with a place in the array and without, and what belongs to them."""

    def __init__(self, loaded: loaders.Attached, shares: Shares) -> None:
        fd = loaded.map_fd
        self._shares = shares
        self._placed = Map(fd("listeners"), wire.U32, wire.Listener)
        self._places = Map(fd("places"), wire.U32, wire.U32)
        self._beyond = Map(fd("more_listeners"), wire.U32, wire.Listener)
        self._migrations = Map(fd("migrations"), wire.MigrationKey, wire.Migration)
        self._peers = Map(fd("peers"), wire.Peer, wire.U32)
        self._ports = Map(fd("ports"), wire.PortKey, wire.Tally)
        self._last: dict[int, wire.Listener] = {}

    def read(self) -> list[wire.Listener]:
        """Of all listeners that are described already."""
        found = self._placed.elements([place for place, _ in self._places.items()])
        found += [row for _, row in self._beyond.items()]
        self._last = {}
        for row in found:
            if row.inode in self._last:
                # Two CPUs met it at once, while a place became free: each may have made a row.
                _add(self._last[row.inode], row)
            elif row.inode:
                self._last[row.inode] = row
        return list(self._last.values())

    def migrations(self) -> list[tuple[wire.MigrationKey, wire.Migration]]:
        """From which listener to which."""
        return self._migrations.items()

    def ports(self) -> list[tuple[wire.PortKey, wire.Tally]]:
        """Children made, by port."""
        return self._ports.items()

    def delete(self, inodes: Collection[int], ports: Collection[tuple[int, int]]) -> None:
        """The rows of these listeners and ports, and all that belongs to them."""
        gone = {inode: row for inode in inodes if (row := self._last.pop(inode, None)) is not None}
        if gone:
            self._leave_places(gone)
            self._shares.free(wire.SHARED_LISTENERS, Counter(row.owner for row in gone.values()))
            self._delete_migrations(gone)
            if any(row.overflow_peers for row in gone.values()):
                self._delete_peers(gone)
        if ports:
            self._delete_ports(ports)

    def clear(self) -> None:
        """Delete everything."""
        for place, _ in self._places.items():
            self._placed.put(place, wire.Listener())
        for each in (self._places, self._beyond, self._migrations, self._peers, self._ports):
            each.clear()
        self._last = {}

    def _leave_places(self, gone: Collection[int]) -> None:
        """A place is free for others only once its row is empty."""
        left = [place for place, holder in self._places.items() if holder.value in gone]
        for place in left:
            self._placed.put(place, wire.Listener())
        self._places.delete_all(left)
        self._beyond.delete_all([wire.U32(inode) for inode in gone])

    def _delete_migrations(self, gone: Collection[int]) -> None:
        """Once both ends are gone; 0 is one that has no inode any more."""
        found = [
            (key, row)
            for key, row in self._migrations.items()
            if {key.from_inode, key.to_inode} & set(gone)
            and all(inode not in self._last for inode in (key.from_inode, key.to_inode))
        ]
        self._migrations.delete_all([key for key, _ in found])
        self._shares.free(wire.SHARED_MIGRATIONS, Counter(row.owner for _, row in found))

    def _delete_peers(self, gone: Collection[int]) -> None:
        found = [(key, owner.value) for key, owner in self._peers.items() if key.inode in gone]
        self._peers.delete_all([key for key, _ in found])
        self._shares.free(wire.SHARED_PEERS, Counter(owner for _, owner in found))

    def _delete_ports(self, ports: Collection[tuple[int, int]]) -> None:
        found = [
            (key, row)
            for key, row in self._ports.items()
            if (key.netns, key.port % wire.PORTS) in ports
        ]
        self._ports.delete_all([key for key, _ in found])
        self._shares.free(wire.SHARED_PORTS, Counter(row.owner for _, row in found))


def _add(row: wire.Listener, other: wire.Listener) -> None:
    """Into the first what the second counted."""
    longest = max(row.queue_max, other.queue_max)
    for name in _COUNTERS:
        setattr(row, name, (getattr(row, name) + getattr(other, name)) % (1 << 64))
    row.queue_max = longest
