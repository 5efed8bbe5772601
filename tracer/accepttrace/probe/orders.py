"""The rows of orders in their map: read, and deleted once their listeners are closed."""

from __future__ import annotations

from collections.abc import Collection

from accepttrace.facts.records import Order
from accepttrace.probe import wire
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map


class OrderRows:
    """Who accepted after whom; nothing where the run did not ask for it."""

    def __init__(self, loaded: loaders.Attached) -> None:
        self._asked = loaded.plan.patterns
        self._orders = Map(loaded.map_fd("orders"), wire.OrderKey, wire.Order)

    def read(self) -> tuple[Order, ...]:
        """Of all sockets, and of all groups."""
        found = self._orders.items() if self._asked else []
        return tuple(_order(key, row) for key, row in found)

    def delete(self, inodes: Collection[int]) -> None:
        """Those in which the last connection was taken from one of these listeners.

        A group that goes on begins a new one.
        """
        if self._asked and inodes:
            gone = [key for key, row in self._orders.items() if row.inode in inodes]
            self._orders.delete_all(gone)

    def clear(self) -> None:
        """Delete everything."""
        self._orders.clear()


def _order(key: wire.OrderKey, row: wire.Order) -> Order:
    alone = not key.port
    return Order(
        inode=key.id if alone else None,
        group=None if alone else key.id,
        local_port=key.port or None,
        runs=tuple(row.runs),
        run=row.run,
        raced=row.raced,
    )
