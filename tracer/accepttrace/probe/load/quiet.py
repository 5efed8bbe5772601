"""Catch what C libraries write to the terminal behind Python's back."""

from __future__ import annotations

import ctypes as c
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


class Caught:
    """`text` is complete once the block of `caught()` has ended."""

    text = ""


@contextmanager
def caught() -> Iterator[Caught]:
    """Within, file descriptors 1 and 2 of this process lead to a file; the terminal stays clean."""
    result = Caught()
    _flush()
    with tempfile.TemporaryFile() as file:
        saved = {fd: os.dup(fd) for fd in (1, 2)}
        for fd in saved:
            os.dup2(file.fileno(), fd)
        try:
            yield result
        finally:
            _flush()
            for fd, copy in saved.items():
                os.dup2(copy, fd)
                os.close(copy)
            file.seek(0)
            result.text = file.read().decode(errors="replace")


def _flush() -> None:
    """Python's buffers and those of C's stdio."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    c.CDLL(None).fflush(None)
