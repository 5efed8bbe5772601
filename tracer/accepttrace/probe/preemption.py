"""Whether this kernel preempts itself: then trampolines and raw tracepoints lose events.

A program that was preempted in the middle keeps other tasks on its CPU from running it: their
events are skipped, and counted as recursion misses. That is so for trampolines since ca06f55b9002
("bpf: Add per-program recursion prevention mechanism"), 5.12, and for raw tracepoints since
05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes"), 6.1.

Kprobe handlers run with preemption off. But a system call on any BPF map keeps all kprobe programs
from running on its CPU while it lasts (bpf_disable_instrumentation() in the kernel), for others too
when it is preempted. So a reader of maps beside kprobes must not be preempted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MODE = Path("/sys/kernel/debug/sched/preempt")
_NORMAL: Final = frozenset((os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE))


def preempts() -> bool | None:
    """True for the modes full and lazy and for RT; None where the kernel does not show it."""
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


@contextmanager
def not_preempted() -> Iterator[None]:
    """Within, tasks without a real-time priority do not take this thread's CPU away.

    Hold it for one short system call. Nothing changes where CAP_SYS_NICE is missing.
    """
    before = os.sched_getscheduler(0)
    if before & ~os.SCHED_RESET_ON_FORK not in _NORMAL or not _became(os.SCHED_FIFO, 1):
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def _became(policy: int, priority: int) -> bool:
    try:
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError:
        return False
    return True
