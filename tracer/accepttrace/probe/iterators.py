"""BPF iterators: run a loaded program over every socket, and read what it wrote."""

from __future__ import annotations

import ctypes as c
import os
from typing import TypeVar

from accepttrace.probe import _syscall as sys

Record = TypeVar("Record", bound=c.Structure)

_TRACE_ITER = 28  # enum bpf_attach_type


def link(program_fd: int) -> int:
    """File descriptor of a link to a loaded iterator program; OSError where it is refused."""
    attr = sys.LinkAttr(prog_fd=program_fd, attach_type=_TRACE_ITER)
    return sys.bpf(sys.LINK_CREATE, attr)


def sockets(link_fd: int, record: type[Record]) -> list[Record]:
    """What the program writes of the sockets in the current network namespace.

    A program that has seen enough ends it: by asking for a socket again, which is EAGAIN here.
    """
    try:
        fd = sys.bpf(sys.ITER_CREATE, sys.IterAttr(link_fd=link_fd))
    except OSError:
        return []
    try:
        data = b"".join(iter(lambda: _read(fd), b""))
    finally:
        os.close(fd)
    return [record.from_buffer_copy(data, at) for at in range(0, len(data), c.sizeof(record))]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""
