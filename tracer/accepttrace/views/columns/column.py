"""What a column is, and a table of them. A row may be of any kind: of TCP, of UDP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final, Generic, Literal, TypeVar

from accepttrace.views import formats
from accepttrace.views.text import Align, clean

Row = TypeVar("Row")
Kind = Literal["label", "counter", "gauge"]
Unit = Literal[
    "text", "endpoint", "id", "count", "mean", "per_second", "part", "ratio", "us", "bytes"
]

UNKNOWN: Final = (None, "")
NOTHING: Final = (None, 0)
_NUMBERS: Final = (int, float)  # `int | float` takes three times as long


def words(values: Sequence[object]) -> list[str]:
    """Names as others chose them, made harmless."""
    return [formats.NA if value is None else clean(str(value)) for value in values]


FORMATS: Final[Mapping[Unit, Callable[[Sequence[object]], list[str]]]] = {
    "text": words,
    "endpoint": words,
    "id": formats.numbers,
    "count": formats.counts,
    "mean": formats.ratios,
    "per_second": formats.rates,
    "part": formats.shares,
    "ratio": formats.ratios,
    "us": formats.times,
    "bytes": formats.counts,
}
# Of what is written for programs; more would only make the lines long.
DECIMALS: Final[Mapping[Unit, int]] = {"mean": 3, "per_second": 3, "part": 6, "ratio": 4}


def its_own(_: object) -> object:
    """Stands for the field of a row that a column is named after, until a table has the column."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """`key` is its name in `--sort`, and in JSON and CSV, which have all counters and gauges.

    `value`: what is sorted, added up and written; None: not known. By default it is the field of
    that name. `cell`: the words that a table
    shows instead. `least` makes it elastic: it may shrink to so many cells before other columns
    give way. It is left out while all that it has to show is in `hide_if`, or, with
    `hide_if_same`, while all rows have the same. Only what `adds_up` has a total. `by`: the kinds
    of rows that it is about; none: all.
    """

    key: str
    title: str
    kind: Kind
    unit: Unit
    help: str
    value: Callable[[Row], object] = its_own
    cell: Callable[[Row], str | None] | None = None
    least: int | None = None
    hide_if: tuple[object, ...] = ()
    hide_if_same: bool = False
    adds_up: bool = False
    by: tuple[str, ...] = ()

    @property
    def align(self) -> Align:
        """Numbers end below each other, words begin so."""
        return "right" if self.least is None else "left"

    def shown(self, rows: Iterable[Row]) -> list[object]:
        """What the cells show, before it is formatted."""
        return [*map(self.cell or self.value, rows)]

    def text(self, values: Sequence[object]) -> list[str]:
        """That as cells."""
        return (words if self.cell else FORMATS[self.unit])(values)

    def written(self, row: Row) -> object:
        """What programs read."""
        value = self.value(row)
        return round(value, DECIMALS.get(self.unit, 3)) if isinstance(value, float) else value

    def is_for(self, by: str) -> bool:
        """Whether rows of this kind have it."""
        return not self.by or by in self.by


def counter(key: str, title: str, help: str, **more: Any) -> Column[Any]:
    """A column of what only grows, and adds up."""
    return Column(key, title, "counter", "count", help, **{"adds_up": True, **more})


def selector(value: Callable[[Row], object]) -> Column[Row]:
    """How the kernel chooses among a group."""
    return Column(
        "selector",
        "SELECTOR",
        "label",
        "text",
        "how the kernel chooses among the group: hash, cbpf, ebpf (with the id and the name of the"
        " program) or incoming_cpu",
        value,
        least=8,
        hide_if=UNKNOWN,
    )


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """Columns in their order from left to right, and what else is to be known of such rows.

    `choice`: by the kind of row, the keys of those to show, the most important first; behind the
    bar are those that only come when nothing else has to shrink for them. One that no kind names
    comes last for each that it is for. `fields`: what JSON and CSV have of a row without columns.
    `is_open`: False for rows whose gauges are gone, and are missing in no total. `record`: what of
    a row has the fields.
    """

    columns: tuple[Column[Row], ...]
    choice: Mapping[str, str]
    fields: tuple[str, ...]
    is_open: Callable[[Row], bool]
    record: str = ""

    def __post_init__(self) -> None:
        known = tuple(map(self._with_value, self.columns))
        object.__setattr__(self, "columns", known)

    def _with_value(self, column: Column[Row]) -> Column[Row]:
        if column.value is not its_own:
            return column
        return replace(column, value=attrgetter(self.record + column.key))

    def column(self, key: str) -> Column[Row]:
        """The one of that name."""
        return next(one for one in self.columns if one.key == key)

    def keys(self) -> tuple[str, ...]:
        """What `--sort` takes."""
        return tuple(one.key for one in self.columns)

    def chosen(self, by: str) -> tuple[list[Column[Row]], list[Column[Row]]]:
        """Columns for rows of this kind, the most important first: always, and in wide windows."""
        base, more = (dict.fromkeys(part.split()) for part in self.choice[by].split("|"))
        named = {key for keys in self.choice.values() for key in keys.split()}
        others = [one for one in self.columns if one.key not in named and one.is_for(by)]
        return [*map(self.column, base)], [*map(self.column, more), *others]

    def made(self, by: str = "") -> list[Column[Row]]:
        """Those that JSON and CSV have beside the fields of a row, of this kind or of any."""
        return [
            one
            for one in self.columns
            if one.kind != "label" and one.key not in self.fields and (not by or one.is_for(by))
        ]

    def decimals(self) -> dict[str, int]:
        """How many a fraction has, by key."""
        return {one.key: DECIMALS[one.unit] for one in self.columns if one.unit in DECIMALS}

    def total(self, column: Column[Row], rows: Sequence[Row]) -> float | None:
        """The sum; None for what cannot be added up, or is not known of every row."""
        if not column.adds_up:
            return None
        found = [(column.value(row), row) for row in rows]
        known = [value for value, _ in found if isinstance(value, _NUMBERS)]
        complete = all(value is not None or not self.is_open(row) for value, row in found)
        return sum(known) if known and complete else None

    def ordered(self, rows: Sequence[Row], key: str) -> list[Row]:
        """Labels from small to large, numbers the largest first, the unknown last.

        Equal ones stay as they are. ValueError: no column of that name.
        """
        if key not in self.keys():
            raise ValueError(f"no column {key!r} to sort by")
        column = self.column(key)
        found = [(column.value(row), row) for row in rows]
        known = [pair for pair in found if pair[0] is not None]
        known.sort(key=_first, reverse=column.kind != "label")
        return [row for _, row in known] + [row for value, row in found if value is None]


def _first(pair: tuple[Any, object]) -> Any:
    return pair[0]
