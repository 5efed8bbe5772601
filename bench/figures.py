"""The figures: start, memory, CPU of the live table, exactness and events at 40,000/s.

Run as root: `make bench`. Everything is measured from outside, on the command as users start it.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.servers import Server
from accepttrace.probe.load.loaders import NAMES

ACCEPTTRACE = Path(sys.executable).with_name("accepttrace")
FLOOD = Path(__file__).with_name("flood")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Live:
    """accepttrace on a terminal of its own."""

    pid: int
    ready_s: float  # from exec to "attached and proved"
    peak_mib: float = 0.0

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S


@contextmanager
def live(*options: str, rows: int = 24) -> Iterator[Live]:
    """Start it on a pseudo-terminal; yields once it is ready; ends it with SIGINT."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready")
        began = time.monotonic()
        pid, fd = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execv(ACCEPTTRACE, ("accepttrace", *options, "--ready-file", str(ready)))
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 120, 0, 0))
        threading.Thread(target=_drain, args=(fd,), daemon=True).start()
        while not ready.exists():
            if time.monotonic() - began > 60:
                raise SystemExit("accepttrace did not get ready within 60 s")
            time.sleep(0.0005)
        running = Live(pid, time.monotonic() - began)
        try:
            yield running
        finally:
            os.kill(pid, signal.SIGINT)
            _, status, usage = os.wait4(pid, 0)
            running.peak_mib = usage.ru_maxrss / 1024
            if os.waitstatus_to_exitcode(status) != 0:
                raise SystemExit(f"accepttrace ended with {status}")


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        return


def start_and_memory(loader: str, runs: int = 15) -> None:
    """From exec of Python to "attached and proved", and the largest resident size."""
    starts, peaks = [], []
    for _ in range(runs):
        with live("--port", "80", "--loader", loader) as running:
            starts.append(running.ready_s * 1e3)
        peaks.append(running.peak_mib)
    low, middle, high = min(starts), statistics.median(starts), max(starts)
    print(f"{loader}: attached, proved in {middle:.0f} ms ({low:.0f}-{high:.0f}, {runs} runs),"
          f" peak {max(peaks):.1f} MiB")  # fmt: skip


def live_cpu(rate: int, workers: int = 64, seconds: float = 20.0) -> None:
    """CPU of the live screen at 1 Hz, in a window of 80 lines."""
    with Server("reuseport", workers=workers) as server:
        load = Load(server.addresses, Plan(duration_s=seconds + 5, rate=rate, concurrency=64))
        with live("--port", str(server.port), rows=80) as running:
            if rate:
                load.start()
            time.sleep(6)  # holders are looked at more closely in their first five seconds
            cpu, began = running.cpu_s(), time.monotonic()
            time.sleep(seconds - 6)
            share = (running.cpu_s() - cpu) / (time.monotonic() - began)
            if rate:
                load.stop()
    print(f"live screen, {workers:>3} workers, {rate:>6}/s  {100 * share:.1f} % of one core")


@contextmanager
def flooded(
    mode: str, rate: int, seconds: int, *more: str
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A server: its port, and what lets connections come at full speed and says how many did."""
    with subprocess.Popen(
        (FLOOD, "pair", mode, "18080", "-r", str(rate), "-d", str(seconds), "-g", *more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as pair:
        assert pair.stderr is not None
        yield pair.stderr.readline().split()[1], lambda: json.loads(pair.communicate("\n")[0])


@contextmanager
def traced(*options: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Attached and proved; in a session of its own, as from another terminal."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready")
        call = (str(ACCEPTTRACE), *options, "-o", "jsonl", "--ready-file", str(ready))
        with subprocess.Popen(call, text=True, start_new_session=True, **streams) as tracer:
            while not ready.exists():
                time.sleep(0.001)
            yield tracer


def flood(mode: str, rate: int = 40_000, seconds: int = 30) -> None:
    """Connections at full speed: every one must be in the counts of the worker that took it."""
    with (
        flooded(mode, rate, seconds, "-w", "4") as (port, load),
        traced("top", "-p", port, stdout=subprocess.PIPE) as tracer,
    ):
        made = load()
        tracer.send_signal(signal.SIGINT)
        summary = json.loads(tracer.communicate()[0].splitlines()[-1])
    counted: dict[str, int] = {}
    for row in summary["acceptors"]:
        if row["accepts"]:
            key = str(row["pid"])
            counted[key] = counted.get(key, 0) + row["accepts"]
    served = {pid: n for pid, n in made["accepts_by_pid"].items() if n}
    same = "to the last one" if counted == served else f"WRONG: {counted} for {served}"
    accepts = summary["books"]["accepts"]
    print(f"{mode}, {made['rate']:,}/s for {seconds} s: {made['connections']:,} connections,"
          f" {accepts:,} counted, {same}")  # fmt: skip
    if counted != served or accepts != made["connections"]:
        raise SystemExit(1)


def events(rate: int = 41_000, seconds: int = 30) -> None:
    """The same with a line of JSON for each, and what that takes of a core."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with (
        flooded("reuseport", rate, seconds, "-c") as (port, load),
        traced("events", "-p", port, **streams) as tracer,
    ):
        running = Live(tracer.pid, 0.0)
        before = running.cpu_s()
        made = load()
        used = running.cpu_s() - before
        tracer.send_signal(signal.SIGINT)
        said = tracer.communicate()[1].strip()
    print(f"events, {made['rate']:,}/s for {seconds} s: {100 * used / made['seconds']:.1f} % of one"
          f" core, {1e6 * used / made['accepts']:.1f} us each; {said}")  # fmt: skip
    if f"{made['accepts']:,} accepts counted; nothing lost" not in said:
        raise SystemExit(1)


def main() -> None:
    """All of them, or the one that is named."""
    if sys.argv[1:] == ["events"]:
        events()
        return
    if len(sys.argv) < 2:
        for loader in NAMES:
            start_and_memory(loader)
    for workers in (64, 512):
        for rate in (0, 1_000, 5_000):
            live_cpu(rate, workers)
    flood("reuseport")
    flood("shared")
    events()


if __name__ == "__main__":
    main()
