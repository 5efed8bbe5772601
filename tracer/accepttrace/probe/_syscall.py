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
MAP_DELETE_BATCH = 27
LINK_CREATE = 28
ITER_CREATE = 33


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


class LinkAttr(c.Structure):
    """union bpf_attr for BPF_LINK_CREATE, without a target."""

    _fields_ = (
        ("prog_fd", c.c_uint32),
        ("target_fd", c.c_uint32),
        ("attach_type", c.c_uint32),
        ("flags", c.c_uint32),
    )


class IterAttr(c.Structure):
    """union bpf_attr for BPF_ITER_CREATE."""

    _fields_ = (("link_fd", c.c_uint32), ("flags", c.c_uint32))


@cache
def _libc() -> Any:
    return c.CDLL(None, use_errno=True)


def bpf(command: int, attr: c.Structure) -> int:
    """One bpf(2) call: 0 or a new file descriptor; raises OSError with the kernel's errno."""
    result = _libc().syscall(
        _NUMBERS[platform.machine()], command, c.byref(attr), c.c_uint(c.sizeof(attr))
    )
    if result < 0:
        code = c.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def info(fd: int, into: c.Structure) -> int:
    """What a program or link tells about itself: fills a prefix of `into`.

    Returns how many bytes this kernel knows, 0 where it refuses.
    """
    attr = InfoAttr(bpf_fd=fd, info_len=c.sizeof(into), info=c.addressof(into))
    try:
        bpf(OBJ_GET_INFO_BY_FD, attr)
    except OSError:
        return 0
    return int(attr.info_len)
