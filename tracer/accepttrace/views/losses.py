"""What clients lost, by address and cause: below every table, where there is any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from accepttrace.model.snapshot import ListenerRow, Snapshot
from accepttrace.views.formats import NA, endpoint, plural
from accepttrace.views.text import Line, flow

INDENT: Final = "  "
# Every cause, for the ledger.
CAUSES: Final = (
    ("overflow_syn", "SYNs dropped (queue full)"),
    ("overflow_ack", "final ACKs dropped (queue full)"),
    ("overflow_aborted", "of these ACKs answered with a reset"),
    ("overflow_peers", "clients behind them"),
    ("lost_on_close", "connections reset on close"),
    ("migration_failed", "of these failed to move"),
    ("refused_accepts", "accept() calls without a file descriptor"),
    ("drops", "packets dropped by the kernel's own count"),
)


def any_lost(snapshot: Snapshot) -> bool:
    """Whether there is anything to tell."""
    return any(_parts([row]) for row in snapshot.listeners)


def losses(snapshot: Snapshot, width: int) -> list[Line]:
    """One sentence an address that lost something."""
    lines: list[Line] = []
    for place, rows in _places(snapshot.listeners).items():
        parts = _parts(rows)
        if parts:
            lines += sentence(f"lost on {place}:", parts, width, "bold red")
    return lines


def causes(snapshot: Snapshot, width: int) -> list[Line]:
    """Every cause by name, also when it is 0; those that are not visible stand last, as n/a."""
    counts = [(total(snapshot.listeners, field), words) for field, words in CAUSES]
    parts = [f"{number:,} {words}" for number, words in counts if number is not None]
    hidden = [words for number, words in counts if number is None and not _is_part(words)]
    if hidden:
        parts.append(f"{NA}: {', '.join(hidden)}")
    return sentence("lost by clients:", parts, width, "dim")


def _is_part(words: str) -> bool:
    """Whether they name a part of another cause."""
    return words.startswith("of these")


def sentence(head: str, parts: Sequence[str], width: int, style: str) -> list[Line]:
    """`head` and its parts with commas between them, on as many lines as that takes."""
    words = f"{head} {', '.join(parts)}".split()
    return flow([(word, style) for word in words], width, gap=" ", indent=INDENT)


def total(rows: Sequence[ListenerRow], field: str) -> int | None:
    """The sum over the listeners; None if it is not known of all of them, or there are none."""
    values = [getattr(row, field) for row in rows]
    return sum(values) if values and None not in values else None


def _places(rows: Sequence[ListenerRow]) -> dict[str, list[ListenerRow]]:
    """By address and port; the network namespace is named where there are several."""
    several = len({row.netns for row in rows}) > 1
    places: defaultdict[str, list[ListenerRow]] = defaultdict(list)
    for row in rows:
        place = endpoint(row.local_address, row.local_port, row.family, row.inode)
        places[f"{place} in netns {row.netns}" if several else place].append(row)
    return places


def _parts(rows: Sequence[ListenerRow]) -> list[str]:
    lost = {field: sum(getattr(row, field) or 0 for row in rows) for field, _ in CAUSES}
    parts: list[str] = []
    if lost["overflow_syn"] or lost["overflow_ack"]:
        parts.append(_overflow(rows, lost["overflow_syn"], lost["overflow_ack"]))
    if lost["overflow_aborted"]:
        parts.append(f"{lost['overflow_aborted']:,} of the ACKs answered with a reset")
    if lost["lost_on_close"]:
        failed = lost["migration_failed"]
        text = f"{plural(lost['lost_on_close'], 'connection')} reset when the listener closed"
        parts.append(text + (f" ({failed:,} failed to move)" if failed else ""))
    if lost["refused_accepts"]:
        refused = plural(lost["refused_accepts"], "accept() call")
        parts.append(f"{refused} without a free file descriptor (EMFILE, ENFILE)")
    unexplained = sum(row.drops or 0 for row in rows if row.overflow_syn is None)
    if unexplained:
        parts.append(f"{plural(unexplained, 'packet')} dropped for a reason not visible here")
    return parts


def _overflow(rows: Sequence[ListenerRow], syns: int, acks: int) -> str:
    """`48 SYNs and 3 final ACKs dropped from 12 clients (queue full)`."""
    counts = ((syns, "SYN"), (acks, "final ACK"))
    dropped = " and ".join(plural(number, noun) for number, noun in counts if number)
    peers = [row.overflow_peers for row in rows if row.overflow_peers]
    # One client may have met several sockets of a group.
    limit = "up to " if len(peers) > 1 else ""
    clients = f" from {limit}{plural(sum(peers), 'client')}" if peers else ""
    return f"{dropped} dropped{clients} (queue full)"
