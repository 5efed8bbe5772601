"""Explanations as text for a terminal, and docs/explain.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import shorten, wrap
from typing import Final

from accepttrace.views.explanations import Explanation, Kind, everything

WIDTH: Final = 80
# Of each kind: how a list of them is headed, and how one is named.
KINDS: Final[Mapping[Kind, tuple[str, str]]] = {
    "verdict": ("Verdicts", "verdict"),
    "pattern": ("Patterns in the order of accepts", "pattern"),
    "loss": ("What clients lost or waited for", "of clients"),
    "missed": ("What the tracer lost", "lost by the tracer"),
    "who": ("What `who` finds", "found by who"),
    "question": ("Questions to `who`", "question to who"),
    "remedy": ("What people change", "remedy"),
    "column": ("Columns", "column"),
    "udp": ("Columns of --udp", "column of --udp"),
}
_INDENT: Final = "  "


def text(explanations: Iterable[Explanation], width: int = WIDTH) -> str:
    """Each in full, with an empty line between two."""
    return "\n\n".join("\n".join(lines(one, width)) for one in explanations)


def lines(one: Explanation, width: int = WIDTH) -> list[str]:
    """One, in lines of at most `width` cells."""
    paragraphs = [one.means, *(f"{label}: {words}" for label, words in _labelled(one))]
    found = [f"{one.word} ({KINDS[one.kind][1]})"]
    for paragraph in paragraphs:
        found += wrap(
            paragraph,
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            break_on_hyphens=False,
        )
    return found


def _labelled(one: Explanation) -> Iterator[tuple[str, str]]:
    why, do = ("Helps", "Costs") if one.kind == "remedy" else ("Why", "What to do")
    if one.why:
        yield why, one.why
    if one.do:
        yield do, one.do


def listing(width: int = WIDTH) -> str:
    """Every word with the beginning of its meaning, by kind."""
    kinds = _by_kind()
    names = max(len(one.word) for words in kinds.values() for one in words)
    found: list[str] = []
    for kind, words in kinds.items():
        found += ["", f"{KINDS[kind][0]}:"]
        for one in words:
            begin = f"{_INDENT}{one.word:{names}}  "
            found.append(begin + shorten(one.means, width - len(begin), placeholder="..."))
    return "\n".join(found[1:])


def _by_kind() -> dict[Kind, list[Explanation]]:
    kinds: dict[Kind, list[Explanation]] = {kind: [] for kind in KINDS}
    for one in everything():
        kinds[one.kind].append(one)
    return kinds


def markdown() -> str:
    """The reference: every word but columns that have no more to say than columns.md."""
    parts = [
        "# What the words mean",
        "Made from `tracer/accepttrace/views/explanations.py` by `make docs`, and shown by"
        " `accepttrace explain WORD`. [columns.md](columns.md) has every column.",
    ]
    for kind, words in _by_kind().items():
        parts.append(f"## {KINDS[kind][0]}")
        parts += [part for one in words if one.why or one.do for part in _section(one)]
    return "\n\n".join(parts) + "\n"


def _section(one: Explanation) -> Iterator[str]:
    yield f"### {one.word}"
    yield one.means
    yield from (f"**{label}:** {words}" for label, words in _labelled(one))
