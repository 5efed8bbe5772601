"""What the kernel moved and how it chose, and accepts that no row has."""

from __future__ import annotations

from collections.abc import Collection

from accepttrace.model.snapshot import ListenerRow, Migration, Snapshot
from accepttrace.views.formats import place_of, plural, selector, span
from accepttrace.views.losses import sentence
from accepttrace.views.text import Line, clean


def moved(snapshot: Snapshot, width: int) -> list[Line]:
    """What the kernel moved from one listener to another."""
    parts = [_move(one) for one in snapshot.migrations if one.connections or one.requests]
    return sentence("moved by the kernel:", parts, width, "") if parts else []


def selectors(snapshot: Snapshot, width: int) -> list[Line]:
    """What chose among the sockets of each reuseport group, where that was not the hash alone."""
    lines: list[Line] = []
    for row in _best_known(snapshot):
        if {change.selector for change in row.selectors} <= {"hash"}:
            continue
        first, *later = row.selectors
        parts = [selector(first.selector, first.program)]
        parts += [
            f"{selector(change.selector, change.program)} from {span(change.elapsed_s)} on"
            for change in later
        ]
        parts.append("so shares need not be even")
        lines += sentence(f"{_group(row)} chosen by:", parts, width, "")
    return lines


def uncounted(snapshot: Snapshot, width: int) -> list[Line]:
    """Connections whose takers have no row in the maps of the kernel side."""
    number = snapshot.books.uncounted
    if not number:
        return []
    text = f"{plural(number, 'connection')} accepted by workers without a row:"
    parts = ["more than the tracer has room for"]
    if snapshot.meta.attach == "tracepoint":
        parts.append("or their descriptor was closed or used anew while they slept in accept()")
    return sentence(text, parts, width, "")


def unattributed(snapshot: Snapshot, width: int) -> list[Line]:
    """Accepts of which no listener is known, and how that can be."""
    number = snapshot.books.losses.unattributed
    if not number:
        return []
    parts = ["a socket of the kernel itself has no inode"]
    if snapshot.meta.attach == "tracepoint":
        parts.append(
            "or a descriptor was closed or used anew while its thread slept in accept(),"
            " and several listeners share the port"
        )
    text = f"{plural(number, 'accept')} from a listener that is not known:"
    return sentence(text, parts, width, "")


def unseen(snapshot: Snapshot, width: int) -> list[Line]:
    """Connections that were accepted, but in no row of the table."""
    number = snapshot.books.unseen
    if not number:
        return []
    least = "at least " if snapshot.books.unseen_at_least else ""
    text = f"{least}{plural(number, 'connection')} accepted unseen"
    parts = _by_ring(snapshot) or ["io_uring", "the kernel", "or a 32-bit program"]
    return sentence(f"{text}:", parts, width, "")


def _by_ring(snapshot: Snapshot) -> list[str]:
    """Who was seen to wait in io_uring on listeners with such accepts; only if somebody was."""
    suspects = {
        holder.pid: f"{clean(holder.name)} (pid {holder.pid}), which waits in io_uring"
        for row in snapshot.listeners
        if row.unseen is None or row.unseen
        for holder in row.holders
        if holder.waits_in == "io_uring"
    }
    return [suspects[pid] for pid in sorted(suspects)]


def _move(one: Migration) -> str:
    counts = ((one.connections, "connection"), (one.requests, "half-open request"))
    what = " and ".join(plural(number, noun) for number, noun in counts if number)
    return f"{what} from {_socket(one.from_inode)} to {_socket(one.to_inode)}"


def _socket(inode: int) -> str:
    return f"inode {inode}" if inode else "a listener that is gone"


def _group(row: ListenerRow) -> str:
    return f"group {row.group} on {place_of(row)}"


def _best_known(snapshot: Snapshot) -> Collection[ListenerRow]:
    """Of each group, the listener with the longest history."""
    longest: dict[object, ListenerRow] = {}
    for row in snapshot.listeners:
        key = (row.group, row.netns, row.family, row.local_port)
        known = longest.get(key)
        if known is None or len(row.selectors) > len(known.selectors):
            longest[key] = row
    return longest.values()
