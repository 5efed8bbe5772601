"""What the readings of a recording are given to: the model of the run, of each protocol."""

from __future__ import annotations

from typing import Protocol, TypeVar

from accepttrace.config import By, Config
from accepttrace.model.datagrams import ReceiverSnapshot
from accepttrace.model.snapshot import Snapshot
from accepttrace.run.subject import in_order, new_tracker, receivers_in_order
from accepttrace.store.steps import Beginning, Taken, TakenOfUdp, reading_of

S = TypeVar("S", covariant=True)


class ReplayModel(Protocol[S]):
    """Readings go in, snapshots come out. It can be copied."""

    def take(self, step: Taken | TakenOfUdp) -> None:
        """The next reading, as it was used; ValueError if it is of another protocol."""

    def go_on(self) -> None:
        """The interval of the last reading goes on."""

    def look_back(self, window_s: float | None) -> None:
        """How far recent sums and verdicts reach from now on."""

    def picture(self, by: By) -> S:
        """As of the last reading that was shown."""

    def summary(self, by: By) -> S:
        """The whole run until then."""

    def threads(self) -> S | None:
        """The picture by thread; None: there is no such thing."""


class AcceptModel:
    """Of TCP and AF_UNIX."""

    def __init__(self, config: Config, begun: Beginning) -> None:
        self._config = config
        before = (begun.meta, begun.filters, begun.began_s, begun.sees)
        self._tracker = new_tracker(config, before, begun.baseline, config.window_s)

    def take(self, step: Taken | TakenOfUdp) -> None:
        if not isinstance(step, Taken):
            raise ValueError("a reading of UDP in a recording of accepts")
        reading = reading_of(step)
        if step.use == "drained":
            self._tracker.drain(reading)
        elif step.use == "confirmed":
            self._tracker.confirm(reading)
        else:
            self._tracker.update(reading)

    def go_on(self) -> None:
        self._tracker.go_on()

    def look_back(self, window_s: float | None) -> None:
        self._tracker.look_back(window_s)

    def picture(self, by: By) -> Snapshot:
        return in_order(self._config, self._tracker.snapshot(by))

    def summary(self, by: By) -> Snapshot:
        return in_order(self._config, self._tracker.summary(by))

    def threads(self) -> Snapshot:
        return self._tracker.snapshot("thread")


class ReceiverModel:
    """Of UDP: a row is a socket, and there is no window."""

    def __init__(self, config: Config, begun: Beginning) -> None:
        from accepttrace.model.receivers import ReceiverTracker

        self._config = config
        began_s = begun.began_s or 0.0
        self._tracker = ReceiverTracker(begun.meta, begun.filters, began_s, begun.sees)
        self._tracker.start(begun.baseline)

    def take(self, step: Taken | TakenOfUdp) -> None:
        if not isinstance(step, TakenOfUdp):
            raise ValueError("a reading of accepts in a recording of UDP")
        if step.use == "drained":
            self._tracker.drain(step.reading)
        else:
            self._tracker.update(step.reading)

    def go_on(self) -> None:
        self._tracker.go_on()

    def look_back(self, window_s: float | None) -> None:
        """Nothing is recent."""

    def picture(self, by: By) -> ReceiverSnapshot:  # noqa: ARG002
        return receivers_in_order(self._config, self._tracker.snapshot())

    def summary(self, by: By) -> ReceiverSnapshot:  # noqa: ARG002
        return receivers_in_order(self._config, self._tracker.summary())

    def threads(self) -> None:
        """Sockets have owners, not threads."""
