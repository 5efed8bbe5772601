"""UDP sockets that have the same address without SO_REUSEPORT: they do not share what comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from accepttrace.facts.datagrams import Receiver
from accepttrace.model.datagrams import ReceiverRow
from accepttrace.views.formats import endpoint

SHOWN: Final = 4  # addresses that get a sentence


def alone(rows: Iterable[Receiver | ReceiverRow]) -> Iterator[str]:
    """A sentence for each such address; SO_REUSEADDR is what lets them bind to it.

    Only where BPF looked: `queue` is None of a socket that it did not see, or that was closed.
    """
    places: Counter[tuple[int | None, str]] = Counter()
    for row in rows:
        if row.group is None and row.queue is not None and row.remote_address is None:
            address = row.local_address, row.local_port, row.family
            place = endpoint(*address, None, row.device)
            places[row.netns, place] += (row.folded or 1) if isinstance(row, ReceiverRow) else 1
    for (_, place), number in places.most_common(SHOWN):
        if number > 1:
            yield (
                f"{number} sockets have {place} without SO_REUSEPORT: what is sent to one host"
                " comes to one of them, as a rule always to the one that was bound last"
            )
