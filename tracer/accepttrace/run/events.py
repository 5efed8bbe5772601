"""`accepttrace events`: attached, read twenty times a second, written, and accounted for."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from accepttrace.config import Config
from accepttrace.errors import UnsupportedError
from accepttrace.facts.connections import ConnectionEvent, Kind, Wish
from accepttrace.facts.sight import Sight
from accepttrace.model.ledger import ledger_of
from accepttrace.probe.plans import Plan
from accepttrace.probe.session import Session, open_session
from accepttrace.run import readyfile
from accepttrace.run.eventsource import EventSource, require_events
from accepttrace.run.output import Output, say, standard_output
from accepttrace.run.pace import READ_S, Pace
from accepttrace.run.run import collect_seldom
from accepttrace.run.subject import meta_of
from accepttrace.run.terminal import window
from accepttrace.views.connections import (
    WRITERS,
    JsonLines,
    Lines,
    Plain,
    Shown,
    Stamps,
    Timestamps,
    summary,
)

_LATE_S: Final = 0.05  # between two readings
_CHORES_S: Final = 1.0
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


def trace_events(config: Config, asked: Asked, pace: Pace) -> None:
    """Trace until the end, and write each event as it comes; then account for all."""
    require_events(config)
    out = standard_output(pace)
    if config.ready_file is not None:
        readyfile.remove(config.ready_file)
    opened: tuple[Session, EventSource] | None = None
    with pace.until(max(READ_S, 2 * pace.age_s)):
        opened = _open(config)
    if opened is None:
        say("ended before everything was attached: nothing was traced")
        return
    with opened[0]:
        require_waits(asked, opened[0].plan)
        _Events(config, asked, pace, opened, out).run()


def _open(config: Config) -> tuple[Session, EventSource]:
    """Attached and proved."""
    if config.unix is None:
        tcp = open_session(config)
        return tcp, EventSource(tcp, config.filters)
    from accepttrace.probe.unix import open_unix
    from accepttrace.run.unixeventsource import UnixEventSource

    unix = open_unix(config)
    return unix, UnixEventSource(unix, config)


class _Events:
    """One run."""

    def __init__(
        self,
        config: Config,
        asked: Asked,
        pace: Pace,
        opened: tuple[Session, EventSource],
        out: Output,
    ) -> None:
        self._config, self._asked, self._pace = config, asked, pace
        self._session, self._source = opened
        self._out = out
        self._shown = 0
        self._soonest: JsonLines | None = None  # where all accepts are shown

    def run(self) -> None:
        """Until the end."""
        try:
            self._begin()
            self._read_on()
            self._end()
        except BrokenPipeError:  # the reader has seen enough
            return
        finally:
            self._source.close()

    def _begin(self) -> None:
        session = self._session
        self._source.begin(self._asked.wish)
        self._began_s = time.monotonic()
        self._lines = lines_for(self._config, self._asked, self._out, time.time_ns())
        all_accepts = self._source.takes_all and self._asked.wish.kinds == {"accept"}
        if isinstance(self._lines, JsonLines) and all_accepts and self._config.count is None:
            self._soonest = self._lines
        say_what_is_not_seen(self._asked, session.plan.sees, session.plan.attach)
        names = self._config.unix
        meta = meta_of(
            session, self._config.filters, "tcp" if names is None else "unix", names or ()
        )
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
                self._source.let_go()
            self._pace.wait(min(_LATE_S, end_s - now), readable=self._source.fileno())
            self._show_until(self._over)

    def _over(self) -> bool:
        return self._pace.ended or self._enough

    @property
    def _enough(self) -> bool:
        return self._shown == self._config.count

    def _show_until(self, over: Callable[[], bool]) -> None:
        """All that came, or until it is over."""
        if self._soonest is not None:
            self._show_accepts(self._soonest, over)
            return
        batches = self._source.batches()
        while not over() and (events := next(batches, None)) is not None:
            self._show(events)

    def _show_accepts(self, lines: JsonLines, over: Callable[[], bool]) -> None:
        batches = self._source.accepts()
        while not over() and (batch := next(batches, None)) is not None:
            self._shown += len(batch.which)
            self._write(lines.accepts(batch))

    def _show(self, events: list[ConnectionEvent]) -> None:
        if self._config.count is not None:
            del events[self._config.count - self._shown :]
        self._shown += len(events)
        self._write(self._lines.rows(events))

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _end(self) -> None:
        """What came until now is shown, if the reader takes it."""
        self._source.stop(self._pace.wait)
        self._show_until(lambda: self._out.waits or self._enough)
        account = self._source.account()
        unread = account.counts.written - self._shown - account.left_out
        ledger = ledger_of(account, self._shown, account.left_out, unread)
        self._out.write(self._lines.end(ledger))
        if not self._out.finish():
            say("the reader of the output has stopped: the last lines are missing")
        say(summary(ledger))


def require_waits(asked: Asked, plan: Plan) -> None:
    """UnsupportedError where the events that were asked for cannot be told from others."""
    if asked.slower_us and not plan.sees.waits:
        raise UnsupportedError(
            f"{plan.attach} does not see how long connections waited", "leave --slower-than away"
        )


def say_what_is_not_seen(asked: Asked, sees: Sight, attach: str) -> None:
    """Of what was asked for, on standard error."""
    gaps = []
    if asked.failed and not sees.errors:
        gaps.append("why accepts fail")
    if asked.lost and not sees.overflow:
        gaps.append("what is dropped at a full queue")
    for gap in gaps:
        say(f"{attach} does not see {gap}: there will be no lines of them")


def lines_for(config: Config, asked: Asked, out: Output, began_ns: int) -> Lines:
    """The form that was asked for."""
    stamps = Stamps(asked.timestamps, began_ns)
    if config.output != "table":
        return WRITERS[config.output](stamps)
    width = window(80 if out.isatty() else _PIPE_COLUMNS)[0]
    return Plain(stamps, width, _shown(asked, config.unix is not None))


def _shown(asked: Asked, of_unix: bool) -> Shown:
    if asked.failed or asked.lost:
        return "any of unix" if of_unix else "any"
    return "unix" if of_unix else "accept"
