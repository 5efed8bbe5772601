"""The start is light: what is refused anyway is not tried at length, and little memory is used."""

from __future__ import annotations

import subprocess
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest

from accepttrace.config import Config
from accepttrace.errors import UnsupportedError
from accepttrace.probe import _syscall
from accepttrace.probe.load import loaders
from accepttrace.probe.plans import FENTRY, PLANS
from accepttrace.probe.session import open_session
from tests.hostile.processes import started
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


def test_the_verifier_has_little_to_walk() -> None:
    offered = {way.attach for way in exact()}
    for attach in (plan.attach for plan in PLANS if plan.attach in offered):
        before = verified()
        with closing(open_session(Config(attach=attach, loader="libbpf"))):
            walked = verified() - before
        if not walked:
            pytest.skip("this kernel does not say how much it verified (before 5.16)")
        assert sum(walked.values()) < MOST_VERIFIED[attach], (attach, walked)


def verified() -> Counter[str]:
    """Instructions that were verified, by program, of those that this process has open."""
    found: Counter[str] = Counter()
    for one in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            facts = dict(line.split(":", 1) for line in one.read_text().splitlines() if ":" in line)
            if "verified_insns" in facts:
                found[facts["prog_id"].strip()] = int(facts["verified_insns"])
    return found
