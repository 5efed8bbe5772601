"""Where the instructions go: what bench/profile.c counted, by function of the kernel.

Each block of code that ran between the marks of a run counts as often as it ran. A function is
named without what it calls.
"""

from __future__ import annotations

import re
import subprocess
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.cost.results import Result
from bench.cost.subjects import ALL_LOOPS

KERNEL = 1 << 63
LEAST = 4.0  # instructions for each connection: less are summed up
QEMU_MAJORS = (7, 8)  # those with the plugin interface of bench/profile.c

Profile = dict[str, float]  # instructions for each connection, by function


def is_possible() -> bool:
    """Whether the QEMU that is installed can load the plugin."""
    call = ("qemu-system-x86_64", "--version")
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)", shown)
    return version is not None and int(version.group(1)) in QEMU_MAJORS


def symbols_file(name: str) -> str:
    """Where the symbols of a subject are kept."""
    return f"symbols.{re.sub('[^a-z0-9]+', '-', name)}"


def text(
    results: Iterable[Result], folder: Path, only: str = "", loops: Iterable[str] = ALL_LOOPS
) -> str:
    """For each subject whose name has the pattern: functions that run more or less than untraced.

    `folder` has the plugin's files, "profile.N" by the number of the run, and the symbols.
    """
    parts = []
    for result in results:
        kallsyms = folder / symbols_file(result.name)
        if result.error or not kallsyms.exists() or not re.search(only, result.name):
            continue
        symbols = Symbols(kallsyms.read_text())
        for loop in filter(result.before.__contains__, loops):
            profiles = [
                symbols.profile((folder / f"profile.{run.number}").read_text(), run.made)
                for run in (result.before[loop], result.traced[loop])
            ]
            parts += [f"{result.name}, {loop} listener", *lines(*profiles), ""]
    return "\n".join(parts)


def lines(untraced: Profile, traced: Profile) -> Iterator[str]:
    """The difference by function, the greatest first."""
    added = {name: traced.get(name, 0) - untraced.get(name, 0) for name in traced | untraced}
    shown = sorted((n for n in added if abs(added[n]) >= LEAST), key=lambda n: -abs(added[n]))
    yield "    added  untraced    traced"
    for name in shown:
        yield _line(added[name], untraced.get(name, 0), traced.get(name, 0), name)
    others = set(added) - set(shown)
    yield _sum(added, untraced, traced, others, f"{len(others)} others")
    yield _sum(added, untraced, traced, set(added), "all")


def _sum(added: Profile, untraced: Profile, traced: Profile, names: set[str], title: str) -> str:
    one, two, three = (sum(of.get(n, 0) for n in names) for of in (added, untraced, traced))
    return _line(one, two, three, title)


def _line(added: float, untraced: float, traced: float, name: str) -> str:
    return f"{added:9.1f} {untraced:9.1f} {traced:9.1f}  {name}"


class Symbols:
    """The kernel's functions and BPF programs, as /proc/kallsyms lists them."""

    def __init__(self, kallsyms: str) -> None:
        rows = (line.split() for line in kallsyms.splitlines())
        found = sorted((int(row[0], 16), row[2]) for row in rows if row[1] in "tTwW")
        self._addresses = [address for address, _ in found]
        self._names = [name for _, name in found]

    def profile(self, counted: str, connections: int) -> Profile:
        """Of one file of the plugin."""
        total: Profile = defaultdict(float)
        for line in counted.splitlines():
            address, instructions, runs = line.split()
            name = self._name(int(address, 16))
            total[name] += int(instructions) * int(runs) / connections
        return dict(total)

    def _name(self, address: int) -> str:
        if address < KERNEL:
            return "user space"
        place = bisect_right(self._addresses, address)
        return self._names[place - 1] if place else "unknown"
