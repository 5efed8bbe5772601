"""Write what is made of tables of data: columns.md, explain.md, metrics.md, the JSON schemas."""

from __future__ import annotations

import json
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import msgspec

from accepttrace.model.verdict import WORDS
from accepttrace.model.who.diagnosis import KINDS
from accepttrace.store.steps import Step
from accepttrace.views import explain, metrics
from accepttrace.views.columns import reference, tcp, udp
from accepttrace.views.columns.column import Table

ROOT: Final = Path(__file__).parents[1]
VIEWS: Final = ROOT / "tracer" / "accepttrace" / "views"
STORE: Final = ROOT / "tracer" / "accepttrace" / "store"
_CHART: Final = "a specification of Vega-Lite, with its numbers in `data.values`"
SHARED: Final = ("verdict", "standout", "pattern", "run", "turn")  # definitions of both schemas


def files() -> dict[Path, str]:
    """Each file with what it should say."""
    return {
        ROOT / "docs" / "columns.md": reference.markdown(),
        ROOT / "docs" / "explain.md": explain.markdown(),
        ROOT / "docs" / "metrics.md": metrics.markdown(),
        VIEWS / "schema.json": _schema(VIEWS / "schema.json", "acceptor", tcp.TABLE),
        VIEWS / "udp.schema.json": _schema(VIEWS / "udp.schema.json", "socket", udp.TABLE),
        VIEWS / "who.schema.json": _of_who(VIEWS / "who.schema.json"),
        VIEWS / "check.schema.json": _of_check(VIEWS / "check.schema.json"),
        VIEWS / "report.schema.json": _text(_of_reports()),
        STORE / "recording.schema.json": _text(_of_recordings()),
    }


def _of_recordings() -> dict[str, Any]:
    """The schema of a recording's lines: the docstrings of its records describe them."""
    schema = msgspec.json.schema(Step)
    for each in schema["$defs"].values():
        each["description"] = cleandoc(each["description"])  # as Python has it from 3.13 on
    return schema


def _of_reports() -> dict[str, Any]:
    """The schema of report.json: what a run is and its summary are as in a line of JSON."""
    lines = json.loads((VIEWS / "schema.json").read_text())
    chart = {"type": "object", "required": ["$schema"], "description": _CHART}
    parts = {
        "type": {"const": "report"},
        "meta": {"$ref": "#/$defs/meta"},
        "summary": {"$ref": "#/$defs/summary"},
        "charts": {"type": "array", "items": chart},
    }
    return {
        "$schema": lines["$schema"],
        "title": "What accepttrace report -o report.json writes",
        "description": lines["description"],
        "type": "object",
        "properties": parts,
        "required": [*parts],
        "additionalProperties": False,
        "$defs": lines["$defs"],
    }


def _of_check(path: Path) -> str:
    """The schema of `check`: its verdicts are those of every line."""
    schema = json.loads(path.read_text())
    shared = json.loads((VIEWS / "schema.json").read_text())["$defs"]
    schema["$defs"].update({name: shared[name] for name in SHARED})
    return _text(schema)


def _of_who(path: Path) -> str:
    """The schema of `who`: the words of its diagnoses."""
    schema = json.loads(path.read_text())
    schema["$defs"]["diagnosis"]["properties"]["kind"]["enum"] = list(KINDS)
    return _text(schema)


def _schema(path: Path, row: str, table: Table[Any]) -> str:
    schema = json.loads(path.read_text())
    one = schema["$defs"][row]
    one["properties"] = reference.properties(table, one["properties"])
    one["required"] = reference.required(table, one["required"])
    return _text(schema)


def _text(schema: object) -> str:
    _name_words(schema)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _name_words(schema: Any) -> None:
    """Wherever a word of a verdict may stand, any may."""
    if isinstance(schema, dict) and WORDS[0] in schema.get("enum", ()):
        rest = [one for one in schema["enum"] if one not in WORDS]
        schema["enum"] = [*sorted(WORDS), *rest]
    for each in schema.values() if isinstance(schema, dict) else ():
        _name_words(each)


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
