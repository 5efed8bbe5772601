"""Run the kernel tests on every kernel of the matrix, in virtual machines, and print a table.

    python -m vm.run [--rows 6.1,rt] [--jobs N] [-- COMMAND of your own, for each row]

Logs stay in .cache/vm-logs/MACHINE/ROW/, where MACHINE is the first row that it ran. Status 0:
every row as expected.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that `python vm/run.py` works too

from vm import foreign, machine, matrix, places  # noqa: E402
from vm.kernels import fetch, locked  # noqa: E402
from vm.mirror import MirrorError  # noqa: E402

LOGS = ROOT / ".cache" / "vm-logs"
EMULATOR_MIB = 512  # QEMU's own: translated code and device buffers
SHOWN_LINES = 40
# The same root serves many machines, and a user other than root: no cache is left in it.
PYTEST = (
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    "--durations=25",  # of what takes long under emulation: in the logs
)
REFUSED = "refused as expected"
EXPECTED = frozenset({"pass", REFUSED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the table says about one row; `verdict` is one of EXPECTED, or fail, lost, error."""

    row: matrix.Row
    verdict: str
    kernel: str = ""
    seconds: float | None = None
    boot_seconds: float | None = None
    note: str = ""


def main() -> int:
    """Parse, run, print; returns the exit status."""
    options = _options()
    try:
        rows = matrix.find(options.rows)
    except KeyError as error:
        print(f"no such row: {error.args[0]}", file=sys.stderr)
        return 2
    jobs = options.jobs or _fitting_jobs(options.memory)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end like Ctrl-C
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        work = [pool.submit(_run, shared, options) for shared in matrix.boots(rows)]
        try:
            outcomes = [outcome for each in work for outcome in each.result()]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            machine.end_all()
            return 130
    outcomes.sort(key=lambda outcome: rows.index(outcome.row))
    print(f"\n{table(outcomes)}\n{time.monotonic() - started:.0f} s in all, {jobs} at a time")
    return 0 if all(outcome.verdict in EXPECTED for outcome in outcomes) else 1


def table(outcomes: list[Outcome]) -> str:
    """One line per row, columns aligned. `boot`: of the machine that the row ran in."""
    lines = [("row", "kernel", "attach types", "boot", "tests", "outcome", "")]
    for each in outcomes:
        types = " ".join(each.row.attach) or "none"
        times = (_duration(each.boot_seconds), _duration(each.seconds))
        lines.append((each.row.name, each.kernel, types, *times, each.verdict, each.note))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "\n".join(padded)


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f} s"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default="", help="names, comma-separated (default: all)")
    parser.add_argument("--jobs", type=int, default=0, help="machines at a time (default: fitting)")
    parser.add_argument("--timeout", type=float, default=1500.0, help="seconds for one machine")
    parser.add_argument("--memory", type=int, default=1536, help="MiB for one machine")
    parser.add_argument("--cpus", type=int, default=2, help="processors of one machine")
    parser.add_argument("--refresh", action="store_true", help="look for newer kernel packages")
    parser.add_argument("--quiet", action="store_true", help="no output of commands that passed")
    parser.add_argument("command", nargs="*", help="instead of the row's tests")
    return parser.parse_args()


def _fitting_jobs(memory_mib: int) -> int:
    """As many machines as memory allows, and one for each processor: emulation takes one."""
    available_kib = next(
        int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    by_memory = available_kib // 1024 // (memory_mib + EMULATOR_MIB)
    return max(1, min(by_memory, len(os.sched_getaffinity(0))))


def _run(rows: Sequence[matrix.Row], options: argparse.Namespace) -> list[Outcome]:
    LOGS.mkdir(parents=True, exist_ok=True)
    with locked(LOGS / f"{rows[0].name}.lock"):  # a second run of this checkout waits its turn
        return _run_alone(rows, options)


def _run_alone(rows: Sequence[matrix.Row], options: argparse.Namespace) -> list[Outcome]:
    try:
        kernel = fetch(rows[0], refresh=options.refresh)
        results = machine.run(
            kernel,
            [_task(row, options.command) for row in rows],
            folder=LOGS / rows[0].name,
            timeout_s=options.timeout,
            memory_mib=options.memory,
            cpus=options.cpus,
            kernel_args=rows[0].kernel_args,
        )
    except (MirrorError, OSError, subprocess.CalledProcessError) as error:
        return [Outcome(row, "error", note=str(error)) for row in rows]
    outcomes = []
    for row, result in zip(rows, results, strict=True):
        outcomes.append(_outcome(row, kernel.release, result))
        _report(outcomes[-1], result, options.quiet)
    return outcomes


def _task(row: matrix.Row, command: Sequence[str]) -> machine.Task:
    call = (*row.prefix, *(command or (*PYTEST, *places.paths(row.name))))
    if row.arch in foreign.QEMU:
        call = tuple(foreign.command_there(call))
    return machine.Task(row.name, call, _environment(row), row.setup, row.undo)


def _outcome(row: matrix.Row, release: str, result: machine.Result) -> Outcome:
    good = "pass" if row.attach else REFUSED
    return Outcome(
        row,
        "lost" if result.lost else "fail" if result.status else good,
        release,
        result.seconds,
        result.boot_seconds,
        result.reason or (f"status {result.status}" if result.status else ""),
    )


def _environment(row: matrix.Row) -> dict[str, str]:
    """What the tests inside know of the row."""
    passed = {k: v for k, v in os.environ.items() if k.startswith(("ACCEPTTRACE_", "PYTHON"))}
    there = foreign.environment(ROOT) if row.arch in foreign.QEMU else {}
    return {
        **passed,
        "ACCEPTTRACE_VM_ROW": row.name,
        "ACCEPTTRACE_EXPECTED_TYPES": ",".join(row.attach),
        "ACCEPTTRACE_REQUIRE_KERNEL": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # No test here asks for one, and loading them takes seconds in each row.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        **there,
    }


def _report(outcome: Outcome, result: machine.Result, quiet: bool) -> None:
    """One row's output in one piece, so that rows running together do not mix."""
    text = [f"=== {outcome.row.name} ({outcome.kernel}): {outcome.verdict} {outcome.note}"]
    if outcome.verdict == "lost":
        text += result.console.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
    if not quiet or outcome.verdict not in EXPECTED:
        text += result.output.splitlines()
    print("\n".join(text), flush=True)


if __name__ == "__main__":
    sys.exit(main())
