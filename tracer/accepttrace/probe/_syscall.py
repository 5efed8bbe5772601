"""The bpf(2) system call, for maps, and for the information that programs and links have."""

from __future__ import annotations

import ctypes as c
import errno
import os
from functools import cache
from typing import Any

_NUMBERS = {"x86_64": 321, "aarch64": 280}

MAP_LOOKUP_ELEM = 1
MAP_UPDATE_ELEM = 2
MAP_DELETE_ELEM = 3
PROG_LOAD = 5
OBJ_GET_INFO_BY_FD = 15
MAP_LOOKUP_BATCH = 24
MAP_DELETE_BATCH = 27
LINK_CREATE = 28
ITER_CREATE = 33
_TRACING, _FENTRY = 26, 24  # BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY


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


class ProgramInfo(c.Structure):
    """The part of struct bpf_prog_info (linux/bpf.h) that is read; the kernel fills a prefix."""

    _fields_ = (
        ("before", c.c_uint8 * 192),
        ("run_time_ns", c.c_uint64),
        ("run_cnt", c.c_uint64),
        ("recursion_misses", c.c_uint64),
    )


class KprobeLinkInfo(c.Structure):
    """The part of struct bpf_link_info (linux/bpf.h) that is read, for a kprobe."""

    _fields_ = (("before", c.c_uint8 * 48), ("missed", c.c_uint64))


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


class ProgramAttr(c.Structure):
    """union bpf_attr for BPF_PROG_LOAD, as far as it is used."""

    _fields_ = (
        ("prog_type", c.c_uint32),
        ("insn_cnt", c.c_uint32),
        ("insns", c.c_uint64),
        ("license", c.c_uint64),
        ("log", c.c_uint64 * 2),
        ("kern_version", c.c_uint32),
        ("prog_flags", c.c_uint32),
        ("prog_name", c.c_char * 16),
        ("prog_ifindex", c.c_uint32),
        ("expected_attach_type", c.c_uint32),
        ("types", c.c_uint32 * 8),
        ("attach_btf_id", c.c_uint32),
        ("attach_fd", c.c_uint32),
    )


@cache
def _entry() -> tuple[Any, int]:
    """How to call: syscall(2), and the number of bpf(2)."""
    return c.CDLL(None, use_errno=True).syscall, _NUMBERS[os.uname().machine]


def bpf(command: int, attr: c.Structure) -> int:
    """One bpf(2) call: 0 or a new file descriptor; raises OSError with the kernel's errno."""
    syscall, number = _entry()
    result = syscall(number, command, c.byref(attr), c.c_uint(c.sizeof(attr)))
    if result < 0:
        code = c.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def info(fd: int, into: c.Structure) -> int:
    """The information that a program or link has: fills a prefix of `into`.

    Returns how many bytes this kernel knows, 0 where it refuses.
    """
    attr = InfoAttr(bpf_fd=fd, info_len=c.sizeof(into), info=c.addressof(into))
    try:
        bpf(OBJ_GET_INFO_BY_FD, attr)
    except OSError:
        return 0
    return int(attr.info_len)


def trampoline_error() -> int:
    """The errno with which the kernel refuses every trampoline, whatever it is put on; else 0.

    Tries a program that returns 0, on a type that is no function: where trampolines are allowed
    the kernel says EINVAL to that. Takes microseconds, the real programs tens of milliseconds.
    """
    code = (c.c_uint64 * 2)(0xB7, 0x95)  # r0 = 0; exit
    licence = c.create_string_buffer(b"GPL")
    attr = ProgramAttr(
        prog_type=_TRACING,
        insn_cnt=len(code),
        insns=c.addressof(code),
        license=c.addressof(licence),
        expected_attach_type=_FENTRY,
        attach_btf_id=1,
    )
    try:
        os.close(bpf(PROG_LOAD, attr))
    except OSError as error:
        return error.errno if error.errno == errno.EPERM else 0
    return 0
