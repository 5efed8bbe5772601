"""One run of the UDP tracer: the session, the inventory and the model, refreshed together."""

from __future__ import annotations

from accepttrace.cli.pace import unbroken
from accepttrace.cli.watch import meta_of, utc_now
from accepttrace.config import Config
from accepttrace.model.datagrams import ReceiverSnapshot
from accepttrace.model.receivers import ReceiverTracker
from accepttrace.probe.udp import open_udp
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.receivers import ReceiverReader


class UdpWatch:
    """Attached and proved when constructed; leaving it as a context manager detaches."""

    def __init__(self, config: Config) -> None:
        self._sort = config.sort
        self._session = open_udp(config)
        self._reader = ReceiverReader(config.filters, self._session.queues, open_iterator("udp"))
        text = config.filters.describe("")
        self._tracker = ReceiverTracker(
            meta_of(self._session, f"UDP {text}" if text else "every UDP socket"),
            config.filters,
            self._session.began_s,
            self._session.plan.sees,
        )
        self._tracker.start(self._reader.baseline())  # before anybody is told that it is ready

    def __enter__(self) -> UdpWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._reader.close()

    def refresh(self) -> ReceiverSnapshot:
        """Read everything again."""
        counts = self._session.counts()
        receivers = self._reader.read()
        with unbroken():
            gone = self._tracker.update(counts, receivers, wall=utc_now())
            self._session.forget(gone)
        return self._tracker.snapshot(self._sort)

    def drain(self) -> None:
        """Let the rows of sockets that are gone go, so that the map does not fill."""
        if self._session.crowded():
            counts = self._session.counts()
            receivers = self._reader.read()
            with unbroken():
                self._session.forget(self._tracker.drain(counts, receivers))

    def summary(self) -> ReceiverSnapshot:
        """The last reading, with the whole run as its interval."""
        return self._tracker.summary(self._sort)
