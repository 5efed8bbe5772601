"""UDP: who reads a socket, and how much of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from accepttrace.facts.datagrams import ReaderCount
from accepttrace.facts.records import Holder
from accepttrace.model.datagrams import Reader


def read_by(counts: Iterable[ReaderCount]) -> Mapping[int, Sequence[ReaderCount]]:
    """By inode."""
    found: defaultdict[int, list[ReaderCount]] = defaultdict(list)
    for one in counts:
        found[one.inode].append(one)
    return found


def readers_of(counts: Iterable[ReaderCount], holders: Iterable[Holder]) -> tuple[Reader, ...]:
    """Who read most first; then those that hold the socket and read nothing."""
    names = {(one.pid, one.start_ticks): one.name or one.comm for one in holders}
    read = {(one.pid, one.start_ticks): one for one in counts}
    total = sum(one.packets for one in read.values())
    found = [
        Reader(
            *(who[0] or None, who[1], names.get(who, one.comm), one.packets),
            share=one.packets / total if total else None,
        )
        for who, one in read.items()
    ]
    nothing = 0.0 if total else None
    found += [Reader(*who, name, 0, nothing) for who, name in names.items() if who not in read]
    return tuple(sorted(found, key=lambda one: (-one.packets, one.pid or 0)))
