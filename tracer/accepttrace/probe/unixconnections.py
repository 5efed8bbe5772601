"""Connections of AF_UNIX as events: with who connected, and the names of the listeners."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from accepttrace.facts.connections import ConnectionEvent, UnixName
from accepttrace.probe import wire
from accepttrace.probe.connections import Connections, NameOf
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map

# struct unix_peer at the end of a record, behind its head and all else of struct event.
PEER: Final = Struct("<112xII8x")
_MINOR_BITS: Final = 20  # of a device number as the kernel keeps it


class UnixConnections(Connections):
    """The ring buffer, and the names of all listeners that something in it is about."""

    def __init__(self, loaded: loaders.Attached, name_of: NameOf) -> None:
        super().__init__(loaded, name_of)
        self._names = Map(loaded.map_fd("unix_names"), wire.U32, wire.UnixName)

    def name(self, inode: int) -> UnixName | None:
        """Of a listener, closed or not; None: so many came after it that it is forgotten."""
        found = self._names.get(wire.U32(inode))
        if found is None or not found.length:
            return None
        raw = bytes(found)[wire.UnixName.name.offset :][: found.length]
        if raw[:1] == b"\0":
            return UnixName(raw, None)
        major, minor = found.device >> _MINOR_BITS, found.device & (1 << _MINOR_BITS) - 1
        return UnixName(raw, (major, minor, found.file_inode))

    def _events(self, records: bytes, ahead_ns: int) -> Iterator[ConnectionEvent]:
        peers = PEER.iter_unpack(records)
        for event, (pid, uid) in zip(super()._events(records, ahead_ns), peers, strict=True):
            of_client = event.type != "failed"
            yield event._replace(peer_pid=pid or None, peer_uid=uid) if of_client else event
