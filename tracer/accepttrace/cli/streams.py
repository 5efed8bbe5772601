"""Standard output and error: text that their encoding cannot hold is no reason to fail."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Final

_DEGRADE: Final = "accepttrace.degrade"


def tolerate() -> None:
    """Print ASCII of the same width for what an output that is not UTF-8 cannot hold."""
    codecs.register_error(_DEGRADE, _degrade)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_DEGRADE)


def _degrade(error: UnicodeError) -> tuple[str, int]:
    from accepttrace.views.text import degraded

    if not isinstance(error, UnicodeEncodeError):
        raise error
    return degraded(error.object[error.start : error.end]), error.end
