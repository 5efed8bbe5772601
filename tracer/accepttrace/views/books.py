"""The books: whether all that came to a listener is accounted for, and the amounts if not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from accepttrace.model.snapshot import Books, ListenerRow, Snapshot
from accepttrace.views.formats import NA, known, place_of
from accepttrace.views.losses import sentence, total
from accepttrace.views.text import Line, Span

# The two sides of the equation. What is seldom there is left out of a sentence where it is 0.
CAME: Final = (
    ("queue_start", "at start"),
    ("arrived", "arrived"),
    ("migrated_in", "moved in"),
)
LEFT: Final = (
    ("accepted", "accepted"),
    ("unseen", "accepted unseen"),
    ("queue", "waiting"),
    ("lost_on_close", "lost"),
    ("migrated_out", "moved out"),
)
RARE: Final = frozenset(("migrated_in", "unseen", "migrated_out"))


def word(books: Books) -> Span:
    """For the header."""
    if books.word == "unbalanced":
        return ("books UNBALANCED", "bold red")
    return (f"books {books.word}", "" if books.word == "balanced" else "dim")


def unbalanced(snapshot: Snapshot, width: int) -> list[Line]:
    """The amounts of every listener whose book does not balance."""
    lines: list[Line] = []
    for row in snapshot.listeners:
        if row.book == "unbalanced":
            place = place_of(row)
            head = f"books of {place} inode {row.inode}:"
            amounts = {field: _amount([row], field) for field, _ in (*CAME, *LEFT)}
            off = _off(amounts, row.imbalance)
            left = _side(amounts, LEFT, RARE)
            parts = [_side(amounts, CAME, RARE), f"but {left}: {off}"]
            lines += sentence(head, parts, width, "bold red")
    return lines


def totals(snapshot: Snapshot, width: int) -> list[Line]:
    """All listeners together, for the footer. Under load the sides are not of the same moment."""
    rows = snapshot.listeners
    amounts = {field: _amount(rows, field) for field, _ in (*CAME, *LEFT)}
    amounts["unseen"] = snapshot.books.unseen  # known also where no listener can be blamed
    parts = [f"{verb} {side}" for verb, side in _sides(amounts) if side]
    hidden = [name for field, name in (*CAME, *LEFT) if amounts[field] is None]
    if hidden:
        parts.append(f"{NA}: {', '.join(hidden)}")
    return sentence(f"books {snapshot.books.word}:", parts, width, "dim")


def accounted(snapshot: Snapshot) -> tuple[int, list[str]]:
    """How many connections are accounted for, and what became of them, where that is not 0."""
    amounts = {field: _amount(snapshot.listeners, field) or 0 for field, _ in LEFT}
    amounts["unseen"] = snapshot.books.unseen or 0
    parts = [f"{amounts[field]:,} {name}" for field, name in LEFT if amounts[field]]
    return sum(amounts.values()), parts


def _sides(amounts: Mapping[str, int | None]) -> tuple[tuple[str, str], tuple[str, str]]:
    """What is visible of both."""
    came, left = (
        [(field, name) for field, name in side if amounts[field] is not None]
        for side in (CAME, LEFT)
    )
    return ("came", _side(amounts, came)), ("went", _side(amounts, left))


def _side(
    amounts: Mapping[str, int | None],
    fields: Sequence[tuple[str, str]],
    rare: frozenset[str] = frozenset(),
) -> str:
    return " + ".join(
        f"{known(amounts[field])} {name}"
        for field, name in fields
        if amounts[field] or field not in rare
    )


def _amount(rows: Sequence[ListenerRow], field: str) -> int | None:
    """Of the listeners together; nothing waits where a queue is gone."""
    if field == "queue":
        rows = [row for row in rows if row.open]
        return total(rows, field) if rows else 0
    return total(rows, field)


def _off(amounts: Mapping[str, int | None], imbalance: int | None) -> str:
    """What is missing or too much: at least so much, where connections were under way."""
    if imbalance is None:
        return "the difference is not known"
    came, left = (sum(amounts[field] or 0 for field, _ in side) for side in (CAME, LEFT))
    limit = "" if came - left == imbalance else "at least "
    return f"{limit}{abs(imbalance):,} {'unaccounted for' if imbalance > 0 else 'more than came'}"
