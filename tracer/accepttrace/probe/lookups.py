"""BPF programs of a network namespace that choose a socket before the kernel looks for one."""

from __future__ import annotations

import ctypes as c
import os
from typing import Final

from accepttrace.facts.records import Program
from accepttrace.probe import _syscall as sys

_PROG_GET_FD_BY_ID: Final = 13
_PROG_QUERY: Final = 16
_SK_LOOKUP: Final = 36  # BPF_SK_LOOKUP of enum bpf_attach_type
_MOST: Final = 64  # programs in one namespace; the kernel's own limit (BPF_CGROUP_MAX_PROGS)


class QueryAttr(c.Structure):
    """union bpf_attr for BPF_PROG_QUERY."""

    _fields_ = (
        ("target_fd", c.c_uint32),
        ("attach_type", c.c_uint32),
        ("query_flags", c.c_uint32),
        ("attach_flags", c.c_uint32),
        ("prog_ids", c.c_uint64),
        ("prog_cnt", c.c_uint32),
    )


class IdAttr(c.Structure):
    """union bpf_attr for BPF_PROG_GET_FD_BY_ID."""

    _fields_ = (("id", c.c_uint32), ("next_id", c.c_uint32), ("open_flags", c.c_uint32))


class NameInfo(c.Structure):
    """struct bpf_prog_info up to the program's name."""

    _fields_ = (("before", c.c_uint8 * 64), ("name", c.c_char * 16))


def programs(netns_path: str) -> tuple[Program, ...] | None:
    """Those of type sk_lookup, in the order in which they run; None: it may not be asked.

    The kernel asks for CAP_NET_ADMIN, and for CAP_SYS_ADMIN to say their names.
    """
    ids = (c.c_uint32 * _MOST)()
    try:
        fd = os.open(netns_path, os.O_RDONLY)
    except OSError:
        return None
    attr = QueryAttr(
        target_fd=fd, attach_type=_SK_LOOKUP, prog_ids=c.addressof(ids), prog_cnt=_MOST
    )
    try:
        sys.bpf(_PROG_QUERY, attr)
    except OSError:
        return None
    finally:
        os.close(fd)
    return tuple(Program(number, _name(number)) for number in ids[: attr.prog_cnt])


def _name(number: int) -> str:
    found = NameInfo()
    try:
        fd = sys.bpf(_PROG_GET_FD_BY_ID, IdAttr(id=number))
    except OSError:
        return ""
    try:
        sys.info(fd, found)
    finally:
        os.close(fd)
    return bytes(found.name).decode(errors="replace")
