"""CSV: one line an acceptor and snapshot, named as in JSON, with the books at the end of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Final

from accepttrace.model.snapshot import Snapshot
from accepttrace.views.jsonl import ACCEPTOR_FIELDS, BOOKS_FIELDS, acceptor, books

# `accepts` of the books is the sum over the rows: a second column of that name would mislead.
LEDGER: Final = tuple(name for name in BOOKS_FIELDS if name != "accepts")
FIELDS: Final = ("time", "elapsed_s", *ACCEPTOR_FIELDS, *LEDGER)


def header() -> str:
    """The names of the columns, without a newline."""
    return _line(FIELDS)


def rows(snapshot: Snapshot) -> str:
    """One line an acceptor. Without any, a line tells only what was lost, if something was."""
    values: list[Mapping[str, object]] = [acceptor(row) for row in snapshot.acceptors]
    if not values and not snapshot.books.balanced:
        values = [{}]
    ledger = books(snapshot.books)
    frame = {
        "time": snapshot.time,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        **{name: ledger[name] for name in LEDGER},
    }
    return "\n".join(_line(map(_text, _ordered({**frame, **row}))) for row in values)


def _ordered(values: Mapping[str, object]) -> Iterable[object]:
    return (values.get(name) for name in FIELDS)


def _text(value: object) -> str:
    """None is empty, truth as in JSON, errors as `EMFILE:3;EINTR:1`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ";".join(f"{key}:{count}" for key, count in sorted(value.items()))
    return str(value).encode("utf-8", "replace").decode()  # a name may hold stray bytes


def _line(values: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
