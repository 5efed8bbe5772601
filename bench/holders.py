"""What it costs to know who holds what: a refresh, and `who`, by size. Needs root and bench/crowd.

make bench-holders
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from accepttrace.config import Filters
from accepttrace.facts.records import Inventory
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.inventory import InventoryReader

CROWD = Path(__file__).with_name("crowd")
ACCEPTTRACE = (sys.executable, "-m", "accepttrace")
REFRESHES = 5


class Size(NamedTuple):
    """As `crowd` takes them: `held` of the processes wait for all listeners, others for `each`."""

    processes: int
    listeners: int
    held: int
    files: int
    each: int = 0


SIZES = (
    Size(64, 64, 64, 100),
    Size(1, 10_000, 0, 0),
    Size(100, 10, 10, 10_000),
    Size(1_000, 100, 1_000, 0),
    Size(10_000, 1_000, 10, 10),
    Size(10_000, 1_000, 0, 0, 1),
)


def main() -> None:
    """Measure each size in a process of its own, for its peak of memory."""
    print(f"{'processes':>9} {'listeners':>9} {'held by':>8} {'files':>7} {'each':>4}", end="")
    print(f" {'first':>8} {'refresh':>8} {'peak':>8} {'who':>8}")
    for size in SIZES:
        if os.fork() == 0:
            measure(size)
            os._exit(0)
        os.wait()


def measure(size: Size) -> None:
    """CPU of the first look, of the next on average, and of `who`."""
    with crowd(size):
        reader = InventoryReader(Filters(), open_iterator())
        first, _ = cpu(reader, full=True)
        later = [cpu(reader)[0] for _ in range(REFRESHES)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        reader.close()
        subprocess.run((*ACCEPTTRACE, "who"), capture_output=True, check=True)
        who = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{size.processes:>9,} {size.listeners:>9,} {size.held:>8,} {size.files:>7,}", end="")
    print(f" {size.each:>4}", end="")
    print(
        f" {first * 1e3:>5.0f} ms {sum(later) / REFRESHES * 1e3:>5.0f} ms {peak:>4.0f} MiB", end=""
    )
    print(f" {who.ru_utime + who.ru_stime:>6.2f} s", flush=True)


def cpu(reader: InventoryReader, full: bool = False) -> tuple[float, Inventory]:
    """Seconds of processor time of one look, after the pass before has rested."""
    time.sleep(0 if full else 1.5)
    began = time.process_time()
    found = reader.read(full)
    return time.process_time() - began, found


@contextmanager
def crowd(size: Size) -> Iterator[None]:
    """So many processes, until the block ends."""
    command = [str(CROWD), *map(str, size)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(1)  # the last of them open their files
        yield
        process.kill()


if __name__ == "__main__":
    main()
