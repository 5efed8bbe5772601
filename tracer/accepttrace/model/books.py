"""Whether every connection that came to a listener is where it should be.

    queue at start + came = left + queue now

Counters and queues are read one after the other while connections go on coming. So what came and
left is read before and after the queue, and only what no moment in between explains is a fault.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Final, NamedTuple

# A connection may be queued and not counted yet, or counted and not queued yet: one a CPU.
CPUS: Final = os.cpu_count() or 1
UNBOUNDED: Final = 1 << 62


class Span(NamedTuple):
    """A counter that only grows, read twice."""

    before: int
    after: int


@dataclass(slots=True)
class Account:
    """What is known of the queue of one listener, or port, when tracing began.

    Each reading sets bounds for it; a reading that leaves no number within the
    bounds of the earlier ones proves that something is missing, or was counted twice.
    """

    low: int = 0
    high: int = UNBOUNDED
    imbalance: int = 0
    quiet: bool = False  # nothing came or left between the last two readings
    doubt: int = 0  # of what left: so many may be counted or not
    _last: tuple[Span, Span] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the last reading leaves no doubt: nothing was under way, nor at the start."""
        return self.quiet and self.low == self.high and not self.doubt

    def check(self, came: Span, left: Span, queue: int, takers: int) -> int:
        """By how much queue at start + came exceeds left + queue now; 0 while they may agree.

        `takers`: threads that may be inside accept() now; each may have taken one that is
        not counted yet.
        """
        now = (came, left)
        self.quiet = came.before == came.after and left.before == left.after and now == self._last
        self._last = now
        early, late = (0, 0) if self.quiet else (CPUS, CPUS + takers)
        low = queue + left.before - came.after - early
        high = queue + left.after - came.before + late + self.doubt
        if high < self.low:
            self.imbalance = self.low - high
        elif low > self.high:
            self.imbalance = self.high - low
        else:
            self.imbalance = 0
            self.low, self.high = max(self.low, low), min(self.high, high)
        return self.imbalance

    def start(self, seen: int, low: int = 0, high: int = UNBOUNDED) -> int:
        """The queue when tracing began.

        `seen`: what it was then, which may be wrong by what was under way; no bound of a reading
        is. `low`, `high`: what else is known of it, ignored where those bounds forbid it all.
        """
        low, high = max(self.low, low), min(self.high, high)
        if low > high:
            low, high = self.low, self.high
        return min(max(seen, low), high)


class Passage(NamedTuple):
    """Who came to a queue and who left it between two moments. Times: µs, CLOCK_MONOTONIC.

    `came_us` and `left_us` sum the moments at which they did, modulo 2^64. `waited_us` sums the
    waits of those that left, as far as they lie between the two; None where one is not known.
    `carried_us`: how much of all waits was spent in another queue. `oldest_us`: first in, first
    out, so all that is there now came after it.
    """

    began_us: int
    now_us: int
    came: int
    left: int
    came_us: int
    left_us: int
    waited_us: int | None
    carried_us: int
    oldest_us: int

    def start_bounds(self) -> tuple[int, int]:
        """Between which lengths the waits allow the queue to have been in the beginning.

        By Little's law: had one more waited from the beginning, the area would be larger by all the
        time since, or that one's wait be among the waits.
        """
        whole, ahead = self.now_us - self.began_us, self.now_us - self.oldest_us
        if self.waited_us is None or whole <= 0:
            return 0, UNBOUNDED
        rest = self.waited_us - self._area(0)
        low = math.ceil((rest - self.carried_us) / whole - 0.5)
        if whole <= ahead:
            return low, UNBOUNDED
        most = rest + (self.came - self.left) * ahead
        return low, math.floor(most / (whole - ahead) + 0.5)

    def mean_length(self, start: int) -> float:
        """The length of the queue, weighted by time; `start`: its length in the beginning.

        Counters are read while they change; what the waits forbid is not what happened.
        """
        whole = self.now_us - self.began_us
        if whole <= 0:
            return float(start)
        area = self._area(start)
        if self.waited_us is not None:
            there = max(start + self.came - self.left, 0)
            most = self.waited_us + there * (self.now_us - self.oldest_us)
            area = min(max(area, self.waited_us - self.carried_us), most)
        return max(area / whole, 0.0)

    def _area(self, start: int) -> int:
        """Length times time (µs)."""
        there = start + self.came - self.left
        area = there * self.now_us - start * self.began_us + self.left_us - self.came_us
        return (area + (1 << 63)) % (1 << 64) - (1 << 63)
