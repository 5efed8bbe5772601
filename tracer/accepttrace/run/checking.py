"""Where snapshots go in `accepttrace check`: they are judged, and the answer is printed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from accepttrace.model.conditions import Condition, Outcome, decided, judge
from accepttrace.model.snapshot import Snapshot
from accepttrace.run.pace import Pace
from accepttrace.run.sinks import Out, Screen
from accepttrace.views import checked

Form = Literal["text", "json", "junit"]
WRITERS: Final = {"text": checked.text, "json": checked.json_line, "junit": checked.junit}


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be judged and printed. `early`: not longer than until the result is certain."""

    conditions: tuple[Condition, ...]
    form: Form = "text"
    early: bool = False


class Checking(Screen[Snapshot]):
    """`outcomes`: one for each condition, at the end of the run; empty before."""

    def __init__(self, demand: Demand, pace: Pace, out: Out) -> None:
        self.outcomes: tuple[Outcome, ...] = ()
        self._demand = demand
        self._pace = pace
        self._out = out
        self._decided: Snapshot | None = None  # what made the result certain

    def show(self, snapshot: Snapshot) -> None:
        if self._demand.early and decided(judge(self._demand.conditions, snapshot)):
            self._decided = snapshot
            self._pace.enough()

    def finish(self, last: Snapshot, summary: Snapshot) -> None:  # noqa: ARG002
        final = self._decided or summary
        self.outcomes = judge(self._demand.conditions, final)
        self._out.write(WRITERS[self._demand.form](self.outcomes, final))
        self._out.flush()
