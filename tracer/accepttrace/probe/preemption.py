"""Whether this kernel preempts itself: then trampolines and raw tracepoints lose events.

Since 6.1 (and 5.11 for trampolines) a program that was preempted in the middle keeps other tasks
on its CPU from running it: their events are skipped, and counted as recursion misses. Kprobe
handlers run with preemption off and lose nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_MODE = Path("/sys/kernel/debug/sched/preempt")


def preempts() -> bool | None:
    """True for the modes full and lazy and for RT; None where the kernel does not tell."""
    try:
        mode = re.search(r"\((\w+)\)", _MODE.read_text())
    except OSError:
        mode = None
    if mode:
        return mode.group(1) in ("full", "lazy")
    build = os.uname().version.split()
    if "PREEMPT_DYNAMIC" in build:
        return None
    return any(word.startswith("PREEMPT") for word in build)
