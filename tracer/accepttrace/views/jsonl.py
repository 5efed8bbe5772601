"""JSON Lines: one object a line. `schema.json` beside this file is the contract."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

from accepttrace.model.records import Holder
from accepttrace.model.snapshot import AcceptorRow, Books, ListenerRow, Meta, Snapshot

SCHEMA: Final = 1
ACCEPTOR_FIELDS: Final = tuple(AcceptorRow.__dataclass_fields__)
LISTENER_FIELDS: Final = tuple(ListenerRow.__dataclass_fields__)
BOOKS_FIELDS: Final = tuple(Books.__dataclass_fields__)
HOLDER_FIELDS: Final = ("pid", "comm", "name", "fd", "waits", "waits_in")
# Decimals that mean something; more would only make the lines long.
_DECIMALS: Final = {"rate": 3, "share": 6, "fair_ratio": 4}


def meta_line(meta: Meta) -> str:
    """The first line: what is traced, how, and what cannot be seen that way."""
    return _dump(
        {
            "type": "meta",
            "schema": SCHEMA,
            "version": meta.version,
            "kernel": meta.kernel,
            "attach": meta.attach,
            "loader": meta.loader,
            "blind_spots": list(meta.blind_spots),
            "started": meta.started,
            "filter": meta.filter,
        }
    )


def snapshot_line(snapshot: Snapshot) -> str:
    """The picture after one interval."""
    return _dump(_snapshot("snapshot", snapshot))


def summary_line(snapshot: Snapshot) -> str:
    """The last line: as a snapshot, over the whole run."""
    return _dump(_snapshot("summary", snapshot))


def acceptor(row: AcceptorRow) -> dict[str, object]:
    """One row, its numbers rounded; also the source of a CSV row."""
    values: dict[str, object] = {name: getattr(row, name) for name in ACCEPTOR_FIELDS}
    for name, decimals in _DECIMALS.items():
        value = values[name]
        if isinstance(value, float):
            values[name] = round(value, decimals)
    return values


def books(ledger: Books) -> dict[str, object]:
    """What was counted and what was lost."""
    return {name: getattr(ledger, name) for name in BOOKS_FIELDS}


def _snapshot(kind: str, snapshot: Snapshot) -> dict[str, object]:
    return {
        "type": kind,
        "time": snapshot.time,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        "interval_s": round(snapshot.interval_s, 3),
        "by": snapshot.by,
        "partial": snapshot.partial,
        "listeners": [_listener(row) for row in snapshot.listeners],
        "acceptors": [acceptor(row) for row in snapshot.acceptors],
        "books": books(snapshot.books),
    }


def _listener(row: ListenerRow) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(row, name) for name in LISTENER_FIELDS}
    values["holders"] = [_holder(holder) for holder in row.holders]
    return values


def _holder(holder: Holder) -> dict[str, object]:
    return {name: getattr(holder, name) for name in HOLDER_FIELDS}


def _dump(value: dict[str, object]) -> str:
    # ASCII, for a name need not be valid UTF-8: its stray bytes arrive as escapes.
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=asdict)
