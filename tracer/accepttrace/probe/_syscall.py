"""The bpf(2) system call, for maps and for what programs and links tell about themselves."""

from __future__ import annotations

import ctypes as c
import os
import platform
from functools import cache
from typing import Any

_NUMBERS = {"x86_64": 321, "aarch64": 280}

MAP_LOOKUP_ELEM = 1
MAP_UPDATE_ELEM = 2
MAP_DELETE_ELEM = 3
OBJ_GET_INFO_BY_FD = 15
MAP_LOOKUP_BATCH = 24


class ElementAttr(c.Structure):
    """union bpf_attr for one element of a map."""

    _fields_ = (
        ("map_fd", c.c_uint32),
        ("pad", c.c_uint32),
        ("key", c.c_uint64),
        ("value", c.c_uint64),
        ("flags", c.c_uint64),
    )


class BatchAttr(c.Structure):
    """union bpf_attr for a batch of elements."""

    _fields_ = (
        ("in_batch", c.c_uint64),
        ("out_batch", c.c_uint64),
        ("keys", c.c_uint64),
        ("values", c.c_uint64),
        ("count", c.c_uint32),
        ("map_fd", c.c_uint32),
        ("elem_flags", c.c_uint64),
        ("flags", c.c_uint64),
    )


class InfoAttr(c.Structure):
    """union bpf_attr for BPF_OBJ_GET_INFO_BY_FD."""

    _fields_ = (("bpf_fd", c.c_uint32), ("info_len", c.c_uint32), ("info", c.c_uint64))


@cache
def _libc() -> Any:
    return c.CDLL(None, use_errno=True)


def bpf(command: int, attr: c.Structure) -> None:
    """One bpf(2) call; raises OSError with the kernel's errno."""
    result = _libc().syscall(
        _NUMBERS[platform.machine()], command, c.byref(attr), c.c_uint(c.sizeof(attr))
    )
    if result < 0:
        code = c.get_errno()
        raise OSError(code, os.strerror(code))
