"""What tests with real processes share: a forked child, and waiting for a condition."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def wait_until_it_is(value: object, read: Callable[[], object]) -> None:
    wait_until(lambda: read() == value)


@contextmanager
def child(run: Callable[[], object]) -> Iterator[int]:
    """A forked process that does `run`, until the block ends."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
