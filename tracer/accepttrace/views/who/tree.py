"""The tree for people: group, socket, holders. Sockets that are alike share their lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from accepttrace.facts.datagrams import Receiver
from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import Came, Holder, Listener
from accepttrace.model.who.diagnoses import diagnoses
from accepttrace.model.who.tree import Answer, Group, Socket
from accepttrace.model.who.ways import Way
from accepttrace.views.formats import duration, place_of, plural, selector
from accepttrace.views.frame import elsewhere, placed
from accepttrace.views.text import clean, flowed, shortened
from accepttrace.views.who.alike import alike
from accepttrace.views.who.diagnoses import diagnosis_lines
from accepttrace.views.who.holders import (
    Style,
    few_ranges,
    holder_lines,
    kind_of,
    member_lines,
    members_of,
    user,
)
from accepttrace.views.who.notes import notes
from accepttrace.views.who.serving import opened, serving_lines

FOLD_FROM: Final = 3  # sockets alike, together from so many on
STRANGERS: Final = 3  # that are named
MARGIN: Final = " " * 4


def text_lines(answer: Answer, asked: str, style: Style) -> Iterator[str]:
    """Lines for people. `asked` is `Filters.describe()`."""
    if not answer.groups:
        place = placed(clean(asked))
        yield f"nobody listens{place}{elsewhere(answer.inventory.unix, 'see --unix')}"
        yield from diagnosis_lines(answer.closed, style, {})
        return
    several = len(answer.namespaces) > 1
    named = {one: namespace(one, answer.around, several) for one in answer.namespaces}
    for group in answer.groups:
        yield from _group_lines(group, answer, style, several)
    yield from notes(answer, style)
    yield from diagnosis_lines(diagnoses(answer), style, named)


def namespace(netns: int, around: Surroundings, several: bool) -> str:
    """As `--netns` takes it; empty where all sockets are in the one that we are in ourselves."""
    if not several and around.netns in (None, netns):
        return ""
    return f"netns {clean(around.namespaces.get(netns, str(netns)))}"


def _group_lines(group: Group, answer: Answer, style: Style, several: bool) -> Iterator[str]:
    row = group.first
    where = namespace(row.netns, answer.around, several)
    place = (shortened(place_of(row), style.width), where, *versions(row))
    if len(group.sockets) == 1:
        (socket,) = group.sockets
        parts = (*place, *_facts(row, answer), *_shared(socket, answer))
        yield from flowed(parts, style.width, MARGIN)
        yield from holder_lines(row.holders, answer.around, style, "  ", opened(group, answer))
    else:
        yield from flowed((*place, *_of_group(group)), style.width, MARGIN)
        for some in _folded(group, answer, style):
            yield from _socket_lines(some, group, answer, style)
    yield from serving_lines(group, answer, style)


def _folded(group: Group, answer: Answer, style: Style) -> list[list[Socket]]:
    """Sockets of which the same is to be said, together if they are many."""
    parts: list[list[Socket]] = []
    for some in alike(group.sockets, lambda socket: _likeness(socket, answer)):
        fold = len(some) >= FOLD_FROM and not style.full
        parts += [some] if fold else [[one] for one in some]
    return parts


def _likeness(socket: Socket, answer: Answer) -> object:
    """By what it is, and by the kinds of processes that wait on it and hold it."""
    row = socket.row
    options = row.options._replace(place=None) if row.options else None
    kinds = Counter((kind_of(one, answer.around), one.waits) for one in row.holders)
    way = (socket.way.how, socket.way.source, socket.way.same_file)
    return (row.backlog, row.defers, options, row.is_full, frozenset(kinds.items()), way)


def _socket_lines(
    some: Sequence[Socket], group: Group, answer: Answer, style: Style
) -> Iterator[str]:
    """Of sockets that are alike, or of one."""
    first, whole = some[0], len(group.sockets)
    size = first.row.group_size or whole
    if len(some) == 1:
        head = f"  {first.rank} of {size}"
        parts = (head, *_facts(first.row, answer), *_way(first))
        yield from flowed(parts, style.width, MARGIN + "  ")
        holding = opened(group, answer)
        yield from holder_lines(first.row.holders, answer.around, style, MARGIN, holding)
        return
    head = f"  {few_ranges(one.rank for one in some)} of {size}"
    parts = (head, *_facts_of_many(some, answer), *_way(first))
    yield from flowed(parts, style.width, MARGIN + "  ")
    members = members_of(one for socket in some for one in socket.row.holders)
    around, holding = answer.around, opened(group, answer)
    yield from member_lines(members, len(some), around, style, MARGIN, holding)


def versions(row: Listener | Receiver) -> Iterator[str]:
    """Which versions of IP a socket of IPv6 serves, where that is a choice."""
    if row.local_address == "::" and row.v6only is not None:
        yield "IPv6 only" if row.v6only else "IPv4 too"


def _of_group(group: Group) -> Iterator[str]:
    row, listed = group.first, len(group.sockets)
    size = listed if row.group_size is None else row.group_size
    named = "" if row.group is None else f" of group {row.group}"
    by = f" by {selector(row.selector, row.program)}" if row.selector else ""
    yield f"{plural(size, 'reuseport socket')}{named}{by}"
    if size != listed:
        yield f"{listed} shown"


def _facts(row: Listener, answer: Answer) -> Iterator[str]:
    yield f"inode {row.inode}"
    yield queue_text(row)
    if row.uid is not None:
        yield f"owner {user(row.uid, answer.around)}"
    yield from _options(row)


def _facts_of_many(some: Sequence[Socket], answer: Answer) -> Iterator[str]:
    rows = [one.row for one in some]
    yield f"inodes {few_ranges(row.inode for row in rows)}"
    yield _queues(rows)
    if rows[0].uid is not None:
        yield f"owner {user(rows[0].uid, answer.around)}"
    yield from _options(rows[0])


def queue_text(row: Listener) -> str:
    """`queue 3, backlog 128, oldest waits 1.2s`."""
    length = "queue n/a" if row.queue is None else f"queue {row.queue}"
    oldest = f", oldest waits {duration(row.oldest_us)}" if row.queue and row.oldest_us else ""
    return f"{length}, backlog {'n/a' if row.backlog is None else row.backlog}{oldest}"


def _queues(rows: Sequence[Listener]) -> str:
    lengths = [row.queue for row in rows if row.queue is not None]
    if len(lengths) < len(rows):
        waiting = "queues n/a"
    else:
        low, high = min(lengths), max(lengths)
        waiting = f"queues {low}-{high}" if high > low else f"queues {high}"
    first, *_ = rows
    oldest = max((row.oldest_us or 0 for row in rows if row.queue), default=0)
    since = f", oldest waits {duration(oldest)}" if oldest else ""
    return f"{waiting}, backlog {'n/a' if first.backlog is None else first.backlog}{since}"


def _options(row: Listener) -> Iterator[str]:
    """What is not as usual."""
    if row.seqpacket:
        yield "SOCK_SEQPACKET"
    if row.is_full:
        yield "FULL"
    if row.defers:
        yield "TCP_DEFER_ACCEPT"
    if row.options is None:
        return
    if row.options.mptcp:
        yield "MPTCP"
    if row.options.fast_open:
        yield f"Fast Open {row.options.fast_open}"
    if row.options.incoming_cpu is not None:
        yield f"SO_INCOMING_CPU {row.options.incoming_cpu}"


def _shared(socket: Socket, answer: Answer) -> Iterator[str]:
    """Of the only socket of its group that is shown."""
    row = socket.row
    if row.sharing == "reuseport":
        size = "" if row.group_size is None else f" of {row.group_size}"
        by = f" by {selector(row.selector, row.program)}" if row.selector else ""
        is_alone = row.group_size == 1 and row.selector == "hash"
        yield "a reuseport group of one" if is_alone else f"reuseport {socket.rank}{size}{by}"
    elif row.options and row.options.reuseport:
        yield "SO_REUSEPORT set, in no group"
    if not row.holders:
        pass
    elif row.sharing == "sole":
        yield "sole"
    elif len(row.holders) == 1:
        partial = answer.inventory.partial
        yield "one process, as far as can be seen" if partial else "one process"
    else:
        yield f"shared by {len(row.holders)} processes"
    yield from _way(socket)


def _way(socket: Socket) -> Iterator[str]:
    options = socket.row.options
    in_kernel = options and options.in_kernel
    return way_text(socket.way, socket.row.holders, "NFS, SMB, MPTCP" if in_kernel else "")


def way_text(way: Way, holders: Sequence[Holder], services: str = "") -> Iterator[str]:
    """How they came to hold one socket, and whether it is one open file.

    `services` of the kernel, which may have made it; empty: it did not, or that is not known.
    """
    if not holders:
        its = f"held by the kernel itself ({services} or another service of it)"
        yield its if services else "held by nobody visible"
    if len(holders) < 2 and way.how != "activated":
        return
    if way.how == "passed":
        yield from _passed(way, holders)
    else:
        yield _HOW.get(way.how or "", "") or _from(way, holders)
    if way.same_file is not None:
        yield "one open file (kcmp)" if way.same_file else "NOT one open file (kcmp)"


_CAME: Final[Mapping[Came | None, str]] = {
    "SCM_RIGHTS": "passed over a UNIX socket (traced)",
    "pidfd_getfd": "taken by pidfd_getfd (traced)",
    "other": "passed (traced)",
    None: "unrelated, passed over a UNIX socket or taken by pidfd_getfd",
}
_HOW: Final = {"related": "inherited from a parent that has it no more, or passed"}


def _from(way: Way, holders: Sequence[Holder]) -> str:
    if way.source is None:
        return "way not known"
    source = next((one for one in holders if one.pid == way.source), None)
    origin = f"{way.source} {clean(source.name if source else '')}".rstrip()
    if way.how == "activated":
        return f"socket activation by {origin}"
    if source and any(one.fd != source.fd for one in holders):  # fork() keeps the number
        return f"inherited from {origin}, or passed by it"
    return f"likely inherited from {origin}"


def _passed(way: Way, holders: Sequence[Holder]) -> Iterator[str]:
    came = {one.pid: one.came for one in holders}
    for some in alike(way.strangers, lambda pid: came[pid]):
        yield f"{_named(some)}: {_CAME[came[some[0]]]}"


def _named(pids: Sequence[int]) -> str:
    more = len(pids) - STRANGERS
    rest = f" and {more} more" if more > 0 else ""
    return f"pid{'s' if len(pids) > 1 else ''} {', '.join(map(str, pids[:STRANGERS]))}{rest}"
