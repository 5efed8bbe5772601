"""What docs/columns.md and the JSON schemas say of columns. `docs/generate.py` writes both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from accepttrace.views.columns import connections, tcp, udp
from accepttrace.views.columns.column import Column, Table, Unit

UNITS: Final[Mapping[Unit, str]] = {
    "text": "text",
    "endpoint": "address:port",
    "id": "number",
    "count": "count",
    "mean": "mean count",
    "per_second": "per second",
    "part": "part of 1",
    "ratio": "ratio",
    "us": "microseconds",
    "bytes": "bytes",
}
_WHOLE: Final = ("count", "us", "bytes")


def markdown() -> str:
    """The reference: every column of TCP, of UDP and of events."""
    parts = (
        "# Columns",
        "Made from the tables in `tracer/accepttrace/views/columns/` by `make docs`. The field is"
        " the column's name in `--sort`, and in JSON Lines and CSV, where labels that are made of"
        " several fields (a listener's address and port) stand as these fields. `n/a` in the table,"
        " null in JSON and empty in CSV: not known, never 0. A table has as many columns as its"
        " width has room for, the most important first, and none that has nothing to show.",
        "## Accepts",
        "\n".join(_table(tcp.TABLE)),
        "## Datagrams (`--udp`)",
        "\n".join(_table(udp.TABLE)),
        "## Connections (`events`)",
        "\n".join(_table(connections.TABLE)),
    )
    return "\n\n".join(parts) + "\n"


def _table(table: Table[Any]) -> Iterator[str]:
    yield "| column | field | kind | unit | rows | meaning |"
    yield "|---|---|---|---|---|---|"
    for one in table.columns:
        rows = ", ".join(one.by) or "all"
        yield (
            f"| {one.title} | `{one.key}` | {one.kind} | {UNITS[one.unit]} | {rows} | {one.help} |"
        )


def properties(table: Table[Any], rows: Mapping[str, object]) -> dict[str, object]:
    """Properties of a row in a schema: those of its fields, and those that columns make."""
    fields = {key: one for key, one in rows.items() if key in table.fields}
    made = {one.key: _property(one) for one in table.made()}
    return {**fields, **made}


def required(table: Table[Any], fields: Iterable[str]) -> list[str]:
    """Those that each row has, of whatever kind; `fields`: the same of a schema as it is."""
    made = [one.key for one in table.made() if not one.by]
    return [*(key for key in fields if key in table.fields), *made]


def _property(column: Column[Any]) -> dict[str, object]:
    number = "integer" if column.unit in _WHOLE else "number"
    return {"type": [number, "null"], "minimum": 0, "description": column.help}
