"""Which worker got each incoming connection, through which listener, and was it fair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accepttrace.library import read_recording, trace

__all__ = ["__version__", "read_recording", "trace"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What the command does not need at its start is imported when it is used."""
    if name in ("read_recording", "trace"):
        from accepttrace import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
