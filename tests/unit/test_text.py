"""Text on a terminal: how many cells it takes."""

from __future__ import annotations

from accepttrace.views.text import DRAWN, _cell, clean, shortened, wrapped


def test_what_bars_are_drawn_with_takes_one_cell_each() -> None:
    drawn = [char for char in map(chr, range(0x2400, 0x2600)) if DRAWN.fullmatch(char)]
    assert len(drawn) == 0xA0
    assert all(_cell(char) == 1 for char in drawn)


def test_a_character_keeps_two_marks_and_so_does_the_beginning() -> None:
    mark = "\u0301"
    for before in ("", "e", "ee"):
        for marks in range(5):
            assert clean(before + mark * marks + "x") == before + mark * min(marks, 2) + "x"
    assert clean("a\x1bb\u200d") == "a?b?"


def test_a_path_is_cut_in_the_middle() -> None:
    shown = [shortened("abcdefghij", width) for width in (10, 9, 8, 7, 3, 2, 1)]
    assert shown == ["abcdefghij", "abcd…ghij", "abcd…hij", "abc…hij", "a…j", "a…", "…"]


def test_words_longer_than_a_line_are_not_broken() -> None:
    assert wrapped("a bbbbbbbbbbbb-bbbb c", 12) == ["a", "    bbbbbbbbbbbb-bbbb", "    c"]
