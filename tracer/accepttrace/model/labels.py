"""What a row is called: the process or the sockets that it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from accepttrace.model.census import Census
from accepttrace.model.entries import Entry
from accepttrace.model.listeners import Listeners
from accepttrace.model.records import Family, Listener, Process

T = TypeVar("T")

NAMED: Final = 4  # of several processes, named in one row


class Who(NamedTuple):
    """The acting side of a row; see `snapshot.AcceptorRow` for the fields."""

    pid: int | None
    tid: int | None
    comm: str
    name: str
    alive: bool
    waits: bool | None
    cgroup: str | None = None
    container: str | None = None
    ns_pid: int | None = None


class Where(NamedTuple):
    """The listening side of a row: what all its sockets have in common, else None."""

    inode: int | None
    netns: int | None
    family: Family | None
    address: str | None
    port: int | None
    device: str | None
    group: int | None


def of_process(entries: Sequence[Entry], census: Census, by_thread: bool) -> Who:
    """A worker, process or thread: all `entries` are of one process."""
    first = entries[0]
    process = census.process(first.process)
    # A listing in /proc knows the process, the counters only the thread that accepted.
    comm = process.comm or (first.count.comm if first.count else "")
    return Who(
        pid=first.process[0],
        tid=first.count.tid if by_thread and first.count else None,
        comm=first.count.comm if by_thread and first.count else comm,
        name=_of_thread(first, process) if by_thread else process.name or comm,
        alive=census.alive(first.process),
        waits=_any(entry.waits for entry in entries),
        cgroup=process.cgroup,
        container=process.container,
        ns_pid=process.ns_pid,
    )


def of_sockets(
    entries: Sequence[Entry], inodes: Iterable[int], listeners: Listeners, census: Census
) -> Who:
    """One socket or a group of them, named after those who serve it."""
    at_work = [entry for entry in entries if entry.takes_part]
    serving = {entry.process for entry in at_work if census.alive(entry.process)}
    processes = [census.process(key) for key in sorted(serving or {e.process for e in at_work})]
    names = list(dict.fromkeys(process.name or process.comm for process in processes))
    comms = {process.comm for process in processes}
    return Who(
        pid=None,
        tid=None,
        comm=comms.pop() if len(comms) == 1 else "",
        name=f"{len(processes)} x {few(names)}" if len(processes) > 1 else "".join(names),
        alive=any(map(listeners.is_open, inodes)),
        waits=_any(entry.waits for entry in entries),
    )


def few(names: Sequence[str]) -> str:
    """`a, b, c, d and 60 more`: a row must not grow with the names that others choose."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _of_thread(entry: Entry, process: Process) -> str:
    """`tomcat: http-nio-8080-A`, where a thread is not called as its process is."""
    thread = entry.count.comm if entry.count else ""
    name = process.name or process.comm
    if thread in ("", process.comm, "MainThread") or name.startswith(thread):
        return name or thread
    return f"{name}: {thread}" if name else thread


def of_place(inodes: Iterable[int], listeners: Listeners) -> Where:
    """Where the sockets of a row listen."""
    inodes = list(inodes)
    facts = [fact for fact in map(listeners.facts, inodes) if fact is not None]
    groups = [fact.group if isinstance(fact, Listener) else None for fact in facts]
    return Where(
        inode=common(inodes),
        netns=common([fact.netns for fact in facts]),
        family=common([fact.family for fact in facts]),
        address=common([fact.local_address for fact in facts]),
        port=common([fact.local_port for fact in facts]),
        device=common([fact.device if isinstance(fact, Listener) else None for fact in facts]),
        group=common(groups),
    )


def common(values: Sequence[T]) -> T | None:
    """The one value that all have; None if they differ or there are none."""
    return values[0] if values and all(value == values[0] for value in values) else None


def _any(answers: Iterable[bool | None]) -> bool | None:
    """True if one is; None if that cannot be told."""
    known = list(answers)
    return True if True in known else (None if None in known or not known else False)
