"""Listeners that are closed for good, but for the last ones: summed up by where they listened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from accepttrace.facts.records import BOOKS, Family
from accepttrace.model.snapshot import ListenerRow

MOST: Final = 64  # places with an address, and as many ports without one


class Place(NamedTuple):
    """Where listeners were that are closed for good. None: they differ in that."""

    netns: int | None = None
    family: Family | None = None
    address: str | None = None
    port: int | None = None


ELSEWHERE: Final = Place()

_SUMS: Final = (
    "queue_start",
    "arrived",
    "uncounted",
    "unseen",
    "dropped_overflow",
    "overflow_syn",
    "overflow_ack",
    "overflow_aborted",
    "overflow_peers",
    "dropped_syn_queue",
    "dropped_other",
    "dropped_unclear",
    "deferred",
    "drops",
    "lost_on_close",
    "half_open_lost",
    "migration_failed",
    "refused_accepts",
    "migrated_in",
    "migrated_out",
    "ended",
)
# None in one of them says nothing of the others.
_SUMS_OF_KNOWN: Final = ("selected", "imbalance")
_OF_ONE: Final[Mapping[str, Any]] = {
    "inode": None,
    "epoch": 1,
    "device": None,
    "v6only": None,
    "backlog": None,
    "capacity": None,
    "queue": None,
    "queue_mean": None,
    "queue_full_s": None,
    "oldest_wait_us": None,
    "defer_accept": None,
    "half_open": None,
    "sharing": None,
    "group": None,
    "group_size": None,
    "group_sizes": (),
    "selector": None,
    "selector_program": None,
    "selectors": (),
    "open": False,
    "ended": 1,
    "folded": 0,
    "holders": (),
    "holders_elsewhere": 0,
}


class Places:
    """A row for each place, of the listeners that were folded into it.

    Where all places are taken, listeners are summed up by port, and by nothing beyond MOST ports.
    """

    def __init__(self) -> None:
        self.rows: dict[Place, ListenerRow] = {}
        self.own: set[Place] = set()  # those with an address

    def has_room(self, place: Place) -> bool:
        """Whether a listener there has a row apart from those at other addresses."""
        return place in self.own or len(self.own) < MOST

    def nearest(self, row: ListenerRow) -> Place:
        """Where it would be summed up as things are."""
        place = place_of(row)
        return place if self.has_room(place) else self.wider(place)

    def wider(self, place: Place) -> Place:
        """That of its port, whatever the address."""
        wide = Place(port=place.port)
        return wide if wide in self.rows or len(self.rows) - len(self.own) < MOST else ELSEWHERE

    def fold(self, row: ListenerRow, place: Place) -> None:
        """Add a listener to a place."""
        self._add(at_place(row, place), place)

    def merge(self, place: Place) -> Place:
        """Make room: add a whole place to the wider one, which is returned."""
        wide = self.wider(place)
        self.own.discard(place)
        self._add(_moved(self.rows.pop(place), wide), wide)
        return wide

    def folded(self, place: Place) -> int:
        """How many listeners it stands for."""
        return self.rows[place].ended if place in self.rows else 0

    def _add(self, row: ListenerRow, place: Place) -> None:
        before = self.rows.get(place)
        self.rows[place] = row if before is None else both(before, row)
        if place.address is not None:
            self.own.add(place)


def place_of(row: ListenerRow) -> Place:
    """Where it listened."""
    return Place(row.netns, row.family, row.local_address, row.local_port)


def at_place(row: ListenerRow, place: Place) -> ListenerRow:
    """One listener, as a row of its place has it."""
    return _moved(replace(row, **_OF_ONE), place)


def _moved(row: ListenerRow, place: Place) -> ListenerRow:
    netns, family, address, port = place
    return replace(row, netns=netns, family=family, local_address=address, local_port=port)


def both(one: ListenerRow, other: ListenerRow) -> ListenerRow:
    """One row for both, under the name of the first."""
    sums: dict[str, Any] = {f: _sum(getattr(one, f), getattr(other, f)) for f in _SUMS}
    known = {f: _known(getattr(one, f), getattr(other, f)) for f in _SUMS_OF_KNOWN}
    sums.update(known)
    lengths = [length for length in (one.queue_max, other.queue_max) if length is not None]
    return replace(
        one,
        **sums,
        accepted=one.accepted + other.accepted,
        counted={k: one.counted[k] + other.counted[k] for k in one.counted if k in other.counted},
        queue_max=max(lengths, default=None),
        queue_max_sampled=one.queue_max_sampled or other.queue_max_sampled,
        book=max(one.book, other.book, key=BOOKS.index),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _known(one: int | None, other: int | None) -> int | None:
    return (one or 0) + (other or 0) if (one, other) != (None, None) else None
