"""A BPF ring buffer in memory that it shares with the kernel: many records at once.

Documentation/bpf/ringbuf.rst: a page with the position of the consumer, one with that of the
producer, and the data, mapped twice in a row, so that no record is broken at its end.
"""

from __future__ import annotations

import mmap
import select
from threading import Lock
from typing import Final

_HEAD: Final = 8  # of each record: its length with a flag, and an offset for the kernel
_BUSY: Final = 1 << 31  # it is being written


class Ring:
    """The reader of a ring buffer whose records are all of one size, a multiple of 8 bytes.

    `fd` stays the caller's. OSError: it cannot be mapped.
    """

    def __init__(self, fd: int, size: int, record: int) -> None:
        self.stride = _HEAD + record
        self._record = record
        self._mask = size - 1
        page = mmap.PAGESIZE
        self._consumer = mmap.mmap(fd, page)
        self._shared = mmap.mmap(fd, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        self._read = memoryview(self._consumer).cast("Q")
        self._written = memoryview(self._shared)[:page].cast("Q")
        self._data = memoryview(self._shared)[page:]
        self._lengths = self._data.cast("I")
        self._fence = Lock()
        # Edges alone: it is ready at any time that something is in it.
        self._wakes = select.epoll()
        self._wakes.register(fd, select.EPOLLIN | select.EPOLLET)

    def fileno(self) -> int:
        """Ready when the kernel asks to be read."""
        return self._wakes.fileno()

    def take(self, most: int) -> bytes:
        """The oldest records, as many as are complete, each behind 8 bytes of its own head."""
        self._wakes.poll(0)
        done = self._read[0]
        first = done & self._mask
        # What is behind a fence is not read before what is in front of it, on any machine.
        with self._fence:
            there = min((self._written[0] - done) // self.stride, most)
        with self._fence:
            complete = self._complete(first, there)
        with self._fence:
            found = bytes(self._data[first : first + complete * self.stride])
        with self._fence:
            self._read[0] = done + len(found)
        return found

    def _complete(self, first: int, there: int) -> int:
        """How many from the first on are written to their end."""
        words = self.stride // 4
        lengths = self._lengths[first // 4 : first // 4 + there * words : words].tolist()
        if lengths.count(self._record) == there:
            return there
        return next(n for n, length in enumerate(lengths) if length & _BUSY)

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        for view in (self._read, self._written, self._lengths, self._data):
            view.release()
        self._consumer.close()
        self._shared.close()
        self._wakes.close()
