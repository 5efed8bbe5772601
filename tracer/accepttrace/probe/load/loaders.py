"""Two ways to bring the programs into the kernel: what both offer and need; which is chosen."""

from __future__ import annotations

import ctypes as c
import errno
import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from accepttrace.errors import UnsupportedError
from accepttrace.probe import _syscall as sys
from accepttrace.probe.iterators import Record
from accepttrace.probe.load import btf
from accepttrace.probe.plans import Hook, Plan

Name = Literal["libbpf", "bcc"]
NAMES: tuple[Name, ...] = ("libbpf", "bcc")
_MAPS_AND_OWN = 48  # descriptors: 20 maps, BTF, what libbpf tries, the own traffic
_SYMBOLS = Path("/proc/kallsyms")
_IPV4 = Path("/proc/sys/net/ipv4")
_KPROBES = Path("/sys/bus/event_source/devices/kprobe")


class Cost(NamedTuple):
    """Of a program since it was loaded, while kernel.bpf_stats_enabled was 1."""

    runs: int
    seconds: float


class Attached(Protocol):
    """Programs that are loaded and attached. The kernel detaches them when the process dies."""

    loader: Name
    plan: Plan
    hooks: tuple[Hook, ...]

    def map_fd(self, name: str) -> int:
        """File descriptor of a map, which stays with the loader."""

    def probe_misses(self) -> int | None:
        """Hits that kprobes had no room for; None where that is not known."""

    def recursion_misses(self) -> dict[str, int] | None:
        """By program, runs skipped because it already ran on that CPU. None: see below."""

    def costs(self) -> dict[str, Cost]:
        """By program, what its runs took; of those that the kernel has measured."""

    def sockets(self, record: type[Record]) -> list[Record]:
        """What the plan's iterator writes of the sockets in the current network namespace."""

    def close(self) -> None:
        """Detach everything and free it. May be called twice."""


def choose(wanted: str) -> Name:
    """The loader for `--loader`. The default is libbpf, or bcc where the kernel shows no BTF.

    Raises `UnsupportedError` where the machine lacks what the loader stands on.
    """
    if wanted != "auto":
        name: Name = "bcc" if wanted == "bcc" else "libbpf"
        require(name)
        return name
    if btf.VMLINUX.exists():
        require("libbpf")
        return "libbpf"
    try:
        require("bcc")
    except UnsupportedError as error:
        message = f"the kernel shows no BTF, which leaves bcc, but {error.message}"
        raise UnsupportedError(message, error.hint, error.detail) from None
    return "bcc"


def require(name: Name) -> None:
    """Raise `UnsupportedError` where the machine lacks what a loader stands on. Imports no bcc."""
    if name == "bcc":
        from accepttrace.probe.load import bcc_install, headers

        bcc_install.version()
        if not btf.VMLINUX.exists():
            headers.required()
        return
    from accepttrace.probe.load.libbpf import library

    library()
    if not btf.VMLINUX.exists():
        raise UnsupportedError(
            "the kernel shows no BTF, without which libbpf cannot place kernel fields",
            "use --loader bcc, or a kernel built with CONFIG_DEBUG_INFO_BTF",
        )


def load(name: Name, plan: Plan) -> Attached:
    """Load and attach the programs of a plan; `UnsupportedError` says why that cannot be."""
    if plan.uses_trampolines and not btf.VMLINUX.exists():
        raise UnsupportedError("the kernel shows no BTF, which trampolines need")
    if plan.uses_trampolines and (code := sys.trampoline_error()):
        reason = f"{os.strerror(code)} ({errno.errorcode[code]})"
        raise UnsupportedError(f"cannot load the fentry programs: {reason}", code=code)
    if plan.needs_kprobes and not has_kprobes():
        raise UnsupportedError("this kernel was built without kprobes")
    raise_memlock()
    _provide_descriptors(plan)
    if name == "bcc":
        from accepttrace.probe.load.bcc import Compiled

        return Compiled(plan)
    from accepttrace.probe.load.core import Loaded

    return Loaded(plan)


def has_kprobes() -> bool:
    """Whether the kernel offers kprobes through perf: those die with the process (since 4.17)."""
    return _KPROBES.exists()


