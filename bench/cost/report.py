"""docs/cost.md: what the figures mean, the figures, and where the instructions go."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from bench.cost import table
from bench.cost.results import Figures, figures
from bench.cost.subjects import ANOTHER_PORT, ASKED, INTERVAL_S
from bench.cost.table import Measured

HEADER = f"""\
# What tracing costs

Made by `{{command}}` on {{date}}. Do not edit:
run it again. `make bench-cost` measures all subjects on two kernels.

A Debian kernel runs in QEMU with `-icount shift=0,sleep=off -smp 1`. There 1 ns of the guest's
clock is one instruction of everything on the machine: the kernel, the traced process, the tracer's
own process, timer ticks. One process connects over loopback, accepts, and closes both ends
(`bench/loop.c`). The tracer runs as users run it, with its output in `/dev/null`; untraced and
traced runs of the same loop take turns.

Instructions are no time: they know nothing of caches and branches. QEMU counts each repetition of a
`rep` instruction, so the base holds some thousands for clearing memory.

- *undisturbed connection*: instructions added to the lower decile of all connections, which are
  what the connecting and accepting process itself runs: no timer tick, and the usual way through
  the allocator (sockets from the boundary of two slabs cost hundreds more). It repeats to a few.
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
WHY = """
## Why `full` with `fentry` costs what it does

Four hooks lie on the way of each connection: the entries of `__inet_accept` and
`tcp_conn_request`, the returns of `__sys_accept4` and `tcp_check_req`. If they do nothing, they add
{floors}. The rest is counting. Each answers what no other does, and what runs more rarely does not
answer it either:

- `__inet_accept` runs after the sleep of a blocking accept(), so it knows the threads that slept
  when the tracer began; it knows the listener and the child without a look at descriptors, which
  others may close.
- `__sys_accept4`: EAGAIN, errno, EMFILE. A call that finds no free descriptor calls nothing else.
- `tcp_conn_request`: SYNs by socket, and those that met a full queue, which then call nothing
  else. The return of `reuseport_select_sock` costs more, and runs for what is no SYN.
- `tcp_check_req`: arrivals, and final ACKs that met a full queue. Arrivals alone are cheaper at
  the entry of `inet_csk_complete_hashdance`; but an ACK without a child calls nothing of its own,
  the socket's `sk_drops` mixes all causes, and `tcp_v4_syn_recv_sock` has more parameters than
  trampolines of Debian's 6.1 take.
- To hook what shows a full queue only once one fills: a burst fills it sooner than a program
  is attached.

Tried and kept: arrays instead of hashes for listeners and acceptors (about 430 instructions
less); settings as global data instead of a map, and what is rare out of line (together 81 less,
78 less for connections that the filter leaves out); the port asked before anything else; plain
loads instead of `bpf_probe_read_kernel`; one hook for arrivals and dropped ACKs. Not done:

- rows by the socket's pointer instead of its inode (by estimate 54 less): pointers are used again,
  and where the hook that forgets one is skipped, or a SYN of another CPU comes just after it, a
  connection would be counted for the wrong listener.
- a clock of ticks for arrivals (45 less), even if departures had the same: what waits now is the
  difference of two sums over all connections ever, so the errors of a tick would add up in it.
- `__sys_accept4` hooked only while calls fail: nothing else shows a call without a descriptor.
- rows as global data, which user space would map (by estimate 36 less): to be done.
"""
UNINVOLVED = """
## Connections that the filter leaves out

What `full` adds to an undisturbed connection over the plain listener if the filter names its port,
and if it names another. No filter gets below what the hooks cost alone{floors}.

| Linux | type | its port | another port |
| --- | --- | --- | --- |
"""
CLOSER = """
## What is looked at only for those who ask

What `full` adds to an undisturbed connection over the plain listener, and what it adds with
`--columns local` (or `check --min-local`) and with `--patterns` (or `check --pattern`). Without
them not one instruction is executed for that. Here one worker takes all; an accept that follows
another worker's runs some thirty more for its pattern.

| Linux | type | `full` | `--columns local` | `--patterns` |
| --- | --- | --- | --- | --- |
"""
OF_UNIX = """
## Connections of UNIX sockets

One takes a third of the instructions of a connection over TCP, so the same work is a larger part
of it. `full` has four more hooks than `accepts` on its way, of which one runs twice: the returns
of `unix_find_other` and `__sys_connect` (who was refused), that of `security_unix_stream_connect`
(arrivals, waiting times), the entry of `unix_release_sock` for both ends (what is reset). The
kernel stores nowhere when a connection was queued, so a hash map does. `tracepoint` sees accepts
alone, whatever the level. TCP is not slower for it: these hooks are there while UNIX sockets are
traced.
"""
EVERYBODY = """
## What `tracepoint` costs everybody

A raw tracepoint on `sys_exit` runs at the end of every system call of every process, whatever the
filter. On the development machine (Linux 6.18, 2 vCPUs, the fastest of 300 bursts, three times the
same on 2026-11-26): getpid() took 96 ns instead of 73 (+32 %), a read() and a write() of one byte
together 244 ns instead of 193 (+26 %), so 24 ns a system call; on days when the machine was slower
31 to 41 ns (getpid() 134 ns instead of 95). A program that computes does not notice; one that makes
a million small system calls a second loses 2 to 4 % of a core. So: where `doctor` says that
`fentry` or `kprobe` works, leave `--attach auto`; where only `tracepoint` does, trace for as long
as the question takes.
"""
WHERE = """
## Where the instructions go

For each connection over the plain listener, by function of the kernel and by BPF program, each
without what it calls (`make bench-where`).
"""
# What is hooked at the entry and at the return on the way of each connection.
HOOKS = {"an empty fentry": 2, "an empty fexit": 2}


