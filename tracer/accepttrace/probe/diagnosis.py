"""Look at the machine: kernel, BTF, libbpf, privileges, lockdown; and try every attach type."""

from __future__ import annotations

import platform
from pathlib import Path

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.model.diagnosis import Diagnosis, Finding, Way
from accepttrace.probe import btf, lockdown, privileges, session
from accepttrace.probe._libbpf import library
KPROBES = (Path("/sys/bus/event_source/devices/kprobe"),)
from accepttrace.probe.plans import PLANS, Plan


def diagnose() -> Diagnosis:
    """Every finding, and every attach type tried for real and detached again."""
    findings = (_kernel(), _btf(), _libbpf(), _privileges(), _lockdown(), _kprobes())
    return Diagnosis(findings, tuple(_try(plan) for plan in PLANS))


def _kernel() -> Finding:
    return Finding("kernel", "good", f"{platform.release()} {platform.machine()}")


def _btf() -> Finding:
    if btf.VMLINUX.exists():
        return Finding("BTF", "good", str(btf.VMLINUX))
    return Finding(
        "BTF",
        "missing",
        "the kernel shows no type information",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF",
    )


def _libbpf() -> Finding:
    try:
        return Finding("libbpf", "good", library().path)
    except UnsupportedError as error:
        return Finding("libbpf", "missing", error.message, error.hint)


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
    if _has_kprobes():
        return Finding("kprobes", "good", "the kernel has them")
    return Finding("kprobes", "note", "this kernel was built without them")


def _has_kprobes() -> bool:
    return any(path.exists() for path in KPROBES)


def _try(plan: Plan) -> Way:
    reason, advice = None, ""
    try:
        attempts: list[session.Attempt] = []
        opened = session.try_plan(plan, attempts)
        if opened is not None:
            opened.close()
        error = attempts[-1].error
    except AcceptTraceError as failure:
        error = failure
    if error is not None:
        reason, advice = error.message, error.hint or _advice(plan, error.message)
    sees = tuple(sorted(plan.sees))
    return Way(plan.attach, "libbpf", reason, advice, sees, plan.blind_spots)


def _advice(plan: Plan, reason: str) -> str:
    if not privileges.may_trace():
        return privileges.ADVICE
    if lockdown.forbids_tracing():
        return lockdown.ADVICE
    if plan.attach == "kprobe" and "EACCES" in reason:
        return "set kernel.perf_event_paranoid to 2 or less, or give CAP_SYS_ADMIN"
    if "silent" in reason:
        return "see that kernel.ftrace_enabled is 1, and /sys/kernel/debug/kprobes/enabled too"
    if plan.attach == "fentry" and "EPERM" in reason:
        return "nothing to do: this kernel refuses trampolines even to root; another type is used"
    if plan.attach == "kprobe" and not _has_kprobes():
        return "nothing to do: needs a kernel with CONFIG_KPROBES; another type is used"
    return "run with -v and report what it prints"
