"""Measure inside the machine that counts instructions; a line of JSON for each subject.

    python -m bench.cost.guest RESULTS [--details accepts,waits,full] [--only REGEX]

Untraced and traced runs of the same loop take turns: A-B-A, a subject each B.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bench.cost.results import Result, Run, Runs
from bench.cost.subjects import ALL_LOOPS, BENCH, INTERVAL_S, Subject, subjects
from bench.cost.tracer import Tracer, TracerError, running
from bench.cost.where import symbols_file

PORT = 18080
# 100 ms at Debian's 250 Hz. Each block holds as many ticks: what is left are RCU's batches.
TICKS = 25
BLOCKS = 16  # each with another number of connections held open (loop.c)
NUDGE_TICKS = 8
LEAST_PRINTED = 40  # bytes a connection: shorter than the shortest line of a peer
SETTINGS = {
    # Metrics of 127.0.0.1 stay once a connection of anyone has ended with FIN, as those do by which
    # accepttrace proves its hooks; from then on each connection costs 200 instructions more.
    "/proc/sys/net/ipv4/tcp_no_metrics_save": "1",
    # It copies the memory of whoever has just started: seconds of work, once.
    "/sys/kernel/mm/transparent_hugepage/khugepaged/defrag": "0",
    # For --symbols, with BPF programs among them.
    "/proc/sys/kernel/kptr_restrict": "0",
    "/proc/sys/net/core/bpf_jit_kallsyms": "1",
}


class Loop:
    """bench/loop.c, running."""

    def __init__(self, blocks: int = BLOCKS) -> None:
        self._blocks = blocks
        self._process = subprocess.Popen(
            (BENCH / "loop", str(PORT)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._runs = 0

    def run(self, which: str, blocks: int = 0, ticks: int = TICKS) -> Run:
        """So many blocks (0: as many as usual) of so many ticks of the kernel's timer."""
        blocks = blocks or self._blocks
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{which} {blocks} {ticks}\n")
        self._process.stdin.flush()
        made, decile, *costs = map(float, self._process.stdout.readline().split())
        self._runs += 1
        return Run(self._runs - 1, int(made), decile, costs)

    def runs(self, loops: Iterable[str]) -> Runs:
        """These loops, one after the other."""
        return {which: self.run(which) for which in loops}

    def nudge(self) -> None:
        """Some hundred connections."""
        self.run("plain", 1, NUDGE_TICKS)


def main() -> None:
    """Every subject asked for, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--details", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="for each run of a loop")
    parser.add_argument("--symbols", action="store_true", help="keep those of each subject")
    options = parser.parse_args()
    for setting, value in SETTINGS.items():
        Path(setting).write_text(value)
    details = [detail for detail in options.details.split(",") if detail]
    loop = Loop(options.blocks)
    loop.runs(ALL_LOOPS)  # warms up: the first connections allocate
    before = loop.runs(ALL_LOOPS)
    for subject in subjects(details):
        if re.search(options.only, subject.name) is None:
            continue
        symbols = options.results.with_name(symbols_file(subject.name)) if options.symbols else None
        result = measure(subject, loop, before, symbols)
        with options.results.open("a") as results:
            results.write(json.dumps(asdict(result)) + "\n")
        before |= result.after


def measure(subject: Subject, loop: Loop, before: Runs, symbols: Path | None = None) -> Result:
    """One traced run and the untraced one after it; `before` is the one before.

    `symbols`: where to keep /proc/kallsyms as it is while the subject traces.
    """
    result = Result(subject.kind, subject.name, {which: before[which] for which in subject.loops})
    try:
        if subject.kind == "nothing":
            result.traced = loop.runs(subject.loops)
        else:
            with running(subject, PORT, loop.nudge) as tracer:
                _traced(subject, loop, tracer, result)
                if symbols:
                    symbols.write_text(Path("/proc/kallsyms").read_text())
    except TracerError as error:
        result.error = str(error)
        return result
    result.after = loop.runs(subject.loops)
    return result


def _traced(subject: Subject, loop: Loop, tracer: Tracer, result: Result) -> None:
    for which in subject.loops:
        written = tracer.written()
        run = loop.run(which)
        if subject.prints_each and tracer.written() - written < LEAST_PRINTED * run.made:
            raise TracerError(f"does not print all connections to the {which} listener")
        result.traced[which] = run
    if subject.kind == "accepttrace" and not subject.prints_each:
        # Idle time takes no instructions, so nothing else runs meanwhile, and it is soon over.
        own = tracer.own_ns()
        time.sleep(INTERVAL_S)
        result.refresh = tracer.own_ns() - own
    if subject.kind != "empty":
        result.peak_kib = tracer.peak_kib()


if __name__ == "__main__":
    main()
