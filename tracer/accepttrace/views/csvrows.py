"""CSV: one line an acceptor and snapshot, named as in JSON, with the books at the end of each.

Names are made harmless as in tables, and none is a formula to a spreadsheet.

A line that stands for one socket (`--by socket`) has what is known of that socket as well: under
rows of workers it would be there once a worker, and add up to too much.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from accepttrace.model.grains import OF_PROCESSES
from accepttrace.model.snapshot import Books, ListenerRow, Snapshot
from accepttrace.views.columns import tcp
from accepttrace.views.columns.column import Row, Table
from accepttrace.views.jsonl import (
    ACCEPTOR_FIELDS,
    HISTOGRAM,
    LISTENER_FIELDS,
    acceptors,
    books,
    books_fields,
    listener,
    rounded,
)
from accepttrace.views.sockets import Sockets
from accepttrace.views.text import clean

OPEN_AGE: Final = "open_age_s"
WHEN: Final = ("time", "elapsed_s")
# A spreadsheet takes a cell that begins so for a formula, also in the width of Chinese script.
_FORMULA: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
# An acceptor has these by another name, or they are lists.
_NOT_OF_A_SOCKET: Final = frozenset(
    ("inode", "accepted", "open", "ended", "counted", "group_sizes", "selectors", "holders")
)


def header(by: str, *, columns: Sequence[str] = (), histogram: bool = False) -> str:
    """The names of the columns for rows of this kind, without a newline."""
    return line((*WHEN, *columns) if columns else _fields(by, histogram))


def rows(snapshot: Snapshot, *, columns: Sequence[str] = (), histogram: bool = False) -> str:
    """One line an acceptor. Without any, a line has only what was lost, if something was.

    With `columns`, those of the table: they alone, after the time.
    """
    if columns:
        when, shown = (snapshot.time, snapshot.elapsed_s), snapshot.acceptors
        return chosen(when, tcp.TABLE, columns, tcp.rows_of(snapshot, shown))
    values = list(acceptors(snapshot, histogram=histogram))
    if snapshot.by == "socket":
        sockets = Sockets(snapshot.listeners)
        values = [
            {**_of(sockets.of(row)), **value}
            for row, value in zip(snapshot.acceptors, values, strict=True)
        ]
    if not values and not snapshot.books.balanced:
        values = [{}]
    fields = _fields(snapshot.by, histogram)
    totals = books(snapshot.books)
    frame = {
        "time": snapshot.time,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        OPEN_AGE: rounded(snapshot.open_age_s),
        "verdict": snapshot.verdict,
        **{name: totals[name] for name in _totals(snapshot.by)},
    }
    return "\n".join(line(text({**frame, **row}.get(name)) for name in fields) for row in values)


def chosen(
    when: tuple[str, float], table: Table[Row], columns: Sequence[str], rows: Iterable[Row]
) -> str:
    """Rows of these columns alone, each after the time and the seconds since the start."""
    wanted = [table.column(key) for key in columns]
    first = (when[0], str(round(when[1], 3)))
    return "\n".join(line((*first, *(text(one.written(row)) for one in wanted))) for row in rows)


def _of(sockets: Sequence[ListenerRow]) -> dict[str, object]:
    return listener(sockets[0]) if sockets else {}


def _fields(by: str, histogram: bool) -> Sequence[str]:
    made = [column.key for column in tcp.TABLE.made(by)]
    last = ((OPEN_AGE,) if by in OF_PROCESSES else ()) + ((HISTOGRAM,) if histogram else ())
    rest = (*made, *_of_socket(by), *_totals(by), *last)
    return (*WHEN, "verdict", *ACCEPTOR_FIELDS, *rest)


def _of_socket(by: str) -> Sequence[str]:
    if by != "socket":
        return ()
    known = {*ACCEPTOR_FIELDS, *_NOT_OF_A_SOCKET}
    return [name for name in LISTENER_FIELDS if name not in known]


def _totals(by: str) -> Sequence[str]:
    """A sum over the rows, under the name that it has in a row, would mislead."""
    known = {"accepts", *_of_socket(by)}
    return [name for name in books_fields(Books) if name not in known]


def text(value: object) -> str:
    """None is empty, truth as in JSON.

    Names are joined as `a;b`, errors as `EMFILE:3;EINTR:1`, buckets as `8-8:3;9-9:1`. A name
    that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return clean(";".join(f"{key}:{count}" for key, count in sorted(value.items())))
    if isinstance(value, tuple):
        return clean(";".join(map(str, value)))
    if isinstance(value, list):
        return ";".join(f"{low}-{high}:{count}" for low, high, count in value)
    if not isinstance(value, str):
        return str(value)
    name = clean(value)
    return f"'{name}" if name.startswith(_FORMULA) else name


def line(values: Iterable[str]) -> str:
    """Cells with what they need around them, without a newline."""
    written = io.StringIO()
    csv.writer(written).writerow(values)  # the usual end of a line: so that any in a cell is quoted
    return written.getvalue().removesuffix("\r\n")
