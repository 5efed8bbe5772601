"""What tracing costs, in instructions for each connection, on Debian's kernels in a machine that
counts them (QEMU, `-icount shift=0`: 1 ns of the guest is one instruction of everything in it).

    python -m bench.cost [--rows 6.1,7.x] [--only REGEX] [--jobs 2] [--write FILE]

Run as root: `make bench-cost`. Results of single subjects come as they are measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cost import table, where
from bench.cost.results import Result, read
from tests.vm import machine, matrix
from tests.vm.accelerator import COUNTING
from tests.vm.kernels import fetch, locked

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".cache" / "vm-logs"
DETAILS = ("accepts", "waits", "full")
ROWS = "6.1,7.x"
MEMORY_MIB = 2048  # bcc's compiler in each of its processes, and the writable root
TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One kernel."""

    row: str
    release: str
    results: list[Result]
    lost: str = ""  # why not all is there


def main() -> int:
    """Measure, print, write; returns the exit status."""
    options = _options()
    # bcc's own tools compile against kernel headers.
    rows = [replace(row, headers=True) for row in matrix.find(options.rows)]
    details = _details()
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            measured = list(pool.map(lambda row: measure(row, details, options), rows))
        except KeyboardInterrupt:
            machine.end_all()
            return 130
    for each in measured:
        print(f"\n{each.row}: Linux {each.release} {each.lost}\n{table.text(each.results)}")
        if options.where:
            print(where.text(each.results, LOGS / f"cost-{each.row}" / "cost"))
    if options.write:
        options.write.write_text(table.markdown(measured))
    return 1 if any(each.lost for each in measured) else 0


def measure(row: matrix.Row, details: str, options: argparse.Namespace) -> Measured:
    """Boot one kernel and measure all subjects in it."""
    kernel = fetch(row)
    name = f"cost-{row.name}"
    LOGS.mkdir(parents=True, exist_ok=True)
    call = (sys.executable, "-m", "bench.cost.guest", f"{machine.GUEST_SHARE}/cost/results")
    plugin = f"{ROOT / 'bench' / 'profile.so'},out={LOGS / name / 'cost' / 'profile'}"
    profiled = ("-plugin", plugin) if options.where else ()
    symbols = ("--symbols",) if options.where else ()
    task = machine.Task(
        "cost",
        (*call, "--details", details, "--only", options.only, *symbols),
        {k: v for k, v in os.environ.items() if k.startswith(("ACCEPTTRACE_", "PYTHON"))},
    )
    with locked(LOGS / f"{name}.lock"):
        result = machine.run(
            kernel,
            [task],
            folder=LOGS / name,
            timeout_s=TIMEOUT_S,
            memory_mib=MEMORY_MIB,
            cpus=1,
            kernel_args=row.kernel_args,
            accelerator=(*COUNTING, *profiled),
        )[0]
    lost = result.reason or (result.output if result.status else "")
    return Measured(row.name, kernel.release, read(result.folder / "results"), lost)


def _details() -> str:
    """The levels of --detail, comma-separated; empty where this accepttrace has no such option."""
    call = (sys.executable, "-m", "accepttrace", "top", "--help")
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return ",".join(DETAILS) if "--detail" in told else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default=ROWS, help=f"of tests/vm/matrix.py (default: {ROWS})")
    parser.add_argument("--only", default="", help="subjects whose name has this pattern")
    parser.add_argument("--jobs", type=int, default=2, help="machines at a time")
    parser.add_argument("--where", action="store_true", help="also by function of the kernel")
    parser.add_argument("--write", type=Path, help="the tables as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
