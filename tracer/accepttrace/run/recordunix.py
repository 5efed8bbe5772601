"""A recorded run of AF_UNIX with each connection."""

from __future__ import annotations

from accepttrace.probe.session import Session
from accepttrace.probe.unix import UnixSession
from accepttrace.run.eventsource import EventSource
from accepttrace.run.record import WithEvents
from accepttrace.run.unix import UnixSubject
from accepttrace.run.unixeventsource import UnixEventSource


class UnixWithEvents(WithEvents, UnixSubject):
    """As of TCP, by the session, the inventory and the names of AF_UNIX."""

    def _open(self) -> UnixSession:
        session = super()._open()
        assert isinstance(session, UnixSession)
        return session

    def _events_of(self, session: Session) -> EventSource:
        assert isinstance(session, UnixSession)
        return UnixEventSource(session, self._config)
