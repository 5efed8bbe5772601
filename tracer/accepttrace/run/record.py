"""What `accepttrace record` does with readings: they go into a file, or several in turn."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accepttrace.config import Config
from accepttrace.facts.meta import Meta
from accepttrace.facts.reading import Reading, Use
from accepttrace.facts.records import Baseline
from accepttrace.facts.sight import Sight
from accepttrace.run.output import say
from accepttrace.run.sinks import Screen
from accepttrace.store.files import LineWriter
from accepttrace.store.steps import Beginning, Mark, Step, line_of, taken
from accepttrace.views.formats import plural


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
        self._begun = False
        self.readings = 0  # in this file
        self.files = 1

    @property
    def due(self) -> bool:
        """Whether another file shall begin, with counts that begin anew."""
        return self._rotation.is_due(self._file.size, time.monotonic() - self._since_s)

    def begin(self, meta: Meta, sees: Sight, baseline: Baseline, began_s: float) -> None:
        """The first of all, and of each file."""
        if self._begun:
            self._rotate()
        self._begun = True
        config = self._config
        beginning = Beginning(meta, config.filters, sees, baseline, began_s, config.interval_s)
        self._write(beginning)

    def take(self, reading: Reading, use: Use) -> None:
        """One reading, whole in the file when this returns."""
        self._write(taken(reading, use))
        self.readings += 1

    def ending(self) -> None:
        """The next reading is the last."""
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
        before = f", and {plural(self.files - 1, 'file')} before it" if self.files > 1 else ""
        size = f"{self._file.size:,} bytes"
        return f"recorded {plural(self.readings, 'reading')} into {self._path}: {size}{before}"

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
        self.readings, self.files = 0, self.files + 1


class AtTheEnd(Screen[Any]):
    """Shows the summary only; says what is going on meanwhile."""

    def __init__(self, screen: Screen[Any], said: str) -> None:
        self._screen, self._said = screen, said

    def begin(self, snapshot: Any) -> None:  # noqa: ARG002
        say(self._said)

    def finish(self, last: Any, summary: Any) -> None:
        self._screen.finish(last, summary)
