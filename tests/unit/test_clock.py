"""The clocks of the kernel, seen from a time namespace."""

from __future__ import annotations

from accepttrace.probe import clock


def test_offsets_may_be_negative() -> None:
    text = "monotonic      -3000   5\nboottime     1000000         0\n"
    assert clock.parsed(text) == {"monotonic": -3_000_000_000_000 + 5, "boottime": 10**15}


def test_without_a_namespace_of_its_own_nothing_is_shifted() -> None:
    assert clock.start_shown(17) == 17
