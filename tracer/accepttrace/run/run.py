"""A run, whatever it traces: attached, read and shown at each interval, summed up at the end."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from accepttrace.config import Config
from accepttrace.errors import AcceptTraceError
from accepttrace.run import readyfile
from accepttrace.run.output import Output, say, standard_output
from accepttrace.run.pace import READ_S, WRITE_S, Pace

if TYPE_CHECKING:
    from accepttrace.run.sinks import Screen
    from accepttrace.run.subject import Subject

S = TypeVar("S")

GARBAGE: Final = 500_000  # objects more than before that are looked through for some
SLOW_S: Final = 20.0  # at most, where attaching took as long: for what must be done after a signal


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is made of, whatever it traces.

    `attached` is called once every hook is proved and the first reading done, `ending` just before
    the last reading. `screen`: where snapshots go, if not where the options say.
    """

    config: Config
    pace: Pace
    attached: Callable[[], object] = _nothing
    ending: Callable[[], object] = _nothing
    screen: Callable[[Output], Screen[Any]] | None = None


def trace(run: Run, attach: Callable[[Config], Subject[S]]) -> S | None:
    """Trace until the end, showing each refresh; returns the summary, None if there is none."""
    out = standard_output(run.pace)
    if run.config.ready_file is not None:
        readyfile.remove(run.config.ready_file)
    subject: Subject[S] | None = None
    with run.pace.until(READ_S):
        subject = attach(run.config)
    if subject is None:
        say("ended before everything was attached: nothing was counted")
        return None
    with subject:
        try:
            return _read(run, subject, out)
        except BrokenPipeError:  # the reader has seen enough
            return None


def _read(run: Run, subject: Subject[S], out: Output) -> S | None:
    if run.config.ready_file is not None:
        readyfile.create(run.config.ready_file)
    first: S | None = None
    # Without it there is nothing to say; and the model and its iterator are loaded with it, which
    # on a slow machine takes longer than it took to attach.
    with run.pace.until(max(READ_S, min(2 * run.pace.age_s, SLOW_S))):
        first = subject.refresh()
    collect_seldom()
    if first is None:
        say("ended before the first reading: nothing was counted")
        return None
    run.attached()
    screen = _screen(run, out)
    if screen.leave:
        run.pace.lend(screen.suspend, screen.resume, screen.last_words)
    summary: S | None = None
    end_s = max(WRITE_S, min(run.pace.age_s, SLOW_S))
    with run.pace.until(end_s):
        summary = _show(run, subject, screen, first, end_s)
    if summary is None:
        say("there was no time to draw the summary")
    if not out.finish():
        _give_up(out, screen.leave)
    return summary


def _screen(run: Run, out: Output) -> Screen[Any]:
    if run.screen is not None:
        return run.screen(out)
    from accepttrace.run.sinks import screen_for

    return screen_for(run.config, out, run.pace)


def collect_seldom() -> None:
    """What is made and dropped at each refresh has no cycles: to look for some costs a fifth of it,
    where there are ten thousand rows."""
    gc.freeze()
    gc.set_threshold(GARBAGE)
    gc.enable()


def _show(run: Run, subject: Subject[S], screen: Screen[S], first: S, end_s: float) -> S:
    last, summary, read_s, shown = first, None, READ_S, 0
    wish = screen.wish
    run.pace.watch_window()
    with screen:
        screen.begin(first)
        if not screen.shows_first:
            subject.go_on()
        with run.pace.until(read_s):
            for due in run.pace.ticks(subject.drain):
                began_s = time.monotonic()
                if screen.wish is not None and screen.wish != wish:
                    wish = screen.wish
                    last = subject.look(wish)
                if due:
                    last, shown = subject.refresh(), shown + 1
                screen.show_threads(subject.threads() if wish and wish.threads else None)
                screen.show(last)
                if shown == run.config.count:
                    run.pace.enough()
                read_s = _reading_s(end_s, time.monotonic() - began_s)
                run.pace.limit(read_s)
        with run.pace.until(read_s):
            run.ending()
            if shown != run.config.count:
                last = subject.refresh()
            summary = subject.summary()
        if summary is None:
            summary = subject.summary(again=False)
        if run.config.once:
            screen.show(last)  # if it was ended before
        else:
            screen.finish(last, summary)
    return summary


def _reading_s(end_s: float, spent_s: float) -> float:
    """How long after a request to end may be read: the summary takes no longer than was `spent_s`
    on the last interval."""
    return min(READ_S, max(end_s - spent_s, 0.0))


def _give_up(out: Output, leave: str) -> None:
    """The reader has stopped, and the time is over."""
    if leave:
        out.give_back(leave)
    elif out.cut:
        raise AcceptTraceError("the reader of the output has stopped: its last line is cut")
    else:
        say("the reader of the output has stopped: the summary is missing")
