"""Forked processes that end when their parent does.

Parent and child share a socket pair. The child sees its end of file as soon as the parent closes
its half or dies in any way, SIGKILL included, and ends: no signal and no prctl is needed. One that
must outlive a SIGKILL to the process group, to clean up, makes a session of its own.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import traceback
import weakref
from collections.abc import Callable
from typing import Final, NoReturn

from accepttrace.errors import AcceptTraceError

READY: Final = b"+"
READY_TIMEOUT_S: Final = 10.0
END_TIMEOUT_S: Final = 5.0

# Those of this process. A forked child lets go of its elder siblings: otherwise it would keep their
# channels open beyond the parent's death, and hundreds of them hundreds of descriptors each.
_children: weakref.WeakSet[Child] = weakref.WeakSet()


class Child:
    """One forked process and the parent's half of its channel."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self._pidfd = os.pidfd_open(pid)
        self._reaped = False

    def let_go(self) -> None:
        """In a sibling: it has nothing to do with it."""
        self.channel.close()
        if not self._reaped:
            os.close(self._pidfd)
            self._reaped = True

    def await_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for the child's READY byte; AcceptTraceError if it ends first or is too slow."""
        self.channel.settimeout(timeout_s)
        try:
            answer = self.channel.recv(1)
        except TimeoutError:
            raise AcceptTraceError(
                f"process {self.pid} gave no answer in {timeout_s:g} s"
            ) from None
        except OSError:
            answer = b""
        if answer != READY:
            raise AcceptTraceError(
                f"process {self.pid} ended before it was ready", "its error is on stderr"
            )

    def ask(self, order: bytes) -> None:
        """Send an order of one byte and wait until the child says it is done."""
        self.channel.sendall(order)
        self.await_ready()

    def finish_asking(self) -> None:
        """Let the child read end of file; it may still answer."""
        with contextlib.suppress(OSError):  # the child has gone already
            self.channel.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """Tell the child to end, now."""
        # shutdown, because close does nothing while a copy of the descriptor is open elsewhere
        with contextlib.suppress(OSError):  # the child has gone already
            self.channel.shutdown(socket.SHUT_RDWR)
        self.channel.close()

    def reap(self, timeout_s: float = END_TIMEOUT_S) -> None:
        """Wait for the child's end; kill it after `timeout_s`. Leaves no zombie."""
        if self._reaped:
            return
        ending = select.poll()  # select() takes no descriptor above 1023
        ending.register(self._pidfd, select.POLLIN)
        if not ending.poll(timeout_s * 1e3):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # someone else waits for all our children
            os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        self._reaped = True


def fork(run: Callable[[socket.socket], None]) -> Child:
    """Start a process that does `run(channel)` and ends; it never returns into the caller's code.

    `run` must return when `channel` reads end of file. Fork before threads are started (a live
    display, for one): a child takes over their locks, not their threads.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _live(run, ours, theirs)
    theirs.close()
    child = Child(pid, ours)
    _children.add(child)
    return child


def hear(channel: socket.socket) -> bytes:
    """In the child: the next order of one byte; b"" once the parent hung up or died."""
    try:
        return channel.recv(1)
    except ConnectionError:  # it died before it read all that we said
        return b""


def end_all(children: list[Child]) -> None:
    """Tell all to end, then reap all."""
    for child in children:
        child.hang_up()
    for child in children:
        child.reap()


def _reset_signals() -> None:
    """Handlers of the parent are not the child's."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGQUIT, signal.SIGTSTP, signal.SIGALRM, signal.SIGWINCH):
        signal.signal(number, signal.SIG_DFL)
    # These reach the whole process group; the parent decides when its children end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _live(
    run: Callable[[socket.socket], None], ours: socket.socket, theirs: socket.socket
) -> NoReturn:
    status = 1
    try:
        ours.close()
        for sibling in list(_children):
            sibling.let_go()
        _reset_signals()
        run(theirs)
        status = 0
    except ConnectionError:  # the parent is gone: nobody is left to report to
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
