"""`accepttrace top`: accepts by worker, live on a terminal, plain tables into a pipe."""

from __future__ import annotations

import sys
from typing import Any, get_args

import click

from accepttrace.cli.help import Command
from accepttrace.cli.options import (
    filter_options,
    ready_file_option,
    seconds,
    take_filters,
    way_options,
)
from accepttrace.config import LIVE_WINDOW_S, By, Config
from accepttrace.run.pace import Pace
from accepttrace.run.run import Run, trace


def _sort_key(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None:  # the views are not loaded unless they are needed
        return None
    keys = _columns(udp=ctx.params["udp"])
    if value not in keys:
        raise click.BadParameter(f"choose from: {', '.join(keys)}", ctx, param)
    return value


def _column_keys(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    keys = _columns(udp=ctx.params["udp"])
    wanted = tuple(key.strip() for key in value.split(","))
    unknown = ", ".join(repr(key) for key in wanted if key not in keys)
    if unknown:
        raise click.BadParameter(f"{unknown}: choose from: {', '.join(keys)}", ctx, param)
    return tuple(dict.fromkeys(wanted))


def _window_s(values: dict[str, Any]) -> float | None:
    """On the live screen an imbalance that began late is to be seen too."""
    given = values["window"]
    return LIVE_WINDOW_S if given is None and _is_live(values) else given


def _is_live(values: dict[str, Any]) -> bool:
    others = ("udp", "plain", "once")
    return values["output"] == "table" and sys.stdout.isatty() and not any(map(values.get, others))


def _columns(*, udp: bool) -> tuple[str, ...]:
    """The keys of all columns of the table."""
    if udp:
        from accepttrace.views.columns.udp import TABLE as OF_UDP

        return OF_UDP.keys()
    from accepttrace.views.columns.tcp import TABLE

    return TABLE.keys()


def _only_of_tcp(values: dict[str, Any]) -> None:
    """UsageError where `--udp` stands beside an option that means nothing to it."""
    for option, default in (
        ("by", "worker"),
        ("histogram", False),
        ("detail", "full"),
        ("window", None),
        ("patterns", False),
    ):
        if values[option] != default:
            raise click.UsageError(f"--{option} applies to TCP only: with --udp a row is a socket")


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace 80", "the live table of port 80"),
        ("sudo accepttrace 80 443 --by socket", "a row for each listening socket of two ports"),
        ("sudo accepttrace 80 --once", "one table of the next second, and no more"),
        ("sudo accepttrace 80 -n 3 -i 10s | cat", "three tables, ten seconds apart"),
        ("sudo accepttrace 80 -d 1m -o jsonl > run.jsonl", "a minute of it, for programs"),
        (
            "sudo accepttrace 80 --columns pid,share,queue -o csv",
            "only these, for a spreadsheet",
        ),
    ),
)
@filter_options
@click.option(
    "--udp",
    is_flag=True,
    is_eager=True,  # --sort and --columns depend on it
    help="Trace UDP sockets (QUIC, DNS): what SO_REUSEPORT steers to each, what its queue takes.",
)
@click.option(
    "-i",
    "--interval",
    type=seconds(0.1, 86400),
    default=1.0,
    metavar="TIME",
    help="Time between two tables: 5s, 500ms, 1m.  [default: 1s]",
)
@click.option(
    "-d",
    "--duration",
    type=seconds(0.1),
    metavar="TIME",
    help="End after this time, with a summary: 30s, 5m, 1h.",
)
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
@click.option(
    "--by",
    type=click.Choice(get_args(By)),
    default="worker",
    help="What a row is.  [default: worker = process x listener]",
)
@click.option(
    "--sort",
    metavar="FIELD",
    callback=_sort_key,
    help="Order of the rows: any column.  [default: accepts; with --udp datagrams]",
)
@click.option(
    "--window",
    type=seconds(1),
    metavar="TIME",
    help="Show the last TIME (60s, 5m) beside the whole run, and judge by it. [default: on a"
    " terminal 60s]",
)
@click.option(
    "--columns",
    metavar="FIELD,…",
    callback=_column_keys,
    help="The columns of the table, or of CSV, in this order: docs/columns.md names all. `local` is"
    " measured only if it is among them.",
)
@click.option(
    "--patterns",
    is_flag=True,
    help="Note who accepts after whom, and name the pattern: LIFO, ROUND ROBIN, BURSTY.",
)
@click.option("--rows", type=click.IntRange(1), help="Show at most this many rows.")
@click.option("--histogram", is_flag=True, help="Show the waiting times of each row as bars.")
@click.option(
    "--full", is_flag=True, help="End with every number of the books and every cause of a loss."
)
@click.option(
    "--plain",
    is_flag=True,
    help="A plain table an interval also on a terminal, without bars: for screen readers.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "jsonl", "csv"]),
    default="table",
    help="On a terminal `table` is a live screen.  [default: table]",
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
    if values["udp"]:
        _only_of_tcp(values)
    if values["once"] and (values["count"] or values["duration"]):
        raise click.UsageError("--once ends after one interval: it goes with neither -n nor -d")
    config = _config(values)
    pace = Pace(config.interval_s, config.duration_s)  # before attaching: a signal ends it cleanly
    try:
        if config.udp:
            from accepttrace.run.udp import UdpSubject

            trace(Run(config, pace), UdpSubject)
        else:
            from accepttrace.run.tcp import TcpSubject

            trace(Run(config, pace), TcpSubject)
    finally:
        pace.over()


def _config(values: dict[str, Any]) -> Config:
    return Config(
        filters=take_filters(values),
        interval_s=values["interval"],
        duration_s=values["duration"],
        count=1 if values["once"] else values["count"],
        once=values["once"],
        by=values["by"],
        sort=values["sort"],
        window_s=_window_s(values),
        columns=values["columns"],
        locality="local" in values["columns"] and not values["udp"],
        patterns=values["patterns"],
        rows=values["rows"],
        histogram=values["histogram"],
        full=values["full"],
        plain=values["plain"],
        udp=values["udp"],
        output=values["output"],
        attach=values["attach"],
        loader=values["loader"],
        detail=values["detail"],
        ready_file=values["ready_file"],
        live=_is_live(values),
    )
