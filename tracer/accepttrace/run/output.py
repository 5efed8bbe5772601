"""Standard output, whether its reader takes all of it, takes it slowly, or has stopped."""

from __future__ import annotations

import codecs
import errno
import fcntl
import os
import select
import signal
import socket
import stat
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from accepttrace.errors import AcceptTraceError
from accepttrace.run.pace import WRITE_S, Pace, unbroken

_CHUNK = 4096  # PIPE_BUF: where poll() says that a pipe can be written to, so much fits
_PIPE_MOST = 4 << 20
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)  # EIO: a terminal that was closed


class Output:
    """A file to print to, which waits for its reader, but not once the run shall end.

    Until an end is requested, `flush` returns when all was taken. From then on it returns at once,
    and `finish` gives the reader what little time is left. BrokenPipeError: the reader has gone.
    None of them is broken off: nothing is written twice, or in part.
    """

    def __init__(
        self, fd: int, pace: Pace, encoding: str = "utf-8", errors: str = "backslashreplace"
    ) -> None:
        self._fd = fd
        self._pace = pace
        self.encoding = encoding
        self._encode = codecs.getincrementalencoder(encoding)(errors).encode
        self._rest = b""
        self._taken = 0  # so much of the rest
        self._gone = False
        self.cut = False  # whether what was taken ends within a line
        self._write = writer(fd)

    def fileno(self) -> int:
        """The descriptor it was made of."""
        return self._fd

    def isatty(self) -> bool:
        """Whether a person sees it on a terminal."""
        return os.isatty(self._fd)

    @property
    def waits(self) -> bool:
        """Whether some of the text is not taken yet."""
        return bool(self._rest)

    def write(self, text: str) -> int:
        """Take some text, for the next `flush`."""
        if not self._gone:
            with unbroken():
                self._rest, self._taken = self._rest[self._taken :] + self._encode(text), 0
        return len(text)

    def flush(self) -> None:
        """Wait until all was taken, or an end is requested."""
        with unbroken():
            while not self._push() and not self._pace.ended:
                self._pace.wait(None, self._fd)

    def finish(self) -> bool:
        """Give the reader the rest of the time; whether it took all."""
        self.flush()
        if self._rest:
            self._make_room()
        while not self._push():
            left = self._pace.left_s(WRITE_S)
            if left == 0:
                return False
            self._pace.wait(left, self._fd)
        return True

    def now(self, text: str) -> None:
        """Write it past all that waits, if that can be done at once."""
        with suppress(OSError):
            self._write(text.encode(self.encoding, errors="replace"))

    def give_back(self, text: str) -> None:
        """Write to a terminal in whatever state it is: stopped (Ctrl-S), or not read from."""
        self._rest = b""
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError, termios.error):
            for action in (termios.TCOOFF, termios.TCOON):  # the latter undoes only the former
                termios.tcflow(self._fd, action)
            termios.tcflush(self._fd, termios.TCOFLUSH)
        self.now(text)

    def _push(self) -> bool:
        """Write what can be written without waiting; whether that was all."""
        rest = memoryview(self._rest)  # megabytes, of which a reader takes a little at a time
        try:
            while self._taken < len(rest):
                self._taken += self._write(rest[self._taken :])
                self.cut = rest[self._taken - 1] != ord("\n")
        except BlockingIOError:
            return False
        except OSError as error:
            self._rest, self._gone = b"", True
            raise _refused(error) from None
        finally:
            if self._taken >= len(self._rest):
                self._rest, self._taken = b"", 0
        return True

    def _make_room(self) -> None:
        """Let a pipe hold the rest, so that no line is cut although its reader has stopped."""
        with suppress(OSError):
            size = fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ)
            wanted = size + len(self._rest) - self._taken + 2 * _CHUNK
            if wanted <= _PIPE_MOST:
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, wanted)


def standard_output(pace: Pace) -> Output:
    """Of this process."""
    errors = "backslashreplace" if sys.stdout.errors in (None, "strict") else sys.stdout.errors
    return Output(sys.stdout.fileno(), pace, sys.stdout.encoding, str(errors))


def say(text: str) -> None:
    """A line on standard error, if it is taken at once."""
    with suppress(OSError):
        writer(2)(f"accepttrace: {text}\n".encode())


def _refused(error: OSError) -> Exception:
    if error.errno in _GONE:
        return BrokenPipeError(error.errno, os.strerror(error.errno))
    return AcceptTraceError(
        f"cannot write to standard output: {os.strerror(error.errno or 0)}",
        "send it to a place that has room for it",
    )


def writer(fd: int) -> Callable[[bytes | memoryview], int]:
    """A write() that does not wait: BlockingIOError where it would have to.

    O_NONBLOCK on a description that was inherited would be the shell's, too.
    """
    kind = os.fstat(fd).st_mode
    if stat.S_ISSOCK(kind):
        sender = socket.socket(fileno=os.dup(fd))
        return lambda data: sender.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    if stat.S_ISFIFO(kind) or os.isatty(fd):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with suppress(OSError):  # of somebody else, and we are not root
            own = os.open(f"/proc/self/fd/{fd}", flags)
            return lambda data: os.write(own, data)
    return partial(_write_what_fits, fd)


def _write_what_fits(fd: int, data: bytes | memoryview) -> int:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(fd, data[:_CHUNK])
