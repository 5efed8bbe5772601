"""Which columns fit into a width, how wide each becomes, and the cells set into lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic

from accepttrace.views.columns.column import Column, Row, Table
from accepttrace.views.formats import shorten
from accepttrace.views.text import cells, pad

GAP: Final = " "
TITLE_AND_TOTAL: Final = 2  # lines of a table besides its rows
COMFORT: Final = 24  # cells that an elastic column may want before a further column is let in


@dataclass(slots=True)
class Strip(Generic[Row]):
    """One column with its cells as text: the title, the rows, the total or nothing."""

    column: Column[Row]
    cells: list[str]
    empty: bool  # nothing in it that is worth a column
    width: int = field(init=False)
    natural: int = field(init=False)  # the width that cuts nothing

    def __post_init__(self) -> None:
        self.natural = max(map(cells, self.cells))

    @classmethod
    def of(
        cls,
        table: Table[Row],
        column: Column[Row],
        rows: Sequence[Row],
        everyone: Sequence[Row],
    ) -> Strip[Row]:
        """A formatted column of `rows`, with the total of everyone where there is one."""
        values, total = column.shown(rows), table.total(column, everyone)
        if column.hide_if_same:
            empty = len(set(column.shown(everyone))) < 2
        else:
            empty = all(value in column.hide_if for value in (*values, total or None))
        if total is None:
            return cls(column, [column.title, *column.text(values), ""], empty)
        return cls(column, [column.title, *column.text([*values, total])], empty)

    @property
    def least(self) -> int:
        """The width below which it is of no use."""
        return self.natural if self.column.least is None else min(self.natural, self.column.least)

    def fitted(self, cell: str) -> str:
        """A cell that is too long, cut where it hurts least."""
        return shorten(cell, self.width) if self.column.unit == "endpoint" else cell


def strips(
    table: Table[Row],
    by: str,
    rows: Sequence[Row],
    everyone: Sequence[Row],
    width: int,
    keys: Sequence[str] = (),
) -> list[Strip[Row]]:
    """The columns that fit, with the cells of `rows` and the totals of everyone.

    Those named by `keys` in their order, if any, whether or not there is something to show.
    """

    def make(column: Column[Row]) -> Strip[Row]:
        return Strip.of(table, column, rows, everyone)

    if keys:
        wanted = [replace(make(table.column(key)), empty=False) for key in keys]
        found = fit(wanted, (), width, {key: place for place, key in enumerate(keys)})
        label_total(found)
        return found
    base, more = table.chosen(by)
    order = {key: place for place, key in enumerate(table.keys())}
    found = fit(map(make, base), map(make, more), width, order)
    label_total(found)
    return found


def fit(
    base: Iterable[Strip[Row]],
    more: Iterable[Strip[Row]],
    width: int,
    order: Mapping[str, int],
) -> list[Strip[Row]]:
    """As many as fit, in the order of the table, their widths set; the first always does."""
    taken: list[Strip[Row]] = []
    for one in base:
        if not one.empty and not _take(one, taken, width):
            break
    dear = list(taken)
    for one in more:
        if not one.empty and not _take(one, taken, width - _wanted(taken)):
            break
    _stretch(dear, width - _used(taken))
    _stretch(taken, width - _used(taken))
    return sorted(taken, key=lambda one: order[one.column.key])


def lines(strips: Sequence[Strip[Row]]) -> list[str]:
    """The cells set side by side: the titles first."""
    padded = [
        [pad(one.fitted(cell), one.width, one.column.align) for cell in one.cells] for one in strips
    ]
    return [GAP.join(row) for row in zip(*padded, strict=True)]


def limited(rows: int, room: int | None, wanted: int | None) -> int:
    """How many rows to show: where some are left out, a line says so."""
    limit = rows if wanted is None else min(rows, max(wanted, 0))
    if room is not None and limit + (limit < rows) > room:
        limit = max(room - 1, 1)
    return limit


def label_total(strips: Sequence[Strip[Row]]) -> None:
    """In the first column that has no total, if the word fits."""
    for one in strips:
        if not one.cells[-1] and one.width >= len("TOTAL"):
            one.cells[-1] = "TOTAL"
            return


def _take(one: Strip[Row], taken: list[Strip[Row]], width: int) -> bool:
    if taken and _used(taken) + len(GAP) + one.least > width:
        return False
    one.width = min(one.least, width)
    taken.append(one)
    return True


def _used(strips: Sequence[Strip[Row]]) -> int:
    return sum(one.width for one in strips) + len(GAP) * (len(strips) - 1)


def _wanted(strips: Sequence[Strip[Row]]) -> int:
    return sum(max(min(one.natural, COMFORT) - one.width, 0) for one in strips)


def _stretch(strips: Sequence[Strip[Row]], room: int) -> None:
    """Hand out what is left, cell by cell, to those who are cut."""
    while room > 0:
        cut = [one for one in strips if one.width < one.natural]
        if not cut:
            return
        for one in cut[:room]:
            one.width += 1
            room -= 1
