"""What one machine measured, and the figures made of it."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cost.subjects import INTERVAL_S, Kind


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a loop. Instructions are of everything on the machine, for each connection."""

    number: int  # of all runs since the boot, from 0
    made: int  # connections
    decile: float  # instructions from one connection to the next: a tenth take fewer
    blocks: list[float]  # instructions, in each block of the run


Runs = dict[str, Run]  # by loop


@dataclass(slots=True)
class Result:
    """One subject. Where `error` says why it failed, what follows `before` may lack."""

    kind: Kind
    name: str
    before: Runs = field(default_factory=dict)  # untraced
    traced: Runs = field(default_factory=dict)
    after: Runs = field(default_factory=dict)  # untraced
    refresh: int = 0  # instructions of the tracer's own process in one interval without load
    peak_kib: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a connection of one loop costs more than before and after the tracing."""

    base: float  # instructions of an untraced connection that nothing disturbs
    path: float  # added to it: what the connecting and accepting process itself runs
    block_base: float  # instructions of a connection in the median untraced block
    low: float  # added to it: lower quartile of the blocks, everything on the machine
    middle: float  # median
    high: float  # upper quartile
    refreshes: float  # of the tracer's own process, at the pace of the loop

    @property
    def total(self) -> float:
        """Everything: no block has a refresh in it."""
        return self.middle + self.refreshes

    @property
    def percent(self) -> float:
        """`total` in percent of an untraced connection."""
        return 100 * self.total / self.block_base

    @property
    def path_percent(self) -> float:
        """`path` in percent of an untraced connection."""
        return 100 * self.path / self.base


def figures(result: Result, loop: str) -> Figures:
    """Of one loop of a result without an error."""
    run, untraced = result.traced[loop], (result.before[loop], result.after[loop])
    base = statistics.fmean(each.decile for each in untraced)
    block_base = statistics.fmean(statistics.median(each.blocks) for each in untraced)
    low, middle, high = (cost - block_base for cost in statistics.quantiles(run.blocks))
    refreshes = result.refresh / (INTERVAL_S * 1e9 / block_base)
    return Figures(base, run.decile - base, block_base, low, middle, high, refreshes)


def read(path: Path) -> list[Result]:
    """The results that the guest wrote so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [_result(json.loads(line)) for line in lines]


def _result(values: dict[str, Any]) -> Result:
    for name in ("before", "traced", "after"):
        values[name] = {loop: Run(**run) for loop, run in values[name].items()}
    return Result(**values)
