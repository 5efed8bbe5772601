"""What tracing costs, in instructions for each connection, on Debian's kernels in a machine that
counts them (QEMU, `-icount shift=0`: 1 ns of the guest is one instruction of everything in it).

    python -m bench.cost [--rows 6.1,7.x] [--only REGEX] [--jobs 2] [--where] [--write FILE]

Run as root: `make bench-cost`. What was measured stays in .cache/vm-logs/cost-ROW/cost/results,
where it can be followed, and `--again` shows it without measuring.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench.cost import report, table, where
from bench.cost.guest import BLOCKS
from bench.cost.results import read
from bench.cost.table import Measured
from vm import machine, matrix
from vm.accelerator import COUNTING
from vm.kernels import fetch, locked

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".cache" / "vm-logs"
DETAILS = ("accepts", "waits", "full")
ROWS = "6.1,7.x"
MEMORY_MIB = 2048  # for bcc's compiler, and what is written to the root
TIMEOUT_S = 7200.0
EXPLAINED = "^fentry libbpf"
PEERS = {"bcc": "bpfcc-tools", "bpftrace": "bpftrace"}  # Debian's packages


def main() -> int:
    """Measure, print, write; returns the exit status."""
    options = _options()
    # The peers compile against kernel headers.
    rows = [replace(row, headers=True) for row in matrix.find(options.rows)]
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            measured = list(pool.map(lambda row: _measure(row, options), rows))
        except KeyboardInterrupt:
            machine.end_all()
            return 130
    for each in measured:
        print(table.text(each))
        if options.where:
            print(where.text(each.results, _folder(each.row)))
    if options.write:
        options.write.write_text(_markdown(measured))
    return 1 if any(each.lost for each in measured) else 0


def _markdown(measured: Sequence[Measured]) -> str:
    breakdowns = [
        (each.release, where.text(each.results, _folder(each.row), EXPLAINED, ("plain",)))
        for each in measured
    ]
    versions = {name: _version(package) for name, package in PEERS.items()}
    measured_by = [word for word in sys.argv[1:] if word != "--again"]
    command = shlex.join(("python", "-m", "bench.cost", *measured_by))
    return report.markdown(measured, breakdowns, command, versions)


def _measure(row: matrix.Row, options: argparse.Namespace) -> Measured:
    """Boot one kernel and measure all subjects in it."""
    kernel, lost = fetch(row), ""
    if not options.again:
        lost = _boot(row, options)
    return Measured(row.name, kernel.release, read(_folder(row.name) / "results"), lost)


def _boot(row: matrix.Row, options: argparse.Namespace) -> str:
    """Returns what went wrong, or nothing."""
    folder = _folder(row.name)
    call = [sys.executable, "-m", "bench.cost.guest", f"{machine.GUEST_SHARE}/cost/results"]
    call += ["--details", _details(), "--only", options.only, "--blocks", str(options.blocks)]
    accelerator = [*COUNTING]
    if where.is_possible():
        call.append("--symbols")
        accelerator += ["-plugin", f"{ROOT / 'bench' / 'profile.so'},out={folder / 'profile'}"]
    passed = {k: v for k, v in os.environ.items() if k.startswith(("ACCEPTTRACE_", "PYTHON"))}
    LOGS.mkdir(parents=True, exist_ok=True)
    with locked(LOGS / f"cost-{row.name}.lock"):
        result = machine.run(
            fetch(row),
            [machine.Task("cost", call, passed)],
            folder=folder.parent,
            timeout_s=TIMEOUT_S,
            memory_mib=MEMORY_MIB,
            cpus=1,
            kernel_args=row.kernel_args,
            accelerator=accelerator,
        )[0]
    return result.reason or (result.output if result.status else "")


def _folder(row: str) -> Path:
    return LOGS / f"cost-{row}" / "cost"


def _details() -> str:
    """The levels of --detail, comma-separated; empty where this accepttrace has no such option."""
    call = (sys.executable, "-m", "accepttrace", "top", "--help")
    shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return ",".join(DETAILS) if "--detail" in shown else ""


def _version(package: str) -> str:
    call = ("dpkg-query", "--show", "--showformat=${Version}", package)
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # not a Debian machine
        return "of this machine"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default=ROWS, help=f"of vm/matrix.py (default: {ROWS})")
    parser.add_argument("--only", default="", help="subjects whose name has this pattern")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="for each run of a loop")
    parser.add_argument("--jobs", type=int, default=2, help="machines at a time")
    parser.add_argument(
        "--where", action="store_true", help="also by function of the kernel (QEMU 7, 8)"
    )
    parser.add_argument("--again", action="store_true", help="show what was measured last")
    parser.add_argument("--write", type=Path, help="the tables as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
