"""docs/cost.md: what the figures mean, the figures, and where the instructions go."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from bench.cost import table
from bench.cost.subjects import INTERVAL_S
from bench.cost.table import Measured

HEADER = f"""\
# What tracing costs

Made by `{{command}}` on {{date}}. Do not edit: run it again.

A Debian kernel runs in QEMU with `-icount shift=0,sleep=off -smp 1`. There 1 ns of the guest's
clock is one instruction of everything on the machine: the kernel, the traced process, the tracer's
own process, timer ticks. One process connects over loopback, accepts, and closes both ends
(`bench/loop.c`). The tracer runs as users run it, with its output in `/dev/null`; untraced and
traced runs of the same loop take turns.

Instructions are no time: they know nothing of caches and branches. QEMU counts each repetition of a
`rep` instruction, so the base holds some thousands for clearing memory.

- *median connection*: instructions added to it, which are what the connecting and accepting process
  itself runs. Exact: the next run gives the same number, but for the width of a counter.
- *whole machine*: instructions added to a connection in the median block of 100 ms, and the
  quartiles of the blocks. What a process does with each connection, like printing it, is in here.
- *refreshes*: what accepttrace's process runs every {INTERVAL_S} s, shared among the connections of
  {INTERVAL_S} s of this loop. No block has one in it.
- *total*: whole machine and refreshes.
- *of base*: in percent of an untraced connection by the same measure.

`accepts`, `waits` and `full` are levels of `--detail`. An empty program does nothing: what
attaching one costs is the floor. `tcpaccept` is a tool of bcc {{bcc}}, `tcpaccept.bt` of bpftrace
{{bpftrace}} (Debian's packages): they print a line for each connection.
"""
WHERE = """
## Where the instructions go

For each connection over the plain listener, by function of the kernel and by BPF program, each
without what it calls (`make bench-where`).
"""


def markdown(
    measured: Iterable[Measured],
    breakdowns: Iterable[tuple[str, str]],
    command: str,
    versions: dict[str, str],
) -> str:
    """The whole file. `breakdowns`: release and text; `versions` of the peers' packages."""
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    parts = [HEADER.format(command=command, date=date, **versions), table.markdown(measured)]
    found = [f"\nLinux {release}:\n\n```\n{text}```\n" for release, text in breakdowns if text]
    return "".join([*parts, *([WHERE, *found] if found else [])])
