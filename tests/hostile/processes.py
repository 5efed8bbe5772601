"""accepttrace as a process that others treat badly."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ACCEPTTRACE = (sys.executable, "-m", "accepttrace")
END_S = 1.0  # from a signal to the end, as promised
SLACK_S = 1.0  # of a machine that does other things, too
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def caught(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def wait_for(condition: Any, what: str, timeout_s: float = 60.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.002)


@contextmanager
def started(*options: str, **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is killed at the end of the block, if it is still there."""
    with subprocess.Popen((*ACCEPTTRACE, *options), **popen) as process:
        try:
            yield process
        finally:
            process.kill()


def seconds_to_end(process: subprocess.Popen[bytes], number: int) -> float:
    """From the signal to the end of the process, less what its first thread waited for a processor
    that others used.
    """
    waited_s, began = kept_waiting_s(process.pid), time.monotonic()
    process.send_signal(number)
    wait_for(lambda: os.waitid(os.P_PID, process.pid, ENDED), "the end", 30)
    took_s = time.monotonic() - began - (kept_waiting_s(process.pid) - waited_s)
    process.wait()
    return took_s


def kept_waiting_s(pid: int) -> float:
    """How long a thread could have run but did not, by the kernel's count, until it is reaped; 0.0
    of a kernel that does not count it (CONFIG_SCHED_INFO).
    """
    with suppress(FileNotFoundError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


class Terminal:
    """accepttrace on a pseudo-terminal that a test reads from, or not."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(environment)
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
                signal.signal(number, signal.SIG_DFL)
            os.environ["TERM"] = "xterm"
            os.execv(ACCEPTTRACE[0], (*ACCEPTTRACE, *arguments))
        self.got = b""
        self.status: int | None = None

    def read_until(self, text: bytes, timeout_s: float = 60.0) -> None:
        """Read until `text` has come; what was read before it is dropped."""
        deadline = time.monotonic() + timeout_s
        while text not in self.got:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.fd], [], [], left)[0]:
                pytest.fail(f"{text!r} did not come: {self.got[-300:]!r}")
            self.got += os.read(self.fd, 65536)
        self.got = self.got.partition(text)[2]

    def rest(self) -> bytes:
        """All that is still there to be read."""
        with suppress(OSError):
            while select.select([self.fd], [], [], 0.1)[0] and (part := os.read(self.fd, 65536)):
                self.got += part
        return self.got

    def wait(self, timeout_s: float = 30.0) -> float:
        """Seconds until it ended; `status` is negative after a signal."""
        began = time.monotonic()
        pidfd = os.pidfd_open(self.pid)
        try:
            if not select.select([pidfd], [], [], timeout_s)[0]:
                os.kill(self.pid, signal.SIGKILL)
                pytest.fail(f"still there {timeout_s} s later")
        finally:
            os.close(pidfd)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return time.monotonic() - began

    def close(self) -> None:
        """As a window that is closed."""
        with suppress(OSError):
            os.close(self.fd)
