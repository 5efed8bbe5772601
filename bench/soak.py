"""Hours in short: churning workers, listeners and namespaces, and a hostile user beside them.

`python -m bench.soak [--seconds 1800]`, as root. Every count is held against the server's own; the
tracer's memory must stay flat, its refreshes on time, and nothing attached afterwards. Prints what
it saw, one thing a line; status 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.strangers import KINDS

HERE = Path(__file__).parent
ACCEPTTRACE = Path(sys.executable).with_name("accepttrace")
# Ports outside of the range that the kernel gives to clients.
OWN, SHARED, THREADS, STEADY, GUESTS = 18101, 18102, 18103, 18104, 18105
PORTS = (OWN, SHARED, THREADS, STEADY, GUESTS)
HOST_PORTS = (OWN, SHARED, THREADS, STEADY)
POLITE = ("nice", "-n10")  # the machine is busy, yet a process that is not polite gets its share
NOBODY = (*POLITE, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
INTERVAL_S = 1.0
LATE_S = 0.5
GROWTH_MIB = 5.0
FREED_S = 5.0
GUEST_CONNECTIONS = 20
SETTLE_S = 3.0  # what came last is read, and the dead are let go, within this time

# Listens in a network namespace of its own, takes some connections, and goes away with it.
GUEST = f"""
import socket
listener = socket.create_server(("127.0.0.1", {GUESTS}), backlog=128)
for _ in range({GUEST_CONNECTIONS}):
    with socket.create_connection(("127.0.0.1", {GUESTS})):
        listener.accept()[0].close()