def may_migrate() -> bool:
    """Whether this kernel may move a queue to another listener (bpf/drift.bpf.h).

    Stable 5.10 has the setting alone: there, too, the answer is yes.
    """
    if _IPV4.exists():  # asking for the setting takes no look at BTF
        return (_IPV4 / "tcp_migrate_req").exists()
    return has_function("reuseport_migrate_sock")


def usable_hooks(plan: Plan) -> tuple[Hook, ...]:
    """The hooks of a plan that this kernel has a place for.

    Raises `UnsupportedError` naming the functions where a fact would have no hook at all.
    """
    fits = tuple(hook for hook in plan.hooks if _fits(hook))
    needed = {hook.proves for hook in plan.hooks if not hook.optional}
    for fact in sorted(needed - {hook.proves for hook in fits}):
        sites = sorted({hook.site for hook in plan.hooks if hook.proves == fact})
        raise UnsupportedError(f"the kernel has no {' or '.join(sites)} of a known form")
    btf.release()
    return fits


def _fits(hook: Hook) -> bool:
    if hook.kind == "raw":
        return not hook.optional or has_tracepoint(hook.site)
    if hook.parameters is not None and hook.parameters != btf.parameters(hook.site):
        return False
    if hook.without and (has_function(hook.without) or has_tracepoint(hook.without)):
        return False
    return has_function(hook.site)


@cache
def has_function(function: str) -> bool:
    """Whether the kernel has a function of that name. Source: BTF, or the symbol table."""
    if btf.VMLINUX.exists():
        return btf.parameters(function) is not None
    with _SYMBOLS.open() as symbols:
        return any(line.split()[2] == function for line in symbols)


@cache
def has_tracepoint(name: str) -> bool:
    """Whether the kernel has a tracepoint of that name. Sources as of `has_function`."""
    if btf.VMLINUX.exists():
        return btf.has_type(f"btf_trace_{name}")
    return has_function(f"__traceiter_{name}")


def packaged(name: str, what: str) -> bytes:
    """What the build made for the loaders, from the package, which may be in a zip file."""
    reader = getattr(__spec__, "loader", None)
    assert reader is not None
    try:
        data: bytes = reader.get_data(os.path.join(os.path.dirname(__file__), "objects", name))
    except OSError:
        raise UnsupportedError(
            f"this installation holds no {what}",
            "build it with `make -C bpf`, or install the package again",
        ) from None
    return data


def recursion_misses(programs: Mapping[str, int]) -> dict[str, int] | None:
    """By name, for loaded programs (name → fd); None where this kernel does not count them.

    9ed9e9ba2337 ("bpf: Count the number of times recursion was prevented"), 5.12.
    """
    misses = {}
    for name, fd in programs.items():
        info = sys.ProgramInfo()
        if sys.info(fd, info) < c.sizeof(info):
            return None
        misses[name] = int(info.recursion_misses)
    return misses


def costs(programs: Mapping[str, int]) -> dict[str, Cost]:
    """By name, for loaded programs (name → fd); without those that were not measured.

    492ecee892c2 ("bpf: enable program stats"), 5.1.
    """
    found = {}
    for name, fd in programs.items():
        info = sys.ProgramInfo()
        sys.info(fd, info)
        if info.run_cnt:
            found[name] = Cost(int(info.run_cnt), info.run_time_ns / 1e9)
    return found


def _provide_descriptors(plan: Plan) -> None:
    """Every map, program and link is one. With too few, loaders fail with any error or none.

    libbpf tries the kernel's features first, and takes one for absent if it lacks the descriptor
    to try it with. Raises OSError (EMFILE).
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    free = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(os.listdir("/proc/self/fd"))
    if free < _MAPS_AND_OWN + 2 * len(plan.hooks):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def raise_memlock() -> int | None:
    """Old kernels charge maps to RLIMIT_MEMLOCK. Where they do not, it does no harm to leave it.

    80ee81e0403c ("bpf: Eliminate rlimit-based memory accounting infra for bpf maps"), 5.11.
    Returns the limit that remains, in bytes; None: unlimited.
    """
    unlimited = resource.RLIM_INFINITY
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))
    left = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return None if left == unlimited else left
