"""What `accepttrace record` does with readings: they go into a file, or several in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accepttrace.config import Config
from accepttrace.facts.connections import Account, ConnectionEvent
from accepttrace.facts.datagrams import UdpReading
from accepttrace.facts.meta import Meta
from accepttrace.facts.reading import Reading, Use
from accepttrace.facts.records import Baseline
from accepttrace.facts.sight import Sight
from accepttrace.run.eventsource import TcpWithEvents
from accepttrace.run.output import say
from accepttrace.run.pace import Pace, unbroken
from accepttrace.run.sinks import Screen
from accepttrace.store.files import LineWriter
from accepttrace.store.steps import (
    Accounted,
    Beginning,
    Happened,
    Mark,
    Step,
    line_of,
    taken,
)
from accepttrace.views.formats import plural

if TYPE_CHECKING:
    from accepttrace.model.snapshot import Snapshot

_READ_S: Final = 0.1  # between two looks for events


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file begins, and how many older ones stay, as FILE.1 (the newest), FILE.2, …"""

    size: int | None = None  # bytes
    age_s: float | None = None
    keep: int = 10

    def is_due(self, size: int, age_s: float) -> bool:
        """Whether a file of that size and age is full."""
        too_large = self.size is not None and size >= self.size
        return too_large or (self.age_s is not None and age_s >= self.age_s)


class Recorder:
    """Keeps what a run reads. The file is there as soon as this is made."""

    def __init__(self, path: Path, config: Config, rotation: Rotation) -> None:
        self._path, self._config, self._rotation = path, config, rotation
        self._file = LineWriter(path)
        self._since_s = time.monotonic()
        self._begun = self._ends = False
        self.readings = self.events = 0  # in this file
        self._lost = 0
        self.files = 1

    @property
    def due(self) -> bool:
        """Whether another file shall begin, with counts that begin anew; not at the end: the last
        file has the last reading."""
        return not self._ends and self._rotation.is_due(
            self._file.size, time.monotonic() - self._since_s
        )

    def begin(self, meta: Meta, sees: Sight, baseline: Baseline, began_s: float) -> None:
        """The first of all, and of each file."""
        if self._begun:
            self._rotate()
        self._begun = True
        config = self._config
        sample = config.sample if config.events else None
        self._write(
            Beginning(
                *(meta, config.filters, sees, baseline, began_s, config.interval_s), sample=sample
            )
        )

    def take(self, reading: Reading | UdpReading, use: Use) -> None:
        """One reading, whole in the file when this returns."""
        self._write(taken(reading, use))
        self.readings += 1

    def note(self, events: Sequence[ConnectionEvent]) -> None:
        """Some connections."""
        self._write(Happened(tuple(events)))
        self.events += len(events)

    def settle(self, account: Account) -> None:
        """Of all events so far."""
        self._write(Accounted(account))
        self._lost = account.counts.lost

    def ending(self) -> None:
        """The next reading is the last."""
        self._ends = True
        self._write(Mark("ending"))

    def end(self) -> None:
        """Nothing follows; the file is whole."""
        self._write(Mark("end"))
        self._file.close()

    def abandon(self) -> None:
        """Leave the file as far as it was written."""
        self._file.abandon()

    def account(self) -> str:
        """What was recorded, for people."""
        what = plural(self.readings, "reading")
        if self._config.events:
            lost = f"{self._lost:,} lost" if self._lost else "none lost"
            sample = self._config.sample
            sampled = f"one of each {sample:,}, " if sample > 1 else ""
            what += f" and {plural(self.events, 'event')} ({sampled}{lost})"
        before = f", and {plural(self.files - 1, 'file')} before it" if self.files > 1 else ""
        size = f"{self._file.size:,} bytes"
        return f"recorded {what} into {self._path}: {size}{before}"

    def _write(self, step: Step) -> None:
        self._file.write(line_of(step))

    def _rotate(self) -> None:
        self.end()
        names = [self._path, *(Path(f"{self._path}.{n + 1}") for n in range(self._rotation.keep))]
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            with suppress(FileNotFoundError):
                newer.replace(older)
        self._path.unlink(missing_ok=True)  # where none is kept
        self._file, self._since_s = LineWriter(self._path), time.monotonic()
        self.readings = self.events = self._lost = 0
        self.files += 1


class WithEvents(TcpWithEvents):
    """A run of which each connection is recorded too."""

    def __init__(self, config: Config, recorder: Recorder, pace: Pace) -> None:
        self._recorder, self._pace = recorder, pace
        super().__init__(config, recorder)
        pace.watch(self.events.fileno(), _READ_S)

    def refresh(self) -> Snapshot:
        picture = super().refresh()
        self._note()
        with unbroken():
            self._recorder.settle(self.events.account())
        return picture

    def drain(self) -> None:
        super().drain()
        self._note()

    def summary(self, again: bool = True) -> Snapshot:
        picture = super().summary(again)
        self._finish()
        return picture

    def _restart(self) -> None:
        self._finish()
        super()._restart()

    def _note(self) -> None:
        """What came until now goes into the file."""
        with unbroken():
            for events in self.events.batches():
                self._recorder.note(events)

    def _finish(self) -> None:
        """The last events of this file, and the account of all."""
        with unbroken():
            self.events.stop(self._pace.wait)
            self._note()
            self._recorder.settle(self.events.account())


class AtTheEnd(Screen[Any]):
    """Shows the summary only; says what is going on meanwhile."""

    def __init__(self, screen: Screen[Any], said: str) -> None:
        self._screen, self._said = screen, said

    def begin(self, snapshot: Any) -> None:  # noqa: ARG002
        say(self._said)

    def finish(self, last: Any, summary: Any) -> None:
        self._screen.finish(last, summary)
