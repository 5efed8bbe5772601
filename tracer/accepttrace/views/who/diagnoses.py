"""Diagnoses in words, and as objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from accepttrace.facts.records import Listener
from accepttrace.model.who.diagnosis import Diagnosis
from accepttrace.views.formats import endpoint, plural
from accepttrace.views.jsonl import PLACE_FIELDS, named
from accepttrace.views.text import clean, flowed
from accepttrace.views.who.holders import Style

SHOWN: Final = 16  # the gravest; JSON has all


def diagnosis_lines(
    found: Sequence[Diagnosis], style: Style, namespaces: Mapping[int, str]
) -> Iterator[str]:
    """The fact, then what to do. What is said of one kind to do is said once.

    `namespaces`: what those are called that are to be named.
    """
    shown = found if style.full else found[:SHOWN]
    said = set()
    for one in shown:
        parts = (one.kind, _place(one), namespaces.get(one.netns, ""), clean(one.text))
        words = " ".join(filter(None, parts)).split(" ")
        yield from flowed(words, style.width, "  ", " ")
        if one.kind not in said:
            yield from flowed(("  ->", *one.do.split(" ")), style.width, "     ", " ")
        said.add(one.kind)
    if len(shown) < len(found):
        yield f"{plural(len(found) - len(shown), 'more finding')}: --full, or -o jsonl"


def diagnosis_object(one: Diagnosis) -> dict[str, object]:
    """For JSON."""
    return {
        "kind": one.kind,
        "fault": one.is_fault,
        **place_object(one),
        "text": one.text,
        "do": one.do,
        "inodes": list(one.inodes),
        "pids": list(one.pids),
    }


def place_object(row: Diagnosis | Listener) -> dict[str, object]:
    """Where it is. UNIX sockets have no port."""
    place = named(row, PLACE_FIELDS)
    return place | {"local_port": None} if row.family == "unix" else place


def _place(one: Diagnosis) -> str:
    return endpoint(one.local_address, one.local_port, one.family, None, one.device)
