"""Whose children the holders of listeners are, read again where they are others than before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from accepttrace.facts.records import Inventory

if TYPE_CHECKING:
    from accepttrace.facts.kin import Surroundings
    from accepttrace.sockets.inventory import InventoryReader
    from accepttrace.sockets.unixinventory import UnixReader

AGAIN_S: Final = 10.0  # a parent may end that held nothing
PART: Final = 0.01  # of the time, at most, where it takes long,
QUIET_PART: Final = 0.0005  # and while the same processes hold the same sockets


class KinshipReader:
    """Use one for a run: it knows what was read last."""

    def __init__(self, sockets: InventoryReader | UnixReader) -> None:
        self._sockets = sockets
        self._known: frozenset[tuple[int, int]] | None = None  # inode, PID
        self._soonest_s = self._due_s = 0.0

    def read(self, inventory: Inventory) -> Surroundings | None:
        """None: the last still holds, or it is too soon to read as much again.

        Where connections wait long, it is read to see whether a signal has stopped who should
        accept them.
        """
        began_s = time.monotonic()
        if began_s < self._soonest_s:
            return None
        held = frozenset((row.inode, one.pid) for row in inventory.listeners for one in row.holders)
        waits = any(row.waits_long for row in inventory.listeners if row.queue)
        if held == self._known and began_s < self._due_s and not waits:
            return None
        found = self._sockets.surroundings(inventory, compared=False)
        now_s = time.monotonic()
        took_s = now_s - began_s
        self._known = held
        self._soonest_s = now_s + took_s / PART
        self._due_s = now_s + max(AGAIN_S, took_s / QUIET_PART)
        return found
