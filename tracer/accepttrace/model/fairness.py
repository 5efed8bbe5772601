"""How the accepts of a row compare with an even split over those who could have taken them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from accepttrace.model.listeners import SetKey

Row = TypeVar("Row", bound=Hashable)


class Part(NamedTuple):
    """What a row has to do with one sharing set."""

    accepts: int
    takes_part: bool


def fair_ratios(
    parts: Mapping[tuple[Row, SetKey], Part], unknown: Collection[SetKey] = ()
) -> dict[Row, float]:
    """Accepts over the mean of the set, for rows that take part; over all sets of a row.

    Rows that take part nowhere are left out, as are those of a set in `unknown` (not everybody in
    it was counted) and of sets that nobody accepted from: there is no ratio to speak of.
    """
    means = _means(parts)
    got: defaultdict[Row, int] = defaultdict(int)
    fair: defaultdict[Row, float] = defaultdict(float)
    barred: set[Row] = set()
    for (row, members), part in parts.items():
        if members in unknown:
            barred.add(row)
        if part.takes_part:
            got[row] += part.accepts
            fair[row] += means[members]
    return {row: got[row] / mean for row, mean in fair.items() if mean and row not in barred}


def _means(parts: Mapping[tuple[Row, SetKey], Part]) -> dict[SetKey, float]:
    taken: defaultdict[SetKey, int] = defaultdict(int)
    takers: defaultdict[SetKey, int] = defaultdict(int)
    for (_, members), part in parts.items():
        if part.takes_part:
            taken[members] += part.accepts
            takers[members] += 1
    return {members: taken[members] / count for members, count in takers.items()}


def merged(
    parts: Iterable[tuple[tuple[Row, SetKey], Part]],
) -> dict[tuple[Row, SetKey], Part]:
    """Sums the parts that belong to the same row and set."""
    sums: dict[tuple[Row, SetKey], Part] = {}
    for key, part in parts:
        old = sums.get(key)
        if old is not None:
            part = Part(old.accepts + part.accepts, old.takes_part or part.takes_part)
        sums[key] = part
    return sums
