"""The start is light: what is refused anyway is not tried at length, and little memory is used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from accepttrace.errors import UnsupportedError
from accepttrace.probe import _syscall
from accepttrace.probe.load import loaders
from accepttrace.probe.plans import FENTRY
from tests.hostile.processes import started
from tests.kernel.conftest import exact

MOST_MIB = 36


def test_a_short_trial_says_what_the_real_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    if not _syscall.trampoline_error():
        loaders.load("libbpf", FENTRY).close()
        return
    with pytest.raises(UnsupportedError) as short:
        loaders.load("libbpf", FENTRY)
    monkeypatch.setattr(_syscall, "trampoline_error", lambda: 0)
    with pytest.raises(UnsupportedError) as real:
        loaders.load("libbpf", FENTRY)
    assert short.value.message == real.value.message


def test_memory() -> None:
    way = exact()[0]
    options = ("-p", "1", "-i", "0.1", "--attach", way.attach, "--loader", "libbpf")
    with started(*options, "-o", "jsonl", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
        status = Path(f"/proc/{process.pid}/status").read_text()
    assert int(status.partition("VmHWM:")[2].split()[0]) < MOST_MIB << 10
