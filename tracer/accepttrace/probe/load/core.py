"""The libbpf loader: the CO-RE object into the kernel, its programs onto their hooks."""

from __future__ import annotations

import ctypes as c
import errno
import os
import resource

from accepttrace.errors import UnsupportedError
from accepttrace.probe import _syscall as sys
from accepttrace.probe import iterators, privileges
from accepttrace.probe.iterators import Record
from accepttrace.probe.load import btf, loaders
from accepttrace.probe.load.libbpf import OpenOptions, library
from accepttrace.probe.plans import LISTINGS, PROGRAMS, Hook, Plan

GLOBAL_DATA = "settings"  # no map of its own, but global data: all of the section .data
PREFIX = 8  # of the object's name, in the name that the kernel knows such a map by
_UNREAD = "failed to find valid kernel BTF"  # of libbpf before 1.0, of kinds that are newer
ENOTSUPP = 524  # the kernel's own; no C library has a name for it


def object_bytes(what: str = "") -> bytes:
    """A CO-RE object for this machine, from the package: the tracer's, `events` or `holders`."""
    name = f"{what}.{os.uname().machine}.bpf.o".lstrip(".")
    return loaders.packaged(name, f"BPF object {name}")


class Loaded:
    """A loaded and attached object. The kernel detaches it when the process dies."""

    loader: loaders.Name = "libbpf"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._object: int | None = None
        self._links: list[tuple[Hook, int]] = []
        self._sockets_link: int | None = None
        library().log.clear()
        self.hooks = loaders.usable_hooks(plan)
        try:
            self._load()
            for hook in self.hooks:
                self._attach(hook)
        except BaseException:
            self.close()
            raise

    def map_fd(self, name: str) -> int:
        """File descriptor of a map; owned by the object."""
        find = library().bpf_object__find_map_fd_by_name
        if name != GLOBAL_DATA:
            return int(find(self._object, name.encode()))
        fd = int(find(self._object, b".data"))
        if fd < 0:  # libbpf 0.5
            own = library().bpf_object__name(self._object)[:PREFIX]
            fd = int(find(self._object, own + b".data"))
        return fd

    def probe_misses(self) -> int | None:
        """Hits that kprobes had no room for; None where this kernel does not show it."""
        if not self.plan.needs_kprobes:
            return 0
        total = 0
        for hook, link in self._links:
            if not hook.is_kprobe:
                continue
            info = sys.KprobeLinkInfo()
            if sys.info(library().bpf_link__fd(link), info) < c.sizeof(info):
                return None
            total += info.missed
        return total

    def recursion_misses(self) -> dict[str, int] | None:
        """By program, runs skipped because it already ran on that CPU; None: see loaders."""
        return loaders.recursion_misses(self._descriptors())

    def costs(self) -> dict[str, loaders.Cost]:
        """By program, what its runs took; of those that the kernel has measured."""
        return loaders.costs(self._descriptors())

    def _descriptors(self) -> dict[str, int]:
        names = [hook.program for hook in self.hooks]
        return {name: library().bpf_program__fd(self._program(name)) for name in names}

    def sockets(self, record: type[Record]) -> list[Record]:
        """What the plan's iterator writes of the sockets in the current network namespace."""
        if self._sockets_link is None:
            return []
        return iterators.sockets(library().bpf_link__fd(self._sockets_link), record)

    @property
    def lists_sockets(self) -> bool:
        """Whether this kernel let the plan's iterator in."""
        return self._sockets_link is not None

    def close(self) -> None:
        """Detach everything and free it. May be called twice."""
        lib = library()
        links = [link for _, link in self._links]
        if self._sockets_link is not None:
            links.append(self._sockets_link)
        self._links, self._sockets_link = [], None
        for link in links:
            lib.bpf_link__destroy(link)
        if self._object is not None:
            lib.bpf_object__close(self._object)
            self._object = None

    def _load(self) -> None:
        lib = library()
        self._object = opened("events" if self.plan.events else "")
        wanted = {self.plan.listing, *(hook.program for hook in self.hooks)}
        for name in (*PROGRAMS, *LISTINGS):
            lib.bpf_program__set_autoload(self._program(name), name in wanted)
        code = lib.bpf_object__load(self._object)
        if code < 0:
            raise refused(f"load the {self.plan.attach} programs", -code)
        # The inventory of groups is extra: without it groups are known by address alone.
        link = lib.bpf_program__attach_iter(self._program(self.plan.listing), None)
        self._sockets_link = link or None

    def _attach(self, hook: Hook) -> None:
        c.set_errno(0)
        link = library().bpf_program__attach(self._program(hook.program))
        if not link:
            raise refused(f"attach to {hook.site}", c.get_errno())
        self._links.append((hook, link))

    def _program(self, name: str) -> int:
        program = library().bpf_object__find_program_by_name(self._object, name.encode())
        if not program:
            raise UnsupportedError(f"the BPF object has no program {name}", "build it again")
        return int(program)


def opened(what: str = "") -> int:
    """A CO-RE object (see `object_bytes`), open: libbpf has what it needs of the file by then."""
    data = object_bytes(what)
    found = library().bpf_object__open_mem(data, len(data), open_options())
    if not found:
        raise refused("open the BPF object", c.get_errno())
    return int(found)


def open_options() -> c.Array[OpenOptions] | None:
    """For opening an object: without CAP_SYS_ADMIN, types of modules may not be looked for.

    libbpf does so for every type that vmlinux lacks, and gives up where it may not (libbpf < 1.5).
    """
    if privileges.may_administer():
        return None
    options = OpenOptions(size=c.sizeof(OpenOptions), btf_custom_path=str(btf.VMLINUX).encode())
    return (OpenOptions * 1)(options)


def refused(what: str, code: int) -> Exception:
    """What was refused, with the errno (positive, 0: none) and libbpf's log."""
    limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    if code == errno.ESRCH and limited:  # libbpf's word for kernel types that it cannot read
        code = errno.ENOMEM
    if code in (errno.ENOMEM, errno.EMFILE, errno.ENFILE):  # not the kernel's fault
        return OSError(code, os.strerror(code))
    if code == errno.ESRCH and _UNREAD in library().log.text() and btf.VMLINUX.exists():
        return UnsupportedError(
            f"{library().path} is too old for this kernel: it cannot read its type information",
            "install libbpf 1.0 or newer, or trace with --loader bcc",
            detail=library().log.text(),
            code=code,
        )
    reason = os.strerror(code) if code else "refused"
    name = errno.errorcode.get(code, str(code))
    if code == ENOTSUPP:
        reason, name = "not supported by this kernel", "ENOTSUPP"
    message = f"cannot {what}: {reason} ({name})"
    return UnsupportedError(message, detail=library().log.text(), code=code)
