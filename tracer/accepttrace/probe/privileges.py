"""Which of the capabilities that matter this process has."""

from __future__ import annotations

from pathlib import Path

# Bits of CapEff, linux/capability.h.
_BITS = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_NICE": 23,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
TO_TRACE = frozenset({"CAP_BPF", "CAP_PERFMON"})
TO_SEE_HOLDERS = frozenset({"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"})
ADVICE = (
    "run as root, or give CAP_BPF and CAP_PERFMON, and CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    " to see who holds a listener"
)


def held() -> frozenset[str]:
    """The effective ones. Source: CapEff in /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for name, bit in _BITS.items() if bits >> bit & 1)
    return frozenset()


def may_trace() -> bool:
    """Whether BPF programs of the tracing kinds may be loaded at all."""
    return may_administer() or held() >= TO_TRACE


def may_administer() -> bool:
    """Whether nothing that tracing asks for is kept back."""
    return "CAP_SYS_ADMIN" in held()


def may_hold_priority() -> bool:
    """Whether maps may be read at a real-time priority: see probe/preemption.py."""
    return "CAP_SYS_NICE" in held()
