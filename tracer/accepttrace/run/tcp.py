"""One run of the tracer: the session, the inventory and the model, refreshed together."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import TYPE_CHECKING

from accepttrace.config import Config
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import Counts, Process
from accepttrace.probe.session import open_session
from accepttrace.run.pace import unbroken
from accepttrace.run.subject import meta_of, utc_now
from accepttrace.sockets.inventory import InventoryReader

if TYPE_CHECKING:
    from accepttrace.model.snapshot import Snapshot
    from accepttrace.model.tracker import Tracker


class TcpSubject:
    """Attached and proved when constructed; leaving it as a context manager detaches."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._session = open_session(config)
        self._reader = InventoryReader(config.filters, ask_facts=self._session.listening)
        self._baseline = self._reader.baseline()  # before anybody is told that it is ready

    @cached_property
    def _tracker(self) -> Tracker:
        """What whoever waits for the tracer to be ready need not wait for, made when it is used."""
        from accepttrace.model.tracker import Tracker
        from accepttrace.sockets.holding import open_iterator

        self._reader.use(open_iterator())
        session, filters = self._session, self._config.filters
        meta = meta_of(session, filters)
        sees, grains = session.plan.sees, (self._config.by,)
        tracker = Tracker(meta, filters, session.began_s, sees, grains=grains)
        tracker.start(self._baseline)
        return tracker

    def __enter__(self) -> TcpSubject:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._reader.close()

    def refresh(self) -> Snapshot:
        """Read everything again."""
        tracker = self._tracker
        reading = self._read()
        with unbroken():  # what the model has summed up must be forgotten, and only that
            self._session.forget(tracker.update(reading))
        return self._sorted(tracker.snapshot(self._config.by))

    def drain(self) -> None:
        """Let the rows of those that ended go, so that the maps do not fill before a refresh."""
        if self._session.crowded():
            counts = self._session.counts()
            others = self._others(counts, self._tracker.holders)
            with unbroken():
                self._session.forget(self._tracker.drain(Reading(counts, processes=others)))

    def summary(self, again: bool = True) -> Snapshot:
        """The last reading, with the whole run as its interval.

        If all was quiet, it is read a second time: that tells what is missing from what was only
        under way. Not so without `again`.
        """
        if again and not self._tracker.quiet:
            reading = self._read()
            with unbroken():
                self._tracker.confirm(reading)
        return self._sorted(self._tracker.summary(self._config.by))

    def _sorted(self, snapshot: Snapshot) -> Snapshot:
        if self._config.sort is None:
            return snapshot
        from accepttrace.views.columns.tcp import ordered

        return ordered(snapshot, self._config.sort)

    def _read(self) -> Reading:
        """Counts, then the sockets, then what passed meanwhile."""
        counts = self._session.counts()
        inventory = self._reader.read(counted={count.netns for count in counts.listeners})
        passed = self._session.passed()
        holders = {holder.pid for item in inventory.listeners for holder in item.holders}
        return Reading(counts, inventory, self._others(counts, holders), passed, utc_now())

    def _others(self, counts: Counts, holders: AbstractSet[int]) -> dict[int, Process]:
        """Acceptors alive that hold no listener any more, by pid."""
        pids = ({acceptor.pid for acceptor in counts.acceptors} | self._tracker.pids) - holders
        found = ((pid, self._reader.process(pid)) for pid in pids)
        return {pid: process for pid, process in found if process is not None}
