"""One run of the tracer: the session, the inventory and the model, refreshed together."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from accepttrace.config import Config
from accepttrace.facts.reading import Reading, Use
from accepttrace.facts.records import Counts, Gone, Process
from accepttrace.probe.session import Session, open_session
from accepttrace.run.pace import unbroken
from accepttrace.run.subject import Keeper, count_anew, in_order, meta_of, new_tracker, utc_now
from accepttrace.sockets.cputime import cpu_times
from accepttrace.sockets.inventory import InventoryReader
from accepttrace.sockets.kinship import KinshipReader

if TYPE_CHECKING:
    from accepttrace.facts.meta import Meta
    from accepttrace.model.snapshot import Snapshot
    from accepttrace.model.tracker import Tracker
    from accepttrace.sockets.unixinventory import UnixReader
    from accepttrace.views.screen.state import Wish


class TcpSource:
    """What one refresh reads of TCP: counts, sockets and what passed meanwhile, close together."""

    def __init__(self, session: Session, sockets: InventoryReader | UnixReader) -> None:
        self._session = session
        self._sockets = sockets
        self._kinship = KinshipReader(sockets)

    def read(self, known: AbstractSet[int], full: bool = False) -> Reading:
        """Counts, then the sockets, then what passed meanwhile.

        `known`: PIDs of acceptors that have a row already. `full`: see InventoryReader.
        """
        counts = self._session.counts()
        netns = {count.netns for count in counts.listeners}
        inventory = self._sockets.read(full, netns)
        passed = self._session.passed()
        holders = {holder.pid: holder for item in inventory.listeners for holder in item.holders}
        others = self._others(counts, known, holders.keys())
        serving = [one.process for one in inventory.serving]
        cpu = cpu_times((*others.values(), *holders.values(), *serving))
        around = self._kinship.read(inventory)
        return Reading(counts, inventory, others, passed, utc_now(), cpu, around)

    def read_counts(self, known: AbstractSet[int], holders: AbstractSet[int]) -> Reading:
        """Without the sockets. `holders`: PIDs of those that held one when they were read last."""
        counts = self._session.counts()
        return Reading(counts, processes=self._others(counts, known, holders))

    def _others(
        self, counts: Counts, known: AbstractSet[int], holders: AbstractSet[int]
    ) -> dict[int, Process]:
        """Acceptors alive that hold no listener any more, by pid."""
        pids = ({acceptor.pid for acceptor in counts.acceptors} | known) - holders - {0}
        found = ((pid, self._sockets.process(pid)) for pid in pids)
        return {pid: process for pid, process in found if process is not None}


class TcpSubject:
    """Attached and proved when constructed; leaving it as a context manager detaches."""

    _protocol: Literal["tcp", "unix"] = "tcp"

    def __init__(self, config: Config, keeper: Keeper | None = None) -> None:
        self._config, self._keeper = config, keeper
        self._session = self._open()
        self._reader = self._inventory()
        self._source = self._sources()
        self._baseline = self._reader.baseline()  # before it is announced that it is ready
        self._by, self._window_s, self._anew = config.by, config.window_s, 0

    def _open(self) -> Session:
        return open_session(self._config)

    def _inventory(self) -> InventoryReader | UnixReader:
        return InventoryReader(self._config.filters, ask_facts=self._session.listening)

    def _sources(self) -> TcpSource:
        return TcpSource(self._session, self._reader)

    @property
    def _meta(self) -> Meta:
        return meta_of(self._session, self._config.filters, self._protocol)

    @cached_property
    def _tracker(self) -> Tracker:
        """Made when it is used: the start of the tracer does not wait for it."""
        from accepttrace.sockets.holding import open_iterator

        iterator = open_iterator(self._protocol, (self._session.plan.attach,))
        self._reader.use(iterator, sparing=self._config.live)
        return self._new_tracker()

    def _new_tracker(self) -> Tracker:
        session, config = self._session, self._config
        meta = self._meta
        if self._keeper is not None:
            self._keeper.begin(meta, session.plan.sees, self._baseline, session.began_s)
        begun = (meta, config.filters, session.began_s, session.plan.sees)
        return new_tracker(config, begun, self._baseline, self._window_s)

    def _begin_anew(self) -> None:
        """All that was counted is forgotten; nothing is counted while it is."""
        with unbroken():
            self._restart()
            self._baseline = self._reader.baseline()
            self._tracker = self._new_tracker()

    def _restart(self) -> None:
        count_anew(self._session, self._config.filters)

    def __enter__(self) -> TcpSubject:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._reader.close()

    def refresh(self) -> Snapshot:
        """Read everything again."""
        tracker = self._tracker
        reading = self._source.read(tracker.pids)
        with unbroken():  # what the model has summed up must be forgotten, and only that
            self._keep(reading, "shown")
            self._forget(tracker.update(reading), reading.counts)
        picture = in_order(self._config, tracker.snapshot(self._by))
        if self._keeper is not None and self._keeper.due:
            self._begin_anew()
        return picture

    def go_on(self) -> None:
        """The first reading is not shown: its interval goes on."""
        self._tracker.go_on()

    def look(self, wish: Wish) -> Snapshot:
        """The last picture anew, as it is wished for from now on."""
        self._by, self._window_s = wish.by, wish.window_s
        if wish.anew != self._anew:
            self._anew = wish.anew
            self._begin_anew()
            return self.refresh()
        self._tracker.look_back(wish.window_s)
        return in_order(self._config, self._tracker.snapshot(self._by))

    def threads(self) -> Snapshot:
        """The same picture by thread."""
        return self._tracker.snapshot("thread")

    def drain(self) -> None:
        """Let the rows of those that ended go, so that the maps do not fill before a refresh."""
        if self._session.crowded():
            reading = self._source.read_counts(self._tracker.pids, self._tracker.holders)
            with unbroken():
                self._keep(reading, "drained")
                self._forget(self._tracker.drain(reading), reading.counts)

    def _forget(self, gone: Gone, counts: Counts) -> None:  # noqa: ARG002
        """Delete rows, as they were read last."""
        self._session.forget(gone)

    def summary(self, again: bool = True) -> Snapshot:
        """The last reading, with the whole run as its interval.

        If all was quiet, it is read a second time, to separate what is missing from what was only
        under way. Not so without `again`.
        """
        if again and not self._tracker.quiet:
            reading = self._source.read(self._tracker.pids)
            with unbroken():
                self._keep(reading, "confirmed")
                self._tracker.confirm(reading)
        return in_order(self._config, self._tracker.summary(self._by))

    def _keep(self, reading: Reading, use: Use) -> None:
        if self._keeper is not None:
            self._keeper.take(reading, use)
