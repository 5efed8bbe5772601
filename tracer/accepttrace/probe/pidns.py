"""The PID namespace that this process is in."""

from __future__ import annotations

import os
from typing import Final

INITIAL: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO, linux/proc_ns.h


def is_initial() -> bool:
    """Whether it is the machine's own, in which every process has a PID."""
    return os.stat("/proc/self/ns/pid").st_ino == INITIAL
