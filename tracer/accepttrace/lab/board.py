"""Counters in memory that a parent and its forked workers share."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Final

_WORD_BYTES: Final = 8
_SLOT_WORDS: Final = 8  # one cache line a worker
_PID, _TID, _ACCEPTS, _EMPTY, _ERRORS, _INODE = range(6)


@dataclass(frozen=True, slots=True)
class WorkerCount:
    """What one worker counted itself since it started.

    `accepts` succeeded; `empty` returned EAGAIN; `errors` failed otherwise. `inode` is the
    listening socket's, as in /proc/PID/fd. `tid` is the thread that accepts: `pid` itself, unless
    workers are threads.
    """

    pid: int
    tid: int
    accepts: int
    empty: int
    errors: int
    inode: int


class Tally:
    """The counters of one worker, written by that worker only."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def sign(self, pid: int, tid: int, inode: int) -> None:
        """Say who counts here, and on which listening socket."""
        self._words[_PID] = pid
        self._words[_TID] = tid
        self._words[_INODE] = inode

    def accepted(self) -> None:
        """One more connection."""
        self._words[_ACCEPTS] += 1

    def found_empty(self) -> None:
        """One more EAGAIN."""
        self._words[_EMPTY] += 1

    def failed(self) -> None:
        """One more error other than EAGAIN."""
        self._words[_ERRORS] += 1

    def read(self) -> WorkerCount:
        """The counters now; from any process that shares the board."""
        words = self._words
        return WorkerCount(
            words[_PID],
            words[_TID],
            words[_ACCEPTS],
            words[_EMPTY],
            words[_ERRORS],
            words[_INODE],
        )


class Board:
    """One tally a worker, and a word by which the parent asks for attention.

    Anonymous shared memory: create it before the fork. It stays readable after the workers ended.
    """

    def __init__(self, workers: int) -> None:
        memory = mmap.mmap(-1, (workers + 1) * _SLOT_WORDS * _WORD_BYTES)
        words = memoryview(memory).cast("Q")
        slots = [words[at : at + _SLOT_WORDS] for at in range(0, len(words), _SLOT_WORDS)]
        self._attention = slots[0]
        self.tallies = tuple(Tally(slot) for slot in slots[1:])

    def call_attention(self, wanted: bool) -> None:
        """Parent: workers in a long loop shall (or need no longer) look at their channel."""
        self._attention[0] = int(wanted)

    def wants_attention(self) -> bool:
        """Worker: the parent has an order on the channel."""
        return self._attention[0] != 0
