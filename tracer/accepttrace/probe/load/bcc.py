"""The bcc loader: the same programs, compiled on this machine, onto the same hooks.

Where the kernel shows BTF, no headers are needed: the text declares kernel structs itself with the
offsets that BTF gives (offsets.py), and bcc compiles it against stub headers. That is preferred
even where headers are installed, because BTF is of the kernel that runs, and compiling ten lines of
headers takes a fraction of the time and memory. Without BTF the declarations are the headers' own.

What bcc does not offer: reuseport group members without BTF, and missed kprobe hits (its probes are
perf events without a link, so the kernel does not show them).
"""

from __future__ import annotations

import atexit
import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from accepttrace.errors import UnsupportedError
from accepttrace.probe import iterators, pidns
from accepttrace.probe.iterators import Record
from accepttrace.probe.load import bcc_install, btf, headers, loaders, offsets
from accepttrace.probe.load.quiet import Caught, caught
from accepttrace.probe.plans import Hook, Listing, Plan

# By the kind of a hook: the text that its program stands in.
_ATTACHED_AS = {
    "fentry": "fentry",
    "fexit": "fentry",
    "kprobe": "kprobe",
    "kretprobe": "kprobe",
    "raw": "tracepoint",
}
_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64"}
# Set to compile against the kernel's headers although BTF is there: for tests, and to find faults.
BY_HEADERS = "ACCEPTTRACE_BCC_HEADERS"
# What bcc's BPF_ITER(tcp) and BPF_ITER(udp) call the programs.
_ITERATORS: dict[Listing, bytes] = {
    "iter_members": b"bpf_iter__tcp",
    "iter_receivers": b"bpf_iter__udp",
}
_NOT_COMPILED = "Failed to compile"  # how bcc's exceptions begin
_BYTES = re.compile(r"\bb'([^']*)'")  # names as bcc prints them
_NOT_ALLOWED = "Need super-user privileges"  # of any EPERM


def source() -> str:
    """The C text in one piece, from the package."""
    return loaders.packaged("folded.bcc.c", "bcc source").decode()


class Compiled:
    """Programs compiled, loaded and attached by bcc. They die with the process."""

    loader: loaders.Name = "bcc"

    def __init__(self, plan: Plan) -> None:
        if pidns.seen_from():
            raise UnsupportedError(
                "bcc knows no PIDs of a PID namespace",
                "use --loader libbpf, or run in the machine's own (--pid=host)",
            )
        self.plan = plan
        self.hooks = tuple(filter(_compiles, loaders.usable_hooks(plan)))
        self._sockets_link: int | None = None
        self._bpf: Any = None
        with _explained(plan):
            # Its BPF.support_kfunc() is not asked: it wants readable /proc/kallsyms, so it is wrong
            # with capabilities only. Trying is right.
            kind = bcc_install.load().BPF
            try:
                self._compile(kind)
                for hook in self.hooks:
                    self._attach(hook)
                self._open_iterator(kind)
            except BaseException:
                self.close()
                raise

    def map_fd(self, name: str) -> int:
        """File descriptor of a map; owned by bcc."""
        return int(self._bpf[name.encode()].map_fd)

    def probe_misses(self) -> int | None:
        """0 where there are no kprobes, else None: the kernel does not show it."""
        return None if self.plan.needs_kprobes else 0

    def recursion_misses(self) -> dict[str, int] | None:
        """By program, runs skipped because it already ran on that CPU; None: see loaders."""
        return loaders.recursion_misses(self._descriptors())

    def costs(self) -> dict[str, loaders.Cost]:
        """By program, what its runs took; of those that the kernel has measured."""
        return loaders.costs(self._descriptors())

    def _descriptors(self) -> dict[str, int]:
        programs = {n: p.fd for n, p in self._bpf.funcs.items() if n not in _ITERATORS.values()}
        return {name.decode(): fd for name, fd in programs.items()}

    def sockets(self, record: type[Record]) -> list[Record]:
        """What the plan's iterator writes of the sockets in the current network namespace."""
        return [] if self._sockets_link is None else iterators.sockets(self._sockets_link, record)

    def close(self) -> None:
        """Detach everything and free it. May be called twice."""
        if self._sockets_link is not None:
            os.close(self._sockets_link)
            self._sockets_link = None
        if self._bpf is not None:
            bpf, self._bpf = self._bpf, None
            atexit.unregister(bpf.cleanup)  # which bcc registered, and which keeps it alive
            with suppress(Exception):  # a half-made one may lack what it wants to free
                bpf.cleanup()

    def _compile(self, kind: Any) -> None:
        """Also loads and attaches trampolines: bcc does so without being asked."""
        self._bpf = kind.__new__(kind)  # kept although its __init__ may raise: it must be closed
        with _placed() as (text, flags):
            self._bpf.__init__(text=text.encode(), cflags=[*_flags(self.hooks), *flags])

    def _attach(self, hook: Hook) -> None:
        site, program = hook.site.encode(), hook.program.encode()
        if hook.kind == "kprobe":
            self._bpf.attach_kprobe(event=site, fn_name=program)
        elif hook.kind == "kretprobe":
            self._bpf.attach_kretprobe(event=site, fn_name=program)
        elif hook.kind == "raw":
            self._bpf.attach_raw_tracepoint(tp=site, fn_name=program)

    def _open_iterator(self, kind: Any) -> None:
        """The inventory of groups is extra: without it groups are known by address alone."""
        name = _ITERATORS[self.plan.listing]
        with suppress(Exception):  # bcc raises nothing more special
            self._sockets_link = iterators.link(self._bpf.load_func(name, kind.TRACING).fd)


