"""`accepttrace explain`: what a word on the screen means, and what people do about it."""

from __future__ import annotations

import shutil
import sys
from typing import Final

import click

from accepttrace.cli.help import Command
from accepttrace.errors import UsageError

NARROW: Final = 40  # in less there is no room beside the words


@click.command(
    cls=Command,
    short_help="What a verdict, loss or column means.",
    examples=(
        ("accepttrace explain UNEVEN", "why it happens, and what people do about it"),
        ("accepttrace explain round robin", "case, spaces and dashes do not matter"),
    ),
)
@click.argument("word", nargs=-1)
def explain(word: tuple[str, ...]) -> None:
    """What a verdict, pattern, loss or column means, why it happens, what people do about it.

    Without WORD: a list of all.
    """
    from accepttrace.views import explain as view

    width = min(max(shutil.get_terminal_size().columns, NARROW), view.WIDTH)
    asked = " ".join(word).strip()
    click.echo(_of(asked, width) if asked else view.listing(width), file=sys.stdout)


def _of(asked: str, width: int) -> str:
    from accepttrace.views.explain import text
    from accepttrace.views.explanations import find, near

    found = find(asked)
    if not found:
        like = near(asked)
        hint = f"one of these: {', '.join(like)}; or " if like else ""
        raise UsageError(f"no word {asked!r} is known", f"{hint}`accepttrace explain` for all")
    return text(found, width)
