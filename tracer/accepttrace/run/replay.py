"""A recording, as a subject: its readings are taken one after the other, as they once were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from accepttrace.config import By, Config
from accepttrace.errors import AcceptTraceError, UsageError
from accepttrace.model.datagrams import ReceiverSnapshot
from accepttrace.model.snapshot import Snapshot
from accepttrace.run.output import say
from accepttrace.run.replaymodels import AcceptModel, ReceiverModel, ReplayModel
from accepttrace.store.files import LineReader
from accepttrace.store.steps import (
    Accounted,
    BadLine,
    Beginning,
    Happened,
    Mark,
    Step,
    Taken,
    TakenOfUdp,
    step_of,
)
from accepttrace.views.screen.state import Wish

S = TypeVar("S", bound="Snapshot | ReceiverSnapshot")

AT_ONCE_S: Final = 1e-4  # between two readings where nobody watches
EVERY: Final = 60  # readings between two points that one can go back to quickly
POINTS: Final = 32

_SENSELESS: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, ValueError)


class Recording:
    """Its beginning, and what follows as far as it can be read; then `why` that ends, if early."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.why: str | None = None
        first = next(self._read(0), None)
        if not isinstance(first, Beginning):
            why = self.why or "it is empty"
            raise UsageError(f"{path} is no recording of accepttrace: {why}")
        self.beginning = first
        try:
            self.started = datetime.fromisoformat(first.meta.started.replace("Z", "+00:00"))
        except ValueError as error:
            raise UsageError(f"{path} is no recording of accepttrace: {error}") from None

    @property
    def of_udp(self) -> bool:
        """Whether its readings are of UDP."""
        return self.beginning.meta.protocol == "udp"

    def steps(self, skipped: int = 0) -> Iterator[Taken | TakenOfUdp | Happened | Accounted | Mark]:
        """What follows the beginning, and so many steps after it."""
        whole = False
        self.why = None
        for step in self._read(1 + skipped):
            if isinstance(step, Beginning):
                self.why = "a second recording begins in it"
                return
            whole = isinstance(step, Mark) and step.what == "end"
            yield step
        if not whole and self.why is None:
            self.why = "it was cut, or is still being written"

    def _read(self, skipped: int) -> Iterator[Step]:
        lines = LineReader(self.path)
        for number, line in enumerate(islice(lines, skipped, None), skipped + 1):
            try:
                yield step_of(line)
            except BadLine as error:
                self.why = f"line {number}: {error}"
                return
        self.why = lines.why


@dataclass(frozen=True, slots=True)
class _Point(Generic[S]):
    """Where a replay can go back to: the reading `at`, after so many steps."""

    at: int
    steps: int
    model: ReplayModel[S]


