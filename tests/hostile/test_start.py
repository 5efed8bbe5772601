"""The start is light: what is refused anyway is not tried at length, and little memory is used."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from accepttrace.errors import UnsupportedError
from accepttrace.probe import _syscall
from accepttrace.probe.load import loaders
from accepttrace.probe.plans import FENTRY
from tests.hostile.processes import started, wait_for
from tests.kernel.conftest import exact

MOST_MIB = 36
# Instructions that the verifier walks before all is attached: a third of the start or more.
MOST_VERIFIED = {"fentry": 70_000, "kprobe": 65_000, "tracepoint": 46_000}


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


def test_the_verifier_has_little_to_walk(tmp_path: Path) -> None:
    for attach in sorted({way.attach for way in exact()}):
        ready = tmp_path / attach
        options = ("-p", "1", "--attach", attach, "--loader", "libbpf")
        with started(*options, "--ready-file", str(ready), stdout=subprocess.DEVNULL) as process:
            wait_for(ready.exists, "ready")
            walked = verified(process.pid)
        if not walked:
            pytest.skip("this kernel does not say how much it verified (before 5.16)")
        assert sum(walked) < MOST_VERIFIED[attach], attach


def verified(pid: int) -> list[int]:
    """Instructions that were verified, for each program that a process has open."""
    found = []
    for one in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            lines = one.read_text().splitlines()
            found += [int(line.split()[1]) for line in lines if line.startswith("verified_insns:")]
    return found
