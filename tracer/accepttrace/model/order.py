"""The order of rows: numbers largest first, words by the alphabet, the unknown last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Final

from accepttrace.model.snapshot import AcceptorRow

SORTABLE: Final = frozenset(f.name for f in fields(AcceptorRow)) - {"errors", "wait_histogram"}
# An identity is looked up, not compared: those go from small to large.
ASCENDING: Final = frozenset(
    ("pid", "tid", "ns_pid", "listener_inode", "netns", "local_port", "group")
)


def ordered(rows: Iterable[AcceptorRow], sort: str) -> list[AcceptorRow]:
    """Rows by the field `sort`; equal ones by place, those that wait first, pid."""
    if sort not in SORTABLE:
        raise ValueError(f"no field {sort!r} to sort by")
    placed = sorted(rows, key=_place)
    known = [row for row in placed if getattr(row, sort) is not None]
    unknown = [row for row in placed if getattr(row, sort) is None]
    words = any(isinstance(getattr(row, sort), str) for row in known)
    known.sort(key=lambda row: getattr(row, sort), reverse=not (words or sort in ASCENDING))
    return known + unknown


def _place(row: AcceptorRow) -> tuple[int, str, bool, int, int, int]:
    return (
        row.local_port or 0,
        row.local_address or "",
        row.waits is False,
        row.pid or 0,
        row.tid or 0,
        row.listener_inode or 0,
    )