def _by_btf() -> bool:
    return btf.VMLINUX.exists() and not os.environ.get(BY_HEADERS)


def _compiles(hook: Hook) -> bool:
    """Whether the text has its program, or it cannot do without: trampolines stand on BTF."""
    return _by_btf() or not (hook.is_trampoline and hook.optional)


@contextmanager
def _placed() -> Iterator[tuple[str, list[str]]]:
    """The text with what it must know of the kernel's structs, and flags; within, its headers."""
    text = source()
    if _by_btf():
        with headers.stubs():
            yield offsets.definitions(text) + text, ["-DPLACED_BY_BTF"]
    else:
        with headers.real() as folder:
            yield offsets.presence(text, folder / "include") + text, []


def _flags(hooks: tuple[Hook, ...]) -> list[str]:
    machine = _ARCHITECTURES[os.uname().machine]
    kinds = {_ATTACHED_AS[hook.kind] for hook in hooks}
    kinds |= {"unix" for hook in hooks if "_unix_" in hook.program}
    names = [f"__TARGET_ARCH_{machine}", *(f"ATTACH_{kind}" for kind in sorted(kinds))]
    return [f"-D{name}" for name in names + [f"HOOK_{hook.program}" for hook in hooks]]


@contextmanager
def _explained(plan: Plan) -> Iterator[None]:
    """What bcc raises and prints, as one `UnsupportedError`: a line, and the rest as its detail."""
    output = Caught()
    try:
        with caught() as output:
            yield
    except UnsupportedError:
        raise
    except Exception as error:  # bcc has no class of its own
        raise refused(plan.attach, str(error), output.text) from None


def refused(attach: str, raised: str, printed: str) -> UnsupportedError:
    """The error for an exception of bcc and what it printed meanwhile."""
    detail = f"{raised}\n{printed}"
    if raised.startswith(_NOT_COMPILED):
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        first = next((line for line in lines if "error:" in line), lines[0] if lines else raised)
        return UnsupportedError(f"bcc cannot compile the {attach} programs: {first}", "", detail)
    if raised.startswith(_NOT_ALLOWED):
        reason = f"{os.strerror(errno.EPERM)} (EPERM)"
        message = f"bcc cannot load the {attach} programs: {reason}"
        return UnsupportedError(message, "", detail, errno.EPERM)
    return UnsupportedError(f"bcc, {attach}: " + _BYTES.sub(r"\1", raised), "", detail)
