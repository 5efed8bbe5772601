"""Connections by process in the tree: what holders have open, and who serves without a listener."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import Serving
from accepttrace.model.who.programs import without_numbers
from accepttrace.model.who.serving import open_of, port_of
from accepttrace.model.who.tree import Answer, Group
from accepttrace.views.formats import plural
from accepttrace.views.who.alike import alike
from accepttrace.views.who.holders import (
    FOLD_FROM,
    SHOWN,
    UNSEEN,
    Open,
    Row,
    Style,
    aligned,
    row_of,
)

WORD: Final = "serves"


def opened(group: Group, answer: Answer) -> Open:
    """What the holders of a group have open; where its port has several groups, of all of them."""
    inventory = answer.inventory
    if inventory.opened is None or port_of(group.first) is None:
        return UNSEEN
    holders = {one.pid: one for socket in group.sockets for one in socket.row.holders}
    numbers = {pid: open_of(one, group.first, inventory) for pid, one in holders.items()}
    return Open(numbers, _where(group, answer))


def serving_lines(group: Group, answer: Answer, style: Style) -> Iterator[str]:
    """Below the last group of a port: a line for each, or for many alike."""
    where = port_of(group.first) if answer.serving else None
    found = answer.serving.get(where, ()) if where else ()
    if where is None or not found or answer.at_port[where][-1] is not group:
        return
    some = [[one] for one in found] if style.full else _folded(found, answer.around)
    shown = len(some) if style.full else SHOWN
    named = _where(group, answer)
    rows = [_row(those, named, answer.around) for those in some[:shown]]
    yield from aligned(rows, style.width, "  ")
    rest = [one for those in some[shown:] for one in those]
    if rest:
        number = sum(one.connections for one in rest)
        yield f"  {WORD}  {plural(len(rest), 'more process')}  open {number:,}{named}"


def _row(some: Sequence[Serving], where: str, around: Surroundings) -> Row:
    number = sum(one.connections for one in some)
    return row_of(WORD, [one.process for one in some], [f"open {number:,}{where}"], around)


def _folded(found: Sequence[Serving], around: Surroundings) -> list[list[Serving]]:
    parts: list[list[Serving]] = []
    for some in alike(found, lambda one: _kind(one, around)):
        parts += [some] if len(some) >= FOLD_FROM else [[one] for one in some]
    return parts


def _kind(one: Serving, around: Surroundings) -> object:
    """By program, user and parent: a title may name the client."""
    kin = around.kin.get(one.process.pid)
    own = (kin.uid, kin.parent) if kin else None
    return (without_numbers(one.process.comm), own)


def _where(group: Group, answer: Answer) -> str:
    """Named where the port has more groups than this one."""
    where = port_of(group.first)
    return f" on :{where.port}" if where and len(answer.at_port[where]) > 1 else ""
