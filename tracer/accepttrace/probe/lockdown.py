"""Kernel lockdown: `integrity` lets BPF read kernel memory, `confidentiality` does not."""

from __future__ import annotations

from pathlib import Path

ADVICE = "boot with lockdown=integrity or without lockdown"
_FILE = Path("/sys/kernel/security/lockdown")


def mode() -> str | None:
    """none, integrity or confidentiality; None where it cannot be read."""
    try:
        text = _FILE.read_text()
    except OSError:
        return None
    return text[text.index("[") + 1 : text.index("]")]


def forbids_tracing() -> bool:
    """Whether no program that reads kernel memory can be loaded, even by root."""
    return mode() == "confidentiality"
