"""`accepttrace record`: what a run reads goes into a file, to be looked at later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from accepttrace.cli import whounix
from accepttrace.cli.extras import need_msgspec
from accepttrace.cli.help import Command
from accepttrace.cli.options import (
    UNITS,
    Parsed,
    duration_option,
    interval_option,
    parse_seconds,
    place_options,
    ready_file_option,
    sample_option,
    take_filters,
    way_options,
    ways_of,
)
from accepttrace.cli.views import check_of_udp
from accepttrace.config import Config
from accepttrace.run.pace import Pace
from accepttrace.run.run import Run, trace

if TYPE_CHECKING:
    from accepttrace.run.output import Output
    from accepttrace.run.record import Recorder, Rotation
    from accepttrace.run.sinks import Screen
    from accepttrace.run.subject import Subject

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])i?B?", re.IGNORECASE)
_POWER: Final = {unit: 1024**power for power, unit in enumerate("KMGT", 1)}


def parse_limit(text: str) -> tuple[str, float]:
    """`100MB` → a size in bytes, `1h` → an age in seconds. ValueError if it is neither."""
    size = _SIZE.fullmatch(text.strip())
    if size is not None:
        return "size", float(size[1]) * _POWER[size[2].upper()]
    try:
        return "age_s", parse_seconds(text, 1.0)
    except ValueError:
        units = ", ".join(filter(None, UNITS))
        raise ValueError(f"{text!r} is neither a size (100MB) nor a time ({units})") from None


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace record run.gz 80 -d 1m", "a minute of port 80"),
        (
            "sudo accepttrace record /var/log/accepts.gz --rotate 100MB --rotate 24h --keep 7",
            "all listeners, for days: the last seven files stay",
        ),
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@place_options
@click.option("--unix", is_flag=True, help="UNIX sockets instead: all, or by PATH or @NAME.")
@click.option("--udp", is_flag=True, help="UDP sockets instead.")
@interval_option("Time between two readings", 1.0)
@duration_option()
@click.option(
    "--rotate",
    type=Parsed("limit", parse_limit),
    multiple=True,
    metavar="SIZE|TIME",
    help="Begin another file when this one is so large (100MB) or so old (24h); counts begin anew.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=10,
    metavar="N",
    help="So many older files stay: FILE.1 is the newest of them.  [default: 10]",
)
@click.option(
    "--events",
    is_flag=True,
    help="Each connection, too, for `accepttrace events --recording FILE`.",
)
@sample_option("With --events: ")
@click.option("--patterns", is_flag=True, help="Note who accepts after whom.")
@click.option("--local", is_flag=True, help="Note on which CPU each connection came.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    help="Of the summary at the end.  [default: table]",
)
@way_options
@ready_file_option
def record(**values: Any) -> None:
    """Write what is read at each interval to FILE, which must be new, for `accepttrace replay`.

    FILE is gzip of JSON Lines, or zstd where it ends in .zst. It can be read at any time, also
    while it is being written, after a crash, and when a disk is full.
    """
    need_msgspec()
    names = whounix.take_names(values)
    if values["sample"] > 1 and not values["events"]:
        raise click.UsageError("--sample goes with --events: readings are always whole")
    if values["udp"]:
        check_of_udp(values)
    config = Config(
        filters=take_filters(values),
        interval_s=values["interval"],
        duration_s=values["duration"],
        patterns=values["patterns"],
        locality=values["local"],
        events=values["events"],
        sample=values["sample"],
        udp=values["udp"],
        unix=names,
        output=values["output"],
        **ways_of(values),
    )
    if names is not None:
        whounix.check_traced(config)
    _record(values["file"], config, _rotation(dict(values["rotate"]), values["keep"]))


def _rotation(limits: dict[str, float], keep: int) -> Rotation:
    from accepttrace.run.record import Rotation

    size = limits.get("size")
    return Rotation(None if size is None else int(size), limits.get("age_s"), keep)


def _subject(config: Config, recorder: Recorder, pace: Pace) -> Subject[Any]:
    if config.events and config.unix is not None:
        from accepttrace.run.recordunix import UnixWithEvents

        return UnixWithEvents(config, recorder, pace)
    if config.events:
        from accepttrace.run.record import WithEvents

        return WithEvents(config, recorder, pace)
    if config.udp:
        from accepttrace.run.udp import UdpSubject

        return UdpSubject(config, recorder)
    if config.unix is not None:
        from accepttrace.run.unix import UnixSubject

        return UnixSubject(config, recorder)
    from accepttrace.run.tcp import TcpSubject

    return TcpSubject(config, recorder)


def _record(path: Path, config: Config, rotation: Rotation) -> None:
    from accepttrace.run.output import say
    from accepttrace.run.record import AtTheEnd, Recorder
    from accepttrace.run.sinks import screen_for

    pace = Pace(config.interval_s, config.duration_s)  # before attaching: a signal ends it cleanly
    recorder = Recorder(path, config, rotation)

    def screen(out: Output) -> Screen[Any]:
        asked = whounix.described(config.unix, config.filters)
        asked = asked or ("every UDP socket" if config.udp else "every listener")
        return AtTheEnd(screen_for(config, out), f"recording {asked} into {path}; Ctrl-C ends it")

    try:
        run = Run(config, pace, ending=recorder.ending, screen=screen)
        trace(run, lambda config: _subject(config, recorder, pace))
        recorder.end()
        say(recorder.account())
    finally:
        recorder.abandon()
        pace.over()
