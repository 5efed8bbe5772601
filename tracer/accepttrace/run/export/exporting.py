"""`accepttrace exporter`: what each refresh reads, as metrics that can be scraped at any time."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from accepttrace.config import Config
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.totals import Naming, Totals
from accepttrace.run.export import exposition
from accepttrace.run.export.web import Web
from accepttrace.run.export.webconfig import WebConfig
from accepttrace.run.output import say
from accepttrace.run.sinks import Screen
from accepttrace.run.tcp import TcpSubject
from accepttrace.views.metrics import Own, Sample, samples

_FORMS: Final = 4  # that are kept of one reading: scrapers ask for one or two
_WHOLE: Final = 100  # refreshes between two looks for garbage among old objects


@dataclass(frozen=True, slots=True)
class Exports:
    """What is exported. `keep_s`: for how long, of workers and listeners that are gone."""

    naming: Naming = "slot"
    most_series: int = 10_000
    keep_s: float = 300.0


class TimedSubject(TcpSubject):
    """Knows what its refreshes cost, and its programs."""

    refreshes = 0
    refreshing_s = 0.0

    def refresh(self) -> Snapshot:
        began_s = time.monotonic()
        try:
            return super().refresh()
        finally:
            self.refreshes += 1
            self.refreshing_s += time.monotonic() - began_s

    @property
    def programs(self) -> Mapping[str, tuple[int, float]]:
        """By name, how often each ran and for how long (s); empty: the kernel does not measure."""
        return self._session.costs()


class _Read(NamedTuple):
    """One reading, and the texts that were made of it, by their content type."""

    samples: list[Sample]
    texts: dict[str, bytes]


class Pages:
    """The last reading, as text: made once for each form, when it is asked for first."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._read = _Read([], {})

    def turn(self, found: list[Sample]) -> None:
        """Another reading is the last."""
        self._read = _Read(found, {})

    def page(self, accept: str) -> tuple[str, bytes]:
        """The content type, and the text. One thread calls it."""
        read, kind = self._read, exposition.content_type(accept)
        if kind not in read.texts:
            if len(read.texts) >= _FORMS:
                read.texts.clear()
            read.texts[kind] = exposition.text(read.samples, self._naming, accept)
        return kind, read.texts[kind]


class Exporting(Screen[Snapshot]):
    """Where snapshots go: into totals, and from there to whoever asks."""

    shows_first = True

    def __init__(
        self, subject: list[TimedSubject], exports: Exports, listener: socket.socket, web: WebConfig
    ) -> None:
        self._subject, self._exports = subject, exports
        self._totals = Totals(exports.naming, exports.keep_s)
        self._pages = Pages(exports.naming)
        self._web = Web(listener, self._pages.page, web)
        self._shown: Snapshot | None = None
        self._said = said(listener, tls=web.tls is not None)

    def __exit__(self, *_: object) -> None:
        self._web.close()

    def begin(self, snapshot: Snapshot) -> None:
        self.show(snapshot)
        self._web.start()
        say(self._said)

    def show(self, snapshot: Snapshot) -> None:
        if snapshot is self._shown:
            return
        self._shown = snapshot
        self._totals.update(snapshot)
        (subject,) = self._subject
        own = Own(subject.refreshes, subject.refreshing_s, time.time(), subject.programs)
        self._pages.turn(samples(snapshot, self._totals, own, self._exports.most_series))
        # Requests leave cycles, which the long threshold of a run would let grow for hours.
        gc.collect(2 if subject.refreshes % _WHOLE == 0 else 1)


def said(listener: socket.socket, *, tls: bool) -> str:
    """Where it serves, for people and for scripts."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"serving metrics on {'https' if tls else 'http'}://{shown}:{port}/metrics"


def attached(config: Config, kept: list[TimedSubject]) -> TimedSubject:
    """The subject, which the screen will ask for its cost."""
    subject = TimedSubject(config)
    kept.append(subject)
    return subject
