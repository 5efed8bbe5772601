"""Listeners that are closed for good, but for the last ones: summed up by where they listened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from accepttrace.model.records import WORST, Family
from accepttrace.model.snapshot import ListenerRow

MOST: Final = 64  # places; whatever closes at a further one is summed up without an address


class Place(NamedTuple):
    """Where listeners were that are closed for good; all None: at several places."""

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
# A closed listener of which all of these are 0 is not remembered.
HAPPENED: Final = ("accepted", "selected", "queue_max", *(f for f in _SUMS if f != "ended"))
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
    "holders": (),
    "holders_elsewhere": 0,
}


class Places:
    """A row for each place, of the listeners that were folded into it."""

    def __init__(self) -> None:
        self.rows: dict[Place, ListenerRow] = {}

    def fold(self, row: ListenerRow) -> Place:
        """Add a listener to its place; returns where it went."""
        place = Place(row.netns, row.family, row.local_address, row.local_port)
        if place not in self.rows and len(self.rows) >= MOST:
            place = ELSEWHERE
        names = ("netns", "family", "local_address", "local_port")
        address: dict[str, Any] = dict(zip(names, place, strict=True))
        row = replace(row, **_OF_ONE, **address)
        before = self.rows.get(place)
        self.rows[place] = row if before is None else _both(before, row)
        return place

    def folded(self, place: Place) -> int:
        """How many listeners it stands for."""
        return self.rows[place].ended if place in self.rows else 0


def _both(one: ListenerRow, other: ListenerRow) -> ListenerRow:
    sums: dict[str, Any] = {f: _sum(getattr(one, f), getattr(other, f)) for f in _SUMS}
    known = {f: _known(getattr(one, f), getattr(other, f)) for f in _SUMS_OF_KNOWN}
    sums.update(known)
    lengths = [length for length in (one.queue_max, other.queue_max) if length is not None]
    return replace(
        one,
        **sums,
        queue_max=max(lengths, default=None),
        queue_max_sampled=one.queue_max_sampled or other.queue_max_sampled,
        book=max(one.book, other.book, key=lambda book: WORST[book]),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _known(one: int | None, other: int | None) -> int | None:
    return (one or 0) + (other or 0) if (one, other) != (None, None) else None
