"""The table: header, column titles, rows, total and notes, laid out for a window."""

from __future__ import annotations

from collections.abc import Sequence

from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.views.columns import Column, Listeners, chosen
from accepttrace.views.header import header, plural
from accepttrace.views.layout import Strip, fit, lines
from accepttrace.views.text import Line, clean, cut, flow

TOTALS = ("accepts", "rate", "share", "selected", "empty_accepts", "failed_accepts")
TITLE_AND_TOTAL = 2


def render(
    snapshot: Snapshot, width: int, height: int | None, *, rows: int | None = None
) -> list[Line]:
    """All lines: at most `width` cells each, at most `height` of them, `rows` rows in the table.

    Without a height nothing is cut and a ledger of what was lost ends it.
    """
    shown = [row for row in snapshot.acceptors if not _aside(snapshot, row)]
    above = header(snapshot, width)
    below = _waiting_aside(snapshot, width)
    if height is None:
        below = below + _ledger(snapshot, width)
    if shown:
        room = None if height is None else height - len(above) - len(below) - TITLE_AND_TOTAL
        body = _body(snapshot, shown, width, _limit(len(shown), room, rows))
    else:
        body = flow([(_nothing(snapshot), "")], width)
    frame = [cut(line, width) for line in (*above, *body, *below)]
    return frame if height is None else frame[:height]


def _limit(rows: int, room: int | None, wanted: int | None) -> int:
    """How many rows to show: where some are left out, a line says so."""
    limit = rows if wanted is None else min(rows, max(wanted, 0))
    if room is not None and limit + (limit < rows) > room:
        limit = max(room - 1, 1)
    return limit


def _body(snapshot: Snapshot, shown: Sequence[AcceptorRow], width: int, limit: int) -> list[Line]:
    table, rest = shown[:limit], shown[limit:]
    strips = _strips(snapshot, table, shown, width)
    titles, *texts, total = lines(strips)
    body: list[Line] = [((titles, "bold"),)]
    body += [((text, _style(row)),) for text, row in zip(texts, table, strict=True)]
    if rest:
        accepts = plural(sum(row.accepts for row in rest), "accept")
        body.append(((f"… {plural(len(rest), 'more row')} ({accepts})", "dim"),))
    return [*body, ((total, "bold"),)]


def _strips(
    snapshot: Snapshot, table: Sequence[AcceptorRow], all_rows: Sequence[AcceptorRow], width: int
) -> list[Strip]:
    listeners: Listeners = {row.inode: row for row in snapshot.listeners}

    def make(column: Column) -> Strip:
        return Strip.of(column, table, listeners, _total(column.key, all_rows))

    base, more = chosen(snapshot.by)
    strips = fit(map(make, base), map(make, more), width)
    _label_total(strips)
    return strips


def _label_total(strips: Sequence[Strip]) -> None:
    """In the first column that has no total, if the word fits."""
    for one in strips:
        if not one.cells[-1] and one.width >= len("TOTAL"):
            one.cells[-1] = "TOTAL"
            return


def _total(key: str, rows: Sequence[AcceptorRow]) -> object:
    """A sum; None for what cannot be added up."""
    if key not in TOTALS:
        return None
    values = [getattr(row, key) for row in rows]
    return None if None in values else sum(values)


def _style(row: AcceptorRow) -> str:
    return "" if row.alive else "dim"


def _aside(snapshot: Snapshot, row: AcceptorRow) -> bool:
    """A holder that accepts nothing and does not wait either: a master process."""
    by_process = snapshot.by in ("worker", "process", "thread")
    return by_process and row.waits is False and not row.accepts and row.alive


def _waiting_aside(snapshot: Snapshot, width: int) -> list[Line]:
    rows = [row for row in snapshot.acceptors if _aside(snapshot, row)]
    if not rows:
        return []
    names = {row.pid: clean(row.name) for row in rows}
    holds = {pid: _holds(snapshot, pid) for pid in names}
    texts = [
        f"{name} (pid {pid}) holds {plural(holds[pid], 'listener')}" for pid, name in names.items()
    ]
    return [cut(((f"not waiting for connections: {', '.join(texts)}", "dim"),), width)]


def _holds(snapshot: Snapshot, pid: int | None) -> int:
    return sum(any(h.pid == pid for h in row.holders) for row in snapshot.listeners)


def _nothing(snapshot: Snapshot) -> str:
    """An empty table is never silent."""
    there = sum(row.open for row in snapshot.listeners)
    place = _place(clean(snapshot.meta.filter))
    if there:
        return f"0 accepts{place} so far; {plural(there, 'listener')} there"
    return f"nobody listens{place}"


def _place(text: str) -> str:
    """` on :80`, ` (pid 12)`, or nothing where every listener is traced."""
    if text == "every listener":
        return ""
    return f" on {text}" if text.startswith(":") else f" ({text})"


def _ledger(snapshot: Snapshot, width: int) -> list[Line]:
    """Everything that could be lost, by name, also when it is 0."""
    books = snapshot.books
    known = (
        (books.events_lost, "events"),
        (books.map_full, "map full"),
        (books.probe_misses, "probe misses"),
        (books.recursion_misses, "recursion misses"),
        (books.unattributed, "unattributed"),
    )
    parts = [f"{'n/a' if number is None else f'{number:,}'} {word}" for number, word in known]
    return flow([("lost: " + ", ".join(parts), "dim")], width)
