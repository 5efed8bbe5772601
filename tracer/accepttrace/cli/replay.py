"""`accepttrace replay`: a recording, in every view that a run has."""

from __future__ import annotations

import sys
from datetime import datetime, time, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accepttrace.cli.extras import need_msgspec
from accepttrace.cli.help import Command
from accepttrace.cli.options import Parsed
from accepttrace.cli.views import check_of_udp, stays, view_options, views_of
from accepttrace.config import Config
from accepttrace.run.pace import Pace
from accepttrace.run.run import Run, trace
from accepttrace.run.subject import spelled

if TYPE_CHECKING:
    from accepttrace.run.replay import Recording


def parse_speed(text: str) -> float:
    """`10` or `0.5`: so many times as fast. ValueError if it is none."""
    speed = float(text.removesuffix("x"))
    if not 0.01 <= speed <= 10_000:
        raise ValueError("a speed is between 0.01 and 10000")
    return speed


def parse_moment(text: str) -> time | datetime:
    """A time of day, or a date with one; UTC where nothing else is said. ValueError otherwise."""
    text = text.strip().replace("Z", "+00:00")
    if "T" in text or " " in text:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return time.fromisoformat(text).replace(tzinfo=timezone.utc)


def first_of(moment: time | datetime, started: datetime) -> str:
    """That time as readings have theirs; a time of day is of the first day on which it comes."""
    if isinstance(moment, time):
        day = datetime.combine(started.date(), moment)
        moment = day if day > started - timedelta(seconds=1) else day + timedelta(days=1)
    return spelled(moment)


def _opened(ctx: click.Context, param: click.Parameter, path: Path) -> Recording:  # noqa: ARG001
    """Before the options: what can be shown depends on what it is of."""
    need_msgspec()
    from accepttrace.run.replay import Recording

    recording = Recording(path)
    ctx.params["udp"] = recording.of_udp
    return recording


@click.command(
    cls=Command,
    examples=(
        ("accepttrace replay run.gz", "as it was, on the live screen"),
        ("accepttrace replay run.gz --speed 10", "ten times as fast"),
        ("accepttrace replay run.gz --by socket -o csv > run.csv", "all of it, for a spreadsheet"),
    ),
)
@click.argument(
    "recording",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    is_eager=True,
    callback=_opened,
)
@click.option(
    "--speed",
    type=Parsed("speed", parse_speed),
    metavar="N",
    help="So many times as fast as it was.  [default: on a terminal 1, else at once]",
)
@click.option(
    "--at",
    type=Parsed("time", parse_moment),
    metavar="TIME",
    help="Begin at this time of day, in UTC as on the screen (12:03:58), or of a date (RFC 3339).",
)
@view_options
def replay(**values: Any) -> None:
    """Show what `accepttrace record` wrote to FILE: no privileges are needed, nor BPF."""
    from accepttrace.run.replay import AT_ONCE_S, replay_of, say_if_cut

    recording, at, udp = values["recording"], values["at"], values["udp"]
    if udp:
        check_of_udp(values)
    first = "" if at is None else first_of(at, recording.started)
    filters = recording.beginning.filters
    config = Config(filters=filters, replays=True, udp=udp, **views_of(values))
    interval_s = _interval_s(recording.beginning.interval_s, values["speed"], config)
    pace = Pace(max(interval_s, AT_ONCE_S), None)
    try:
        # The last picture of a live screen stays until somebody leaves it.
        over = (lambda: None) if stays(values) else pace.enough
        trace(Run(config, pace), lambda config: replay_of(config, recording, over, first))
    finally:
        pace.over()
    say_if_cut(recording)


def _interval_s(interval_s: float, speed: float | None, config: Config) -> float:
    if speed is not None:
        return interval_s / speed
    return interval_s if config.output == "table" and sys.stdout.isatty() else 0.0
