"""A terminal that is taken for a screen: its modes, its keys, and how it is given back."""

from __future__ import annotations

import os
import shutil
import signal
import termios
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

# The alternate screen, without cursor and without line wrap, pasted text marked; and back.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h"
LEAVE: Final = "\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l"
_WIDEST: Final = 10_000
_TALLEST: Final = 1_000
_WITHOUT_REDRAWING: Final = ("dumb", "unknown", "")
_WITHOUT_BLOCKS: Final = ("linux", "vt100", "vt220")  # fonts of few characters
_LFLAG, _CC = 3, 6  # places in what tcgetattr() returns


def redraws(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a terminal of this TERM can show a screen."""
    return environment.get("TERM", "dumb") not in _WITHOUT_REDRAWING


def has_blocks(encoding: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether it shows block characters: by its TERM and what the locale says of it.

    In the locale C Python itself sets LC_CTYPE to C.UTF-8, which says nothing of the terminal.
    """
    if environment.get("TERM") in _WITHOUT_BLOCKS or "utf" not in encoding.lower():
        return False
    known = [environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if not known[0] and known[1] == "C.UTF-8":
        known[1] = ""
    return "utf" in next(filter(None, known), "").lower()


def window(columns: int = 80) -> tuple[int, int]:
    """Columns and lines of the terminal; what COLUMNS and LINES say comes first, 0 is nothing."""
    width, height = shutil.get_terminal_size((columns, 24))
    return min(max(width, 1), _WIDEST), min(max(height, 1), _TALLEST)


def size(out: int) -> tuple[int, int]:
    """Of the terminal itself, as it may change meanwhile; where it does not know, as `window`."""
    with suppress(OSError):
        width, height = os.get_terminal_size(out)
        if width and height:
            return min(width, _WIDEST), min(height, _TALLEST)
    return window()


class Terminal:
    """Standard output as a screen, and standard input for keys if it is a terminal, too.

    It belongs to whoever is in the foreground: in the background nothing is drawn or read. A
    process that another one (timeout) started in a group in the background draws without keys.
    """

    def __init__(self, out: int, keys: int = 0) -> None:
        self._out = out
        self._fd = keys
        self._has_keys = os.isatty(keys)
        self._before: list[Any] | None = None  # its modes, until they are set again
        self._set = False  # the modes are ours
        self.taken = False
        # A background process must not be stopped for what it writes, or reads by accident.
        for number in (signal.SIGTTOU, signal.SIGTTIN):
            signal.signal(number, signal.SIG_IGN)
        self._led = not self.is_ours and os.getpgrp() != os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether we are in the foreground; also where nobody can be."""
        try:
            return os.tcgetpgrp(self._out) == os.getpgrp()
        except OSError:  # not our controlling terminal: there are no groups
            return True

    @property
    def may_draw(self) -> bool:
        """Whether the screen is ours to draw on."""
        return self.is_ours or self._led

    @property
    def keys(self) -> int | None:
        """The descriptor to read keys from; None: there are none now."""
        return self._fd if self._has_keys and self._set and self.is_ours else None

    def close_keys(self) -> None:
        """Nobody types there any more."""
        self._has_keys = False

    def take(self) -> str:
        """Set its modes, as far as it is ours; returns what to write to it."""
        self.taken = True
        if self._has_keys and not self._set and self.is_ours:
            with suppress(termios.error):
                modes = termios.tcgetattr(self._fd)
                self._before = self._before or modes
                termios.tcsetattr(self._fd, termios.TCSANOW, _of_keys(modes))
                self._set = True
        return ENTER

    def give_back(self) -> str:
        """Its modes are as before; returns what to write to it, nothing where it is not taken."""
        if self._set and self._before is not None and self.is_ours:
            with suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        self._before = None
        taken = self.taken
        self.lose()
        return LEAVE if taken else ""

    def lose(self) -> None:
        """Somebody else had it meanwhile: it must be taken again."""
        self.taken = self._set = False


def _of_keys(modes: list[Any]) -> list[Any]:
    """Each key at once, and not echoed; Ctrl-C, Ctrl-Z and Ctrl-\\ stay signals."""
    changed = [*modes]
    changed[_LFLAG] &= ~(termios.ICANON | termios.ECHO)
    changed[_CC] = [*modes[_CC]]
    changed[_CC][termios.VMIN] = changed[_CC][termios.VTIME] = 0
    return changed
