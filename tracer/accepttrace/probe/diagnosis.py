"""Look at the machine: kernel, BTF, loaders, privileges, lockdown; and try every attach type."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts.diagnosis import Diagnosis, Finding, Way
from accepttrace.probe import choosing, lockdown, preemption, privileges
from accepttrace.probe.load import bcc_install, btf, core, headers, loaders
from accepttrace.probe.load.libbpf import library
from accepttrace.probe.plans import Plan, by_preference
from accepttrace.probe.session import Session


def diagnose(only: loaders.Name | None = None) -> Diagnosis:
    """Every finding, and every attach type tried for real by each loader and detached again.

    `only`: by this loader alone; it need not be there.
    """
    findings = (
        *(_kernel(), _btf(), _libbpf(), _bcc(), _headers()),
        *(_privileges(), _lockdown(), _kprobes(), _preemption(), _memlock()),
    )
    # The default one first.
    both = loaders.NAMES if btf.VMLINUX.exists() else loaders.NAMES[::-1]
    names = both if only is None else (only,)
    return Diagnosis(findings, tuple(way for name in names for way in _ways(name)))


def _kernel() -> Finding:
    return Finding("kernel", "good", f"{os.uname().release} {os.uname().machine}")


def _btf() -> Finding:
    if btf.VMLINUX.exists():
        return Finding("BTF", "good", str(btf.VMLINUX))
    return Finding(
        "BTF",
        "missing",
        "the kernel shows no type information: only bcc can trace it",
        "install bcc and kernel headers, or use a kernel built with CONFIG_DEBUG_INFO_BTF",
    )


def _libbpf() -> Finding:
    try:
        return Finding("libbpf", "good", library().path)
    except UnsupportedError as error:
        return Finding("libbpf", "missing", error.message, error.hint)


def _bcc() -> Finding:
    """Looked for, not imported: that takes seconds on some machines."""
    try:
        return Finding("bcc", "good", bcc_install.version() or "of unknown version")
    except UnsupportedError as error:
        return _wanted_without_btf("bcc", error.message, error.hint)


def _headers() -> Finding:
    folder = headers.found()
    if folder is not None:
        return Finding("headers", "good", str(folder))
    return _wanted_without_btf("headers", "none of the running kernel", headers.package())


def _wanted_without_btf(name: str, text: str, advice: str) -> Finding:
    if btf.VMLINUX.exists():
        return Finding(name, "note", f"{text}; not needed where the kernel shows BTF")
    return Finding(name, "missing", text, advice)


def _privileges() -> Finding:
    held = privileges.held()
    text = " ".join(sorted(held)) or "none of those that matter"
    if not privileges.may_trace():
        return Finding("privileges", "missing", text, privileges.ADVICE)
    lacking = privileges.TO_SEE_HOLDERS - held
    if lacking:
        advice = f"add {' and '.join(sorted(lacking))} to see the holders of other users"
        return Finding("privileges", "note", text, advice)
    return Finding("privileges", "good", text)


def _lockdown() -> Finding:
    mode = lockdown.mode()
    if mode is None:
        return Finding("lockdown", "note", "cannot be read")
    if lockdown.forbids_tracing():
        text = f"{mode}: BPF may not read kernel memory"
        return Finding("lockdown", "missing", text, lockdown.ADVICE)
    return Finding("lockdown", "good", mode)


def _kprobes() -> Finding:
    if loaders.has_kprobes():
        return Finding("kprobes", "good", "the kernel has them")
    return Finding("kprobes", "note", "this kernel was built without them")


def _preemption() -> Finding:
    if preemption.preempts():
        story = (
            "the kernel preempts itself: fentry and tracepoint may miss accepts (and count them)"
        )
        advice = "nothing to do: kprobe is tried first"
        if not privileges.may_hold_priority():
            advice = "kprobe is tried first; it misses none with CAP_SYS_NICE, to read undisturbed"
        return Finding("preemption", "note", story, advice)
    if preemption.preempts() is None:
        return Finding("preemption", "note", "not known; mount debugfs on /sys/kernel/debug")
    return Finding("preemption", "good", "the kernel does not preempt itself")


def _memlock() -> Finding:
    """Which kernels charge maps to it cannot be asked; those that do refuse them with EPERM."""
    left = loaders.raise_memlock()
    if left is None:
        return Finding("memlock", "good", "unlimited")
    story = f"{left // 1024} KiB of locked memory; matters before 5.11 only"
    advice = "where maps are refused: give CAP_SYS_RESOURCE, or run `ulimit -l unlimited` before"
    return Finding("memlock", "note", story, advice)


def _ways(loader: loaders.Name) -> Iterator[Way]:
    missing: AcceptTraceError | None = None
    try:
        loaders.require(loader)
    except UnsupportedError as error:
        missing = error
    for plan in by_preference(preemption.preempts()):
        yield _way(plan, loader, missing or _try(plan, loader))


def _try(plan: Plan, loader: loaders.Name) -> AcceptTraceError | None:
    """Why it does not work; None where it was proved."""
    attempts: list[choosing.Attempt] = []
    try:
        opened = choosing.attempt(plan, loader, attempts, Session)
        if opened is not None:
            opened.close()
        return attempts[-1].error
    except AcceptTraceError as failure:
        return failure


def _way(plan: Plan, loader: loaders.Name, error: AcceptTraceError | None) -> Way:
    sees = tuple(sorted(plan.sees.facts))
    if error is None:
        return Way(plan.attach, loader, None, "", sees, plan.blind_spots)
    advice = error.hint or _advice(plan, error)
    return Way(plan.attach, loader, error.message, advice, sees, plan.blind_spots, error.detail)


def _advice(plan: Plan, error: AcceptTraceError) -> str:
    code = error.code if isinstance(error, UnsupportedError) else 0
    if not privileges.may_trace():
        return privileges.ADVICE
    if lockdown.forbids_tracing():
        return lockdown.ADVICE
    if isinstance(error, UnsupportedError) and error.silent:
        return "see that kernel.ftrace_enabled is 1, and /sys/kernel/debug/kprobes/enabled too"
    if plan.needs_trampolines and code == errno.EPERM:
        return "nothing to do: this kernel refuses trampolines even to root; another type is used"
    if plan.needs_trampolines and code == core.ENOTSUPP:
        # arm64: 2aa6ac03516d ("arm64: ftrace: Add direct call support"), 6.4.
        return "nothing to do: this kernel has no trampolines; another type is used"
    if plan.needs_trampolines and not btf.VMLINUX.exists():
        return "nothing to do: needs a kernel with CONFIG_DEBUG_INFO_BTF; another type is used"
    if plan.needs_kprobes and code == errno.EACCES:
        # Debian's and Ubuntu's kernels know a level above 2, which is for CAP_SYS_ADMIN alone.
        return "run as root, or `sysctl kernel.perf_event_paranoid=2`; another type is used"
    if plan.needs_kprobes and not loaders.has_kprobes():
        return "nothing to do: needs a kernel with CONFIG_KPROBES; another type is used"
    return "run with -v and report what it prints"
