"""`accepttrace check`: conditions in, an exit status out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from accepttrace.cli import whounix
from accepttrace.cli.extras import need_msgspec
from accepttrace.cli.help import Command
from accepttrace.cli.options import (
    Parsed,
    parse_seconds,
    place_options,
    ready_file_option,
    seconds,
    take_filters,
    way_options,
    ways_of,
)
from accepttrace.config import Config
from accepttrace.errors import EXIT_BAD_VERDICT, EXIT_NO_VERDICT, UsageError
from accepttrace.model.conditions import Condition, Name, result
from accepttrace.model.pattern import PATTERNS
from accepttrace.run.pace import Pace
from accepttrace.run.run import Run, trace

if TYPE_CHECKING:
    from accepttrace.model.snapshot import Snapshot
    from accepttrace.run.checking import Checking, Form
    from accepttrace.run.output import Output
    from accepttrace.run.subject import Subject

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
UNKNOWN_OF_UNIX: Final = frozenset({"max-open-ratio", "min-local"})
STATUS: Final = {True: 0, False: EXIT_BAD_VERDICT, None: EXIT_NO_VERDICT}


def parse_share(text: str) -> float:
    """`40%` or `0.4`, above 0 and at most 1. ValueError if it is not."""
    percent = text.endswith("%")
    share = _finite(text[:-1] if percent else text) / (100 if percent else 1)
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is no share: write 40% or 0.4")
    return share


def parse_ratio(text: str) -> float:
    """`1.5`: of the one that has most, to its share; at least 1. ValueError if it is not."""
    ratio = _finite(text)
    if ratio < 1:
        raise ValueError(
            f"{text!r} is no ratio: the one that has most has at least 1 time its share"
        )
    return ratio


def parse_wait(text: str) -> tuple[str, float]:
    """`p99=50ms` → the quantile's name and microseconds. ValueError if it is not."""
    quantile, _, time = text.partition("=")
    if quantile not in QUANTILES or not time:
        raise ValueError(f"{text!r} is no limit: write {', '.join(QUANTILES)} as in p99=50ms")
    return quantile, parse_seconds(time, 0) * 1e6


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a number")
    return number


def _asked(parse: Callable[[str], object]) -> Callable[[str], tuple[object, str]]:
    """With what was written."""
    return lambda text: (parse(text), text)


def _counted(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a number of them")
    return int(text)


COUNT: Final = Parsed("count", _asked(_counted))
SHARE: Final = Parsed("share", _asked(parse_share))
RATIO: Final = Parsed("ratio", _asked(parse_ratio))
WAIT: Final = Parsed("wait", _asked(parse_wait))
SHARING: Final = click.Choice(["reuseport", "shared"])
ORDERS: Final = {one.lower().replace(" ", "-"): one for one in PATTERNS if one != "OTHER"}


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace check 443 -d 30s", "is the split of port 443 fair?"),
        (
            "sudo accepttrace check 80 --no-loss --max-wait p99=50ms",
            "did clients lose nothing, and did few of them wait?",
        ),
        ("accepttrace check --recording run.gz --fair", "was it, when `record` wrote it?"),
        (
            "sudo accepttrace check 80 --max-share 40% -o junit > accepts.xml",
            "for CI: no process took more than 40% of all",
        ),
    ),
)
@place_options
@click.option("--unix", is_flag=True, help="UNIX sockets instead: all, or by PATH or @NAME.")
@click.option("--fair", is_flag=True, help="The verdict is FAIR or ROUND ROBIN.  [default]")
@click.option(
    "--max-share",
    type=SHARE,
    metavar="SHARE",
    help="No process took a larger share of all connections: 40%, 0.4.",
)
@click.option(
    "--max-ratio",
    type=RATIO,
    metavar="RATIO",
    help="Nobody took more than RATIO times its share: 1.5.",
)
@click.option(
    "--min-workers",
    type=COUNT,
    metavar="N",
    help="At least N processes took connections, and still run.",
)
@click.option(
    "--max-wait",
    type=WAIT,
    multiple=True,
    metavar="QUANTILE=TIME",
    help="Waits in the accept queue: p99=50ms; p50, p90, p99, max; repeatable.",
)
@click.option("--max-queue", type=COUNT, metavar="N", help="Never more than N waited in a queue.")
@click.option("--no-loss", is_flag=True, help="No client lost anything.")
@click.option("--expect", type=SHARING, help="Every listener is shared in this way.")
@click.option(
    "--max-open-ratio",
    type=RATIO,
    metavar="RATIO",
    help="At the end nobody holds more than RATIO times the mean of open connections: 1.5.",
)
@click.option(
    "--min-local",
    type=SHARE,
    metavar="SHARE",
    help="At least this share was accepted on the CPU that had received it: 80%.",
)
@click.option(
    "--pattern",
    type=click.Choice([*ORDERS]),
    help="In each sharing set this is the order of accepts; none: as by chance.",
)
@click.option(
    "-d",
    "--duration",
    type=seconds(0.1),
    default=10.0,
    metavar="TIME",
    help="Trace for this long.  [default: 10s]",
)
@click.option("--early", is_flag=True, help="End as soon as it is certain that a condition fails.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    help="[default: text]",
)
@click.option(
    "--recording",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Judge what `accepttrace record` wrote to FILE, instead of tracing.",
)
@way_options
@ready_file_option
def check(**values: Any) -> None:
    """Whether conditions hold, for scripts: trace for a while, say so, and end with a status.

    0: all hold. 4: one fails. 3: one could not be judged and none fails: too few connections, or
    something was not seen. 1, 2, 77: it failed, wrong usage, the kernel or the privileges cannot.
    """
    names = whounix.take_names(values)
    conditions = _conditions(values)
    config = Config(
        filters=take_filters(values),
        duration_s=values["duration"],
        by="process",
        **ways_of(values),
        locality=values["min_local"] is not None,
        patterns=values["pattern"] is not None,
        unix=names,
    )
    if names is not None:
        _check_known_of_unix(conditions)
        whounix.check_traced(config)
    demanded = tuple(conditions), values["output"], values["early"]
    if values["recording"] is not None:
        raise SystemExit(_judge(values["recording"], config, *demanded))
    pace = Pace(config.interval_s, config.duration_s)  # before attaching: a signal ends it cleanly
    raise SystemExit(_run(Run(config, pace), _attach, *demanded))


