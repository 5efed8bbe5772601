"""Strangers who fill the maps with rows: the real server beside them is counted to the last one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accepttrace.facts.records import Counts
from accepttrace.lab.acceptors import RESET_ON_CLOSE
from accepttrace.probe import wire
from tests.kernel.conftest import Tracing

JUNK = (sys.executable, "-S", "-E", "-")
SOURCE = (Path(__file__).parent / "junk.py").read_text()
ROOM = wire.MAX_PLACES + wire.MAX_LISTENERS
SHARE = ROOM // 4
NOBODY = 65534
CONNECTIONS = 300


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def as_user(uid: int) -> tuple[str, ...]:
    return ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")


def run_junk(way: Sequence[str], first: int, port: int, count: int) -> int:
    """How many connections the stranger says were accepted."""
    call = [*way, *JUNK, str(first), str(port), str(count)]
    done = subprocess.run(call, input=SOURCE, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stderr)
    return int(done.stdout)


def in_own_namespaces() -> tuple[str, ...]:
    """User and network namespace of a user's own."""
    call = (*as_user(NOBODY), "unshare", "-Urn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    done = subprocess.run([*call, "true"], capture_output=True, text=True, check=False)
    if done.returncode and subprocess.run(["unshare", "-U", "true"], check=False).returncode:
        pytest.xfail("in a changed root the kernel refuses user namespaces to all, root too")
    if done.returncode:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    return call


def serve(port: int) -> int:
    """A real server, of root: twelve threads take turns. Returns the inode of its listener."""
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        with ThreadPoolExecutor(12) as pool:
            for _ in range(CONNECTIONS):
                with socket.create_connection(listener.getsockname()) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                    pool.submit(listener.accept).result()[0].close()
        return os.fstat(listener.fileno()).st_ino


def rows_by_owner(tracing: Tracing) -> Counter[int]:
    """As the map has them."""
    return Counter(row.owner for row in tracing.session._listeners.read())


def taken_from(counts: Counts, inode: int) -> int:
    return sum(row.accepts for row in counts.acceptors if row.listener_inode == inode)


@pytest.mark.parametrize(("who", "share"), [("guest", ROOM // 16), ("user", SHARE)])
def test_a_stranger_takes_his_share_and_no_more(tracing: Tracing, who: str, share: int) -> None:
    port = free_port()
    way = in_own_namespaces() if who == "guest" else as_user(NOBODY)
    owner = wire.OWNER_GUESTS if who == "guest" else NOBODY
    tracing.of(port)
    assert run_junk(way, 77, port, share + 500) == share + 500
    inode = serve(port)
    counts, rows = tracing.session.counts(), rows_by_owner(tracing)
    assert rows[owner] == share
    assert taken_from(counts, inode) == CONNECTIONS
    assert (counts.losses.map_full, counts.losses.unattributed) == (0, 0)
    assert counts.losses.over_share >= 500
    assert counts.losses.over_whose == (
        ("network namespaces of users",) if who == "guest" else (f"uid {NOBODY}",)
    )
    assert counts.losses.total == 0


def test_users_by_the_dozen_leave_room_for_the_next(tracing: Tracing) -> None:
    """Half of what is free, at most; and subordinate IDs are those of one."""
    port = free_port()
    tracing.of(port)
    users = (4001, 4002, 4003, 4004, 100_000, 100_001)
    for number, uid in enumerate(users):
        run_junk(as_user(uid), 70 + number, port, SHARE + 10)
    inode = serve(port)
    counts, rows = tracing.session.counts(), rows_by_owner(tracing)
    assert [rows[uid] for uid in users[:4]] == [SHARE, SHARE, SHARE, SHARE // 2]
    assert rows[wire.OWNER_RANGES + 1] == SHARE // 4
    assert taken_from(counts, inode) == CONNECTIONS
    assert counts.losses.map_full == 0
