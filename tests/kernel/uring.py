"""accept() and connect() through io_uring, by the raw system calls: no library is needed."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SETUP, ENTER, REGISTER = 425, 426, 427  # the same numbers on every architecture
SQES_OFFSET = 0x10000000
GETEVENTS = 1
REGISTER_FILES = 2
ACCEPT, ASYNC_CANCEL, CONNECT = 13, 14, 16
ASYNC = 1 << 4  # sqe flag: let a worker thread do it
MULTISHOT = 1 << 0  # accept flag, in ioprio
MORE = 1 << 1  # completion flag: others will follow
ALLOCATE_SLOT = 0xFFFFFFFF
SQE = struct.Struct("=BBHiQQIIQHHI16x")
CQE = struct.Struct("=QiI")
PARAMS = struct.Struct("=7I12x" + 2 * "8I8x")  # struct io_uring_params
SWITCH = Path("/proc/sys/kernel/io_uring_disabled")  # since 6.6
HAS_RING = not (SWITCH.exists() and SWITCH.read_text().strip() == "2")
by_ring = pytest.mark.xfail(not HAS_RING, run=False, reason="kernel.io_uring_disabled")


@dataclass(frozen=True, slots=True)
class Done:
    """A completion: a descriptor, a slot, or a negative errno."""

    result: int
    flags: int


class Ring:
    """One io_uring. Every accept() through it is one completion."""

    def __init__(self, entries: int = 128) -> None:
        params = ctypes.create_string_buffer(PARAMS.size)
        self.fd = _call(SETUP, entries, ctypes.addressof(params))
        values = PARAMS.unpack(params.raw)
        submissions, completions = values[0], values[1]
        _, self._sq_tail, self._sq_mask, _, _, _, self._sq_array, _ = values[7:15]
        self._cq_head, self._cq_tail, self._cq_mask, _, _, self._cqes, _, _ = values[15:23]
        size = max(self._sq_array + 4 * submissions, self._cqes + CQE.size * completions)
        self._rings = mmap.mmap(self.fd, size)
        self._sqes = mmap.mmap(self.fd, SQE.size * submissions, offset=SQES_OFFSET)
        self._addresses: list[ctypes.Array[ctypes.c_char]] = []  # that the kernel may read yet

    def close(self) -> None:
        self._sqes.close()
        self._rings.close()
        os.close(self.fd)

    def make_slots(self, count: int) -> None:
        """A table of files without descriptors, all free."""
        table = (ctypes.c_int * count)(*[-1] * count)
        _call(REGISTER, self.fd, REGISTER_FILES, ctypes.addressof(table), count)

    def accept(
        self, listener: socket.socket, *, flags: int = 0, how: int = 0, slot: int = 0
    ) -> None:
        """Ask for a connection; `slot`: its place in the table plus 1, instead of a descriptor."""
        self._submit((ACCEPT, flags, how, listener.fileno(), 0, 0, 0, 0), slot)

    def connect(self, client: socket.socket, path: str) -> None:
        """To a UNIX socket."""
        address = socket.AF_UNIX.to_bytes(2, "little") + path.encode() + b"\0"
        self._addresses.append(ctypes.create_string_buffer(address))
        place = ctypes.addressof(self._addresses[-1])
        self._submit((CONNECT, 0, 0, client.fileno(), len(address), place, 0, 0))

    def _submit(self, asked: tuple[int, ...], slot: int = 0) -> None:
        tail = self._word(self._sq_tail)
        index = tail & self._word(self._sq_mask)
        fields = (*asked, tail, 0, 0, slot)
        SQE.pack_into(self._sqes, index * SQE.size, *fields)
        struct.pack_into("=I", self._rings, self._sq_array + 4 * index, index)
        struct.pack_into("=I", self._rings, self._sq_tail, tail + 1)
        _call(ENTER, self.fd, 1, 0, 0, 0, 0)

    def wait(self, count: int) -> list[Done]:
        """At least so many completions."""
        found = self._completions()
        while len(found) < count:
            _call(ENTER, self.fd, 0, count - len(found), GETEVENTS, 0, 0)
            found += self._completions()
        return found

    def _completions(self) -> list[Done]:
        found = []
        head, tail = self._word(self._cq_head), self._word(self._cq_tail)
        while head != tail:
            place = self._cqes + (head & self._word(self._cq_mask)) * CQE.size
            _, result, flags = CQE.unpack_from(self._rings, place)
            found.append(Done(result, flags))
            head = (head + 1) & 0xFFFFFFFF
        struct.pack_into("=I", self._rings, self._cq_head, head)
        return found

    def _word(self, offset: int) -> int:
        return int(struct.unpack_from("=I", self._rings, offset)[0])


@contextmanager
def ring() -> Iterator[Ring]:
    opened = Ring()
    try:
        yield opened
    finally:
        opened.close()


def _call(number: int, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if result >= 0:
        return int(result)
    code = ctypes.get_errno()
    if code == errno.EINTR:
        return _call(number, *arguments)
    raise OSError(code, os.strerror(code))
