"""`accepttrace who`: who shares a port, and how. Needs no BPF; root sees all processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from accepttrace.cli.options import filter_options, take_filters

if TYPE_CHECKING:
    from accepttrace.config import Filters
    from accepttrace.model.records import Inventory

LOOKS: Final = 3  # a busy worker shows what it waits in only when it is caught asleep


@click.command("who", short_help="Who shares a port, and how (no BPF needed).")
@filter_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    show_default=True,
    help="Lines for people, or one JSON object a listener.",
)
def who(output: str, **values: Any) -> None:
    """Who shares a port, and how: every listening socket, and every process that holds it.

    Needs no BPF and no privileges, but only root sees the processes of all users. An answer of
    "nobody" is an answer: exit status 0.
    """
    from accepttrace.views import who as view

    filters = take_filters(values)
    inventory = _look(filters)
    if output == "jsonl":
        for line in view.json_lines(inventory):
            click.echo(line)
    else:
        for line in view.text_lines(inventory, filters.describe()):
            click.echo(line)
    if inventory.partial:
        click.echo(view.partial_line(inventory.unread, os.geteuid() == 0), err=True)


def _look(filters: Filters) -> Inventory:
    from accepttrace.sockets.holding import open_iterator
    from accepttrace.sockets.inventory import InventoryReader, held_by

    reader = InventoryReader(filters, open_iterator())
    inventory = held_by(reader.read(full=True), filters)
    for _ in range(LOOKS - 1):
        if all(holder.waits is not None for row in inventory.listeners for holder in row.holders):
            break
        inventory = held_by(reader.read(), filters)
    return inventory
