"""Doing one thing inside another network namespace, without the caller ever moving there."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000


def call_inside(netns_path: str, function: Callable[[], T]) -> T:
    """What `function` returns or raises, run in a short-lived thread inside `netns_path`.

    A namespace belongs to a thread, and a socket stays in the namespace it was made in: so only
    a thread that ends at once may move. OSError if the namespace is gone (ENOENT), is none
    (EINVAL) or if CAP_SYS_ADMIN is missing (EPERM). MemoryError if there is none for the thread.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            _enter(netns_path)
            result.append(function())
        except BaseException as error:  # handed to the caller, whatever it is
            failure.append(error)

    thread = threading.Thread(target=run, name="accepttrace-netns")
    try:
        thread.start()
    except RuntimeError as error:  # no room for its stack, or no more threads are allowed
        raise MemoryError(str(error)) from None
    thread.join()
    if failure:
        raise failure.pop()
    return result.pop()


def _enter(netns_path: str) -> None:
    fd = os.open(netns_path, os.O_RDONLY)
    try:
        _setns(fd)
    finally:
        os.close(fd)


def _setns(fd: int) -> None:
    """setns(2); Python has it since 3.12."""
    native = getattr(os, "setns", None)
    if native is not None:
        native(fd, CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(ctypes.c_int(fd), ctypes.c_int(CLONE_NEWNET)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
