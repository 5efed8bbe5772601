"""`accepttrace events`: one line a connection."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from accepttrace.cli import whounix
from accepttrace.cli.extras import need_msgspec
from accepttrace.cli.help import Command
from accepttrace.cli.options import (
    Parsed,
    duration_option,
    place_options,
    ready_file_option,
    sample_option,
    seconds,
    take_filters,
    way_options_of_events,
    ways_of,
)
from accepttrace.config import Config
from accepttrace.errors import UsageError
from accepttrace.run.pace import Pace

if TYPE_CHECKING:
    from accepttrace.run.events import Asked


def parse_peer(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """`192.0.2.0/24`, `2001:db8::/32`, or one address. ValueError says what is wrong."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network: write 192.0.2.0/24 or 2001:db8::/32") from None


PEER: Final = Parsed("network", parse_peer)


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace events 80", "each connection to port 80 as it is accepted"),
        (
            "sudo accepttrace events 443 --slower-than 50ms",
            "those that had waited for 50 ms or longer",
        ),
        (
            "sudo accepttrace events 80 --lost --failed -o jsonl",
            "with what was reset or dropped, and accepts that failed, for programs",
        ),
        (
            "sudo accepttrace events /run/app.sock",
            "a UNIX socket; @NAME: an abstract one; --unix: all",
        ),
        ("sudo accepttrace events 80 --sample 100", "one of each 100, at high rates"),
        (
            "accepttrace events --recording run.gz --slower-than 50ms",
            "those of a run that `record --events` kept",
        ),
    ),
)
@place_options
@click.option("--unix", is_flag=True, help="UNIX sockets instead: all, or by PATH or @NAME.")
@click.option("--peer", type=PEER, metavar="ADDRESS/BITS", help="Only clients in this network.")
@click.option(
    "--slower-than",
    type=seconds(1e-6, 3600),
    metavar="TIME",
    help="Only connections that waited so long to be accepted, or longer: 50ms.",
)
@sample_option("")
@click.option("--failed", is_flag=True, help="Accepts that failed, too (EAGAIN is none).")
@click.option(
    "--lost", is_flag=True, help="Connections that were reset in the queue or dropped, too."
)
@duration_option()
@click.option(
    "-n", "--count", type=click.IntRange(1), metavar="COUNT", help="End after this many events."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "jsonl", "csv"]),
    default="table",
    help="[default: table]",
)
@click.option(
    "--timestamps",
    type=click.Choice(["iso", "relative", "unix"]),
    default="iso",
    help="In UTC, or seconds since the start, or since the epoch.  [default: iso]",
)
@click.option(
    "--recording",
    type=click.Path(dir_okay=False, path_type=Path),
    is_eager=True,  # PIDs, for one, need not be there any more
    metavar="FILE",
    help="Those that `accepttrace record --events` wrote to FILE, instead of tracing.",
)
@way_options_of_events
@ready_file_option
def events(**values: Any) -> None:
    """Which worker accepted which connection: one line each, at most 100 ms late.

    A summary on standard error says whether there was an event for every accept. What this attach
    type cannot see is n/a (null in JSON). A reader that is too slow loses events, and is told so.
    """
    names = whounix.take_names(values)
    config = Config(
        filters=take_filters(values),
        duration_s=values["duration"],
        count=values["count"],
        output=values["output"],
        **ways_of(values),
        events=True,
        unix=names,
    )
    if names is not None:
        _check_unix(config, values)
    slower_s = values["slower_than"] or 0.0
    pace = Pace(config.interval_s, config.duration_s)  # before attaching: a signal ends it cleanly
    try:
        from accepttrace.run.events import Asked, trace_events

        asked = Asked(
            timestamps=values["timestamps"],
            peer=values["peer"],
            slower_us=round(slower_s * 1e6),
            sample=values["sample"],
            failed=values["failed"],
            lost=values["lost"],
        )
        if values["recording"] is None:
            trace_events(config, asked, pace)
        else:
            _replay(values["recording"], config, asked, pace)
    finally:
        pace.over()


def _check_unix(config: Config, values: dict[str, Any]) -> None:
    """UsageError where what is asked of UNIX sockets is not known of them."""
    whounix.check_traced(config)
    if values["peer"] is not None:
        raise UsageError("clients of UNIX sockets have no address", "leave --peer away")


def _replay(path: Path, config: Config, asked: Asked, pace: Pace) -> None:
    need_msgspec()
    from accepttrace.run.eventreplay import replay_events
    from accepttrace.run.replay import Recording

    kept = Config(config.filters, count=config.count, output=config.output, events=True)
    if config != kept or config.filters.cgroups or asked.sample > 1:
        refused = "--duration, --sample, --cgroup, --ready-file and ways to trace"
        raise click.UsageError(f"--recording does not go with {refused}")
    recording = Recording(path)
    if recording.beginning.meta.protocol == "unix":
        config = replace(config, unix=frozenset())
    replay_events(recording, config, asked, pace)
