"""Lines as what a terminal is sent: escape sequences, and only the lines that changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from accepttrace.views.text import Line, degraded

CLEAR_LINE: Final = "\x1b[K"  # before it is written: behind a full line it would take the last cell
_ATTRIBUTES: Final = {"bold": "1", "dim": "2", "reverse": "7"}
# Colours as foreground and background at once can be read whatever the terminal's own are.
_COLORS: Final = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "bad": "1;37;41",
    "warn": "30;43",
    "good": "30;42",
}
_PLAIN: Final = {"bad": "1;7", "warn": "1;7", "good": "1"}


class Painter:
    """Knows what was sent last. `colored`: False leaves out colours; `ascii`: all but ASCII."""

    def __init__(self, *, colored: bool, ascii: bool) -> None:
        self._colored, self._ascii = colored, ascii
        self._last: list[str] = []

    def forget(self) -> None:
        """The terminal shows something else: send everything again."""
        self._last = []

    def changes(self, lines: Sequence[Line]) -> str:
        """What makes the screen show these lines."""
        now = [self.styled(line) for line in lines]
        old, self._last = self._last, now
        clear = ""
        if len(now) != len(old):
            old, clear = [""] * len(now), "\x1b[0m\x1b[2J"
        return clear + "".join(
            f"\x1b[{number}H{CLEAR_LINE}{line}"
            for number, (line, before) in enumerate(zip(now, old, strict=True), 1)
            if line != before
        )

    def whole(self, lines: Sequence[Line]) -> str:
        """Lines to be printed one below the other."""
        return "".join(self.styled(line) + "\n" for line in lines)

    def styled(self, line: Line) -> str:
        """One line."""
        return "".join(self._span(text, style) for text, style in line if text)

    def _span(self, text: str, style: str) -> str:
        if self._ascii and not text.isascii():
            text = "".join(char if char.isascii() else degraded(char) for char in text)
        codes = _codes(style, self._colored) if style else ""
        return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


@lru_cache(maxsize=64)
def _codes(style: str, colored: bool) -> str:
    """`bold red` as the numbers of a terminal's escape sequence."""
    known = _ATTRIBUTES | (_COLORS if colored else _PLAIN)
    return ";".join(known[word] for word in style.split() if word in known)