"""


@dataclass
class Watched:
    """The running tracer, and what was seen of it from outside."""

    process: subprocess.Popen[str]
    lines: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    latest_s: float = 0.0
    longest_line: int = 0
    rss_mib: list[tuple[float, float]] = field(default_factory=list)

    def read(self) -> None:
        """Everything that it prints, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.last = json.loads(line)
            self.lines += 1
            self.longest_line = max(self.longest_line, len(line))
            if self.last["type"] == "snapshot":
                self.latest_s = max(self.latest_s, self.last["interval_s"] - INTERVAL_S)

    def weigh(self, at_s: float) -> None:
        """Its resident memory now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                self.rss_mib.append((at_s, int(line.split()[1]) / 1024))

    def growth_mib(self, seconds: float) -> float:
        """The most after the first third (at most two minutes), above the most before."""
        edge = min(seconds / 3, 120)
        early = [mib for at, mib in self.rss_mib if at <= edge]
        late = [mib for at, mib in self.rss_mib if at > edge]
        return max(late) - max(early)


def programs() -> set[int]:
    """The BPF programs of this machine, by id."""
    found = subprocess.run(("bpftool", "-j", "prog", "list"), capture_output=True, check=True)
    return {program["id"] for program in json.loads(found.stdout or b"[]")}


def programs_of(pid: int) -> set[int]:
    """Those that a process holds."""
    held = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # it is running: it closes what it has read
            found = re.search(r"^prog_id:\s*(\d+)", entry.read_text(), re.MULTILINE)
            held |= {int(found.group(1))} if found else set()
    return held


def remaining(held: set[int]) -> set[int]:
    """Those of them that are still loaded; the kernel frees them a moment after their last user."""
    until = time.monotonic() + FREED_S
    while held & programs() and time.monotonic() < until:
        time.sleep(0.05)
    return held & programs()


@contextmanager
def tracer(folder: Path) -> Iterator[Watched]:
    """Attached and proved; ended in any case."""
    ready = folder / "ready"
    ports = ",".join(map(str, PORTS))
    process = subprocess.Popen(
        (ACCEPTTRACE, "-p", ports, "-i", str(INTERVAL_S), "-o", "jsonl", "--ready-file", ready),
        stdout=subprocess.PIPE,
        text=True,
    )
    watched = Watched(process)
    reader = threading.Thread(target=watched.read)
    reader.start()
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise SystemExit(f"accepttrace ended with {process.returncode}")
            time.sleep(0.01)
        yield watched
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        reader.join()


def server(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A server with its own clients, listening; its load waits for a line."""
    process = subprocess.Popen(
        (*POLITE, HERE / program, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()
    return process


def begin(process: subprocess.Popen[str]) -> None:
    """Let the load run."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def result(process: subprocess.Popen[str]) -> Mapping[str, Any]:
    """What a server counted itself."""
    found: Mapping[str, Any] = json.loads(process.communicate()[0])
    return found


@contextmanager
def strangers() -> Iterator[None]:
    """All kinds, as nobody, each on ports of the real servers."""
    started = [
        subprocess.Popen(
            (*NOBODY, sys.executable, "-m", "bench.strangers", kind, str(HOST_PORTS[at % 4])),
            cwd=HERE.parent,
        )
        for at, kind in enumerate(KINDS)
    ]
    try:
        yield
        ended = [p.args for p in started if p.poll() is not None]
        if ended:
            raise SystemExit(f"strangers ended too early: {ended}")
    finally:
        for process in started:
            process.kill()
            process.wait()


def guests(until: float) -> int:
    """One server a second in a network namespace of its own; how many connections they took."""
    taken = 0
    while time.monotonic() < until:
        command = (
            "unshare",
            "-n",
            "sh",
            "-c",
            f"ip link set lo up; exec {sys.executable} -c '{GUEST}'",
        )
        subprocess.run(command, check=True)
        taken += GUEST_CONNECTIONS
        time.sleep(min(max(until - time.monotonic(), 0), 1.0))
    return taken


def accepted(summary: Mapping[str, Any], port: int, netns: int | None) -> int:
    """By the tracer, on 127.0.0.1 and every address of a port; of one network namespace or any."""
    return sum(
        row["accepts"]
        for row in summary["acceptors"]
        if row["local_port"] == port and netns in (None, row["netns"])
    )


def main() -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        load = ("-d", str(seconds))
        servers = {
            OWN: server("churn", "own", str(OWN), "-w", "4", "-a", "300", "-c", "1", *load),
            SHARED: server("churn", "shared", str(SHARED), "-w", "4", "-a", "50", "-c", "1", *load),
            THREADS: server(
                "churn", "shared", str(THREADS), "-w", "2", "-a", "2000", "-t", "-c", "1", *load
            ),
            STEADY: server(
                "flood", "pair", "reuseport", str(STEADY), "-w", "4", "-r", "500", "-g", *load
            ),
        }
        for process in servers.values():
            stack.callback(process.kill)  # theirs end with them
        watched = stack.enter_context(tracer(folder))
        held = programs_of(watched.process.pid)
        stack.enter_context(strangers())
        for process in servers.values():
            begin(process)
        began = time.monotonic()
        weigher = threading.Thread(target=_weigh, args=(watched, began, began + seconds))
        weigher.start()
        in_guests = guests(began + seconds)
        weigher.join()
        counted = {port: result(process) for port, process in servers.items()}
        time.sleep(SETTLE_S)
    return report(watched, counted, in_guests, seconds, remaining(held))


def _weigh(watched: Watched, began: float, until: float) -> None:
    while time.monotonic() < until:
        watched.weigh(time.monotonic() - began)
        time.sleep(1.0)


def report(
    watched: Watched,
    counted: Mapping[int, Mapping[str, Any]],
    in_guests: int,
    seconds: float,
    left: set[int],
) -> int:
    """What was seen, and whether all of it holds."""
    summary, own = watched.last, os.stat("/proc/self/ns/net").st_ino
    books = summary["books"]
    rows: list[tuple[str, object, bool]] = []
    for port, server in counted.items():
        made, seen = server.get("taken", server.get("accepts")), accepted(summary, port, own)
        rows.append((f"port {port}", f"{made:,} taken, {seen:,} counted", made == seen))
    seen = accepted(summary, GUESTS, None)
    rows += [
        ("guests", f"{in_guests:,} taken, {seen:,} counted", in_guests == seen),
        ("workers that lived", sum(server.get("workers", 0) for server in counted.values()), True),
        ("accepted unseen", books["unseen"], not books["unseen"]),
        ("books", books["word"], books["word"] != "unbalanced"),
        ("rows that did not fit", books["map_full"], not books["map_full"]),
        ("memory", f"{watched.rss_mib[-1][1]:.1f} MiB", True),
        (
            "its growth",
            f"{watched.growth_mib(seconds):.1f} MiB",
            watched.growth_mib(seconds) <= GROWTH_MIB,
        ),
        ("latest refresh", f"{watched.latest_s:.2f} s late", watched.latest_s <= LATE_S),
        ("longest line", f"{watched.longest_line:,} bytes", True),
        ("exit status", watched.process.returncode, watched.process.returncode == 0),
        ("programs left attached", len(left), not left),
    ]
    for name, value, holds in rows:
        print(f"{'  ' if holds else '! '}{name}: {value}")
    return 0 if all(holds for _, _, holds in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
