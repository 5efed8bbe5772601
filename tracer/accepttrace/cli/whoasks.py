"""The two questions of `accepttrace who`: `--to` and `--why`, their options and their answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from accepttrace.cli.options import Parsed, with_options
from accepttrace.cli.whoto import Place, parse_client, parse_place
from accepttrace.cli.whowhy import parse_uid, parse_why
from accepttrace.config import Filters
from accepttrace.errors import UsageError

if TYPE_CHECKING:
    from accepttrace.model.who.tree import Answer


class Form(NamedTuple):
    """How the answer is printed."""

    for_programs: bool  # JSON Lines
    width: int


Look = Callable[[Filters], "Answer"]

QUESTIONS: Final = (
    click.option("--to", type=Parsed("place", parse_place), metavar="[ADDRESS:]PORT",
                 help="Which socket gets a connection to there, and why no other does."),
    click.option("--from", "client", type=Parsed("place", parse_client), metavar="ADDRESS[:PORT]",
                 help="With --to: the connection comes from there."),
    click.option("--why", type=Parsed("port", parse_why), metavar="PORT|PATH|@NAME",
                 help="Whether it can be bound, who is in the way, and what would help."),
    click.option("--reuseport", is_flag=True, help="With --why: SO_REUSEPORT is set."),
    click.option("--reuseaddr", is_flag=True, help="With --why: SO_REUSEADDR is set."),
    click.option("--v6only", is_flag=True, help="With --why: IPV6_V6ONLY is set."),
    click.option("--freebind", is_flag=True, help="With --why: IP_FREEBIND is set."),
    click.option("--uid", type=Parsed("user", parse_uid), metavar="USER",
                 help="With --why: bind as this user.  [default: who runs this]"),
    click.option("--device", metavar="NAME",
                 help="With --to: it arrives on this device. With --why: bind to it."),
)  # fmt: skip
# Which of the options belong to which question.
TO: Final = ("client", "device")
OPTIONS: Final = ("reuseport", "reuseaddr", "v6only", "freebind")
WHY: Final = (*OPTIONS, "uid", "device")


def question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `who` the options of both questions."""
    return with_options(command, QUESTIONS)


def answered(
    values: dict[str, Any], filters: Filters, udp: bool, output: str, width: int, look: Look
) -> None:
    """Take the options out of `values`. If they ask something, print the answer and end with it.

    `look` takes the inventory. `width`: of lines for people.
    """
    asked = {name: values.pop(name) for name in ("to", "why", *dict.fromkeys(TO + WHY))}
    to, why = asked["to"], asked["why"]
    _check(asked, to, why, udp)
    form = Form(output == "jsonl", width)
    if to is not None:
        raise SystemExit(_to(to, asked, filters, look, form))
    if why is not None:
        raise SystemExit(_why(why, asked, filters, form))


def _check(asked: dict[str, Any], to: Place | None, why: int | str | None, udp: bool) -> None:
    if to is not None and why is not None:
        raise UsageError("--to and --why are two questions", "ask one after the other")
    if udp and (to is not None or why is not None):
        raise UsageError("--to and --why are about TCP", "leave --udp away")
    used = {name for name in TO + WHY if not (asked[name] is None or asked[name] is False)}
    allowed = TO if to is not None else WHY if why is not None else ()
    for name in sorted(used.difference(allowed)):
        option = "--from" if name == "client" else f"--{name}"
        needs = [question for question, its in (("--to", TO), ("--why", WHY)) if name in its]
        raise UsageError(f"{option} belongs to {' or '.join(needs)}", "give that too")


def _print(lines: Iterable[str], form: Form) -> None:
    from accepttrace.views.text import wrapped

    for line in lines:
        for part in [line] if form.for_programs else wrapped(line, form.width):
            click.echo(part, file=sys.stdout)


def _to(to: Place, asked: dict[str, Any], filters: Filters, look: Look, form: Form) -> int:
    from accepttrace.cli import whoto
    from accepttrace.views.who import to as view

    client = asked["client"]
    whoto.check(to, client, filters)
    inventory = look(whoto.target_filters(to)).inventory
    answers, found = whoto.lookup(to, client, asked["device"], filters, inventory)
    show = view.json_lines if form.for_programs else view.text_lines
    _print(show(answers, found), form)
    return whoto.status(answers, found)


def _why(port: int | str, asked: dict[str, Any], filters: Filters, form: Form) -> int:
    from accepttrace.cli import whowhy
    from accepttrace.views.who import why as view

    if isinstance(port, str):
        return _why_name(port, asked, filters, form)
    options = {name: asked[name] for name in OPTIONS}
    wish = whowhy.wish_of(port, filters, asked["device"], asked["uid"], options)
    finding = whowhy.explain(wish, filters)
    _print([view.json_line(finding)] if form.for_programs else view.text_lines(finding), form)
    return whowhy.STATUS[finding.result]


def _why_name(name: str, asked: dict[str, Any], filters: Filters, form: Form) -> int:
    from accepttrace.cli import whowhy
    from accepttrace.views.who import whyname as view

    given = next((one for one in (*OPTIONS, "device") if asked[one]), None)
    if given:
        raise UsageError(f"--{given} means nothing to UNIX sockets", "leave it away")
    found = whowhy.explain_name(name, asked["uid"], filters)
    _print([view.json_line(found)] if form.for_programs else view.text_lines(found), form)
    return whowhy.STATUS[view.result(found)]
