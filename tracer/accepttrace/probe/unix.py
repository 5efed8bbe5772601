"""The tracer of AF_UNIX: as that of TCP, by hooks and a proof of its own."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.records import Family
from accepttrace.probe import choosing, plans, preemption, wire
from accepttrace.probe.selftest import CONNECTIONS, LEFT, Traffic
from accepttrace.probe.session import Session

if TYPE_CHECKING:
    from accepttrace.probe.connections import NameOf
    from accepttrace.probe.unixconnections import UnixConnections

OVERFLOWED: Final = 1
_A_LITTLE: Final = struct.pack("@ll", 0, 1000)  # struct timeval
UNREAD: Final = "(closed before its name was read)"


class UnixTraffic(Traffic):
    """The same by a listener with an abstract name that the kernel has chosen."""

    @classmethod
    def prepare(cls, limit_s: float) -> UnixTraffic:
        """Listen. All of it must be done in `limit_s`."""
        began_s = time.monotonic()
        with ExitStack() as opened:
            listener, *clients = (
                opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                for _ in range(1 + CONNECTIONS + LEFT + OVERFLOWED)
            )
            listener.bind("")
            listener.listen(CONNECTIONS)
            listener.settimeout(0)
            opened.pop_all()
        inode = os.fstat(listener.fileno()).st_ino
        return cls(listener, clients, 0, inode, limit_s, began_s)

    def make(self) -> None:
        """Also one that finds the queue full, and waits for room a little."""
        super().make()
        self.listener.listen(LEFT - 1)
        late = self.clients[-1]
        late.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _A_LITTLE)
        with suppress(BlockingIOError):
            late.connect(self.address)
            raise UnsupportedError("cannot prove the hooks: the queue of the self-test is not full")
        self.overflowed = OVERFLOWED

    @property
    def address(self) -> bytes:
        """Where clients connect to."""
        name: bytes = self.listener.getsockname()
        return name

    @property
    def filters(self) -> Filters:
        """What lets all of it through."""
        return Filters(pids=frozenset({os.getpid()}))


class UnixSession(Session):
    """AF_UNIX: who accepts what from which listener."""

    _traffic = UnixTraffic

    def _settings_for(self, filters: Filters) -> wire.Settings:
        if filters.ports:  # no such socket has one, so none is wanted, as in no namespace
            filters = replace(filters, netns=frozenset((0,)))
        settings = super()._settings_for(filters)
        settings.unusual |= 0 if self.plan.sees.waits else wire.WITHOUT_WAITS
        return settings

    def _bound(self, value: wire.Listener) -> tuple[Family, str]:  # noqa: ARG002
        """The inventory has the names; the kernel side reads none."""
        return "unix", UNREAD

    def connections(self, name_of: NameOf) -> UnixConnections:
        """Each connection from now on, if the session was opened with events."""
        from accepttrace.probe.unixconnections import UnixConnections

        return UnixConnections(self._loaded, name_of)


def open_unix(config: Config) -> UnixSession:
    """Attach, prove, and set the filters. `UnsupportedError` says why it failed.

    Waiting times take another hook than accepts: they are there with full detail alone.
    """
    detail: plans.Detail = "full" if config.detail == "full" else "accepts"
    ordered = plans.of_unix_by_preference(preemption.preempts())
    asked = (False, config.patterns, config.events)
    ways = (plan.at(detail).looking(*asked) for plan in ordered)
    return choosing.first(config, ways, UnixSession)
