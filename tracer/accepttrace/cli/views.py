"""Options for what is shown of a run, whether it is traced or replayed."""

from __future__ import annotations

import sys
from typing import Any, Final, get_args

import click

from accepttrace.cli import completion
from accepttrace.cli.options import Command, seconds, with_options
from accepttrace.config import LIVE_WINDOW_S, By


def _sort_key(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None:  # the views are not loaded unless they are needed
        return None
    keys = columns_of(udp=ctx.params.get("udp", False))
    if value not in keys:
        raise click.BadParameter(f"choose from: {', '.join(keys)}", ctx, param)
    return value


def _column_keys(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    keys = columns_of(udp=ctx.params.get("udp", False))
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


def columns_of(*, udp: bool) -> tuple[str, ...]:
    """The keys of all columns of the table."""
    if udp:
        from accepttrace.views.columns.udp import TABLE as OF_UDP

        return OF_UDP.keys()
    from accepttrace.views.columns.tcp import TABLE

    return TABLE.keys()


VIEWS: Final = (
    click.option(
        "--by",
        type=click.Choice(get_args(By)),
        default="worker",
        help="What a row is.  [default: worker = process x listener]",
    ),
    click.option(
        "--sort",
        metavar="FIELD",
        callback=_sort_key,
        shell_complete=completion.columns,
        help="Order of the rows: any column.  [default: accepts; with --udp datagrams]",
    ),
    click.option(
        "--window",
        type=seconds(1),
        metavar="TIME",
        help="Show the last TIME (60s, 5m) beside the whole run, and judge by it. [default: on a"
        " terminal 60s]",
    ),
    click.option(
        "--columns",
        metavar="FIELD,…",
        callback=_column_keys,
        shell_complete=completion.columns,
        help="The columns of the table, or of CSV, in this order: docs/columns.md names all."
        " `local` is measured only if it is among them.",
    ),
    click.option("--rows", type=click.IntRange(1), help="Show at most this many rows."),
    click.option("--histogram", is_flag=True, help="Show the waiting times of each row as bars."),
    click.option(
        "--full", is_flag=True, help="End with every number of the books and every cause of a loss."
    ),
    click.option(
        "--plain",
        is_flag=True,
        help="A plain table an interval also on a terminal, without bars: for screen readers.",
    ),
    click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "jsonl", "csv"]),
        default="table",
        help="On a terminal `table` is a live screen.  [default: table]",
    ),
)


def view_options(command: Command) -> Command:
    """Gives a command `--by`, `--sort` and all others of what is shown."""
    return with_options(command, VIEWS)


_ONLY_OF_TCP: Final = {
    "by": "worker",
    "histogram": False,
    "detail": "full",
    "window": None,
    "patterns": False,
    "local": False,
    "events": False,
}


def check_of_udp(values: dict[str, Any]) -> None:
    """UsageError where an option was given that means nothing to UDP."""
    for option, default in _ONLY_OF_TCP.items():
        if values.get(option, default) != default:
            raise click.UsageError(f"--{option} applies to TCP only: of UDP a row is a socket")


def stays(values: dict[str, Any]) -> bool:
    """Whether the last picture stays on a terminal until somebody leaves it."""
    return _is_live({**values, "udp": False})


def views_of(values: dict[str, Any]) -> dict[str, Any]:
    """Their values, as fields of `Config`."""
    names = ("by", "sort", "columns", "rows", "histogram", "full", "plain", "output")
    return {
        **{name: values[name] for name in names},
        "window_s": _window_s(values),
        "live": _is_live(values),
    }
