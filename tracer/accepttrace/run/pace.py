"""When to refresh and when to end: interval, duration, signals."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

READ_S = 0.5  # after a request to end: what is being read, or attached, gets so long
WRITE_S = 0.85  # and what is written
_CHORES_S = 1.0  # the longest that chores wait for a tick, usually
_AGAIN_S = 0.25  # `Late` is raised again where it was swallowed
_SOON_S = 0.002
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_unbroken = 0  # one for the process, as signals are


class Late(BaseException):
    """What was being done takes too long, and an end was requested. See `Pace.until`."""


@contextmanager
def unbroken() -> Iterator[None]:
    """Within, nothing is broken off: for work that must be done whole or not at all."""
    global _unbroken
    _unbroken += 1
    try:
        yield
    finally:
        _unbroken -= 1


class Pace:
    """Ticks every `interval_s` until `duration_s` is over or a signal asks to end.

    SIGINT, SIGTERM and SIGHUP end it (SIGHUP not where it was ignored before: nohup); SIGWINCH, and
    `nudge`, make an extra tick, so that the screen is drawn anew. Create it in the main thread;
    time runs from the call of `ticks`.
    """

    def __init__(self, interval_s: float, duration_s: float | None) -> None:
        self._interval_s = interval_s
        self._duration_s = duration_s
        self._made_s = time.monotonic()
        self._asked_s: float | None = None  # when an end was requested, CLOCK_MONOTONIC
        self._limit_s: float | None = None
        self._resized = False
        self._enough = False
        self._watched: int | None = None
        self._chores_s = _CHORES_S
        # The signal's own handler writes here, so that none is lost just before the sleep.
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in _ENDING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._finish)
        signal.signal(signal.SIGALRM, self._break_off)

    @property
    def age_s(self) -> float:
        """Since it was made: what a machine took for the start shows how fast it is."""
        return time.monotonic() - self._made_s

    @property
    def ended(self) -> bool:
        """Whether an end was requested."""
        return self._asked_s is not None

    def lend(
        self,
        leave: Callable[[], object],
        enter: Callable[[], object],
        last_words: Callable[[], object],
    ) -> None:
        """The terminal is given back by `leave` on Ctrl-\\ and Ctrl-Z; `enter` takes it again.

        `last_words` are printed before Ctrl-\\ ends the process.
        """

        def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            leave()
            last_words()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        def pause(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            leave()
            os.kill(os.getpid(), signal.SIGSTOP)

        def resume(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            enter()
            self._resized = True

        signal.signal(signal.SIGQUIT, end)
        signal.signal(signal.SIGTSTP, pause)
        signal.signal(signal.SIGCONT, resume)

    def nudge(self) -> None:
        """From any thread: make an extra tick, as a change of the window does."""
        self._resized = True
        with suppress(BlockingIOError):
            os.write(self._waker, b"\0")

    def enough(self) -> None:
        """No more intervals are needed: it ends as when the duration is over."""
        self._enough = True

    def watch(self, fd: int, chores_s: float) -> None:
        """Chores wait no longer than this, and not at all where there is something to read."""
        self._watched, self._chores_s = fd, chores_s

    def over(self) -> None:
        """From now on a signal changes nothing: the interpreter that ends would die of it."""
        for number in (*_ENDING, signal.SIGWINCH, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def watch_window(self) -> None:
        """From now on a change of the window's size makes a tick.

        Not before all is attached: a signal that is handled makes the kernel begin anew to verify a
        program. Not after the first drawing: that change would be missed.
        """
        signal.signal(signal.SIGWINCH, self._notice)

    def ticks(self, chores: Callable[[], object]) -> Iterator[bool]:
        """True at each interval, False where only the window changed its size.

        `chores` is called at least every second between them, or as `watch` says.
        """
        began = time.monotonic()
        end = math.inf if self._duration_s is None else began + self._duration_s
        due = began + self._interval_s
        while not (self.ended or self._enough):
            self._sleep_until(min(due, end), chores)
            now = time.monotonic()
            if self.ended or now >= end:
                return
            yield now >= due
            while due <= now:
                due += self._interval_s

    def until(self, limit_s: float) -> _Until:
        """What a block does is broken off `limit_s` after an end was requested; it then ends.

        Nothing is raised out of the block: ask afterwards what it got done.
        """
        return _Until(self, limit_s)

    def left_s(self, limit_s: float) -> float | None:
        """Seconds until `limit_s` after the request to end, 0 if over; None: no request."""
        if self._asked_s is None:
            return None
        return max(self._asked_s + limit_s - time.monotonic(), 0.0)

    def wait(
        self, seconds: float | None, writable: int | None = None, readable: int | None = None
    ) -> bool:
        """Sleep until a signal comes, or `writable` can be written to (True), at most so long.

        It also ends where there is something to read.
        """
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if writable is not None:
            poll.register(writable, select.POLLOUT)
        if readable is not None:
            poll.register(readable, select.POLLIN)
        ready = dict(poll.poll(None if seconds is None else math.ceil(max(seconds, 0.0) * 1e3)))
        if self._woken in ready:  # drained: what it was for is remembered
            os.read(self._woken, 4096)
        return writable in ready

    def limit(self, limit_s: float | None) -> float | None:
        """`Late` may come so long after the request to end; None: no more. Returns the last one."""
        before, self._limit_s = self._limit_s, limit_s
        self._arm()
        return before

    def _sleep_until(self, moment: float, chores: Callable[[], object]) -> None:
        chores_due = time.monotonic() + self._chores_s
        while not (self._resized or self.ended) and (now := time.monotonic()) < moment:
            if now >= chores_due or self._is_called():
                chores()
                chores_due = now + self._chores_s
            self.wait(min(moment, chores_due) - now, readable=self._watched)
        self._resized = False

    def _is_called(self) -> bool:
        if self._watched is None:
            return False
        poll = select.poll()
        poll.register(self._watched, select.POLLIN)
        return bool(poll.poll(0))

    def _finish(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._asked_s is None:
            self._asked_s = time.monotonic()
            self._arm()

    def _notice(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._resized = True

    def _arm(self) -> None:
        left = None if self._limit_s is None else self.left_s(self._limit_s)
        signal.setitimer(signal.ITIMER_REAL, 0 if left is None else left or 1e-6, _AGAIN_S)

    def _break_off(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._limit_s is None or self.left_s(self._limit_s) != 0 or _unbroken:
            return
        if frame is not None and frame.f_code.co_filename == __file__:
            signal.setitimer(
                signal.ITIMER_REAL, _SOON_S, _AGAIN_S
            )  # no block is entered yet, or left
        else:
            raise Late


class _Until:
    """See `Pace.until`. Not a generator: `Late` may come between any two instructions."""

    def __init__(self, pace: Pace, limit_s: float) -> None:
        self._pace = pace
        self._limit_s = limit_s
        self._before: float | None = None

    def __enter__(self) -> None:
        self._before = self._pace.limit(self._limit_s)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._pace.limit(self._before)
        return kind is Late
