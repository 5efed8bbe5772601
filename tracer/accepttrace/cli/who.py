"""`accepttrace who`: who shares a port, and how. Needs no BPF; root sees all processes."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click

from accepttrace.cli.help import Command
from accepttrace.cli.options import filter_options, take_filters
from accepttrace.cli.whoasks import answered, question_options
from accepttrace.errors import AcceptTraceError

if TYPE_CHECKING:
    from accepttrace.config import Filters
    from accepttrace.facts.datagrams import Receivers
    from accepttrace.facts.records import Unread
    from accepttrace.model.who.tree import Answer
    from accepttrace.sockets.diag.tcp import AskFacts
    from accepttrace.sockets.receivers import Queues
    from accepttrace.views.who.holders import Style

LOOKS: Final = 3  # a busy worker shows what it waits in only when it is caught asleep
APART_S: Final = 0.05
NARROWEST: Final = 40  # cells of a line


@click.command(
    "who",
    cls=Command,
    short_help="Who shares a port, and how (no BPF needed).",
    examples=(
        ("sudo accepttrace who 80", "every socket on port 80, and every process that holds it"),
        ("accepttrace who --comm nginx", "what nginx listens on; root sees all processes"),
        ("sudo accepttrace who --udp 443", "who has UDP sockets for QUIC"),
        ("sudo accepttrace who --to 127.0.0.1:80", "which socket gets a connection to there"),
        ("sudo accepttrace who --why 80 --reuseport", "whether one could bind it, and what helps"),
    ),
)
@filter_options
@question_options
@click.option("--full", is_flag=True, help="Every socket and holder on a line of its own.")
@click.option("--udp", is_flag=True, help="UDP sockets instead. Their groups need BPF.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    show_default=True,
    help="Lines for people, or one JSON object a listener.",
)
def who(output: str, full: bool, udp: bool, **values: Any) -> None:
    """Who shares a port, and how: every listening socket, and every process that holds it.

    Needs no privileges, but only root sees the processes of all users, and what BPF alone shows:
    groups, options, the oldest waiting. The exit status is 0 also where nothing was found.

    --to asks who gets a connection (status 0; 4: nobody; 3: a BPF program decides), --why whether a
    port can be bound (0; 4: refused; 3: not known).
    """
    filters = take_filters(values)
    answered(values, filters, udp, output, _style(full).width, _look)
    (_udp if udp else _tcp)(filters, output, full)


def _tcp(filters: Filters, output: str, full: bool) -> None:
    answer = _look(filters)
    if output == "jsonl":
        from accepttrace.views.who.objects import json_lines

        _print(json_lines(answer))
    else:
        from accepttrace.views.who.tree import text_lines

        _print(text_lines(answer, filters.describe(), _style(full)))
        if not answer.groups:
            from accepttrace.views.whoudp import hint

            _print(filter(None, [hint(_look_udp(filters))]))
    _complain(answer.inventory.unread)


def _style(full: bool) -> Style:
    """As wide as the terminal or COLUMNS; into a pipe 80 cells."""
    from accepttrace.views.who.holders import Style

    return Style(max(shutil.get_terminal_size().columns, NARROWEST), full)


def _udp(filters: Filters, output: str, full: bool) -> None:
    from accepttrace.views import whoudp as view

    receivers = _look_udp(filters)
    if output == "jsonl":
        _print(view.json_lines(receivers))
    else:
        _print(view.text_lines(receivers, filters.describe(), _style(full)))
    _complain(receivers.unread)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line, file=sys.stdout)


def _complain(unread: Sequence[Unread]) -> None:
    from accepttrace.facts.records import is_partial

    if is_partial(unread):
        from accepttrace.views.who.notes import partial_line

        click.echo(partial_line(unread, os.geteuid() == 0), file=sys.stderr)


def _look(filters: Filters) -> Answer:
    from accepttrace.model.who.tree import answer
    from accepttrace.run.subject import utc_now
    from accepttrace.sockets.holding import open_iterator
    from accepttrace.sockets.inventory import InventoryReader, held_by

    with ExitStack() as stack:
        ask_facts, blind = _facts(stack)
        reader = InventoryReader(filters, open_iterator(), ask_facts=ask_facts)
        stack.callback(reader.close)
        inventory = held_by(reader.read(full=True), filters)
        for _ in range(LOOKS - 1):
            if all(one.waits is not None for row in inventory.listeners for one in row.holders):
                break
            time.sleep(APART_S)
            inventory = held_by(reader.read(), filters)
        return answer(inventory, reader.surroundings(inventory), blind, utc_now())


def _facts(stack: ExitStack) -> tuple[AskFacts | None, str]:
    """What reads by BPF what no system call shows; None, and why it may not be used."""
    from accepttrace.probe.listing import ListenerIterator

    try:
        iterator = ListenerIterator()
    except AcceptTraceError as error:
        return None, error.message
    except OSError as error:
        return None, error.strerror or str(error)
    stack.callback(iterator.close)
    return iterator.read, ""


def _look_udp(filters: Filters) -> Receivers:
    from accepttrace.sockets.holding import open_iterator
    from accepttrace.sockets.receivers import ReceiverReader

    with ExitStack() as stack:
        reader = ReceiverReader(filters, _groups(stack), open_iterator("udp"))
        stack.callback(reader.close)
        return reader.read(full=True)


def _groups(stack: ExitStack) -> Queues:
    """What reads the groups of sockets: BPF without a hook. Nothing, where it may not be used."""
    from accepttrace.config import Config
    from accepttrace.probe.udp import open_udp

    try:
        session = open_udp(Config(udp=True, attach="tracepoint", loader="libbpf"))
    except (AcceptTraceError, OSError):
        return tuple
    stack.callback(session.close)
    return session.queues
