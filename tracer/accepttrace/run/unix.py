"""One run of the tracer of AF_UNIX: as that of TCP, with another session and inventory."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING

from accepttrace.facts.reading import Reading
from accepttrace.facts.records import Counts, Gone
from accepttrace.probe.unix import UnixSession, open_unix
from accepttrace.run.subject import meta_of
from accepttrace.run.tcp import TcpSource, TcpSubject
from accepttrace.sockets.unixinventory import UnixReader

if TYPE_CHECKING:
    from accepttrace.facts.meta import Meta


class UnixSource(TcpSource):
    """As of TCP. By name only the inventory knows listeners, so what is counted of others goes."""

    def __init__(self, session: UnixSession, sockets: UnixReader, by_name: bool) -> None:
        super().__init__(session, sockets)
        self._by_name, self._reader = by_name, sockets
        self._asked: frozenset[int] = frozenset()  # inodes of those that have, or had, such a name
        self._unasked: frozenset[int] = frozenset()  # of others that something was counted of
        self.needless = Gone()  # rows of these that will not change any more

    def read(self, known: AbstractSet[int], full: bool = False) -> Reading:
        """Counts, then the sockets, then what passed meanwhile."""
        reading = super().read(known, full)
        if reading.inventory is not None:
            listed = {listener.inode for listener in reading.inventory.listeners}
            counted = _inodes(reading.counts)
            self._asked = frozenset(listed | (self._asked & counted))
            self._unasked = frozenset(counted - self._asked)
        return replace(reading, counts=self._of_asked(reading.counts))

    def read_counts(self, known: AbstractSet[int], holders: AbstractSet[int]) -> Reading:
        """Without the sockets."""
        reading = super().read_counts(known, holders)
        return replace(reading, counts=self._of_asked(reading.counts))

    def _of_asked(self, counts: Counts) -> Counts:
        if not self._by_name:
            return counts
        ended = [key for key in counts.ended if key[0] in self._unasked]
        self.needless = Gone(tuple(ended), tuple(self._unasked - self._reader.there))
        return replace(
            counts,
            acceptors=tuple(a for a in counts.acceptors if a.listener_inode in self._asked),
            listeners=tuple(one for one in counts.listeners if one.inode in self._asked),
            orders=tuple(one for one in counts.orders if one.inode in self._asked),
        )


class UnixSubject(TcpSubject):
    """Attached and proved when constructed; leaving it as a context manager detaches."""

    _protocol = "unix"
    _session: UnixSession
    _reader: UnixReader
    _source: UnixSource

    def _open(self) -> UnixSession:
        return open_unix(self._config)

    def _inventory(self) -> UnixReader:
        return UnixReader(self._config.filters, self._config.unix or ())

    def _sources(self) -> UnixSource:
        return UnixSource(self._session, self._reader, bool(self._config.unix))

    def _forget(self, gone: Gone, counts: Counts) -> None:
        """Also those of listeners that were not asked for: nobody else would, and the maps fill."""
        others = self._source.needless
        super()._forget(
            Gone((*gone.acceptors, *others.acceptors), (*gone.listeners, *others.listeners)), counts
        )

    @property
    def _meta(self) -> Meta:
        config = self._config
        return meta_of(self._session, config.filters, "unix", config.unix or ())


def _inodes(counts: Counts) -> set[int]:
    """Of all listeners of which something was counted."""
    accepted = {one.listener_inode for one in counts.acceptors}
    return accepted.union(one.inode for one in counts.listeners)
