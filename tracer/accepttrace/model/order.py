"""The order of rows, unless a view sorts them by a column."""

from __future__ import annotations

from collections.abc import Iterable

from accepttrace.model.snapshot import AcceptorRow


def ordered(rows: Iterable[AcceptorRow]) -> list[AcceptorRow]:
    """The most accepts first; equal ones by place, those that wait first, pid."""
    return sorted(rows, key=_place)


def _place(row: AcceptorRow) -> tuple[int, int, str, bool, int, int, int]:
    return (
        -row.accepts,
        row.local_port or 0,
        row.local_address or "",
        row.waits is False,
        row.pid or 0,
        row.tid or 0,
        row.listener_inode or 0,
    )
