"""Bars, trends and marks, of block characters or of ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from accepttrace.views.text import Span

Trend = Sequence["float | None"]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """`parts`: of a cell of a bar, the smallest first. `levels`: of a trend, from nothing on."""

    parts: str
    levels: str
    fair: str
    here: str
    rule: str
    arrows: str
    sideways: str
    enter: str


BLOCKS: Final = Glyphs("▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█", "┊", "▶", "─", "↑↓", "←→", "⏎")
ASCII: Final = Glyphs("#", "_.:-=+*#", "|", ">", "-", "up/down", "left/right", "Enter")


def bar(part: float, fair: float | None, width: int, glyphs: Glyphs, style: str = "") -> list[Span]:
    """A bar for `part` (0..1) in `width` cells, with a mark where an even part would end."""
    steps = len(glyphs.parts)
    filled = max(round(part * width * steps), 1) if part else 0
    text = glyphs.parts[-1] * (filled // steps)
    text += glyphs.parts[filled % steps - 1] if filled % steps else ""
    text = text.ljust(width)
    if fair is None:
        return [(text, style)]
    at = fair_at(fair, width)
    return [(text[:at], style), (glyphs.fair, "bold"), (text[at + 1 :], style)]


def fair_at(fair: float, width: int) -> int:
    """The cell of that mark: the same one in all bars, whatever was rounded."""
    return min(int(fair * width + 1e-6), width - 1)


def trend(cells: Trend, top: float, glyphs: Glyphs) -> str:
    """A character for each value, `top` the highest; blank where it is not known."""
    return "".join(_level(value, top, glyphs.levels) for value in cells)


def _level(value: float | None, top: float, levels: str) -> str:
    if value is None:
        return " "
    if not value or not top:
        return levels[0]
    return levels[max(min(round(value / top * (len(levels) - 1)), len(levels) - 1), 1)]
