"""`accepttrace events`: attached, read twenty times a second, written, and accounted for."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from typing import Final

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.connections import ConnectionEvent, Kind, Wish
from accepttrace.facts.matching import by_process, is_any, is_ipv4, process_matches, same_address
from accepttrace.facts.records import Gone, Process
from accepttrace.facts.sight import Sight
from accepttrace.model.ledger import Ledger
from accepttrace.probe.load import loaders
from accepttrace.probe.session import Session, open_session
from accepttrace.run import readyfile
from accepttrace.run.output import Output, say, standard_output
from accepttrace.run.pace import READ_S, Pace, unbroken
from accepttrace.run.run import collect_seldom
from accepttrace.run.subject import meta_of
from accepttrace.run.tcp import NOBODY
from accepttrace.run.terminal import window
from accepttrace.sockets.inventory import InventoryReader
from accepttrace.views.connections import WRITERS, Lines, Plain, Stamps, Timestamps, summary

_LATE_S: Final = 0.05  # between two readings
_CHORES_S: Final = 1.0
_BATCH: Final = 4096  # events that are written at once: a reader that stops holds no more of them
_SETTLING: Final = 5  # times that it is looked whether all is written
_PEOPLE: Final = 4096  # processes whose names are kept
_TICK_NS: Final = 10_000_000  # of starts in /proc/PID/stat
_PIPE_COLUMNS: Final = 160


@dataclass(frozen=True, slots=True)
class Asked:
    """What is written of which events. `peer`: a network; None: any."""

    timestamps: Timestamps = "iso"
    peer: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    slower_us: int = 0
    sample: int = 1
    failed: bool = False
    lost: bool = False

    @property
    def wish(self) -> Wish:
        """For the kernel side."""
        kinds: set[Kind] = {"accept"}
        kinds |= {"failed"} if self.failed else set()
        kinds |= {"reset", "dropped"} if self.lost else set()
        return Wish(frozenset(kinds), self.slower_us, self.sample, _as_ipv6(self.peer))


def _as_ipv6(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None,
) -> tuple[bytes, bytes] | None:
    if network is None:
        return None
    address, mask = network.network_address.packed, network.netmask.packed
    if network.version == 6:
        return address, mask
    return bytes(10) + b"\xff\xff" + address, b"\xff" * 12 + mask


class People:
    """Names of processes, and whether they pass the filters; each is read once."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._reader = InventoryReader(filters)
        self._known: dict[int, tuple[int, Process]] = {}  # by PID, with its start

    def name(self, pid: int, start_ns: int, comm: str) -> str:
        """What the process calls itself; `comm` where it is gone."""
        known = self._known.get(pid)
        if known is None or known[0] != start_ns:
            if len(self._known) >= _PEOPLE:
                self._known.clear()
            known = start_ns, self._look(pid, start_ns) or Process(pid, comm=comm, name=comm)
            self._known[pid] = known
        return known[1].name

    def match(self, event: ConnectionEvent) -> bool:
        """Whether it is by a process that was asked for; of one that is gone `comm` is known.

        To be asked before a later event of another process with the same PID is read.
        """
        known = None if event.pid is None else self._known.get(event.pid)
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
    of_listener = event.peer_address is None  # it may serve both families
    if filters.family and not of_listener and is_ipv4(own) != (filters.family == "ipv4"):
        return False
    return (
        not filters.addresses
        or is_any(own)
        or any(is_any(one) or same_address(one, own) for one in filters.addresses)
    )


def trace_events(config: Config, asked: Asked, pace: Pace) -> None:
    """Trace until the end, and write each event as it comes; then account for all."""
    if loaders.choose(config.loader) == "bcc":
        raise UnsupportedError(
            "the bcc loader writes no events: they need libbpf, and a kernel that shows BTF",
            "leave --loader out, or use `accepttrace top`, which counts with either",
        )
    out = standard_output(pace)
    if config.ready_file is not None:
        readyfile.remove(config.ready_file)
    session: Session | None = None
    with pace.until(max(READ_S, 2 * pace.age_s)):
        session = open_session(config)
    if session is None:
        say("ended before everything was attached: nothing was traced")
        return
    with session:
        _Events(config, asked, pace, session, out).run()


