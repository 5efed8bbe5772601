"""More acceptors than the maps have room for: what they take is counted at their listeners."""

from __future__ import annotations

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from accepttrace.config import Filters
from accepttrace.lab.acceptors import RESET_ON_CLOSE

from .conftest import Tracing

HEADER = Path(__file__).parents[2] / "bpf" / "accepttrace.h"
SURPLUS = 58


def room() -> int:
    """How many acceptors the kernel side has room for."""
    found = re.findall(r"\bMAX_(?:ACCEPTORS|SLOTS) = (\d+)", HEADER.read_text())
    assert len(found) == 2
    return sum(map(int, found))


def accept_two(other: ThreadPoolExecutor) -> None:
    """Connections to a listener of their own, taken by this thread and by another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for accept in (listener.accept, lambda: other.submit(listener.accept).result()):
            with socket.create_connection(listener.getsockname()) as client:
                # Closed by the client, with RST: ports in TIME_WAIT would run out.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                accepted = accept()[0]
            accepted.close()


def test_a_full_map_is_counted_to_the_last_accept(tracing: Tracing) -> None:
    account = tracing.of(filters=Filters(pids=frozenset({os.getpid()})))
    total = room() + SURPLUS
    with ThreadPoolExecutor(1) as other:
        for _ in range(total // 2):
            accept_two(other)
    counts = tracing.session.counts()
    assert sum(a.accepts for a in counts.acceptors) == room()
    # Who has no row is counted at the listener: nothing is lost.
    assert sum(listener.uncounted for listener in counts.listeners) == SURPLUS
    assert counts.losses.map_full == 0
    assert account.snapshot("socket").books.losses.map_full == 0
    tracing.session.reset()
    assert tracing.session.counts().acceptors == ()
