"""A process of our own that reads what may block, and that can be given up.

Memory of strangers (/proc/PID/cmdline, /proc/TID/mem) may lie where reading never ends, not even by
SIGKILL. So a child reads it. One that does not answer in time is killed and replaced, and nothing
waits for its end: it holds none of our descriptors, so nothing stays attached with it.
"""

from __future__ import annotations

import ctypes as c
import os
import pickle
import select
import signal
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Final, TypeVar

A = TypeVar("A")
R = TypeVar("R")

GIVEN_UP_AT_MOST: Final = 4  # children that are stuck for good; then nothing more is asked
BLOCKED_S: Final = 0.2  # without an answer, where the child sleeps
BUSY_S: Final = 2.0  # ... where it runs, or would if the machine had time for it
SIZE_BYTES: Final = 4
PR_SET_PDEATHSIG: Final = 1
FIRST_OWN: Final = 3  # of the file descriptors: after input, output and errors


class Helper:
    """Calls functions in a child process, each with a time limit."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._stuck: list[_Child] = []

    @property
    def usable(self) -> bool:
        """False while so many children are stuck that no other is risked."""
        self._stuck = [child for child in self._stuck if not child.has_ended()]
        return len(self._stuck) < GIVEN_UP_AT_MOST

    def map(
        self, function: Callable[[A], R], arguments: Collection[A], until_s: float
    ) -> Iterator[tuple[A, R | None]]:
        """What `function` returns for each argument; None where it did not in time, or raised.

        A function of a module, with arguments and results that pickle. What is not begun at
        `until_s` (time.monotonic()) is left out.
        """
        rest = list(arguments)
        while rest and self.usable and time.monotonic() < until_s:
            self._child = self._child or _Child()
            done = 0
            try:
                for result in self._child.ask(function, rest, until_s):
                    yield rest[done], result
                    done += 1
            except (
                BaseException
            ):  # by a signal, or as the caller has stopped: what comes now is stale
                self._give_up()
                raise
            rest = rest[done:]
            if rest:
                is_stuck = self._child.is_stuck
                self._give_up()
                if is_stuck:
                    yield rest.pop(0), None

    def close(self) -> None:
        """End the child. May be called twice."""
        if self._child is not None:
            self._give_up()

    def _give_up(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._stuck.append(self._child)
            self._child = None


class _Child:
    """A forked process that does what it is asked, one after the other."""

    def __init__(self) -> None:
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        self.is_stuck = False
        self._pid = os.fork()
        if not self._pid:
            _serve(read_there, write_there)
        os.close(read_there)
        os.close(write_there)
        self._input, self._output = read_here, write_here
        # Also for one that was not closed: it would wait for as long as we live.
        self._end = weakref.finalize(self, _end, os.getpid(), self._pid, read_here, write_here)
        self._poll = select.poll()
        self._poll.register(read_here, select.POLLIN)
        self._held = b""

    def ask(
        self, function: Callable[[A], R], arguments: list[A], until_s: float
    ) -> Iterator[R | None]:
        """Results in order, as many as come; `is_stuck` is true where the next one is at fault."""
        try:
            _put(self._output, pickle.dumps((function, arguments)))
            for _ in arguments:
                data = self._get(until_s)
                if data is None:
                    return
                yield pickle.loads(data)
        except OSError:  # it was killed from outside
            self.is_stuck = True

    def kill(self) -> None:
        """Let go of it; the kernel ends it as soon as it can."""
        self._end()

    def has_ended(self) -> bool:
        """Whether it is gone, after `kill`."""
        try:
            return os.waitpid(self._pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def _get(self, until_s: float) -> bytes | None:
        """One result; None where it does not come, or the child has died."""
        began = time.monotonic()
        while True:
            end = SIZE_BYTES + int.from_bytes(self._held[:SIZE_BYTES], "little")
            if len(self._held) >= end:
                data, self._held = self._held[SIZE_BYTES:end], self._held[end:]
                return data
            now = time.monotonic()
            waited_s = now - began
            self.is_stuck = waited_s >= BLOCKED_S and (waited_s >= BUSY_S or not self._runs())
            if self.is_stuck or now >= until_s:
                return None
            if self._poll.poll(min(until_s - now, BLOCKED_S) * 1000):
                part = os.read(self._input, 1 << 20)
                self.is_stuck = not part
                if not part:
                    return None
                self._held += part
                began = time.monotonic()  # a long answer comes in many parts

    def _runs(self) -> bool:
        """Whether it is busy, or waits for a processor."""
        try:
            with open(f"/proc/{self._pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] == b"R"
        except OSError:
            return False


def _end(owner: int, pid: int, *pipes: int) -> None:
    """Of a child, by the process that made it: others inherited no more than its name."""
    if os.getpid() != owner:
        return
    for fd in pipes:
        os.close(fd)
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _serve(source: int, sink: int) -> None:
    """What the child does until its parent ends."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH):
            signal.signal(number, signal.SIG_IGN)
        c.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _keep_only(source, sink)
        stream = os.fdopen(source, "rb")
        while size := int.from_bytes(stream.read(SIZE_BYTES), "little"):
            function, arguments = pickle.loads(stream.read(size))
            for argument in arguments:
                _put(sink, pickle.dumps(_result(function, argument)))
    finally:
        os._exit(0)


def _keep_only(*wanted: int) -> None:
    """Close everything else, the standard streams too: a reader of ours waits for their end."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(FIRST_OWN):
        os.dup2(null, fd)
    first = FIRST_OWN
    for fd in sorted(wanted):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _result(function: Callable[[A], R], argument: A) -> R | None:
    try:
        return function(argument)
    except (OSError, ValueError):
        return None


def _put(fd: int, data: bytes) -> None:
    rest = len(data).to_bytes(SIZE_BYTES, "little") + data
    while rest:
        rest = rest[os.write(fd, rest) :]