def _attach(config: Config) -> Subject[Snapshot]:
    if config.unix is not None:
        from accepttrace.run.unix import UnixSubject

        return UnixSubject(config)
    from accepttrace.run.tcp import TcpSubject

    return TcpSubject(config)


def _check_known_of_unix(conditions: Iterable[Condition]) -> None:
    """UsageError where what is asked of UNIX sockets is not known of them."""
    unknown = [one.name for one in conditions if one.name in UNKNOWN_OF_UNIX]
    if unknown:
        raise UsageError(
            f"of UNIX sockets it is not known what --{unknown[0]} asks for",
            "see `accepttrace check --help` for the other conditions",
        )


def _judge(path: Path, asked: Config, conditions: tuple[Condition, ...], *how: Any) -> int:
    """Of a recording; what was traced, and how, is settled."""
    need_msgspec()
    from accepttrace.run.replay import AT_ONCE_S, Recording, replay_of_accepts, say_if_cut

    settled = Config(by="process", duration_s=asked.duration_s)
    if replace(asked, locality=False, patterns=False) != settled:
        raise click.UsageError("--recording goes with conditions only: what was traced is settled")
    recording = Recording(path)
    if recording.beginning.meta.protocol == "unix":
        _check_known_of_unix(conditions)
    config = Config(filters=recording.beginning.filters, by="process", replays=True)
    pace = Pace(AT_ONCE_S, None)
    run, over = Run(config, pace), pace.enough
    status = _run(run, lambda _: replay_of_accepts(config, recording, over), conditions, *how)
    say_if_cut(recording)
    return status


def _run(
    run: Run,
    attach: Callable[[Config], Subject[Snapshot]],
    conditions: tuple[Condition, ...],
    form: Form,
    early: bool,
) -> int:
    """Print the answer, and return the exit status."""
    screens: list[Checking] = []

    def screen(out: Output) -> Checking:
        from accepttrace.run.checking import Checking, Demand

        screens.append(Checking(Demand(conditions, form, early), run.pace, out))
        return screens[0]

    try:
        trace(replace(run, screen=screen), attach)
    finally:
        run.pace.over()
    outcomes = screens[0].outcomes if screens else ()
    return STATUS[result(outcomes) if outcomes else None]


def conditions_of(words: Sequence[str]) -> list[Condition]:
    """As options of the command: `--max-share`, `40%`. ClickException where they are none."""
    return _conditions(check.make_context("check", list(words)).params)


def _conditions(values: dict[str, Any]) -> list[Condition]:
    """In the order of the options; --fair where there are none."""
    found = [Condition("fair", "FAIR")] if values["fair"] else []
    found += _bounds(values, "max-share", "max-ratio", "min-workers")
    for (quantile, us), asked in values["max_wait"]:
        found.append(Condition("max-wait", us, asked, QUANTILES[quantile]))
    found += _bounds(values, "max-queue")
    if values["no_loss"]:
        found.append(Condition("no-loss", 0))
    if values["expect"]:
        found.append(Condition("expect", values["expect"], values["expect"]))
    found += _bounds(values, "max-open-ratio", "min-local")
    if values["pattern"]:
        found.append(Condition("pattern", ORDERS[values["pattern"]], values["pattern"]))
    return found or [Condition("fair", "FAIR")]


def _bounds(values: dict[str, Any], *names: Name) -> list[Condition]:
    given = ((name, values[name.replace("-", "_")]) for name in names)
    return [Condition(name, *value) for name, value in given if value is not None]
