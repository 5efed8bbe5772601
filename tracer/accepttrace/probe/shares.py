"""How much of each map every owner has taken (bpf/shares.bpf.h), and what was refused for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from accepttrace.probe import wire
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map

_ROOM: Final[Mapping[int, int]] = {
    wire.SHARED_LISTENERS: wire.MAX_PLACES + wire.MAX_LISTENERS,
    wire.SHARED_ACCEPTORS: wire.MAX_SLOTS + wire.MAX_ACCEPTORS,
    wire.SHARED_ERRORS: wire.MAX_ERRORS,
    wire.SHARED_MIGRATIONS: wire.MAX_MIGRATIONS,
    wire.SHARED_PEERS: wire.MAX_PEERS,
    wire.SHARED_PORTS: wire.MAX_PORTS,
    wire.SHARED_RECEIVERS: wire.MAX_RECEIVERS,
    wire.SHARED_READERS: wire.MAX_READERS,
}
_CROWDED: Final = 16  # one part of so many is taken


class Shares:
    """The kernel counts rows as it makes them, user space counts those that it deletes."""

    def __init__(self, loaded: loaders.Attached) -> None:
        self._shares = Map(loaded.map_fd("shares"), wire.ShareKey, wire.Share)
        self._freed = Map(loaded.map_fd("freed"), wire.ShareKey, wire.U64)
        self._freed_rows: Counter[tuple[int, int]] = Counter()

    def free(self, which: int, owners: Counter[int]) -> None:
        """Rows of a map were deleted: so many of each owner."""
        changed = Counter(owners)
        changed[wire.OWNER_ALL] += sum(owners.values())
        for owner, rows in changed.items():
            self._freed_rows[owner, which] += rows
            total = wire.U64(self._freed_rows[owner, which])
            self._freed.put(wire.ShareKey(owner, which), total)

    def crowded(self) -> bool:
        """Whether a map begins to fill."""
        return any(
            share.taken - self._freed_rows[key.owner, key.map] > _ROOM[key.map] // _CROWDED
            for key, share in self._shares.items()
            if key.owner == wire.OWNER_ALL
        )

    def refused(self) -> Mapping[int, int]:
        """What was not counted because an owner had used up its share of a map, by owner."""
        found: Counter[int] = Counter()
        for key, share in self._shares.items():
            if share.refused:
                found[key.owner] += share.refused
        return found

    def clear(self) -> None:
        """As in the beginning: no row is taken."""
        self._freed.clear()
        self._freed_rows.clear()
        self._shares.clear()


def name_of(owner: int) -> str:
    """Whose share it is, in words."""
    if owner == wire.OWNER_GUESTS:
        return "network namespaces of users"
    if owner < wire.OWNER_RANGES:
        return f"uid {owner}"
    first = (owner - wire.OWNER_RANGES) << 16
    return f"uids {first} to {first + 65535}"
