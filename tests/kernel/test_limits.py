"""More listeners than the maps have room for: what does not fit is counted."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from accepttrace.config import Filters
from accepttrace.lab.acceptors import RESET_ON_CLOSE

from .conftest import Tracing

HEADER = Path(__file__).parents[2] / "bpf" / "accepttrace.h"
SURPLUS = 57


def room() -> int:
    """How many acceptors the kernel side has room for."""
    found = re.findall(r"\bMAX_(?:ACCEPTORS|SEATS) = (\d+)", HEADER.read_text())
    assert len(found) == 2
    return sum(map(int, found))


def accept_one() -> None:
    """One connection through a listener of its own."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        # Closed by the client, with RST: ports in TIME_WAIT would run out.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        accepted = listener.accept()[0]
        client.close()
        accepted.close()


def test_a_full_map_is_counted_to_the_last_accept(tracing: Tracing) -> None:
    account = tracing.of(filters=Filters(pids=frozenset({os.getpid()})))
    total = room() + SURPLUS
    for _ in range(total):
        accept_one()
    counts = tracing.session.counts()
    assert sum(a.accepts for a in counts.acceptors) == room()
    assert counts.losses.map_full == SURPLUS
    snapshot = account.snapshot()
    assert snapshot.books.map_full == SURPLUS
    assert not snapshot.books.balanced
    tracing.session.reset()
    assert tracing.session.counts().acceptors == ()
