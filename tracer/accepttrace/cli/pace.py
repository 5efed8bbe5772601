"""When to refresh and when to end: interval, duration, signals."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

_CHORES_S = 1.0  # the longest that chores wait for a tick


class Pace:
    """Ticks every `interval_s` until `duration_s` is over or a signal asks to end.

    SIGINT and SIGTERM end it; SIGWINCH makes an extra tick, so that the screen is drawn anew.
    Create it in the main thread; time runs from the call of `ticks`.
    """

    def __init__(self, interval_s: float, duration_s: float | None) -> None:
        self._interval_s = interval_s
        self._duration_s = duration_s
        self.ended = False
        # The signal's own handler writes here, so that none is lost just before the sleep.
        self._woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._finish)
        signal.signal(signal.SIGWINCH, _notice)

    def over(self) -> None:
        """From now on a signal changes nothing: the interpreter that ends would die of it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def ticks(self, chores: Callable[[], object]) -> Iterator[bool]:
        """True at each interval, False where only the window changed its size.

        `chores` is called at least every second between them.
        """
        began = time.monotonic()
        end = math.inf if self._duration_s is None else began + self._duration_s
        due = began + self._interval_s
        while not self.ended:
            self._sleep_until(min(due, end), chores)
            now = time.monotonic()
            if self.ended or now >= end:
                return
            yield now >= due
            while due <= now:
                due += self._interval_s

    def _sleep_until(self, moment: float, chores: Callable[[], object]) -> None:
        while (left := moment - time.monotonic()) > _CHORES_S and not self.ended:
            if self._sleep(_CHORES_S):
                return
            chores()
        self._sleep(max(left, 0))

    def _sleep(self, seconds: float) -> bool:
        """Whether a signal ended it."""
        if not select.select([self._woken], [], [], seconds)[0]:
            return False
        os.read(self._woken, 4096)
        return True

    def _finish(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.ended = True


def _notice(number: int, frame: FrameType | None) -> None:
    """Only a handled signal wakes the sleeper."""
