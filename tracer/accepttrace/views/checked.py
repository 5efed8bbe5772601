"""The answer of `accepttrace check`: as lines, as one JSON object, as JUnit XML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from accepttrace.model.conditions import UNITS, Outcome, Unit, result
from accepttrace.model.snapshot import Snapshot
from accepttrace.views.formats import NA, duration, plural, ratios, shares
from accepttrace.views.jsonl import SCHEMA, dump, verdict
from accepttrace.views.text import clean
from accepttrace.views.verdicts import sentences

HELD: Final[Mapping[bool | None, str]] = {True: "ok", False: "FAILED", None: "no verdict"}
RESULT: Final[Mapping[bool | None, str]] = {True: "passed", False: "failed", None: "no verdict"}
BOUND: Final = {"max-": "at most ", "min-": "at least "}
DECIMALS: Final[Mapping[Unit, int]] = {"share": 4, "ratio": 4}


def text(outcomes: Sequence[Outcome], snapshot: Snapshot) -> str:
    """A line for each condition, and one with the result and the verdict."""
    return "".join(line + "\n" for line in (*map(_line, outcomes), _last(outcomes, snapshot)))


def json_line(outcomes: Sequence[Outcome], snapshot: Snapshot) -> str:
    """One object; `check.schema.json` beside this file is the contract."""
    return dump(_object(outcomes, snapshot)) + "\n"


def junit(outcomes: Sequence[Outcome], snapshot: Snapshot) -> str:
    """One test case for each condition; what could not be judged is skipped."""
    from xml.etree import ElementTree

    suites = ElementTree.Element("testsuites")
    number = {held: str(sum(1 for one in outcomes if one.held is held)) for held in HELD}
    counts = {"tests": str(len(outcomes)), "failures": number[False], "skipped": number[None]}
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        {
            "name": clean(f"accepttrace check {snapshot.meta.asked}"),
            **counts,
            "errors": "0",
            "time": f"{snapshot.elapsed_s:.3f}",
            "timestamp": snapshot.time.partition(".")[0].removesuffix("Z"),
        },
    )
    for one in outcomes:
        name = clean(one.condition.option)
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "accepttrace.check", "name": name, "time": "0"}
        )
        if one.held is not True:
            kind = "skipped" if one.held is None else "failure"
            ElementTree.SubElement(case, kind, {"message": _measured(one)}).text = _found(one)
    ElementTree.SubElement(suite, "system-out").text = _last(outcomes, snapshot)
    ElementTree.indent(suites)
    # In ASCII: whatever the encoding of the output is, it is what the first line says.
    made: bytes = ElementTree.tostring(suites, "us-ascii", xml_declaration=True)
    return made.decode() + "\n"


def _line(one: Outcome) -> str:
    return f"{HELD[one.held]:<10}  {clean(one.condition.option)}: {_found(one)}"


def _found(one: Outcome) -> str:
    rest = f"; {clean(one.text)}" if one.text else ""
    return f"{_measured(one)}, allowed {_allowed(one)}{rest}"


def _measured(one: Outcome) -> str:
    return f"measured {_number(one, one.measured)}"


def _allowed(one: Outcome) -> str:
    bound = BOUND.get(one.condition.name[:4], "")
    return bound + _number(one, one.condition.allowed)


def _number(one: Outcome, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return NA if value is None else value
    unit = UNITS[one.condition.name]
    if unit == "us":
        return duration(round(value))
    if unit not in DECIMALS:
        return f"{value:,}"
    (text,) = {"share": shares, "ratio": ratios}[unit]([value])
    return text


def _last(outcomes: Sequence[Outcome], snapshot: Snapshot) -> str:
    held = result(outcomes)
    alike = sum(1 for one in outcomes if one.held is held)
    total = plural(len(outcomes), "condition")
    what = {
        True: f"PASSED: {total}",
        False: f"FAILED: {alike} of {total}",
        None: f"NO VERDICT: {alike} of {total} could not be judged",
    }[held]
    return "; ".join((what, *sentences(snapshot)[:1]))


def _object(outcomes: Sequence[Outcome], snapshot: Snapshot) -> dict[str, object]:
    return {
        "type": "check",
        "schema": SCHEMA,
        "version": snapshot.meta.version,
        "time": snapshot.time,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        "filter": snapshot.meta.asked,
        "attach": snapshot.meta.attach,
        "result": RESULT[result(outcomes)],
        "accepts": snapshot.books.accepts,
        "conditions": [_condition(one) for one in outcomes],
        "verdict": snapshot.verdicts[0].finding.word if snapshot.verdicts else None,
        "verdicts": [verdict(one) for one in snapshot.verdicts],
    }


def _condition(one: Outcome) -> dict[str, object]:
    unit = UNITS[one.condition.name]
    return {
        "name": one.condition.name,
        "held": one.held,
        "unit": unit,
        "measured": _rounded(one.measured, unit),
        "allowed": one.condition.allowed,
        "quantile": one.condition.quantile if one.condition.name == "max-wait" else None,
        "text": one.text,
    }


def _rounded(value: float | str | None, unit: Unit) -> float | str | None:
    return round(value, DECIMALS.get(unit)) if isinstance(value, float) else value
