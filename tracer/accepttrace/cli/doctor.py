"""`accepttrace doctor`: what this kernel and these privileges offer."""

from __future__ import annotations

import shutil
import sys
from typing import Literal

import click

from accepttrace.cli.help import Command
from accepttrace.cli.options import verbose_option
from accepttrace.errors import EXIT_UNSUPPORTED


@click.command(
    cls=Command,
    examples=(
        ("sudo accepttrace doctor", "which attach type will be used, and why not the others"),
        ("sudo accepttrace doctor -v", "with what the loader and the verifier said"),
    ),
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="[default: table]",
)
@click.option(
    "--loader",
    type=click.Choice(["libbpf", "bcc"]),
    help="Try this one alone: bcc takes seconds.  [default: both]",
)
@verbose_option
def doctor(output: str, loader: Literal["libbpf", "bcc"] | None, verbose: bool) -> None:
    """What this kernel offers, which attach type will be used, and why not the others.

    Exit status 77 where none works.
    """
    from accepttrace.probe.diagnosis import diagnose
    from accepttrace.views import doctor as view

    diagnosis = diagnose(loader)
    width = min(shutil.get_terminal_size().columns, 100)
    as_text = output == "table"
    text = view.text(diagnosis, width, verbose) if as_text else view.as_json(diagnosis)
    click.echo(text, file=sys.stdout)
    if diagnosis.chosen is None:
        sys.exit(EXIT_UNSUPPORTED)
