"""What clients lost, by address and cause: below every table, where there is any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from accepttrace.facts.records import STUCK_US
from accepttrace.model.losses import ATTEMPTS
from accepttrace.model.snapshot import ListenerRow, NamespaceLoss, Snapshot
from accepttrace.views.formats import NA, duration, place_of, plural, span
from accepttrace.views.text import Line, flow

INDENT: Final = "  "
MOST_NAMED: Final = 4  # addresses in a sentence


class Cause(NamedTuple):
    """A field of ListenerRow and what it counts; `part`: of the cause before it."""

    field: str
    words: str
    part: bool = False


# Every cause, for the footer.
LOST: Final = (
    Cause("overflow_syn", "SYNs dropped (queue full)"),
    Cause("overflow_ack", "final ACKs dropped (queue full)"),
    Cause("overflow_aborted", "of these ACKs answered with a reset", part=True),
    Cause("overflow_peers", "clients that sent them"),
    Cause("dropped_syn_queue", "SYNs dropped (too many half-open)"),
    Cause("dropped_other", "attempts dropped (cause not known)"),
    Cause("lost_on_close", "connections reset on close"),
    Cause("migration_failed", "of these failed to move", part=True),
    Cause("half_open_lost", "half-open handshakes cut off on close"),
)
OVERFLOW: Final = Cause("dropped_overflow", "SYNs or final ACKs dropped (queue full)")
NOT_LOST: Final = (
    Cause("deferred", "final ACKs put off until data come (TCP_DEFER_ACCEPT)"),
    Cause("refused_accepts", "accept() calls without a file descriptor"),
    Cause("drops", "packets dropped in all by the kernel's own count"),
)
# Of AF_UNIX.
UNIX_LOST: Final = (
    Cause("dropped_overflow", "connections refused (queue full)"),
    Cause("lost_on_close", "connections reset on close"),
)
UNIX_NOT_LOST: Final = (
    Cause("refused_accepts", "accept() calls without a file descriptor"),
    Cause("blocked", "connect() calls that slept until the queue had room"),
)
SHARED: Final = {
    "overflow": ("SYN or final ACK dropped (queue full)", OVERFLOW.words),
    "syn_queue": ("SYN dropped (too many half-open)", "SYNs dropped (too many half-open)"),
    "cookie": ("final ACK without a good SYN cookie", "final ACKs without a good SYN cookie"),
    "other": ("attempt dropped (cause not known)", "attempts dropped (cause not known)"),
}


def losses(snapshot: Snapshot, width: int) -> list[Line]:
    """One sentence an address that lost something, then those where that is not clear."""
    lines: list[Line] = []
    listeners, of_unix = snapshot.listeners, _of_unix(snapshot)
    lost = (listeners and _parts(listeners, of_unix)) or _any(listeners, "dropped_unclear")
    if not lost and not snapshot.namespace_losses:
        return lines  # as nearly always
    places = _places(listeners)
    for place, rows in places.items():
        parts = _parts(rows, of_unix)
        if parts:
            lines += sentence(f"lost on {place}:", parts, width, "bold red")
    for one in snapshot.namespace_losses:
        lines += _one_of_several(one, places, width)
    for place, rows in places.items():
        packets = sum(row.dropped_unclear or 0 for row in rows)
        if packets:
            parts = [f"{plural(packets, 'packet')} dropped, cause not known"]
            lines += sentence(f"perhaps lost on {place}:", parts, width, "yellow")
    return lines


def lost_by_clients(snapshot: Snapshot) -> str:
    """All that is known to be lost, wherever, in a few words."""
    sure = [one for one in snapshot.namespace_losses if one.sure]
    return ", ".join(
        [
            *_parts(snapshot.listeners, _of_unix(snapshot)),
            *(f"{one.packets:,} {SHARED[one.cause][one.packets != 1]}" for one in sure),
        ]
    )


def full_queues(snapshot: Snapshot, width: int) -> list[Line]:
    """Queues that hold no more: the next connection is dropped."""
    lines: list[Line] = []
    if not fullness(snapshot):
        return lines
    for place, there in _places([row for row in snapshot.listeners if row.open]).items():
        crowded = [row for row in there if row.queue_full_s is not None]
        if crowded:
            waiting, room = (sum(getattr(r, f) for r in crowded) for f in ("queue", "capacity"))
            which = "" if len(there) == 1 else f" at {len(crowded)} of {len(there)} sockets"
            text = f"{waiting:,} of {room:,} connections wait{which}{_since(snapshot, crowded)}"
            lines += sentence(f"queue full on {place}:", [text], width, "bold yellow")
    return lines


def fullness(snapshot: Snapshot) -> str:
    """The same for the header; empty where no queue is full."""
    crowded = [row for row in snapshot.listeners if row.queue_full_s is not None]
    if not crowded:
        return ""
    if len(crowded) > 1:
        return f"{len(crowded):,} queues full{_since(snapshot, crowded)}"
    return f"queue full ({crowded[0].queue} of {crowded[0].capacity}){_since(snapshot, crowded)}"


def _since(snapshot: Snapshot, crowded: Sequence[ListenerRow]) -> str:
    """How long the longest of them has been full, at every reading."""
    lasts_s = max(row.queue_full_s or 0 for row in crowded)
    if lasts_s >= snapshot.elapsed_s:
        return " all the time"
    return f" for {span(lasts_s)}" if lasts_s >= 1 else ""


def delays(snapshot: Snapshot, width: int) -> list[Line]:
    """What kept clients waiting and lost none of them: one sentence an address."""
    lines: list[Line] = []
    listeners = snapshot.listeners
    late = _any(listeners, "refused_accepts", "oldest_wait_us", "half_open")
    if not late and not _of_unix(snapshot):
        return lines
    for place, rows in _places(listeners).items():
        refused = sum(row.refused_accepts or 0 for row in rows)
        if refused:
            calls = plural(refused, "accept() call")
            text = f"{calls} without a free file descriptor (EMFILE, ENFILE)"
            lines += sentence(f"delayed on {place}:", [text], width, "yellow")
        blocked = sum(row.counted.get("blocked", 0) for row in rows)
        if blocked:
            text = f"{plural(blocked, 'connect() call')} slept until the queue had room"
            lines += sentence(f"delayed on {place}:", [text], width, "yellow")
        first = max(rows, key=lambda row: row.oldest_wait_us or 0)
        oldest = first.oldest_wait_us or 0
        if oldest >= STUCK_US:
            there = plural(sum(row.queue or 0 for row in rows), "connection")
            where = f" (socket {first.inode})" if first.inode and len(rows) > 1 else ""
            text = f"{there} not accepted yet, the first for at least {duration(oldest)}{where}"
            lines += sentence(f"waiting on {place}:", [text], width, "yellow")
        waiting = sum(row.half_open or 0 for row in rows if row.defer_accept)
        if waiting:
            text = f"{plural(waiting, 'client')} half-open, accepted once data come"
            head = f"deferred on {place} (TCP_DEFER_ACCEPT):"
            lines += sentence(head, [text], width, "")
    return lines


def causes(snapshot: Snapshot, width: int) -> list[Line]:
    """Every cause by name, also when it is 0; those that are not visible stand last, as n/a."""
    rows = snapshot.listeners
    return [
        *_footer_lines("lost by clients:", _causes(snapshot), rows, width),
        *_footer_lines("not lost:", UNIX_NOT_LOST if _of_unix(snapshot) else NOT_LOST, rows, width),
    ]


def hidden(snapshot: Snapshot) -> list[str]:
    """The causes of a loss that cannot be seen in this way of tracing."""
    causes = [one for one in _causes(snapshot) if one.field != "overflow_peers"]
    return _hidden(causes, snapshot.listeners)


def _causes(snapshot: Snapshot) -> list[Cause]:
    if _of_unix(snapshot):
        return list(UNIX_LOST)
    rows, causes = snapshot.listeners, list(LOST)
    if total(rows, "overflow_syn") is None and total(rows, OVERFLOW.field) is not None:
        causes[:2] = [OVERFLOW]  # known in sum, not apart
    return causes


def _of_unix(snapshot: Snapshot) -> bool:
    """One run traces either these or those of TCP."""
    return snapshot.meta.protocol == "unix"


def _hidden(causes: Sequence[Cause], rows: Sequence[ListenerRow]) -> list[str]:
    return [one.words for one in causes if not one.part and total(rows, one.field) is None]


def _footer_lines(
    head: str, causes: Sequence[Cause], rows: Sequence[ListenerRow], width: int
) -> list[Line]:
    counts = [(total(rows, cause.field), cause) for cause in causes]
    parts = [f"{number:,} {cause.words}" for number, cause in counts if number is not None]
    unknown = _hidden(causes, rows)
    if unknown:
        parts.append(f"{NA}: {', '.join(unknown)}")
    return sentence(head, parts, width, "dim")


def _one_of_several(
    loss: NamespaceLoss, places: Mapping[str, Sequence[ListenerRow]], width: int
) -> list[Line]:
    """The kernel counts for a network namespace, not for each listener of it."""
    one, many = SHARED[loss.cause]
    words = f"{loss.packets:,} {one if loss.packets == 1 else many}"
    there = [name for name, rows in places.items() if {r.inode for r in rows} & {*loss.listeners}]
    where = " or ".join(there)
    if len(there) > MOST_NAMED:
        where = f"one of {len(there):,} addresses"
    if loss.sure:
        return sentence(f"lost on {where}:", [words], width, "bold red")
    head = f"perhaps lost on {where}, or elsewhere in netns {loss.netns}:"
    return sentence(head, [words], width, "yellow")


def sentence(head: str, parts: Sequence[str], width: int, style: str) -> list[Line]:
    """`head` and its parts with commas between them, on as many lines as that takes."""
    words = f"{head} {', '.join(parts)}".split()
    return flow([(word, style) for word in words], width, gap=" ", indent=INDENT)


def total(rows: Sequence[ListenerRow], field: str) -> int | None:
    """The sum over the listeners; None if it is not known of all of them, or there are none."""
    is_plain = field not in ListenerRow.__dataclass_fields__  # one of `counted`
    values: list[Any]
    values = [row.counted.get(field) if is_plain else getattr(row, field) for row in rows]
    return sum(values) if values and None not in values else None


def _any(rows: Sequence[ListenerRow], *fields: str) -> bool:
    return any(any(map(attrgetter(field), rows)) for field in fields)


def _places(rows: Sequence[ListenerRow]) -> dict[str, list[ListenerRow]]:
    """By address and port; the network namespace is named where there are several."""
    several = len({row.netns for row in rows}) > 1
    places: defaultdict[str, list[ListenerRow]] = defaultdict(list)
    for row in rows:
        place = place_of(row)
        places[f"{place} in netns {row.netns}" if several else place].append(row)
    return places


def _parts(rows: Sequence[ListenerRow], of_unix: bool) -> list[str]:
    fields = (*ATTEMPTS, *(cause.field for cause in LOST))
    columns = zip(*map(attrgetter(*fields), rows), strict=True)
    lost = {field: sum(filter(None, found)) for field, found in zip(fields, columns, strict=True)}
    if of_unix:
        return in_words(lost, of_unix=True)
    peers = [row.overflow_peers for row in rows if row.overflow_peers]
    # One client may have met several sockets of a group.
    limit = "up to " if len(peers) > 1 else ""
    return in_words(lost, f" from {limit}{plural(sum(peers), 'client')}" if peers else "")


def in_words(lost: Mapping[str, int], whose: str = "", of_unix: bool = False) -> list[str]:
    """Amounts by field of a listener, those that are not 0; ` from 3 clients` of a full queue."""
    parts: list[str] = []
    syns, acks = lost.get("overflow_syn", 0), lost.get("overflow_ack", 0)
    both = lost.get("dropped_overflow", 0) or syns + acks
    if both and of_unix:
        parts.append(f"{plural(both, 'connection')} refused (queue full)")
    elif both:
        parts.append(_overflow(both, syns, acks, whose))
    if aborted := lost.get("overflow_aborted"):
        parts.append(f"{aborted:,} of the ACKs answered with a reset")
    if syns := lost.get("dropped_syn_queue", 0):
        parts.append(f"{plural(syns, 'SYN')} dropped (too many half-open)")
    if attempts := lost.get("dropped_other"):
        parts.append(f"{plural(attempts, 'attempt')} dropped (cause not known)")
    if cookies := lost.get("cookie"):
        parts.append(f"{cookies:,} {SHARED['cookie'][cookies != 1]}")
    if reset := lost.get("lost_on_close"):
        failed = lost.get("migration_failed")
        text = f"{plural(reset, 'connection')} reset when the listener closed"
        parts.append(text + (f" ({failed:,} failed to move)" if failed else ""))
    if handshakes := lost.get("half_open_lost"):
        text = plural(handshakes, "half-open handshake")
        parts.append(f"{text} cut off when the listener closed")
    return parts


def _overflow(both: int, syns: int, acks: int, whose: str) -> str:
    """`48 SYNs and 3 final ACKs dropped from 12 clients (queue full)`."""
    if both != syns + acks:  # of either kind
        return f"{both:,} {SHARED['overflow'][both != 1]}"
    counts = ((syns, "SYN"), (acks, "final ACK"))
    dropped = " and ".join(plural(number, noun) for number, noun in counts if number)
    return f"{dropped} dropped{whose} (queue full)"
