"""One run of the UDP tracer: the session, the inventory and the model, refreshed together."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from accepttrace.config import Config
from accepttrace.facts.datagrams import UdpReading
from accepttrace.facts.reading import Use
from accepttrace.probe.udp import open_udp
from accepttrace.run.pace import unbroken
from accepttrace.run.subject import Keeper, count_anew, meta_of, receivers_in_order, utc_now
from accepttrace.sockets.receivers import ReceiverReader

if TYPE_CHECKING:
    from accepttrace.model.datagrams import ReceiverSnapshot
    from accepttrace.model.receivers import ReceiverTracker
    from accepttrace.views.screen.state import Wish


class UdpSubject:
    """Attached and proved when constructed; leaving it as a context manager detaches."""

    def __init__(self, config: Config, keeper: Keeper | None = None) -> None:
        self._config, self._keeper = config, keeper
        self._session = open_udp(config)
        self._reader = ReceiverReader(config.filters, self._session.queues)
        self._baseline = self._reader.baseline()  # before it is announced that it is ready

    @cached_property
    def _tracker(self) -> ReceiverTracker:
        """Made when it is used: the start of the tracer does not wait for it."""
        from accepttrace.sockets.holding import open_iterator

        self._reader.use(open_iterator("udp"))
        return self._new_tracker()

    def _new_tracker(self) -> ReceiverTracker:
        from accepttrace.model.receivers import ReceiverTracker

        session, filters = self._session, self._config.filters
        meta = meta_of(session, filters, "udp")
        sees, began_s = session.plan.sees, session.began_s
        if self._keeper is not None:
            self._keeper.begin(meta, sees, self._baseline, began_s)
        tracker = ReceiverTracker(meta, filters, began_s, sees)
        tracker.start(self._baseline)
        return tracker

    def _begin_anew(self) -> None:
        with unbroken():
            count_anew(self._session, self._config.filters)
            self._baseline = self._reader.baseline()
            self._tracker = self._new_tracker()

    def __enter__(self) -> UdpSubject:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._reader.close()

    def refresh(self) -> ReceiverSnapshot:
        """Read everything again."""
        tracker = self._tracker
        reading = self._read()
        with unbroken():
            self._keep(reading, "shown")
            self._session.forget(tracker.update(reading))
        picture = receivers_in_order(self._config, tracker.snapshot())
        if self._keeper is not None and self._keeper.due:
            self._begin_anew()
        return picture

    def go_on(self) -> None:
        """The first reading is not shown: its interval goes on."""
        self._tracker.go_on()

    def look(self, wish: Wish) -> ReceiverSnapshot:  # noqa: ARG002
        """The last picture: rows are sockets, and there is no window."""
        return receivers_in_order(self._config, self._tracker.snapshot())

    def threads(self) -> None:
        """Sockets have owners, not threads."""

    def drain(self) -> None:
        """Let the rows of sockets that are gone go, so that the map does not fill."""
        if self._session.crowded():
            reading = self._read()
            with unbroken():
                self._keep(reading, "drained")
                self._session.forget(self._tracker.drain(reading))

    def _keep(self, reading: UdpReading, use: Use) -> None:
        if self._keeper is not None:
            self._keeper.take(reading, use)

    def _read(self) -> UdpReading:
        """Counts, then the sockets."""
        return UdpReading(self._session.counts(), self._reader.read(), utc_now())

    def summary(self, again: bool = True) -> ReceiverSnapshot:  # noqa: ARG002
        """The last reading, with the whole run as its interval."""
        return receivers_in_order(self._config, self._tracker.summary())
