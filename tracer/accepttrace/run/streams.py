"""Standard output and error: text that their encoding cannot hold is no reason to fail."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Final

from accepttrace.errors import UsageError

_DEGRADE: Final = "accepttrace.degrade"


def tolerate() -> None:
    """Print ASCII of the same width for what an output that is not UTF-8 cannot hold.

    `click.echo` keeps to that where it is given the stream; its own may be UTF-8.
    """
    codecs.register_error(_DEGRADE, _degrade)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_DEGRADE)


def occupy() -> None:
    """UsageError where standard output is closed. The other two must not become files of ours."""
    is_closed = sys.stdout is None
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if is_closed:
        raise UsageError("standard output is closed", "give it a file, a pipe or a terminal")


def abandon() -> None:
    """Nobody reads standard output: what is still to be written to it goes nowhere."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)


def _degrade(error: UnicodeError) -> tuple[str, int]:
    from accepttrace.views.text import degraded

    if not isinstance(error, UnicodeEncodeError):
        raise error
    return degraded(error.object[error.start : error.end]), error.end
