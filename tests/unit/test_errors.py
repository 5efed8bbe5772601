"""Bad input: one clear line (what, why, what next), the right exit status, no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from accepttrace.errors import UnsupportedError
from accepttrace.probe.load import libbpf

USAGE = [
    (("-p", "99999"), "port 99999 is out of range (1-65535)"),
    (("-p", "http"), "'http' is not a port"),
    (("-p", "20-10"), "ends before it begins"),
    (("--pid", "4194305"), "no process has the PID 4194305"),
    (("--address", "nowhere"), "'nowhere' is not an IPv4 or IPv6 address"),
    (("--netns", "nowhere"), "is no network namespace"),
    (("--sort", "colour"), "choose from: pid"),
    (("--by", "colour"), "'colour' is not one of"),
    (("-i", "0"), "0"),
    (("--colour",), "No such option"),
    (("demo", "--server", "nginx", "passed"), "nginx cannot share its port in the mode passed"),
    (("demo", "sideways"), "'sideways' is not one of"),
    (("frobnicate",), "No such command 'frobnicate'"),
    (("explain", "frobnicate"), "no word 'frobnicate' is known"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "accepttrace", *arguments), capture_output=True, text=True
    )


@pytest.mark.parametrize(("arguments", "said"), USAGE, ids=lambda value: str(value)[:30])
def test_usage_errors_end_with_2(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version_need_nothing() -> None:
    assert run("--version").stdout.startswith("accepttrace, version ")
    for command in ((), ("top",), ("who",), ("doctor",), ("demo",), ("explain",)):
        done = run(*command, "--help")
        assert done.returncode == 0
        assert "Usage: accepttrace" in done.stdout


def test_without_libbpf_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "_LIBRARIES", ("libbpf.so.none",))
    with pytest.raises(UnsupportedError) as caught:
        libbpf.Library()
    assert caught.value.message == "libbpf is not installed"
    assert "libbpf1" in caught.value.hint


def test_a_libbpf_that_is_too_old_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libbpf._PROTOTYPES, "bpf_future__call", (None, ()))
    with pytest.raises(UnsupportedError, match="too old: it has no bpf_future__call"):
        libbpf.Library()


def test_what_starts_by_default_does_not_import_the_rest() -> None:
    code = "import sys, accepttrace.cli; print(*sys.modules)"
    loaded = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True)
    for heavy in ("rich", "bcc", "ctypes", "accepttrace.probe.session", "accepttrace.lab"):
        assert heavy not in loaded.stdout.split()
