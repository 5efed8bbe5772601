"""`accepttrace demo`: a real server in a sharing mode, under load, traced live."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import click

from accepttrace.cli.help import Command
from accepttrace.cli.options import (
    seconds,
    way_options,
    ways_of,
)
from accepttrace.config import LIVE_WINDOW_S, Config, Filters
from accepttrace.errors import UsageError
from accepttrace.lab.modes import MODES, find_mode

if TYPE_CHECKING:
    from accepttrace.lab.load import LoadResult
    from accepttrace.model.snapshot import Snapshot
    from accepttrace.run.pace import Pace

_NGINX_MODES = ("reuseport", "shared")


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace demo", "four workers with a socket each (SO_REUSEPORT)"),
        ("sudo accepttrace demo epoll -d 30s", "four processes on one socket: uneven"),
        ("sudo accepttrace demo --server nginx", "the same as the first with the real nginx"),
    ),
)
@click.argument("mode", type=click.Choice(MODES), default="reuseport")
@click.option(
    "--server",
    type=click.Choice(["lab", "nginx"]),
    default="lab",
    help="`lab`: a small server of our own; `nginx`: the real one, if installed.  [default: lab]",
)
@click.option("-w", "--workers", type=click.IntRange(1, 64), default=4, help="[default: 4]")
@click.option(
    "-d",
    "--duration",
    type=seconds(1, 3600),
    default=10.0,
    metavar="TIME",
    help="[default: 10s]",
)
@click.option(
    "--rate",
    type=click.IntRange(1, 20000),
    default=2000,
    metavar="PER_SECOND",
    help="Connections a second.  [default: 2000]",
)
@way_options
def demo(**values: Any) -> None:
    """Start a real multi-process server on loopback, load it, trace it, and say what was seen.

    MODE is how its workers share the port.
    """
    from accepttrace.run.pace import WRITE_S, Pace
    from accepttrace.run.streams import abandon

    mode, duration = values["mode"], values["duration"]
    pace = Pace(1.0 if sys.stdout.isatty() else duration / 2, duration)
    done = False
    try:
        with pace.until(WRITE_S):
            _say(
                f"{values['server']} server, {values['workers']} workers: {find_mode(mode).summary}"
            )
            with _server(values["server"], mode, values["workers"]) as server:
                for sentence in _trace(values, server, pace):
                    _say(sentence)
            done = True
    finally:
        if not done:
            abandon()  # what waits there for a reader
        pace.over()


def _trace(values: dict[str, Any], server: Any, pace: Pace) -> Iterator[str]:
    """Load the server and trace it; what its client has to say of that."""
    from accepttrace.lab.clients import Plan
    from accepttrace.lab.load import Load
    from accepttrace.run.run import Run, trace
    from accepttrace.run.tcp import TcpSubject

    plan = Plan(
        duration_s=values["duration"],
        rate=values["rate"],
        concurrency=16,
        request=b"GET / HTTP/1.0\r\n\r\n" if values["server"] == "nginx" else b"",
    )
    load = Load(server.addresses, plan)
    mode = find_mode(values["mode"])
    config = Config(
        filters=Filters(ports=frozenset({server.port})),
        by="thread" if mode.threads else "worker",
        patterns=not mode.own_socket,  # of one socket: who accepts after whom
        **ways_of(values),
        window_s=LIVE_WINDOW_S if sys.stdout.isatty() else None,
        live=sys.stdout.isatty(),
    )
    with ExitStack() as loading:
        run = Run(config, pace, lambda: loading.enter_context(load), load.stop)
        summary = trace(run, TcpSubject)
        if summary is not None:
            yield _comparison(summary, load.stop())


def _say(sentence: str) -> None:
    text = textwrap.fill(sentence, shutil.get_terminal_size().columns)
    click.echo(text, file=sys.stdout)


def _server(kind: str, mode: str, workers: int) -> AbstractContextManager[Any]:
    if kind == "lab":
        from accepttrace.lab.servers import Server

        return Server(mode, workers=workers)
    if mode not in _NGINX_MODES:
        raise UsageError(
            f"nginx cannot share its port in the mode {mode}",
            f"choose {' or '.join(_NGINX_MODES)}, or --server lab",
        )
    from accepttrace.lab.nginx import Nginx

    return Nginx(workers, reuseport=mode == "reuseport")


def _comparison(summary: Snapshot, result: LoadResult) -> str:
    """The tracer's count beside the client's own."""
    made, counted = result.connected, summary.books.accepts
    verdict = "the same" if made == counted else f"a difference of {counted - made:+,}"
    return f"The client made {made:,} connections, accepttrace counted {counted:,}: {verdict}."
