"""The PID namespace that this process is in."""

from __future__ import annotations

import os
from typing import Final

from accepttrace.errors import UnsupportedError

INITIAL: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO, linux/proc_ns.h


def is_initial() -> bool:
    """Whether it is the machine's own, in which every process has a PID."""
    return _inode() == INITIAL


def seen_from() -> int:
    """Its inode number, for the kernel side to look PIDs up in; 0: the machine's own.

    `UnsupportedError` where /proc shows another one: a PID would mean two processes.
    """
    if not is_of_proc():
        raise UnsupportedError(
            "/proc shows the PIDs of another PID namespace",
            "mount one for this namespace (`unshare --mount-proc`, or `mount -t proc proc /proc`)",
        )
    return 0 if is_initial() else _inode()


def _inode() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def is_of_proc() -> bool:
    """Whether /proc shows the PIDs that this process sees itself."""
    return os.readlink("/proc/self") == str(os.getpid())
