"""`accepttrace diff`: two recordings side by side."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final, Literal

import click

from accepttrace.cli.extras import need_msgspec
from accepttrace.cli.help import Command
from accepttrace.run.output import standard_output
from accepttrace.run.pace import Pace

_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command(
    cls=Command,
    examples=(
        ("accepttrace diff before.gz after.gz", "did the change help?"),
        ("accepttrace diff before.gz after.gz -o json | jq .places", "for programs"),
    ),
)
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    help="[default: text]",
)
def diff(before: Path, after: Path, output: Literal["text", "json"]) -> None:
    """What is different in two runs that `accepttrace record` wrote, and whether by chance.

    A difference is beyond chance where the ranges in which chance leaves the two do not meet, each
    in 995 of 1,000 runs, for connections that come independently of each other.
    """
    need_msgspec()
    from accepttrace.model.comparison import compare
    from accepttrace.run.replay import Recording, say_if_cut, whole
    from accepttrace.views import comparison

    pace = Pace(1.0, None)
    try:
        recordings = Recording(before), Recording(after)
        subjects = whole(recordings[0]), whole(recordings[1])
        for subject in subjects:
            deque(subject.pictures(), maxlen=0)  # to the end
        runs = subjects[0].summary(), subjects[1].summary()
        write = comparison.text if output == "text" else comparison.json_line
        out = standard_output(pace)
        out.write(write(compare(*runs), (str(before), str(after)), runs))
        out.finish()
    finally:
        pace.over()
    for each in recordings:
        say_if_cut(each)
