"""What this machine offers, as text or JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, replace
from itertools import groupby

from accepttrace.facts.diagnosis import Diagnosis, Way
from accepttrace.views.jsonl import dump
from accepttrace.views.text import clean

_MARKS = {"good": "ok", "missing": "MISSING", "note": "note"}
_MARGIN = " " * 22


def text(diagnosis: Diagnosis, width: int = 80, verbose: bool = False) -> str:
    """Findings, then by loader every attach type with its reason, then the one that will be used.

    `verbose`: also what the loader, the compiler and the verifier said, uncut.
    """
    lines = []
    for finding in diagnosis.findings:
        lines += _row(finding.name, _MARKS[finding.state], finding.text, finding.advice, width)
    for loader, group in groupby(diagnosis.ways, key=lambda way: way.loader):
        ways = tuple(group)
        lines += ["", f"With {loader}:"]
        if len({way.reason for way in ways}) == 1 and ways[0].reason is not None:
            ways = (replace(ways[0], attach="any"),)  # the loader itself is what does not work
        for way in ways:
            lines += _way(way, width)
            if verbose and way.detail:
                lines += [
                    _MARGIN + clean(line) for line in way.detail.strip().expandtabs().split("\n")
                ]
    lines += ["", _conclusion(diagnosis.chosen)]
    return "\n".join(lines)


def _way(way: Way, width: int) -> list[str]:
    mark = "works" if way.reason is None else "no"
    story = "attached, and proved by loopback connections"
    lines = _row(way.attach, mark, way.reason or story, way.advice, width)
    if way.reason is None:
        unseen = "; ".join(way.blind_spots) or "nothing"
        lines += _hanging(f"not seen: {unseen}", width)
    return lines


def as_json(diagnosis: Diagnosis) -> str:
    """One JSON object: findings, ways, chosen (attach type and loader, or null)."""
    chosen = diagnosis.chosen
    picked = {"attach": chosen.attach, "loader": chosen.loader} if chosen else None
    return dump({"type": "doctor", "schema": 1, **asdict(diagnosis), "chosen": picked})


def _row(name: str, mark: str, story: str, advice: str, width: int) -> list[str]:
    first = f"{name:<12}  {mark:<8}"
    lines = textwrap.wrap(clean(f"{first}{story}"), width, subsequent_indent=_MARGIN)
    if advice:
        lines += _hanging(f"next: {advice}", width)
    return lines


def _hanging(story: str, width: int) -> list[str]:
    return textwrap.wrap(clean(story), width, initial_indent=_MARGIN, subsequent_indent=_MARGIN)


def _conclusion(chosen: Way | None) -> str:
    if chosen is None:
        return "No attach type works here: accepttrace cannot trace (`accepttrace who` still can)."
    return f"accepttrace will use {chosen.attach} ({chosen.loader})."
