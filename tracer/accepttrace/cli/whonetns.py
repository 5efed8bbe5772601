"""What the questions of `accepttrace who` answer where a network namespace cannot be entered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accepttrace.errors import AcceptTraceError


@contextmanager
def entering() -> Iterator[None]:
    """An OSError raised within becomes an AcceptTraceError that says what to do."""
    try:
        yield
    except OSError as error:
        raise AcceptTraceError(
            f"cannot look into the network namespace: {error.strerror or error}",
            "run as root, and see with `lsns -t net` whether it is there",
        ) from error
