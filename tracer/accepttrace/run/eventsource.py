"""Each connection of a session as an event: those that were asked for, and the account of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.connections import KINDS, Account, Batch, Called, ConnectionEvent, Wish
from accepttrace.facts.matching import by_process, is_any, is_ipv4, process_matches, same_address
from accepttrace.facts.places import unit_of
from accepttrace.facts.records import Counts, Gone, ListenerCount, Process
from accepttrace.probe.load import btf
from accepttrace.probe.session import Session
from accepttrace.run.pace import unbroken
from accepttrace.run.subject import NOBODY, Keeper
from accepttrace.run.tcp import TcpSubject
from accepttrace.sockets.inventory import InventoryReader

_BATCH: Final = 1024  # events that are read at once: a pipe has room for their lines, whole
_SETTLING: Final = 5  # times that it is looked whether all is written
_SETTLING_S: Final = 0.01
_PEOPLE: Final = 4096  # processes whose names are kept
_TICK_NS: Final = 10_000_000  # of starts in /proc/PID/stat


def require_events(config: Config) -> None:
    """UnsupportedError where no events can be written."""
    hint = "use `accepttrace top`, which counts with either loader"
    if config.loader == "bcc":
        raise UnsupportedError("the bcc loader writes no events: they need libbpf", hint)
    if not btf.VMLINUX.exists():
        needs = "events need libbpf, which needs a kernel that shows BTF (CONFIG_DEBUG_INFO_BTF)"
        raise UnsupportedError(needs, hint)


class People:
    """Names of processes, and whether they pass the filters; each is read once."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._reader = InventoryReader(filters)
        self._known: dict[int, tuple[int, Process, Called]] = {}  # by PID, with its start

    def called(self, pid: int, start_ns: int, comm: str) -> Called:
        """What people call the process, and where it runs; `comm` where it is gone."""
        known = self._known.get(pid)
        if known is None or known[0] != start_ns:
            if len(self._known) >= _PEOPLE:
                self._known.clear()
            process = self._look(pid, start_ns) or Process(pid, comm=comm, name=comm)
            where = unit_of(process.cgroup), process.container, process.pod
            known = self._known[pid] = start_ns, process, Called(process.name, *where)
        return known[2]

    def match(self, event: ConnectionEvent) -> bool:
        """Whether it is by a process that was asked for; of one that is gone `comm` is known.

        To be asked before a later event of another process with the same PID is read.
        """
        if event.pid is None:  # a loss is nobody's; whoever accepted has no PID here
            outsider = Process(0, comm=event.comm or "")
            return event.comm is None or process_matches(self._filters, outsider)
        known = self._known.get(event.pid)
        return known is None or process_matches(self._filters, known[1], event.comm or "")

    def _look(self, pid: int, start_ns: int) -> Process | None:
        process = self._reader.process(pid)
        same = process is not None and process.start_ticks == start_ns // _TICK_NS
        return process if same else None

    def close(self) -> None:
        """End what read for it."""
        self._reader.close()


def fits(filters: Filters, event: ConnectionEvent) -> bool:
    """Whether the connection itself is of the family and came to the address that was asked for."""
    own = event.local_address
    if own is None:  # AF_UNIX
        return not (filters.family or filters.addresses)
    of_listener = event.peer_address is None  # it may serve both families
    if filters.family and not of_listener and is_ipv4(own) != (filters.family == "ipv4"):
        return False
    return (
        not filters.addresses
        or is_any(own)
        or any(is_any(one) or same_address(one, own) for one in filters.addresses)
    )


