"""What the loader says where libbpf refuses, in place of a number."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from accepttrace.errors import UnsupportedError
from accepttrace.probe.load import btf, core, loaders
from accepttrace.probe.plans import PLANS

ESRCH = 3
OLD = "libbpf: failed to find valid kernel BTF\nlibbpf: Error loading vmlinux BTF: -3\n"


@pytest.mark.parametrize(("said", "too_old"), [(OLD, True), ("", False)])
def test_a_library_older_than_the_kernel_is_named(
    said: str, too_old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SimpleNamespace(
        path="libbpf.so.0",
        log=SimpleNamespace(text=lambda: said, clear=lambda: None),
        bpf_object__load=lambda _: -ESRCH,
        bpf_object__close=lambda _: None,
        bpf_object__find_program_by_name=lambda *_: 1,
        bpf_program__set_autoload=lambda *_: 0,
    )
    monkeypatch.setattr(core, "library", lambda: library)
    monkeypatch.setattr(core, "opened", lambda _: 1)
    monkeypatch.setattr(loaders, "usable_hooks", lambda _: ())
    monkeypatch.setattr(btf, "VMLINUX", tmp_path)
    plan = next(plan for plan in PLANS if plan.attach == "tracepoint")
    # With little memory to lock, another one says that.
    with pytest.raises((UnsupportedError, OSError)) as caught:
        core.Loaded(plan)
    message = "libbpf.so.0 is too old for this kernel: it cannot read its type information"
    assert (message in str(caught.value)) is too_old
