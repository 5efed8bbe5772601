"""Which columns fit into a width, how wide they become, and how many rows there is room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from accepttrace.views.columns.column import Column, Table
from accepttrace.views.layout import COMFORT, Strip, fit, label_total, limited, lines, strips

Words = Column[Mapping[str, Any]]


def strip(key: str, natural: int, least: int | None = None, *, empty: bool = False) -> Strip[Any]:
    """A column that wants so many cells, and may shrink to `least`."""
    column: Words = Column(key, key, "label", "text", "", least=least)
    return Strip(column, [key, key * natural], empty)


def widths(
    base: Sequence[Strip[Any]], width: int, more: Sequence[Strip[Any]] = (), order: str = "abcdef"
) -> dict[str, int]:
    """From left to right."""
    places = {key: place for place, key in enumerate(order)}
    return {one.column.key: one.width for one in fit(base, more, width, places)}


@pytest.mark.parametrize(
    ("width", "taken"),
    [
        (2, {"a": 2}),  # the first one always
        (4, {"a": 4}),
        (7, {"a": 4}),
        (8, {"a": 4, "b": 3}),
        (10, {"a": 4, "b": 3}),
        (11, {"a": 4, "b": 3, "c": 2}),
        (99, {"a": 4, "b": 3, "c": 2}),
    ],
)
def test_as_many_columns_are_taken_as_fit(width: int, taken: dict[str, int]) -> None:
    assert widths([strip("a", 4), strip("b", 3), strip("c", 2)], width) == taken


def test_columns_stand_in_the_order_of_the_table() -> None:
    assert list(widths([strip("c", 2), strip("a", 2)], 9, [strip("b", 2)])) == ["a", "b", "c"]


def test_what_has_nothing_to_show_takes_no_room_and_ends_nothing() -> None:
    empty = strip("a", 9, empty=True)
    assert widths([empty, strip("b", 3)], 7, [strip("c", 9, empty=True), strip("d", 3)]) == {
        "b": 3,
        "d": 3,
    }


def test_one_that_does_not_fit_ends_the_list() -> None:
    assert widths([strip("a", 4), strip("b", 9), strip("c", 1)], 10) == {"a": 4}
    assert widths([strip("a", 4)], 10, [strip("b", 9), strip("c", 1)]) == {"a": 4}


def test_what_is_left_is_handed_out_evenly_to_those_who_are_cut() -> None:
    for width, taken in (
        (5, {"a": 2, "b": 2}),
        (6, {"a": 3, "b": 2}),
        (7, {"a": 3, "b": 3}),
        (9, {"a": 5, "b": 3}),
        (20, {"a": 8, "b": 3}),
    ):
        assert widths([strip("a", 8, 2), strip("b", 3, 2)], width) == taken
    assert widths([strip("a", 1, 2)], 9) == {"a": 1}  # needs less than its least


def test_a_further_column_comes_when_no_other_has_to_shrink_for_it() -> None:
    """But those that could go on growing do so only to a comfortable width."""
    for natural, wanted in ((10, 10), (COMFORT, COMFORT), (90, COMFORT)):
        for width, found in ((wanted + 3, ["a"]), (wanted + 4, ["a", "b"])):
            assert list(widths([strip("a", natural, 4)], width, [strip("b", 3)])) == found
    assert widths([strip("a", 30, 4)], 31, [strip("b", 5, 2)]) == {"a": 28, "b": 2}
    assert widths([strip("a", 30, 4)], 34, [strip("b", 5, 2)]) == {"a": 30, "b": 3}
    assert widths([strip("a", 4)], 60, [strip("b", 40, 2)]) == {"a": 4, "b": 40}


@pytest.mark.parametrize(
    ("rows", "room", "wanted", "shown"),
    [
        (5, None, None, 5),
        (5, None, 3, 3),
        (5, None, 9, 5),
        (5, None, 0, 0),
        (5, None, -1, 0),
        (5, 5, None, 5),
        (5, 4, None, 3),  # one line says what is left out
        (5, 1, None, 1),
        (5, 0, None, 1),
        (5, 4, 3, 3),
        (5, 3, 3, 2),
    ],
)
def test_rows_are_limited_by_the_window_and_by_what_is_asked_for(
    rows: int, room: int | None, wanted: int | None, shown: int
) -> None:
    assert limited(rows, room, wanted) == shown


def table(*columns: Words, choice: str = "") -> Table[Mapping[str, Any]]:
    return Table(columns, {"x": choice or "|"}, (), lambda row: bool(row.get("open", True)))


def number(key: str, **more: Any) -> Words:
    return Column(key, key.upper(), "gauge", "count", "", lambda row: row.get(key), **more)


def test_a_column_has_its_title_its_rows_and_its_total() -> None:
    sums, plain, name = number("n", adds_up=True), number("m"), strip("name", 1, 5).column
    rows = [{"n": 1200, "m": 7, "name": "w"}, {"n": None, "open": False}]
    made = {one.key: Strip.of(table(one), one, rows[:1], rows) for one in (sums, plain)}
    assert made["n"].cells == ["N", "1,200", "1,200"]
    assert made["m"].cells == ["M", "7", ""]
    assert (made["n"].natural, made["m"].natural) == (5, 1)
    found = [made["n"], made["m"]]
    for one in found:
        one.width = 6
    assert lines(found) == ["     N      M", " 1,200      7", " 1,200       "]
    label_total(found)
    assert made["m"].cells[-1] == "TOTAL"
    assert name.align == "left"


@pytest.mark.parametrize(("width", "label"), [(4, ""), (5, "TOTAL"), (6, "TOTAL")])
def test_the_total_is_named_where_there_is_room_for_the_word(width: int, label: str) -> None:
    found = [strip("a", 9), strip("b", 9), strip("c", 9)]
    for one, last, cells in zip(found, ("12", "", ""), (9, width, 3), strict=True):
        one.cells, one.width = ["x", last], cells
    label_total(found)
    assert [one.cells[-1] for one in found] == ["12", label, ""]


@pytest.mark.parametrize(
    ("values", "empty"),
    [((0, 0), True), ((0, None), True), ((0, 1), False), ((2, 1), False), ((), True)],
)
def test_a_column_is_empty_while_nothing_in_it_is_worth_one(
    values: tuple[object, ...], empty: bool
) -> None:
    column = number("n", hide_if=(None, 0))
    rows = [{"n": value} for value in values]
    assert Strip.of(table(column), column, rows, rows).empty is empty
    always = number("n")
    assert not rows or not Strip.of(table(always), always, rows, rows).empty


def test_a_column_shows_for_a_total_above_nothing() -> None:
    column = number("n", hide_if=(None, 0), adds_up=True)
    rows = [{"n": 0}, {"n": 3}]
    assert not Strip.of(table(column), column, rows[:1], rows).empty
    assert Strip.of(table(column), column, rows[:1], rows[:1]).empty


def test_a_column_may_be_left_out_where_all_have_the_same() -> None:
    column = number("n", hide_if_same=True)
    for values, empty in (((5, 5), True), ((5,), True), ((), True), ((5, 6), False)):
        rows = [{"n": value} for value in values]
        assert Strip.of(table(column), column, rows[:1], rows).empty is empty


def test_columns_that_are_asked_for_stand_so_whether_or_not_they_have_something() -> None:
    quiet = number("a", hide_if=(None, 0))
    here = table(quiet, number("b"), number("c"), choice="b | c")
    rows = [{"a": 0, "b": 1, "c": 2}]

    def shown(width: int, *keys: str) -> list[str]:
        return [one.column.key for one in strips(here, "x", rows, rows, width, keys)]

    assert shown(80) == ["b", "c"]
    assert shown(80, "c", "a") == ["c", "a"]
    assert shown(1, "c", "a") == ["c"]


def test_a_total_is_known_where_all_that_is_open_is() -> None:
    column = number("n", adds_up=True)
    here = table(column)
    for values, total in (((2, 3.5), 5.5), ((2, 0), 2), ((), None), ((2, None), None)):
        assert here.total(column, [{"n": value} for value in values]) == total
    assert here.total(column, [{"n": 2}, {"n": None, "open": False}]) == 2
    assert here.total(column, [{"n": None, "open": False}]) is None
    assert here.total(number("n"), [{"n": 2}]) is None


def test_rows_are_ordered_by_a_column_and_the_unknown_comes_last() -> None:
    names: Words = Column("name", "NAME", "label", "text", "", lambda row: row.get("name"))
    here = table(number("n"), names)
    rows: list[Mapping[str, Any]] = [
        {"n": 2, "name": "b"},
        {"name": "c"},
        {"n": 5, "name": "a"},
        {"n": 2},
        {},
    ]
    assert here.ordered(rows, "n") == [rows[i] for i in (2, 0, 3, 1, 4)]
    assert here.ordered(rows, "name") == [rows[i] for i in (2, 0, 1, 3, 4)]
    with pytest.raises(ValueError, match="no column 'x' to sort by"):
        here.ordered(rows, "x")


def test_programs_read_fractions_with_the_decimals_of_their_unit() -> None:
    decimals = {"mean": 3, "per_second": 3, "part": 6, "ratio": 4, "count": 3}
    for unit, digits in decimals.items():
        column: Words = Column("n", "N", "gauge", unit, "", lambda row: row["n"])  # type: ignore[arg-type]
        assert column.written({"n": 2 / 3}) == round(2 / 3, digits)
        assert column.written({"n": 7}) == 7
        assert column.written({"n": None}) is None
    assert table(number("a"), column).decimals() == {}


def test_a_kind_of_rows_has_its_columns_and_those_that_no_kind_names() -> None:
    label: Words = Column("name", "NAME", "label", "text", "")
    mine, yours = number("mine", by=("x",)), number("yours", by=("y",))
    all_of = (number("b"), number("a"), number("field"), mine, yours, number("more"), label)
    here: Table[Mapping[str, Any]] = Table(
        all_of, {"x": "a b | more", "y": "b |"}, ("field",), lambda _: True
    )
    base, more = here.chosen("x")
    assert [one.key for one in base] == ["a", "b"]
    assert [one.key for one in more] == ["more", "field", "mine", "name"]
    base, more = here.chosen("y")
    assert [one.key for one in (*base, *more)] == ["b", "field", "yours", "name"]
    made = {by: [one.key for one in here.made(by)] for by in ("", "x", "y")}
    assert made == {
        "": ["b", "a", "mine", "yours", "more"],
        "x": ["b", "a", "mine", "more"],
        "y": ["b", "a", "yours", "more"],
    }
