"""A tracer as users run it: a process of its own, whose output goes to /dev/null."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cost.subjects import Subject

# Of the guest's clock, which runs away while the guest waits for files of a busy host.
READY_LIMIT_S = 3600.0
END_LIMIT_S = 60.0
PRINTED_BYTES = 4096  # by `nudge`'s connections, and more than any heading
LOOK_S = 0.5  # idle time takes no instructions, and is soon over
SETTLED_S = 1.0


class TracerError(Exception):
    """It did not trace: ended, or never wrote what it saw."""


class Tracer:
    """One that runs. All figures are of the process with all its threads."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self._said = said
        self._folder = Path(f"/proc/{process.pid}")

    def own_ns(self) -> int:
        """What it ran itself since its start; under -icount one is one instruction."""
        threads = self._folder.glob("task/*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads)

    def settle(self) -> None:
        """Wait until it sleeps: its first refresh is over."""
        before = -1
        while before != (now := self.own_ns()):
            before = now
            time.sleep(SETTLED_S)

    def written(self) -> int:
        """Bytes to standard output, though it be /dev/null: all but what it said."""
        return self._field("io", "wchar") - self._said.stat().st_size

    def peak_kib(self) -> int:
        """Largest resident size so far."""
        return self._field("status", "VmHWM")

    def _field(self, file: str, name: str) -> int:
        lines = (self._folder / file).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextmanager
def running(subject: Subject, port: int, nudge: Callable[[], object]) -> Iterator[Tracer]:
    """Start it, wait until it traces, end it with SIGINT.

    `nudge` makes some hundred connections. Raises TracerError with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready, said = Path(folder, "ready"), Path(folder, "said")
        call = [part.format(port=port, ready=ready) for part in subject.call]
        with said.open("wb") as errors:
            process = subprocess.Popen(
                call, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
            )
        tracer = Tracer(process, said)
        try:
            traces = ready.exists if subject.tells_ready else _printing(tracer, nudge)
            _wait(process, traces, said)
            if not subject.prints_each:
                tracer.settle()
            yield tracer
        finally:
            _end(process)


def _printing(tracer: Tracer, nudge: Callable[[], object]) -> Callable[[], bool]:
    def prints() -> bool:
        before = tracer.written()
        nudge()
        return tracer.written() - before >= PRINTED_BYTES

    return prints


def _wait(process: subprocess.Popen[bytes], traces: Callable[[], bool], said: Path) -> None:
    deadline = time.monotonic() + READY_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        if traces():
            return
        time.sleep(LOOK_S)
    ended = process.poll()
    how = "prints nothing" if ended is None else f"ended with status {ended}"
    raise TracerError(f"{how}: {reason(said.read_text(errors='replace'))}")


def reason(said: str) -> str:
    """The line of all that a tracer printed that says most."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if "error:" in line.lower()] or lines[-1:]
    return lines[0] if lines else "without a word"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