class _Events:
    """One run."""

    def __init__(
        self, config: Config, asked: Asked, pace: Pace, session: Session, out: Output
    ) -> None:
        self._config, self._asked, self._pace = config, asked, pace
        self._session, self._out = session, out
        self._people = People(config.filters)
        self._connections = session.connections(self._people.name)
        self._before = 0  # accepts by those whose rows were deleted
        self._shown = self._left_out = self._not_shown = 0

    def run(self) -> None:
        """Until the end."""
        try:
            self._begin()
            self._read_on()
            self._end()
        except BrokenPipeError:  # the reader has seen enough
            return
        finally:
            self._people.close()
            self._connections.close()

    def _begin(self) -> None:
        session = self._session
        session.filter(NOBODY)
        session.reset()
        self._connections.begin(self._asked.wish)
        session.filter(self._config.filters)
        self._began_s = time.monotonic()
        self._lines = lines_for(self._config, self._asked, self._out, time.time_ns())
        for gap in unseen(self._asked, session.plan.sees):
            say(f"{session.plan.attach} does not see {gap}: there will be no lines of them")
        meta = meta_of(session, self._config.filters)
        self._write(self._lines.begin(meta, self._asked.sample))
        if self._config.ready_file is not None:
            readyfile.create(self._config.ready_file)
        collect_seldom()

    def _read_on(self) -> None:
        end_s = self._began_s + (self._config.duration_s or float("inf"))
        chores_s = self._began_s + _CHORES_S
        while not self._over():
            now = time.monotonic()
            if now >= end_s:
                return
            if now >= chores_s:
                chores_s = now + _CHORES_S
                self._drop_rows_of_the_dead()
            self._pace.wait(min(_LATE_S, end_s - now), readable=self._connections.fileno())
            self._drain()

    def _over(self) -> bool:
        return self._pace.ended or self._shown == self._config.count

    def _drain(self) -> None:
        while not self._over() and (events := self._connections.read(_BATCH)):
            self._show(events)

    def _show(self, events: list[ConnectionEvent]) -> None:
        kept = [event for event in events if self._wanted(event)]
        self._left_out += len(events) - len(kept)
        if self._config.count is not None:
            room = self._config.count - self._shown
            self._not_shown += max(len(kept) - room, 0)
            del kept[room:]
        if kept:
            self._shown += len(kept)
            self._write(self._lines.rows(kept))

    def _wanted(self, event: ConnectionEvent) -> bool:
        filters = self._config.filters
        if (filters.family or filters.addresses) and not fits(filters, event):
            return False
        return not by_process(filters) or self._people.match(event)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _drop_rows_of_the_dead(self) -> None:
        """So that the maps, which count beside, have room."""
        if self._session.crowded():
            counts = self._session.counts()
            gone = {
                key: one.accepts
                for one in counts.acceptors
                if (key := (one.listener_inode, one.tid, one.start_ns)) in counts.ended
            }
            with unbroken():
                self._before += sum(gone.values())
                self._session.forget(Gone(acceptors=tuple(gone)))

    def _end(self) -> None:
        """What came until now is shown, if the reader takes it."""
        elapsed_s = time.monotonic() - self._began_s
        self._session.filter(NOBODY)
        self._settle()
        while self._shown != self._config.count and not self._out.waits:
            events = self._connections.read(_BATCH)
            if not events:
                break
            self._show(events)
        ledger = self._ledger(elapsed_s)
        self._out.write(self._lines.end(ledger))
        if not self._out.finish():
            say("the reader of the output has stopped: the last lines are missing")
        say(summary(ledger))

    def _accepts(self) -> int:
        """As the maps count them, which the events have no part in."""
        counts = self._session.counts()
        named = sum(one.accepts for one in counts.acceptors)
        return self._before + named + sum(one.uncounted for one in counts.listeners)

    def _settle(self) -> None:
        """Wait, a little, for programs that counted a connection and are about to write it."""
        for _ in range(_SETTLING):
            if self._accepts() == self._connections.counts().accepts:
                return
            self._pace.wait(_LATE_S / _SETTLING)

    def _ledger(self, elapsed_s: float) -> Ledger:
        accepts, found = self._accepts(), self._connections.counts()
        done = self._shown + self._left_out
        return Ledger(
            elapsed_s=round(elapsed_s, 3),
            accepts=accepts,
            shown=self._shown,
            left_out=self._left_out + found.left_out,
            not_sampled=found.not_sampled,
            not_shown=found.written - done,
            lost=found.lost,
            unseen=max(accepts - found.accepts, 0),
        )


def unseen(asked: Asked, sees: Sight) -> list[str]:
    """What was asked for and cannot be seen in this way."""
    gaps = []
    if asked.failed and not sees.errors:
        gaps.append("why accepts fail")
    if asked.lost and not sees.overflow:
        gaps.append("what is dropped at a full queue")
    return gaps


def lines_for(config: Config, asked: Asked, out: Output, began_ns: int) -> Lines:
    """The form that was asked for."""
    stamps = Stamps(asked.timestamps, began_ns)
    if config.output != "table":
        return WRITERS[config.output](stamps)
    width = window(80 if out.isatty() else _PIPE_COLUMNS)[0]
    return Plain(stamps, width, "any" if asked.failed or asked.lost else "accept")
