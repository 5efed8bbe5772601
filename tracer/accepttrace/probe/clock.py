"""Clocks of the kernel itself, which a time namespace shifts for its processes."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Final

_OFFSETS: Final = Path("/proc/self/timens_offsets")
_NS_PER_S: Final = 1_000_000_000


def monotonic_s() -> float:
    """CLOCK_MONOTONIC in seconds, as BPF programs read it."""
    return time.monotonic() - _offsets().get("monotonic", 0) / _NS_PER_S


def starts_ahead_s() -> float:
    """By how much the clock of /proc/PID/stat's starts is ahead of `monotonic_s`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - monotonic_s()


def start_shown(start_ns: int) -> int:
    """A start in nanoseconds of the kernel's own CLOCK_BOOTTIME as /proc/PID/stat here has it."""
    return start_ns + _offsets().get("boottime", 0)


@cache
def _offsets() -> dict[str, int]:
    """By clock, the nanoseconds by which it is ahead here; empty where none is."""
    try:
        # The file is that of the namespace for children, which may be another one.
        if os.readlink("/proc/self/ns/time") == os.readlink("/proc/self/ns/time_for_children"):
            return parsed(_OFFSETS.read_text())
    except OSError:
        pass
    return {}


def parsed(text: str) -> dict[str, int]:
    """Lines of a clock, seconds and nanoseconds."""
    return {
        clock: int(seconds) * _NS_PER_S + int(rest)
        for clock, seconds, rest in (line.split() for line in text.splitlines())
    }
