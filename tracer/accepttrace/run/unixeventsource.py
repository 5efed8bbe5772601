"""Each connection of AF_UNIX as an event: those to the listeners that were asked for."""

from __future__ import annotations

from typing import Final

from accepttrace.config import Config
from accepttrace.facts.connections import ConnectionEvent, UnixName
from accepttrace.facts.records import Counts
from accepttrace.probe.unix import UnixSession
from accepttrace.run.eventsource import EventSource
from accepttrace.sockets.diag.unix import SocketFile, spelled
from accepttrace.sockets.unixinventory import AskedFor, UnixReader

_KNOWN: Final = 16_384  # listeners whose names are kept


class UnixEventSource(EventSource):
    """As of TCP, with the path of the listener. Who was not asked for is left out here."""

    def __init__(self, session: UnixSession, config: Config) -> None:
        super().__init__(session, config.filters)
        self._connections = self._names = session.connections(self._people.called)
        self._by_name, self._asked = bool(config.unix), AskedFor(config.unix or ())
        self._sockets = UnixReader(config.filters, ())
        self._known: dict[int, tuple[str | None, bool]] = {}  # inode: name, whether it is asked for

    @property
    def takes_all(self) -> bool:
        """Paths are looked up for each."""
        return False

    def _read(self, most: int) -> list[ConnectionEvent]:
        events = super()._read(most)
        return [event._replace(path=self._listener(event.listener_inode)[0]) for event in events]

    def _wanted(self, event: ConnectionEvent) -> bool:
        return self._listener(event.listener_inode)[1] and super()._wanted(event)

    def _listener(self, inode: int) -> tuple[str | None, bool]:
        found = self._known.get(inode)
        if found is not None:
            return found
        name = self._names.name(inode)
        if name is None:
            return None, not self._by_name
        if len(self._known) >= _KNOWN:
            self._known.clear()
        found = self._known[inode] = self._look(name)
        return found

    def _look(self, name: UnixName) -> tuple[str, bool]:
        self._asked.look()
        path = spelled(name.sun_path)
        return path, self._asked.match(path, SocketFile(*name.file) if name.file else None)

    def _ended(self, counts: Counts) -> set[int]:
        """What the kernel lists nowhere."""
        there = self._sockets.baseline()
        return {one.inode for one in counts.listeners} - there.sockets if there.complete else set()

    def close(self) -> None:
        """Let go of the ring buffer."""
        self._sockets.close()
        super().close()