class EventSource:
    """The events of a session that was opened with them. `begin` comes first."""

    def __init__(self, session: Session, filters: Filters) -> None:
        self._session, self._filters = session, filters
        self._people = People(filters)
        self._connections = session.connections(self._people.called)
        self._began_s = 0.0
        self._stopped_s: float | None = None
        self._before = 0  # accepts in rows that were deleted
        self._left_out = 0
        self._stopped: set[int] = set()  # listeners, when it was last looked

    def fileno(self) -> int:
        """Ready when so much waits that it should be read at once."""
        return self._connections.fileno()

    def begin(self, wish: Wish) -> None:
        """All that was counted is forgotten; from now on write these."""
        self._session.filter(NOBODY)
        self._session.reset()
        self._connections.begin(wish)
        self._before = self._left_out = 0
        self._began_s, self._stopped_s = time.monotonic(), None
        self._session.filter(self._filters)

    def batches(self) -> Iterator[list[ConnectionEvent]]:
        """What came and was not read yet, without what the filters leave out.

        It ends, though more may come as fast as it is read.
        """
        for _ in range(0, self._connections.room, _BATCH):
            events = self._read(_BATCH)
            kept = [event for event in events if self._wanted(event)]
            self._left_out += len(events) - len(kept)
            if kept:
                yield kept
            if len(events) < _BATCH:
                return

    def _read(self, most: int) -> list[ConnectionEvent]:
        return self._connections.read(most)

    @property
    def takes_all(self) -> bool:
        """Whether the filters leave out nothing that is read."""
        filters = self._filters
        return not (filters.family or filters.addresses or by_process(filters))

    def accepts(self) -> Iterator[Batch]:
        """As `batches`, for who takes all and wished for accepts alone."""
        for _ in range(0, self._connections.room, _BATCH):
            batch = self._connections.read_accepts(_BATCH)
            if batch is None:
                return
            yield batch
            if len(batch.which) < _BATCH:
                return

    def _wanted(self, event: ConnectionEvent) -> bool:
        filters = self._filters
        if (filters.family or filters.addresses) and not fits(filters, event):
            return False
        return not by_process(filters) or self._people.match(event)

    def let_go(self) -> None:
        """Rows of threads that ended and listeners that closed, where they begin to fill the maps
        which count beside. To be called now and then.
        """
        if self._session.crowded():
            counts = self._session.counts()
            stopped = self._ended(counts)
            closed, self._stopped = stopped & self._stopped, stopped
            used = {_place(one) for one in counts.listeners if one.inode not in closed}
            unused = {_place(one) for one in counts.listeners} - used
            with unbroken():
                self.forget(Gone(tuple(counts.ended), tuple(closed), tuple(unused)), counts)

    def _ended(self, counts: Counts) -> set[int]:
        """Listeners that seem to have closed."""
        stopped = {one.inode for one in counts.listeners if one.stops}
        return stopped - self._session.listening().keys()

    def forget(self, gone: Gone, counts: Counts) -> None:
        """Delete rows of the maps which count beside, as they were read last."""
        self._before += _accepts_of(gone, counts)
        self._session.forget(gone)

    def stop(self, wait: Callable[[float], object]) -> None:
        """Nothing is counted any more; what was counted is soon written, for which it waits."""
        self._stopped_s = time.monotonic()
        self._session.filter(NOBODY)
        for _ in range(_SETTLING):
            if self._accepts() == self._connections.counts().accepts:
                return
            wait(_SETTLING_S)

    def account(self) -> Account:
        """Of all events so far."""
        stopped_s = self._stopped_s
        return Account(
            round((stopped_s or time.monotonic()) - self._began_s, 3),
            self._connections.counts(),
            self._left_out,
            None if stopped_s is None else self._accepts(),
        )

    def _accepts(self) -> int:
        """As the maps count them, which the events have no part in."""
        return self._before + _accepts(self._session.counts())

    def close(self) -> None:
        """Let go of the ring buffer."""
        self._people.close()
        self._connections.close()


class TcpWithEvents(TcpSubject):
    """A run of which each connection can be read too, whatever became of it."""

    def __init__(self, config: Config, keeper: Keeper | None = None) -> None:
        require_events(config)
        super().__init__(config, keeper)

    def _open(self) -> Session:
        session = super()._open()
        self.events = self._events_of(session)
        self._begin_events()
        return session

    def __exit__(self, *_: object) -> None:
        self.events.close()
        super().__exit__()

    def _restart(self) -> None:
        self._begin_events()

    def _events_of(self, session: Session) -> EventSource:
        return EventSource(session, self._config.filters)

    def _begin_events(self) -> None:
        self.events.begin(Wish(KINDS, sample=self._config.sample))

    def _forget(self, gone: Gone, counts: Counts) -> None:
        self.events.forget(gone, counts)


def _place(listener: ListenerCount) -> tuple[int, int]:
    return listener.netns, listener.local_port


def _accepts(counts: Counts) -> int:
    named = sum(one.accepts for one in counts.acceptors)
    return named + sum(one.uncounted for one in counts.listeners)


def _accepts_of(gone: Gone, counts: Counts) -> int:
    """By those whose rows go."""
    ended, closed = {*gone.acceptors}, {*gone.listeners}
    named = sum(
        one.accepts
        for one in counts.acceptors
        if (one.listener_inode, one.tid, one.start_ns) in ended or one.listener_inode in closed
    )
    return named + sum(one.uncounted for one in counts.listeners if one.inode in closed)