class ReplaySubject(Generic[S]):
    """As the subject of a run, of what was recorded. `over` is called when the last interval has
    begun.

    `first`: when the first picture is from, at the earliest (RFC 3339, UTC).
    """

    def __init__(
        self,
        config: Config,
        recording: Recording,
        model: ReplayModel[S],
        over: Callable[[], object],
        first: str = "",
    ) -> None:
        self._config, self._recording, self._over = config, recording, over
        self._first = first
        self._wish = Wish(config.by, config.window_s)
        self._picture: S | None = None
        self._at = 0  # readings shown
        self._every = EVERY
        self._points = {0: _Point(0, 0, model)}
        self._go_to(self._points[0])

    def __enter__(self) -> ReplaySubject[S]:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def refresh(self) -> S:
        """The next reading; the same picture where there is none, or where it stands still."""
        if self._picture is None:
            self._move_to(1)
            while self._picture is not None and self._picture.time < self._first:
                if not self._move_to(self._at + 1):
                    raise UsageError(f"{self._recording.path} ends at {self._picture.time}")
        elif not self._wish.held:
            self._move_to(self._at + 1)
        if self._picture is None:
            why = self._recording.why
            raise UsageError(f"{self._recording.path} has no reading: {why}")
        return self._picture

    def pictures(self) -> Iterator[S]:
        """Each reading that was shown, from here to the last one."""
        last = None
        while (picture := self.refresh()) is not last:
            yield picture
            last = picture

    def go_on(self) -> None:
        """The first reading is not shown: its interval goes on."""
        self._model.go_on()

    def look(self, wish: Wish) -> S:
        """The last picture, or another one, as it is wished for from now on."""
        before, self._wish = self._wish, wish
        if wish.anew != before.anew:
            self._move_to(1)
        elif wish.moved != before.moved:
            self._move_to(max(self._at + wish.moved - before.moved, 1))
        self._model.look_back(wish.window_s)
        self._picture = self._model.picture(wish.by)
        return self._picture

    def threads(self) -> S | None:
        """The same picture by thread."""
        return self._model.threads()

    def drain(self) -> None:
        """No maps fill."""

    def summary(self, again: bool = True) -> S:  # noqa: ARG002
        """The whole run, as far as it was replayed."""
        if isinstance(self._ahead, Taken) and self._ahead.use == "confirmed":
            self._model.take(self._ahead)
        return self._model.summary(self._wish.by)

    def _move_to(self, at: int) -> bool:
        """To the picture of that reading, or the last one; whether it is another one."""
        before = self._at
        if at < self._at:
            self._go_to(self._points[max(point for point in self._points if point < at)])
        while self._at < at and self._advance():
            pass
        if self._at != before:
            self._picture = self._model.picture(self._wish.by)
        return self._at != before

    def _go_to(self, point: _Point[S]) -> None:
        self._at = point.at
        self._model = deepcopy(point.model)
        self._model.look_back(self._wish.window_s)
        self._taken = point.steps
        self._steps = self._recording.steps(point.steps)
        self._look_ahead()

    def _look_ahead(self) -> None:
        """To what the model takes next: events are nothing to it."""
        self._ahead = next(self._steps, None)
        while isinstance(self._ahead, Happened | Accounted):
            self._taken += 1
            self._ahead = next(self._steps, None)

    def _advance(self) -> bool:
        """Take in the next reading that was shown; whether there was one."""
        shown = False
        while not shown and (step := self._ahead) is not None:
            if isinstance(step, Taken) and step.use == "confirmed":
                break
            self._taken += 1
            self._look_ahead()
            if isinstance(step, Taken | TakenOfUdp):
                self._take(step)
                shown = step.use == "shown"
        if shown:
            self._at += 1
            self._remember()
        ahead = self._ahead
        if not isinstance(ahead, Taken | TakenOfUdp) or ahead.use == "confirmed":
            self._over()
        return shown

    def _take(self, step: Taken | TakenOfUdp) -> None:
        try:
            self._model.take(step)
        except _SENSELESS as error:  # it was made by somebody else
            path = self._recording.path
            raise AcceptTraceError(
                f"reading {self._at + 1} of {path} makes no sense: {error!r}"
            ) from error

    def _remember(self) -> None:
        """A point to go back to now and then; of many, every second one is given up."""
        on_a_screen = self._config.live or self._config.udp
        if not on_a_screen or self._at - max(self._points) < self._every:
            return
        self._points[self._at] = _Point(self._at, self._taken, deepcopy(self._model))
        if len(self._points) > POINTS:
            self._points = dict(list(self._points.items())[::2])
            self._every *= 2


def replay_of(
    config: Config, recording: Recording, over: Callable[[], object], first: str = ""
) -> ReplaySubject[Any]:
    """Of whatever protocol it is. `over`, `first`: as `ReplaySubject` takes them."""
    make = ReceiverModel if recording.of_udp else AcceptModel
    return ReplaySubject(config, recording, make(config, recording.beginning), over, first)


def replay_of_accepts(
    config: Config, recording: Recording, over: Callable[[], object]
) -> ReplaySubject[Snapshot]:
    """The same; UsageError where there are none, because it is of UDP."""
    if recording.of_udp:
        raise UsageError(
            f"{recording.path} is a recording of UDP, which accepts nothing",
            "`accepttrace replay` shows it",
        )
    return ReplaySubject(config, recording, AcceptModel(config, recording.beginning), over)


def whole(recording: Recording, by: By = "process") -> ReplaySubject[Snapshot]:
    """All of it, for whoever takes the pictures one after the other."""
    config = Config(filters=recording.beginning.filters, by=by, replays=True)
    return replay_of_accepts(config, recording, lambda: None)


def require_events(recording: Recording) -> None:
    """UsageError where it has none."""
    if recording.beginning.sample is None:
        raise UsageError(f"{recording.path} has no events", "record it with --events")


def say_if_cut(recording: Recording) -> None:
    """On standard error, once it was read: that it ends early, and why."""
    if recording.why:
        say(f"{recording.path} ends early: {recording.why}")
