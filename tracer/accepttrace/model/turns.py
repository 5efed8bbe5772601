"""From entries to those who take turns in a sharing set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from accepttrace.facts.records import Losses, Order, Placing
from accepttrace.model.entries import Bygone, Entry, placings
from accepttrace.model.listeners import SetKey
from accepttrace.model.pattern import Pattern, Seen, Turn, read
from accepttrace.model.snapshot import ListenerRow
from accepttrace.model.yardstick import is_group


def pattern(
    key: SetKey,
    rows: Collection[ListenerRow],
    entries: Iterable[Entry],
    orders: Iterable[Order],
    losses: Losses,
) -> Pattern | None:
    """Of one sharing set; None where nobody shares, or the run did not ask for it."""
    those = [entry for entry in entries if entry.members == key and entry.takes_part]
    if not any(entry.count and entry.count.placing for entry in those):
        return None
    members: defaultdict[object, list[Entry]] = defaultdict(list)
    for entry in those:
        members[entry.socket if is_group(key) else entry.process].append(entry)
    turns = [_turn(member, each) for member, each in members.items()]
    order = next((one for one in orders if _is_of(one, key)), None)
    return read(Seen(turns, order, is_group(key), _hidden(rows, those, losses)))


def _turn(member: object, entries: Sequence[Entry]) -> Turn:
    accepts = sum(entry.accepts for entry in entries)
    found = placings(entry.count.placing for entry in entries if entry.count)
    placing = found or Placing(0, 0, 0)
    if isinstance(member, int):
        return Turn(None, member, accepts, *placing)
    if isinstance(member, Bygone):
        workers = sum(max(entry.workers, 1) for entry in entries)
        return Turn(None, None, accepts, *placing, workers=workers)
    assert isinstance(member, tuple)
    return Turn(member[0], None, accepts, *placing)


def _is_of(order: Order, key: SetKey) -> bool:
    if is_group(key):
        return (order.group, order.local_port) == (key[1], key[4])
    return order.inode is not None and order.inode == key[1]


def _hidden(rows: Iterable[ListenerRow], entries: Iterable[Entry], losses: Losses) -> str:
    """Why accepts are missing between those that were seen; empty: none is."""
    if losses.total:
        return "the tracer lost events"
    if any(row.uncounted or row.unseen for row in rows):
        return "not every accept was seen"
    if any(entry.barred for entry in entries):
        return "not everybody who shares is counted"
    return ""
