"""The clocks of the kernel, seen from a time namespace."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from accepttrace.probe import clock


def test_offsets_may_be_negative() -> None:
    text = "monotonic      -3000   5\nboottime     1000000         0\n"
    assert clock.parsed(text) == {"monotonic": -3_000_000_000_000 + 5, "boottime": 10**15}


def test_without_a_namespace_of_its_own_nothing_is_shifted() -> None:
    assert clock.start_shown(17) == 17


def test_the_clocks_are_those_of_the_kernel_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"monotonic": 3_000_000_000, "boottime": -2_000_000_000}
    monkeypatch.setattr(clock, "_offsets", lambda: shown)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 250.0}.__getitem__)
    assert clock.monotonic_s() == 97.0
    assert clock.starts_ahead_s() == 153.0
    assert clock.start_shown(17_000_000_000) == 15_000_000_000
    shown.clear()
    assert (clock.monotonic_s(), clock.starts_ahead_s()) == (100.0, 150.0)
    assert clock.start_shown(17) == 17


def test_offsets_are_those_of_the_own_namespace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offsets = tmp_path / "offsets"
    monkeypatch.setattr(clock, "_OFFSETS", offsets)
    names = {"/proc/self/ns/time": "time:[1]", "/proc/self/ns/time_for_children": "time:[1]"}
    monkeypatch.setattr(os, "readlink", names.__getitem__)
    read = clock._offsets.__wrapped__
    assert read() == {}  # a kernel without the file
    offsets.write_text("monotonic 1 2\n")
    assert read() == {"monotonic": 1_000_000_002}
    names["/proc/self/ns/time_for_children"] = "time:[2]"
    assert read() == {}
