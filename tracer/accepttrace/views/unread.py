"""What the inventory could not read, in words and as objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from accepttrace.facts.records import Unread
from accepttrace.views.formats import plural
from accepttrace.views.text import clean

NAMED: Final = 3  # processes that a sentence names for each reason
LISTED: Final = 8  # in JSON; a user who is not root may not read any other's


def sentence(unread: Iterable[Unread]) -> str:
    """`1 process could not be read (PID 1 systemd: permission denied)`; empty where all was."""
    missing = [each for each in unread if each.holders]
    processes = sorted((e for e in missing if e.pid is not None), key=lambda e: e.reason)
    others = [f"{clean(each.name)}: {each.reason}" for each in missing if each.pid is None]
    reasons = [
        f"{_names(list(group))}: {reason}"
        for reason, group in groupby(processes, key=lambda each: each.reason)
    ]
    parts = []
    if processes:
        noun = plural(len(processes), "process")
        parts.append(f"{noun} could not be read ({'; '.join(reasons)})")
    return "; ".join([*parts, *others])


def objects(unread: Sequence[Unread]) -> list[dict[str, object]]:
    """For JSON: the first few."""
    return [{"pid": each.pid, "name": each.name, "reason": each.reason} for each in unread[:LISTED]]


def _names(processes: list[Unread]) -> str:
    named = [f"PID {each.pid} {clean(each.name)}".rstrip() for each in processes[:NAMED]]
    more = len(processes) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
