"""What is alike, on one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from accepttrace.facts.records import Holder
from accepttrace.views.text import clean

Item = TypeVar("Item")

PROCESSES: Final = 3  # that a line names


def alike(items: Iterable[Item], key: Callable[[Item], object]) -> list[list[Item]]:
    """Those with the same key together, in the order of the first of each."""
    found: dict[object, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


def processes(sockets: Iterable[Sequence[Holder]]) -> str:
    """Who holds these sockets: `pid 12 nginx: worker, pid 13 nginx: worker and 2 more`.

    Those that wait come first.
    """
    ordered = sorted(
        (holder for holders in sockets for holder in holders),
        key=lambda one: (one.waits is False, one.pid),
    )
    named = list({one.pid: f"pid {one.pid} {clean(one.name)}" for one in ordered}.values())
    if not named:
        return "held by nobody visible"
    more = len(named) - PROCESSES
    return ", ".join(named[:PROCESSES]) + (f" and {more:,} more" if more > 0 else "")
