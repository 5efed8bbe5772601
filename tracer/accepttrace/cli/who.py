"""`accepttrace who`: who shares a port, how, and what is wrong with it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from accepttrace.cli import whounix
from accepttrace.cli.help import Command
from accepttrace.cli.options import place_options, seconds, take_filters
from accepttrace.cli.whoasks import answered, question_options
from accepttrace.errors import AcceptTraceError

if TYPE_CHECKING:
    from accepttrace.config import Filters
    from accepttrace.facts.records import Unread
    from accepttrace.model.who.datagrams import Answer as UdpAnswer
    from accepttrace.model.who.tree import Answer
    from accepttrace.run.who import Sought, WhoReader
    from accepttrace.sockets.receivers import Queues
    from accepttrace.views.who.holders import Style

NARROWEST: Final = 40  # cells of a line
CLEAR: Final = "\033[H\033[J"  # to the upper left corner, and nothing below


@click.command(
    "who",
    cls=Command,
    short_help="Who shares a port, how, and what is wrong with it.",
    examples=(
        ("sudo accepttrace who 80", "every socket on port 80, and every process that holds it"),
        ("accepttrace who --comm nginx", "what nginx listens on; root sees all processes"),
        ("sudo accepttrace who 80 --watch", "the same, every two seconds"),
        ("sudo accepttrace who /run/app.sock @name", "who listens on UNIX sockets; --unix: on all"),
        ("sudo accepttrace who --udp 443", "who has UDP sockets for QUIC"),
        ("sudo accepttrace who --to 127.0.0.1:80", "which socket gets a connection to there"),
        ("sudo accepttrace who --why 80 --reuseport", "whether one could bind it, and what helps"),
        ("sudo accepttrace who --why /run/app.sock", "the same of a UNIX socket: is it left over?"),
    ),
)
@place_options
@question_options
@click.option("--full", is_flag=True, help="Every socket and holder on a line of its own.")
@click.option("--watch", is_flag=True, help="A picture at each interval, until Ctrl-C.")
@click.option(
    "-i",
    "--interval",
    type=seconds(0.1, 86400),
    default=2.0,
    metavar="TIME",
    help="With --watch: time between two pictures.  [default: 2s]",
)
@click.option("--unix", is_flag=True, help="UNIX sockets instead: all, or by PATH or @NAME.")
@click.option("--udp", is_flag=True, help="UDP sockets instead. Their groups need BPF.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "jsonl"]),
    default="table",
    show_default=True,
    help="Lines for people, or one JSON object a listener.",
)
def who(output: str, full: bool, watch: bool, interval: float, udp: bool, **values: Any) -> None:
    """Who shares a port, and how: every listening socket, and every process that holds it.

    A PATH (with a / in it) or @NAME is that of a UNIX socket. --pid, --comm and --cgroup, without a
    port, address or version of IP, list the UNIX sockets of these processes, too.

    Needs no privileges, but only root sees the processes of all users, and what BPF alone shows:
    groups, options, the oldest waiting. The exit status is 0 also where nothing was found.

    --to asks who gets a connection (status 0; 4: nobody; 3: a BPF program decides), --why whether a
    port can be bound (0; 4: refused; 3: not known).
    """
    if udp and watch:
        raise click.UsageError("--watch applies to TCP only")
    if watch and (values["to"] is not None or values["why"] is not None):
        raise click.UsageError("--to and --why are answered once: leave --watch away")
    names = whounix.take_names(values)
    filters = take_filters(values)
    whounix.check(names, filters, values, udp)
    answered(values, filters, udp, output, _style(full).width, _look)
    if udp:
        _udp(filters, output, full)
        return
    sought = whounix.sought(names, filters)._replace(watched=watch)
    asked = whounix.described(names, filters)
    show = partial(_show, filters if sought.tcp else None, asked, output, full)
    with _open(filters, sought) as reader:
        if watch:
            _watch(reader, interval, partial(_picture, asked, output, show))
        else:
            show(reader.look())


def _look(filters: Filters) -> Answer:
    with _open(filters) as reader:
        return reader.look()


def _open(filters: Filters, *sought: Sought) -> WhoReader:
    from accepttrace.run.who import WhoReader

    return WhoReader(filters, *sought)


def _watch(reader: WhoReader, interval_s: float, show: Callable[[Answer], None]) -> None:
    """Until a signal asks to end. On a terminal each picture takes the place of the last."""
    from accepttrace.run.pace import Pace
    from accepttrace.run.run import collect_seldom

    collect_seldom()
    pace = Pace(interval_s, None)
    show(reader.look())
    for _ in pace.ticks(lambda: None):
        show(reader.look())


def _picture(asked: str, output: str, show: Callable[[Answer], None], answer: Answer) -> None:
    if output == "table":
        from accepttrace.views.text import clean

        anew = CLEAR if sys.stdout.isatty() else ""
        click.echo(f"{anew}{answer.time}  {clean(asked) or 'all listeners'}")
    show(answer)
    sys.stdout.flush()


def _show(udp: Filters | None, asked: str, output: str, full: bool, answer: Answer) -> None:
    """`udp`: where nothing is found, look for UDP sockets by these filters."""
    if output == "jsonl":
        from accepttrace.views.who.objects import json_lines

        _print(json_lines(answer))
    else:
        from accepttrace.views.who.tree import text_lines

        found = _look_udp(udp) if udp and not answer.groups else None
        if found is None or not found.groups:
            _print(text_lines(answer, asked, _style(full)))
        else:
            from accepttrace.views.who import udp as view

            _print([view.instead(found, asked)])
            _print(view.text_lines(found, asked, _style(full)))
    _complain(answer.inventory.unread)


def _style(full: bool) -> Style:
    """As wide as the terminal or COLUMNS; into a pipe 80 cells."""
    from accepttrace.views.who.holders import Style

    return Style(max(shutil.get_terminal_size().columns, NARROWEST), full)


def _udp(filters: Filters, output: str, full: bool) -> None:
    from accepttrace.views.who import udp as view

    found = _look_udp(filters)
    if output == "jsonl":
        _print(view.json_lines(found))
    else:
        _print(view.text_lines(found, filters.describe(), _style(full)))
    _complain(found.receivers.unread)


def _print(lines: Iterable[str]) -> None:
    found = list(lines)
    if found:  # at once: there may be thousands
        click.echo("\n".join(found), file=sys.stdout)


def _complain(unread: Sequence[Unread]) -> None:
    from accepttrace.facts.records import is_partial

    if is_partial(unread):
        from accepttrace.views.unread import sentence

        click.echo(sentence(unread), file=sys.stderr)


def _look_udp(filters: Filters) -> UdpAnswer:
    from accepttrace.model.who.datagrams import answer
    from accepttrace.sockets.holding import open_iterator
    from accepttrace.sockets.receivers import ReceiverReader

    with ExitStack() as stack:
        reader = ReceiverReader(filters, _groups(stack), open_iterator("udp"))
        stack.callback(reader.close)
        found = reader.read(full=True)
        return answer(found, reader.surroundings(found))


def _groups(stack: ExitStack) -> Queues:
    """What reads the groups of sockets: BPF without a hook. Nothing, where it may not be used."""
    from accepttrace.probe.listing import ReceiverIterator

    try:
        iterator = ReceiverIterator()
    except (AcceptTraceError, OSError):
        return tuple
    stack.callback(iterator.close)
    return iterator.read
