"""A table as a picture, for the README."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Final

from rich.console import Console

from accepttrace.views.live import Frame
from accepttrace.views.text import Line

# A picture must not call anybody: the web font that rich refers to is left out.
_WEB_FONT: Final = re.compile(r"\s*@font-face\s*\{.*?\}", re.DOTALL)


def export_svg(lines: Sequence[Line], title: str, width: int) -> str:
    """An SVG of a terminal window `width` cells wide. The same lines give the same text."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
        legacy_windows=False,
        highlight=False,
    )
    console.print(Frame([*map(_indented, lines), ()]), end="")
    return _WEB_FONT.sub("", console.export_svg(title=title))


def _indented(line: Line) -> Line:
    """Leading blanks as a span of their own: some viewers drop them and stretch the rest."""
    if not line:
        return line
    text, style = line[0]
    bare = text.lstrip(" ")
    return ((text[: len(text) - len(bare)], ""), (bare, style), *line[1:])
