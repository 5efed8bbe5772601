"""The answer of `accepttrace who --udp`: UDP sockets, their groups and who holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from accepttrace.facts.datagrams import Receiver
from accepttrace.model.who.datagrams import Answer, Group, Socket
from accepttrace.views.formats import endpoint, known, place_of, plural, selector
from accepttrace.views.frame import placed
from accepttrace.views.jsonl import PROGRAM_FIELDS, dump, named
from accepttrace.views.sameplace import alone
from accepttrace.views.text import clean, flowed, shortened
from accepttrace.views.unread import objects
from accepttrace.views.who.alike import alike
from accepttrace.views.who.holders import (
    Style,
    few_ranges,
    holder_lines,
    kind_of,
    member_lines,
    members_of,
    user,
)
from accepttrace.views.who.objects import holder_object, kin_object
from accepttrace.views.who.tree import FOLD_FROM, MARGIN, namespace, versions, way_text


def text_lines(answer: Answer, asked: str, style: Style) -> Iterator[str]:
    """Lines for people. `asked` is `Filters.describe()`."""
    rows = answer.receivers.sockets
    if not rows:
        yield f"no UDP socket{placed(clean(asked))}"
        return
    several = len({row.netns for row in rows}) > 1
    for group in answer.groups:
        yield from _group_lines(group, answer, style, several)
    for sentence in alone(rows):
        yield from flowed(f"note: {sentence}".split(" "), style.width, "  ", " ")


def instead(answer: Answer, asked: str) -> str:
    """For those who asked about TCP, where nobody listens: the line above the tree."""
    place = placed(clean(asked))
    return f"no TCP listener{place}; UDP: {plural(len(answer.receivers.sockets), 'socket')}"


def json_lines(answer: Answer) -> Iterator[str]:
    """One JSON object a socket, named as `sockets[]` of `--udp`; null: only BPF could show it."""
    for group in answer.groups:
        for socket in group:
            yield dump({"type": "socket", "protocol": "udp", **_object(socket, answer)})


def _object(socket: Socket, answer: Answer) -> dict[str, object]:
    row, receivers = socket.row, answer.receivers
    fields = tuple(name for name in Receiver.__dataclass_fields__ if name != "program")
    return {
        **named(row, fields),
        "selector_program": row.program and named(row.program, PROGRAM_FIELDS),
        "way": socket.way.how,
        "way_from": socket.way.source,
        "way_strangers": list(socket.way.strangers),
        "same_file": socket.way.same_file,
        "holders": [
            {**holder_object(one), **kin_object(one, answer.around)} for one in row.holders
        ],
        "partial": receivers.partial,
        "unread": objects(receivers.unread),
    }


def _group_lines(group: Group, answer: Answer, style: Style, several: bool) -> Iterator[str]:
    row = group[0].row
    where = namespace(row.netns, answer.around, several)
    place = (shortened(place_of(row), style.width), where, *_peer(row), *versions(row))
    if len(group) == 1:
        parts = (*place, *_facts(row, answer), *_sharing(group[0], answer))
        yield from flowed(parts, style.width, MARGIN)
        yield from holder_lines(row.holders, answer.around, style)
        return
    yield from flowed((*place, *_of_group(row, len(group))), style.width, MARGIN)
    for some in _folded(group, answer, style):
        yield from _socket_lines(some, row.group_size or len(group), answer, style)


def _peer(row: Receiver) -> Iterator[str]:
    if row.remote_address is not None:
        peer = endpoint(row.remote_address, row.remote_port, row.family, row.inode)
        yield f"connected to {peer}"


def _facts(row: Receiver, answer: Answer) -> Iterator[str]:
    yield f"inode {row.inode}"
    yield f"queue {known(row.queue_bytes)} bytes"
    yield from _of_all([row], answer)


def _of_all(rows: Sequence[Receiver], answer: Answer) -> Iterator[str]:
    drops = [row.drops for row in rows if row.drops is not None]
    if len(drops) < len(rows):
        yield "drops n/a"
    elif any(drops):
        yield plural(sum(drops), "drop")
    first, *_ = rows
    yield f"owner {user(first.uid, answer.around)}"


def _of_group(row: Receiver, listed: int) -> Iterator[str]:
    size = row.group_size or listed
    by = f" by {selector(row.selector, row.program)}" if row.selector else ""
    yield f"{plural(size, 'reuseport socket')} of group {row.group}{by}"
    if size != listed:
        yield f"{listed} shown"


def _sharing(socket: Socket, answer: Answer) -> Iterator[str]:
    """Of a socket that is alone."""
    row, count = socket.row, len(socket.row.holders)
    if row.group is not None:
        by = f" by {selector(row.selector, row.program)}" if row.selector else ""
        yield f"one of {known(row.group_size)} reuseport sockets{by}"
    elif row.queue is None:
        yield "group: n/a without BPF"
    if count > 1:
        yield f"shared by {count} processes"
    elif count:
        partial = answer.receivers.partial
        yield "one process, as far as can be seen" if partial else "one process"
    yield from _way(socket)


def _way(socket: Socket) -> Iterator[str]:
    row = socket.row
    return way_text(socket.way, row.holders, "VXLAN, WireGuard" if row.in_kernel else "")


def _folded(group: Group, answer: Answer, style: Style) -> list[list[Socket]]:
    """Sockets of which the same is to be said, together if they are many."""
    parts: list[list[Socket]] = []
    for some in alike(group, lambda socket: _likeness(socket, answer)):
        fold = len(some) >= FOLD_FROM and not style.full
        parts += [some] if fold else [[one] for one in some]
    return parts


def _likeness(socket: Socket, answer: Answer) -> object:
    row, way = socket.row, socket.way
    kinds = Counter((kind_of(one, answer.around), one.waits) for one in row.holders)
    peer = (row.remote_address, row.remote_port)
    shared = (way.how, way.source, way.same_file)
    return (peer, bool(row.drops), row.in_kernel, frozenset(kinds.items()), shared)


def _socket_lines(some: Sequence[Socket], size: int, answer: Answer, style: Style) -> Iterator[str]:
    """Of members of a group that are alike, or of one."""
    first, *others = some
    row, rows = first.row, [one.row for one in some]
    head = f"  {few_ranges(one.rank for one in some)} of {size}"
    way = _way(first)
    if not others:
        parts = (head, *_peer(row), *_facts(row, answer), *way)
        yield from flowed(parts, style.width, MARGIN + "  ")
        yield from holder_lines(row.holders, answer.around, style, MARGIN)
        return
    inodes, queues = few_ranges(row.inode for row in rows), sum(row.queue_bytes for row in rows)
    facts = (f"inodes {inodes}", f"queues {queues:,} bytes", *_of_all(rows, answer))
    yield from flowed((head, *_peer(row), *facts, *way), style.width, MARGIN + "  ")
    members = members_of(holder for row in rows for holder in row.holders)
    yield from member_lines(members, len(some), answer.around, style, MARGIN)
