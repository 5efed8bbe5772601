"""Rows of processes that hold connections which they did not accept: they only serve."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from accepttrace.facts.records import LocalPort, Process, Serving
from accepttrace.model.census import ProcessKey
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.labels import few
from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.opened import port_of

EACH: Final = 8  # processes of one program at one port that have rows of their own
MOST: Final = 64  # rows


class Pile(NamedTuple):
    """What one row stands for: one process, or several of one program or of many."""

    processes: Sequence[Process]
    where: frozenset[LocalPort]
    connections: int

    @property
    def name(self) -> str:
        """Of one process what it calls itself, of several their programs."""
        if len(self.processes) == 1:
            return self.processes[0].name or self.processes[0].comm
        return few(list(dict.fromkeys(process.comm for process in self.processes)))


def key_of(process: Process) -> ProcessKey:
    """As the census has it."""
    return process.pid, process.start_ticks


def without_acceptors(
    serving: Iterable[Serving], entries: Iterable[Entry], listeners: Listeners
) -> tuple[Serving, ...]:
    """Those that are no acceptors there: who gave up its listener has a row already."""
    known = {
        (entry.process, port_of(entry.socket, listeners))
        for entry in entries
        if not isinstance(entry.process, Bygone)
    }
    return tuple(one for one in serving if (key_of(one.process), one.where) not in known)


def piles_of(found: Iterable[Serving], *, by_process: bool) -> list[Pile]:
    """One for each row, the most connections first; `by_process`: ports of one are one."""
    programs: defaultdict[tuple[str, frozenset[LocalPort]], list[Pile]] = defaultdict(list)
    for one in _by_process(found) if by_process else map(_alone, found):
        programs[one.processes[0].comm, one.where].append(one)
    rows: list[Pile] = []
    for those in programs.values():
        rows += [_joined(those)] if len(those) > EACH else those
    rows.sort(key=lambda pile: (-pile.connections, pile.processes[0].pid))
    return rows if len(rows) <= MOST else [*rows[: MOST - 1], _joined(rows[MOST - 1 :])]


def held_by(found: Iterable[Serving]) -> Counter[ProcessKey]:
    """Connections of each process, at all ports."""
    held: Counter[ProcessKey] = Counter()
    for one in found:
        held[key_of(one.process)] += one.connections
    return held


def sockets_at(ports: Collection[LocalPort], listeners: Listeners) -> Mapping[LocalPort, list[int]]:
    """The open listeners at each of these ports."""
    found: dict[LocalPort, list[int]] = {port: [] for port in ports}
    for inode, known in listeners.known.items() if ports else ():
        port = port_of(inode, listeners)
        if known.open and port in found:
            found[port].append(inode)
    return found


def places(pile: Pile, sockets: Mapping[LocalPort, Sequence[int]]) -> list[Socket]:
    """The listeners that its connections came to, or may have."""
    return [inode for port in sorted(pile.where) for inode in sockets[port]]


def _alone(one: Serving) -> Pile:
    return Pile((one.process,), frozenset((one.where,)), one.connections)


def _by_process(found: Iterable[Serving]) -> list[Pile]:
    those: defaultdict[ProcessKey, list[Pile]] = defaultdict(list)
    for one in found:
        those[key_of(one.process)].append(_alone(one))
    return [_joined(each)._replace(processes=each[0].processes) for each in those.values()]


def _joined(those: Sequence[Pile]) -> Pile:
    return Pile(
        [process for pile in those for process in pile.processes],
        frozenset().union(*(pile.where for pile in those)),
        sum(pile.connections for pile in those),
    )
