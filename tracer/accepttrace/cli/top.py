"""`accepttrace top`: accepts by worker, live on a terminal, plain tables into a pipe."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from accepttrace.cli import readyfile
from accepttrace.cli.options import filter_options, seconds, take_filters, way_options
from accepttrace.cli.output import Output, say, standard_output
from accepttrace.cli.pace import READ_S, WRITE_S, Pace
from accepttrace.config import Config
from accepttrace.errors import AcceptTraceError

if TYPE_CHECKING:
    from accepttrace.cli.screens import Screen
    from accepttrace.cli.watch import Watching
    from accepttrace.model.snapshot import Snapshot

S = TypeVar("S")


def _sort_key(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    udp = ctx.params.get("udp")
    if value is None:  # the views stay unread until somebody asks
        return "datagrams" if udp else "accepts"
    if udp:
        from accepttrace.views.receivercolumns import sort_keys
    else:
        from accepttrace.views.columns import sort_keys
    if value not in sort_keys():
        raise click.BadParameter(f"choose from: {', '.join(sort_keys())}", ctx, param)
    return value


def _only_of_tcp(values: dict[str, Any]) -> None:
    """UsageError where `--udp` stands beside an option that means nothing to it."""
    for option, default in (("by", "worker"), ("histogram", False), ("detail", "full")):
        if values[option] != default:
            raise click.UsageError(f"--{option} is of TCP: with --udp a row is a socket")


@click.command()
@filter_options
@click.option(
    "--udp",
    is_flag=True,
    is_eager=True,  # --sort depends on it
    help="Trace UDP sockets (QUIC, DNS): what SO_REUSEPORT steers to each, what its queue takes.",
)
@click.option(
    "-i",
    "--interval",
    type=seconds(0.1, 86400),
    default=1.0,
    metavar="SECONDS",
    help="Time between two refreshes.  [default: 1]",
)
@click.option(
    "-d",
    "--duration",
    type=seconds(0.1),
    metavar="SECONDS",
    help="End after this time, with a summary.",
)
@click.option(
    "--by",
    type=click.Choice(["worker", "process", "thread", "socket", "group"]),
    default="worker",
    help="What a row is.  [default: worker = process x listener]",
)
@click.option(
    "--sort",
    metavar="FIELD",
    callback=_sort_key,
    help="Order of the rows: any field of a row in JSON.  [default: accepts; with --udp datagrams]",
)
@click.option("--rows", type=click.IntRange(1), help="Show at most this many rows.")
@click.option("--histogram", is_flag=True, help="Show the waiting times of each row as bars.")
@click.option("-o", "--output", type=click.Choice(["table", "jsonl", "csv"]), default="table")
@way_options
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Create this file once every hook is attached and proved.",
)
def top(**values: Any) -> None:
    """Which worker accepts how many connections, from which listener, after how long a wait.

    Ctrl-C, SIGTERM or --duration end it with a summary and status 0.

    With --udp: each UDP socket with its owner, the packets for which SO_REUSEPORT chose it
    (SELECTED), the datagrams that its queue took (DATAGRAMS) or was too full for (DROPPED). The
    kernel may choose more than once for a packet, where a group has a connected socket; and a
    packet may hold many datagrams (GRO).
    """
    if values["udp"]:
        _only_of_tcp(values)
    config = Config(
        filters=take_filters(values),
        interval_s=values["interval"],
        duration_s=values["duration"],
        by=values["by"],
        sort=values["sort"],
        rows=values["rows"],
        histogram=values["histogram"],
        udp=values["udp"],
        output=values["output"],
        attach=values["attach"],
        loader=values["loader"],
        detail=values["detail"],
        ready_file=values["ready_file"],
        verbose=values["verbose"],
    )
    pace = Pace(config.interval_s, config.duration_s)  # before attaching: a signal ends it cleanly
    try:
        if config.udp:
            from accepttrace.cli.udpwatch import UdpWatch

            _trace(Run(config, pace), UdpWatch)
        else:
            trace(Run(config, pace))
    finally:
        pace.over()


GARBAGE: Final = 500_000  # objects more than before that are looked through for some
SLOW_S: Final = 20.0  # at most, where attaching took as long: for what must be done after a signal


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is made of, whatever it traces.

    `attached` is called once every hook is proved and the first reading done, `ending` just before
    the last reading.
    """

    config: Config
    pace: Pace
    attached: Callable[[], object] = _nothing
    ending: Callable[[], object] = _nothing


def trace(run: Run) -> Snapshot | None:
    """Trace TCP until the end, showing each refresh; returns the summary, None if there is none."""
    from accepttrace.cli.watch import Watch

    return _trace(run, Watch)


def _trace(run: Run, attach: Callable[[Config], Watching[S]]) -> S | None:
    out = standard_output(run.pace)
    if run.config.ready_file is not None:
        readyfile.remove(run.config.ready_file)
    watch: Watching[S] | None = None
    with run.pace.until(READ_S):
        watch = attach(run.config)
    if watch is None:
        say("ended before everything was attached: nothing was counted")
        return None
    with watch:
        try:
            return _read(run, watch, out)
        except BrokenPipeError:  # the reader has seen enough
            return None


def _read(run: Run, watch: Watching[S], out: Output) -> S | None:
    if run.config.ready_file is not None:
        readyfile.create(run.config.ready_file)
    from accepttrace.cli.screens import screen_for

    first: S | None = None
    slow_s = min(run.pace.age_s, SLOW_S)
    with run.pace.until(max(READ_S, slow_s)):  # without it there is nothing to say
        first = watch.refresh()
    collect_seldom()
    if first is None:
        say("ended before the first reading: nothing was counted")
        return None
    run.attached()
    screen = screen_for(run.config, out)
    if screen.leave:
        run.pace.lend(partial(out.now, screen.leave), partial(out.now, screen.enter))
    summary: S | None = None
    end_s = max(WRITE_S, slow_s)
    with run.pace.until(end_s):
        summary = _show(run, watch, screen, first, end_s)
    if summary is None:
        say("there was no time to draw the summary")
    if not out.finish():
        _give_up(out, screen.leave)
    return summary


def collect_seldom() -> None:
    """What is made and dropped at each refresh has no cycles: to look for some costs a fifth of it,
    where there are ten thousand rows."""
    gc.freeze()
    gc.set_threshold(GARBAGE)
    gc.enable()


def _show(run: Run, watch: Watching[S], screen: Screen[S], first: S, end_s: float) -> S:
    last, summary, read_s = first, None, READ_S
    run.pace.watch_window()
    with screen:
        screen.begin(first)
        with run.pace.until(read_s):
            for due in run.pace.ticks(watch.drain):
                began_s = time.monotonic()
                if due:
                    last = watch.refresh()
                screen.show(last)
                read_s = _reading_s(end_s, time.monotonic() - began_s)
                run.pace.limit(read_s)
        with run.pace.until(read_s):
            run.ending()
            last = watch.refresh()
            summary = watch.summary()
        if summary is None:
            summary = watch.summary(again=False)
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
        raise AcceptTraceError("whoever reads the output has stopped: its last line is cut")
    else:
        say("whoever reads the output has stopped: the summary is missing")
