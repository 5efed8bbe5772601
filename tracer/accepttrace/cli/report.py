"""`accepttrace report`: a recording on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from accepttrace.cli.extras import need, need_msgspec
from accepttrace.cli.help import Command
from accepttrace.cli.options import Parsed

FORMS: Final = (".html", ".svg", ".json")


def parse_target(text: str) -> Path:
    """A file by whose suffix the form is known. ValueError if it is none."""
    path = Path(text)
    if path.suffix not in FORMS:
        raise ValueError(f"{text!r} ends in none of {', '.join(FORMS)}")
    return path


@click.command(
    cls=Command,
    examples=(
        ("accepttrace report run.gz -o report.html", "one page, to look at and to send"),
        ("accepttrace report run.gz -o report.svg", "the charts alone"),
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=Parsed("file", parse_target),
    metavar="FILE",
    help="Where to: its suffix (.html, .svg, .json) says in which form.",
)
def report(file: Path, output: Path) -> None:
    """Draw what `accepttrace record` wrote to FILE: verdict, shares over time, waits, queues.

    The page needs no network: the JavaScript that draws it is in it.
    """
    need_msgspec()
    if output.suffix != ".json":
        without = "; -o FILE.json does without"
        need("reports need", "vl_convert", "vl-convert-python", "report", without)
    from accepttrace.run.replay import Recording, say_if_cut
    from accepttrace.run.report import write_report

    recording = Recording(file)
    write_report(recording, output)
    say_if_cut(recording)
