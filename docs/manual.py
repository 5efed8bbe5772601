"""The manual pages, of what `--help` says: python docs/manual.py FOLDER

A page a command: accepttrace.1, accepttrace-who.1 and so on, with the same headings, options and
examples, as roff with the macros of man(7).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import cleandoc
from pathlib import Path
from typing import Final

import click

from accepttrace import __version__
from accepttrace.cli import cli
from accepttrace.cli.help import HELP_OPTIONS

PROGRAM: Final = "accepttrace"
STATUSES: Final = (
    ("0", "Fine."),
    ("1", "It failed while running."),
    ("2", "Usage."),
    ("77", "This kernel or these privileges cannot do it."),
)


class Roff(click.HelpFormatter):
    """Takes what click writes as help, and keeps it as roff."""

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self.write(f".SH {escaped(name).upper()}\n")
        as_they_stand = name == "Examples"
        self.write(".nf\n" if as_they_stand else "")
        yield
        self.write(".fi\n" if as_they_stand else "")

    def write_dl(
        self,
        rows: Iterable[tuple[str, str]],
        col_max: int = 30,  # noqa: ARG002
        col_spacing: int = 2,  # noqa: ARG002
    ) -> None:
        for term, text in rows:
            self.write(f".TP\n.B {escaped(term)}\n{escaped(text)}\n")

    def write_text(self, text: str) -> None:
        self.write("".join(f".PP\n{escaped(part)}\n" for part in re.split(r"\n\s*\n", text)))


def pages() -> dict[str, str]:
    """File name → text, of each command."""
    top = click.Context(cli, info_name=PROGRAM, help_option_names=HELP_OPTIONS)
    found = {f"{PROGRAM}.1": _page(cli, top, _others(top))}
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=top, **command.context_settings)
        found[f"{PROGRAM}-{name}.1"] = _page(command, inner, [f"{PROGRAM}(1)"])
    return found


def _page(command: click.Command, ctx: click.Context, others: Sequence[str]) -> str:
    name = ctx.command_path.replace(" ", "-")
    text = cleandoc(command.help or "")
    out = Roff()
    out.write(
        f'.TH {escaped(name).upper()} 1 "" "{PROGRAM} {__version__}" "User Commands"\n.ad l\n.nh\n'
    )
    with out.section("Name"):
        out.write(f"{escaped(name)} \\- {escaped(_first(text))}\n")
    with out.section("Synopsis"):
        pieces = " ".join(command.collect_usage_pieces(ctx))
        out.write(f".B {escaped(ctx.command_path)}\n{escaped(pieces)}\n")
    with out.section("Description"):
        out.write_text(text)
    command.format_options(ctx, out)
    command.format_epilog(ctx, out)
    with out.section("Exit status"):
        out.write_dl(STATUSES)
    with out.section("See also"):
        out.write(f"{escaped(', '.join([*others, 'ss(8)', 'bpf(2)']))}\n")
    return out.getvalue()


def _first(text: str) -> str:
    """The first sentence, as apropos shows it."""
    return " ".join(text.partition("\n\n")[0].split()).rstrip(".")


def _others(top: click.Context) -> list[str]:
    return [f"{PROGRAM}-{name}(1)" for name in cli.list_commands(top)]


def escaped(text: str) -> str:
    """As roff takes it: nothing of it is a request or an escape."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    safe = "\n".join(line for line in lines if line).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", safe, flags=re.MULTILINE)


def main(folder: Path) -> None:
    """Writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
