"""What a window says, against a client that notes who took each of its connections, and when."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from functools import partial
from typing import NoReturn

from accepttrace.model.snapshot import Snapshot
from tests.unit.forked import child

from .clients import listen, port_of
from .conftest import Tracing

WINDOW_S = 1.2
STEP_S = 0.11  # of traffic between two readings; a window moves on by a twelfth of it at least
READINGS = 30
MOST_READINGS = 200  # on a busy machine fewer of them can be compared
Log = list[tuple[float, float, Counter[int]]]  # before and after a reading, and who took what


def test_a_window_has_what_the_client_saw_taken_in_it(tracing: Tracing) -> None:
    """Nothing comes while a reading is under way: on which side of it each was, is clear."""
    log: Log = []
    compared = 0
    with listen(64) as listener:
        port, work = port_of(listener), partial(name_itself, listener)
        with child(work) as one, child(work) as other:
            account = tracing.of(port, window_s=WINDOW_S)
            account.snapshot()
            for number in range(MOST_READINGS):
                if number >= READINGS and compared > READINGS // 4:
                    break
                taken = take(port, STEP_S)
                began_s = time.monotonic()
                snapshot = account.snapshot()
                log.append((began_s, time.monotonic(), taken))
                expected = in_window(log)
                if snapshot.window_s and recent(snapshot) and expected is not None:
                    assert {pid: recent(snapshot)[pid] for pid in (one, other)} == {
                        pid: expected[pid] for pid in (one, other)
                    }
                    compared += 1
    assert compared > READINGS // 4
    whole = sum((taken for _, _, taken in log), Counter[int]())
    assert {row.pid: row.accepts for row in snapshot.acceptors if row.accepts} == whole
    assert sum(recent(snapshot).values()) < whole.total()


def name_itself(listener: socket.socket) -> NoReturn:
    """Tell each client who took it."""
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        connection.sendall(str(os.getpid()).encode())
        connection.close()


def take(port: int, seconds: float) -> Counter[int]:
    """Connect for so long; who took how many."""
    found: Counter[int] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port)) as client:
            found[int(client.recv(16))] += 1
    return found


def in_window(log: Log) -> Counter[int] | None:
    """Who took what in the intervals that reach into the window before the last reading.

    None: the window begins while one was being made, and who knows before which moment of it.
    """
    first, last = log[-1][0] - WINDOW_S, log[-1][1] - WINDOW_S
    if log[0][0] > first or any(ends <= last and first <= done for ends, done, _ in log):
        return None
    return sum((taken for ends, _, taken in log if ends > last), Counter[int]())


def recent(snapshot: Snapshot) -> dict[int | None, int]:
    """What rows took in the window; nothing while that is the whole run."""
    rows = snapshot.acceptors
    return {row.pid: row.recent_accepts for row in rows if row.recent_accepts is not None}
