"""`accepttrace check` in a shell script, on a server whose connections last."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from accepttrace.lab.acceptors import RESET_ON_CLOSE
from tests.kernel.clients import listen, port_of
from tests.kernel.conftest import ACCEPTTRACE, wait_until
from tests.unit.forked import child

SCRIPT = Path(__file__).with_name("check.sh")
CPUS = sorted(os.sched_getaffinity(0))
WORKERS, BACKLOG, OPEN = 4, 64, 200
PAUSE_S, PATIENCE_S = 0.001, 0.05
WAITERS = 3  # workers of one UNIX socket


def keep_accepting(own: socket.socket, listeners: Sequence[socket.socket]) -> None:
    os.sched_setaffinity(0, {CPUS[listeners.index(own) % len(CPUS)]})
    for other in listeners:
        if other is not own:
            other.close()
    own.setblocking(True)
    kept: deque[socket.socket] = deque(maxlen=OPEN)
    while True:
        kept.append(own.accept()[0])


def keep_connecting(port: int) -> None:
    """The last ones stay open; who is not let in gives up soon. From each CPU in turn: a worker
    that stays on one has some from its own, and some from others.
    """
    kept: deque[socket.socket] = deque(maxlen=OPEN)
    for cpu in cycle(CPUS):
        os.sched_setaffinity(0, {cpu})
        with suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            kept.append(sock)
        time.sleep(PAUSE_S)


def test_a_script_learns_each_condition_both_ways_and_each_exit_status() -> None:
    with ExitStack() as stack:
        first = listen(BACKLOG, reuseport=True)
        port = port_of(first)
        listeners = [first]
        listeners += [listen(BACKLOG, port=port, reuseport=True) for _ in range(WORKERS - 1)]
        works = [partial(keep_accepting, own, listeners) for own in listeners]
        pids = [stack.enter_context(child(work)) for work in works]
        for listener in listeners:
            listener.close()
        client = stack.enter_context(child(partial(keep_connecting, port)))
        done = subprocess.run(
            ("sh", SCRIPT, str(port), str(pids[0]), str(client)),
            env={**os.environ, "ACCEPTTRACE": " ".join(ACCEPTTRACE)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def answer_all(listener: socket.socket) -> None:
    """Each client its PID, and nobody else until that one is gone."""
    while True:
        connection, _ = listener.accept()
        connection.send(str(os.getpid()).encode())
        connection.recv(1)
        connection.close()


def servers_of(name: str, number: int) -> list[int]:
    """So many connections at the same time: the PIDs of those who accepted them."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(number)]
        for client in clients:
            client.connect(name)
        return [int(client.recv(16)) for client in clients]


def judged(ready: Path, name: str) -> tuple[Counter[int], dict[str, Any]]:
    """What clients of a UNIX socket met while it was checked, and the answer."""
    conditions = ("--max-share", "90%", "--min-workers", str(WAITERS), "--expect", "shared")
    options = (name, *conditions, "-d", "3s", "-o", "json", "--ready-file", str(ready))
    command = (*ACCEPTTRACE, "check", *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: ready.exists() or process.poll() is not None, "ready", 60)
        rounds = [WAITERS] * 20 + [1] * 6
        met = Counter(pid for each in rounds for pid in servers_of("\0" + name[1:], each))
        assert process.stdout is not None
        answer = json.loads(process.stdout.read())
    assert process.returncode == 0, answer
    return met, answer


def test_conditions_on_a_unix_socket_are_judged_by_what_its_workers_took(tmp_path: Path) -> None:
    name = f"@accepttrace-check-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
        listener.bind("\0" + name[1:])
        listener.listen(64)
        pids = {stack.enter_context(child(partial(answer_all, listener))) for _ in range(WAITERS)}
        met, answer = judged(tmp_path / "ready", name)
    (share,) = (one["measured"] for one in answer["conditions"] if one["name"] == "max-share")
    assert met.keys() == pids
    assert share == round(max(met.values()) / met.total(), 4)
    assert (answer["accepts"], answer["verdicts"][0]["local_address"]) == (met.total(), name)
