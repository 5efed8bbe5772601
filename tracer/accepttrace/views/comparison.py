"""Two runs side by side: a table for each place, or one object for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf
from typing import Final

from accepttrace.model.comparison import UNITS, Comparison, Difference, Measured, Name
from accepttrace.model.snapshot import Snapshot
from accepttrace.views.formats import NA, duration, endpoint, plural, ratios, span
from accepttrace.views.jsonl import dump
from accepttrace.views.text import cells, clean, pad

SCHEMA: Final = 1
TITLES: Final[Mapping[Name, str]] = {
    "connections": "connections",
    "rate": "a second",
    "workers": "workers that took any",
    "verdict": "verdict",
    "max_ratio": "most, to its share",
    "wait_p50": "wait p50",
    "wait_p99": "wait p99",
    "wait_max": "longest wait",
    "lost": "lost by clients",
    "queue_max": "longest queue",
    "open_connections": "open at the end",
    "open_max_ratio": "most open, to its part",
    "empty_accepts": "EAGAIN",
}
MARKS: Final[Mapping[bool | None, str]] = {
    True: "beyond chance",
    False: "chance explains it",
    None: "",
}


def text(
    found: Sequence[Comparison], names: tuple[str, str], runs: tuple[Snapshot, Snapshot]
) -> str:
    """A header with the two runs, then for each place what was measured in both."""
    lines = []
    for word, name, run in zip(("before", "after"), names, runs, strict=True):
        what = f"{clean(run.meta.asked)}, {run.meta.started}, {span(run.elapsed_s)}"
        lines.append(f"{word:<7} {clean(name)}: {what}")
    for one in found:
        if one.in_both:
            lines += ["", *_table(one)]
    alone = [_alone(one) for one in found if not one.in_both]
    lines += ["", *alone] if alone else []
    if not found:
        lines += ["", "no connections in either"]
    return "".join(line + "\n" for line in lines)


def json_line(
    found: Sequence[Comparison], names: tuple[str, str], runs: tuple[Snapshot, Snapshot]
) -> str:
    """One object; `diff.schema.json` beside this file is the contract."""
    sides = {
        word: {"file": name, "started": run.meta.started, "elapsed_s": round(run.elapsed_s, 3)}
        for word, name, run in zip(("before", "after"), names, runs, strict=True)
    }
    places = [{**_names(one), "differences": list(map(_object, one.differences))} for one in found]
    return dump({"type": "diff", "schema": SCHEMA, **sides, "places": places}) + "\n"


def _names(one: Comparison) -> dict[str, object]:
    return {**one.place._asdict(), "local_port": one.place.local_port or None}


def _table(one: Comparison) -> list[str]:
    columns = [[_place(one)], ["BEFORE"], ["AFTER"], [""]]
    for each in one.differences:
        sides = [_shown(each.name, side) for side in (each.before, each.after)]
        for column, cell in zip(
            columns, (f"  {TITLES[each.name]}", *sides, _mark(each)), strict=True
        ):
            column.append(cell)
    widths = [max(map(cells, column)) for column in columns]
    lines = []
    for name, before, after, mark in zip(*columns, strict=True):
        numbers = f"{pad(before, widths[1], 'right')}  {pad(after, widths[2], 'right')}"
        lines.append(f"{pad(name, widths[0], 'left')}  {numbers}  {mark}".rstrip())
    return lines


def _alone(one: Comparison) -> str:
    """A line for a place that only one of the runs has connections of."""
    before, after = one.connections
    word, number = ("before", before) if after is None else ("after", after)
    return f"only {word}: {_place(one)}, {plural(number or 0, 'connection')}"


def _place(one: Comparison) -> str:
    place = one.place
    return endpoint(place.local_address, place.local_port, place.family, None)


def _mark(each: Difference) -> str:
    return MARKS[each.beyond_chance] if each.before.value != each.after.value else ""


def _shown(name: Name, measured: Measured) -> str:
    value, unit = measured.value, UNITS[name]
    if value is None:
        return NA
    if isinstance(value, str):
        return value
    if unit == "us":
        return duration(int(value))
    if unit == "ratio":
        (text,) = ratios([value])
        return f"{text}x"
    return f"{value:,.1f}" if unit == "rate" else f"{int(value):,}"


def _object(each: Difference) -> dict[str, object]:
    return {
        "name": each.name,
        "unit": UNITS[each.name],
        "before": _side(each.before),
        "after": _side(each.after),
        "beyond_chance": each.beyond_chance,
    }


def _side(measured: Measured) -> dict[str, object]:
    """An end of a range that is not finite is null."""
    values = measured._asdict().items()
    return {key: None if isinstance(one, float) and isinf(one) else one for key, one in values}
