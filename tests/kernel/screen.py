"""accepttrace on a pseudo-terminal whose screen is read back with a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pyte
import pytest

from .conftest import ACCEPTTRACE

START_S = 60.0
END_S = 3.0
BLOCKS = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
_LFLAG = 3


class Alternate(pyte.Screen):
    """With the other screen of a terminal: pyte has but one, and what is on it is cleared."""

    alternate = False

    def set_mode(self, *modes: int, **kwargs: bool) -> None:
        self._switch(modes, kwargs, True)
        super().set_mode(*modes, **kwargs)

    def reset_mode(self, *modes: int, **kwargs: bool) -> None:
        self._switch(modes, kwargs, False)
        super().reset_mode(*modes, **kwargs)

    def _switch(self, modes: tuple[int, ...], kwargs: dict[str, bool], on: bool) -> None:
        if kwargs.get("private") and 1049 in modes:
            self.alternate = on
            self.reset()


class Screen:
    """`columns` x `lines` cells. `keys`: standard input is the terminal too."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        keys: bool = True,
        program: tuple[str, ...] = ACCEPTTRACE,
        **environment: str,
    ) -> None:
        self.screen = Alternate(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            _become((*program, *arguments), columns, lines, keys, environment)
        self.raw = b""
        self.status: int | None = None

    @property
    def display(self) -> list[str]:
        """The lines as a person sees them."""
        return list(self.screen.display)

    @property
    def text(self) -> str:
        """All of them."""
        return "\n".join(line.rstrip() for line in self.display)

    def style(self, word: str) -> pyte.screens.Char:
        """Of the first cell of a word on the screen."""
        for number, line in enumerate(self.display):
            if word in line:
                return self.screen.buffer[number][line.index(word)]
        raise AssertionError(f"{word!r} is not on the screen:\n{self.text}")

    def read(self, timeout_s: float) -> bool:
        """Take in what has come; False: nothing did."""
        if not select.select([self.fd], [], [], max(timeout_s, 0))[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def until(self, holds: Callable[[str], object] | str, timeout_s: float = START_S) -> str:
        """Read until a text is on the screen, or something holds of it; returns the screen."""
        wanted = (lambda text: holds in text) if isinstance(holds, str) else holds
        deadline = time.monotonic() + timeout_s
        while not wanted(self.text):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout_s} s: {holds!r}\n{self.text}")
            self.read(0.05)
        return self.text

    def press(self, keys: str) -> None:
        """As if typed."""
        os.write(self.fd, keys.encode())

    def answered_s(self, keys: str, word: bytes) -> float:
        """Seconds until a word is written in answer to keys, without the emulator."""
        while self.read(0):
            pass
        got, began = b"", time.monotonic()
        self.press(keys)
        while word not in got:
            if not select.select([self.fd], [], [], 10)[0]:
                pytest.fail(f"{keys!r} was not answered")
            got += os.read(self.fd, 65536)
        lasted = time.monotonic() - began
        self.raw += got
        self._stream.feed(got)
        return lasted

    def resize(self, columns: int, lines: int) -> None:
        """Of the window."""
        self.screen.resize(lines, columns)
        _set_size(self.fd, columns, lines)

    @property
    def echoes(self) -> bool:
        """Whether the terminal is as a shell wants it."""
        modes: int = termios.tcgetattr(self.fd)[_LFLAG]
        return bool(modes & termios.ECHO and modes & termios.ICANON)

    def state(self) -> str:
        """`S`, or `T` where it is stopped."""
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def wait(self, timeout_s: float = END_S) -> str:
        """The whole end of the output, once it has ended."""
        deadline = time.monotonic() + timeout_s
        while self.status is None:
            self.read(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                pytest.fail(f"it has not ended within {timeout_s} s\n{self.text}")
        while self.read(0.05):
            pass
        return self.raw.decode(errors="replace")

    def end(self) -> None:
        """Whatever it is doing."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = -signal.SIGKILL
        with suppress(OSError):
            os.close(self.fd)


@contextmanager
def shown(*arguments: str, **settings: object) -> Iterator[Screen]:
    """A screen that is there by now; it is ended with the block."""
    screen = Screen(*arguments, **settings)  # type: ignore[arg-type]
    try:
        screen.until(lambda _: screen.screen.alternate and screen.text.strip())
        yield screen
    finally:
        screen.end()


def _become(
    command: tuple[str, ...],
    columns: int,
    lines: int,
    keys: bool,
    environment: dict[str, str],
) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)
    for name in ("NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES"):
        os.environ.pop(name, None)
    os.environ.update({"TERM": "xterm-256color", **BLOCKS, **environment})
    _set_size(1, columns, lines)
    if not keys:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execv(command[0], command)


def _set_size(fd: int, columns: int, lines: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
