"""Whether every connection that came to a listener is where it should be.

    queue at start + came = left + queue now

Counters and queues are read one after the other while connections go on coming. So what came and
left is read before and after the queue, and only what no moment in between explains is a fault.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

# A connection may be queued and not counted yet, or counted and not queued yet: one a CPU.
CPUS: Final = os.cpu_count() or 1
UNBOUNDED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Span:
    """A counter that only grows, read twice."""

    before: int
    after: int


@dataclass(slots=True)
class Account:
    """What is known of the queue of one listener, or port, when tracing began.

    Each reading tells between which bounds it was; a reading that leaves no number within the
    bounds of the earlier ones proves that something is missing, or was counted twice.
    """

    low: int = 0
    high: int = UNBOUNDED
    imbalance: int = 0
    _last: tuple[Span, Span] | None = None

    def check(self, came: Span, left: Span, queue: int, takers: int) -> int:
        """By how much queue at start + came exceeds left + queue now; 0 while they may agree.

        `takers`: threads that accept here; each may have taken one that is not counted yet.
        """
        now = (came, left)
        quiet = came.before == came.after and left.before == left.after and now == self._last
        self._last = now
        early, late = (0, 0) if quiet else (CPUS, CPUS + takers)
        low = queue + left.before - came.after - early
        high = queue + left.after - came.before + late
        if high < self.low:
            self.imbalance = self.low - high
        elif low > self.high:
            self.imbalance = self.high - low
        else:
            self.imbalance = 0
            self.low, self.high = max(self.low, low), min(self.high, high)
        return self.imbalance

    def start(self, seen: int) -> int:
        """The queue when tracing began.

        `seen`: what it was then, which may be wrong by what was under way; no bound is.
        """
        return min(max(seen, self.low), self.high)


def mean_length(start: int, came: int, left: int, times_us: tuple[int, int, int, int]) -> float:
    """The length of a queue, weighted by time, since tracing began.

    `start`: its length then; `came`, `left`: connections since. `times_us`: when tracing began, the
    time now, the sum of the times of coming, that of leaving (modulo 2^64).
    """
    began, now, came_us, left_us = times_us
    if now <= began:
        return float(start)
    area = (start + came - left) * now - start * began + left_us - came_us
    area = (area + (1 << 63)) % (1 << 64) - (1 << 63)
    return max(area / (now - began), 0.0)
