"""Several entries added up: counters, errors by name, and the histogram of waiting times."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from accepttrace.facts.records import AcceptorCount, Via
from accepttrace.model.entries import Entry, localities
from accepttrace.model.histogram import add, percentiles

QUANTILES: Final = (0.50, 0.90, 0.99)


@dataclass(frozen=True, slots=True)
class Visible:
    """What the attach type in use can see; what it cannot is None, never 0."""

    empty: bool
    errors: bool
    selected: bool


class Sum(NamedTuple):
    """The counters of one row."""

    accepts: int
    interval: int
    empty: int | None
    wasted: int | None
    via: Via | None
    errors: Mapping[str, int] | None
    waits_us: tuple[int | None, int | None, int | None]  # p50, p90, p99
    wait_max_us: int | None
    wait_sum_us: int | None
    wait_histogram: Sequence[int]
    local: float | None = None

    @property
    def failed(self) -> int | None:
        """Calls that ended in an error other than EAGAIN."""
        return None if self.errors is None else sum(self.errors.values())


def summed(entries: Sequence[Entry], visible: Visible) -> Sum:
    """All counters of `entries` as one."""
    counts = [entry.count for entry in entries if entry.count is not None]
    if not counts:
        return _nothing(visible)
    first, *others = counts
    histogram, longest, waited = first.wait_us, first.wait_max_us, first.waited_us
    accepts, empty, wasted = first.accepts, first.empty or 0, first.wasted or 0
    for count in others:
        histogram = add(histogram, count.wait_us)
        longest = max(longest, count.wait_max_us)
        waited += count.waited_us
        accepts += count.accepts
        empty += count.empty or 0
        wasted += count.wasted or 0
    bounds = percentiles(histogram, QUANTILES, longest)
    measured = None not in bounds
    places = localities([count.locality for count in counts])
    return Sum(
        accepts=accepts,
        interval=sum([entry.interval for entry in entries]),
        empty=empty if visible.empty else None,
        wasted=wasted if visible.empty else None,
        via=_via(counts),
        errors=_errors(counts) if visible.errors else None,
        waits_us=(bounds[0], bounds[1], bounds[2]),
        wait_max_us=longest if measured else None,
        wait_sum_us=waited if measured else None,
        wait_histogram=tuple(histogram) if measured else (),
        local=places.local / places.accepts if places and places.accepts else None,
    )


@lru_cache(maxsize=8)
def _nothing(visible: Visible) -> Sum:
    """Of those who accepted nothing yet, and asked for nothing."""
    calls = 0 if visible.empty else None
    errors: Mapping[str, int] | None = {} if visible.errors else None
    return Sum(0, 0, calls, calls, None, errors, (None, None, None), None, None, ())


def _via(counts: Iterable[AcceptorCount]) -> Via | None:
    ways = {count.via for count in counts if count.accepts}
    return ways.pop() if len(ways) == 1 else None


def _errors(counts: Iterable[AcceptorCount]) -> dict[str, int]:
    errors: dict[str, int] = {}
    for count in counts:
        for number, times in (count.errors or {}).items():
            name = errno_name(number)
            errors[name] = errors.get(name, 0) + times
    return errors


def errno_name(number: int) -> str:
    """`EMFILE` for 24; a number that has no name stays one."""
    return errno.errorcode.get(number, str(number))
