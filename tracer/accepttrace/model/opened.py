"""How many connections the process of a row holds now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from accepttrace.facts.records import LocalPort, Opened
from accepttrace.model.census import Census, ProcessKey
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.places import Place

NOTHING = Opened(0.0, frozenset(), {}, {})


class Holds:
    """Connections name the port that they came to, and not the listener: those of a process count
    for a row that stands for all of its listeners at that port. Closed ones stand back for open
    ones. `more`: what a process holds at other ports, where it only serves, by process.
    """

    def __init__(
        self,
        opened: Opened | None,
        kept: Iterable[Entry],
        listeners: Listeners,
        census: Census,
        more: Mapping[ProcessKey, int],
    ) -> None:
        self._opened = opened or NOTHING
        self._listeners = listeners
        self._census = census
        self._more = more
        self._ports: dict[Socket, LocalPort | None] = {}
        self._sockets: defaultdict[tuple[ProcessKey, LocalPort], set[Socket]] = defaultdict(set)
        if opened is not None:
            self._find_sockets(kept)

    def of(self, entries: Sequence[Entry]) -> int | None:
        """Those of one process, of a row with all these `entries`; None: that is not known.

        Kernel threads hold them without a descriptor, and a process with io_uring may.
        """
        if self._opened is NOTHING:
            return None
        process = entries[0].process
        if isinstance(process, Bygone) or not self._census.alive(process):
            return None
        sockets = {entry.socket for entry in entries}
        ports = {port for socket in sockets if (port := self._ports.get(socket))}
        numbers = [self._at(process, port, sockets) for port in ports]
        known = [number for number in numbers if number is not None]
        if not numbers or len(known) < len(numbers):
            return None
        ways = {entry.count.via for entry in entries if entry.count and entry.count.accepts}
        without_descriptor = "kernel" in ways or ("io_uring" in ways and not any(known))
        return None if without_descriptor else sum(known) + self._more.get(process, 0)

    def _at(self, process: ProcessKey, port: LocalPort, sockets: set[Socket]) -> int | None:
        found = self._sockets[process, port]
        if not found <= sockets:
            found = set(filter(self._listeners.is_open, found)) or found
        return self._opened.of(*process, port) if found <= sockets else None

    def _find_sockets(self, kept: Iterable[Entry]) -> None:
        for entry in kept:
            port = self._ports[entry.socket] = port_of(entry.socket, self._listeners)
            if port is not None and not isinstance(entry.process, Bygone):
                self._sockets[entry.process, port].add(entry.socket)


def port_of(socket: Socket, listeners: Listeners) -> LocalPort | None:
    """Where it listens; None: that is not known, or several places are."""
    if isinstance(socket, Place):
        netns, port, family = socket.netns, socket.port, socket.family
        return LocalPort(netns, port, family) if netns and port and family else None
    facts = listeners.facts(socket)
    return LocalPort(facts.netns, facts.local_port, facts.family) if facts else None
