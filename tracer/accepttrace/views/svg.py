"""A table as a picture, for the README."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style

from accepttrace.views.text import Line, Span

# A picture must not call anybody: the web font that rich refers to is left out.
# As views.screen.paint has them.
_STYLES: Final = {"bad": "bold white on red", "warn": "black on yellow", "good": "black on green"}
_WEB_FONT: Final = re.compile(r"\s*@font-face\s*\{.*?\}", re.DOTALL)


def export_svg(lines: Sequence[Line], title: str, width: int) -> str:
    """An SVG of a terminal window `width` cells wide. The same lines give the same text."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=width,
        color_system="truecolor",
        no_color=False,
    )
    console.print(_Frame([*map(_indented, lines), ()]), end="")
    return _WEB_FONT.sub("", console.export_svg(title=title))


class _Frame:
    """Lines that are laid out already: rich need not measure, wrap or align anything."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for index, line in enumerate(self._lines):
            if index:
                yield Segment.line()
            for text, style in line:
                yield Segment(text, Style.parse(_STYLES.get(style, style)) if style else None)


def _indented(line: Line) -> Line:
    """Leading blanks as spans of their own: some viewers drop them and stretch the rest."""
    return tuple(part for span in line for part in _parted(*span))


def _parted(text: str, style: str) -> Iterator[Span]:
    bare = text.lstrip(" ")
    if blanks := text[: len(text) - len(bare)]:
        yield blanks, style
    yield bare, style
