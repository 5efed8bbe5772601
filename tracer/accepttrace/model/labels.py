"""What a row is called: the process or the sockets that it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from accepttrace.facts.places import unit_of
from accepttrace.facts.records import Family, Listener, Process
from accepttrace.model.census import Census
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.places import Place
from accepttrace.model.tallies import UNNAMED

T = TypeVar("T")

NAMED: Final = 4  # of several processes, named in one row
NAME_LENGTH: Final = 64  # characters: others choose them


class Who(NamedTuple):
    """The acting side of a row; see `snapshot.AcceptorRow` for the fields."""

    pid: int | None
    tid: int | None
    comm: str
    name: str
    alive: bool
    waits: bool | None
    left: bool = False
    ended: int = 0
    cgroup: str | None = None
    container: str | None = None
    ns_pid: int | None = None
    unit: str | None = None
    pod: str | None = None


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
    if isinstance(first.process, Bygone):
        return _of_program(first.process, entries)
    process = census.process(first.process)
    # A listing in /proc knows the process, the counters only the thread that accepted.
    comm = process.comm or (first.count.comm if first.count else "")
    alive = census.alive(first.process)
    several = by_thread and first.ended > 1
    return Who(
        pid=first.process[0],
        tid=first.thread[0] or None if by_thread and first.thread else None,
        comm=first.count.comm if by_thread and first.count else comm,
        name=_of_thread(first, process) if by_thread and not several else process.name or comm,
        alive=alive and not (by_thread and first.ended),
        waits=_any([entry.waits for entry in entries]),
        left=alive and False not in [entry.left for entry in entries],
        ended=first.ended if several else 0,
        cgroup=process.cgroup,
        container=process.container,
        ns_pid=process.ns_pid,
        unit=unit_of(process.cgroup),
        pod=process.pod,
    )


def _of_program(program: Bygone, entries: Sequence[Entry]) -> Who:
    """Processes that ended, or workers without rows of their own."""
    lives = program in UNNAMED
    workers = 0 if lives else sum(entry.workers for entry in entries)
    waits = None if lives else False
    return Who(None, None, "", program.name, lives, waits, ended=workers)


def of_sockets(
    entries: Sequence[Entry], sockets: Iterable[Socket], listeners: Listeners, census: Census
) -> Who:
    """One socket or a group of them, named after those who serve it."""
    sockets = list(sockets)
    at_work = [entry for entry in entries if entry.takes_part]
    known = {entry.process: entry for entry in at_work if not isinstance(entry.process, Bygone)}
    serving = {process for process in known if census.alive(process)}
    processes = [census.process(key) for key in sorted(serving or known)]
    names = list(dict.fromkeys(process.name or process.comm for process in processes))
    if not names:
        names = list(
            dict.fromkeys(e.process.name for e in at_work if isinstance(e.process, Bygone))
        )
    comms = {process.comm for process in processes}
    is_open = any(map(listeners.is_open, sockets))
    return Who(
        pid=None,
        tid=None,
        comm=comms.pop() if len(comms) == 1 else "",
        name=f"{len(processes)} x {few(names)}" if len(processes) > 1 else few(names),
        alive=is_open,
        waits=_any([entry.waits for entry in entries]) if is_open else None,
        ended=sum(map(listeners.folded, sockets)),
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


def of_place(sockets: Iterable[Socket], listeners: Listeners) -> Where:
    """Where the sockets of a row listen."""
    sockets = list(sockets)
    if len(sockets) == 1:  # as a rule
        return _of_socket(sockets[0], listeners)
    where = [_of_socket(socket, listeners) for socket in sockets]
    known = [one for one in where if one.port is not None]
    return Where(
        inode=common([one.inode for one in where]),
        netns=common([one.netns for one in known]),
        family=common([one.family for one in known if one.family]),
        address=common([one.address for one in known]),
        port=common([one.port for one in known]),
        device=common([one.device for one in known]),
        group=common([one.group for one in known]),
    )


def _of_socket(socket: Socket, listeners: Listeners) -> Where:
    if isinstance(socket, Place):
        return Where(None, *socket, None, None)
    facts = listeners.facts(socket)
    if facts is None:
        return Where(socket, None, None, None, None, None, None)
    listed = facts if isinstance(facts, Listener) else None
    place = (facts.netns, facts.family, facts.local_address, facts.local_port)
    device, group = (listed.device, listed.group) if listed else (None, None)
    return Where(socket, *place, device, group)


def common(values: Sequence[T]) -> T | None:
    """The one value that all have; None if they differ or there are none."""
    return values[0] if values and all(value == values[0] for value in values) else None


def _any(known: Sequence[bool | None]) -> bool | None:
    """True if one is; None if that is not known."""
    return True if True in known else (None if None in known or not known else False)
