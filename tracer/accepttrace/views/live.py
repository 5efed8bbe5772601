"""The table on a terminal, redrawn in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol

from accepttrace.views.text import Line, plain

Factory = Callable[[int, "int | None"], Sequence[Line]]  # width, height (None: all) → lines
Size = Callable[[], tuple[int, int]]  # of the window, in columns and lines

# The alternate screen, without cursor and without line wrap; and back.
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_ATTRIBUTES: Final = {"bold": "1", "dim": "2"}
_COLORS: Final = {"red": "31", "green": "32", "yellow": "33"}


class Printer(Protocol):
    """What is printed to."""

    def write(self, text: str, /) -> int:
        """Take some text."""

    def flush(self) -> None:
        """Let it reach the reader."""


class LiveView:
    """Redraws the alternate screen of a terminal; a dumb one gets one plain table an update.

    When it ends, the last picture is printed whole on the normal screen. NO_COLOR is respected.
    """

    def __init__(self, out: Printer, size: Size) -> None:
        self._out = out
        self._size = size
        redraws = os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
        self.enter, self.leave = (_ENTER, _LEAVE) if redraws else ("", "")
        self._colored = not os.environ.get("NO_COLOR")
        self._factory: Factory | None = None

    def __enter__(self) -> LiveView:
        if self.enter:
            self._print(self.enter)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.leave:
            return
        picture = ""
        try:
            if self._factory is not None:
                picture = self._drawn(self._factory(self._width, None))
        finally:  # a picture of everything may take longer than there is time
            self._print(self.leave + picture)

    def update(self, factory: Factory) -> None:
        """Draw what `factory` makes for the window as it is now; call it again on SIGWINCH."""
        self._factory = factory
        if not self.enter:
            self._print(plain(factory(self._width, None)))
            return
        width, height = self._size()
        lines = [self._styled(line) for line in factory(width, height)]
        self._print(_HOME + f"{_CLEAR_LINE}\r\n".join(lines) + _CLEAR_LINE + _CLEAR_BELOW)

    @property
    def _width(self) -> int:
        return self._size()[0]

    def _drawn(self, lines: Sequence[Line]) -> str:
        return "".join(self._styled(line) + "\n" for line in lines)

    def _styled(self, line: Line) -> str:
        return "".join(self._span(text, style) for text, style in line)

    def _span(self, text: str, style: str) -> str:
        codes = _codes(style, self._colored) if style else ""
        return f"\x1b[{codes}m{text}\x1b[0m" if codes else text

    def _print(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


@lru_cache(maxsize=64)
def _codes(style: str, colored: bool) -> str:
    """`bold red` as the numbers of a terminal's escape sequence."""
    known = _ATTRIBUTES | (_COLORS if colored else {})
    return ";".join(known[word] for word in style.split() if word in known)
