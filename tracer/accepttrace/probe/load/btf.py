"""What the kernel's BTF says: parameters of functions, places of fields."""

from __future__ import annotations

import ctypes as c
import errno
import os
from functools import cache
from pathlib import Path

from accepttrace.probe.load.libbpf import library

VMLINUX = Path("/sys/kernel/btf/vmlinux")

# linux/btf.h
_STRUCT, _UNION, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC = 4, 5, 8, 9, 10, 11, 12
_TYPE_TAG = 18
_SAME_LAYOUT = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_HAS_BITFIELDS = 1 << 31


class _Type(c.Structure):
    """struct btf_type."""

    _fields_ = (("name_off", c.c_uint32), ("info", c.c_uint32), ("type", c.c_uint32))

    @property
    def kind(self) -> int:
        return int(self.info >> 24 & 0x1F)

    @property
    def count(self) -> int:
        return int(self.info & 0xFFFF)


class _Member(c.Structure):
    """struct btf_member: `count` of them follow the type of a struct or union."""

    _fields_ = (("name_off", c.c_uint32), ("type", c.c_uint32), ("offset", c.c_uint32))


@cache
def _kernel() -> int | None:
    if not VMLINUX.exists():
        return None
    c.set_errno(0)
    found: int | None = library().btf__parse(str(VMLINUX).encode(), None)
    if not found:  # it is there, and well-formed: a limit of ours is in the way
        code = c.get_errno() or errno.ENOMEM
        raise OSError(code, os.strerror(code))
    return found


def release() -> None:
    """Free what was read of it: megabytes, which libbpf reads again for itself."""
    if _kernel.cache_info().currsize and (found := _kernel()):
        library().btf__free(found)
    _kernel.cache_clear()


@cache
def parameters(function: str) -> int | None:
    """How many parameters a kernel function has; None where BTF does not know it."""
    identity = _find(function, _FUNC)
    if identity is None:
        return None
    return _type(_type(identity).type).count


def has_type(name: str) -> bool:
    """Whether there is a typedef of that name."""
    return _find(name, _TYPEDEF) is not None


def offset(record: str, *path: str) -> int | None:
    """Bytes from the start of a struct to a field, through nameless members; None: not there.

    `record` may be a struct, a union or a typedef of one; `path` walks into members by value.
    """
    identity = _find(record, _STRUCT, _UNION, _TYPEDEF)
    bits = 0
    for name in path:
        found = None if identity is None else _member(identity, name)
        if found is None:
            return None
        bits += found[0]
        identity = found[1]
    return bits // 8


def size(record: str) -> int | None:
    """Bytes that a struct takes; None where BTF does not know it."""
    identity = _find(record, _STRUCT)
    return None if identity is None else int(_type(identity).type)  # a union with the size


def _member(identity: int, name: str) -> tuple[int, int] | None:
    """Offset in bits and type of a member, nameless structs and unions looked through."""
    found = _resolved(identity)
    if found.kind not in (_STRUCT, _UNION):
        return None
    mask = 0xFFFFFF if found.info & _HAS_BITFIELDS else 0xFFFFFFFF
    members = (_Member * found.count).from_address(c.addressof(found) + c.sizeof(found))
    for member in members:
        at = int(member.offset & mask)
        if member.name_off:
            if _name(member.name_off) == name:
                return at, int(member.type)
        elif (inner := _member(member.type, name)) is not None:
            return at + inner[0], inner[1]
    return None


def _resolved(identity: int) -> _Type:
    found = _type(identity)
    while found.kind in _SAME_LAYOUT:
        found = _type(found.type)
    return found


def _find(name: str, *kinds: int) -> int | None:
    btf = _kernel()
    if btf is None:
        return None
    for kind in kinds:
        identity = int(library().btf__find_by_name_kind(btf, name.encode(), kind))
        if identity > 0:
            return identity
    return None


def _type(identity: int) -> _Type:
    return _Type.from_address(library().btf__type_by_id(_kernel(), identity))


def _name(at: int) -> str:
    name: bytes = library().btf__name_by_offset(_kernel(), at)
    return name.decode()
