"""`accepttrace exporter`: metrics for Prometheus, and whatever scrapes like it."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from accepttrace.cli.extras import need
from accepttrace.cli.help import Command
from accepttrace.cli.options import (
    Parsed,
    duration_option,
    filter_options,
    interval_option,
    parse_port,
    ready_file_option,
    seconds,
    take_filters,
    way_options,
    ways_of,
)
from accepttrace.config import Config
from accepttrace.errors import AcceptTraceError
from accepttrace.run.pace import Pace
from accepttrace.run.run import Run, trace

if TYPE_CHECKING:
    from accepttrace.run.export.exporting import Exports, TimedSubject
    from accepttrace.run.export.webconfig import WebConfig
    from accepttrace.run.output import Output
    from accepttrace.run.sinks import Screen

LISTEN: Final = "127.0.0.1:9436"


def parse_listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:9436`, `[::1]:9436`, `:9436` (any address: ""); port 0: one that is free."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} is no address with a port: write {LISTEN}")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise ValueError(f"{text!r}: write IPv6 as [::1]:9436")
    return host.strip("[]"), 0 if port == "0" else parse_port(port)


def _need(module: str, package: str) -> None:
    need("the exporter needs", module, package, "exporter")


def _bound(address: tuple[str, int]) -> socket.socket:
    from accepttrace.run.export.web import bound

    try:
        return bound(*address)
    except OSError as error:
        where = f"[{address[0]}]" if ":" in address[0] else address[0]
        raise AcceptTraceError(
            f"cannot listen on {where}:{address[1]}: {error.strerror or error}",
            "choose another address with --listen",
        ) from None


def _web_config(path: Path | None) -> WebConfig:
    from accepttrace.run.export.webconfig import WebConfig, read_web_config

    if path is None:
        return WebConfig()
    _need("yaml", "PyYAML")
    _need("bcrypt", "bcrypt")
    return read_web_config(path)


def _warn_of_strangers(listener: socket.socket, web: WebConfig) -> None:
    host = listener.getsockname()[0]
    if not (ipaddress.ip_address(host.partition("%")[0]).is_loopback or web.users.hashes):
        from accepttrace.run.output import say

        say(f"whoever reaches {host} can read the metrics: --web-config asks for a password")


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace exporter", f"all listeners, on http://{LISTEN}/metrics"),
        (
            "sudo accepttrace exporter 80 443 --listen :9436 --web-config web.yml",
            "two ports, on all addresses, with TLS and a password",
        ),
        ("curl -s localhost:9436/metrics | grep accepts", "what Prometheus gets"),
    ),
)
@filter_options
@click.option(
    "--listen",
    type=Parsed("address", parse_listen),
    default=LISTEN,
    metavar="ADDRESS:PORT",
    help=f"Where it is scraped; :9436 is any address.  [default: {LISTEN}]",
)
@interval_option("Time between two readings", 5.0)
@click.option(
    "--workers",
    type=click.Choice(["name", "slot", "pid"]),
    default="slot",
    help="What makes a series: slots are given to new workers as old ones end.  [default: slot]",
)
@click.option(
    "--max-series",
    type=click.IntRange(100),
    default=10_000,
    metavar="N",
    help="Of listeners and workers, those that were there first.  [default: 10000]",
)
@click.option(
    "--keep",
    type=seconds(0),
    default=300.0,
    metavar="TIME",
    help="Series of who is gone stay for so long.  [default: 5m]",
)
@click.option(
    "--window",
    type=seconds(1),
    default=300.0,
    metavar="TIME",
    help="Verdicts are about the last so many seconds.  [default: 5m]",
)
@click.option(
    "--web-config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TLS and passwords, in the format of Prometheus' exporters.",
)
@duration_option()
@way_options
@ready_file_option
def exporter(**values: Any) -> None:
    """Serve metrics to Prometheus, OpenTelemetry and others that scrape HTTP.

    A scrape gets the last reading at once. docs/exporter.md has the metrics, rules for alerts, and
    a dashboard.
    """
    _need("prometheus_client", "prometheus_client")
    from accepttrace.run.export.exporting import Exports

    exports = Exports(values["workers"], values["max_series"], values["keep"])
    config = Config(
        filters=take_filters(values),
        interval_s=values["interval"],
        duration_s=values["duration"],
        window_s=values["window"],
        **ways_of(values),
    )
    web = _web_config(values["web_config"])
    with _bound(values["listen"]) as listener:
        _warn_of_strangers(listener, web)
        _export(config, exports, listener, web)


def _export(config: Config, exports: Exports, listener: socket.socket, web: WebConfig) -> None:
    from accepttrace.run.export.exporting import Exporting, attached

    pace = Pace(config.interval_s, config.duration_s)  # before attaching: a signal ends it cleanly
    kept: list[TimedSubject] = []

    def screen(_: Output) -> Screen[Any]:
        return Exporting(kept, exports, listener, web)

    try:
        trace(Run(config, pace, screen=screen), lambda config: attached(config, kept))
    finally:
        pace.over()
