"""`--help`: options under headings, then examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import click

Example = tuple[str, str]  # a command line, and what it is for

# By parameter. What is not named stands last, under the usual heading.
_SECTIONS: Final = (
    (
        "What to trace",
        "ports pids comms addresses cgroups units containers pods netns ipv4 ipv6 unix udp peer"
        " slower_than sample failed lost",
    ),
    (
        "Conditions",
        "fair max_share max_ratio min_workers max_wait max_queue no_loss expect max_open_ratio"
        " min_local pattern",
    ),
    ("Who gets a connection", "to client"),
    ("Whether a port or name can be bound", "why reuseport reuseaddr v6only freebind uid device"),
    ("How long", "watch interval duration count once early recording"),
    ("What to show", "by sort window columns rows histogram patterns plain full output timestamps"),
    ("How to trace", "attach loader detail ready_file verbose"),
)
_REST: Final = "Options"
HELP_OPTIONS: Final = ["-h", "--help"]
_HEADINGS: Final = {name: title for title, names in _SECTIONS for name in names.split()}


class Command(click.Command):
    """A command with its options under headings and `examples` below them, in `--help`."""

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        # Its own, as click keeps the option that it made first, with a context above or without.
        self.context_settings.setdefault("help_option_names", HELP_OPTIONS)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Under the headings, in their order."""
        found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for param in self.get_params(ctx):
            # Arguments have a record from click 8.5 on; the first line of usage has them already.
            is_option = isinstance(param, click.Option)
            record = param.get_help_record(ctx) if is_option else None
            if record is not None:
                found[_HEADINGS.get(param.name or "", _REST)].append(record)
        for title in (*(title for title, _ in _SECTIONS), _REST):
            if found[title]:
                with formatter.section(title):
                    formatter.write_dl(found[title])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The examples, as they stand."""
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[Example]) -> None:
    """A line for what it is for, below it the command: no line of it is broken."""
    if not examples:
        return
    with formatter.section("Examples"):
        for line, what in examples:
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")
            formatter.write(f"{'':{formatter.current_indent}}    {what}\n")
