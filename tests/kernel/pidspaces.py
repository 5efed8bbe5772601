"""Processes in PID namespaces of their own, without any program: by unshare() and fork()."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
MS_REC_PRIVATE = 0x4000 | 1 << 18
PR_SET_PDEATHSIG = 1


@contextmanager
def beside(run: Callable[[], object]) -> Iterator[int]:
    """`run` in a process of the caller's own namespace, until the block ends; its PID."""
    pid = os.fork()
    if not pid:
        _live(run)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def below(run: Callable[[], object]) -> Iterator[int]:
    """`run` as the first process of a namespace below the caller's, which sees its own /proc.

    Its PID as the caller sees it. It, and all in its namespace, end with the block.
    """
    here, there = os.pipe()

    def make() -> None:
        os.close(here)
        _call("unshare", CLONE_NEWPID | CLONE_NEWNS)
        first = os.fork()
        if not first:
            os.close(there)
            _live(lambda: _within(run))
        os.write(there, str(first).encode())
        os.close(there)
        os.waitpid(first, 0)

    with beside(make):
        os.close(there)
        with open(here, encoding="ascii") as told:
            yield int(told.read())


def serving(listener: socket.socket, label: str) -> Callable[[], None]:
    """Accept for ever, and tell each client who it was: `label`, and its PID as it sees itself."""

    def serve() -> None:
        listener.setblocking(True)
        while True:
            connection, _ = listener.accept()
            connection.sendall(f"{label} {os.getpid()}".encode())
            connection.close()

    return serve


def _live(run: Callable[[], object]) -> NoReturn:
    """It does not outlive its parent; the first of a PID namespace takes all others with it."""
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _within(run: Callable[[], object]) -> None:
    _call("mount", None, b"/", None, MS_REC_PRIVATE, None)
    _call("mount", b"proc", b"/proc", b"proc", 0, None)
    run()


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
