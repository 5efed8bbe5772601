"""`accepttrace top`: accepts by worker, live on a terminal, plain tables into a pipe."""

from __future__ import annotations

from typing import Any

import click

from accepttrace.cli import whounix
from accepttrace.cli.help import Command
from accepttrace.cli.options import (
    duration_option,
    interval_option,
    place_options,
    ready_file_option,
    take_filters,
    way_options,
    ways_of,
)
from accepttrace.cli.views import check_of_udp, view_options, views_of
from accepttrace.config import Config
from accepttrace.run.pace import Pace
from accepttrace.run.run import Run, trace


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace 80", "the live table of port 80"),
        ("sudo accepttrace 80 443 --by socket", "a row for each listening socket of two ports"),
        ("sudo accepttrace 80 --once", "one table of the next second, and no more"),
        ("sudo accepttrace 80 -n 3 -i 10s | cat", "three tables, ten seconds apart"),
        ("sudo accepttrace 80 -d 1m -o jsonl > run.jsonl", "a minute of it, for programs"),
        ("sudo accepttrace /run/app.sock", "a UNIX socket; @NAME an abstract one, --unix all"),
        (
            "sudo accepttrace 80 --columns pid,share,queue -o csv",
            "only these, for a spreadsheet",
        ),
    ),
)
@place_options
@click.option("--unix", is_flag=True, help="UNIX sockets instead: all, or by PATH or @NAME.")
@click.option(
    "--udp",
    is_flag=True,
    is_eager=True,  # --sort and --columns depend on it
    help="Trace UDP sockets (QUIC, DNS): what SO_REUSEPORT steers to each, what its queue takes.",
)
@interval_option("Time between two tables", 1.0)
@duration_option("End after this time, with a summary")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    metavar="COUNT",
    help="End after this many tables, with a summary.",
)
@click.option(
    "--once", is_flag=True, help="Print one table, after one interval, and no summary: for scripts."
)
@view_options
@click.option(
    "--patterns",
    is_flag=True,
    help="Note who accepts after whom, and name the pattern: LIFO, ROUND ROBIN, BURSTY.",
)
@way_options
@ready_file_option
def top(**values: Any) -> None:
    """Which worker accepts how many connections, from which listener, after how long a wait.

    Ctrl-C, SIGTERM or --duration end it with a summary and status 0.

    With --udp: each UDP socket with its owner, the packets for which SO_REUSEPORT chose it
    (SELECTED), the datagrams that its queue took (DATAGRAMS) or was too full for (DROPPED). The
    kernel may choose more than once for a packet, where a group has a connected socket; and a
    packet may hold many datagrams (GRO).
    """
    names = whounix.take_names(values)
    if values["udp"]:
        check_of_udp(values)
    if values["once"] and (values["count"] or values["duration"]):
        raise click.UsageError("--once ends after one interval: it goes with neither -n nor -d")
    config = _config(values, names)
    if names is not None:
        whounix.check_traced(config)
    pace = Pace(config.interval_s, config.duration_s)  # before attaching: a signal ends it cleanly
    try:
        if config.udp:
            from accepttrace.run.udp import UdpSubject

            trace(Run(config, pace), UdpSubject)
        elif config.unix is not None:
            from accepttrace.run.unix import UnixSubject

            trace(Run(config, pace), UnixSubject)
        else:
            from accepttrace.run.tcp import TcpSubject

            trace(Run(config, pace), TcpSubject)
    finally:
        pace.over()


def _config(values: dict[str, Any], names: frozenset[str] | None) -> Config:
    return Config(
        filters=take_filters(values),
        interval_s=values["interval"],
        duration_s=values["duration"],
        count=1 if values["once"] else values["count"],
        once=values["once"],
        locality="local" in values["columns"] and not values["udp"],
        patterns=values["patterns"],
        udp=values["udp"],
        unix=names,
        **ways_of(values),
        **views_of(values),
    )
