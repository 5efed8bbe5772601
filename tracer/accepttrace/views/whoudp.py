"""The answer of `accepttrace who --udp`: UDP sockets, their groups and who holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from accepttrace.facts.datagrams import Receiver, Receivers
from accepttrace.facts.kin import Surroundings
from accepttrace.views.formats import endpoint, known, place_of, plural, selector
from accepttrace.views.jsonl import PROGRAM_FIELDS, dump, named
from accepttrace.views.sameplace import alone
from accepttrace.views.text import clean
from accepttrace.views.unread import objects
from accepttrace.views.who.holders import Style, holder_lines
from accepttrace.views.who.objects import holder_object


def text_lines(receivers: Receivers, asked: str, style: Style) -> Iterator[str]:
    """Lines for people. `asked` is `Filters.describe()`."""
    rows = _ordered(receivers.sockets)
    if not rows:
        yield f"no UDP socket{' on ' + clean(asked) if asked else ''}"
        return
    several = len({row.netns for row in rows}) > 1
    rank: Counter[int | None] = Counter()
    for row in rows:
        rank[row.group] += 1
        yield _line(row, rank[row.group], several)
        yield from holder_lines(row.holders, Surroundings(), style)
    yield from (f"note: {sentence}" for sentence in alone(rows))


def hint(receivers: Receivers) -> str:
    """For those who asked about TCP, and got no answer."""
    number = len(receivers.sockets)
    there = f"there {'is' if number == 1 else 'are'} {plural(number, 'UDP socket')}"
    return f"{there}: `accepttrace who --udp` shows who has it" if number else ""


def json_lines(receivers: Receivers) -> Iterator[str]:
    """One JSON object a socket, named as `sockets[]` of `--udp`; null: only BPF could show it."""
    for row in _ordered(receivers.sockets):
        fields = tuple(name for name in Receiver.__dataclass_fields__ if name != "program")
        yield dump(
            {
                "type": "socket",
                "protocol": "udp",
                **named(row, fields),
                "selector_program": row.program and named(row.program, PROGRAM_FIELDS),
                "holders": [holder_object(holder) for holder in row.holders],
                "partial": receivers.partial,
                "unread": objects(receivers.unread),
            }
        )


def _ordered(rows: Sequence[Receiver]) -> list[Receiver]:
    return sorted(rows, key=lambda row: (row.local_port, row.netns, row.family, row.inode))


def _line(row: Receiver, rank: int, several: bool) -> str:
    place = place_of(row)
    parts = [place, f"inode {row.inode}"]
    if several:
        parts.append(f"netns {row.netns}")
    if row.remote_address is not None:
        peer = endpoint(row.remote_address, row.remote_port, row.family, row.inode)
        parts.append(f"connected to {peer}")
    if row.local_address == "::" and row.v6only is False:
        parts.append("IPv4 too")
    return "  ".join([*parts, f"queue {known(row.queue_bytes)} bytes", _sharing(row, rank)])


def _sharing(row: Receiver, rank: int) -> str:
    count = len(row.holders)
    held = plural(count, "process") if count else "held by nobody visible"
    if row.group is not None:
        by = f" by {selector(row.selector, row.program)}" if row.selector else ""
        return f"reuseport {rank} of {known(row.group_size)}{by}, {held}"
    group = "group: n/a without BPF" if row.queue is None else "in no group"
    return f"{group}, {held}"
