"""What the kernel's BTF says of a function: whether it is there, and its parameters."""

from __future__ import annotations

import ctypes as c
from functools import cache
from pathlib import Path

from accepttrace.probe._libbpf import library

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_KIND_FUNC = 12


class _Type(c.Structure):
    """struct btf_type (linux/btf.h)."""

    _fields_ = (("name_off", c.c_uint32), ("info", c.c_uint32), ("type", c.c_uint32))


@cache
def _kernel() -> int | None:
    if not VMLINUX.exists():
        return None
    return library().btf__parse(str(VMLINUX).encode(), None) or None


@cache
def parameters(function: str) -> int | None:
    """How many parameters a kernel function has; None where BTF does not know it."""
    btf = _kernel()
    if btf is None:
        return None
    identity = library().btf__find_by_name_kind(btf, function.encode(), _KIND_FUNC)
    if identity < 0:
        return None
    prototype = _type(btf, _type(btf, identity).type)
    return int(prototype.info & 0xFFFF)


def _type(btf: int, identity: int) -> _Type:
    return _Type.from_address(library().btf__type_by_id(btf, identity))
