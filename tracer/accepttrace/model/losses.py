"""Whether clients lost anything: the one rule that header, lines and footer follow.

Lost are attempts to connect that the kernel dropped, and queued connections that it reset. Not lost
are those whose final ACK it ignored until data come (TCP_DEFER_ACCEPT), and those for which
accept() has to be called again (EMFILE).
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final, Literal

from accepttrace.model.snapshot import ListenerRow, Snapshot

Verdict = Literal["nothing", "unclear", "lost"]
ATTEMPTS: Final = ("dropped_overflow", "dropped_syn_queue", "dropped_other")

ON_CLOSE: Final = ("lost_on_close", "half_open_lost")
OF_UNIX: Final = ("dropped_overflow", "lost_on_close")  # the others cannot befall AF_UNIX
_numbers: Final = attrgetter(*ATTEMPTS, *ON_CLOSE)


def verdict(snapshot: Snapshot) -> Verdict:
    """`unclear`: the kernel dropped packets, and whether a client lost by that is not known."""
    if any(map(lost, snapshot.listeners)) or any(one.sure for one in snapshot.namespace_losses):
        return "lost"
    if snapshot.namespace_losses or any(row.dropped_unclear for row in snapshot.listeners):
        return "unclear"
    return "nothing"


def lost(row: ListenerRow) -> int:
    """Attempts and connections that are known to be lost."""
    return sum(filter(None, _numbers(row)))
