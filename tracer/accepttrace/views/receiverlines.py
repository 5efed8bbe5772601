"""`--udp` for programs: JSON Lines (`udp.schema.json` is the contract) and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from accepttrace.facts.meta import Meta
from accepttrace.model.datagrams import Reader, ReceiverBooks, ReceiverRow, ReceiverSnapshot
from accepttrace.views.columns import udp
from accepttrace.views.csvrows import WHEN, chosen, line, text
from accepttrace.views.jsonl import (
    HOLDER_FIELDS,
    PROGRAM_FIELDS,
    books_fields,
    dump,
    flat,
    meta_of,
    named,
)
from accepttrace.views.unread import objects

READER_FIELDS: Final = tuple(Reader.__dataclass_fields__)
ROW_FIELDS: Final = tuple(ReceiverRow.__dataclass_fields__)
# In CSV: a sum over the rows, under the name that it has in a row, would mislead.
TOTALS: Final = tuple(name for name in books_fields(ReceiverBooks) if name not in ROW_FIELDS)


def csv_fields() -> tuple[str, ...]:
    """In their order."""
    made = [column.key for column in udp.TABLE.made("socket")]
    return (*WHEN, *ROW_FIELDS, *made, *TOTALS)


def meta_line(meta: Meta) -> str:
    """The first line: what is traced, how, and what cannot be seen that way."""
    return dump({**meta_of(meta), "protocol": "udp"})


def snapshot_line(snapshot: ReceiverSnapshot) -> str:
    """The picture after one interval."""
    return dump(_snapshot("snapshot", snapshot))


def summary_line(snapshot: ReceiverSnapshot) -> str:
    """The last line: as a snapshot, over the whole run."""
    return dump(_snapshot("summary", snapshot))


def csv_header(columns: Sequence[str] = ()) -> str:
    """The names of the columns, without a newline."""
    return line((*WHEN, *columns) if columns else csv_fields())


def csv_rows(snapshot: ReceiverSnapshot, columns: Sequence[str] = ()) -> str:
    """One line a socket. Without any, a line has only what was lost, if something was.

    With `columns`, those of the table: they alone, after the time.
    """
    if columns:
        when = (snapshot.time, snapshot.elapsed_s)
        return chosen(when, udp.TABLE, columns, snapshot.sockets)
    rows = [_row(row) | {"holders": _pids(row), "readers": _reads(row)} for row in snapshot.sockets]
    if not rows and not snapshot.books.balanced:
        rows = [{}]
    books, names = flat(snapshot.books, ReceiverBooks), csv_fields()
    frame = {
        "time": snapshot.time,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        **{name: books[name] for name in TOTALS},
    }
    return "\n".join(line(text({**frame, **row}.get(name)) for name in names) for row in rows)


def _snapshot(kind: str, snapshot: ReceiverSnapshot) -> dict[str, object]:
    return {
        "type": kind,
        "time": snapshot.time,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        "interval_s": round(snapshot.interval_s, 3),
        "partial": snapshot.partial,
        "unread": objects(snapshot.unread),
        "sockets": [_row(row) for row in snapshot.sockets],
        "books": flat(snapshot.books, ReceiverBooks),
    }


def _row(row: ReceiverRow) -> dict[str, object]:
    return {
        **named(row, ROW_FIELDS),
        **{column.key: column.written(row) for column in udp.TABLE.made("socket")},
        "selector_program": row.selector_program and named(row.selector_program, PROGRAM_FIELDS),
        "holders": [named(holder, HOLDER_FIELDS) for holder in row.holders],
        "readers": None
        if row.readers is None
        else [named(one, READER_FIELDS) for one in row.readers],
    }


def _reads(row: ReceiverRow) -> str | None:
    """`PID:packets` each; without a PID of those that have none here."""
    if row.readers is None:
        return None
    return ";".join(f"{one.pid or ''}:{one.packets}" for one in row.readers)


def _pids(row: ReceiverRow) -> str:
    return ";".join(str(holder.pid) for holder in row.holders)
