"""Where the instructions go: what bench/profile.c counted, by function of the kernel.

Exact, like the rest: each block of code that ran between the marks of a run counts as often as it
ran. A function is named without what it calls.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.cost.results import Result

KERNEL = 1 << 63
SHOWN = 40


def symbols_file(name: str) -> str:
    """Where the symbols of a subject are kept."""
    return f"symbols.{re.sub('[^a-z0-9]+', '-', name)}"


def text(results: Iterable[Result], folder: Path) -> str:
    """For each subject and loop: the functions that run more or less than untraced.

    `folder` has the plugin's files, "profile.N" by the number of the run, and the symbols.
    """
    parts = []
    for result in results:
        if result.error or not (folder / symbols_file(result.name)).exists():
            continue
        symbols = _Symbols(folder / symbols_file(result.name))
        for loop, run in result.traced.items():
            before = result.before[loop]
            traced = symbols.profile(folder / f"profile.{run.number}", run.made)
            untraced = symbols.profile(folder / f"profile.{before.number}", before.made)
            parts += [f"\n{result.name}, {loop}: instructions for each connection", *_lines(untraced, traced)]
    return "\n".join(parts)


def _lines(untraced: Counter[str], traced: Counter[str]) -> Iterable[str]:
    added = {name: traced[name] - untraced[name] for name in traced | untraced}
    names = sorted(added, key=lambda name: -abs(added[name]))
    yield f"{'added':>9} {'untraced':>9} {'traced':>9}"
    for name in names[:SHOWN]:
        yield f"{added[name]:9.1f} {untraced[name]:9.1f} {traced[name]:9.1f}  {name}"
    yield f"{sum(added[name] for name in names[SHOWN:]):9.1f} {'':19}  {len(names[SHOWN:])} others"
    yield f"{sum(added.values()):9.1f} {sum(untraced.values()):9.1f} {sum(traced.values()):9.1f}  all"


class _Symbols:
    def __init__(self, kallsyms: Path) -> None:
        found = []
        for line in kallsyms.read_text().splitlines():
            address, kind, name = line.split()[:3]
            if kind in "tTwW":
                found.append((int(address, 16), name))
        found.sort()
        self._addresses = [address for address, _ in found]
        self._names = [name for _, name in found]

    def profile(self, path: Path, connections: int) -> Counter[str]:
        """Instructions for each connection, by function."""
        total: Counter[str] = Counter()
        for line in path.read_text().splitlines():
            address, instructions, runs = line.split()
            name = self._name(int(address, 16))
            total[name] += int(instructions) * int(runs) / connections  # type: ignore[assignment]
        return total

    def _name(self, address: int) -> str:
        if address < KERNEL:
            return "user space"
        return self._names[bisect_right(self._addresses, address) - 1]
