"""Text on a terminal: how many cells it takes."""

from __future__ import annotations

from accepttrace.views.text import DRAWN, _cell


def test_what_bars_are_drawn_with_takes_one_cell_each() -> None:
    drawn = [char for char in map(chr, range(0x2400, 0x2600)) if DRAWN.fullmatch(char)]
    assert len(drawn) == 0xA0
    assert all(_cell(char) == 1 for char in drawn)