def markdown(
    measured: Iterable[Measured],
    breakdowns: Iterable[tuple[str, str]],
    command: str,
    versions: dict[str, str],
) -> str:
    """The whole file. `breakdowns`: release and text; `versions` of the peers' packages."""
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    measured = list(measured)
    parts = [HEADER.format(command=command, date=date, **versions), table.markdown(measured)]
    parts += [WHY.format(floors=", ".join(floors)) for floors in [_floors(measured)] if floors]
    parts += [
        UNINVOLVED.format(floors=floors) + rows for floors, rows in [_uninvolved(measured)] if rows
    ]
    parts += [CLOSER + rows for rows in [_beside(measured, ASKED)] if rows]
    parts += [OF_UNIX, EVERYBODY]
    found = [f"\nLinux {release}:\n\n```\n{text}```\n" for release, text in breakdowns if text]
    return "".join([*parts, *([WHERE, *found] if found else [])])


def _uninvolved(measured: Iterable[Measured]) -> tuple[str, str]:
    """Floors of `fentry` in words; a row for each kernel and attach type with both ports."""
    floors = ", ".join(_floors(measured))
    rows = _beside(measured, (ANOTHER_PORT,))
    return f" (`fentry`: {floors})" if floors else "", rows


def _beside(measured: Iterable[Measured], ends: Iterable[str]) -> str:
    """A row for each kernel and attach type: a subject, and those whose names have these ends."""
    rows = []
    for each in measured:
        added = {
            one.name: figures(one, "plain")
            for one in each.results
            if not one.error and "plain" in one.traced
        }
        for name, plain in added.items():
            others = [added.get(f"{name}{end}") for end in ends]
            if any(others):
                cells = (_added(cost) for cost in (plain, *others))
                rows.append(f"| {each.release} | `{name.split()[0]}` | {' | '.join(cells)} |\n")
    return "".join(rows)


def _added(cost: Figures | None) -> str:
    return f"{cost.path:+,.0f} ({cost.path_percent:.2f} %)" if cost else ""


def _floors(measured: Iterable[Measured]) -> list[str]:
    """What the four hooks cost if they do nothing, on each kernel where that was measured."""
    floors = []
    for each in measured:
        empty = {result.name: result for result in each.results if not result.error}
        if HOOKS.keys() <= empty.keys():
            found = {name: figures(empty[name], "plain") for name in HOOKS}
            floor = sum(count * found[name].path for name, count in HOOKS.items())
            percent = sum(count * found[name].path_percent for name, count in HOOKS.items())
            floors.append(f"{floor:,.0f} ({percent:.2f} %) on {each.release}")
    return floors
