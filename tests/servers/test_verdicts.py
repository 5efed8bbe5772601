"""What real servers are said to be: each case has the word that its counts call for."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import selectors
import signal
import socket
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import NoReturn

import pytest

from accepttrace.lab import nginx
from accepttrace.lab.load import run_load
from accepttrace.lab.nginx import Nginx
from accepttrace.lab.servers import Server
from accepttrace.model.snapshot import Snapshot, Verdict
from tests.kernel.clients import listen, port_of
from tests.kernel.conftest import Account, Tracing, tracing, wait_until
from tests.kernel.network import listening, own_network
from tests.kernel.reading import begin, settled
from tests.unit.forked import child

from .test_real_servers import needs

__all__ = ["tracing"]

CONNECTIONS = 2000
PR_SET_PDEATHSIG = 1


def judged(account: Account) -> Verdict:
    """Of a run with several looks, the only verdict."""
    (verdict,) = account.snapshot().verdicts
    return verdict


def in_steps(account: Account, server: Server | Nginx, request: bytes = b"") -> Verdict:
    """The verdict on so many connections, with a look after each quarter."""
    for _ in range(4):
        run_load(server.addresses, CONNECTIONS // 4, concurrency=4, request=request)
        verdict = judged(account)
    return verdict


def test_a_group_that_the_hash_feeds_is_fair(tracing: Tracing) -> None:
    with own_network(), Server("reuseport", workers=4) as server:
        verdict = in_steps(begin(tracing, server.port), server)
        took = [count.accepts for count in server.counts()]
    finding = verdict.finding
    assert (finding.connections, finding.members) == (sum(took), 4)
    assert finding.word in ("FAIR", "UNEVEN")  # 1 time in 1,000 chance alone is no fair hash
    assert finding.ratio == pytest.approx(max(took) * 4 / sum(took), rel=0.02)
    assert finding.word == "FAIR" or (finding.p or 0) < 0.01


def test_nginx_with_reuseport_is_fair(tracing: Tracing) -> None:
    needs("nginx")
    with own_network(), Nginx(4, reuseport=True) as server:
        verdict = in_steps(begin(tracing, server.port), server, nginx.REQUEST)
        took = server.accepts_by_pid()
    assert verdict.finding.connections == sum(took.values()) == CONNECTIONS
    assert verdict.finding.ratio == pytest.approx(max(took.values()) * 4 / CONNECTIONS, rel=0.02)


def test_a_member_that_nobody_serves_is_stuck_and_named(tracing: Tracing) -> None:
    """A worker that is stopped: the hash goes on choosing its socket."""
    with own_network(), Server("reuseport", workers=3) as server, ExitStack() as clients:
        account = begin(tracing, server.port)
        run_load(server.addresses, 300, concurrency=4)
        dead = server.counts()[0]
        os.kill(dead.pid, signal.SIGSTOP)
        clients.callback(os.kill, dead.pid, signal.SIGCONT)
        waiting = [
            clients.enter_context(socket.create_connection(server.addresses[0])) for _ in range(60)
        ]
        account.snapshot()

        def word() -> str:
            return account.snapshot().verdicts[0].finding.word

        wait_until(lambda: word() == "STUCK", "a queue that nobody empties")
        finding = account.snapshot().verdicts[0].finding
        queue = next(r.queue for r in account.snapshot().listeners if r.inode == dead.inode)
        assert len(waiting) == 60
    assert f"socket {dead.inode} (pid {dead.pid})" in finding.text
    assert f": {queue} of " in finding.text


def test_one_that_takes_all_while_others_wait_for_their_turn(tracing: Tracing) -> None:
    """Connections one at a time on a shared epoll: whoever waited last, or first, takes them."""
    with own_network(), Server("shared", workers=4) as server:
        account = begin(tracing, server.port)
        for _ in range(4):
            for _ in range(60):
                run_load(server.addresses, 1, concurrency=1)
            verdict = judged(account)
        took = Counter({count.pid: count.accepts for count in server.counts()})
    finding = verdict.finding
    assert finding.connections == took.total() == 240
    assert finding.p is None or finding.word == "ROUND ROBIN"  # no law of chance, but for turns
    if len([n for n in took.values() if n]) == 1:
        assert finding.word == "ONE ACCEPTOR"


def test_one_that_has_the_lock_takes_all_and_the_others_are_not_called_idle(
    tracing: Tracing,
) -> None:
    """They sleep in flock(), where it is not known for what."""
    with own_network(), ExitStack() as stack, listen(64) as server:
        lock = stack.enter_context(tempfile.NamedTemporaryFile())
        port, work = port_of(server), partial(accept_under_lock, server, lock.name)
        pids = [stack.enter_context(child(work)) for _ in range(4)]
        account = begin(tracing, port)
        said = []
        for _ in range(3):
            run_load([("127.0.0.1", port)], 100, concurrency=1)
            (found,) = account.snapshot().verdicts
            said.append(found.finding)
        rows = [row for row in account.snapshot().acceptors if row.pid in pids and row.accepts]
    assert [(one.word, one.connections) for one in said] == [
        ("ONE ACCEPTOR", number) for number in (100, 200, 300)
    ]
    assert [row.accepts for row in rows] == [300]
    assert f"pid {rows[0].pid} " in said[-1].text
    # The others, and this process, unless it was seen to do something else.
    assert re.search("; [34] more hold the socket", said[-1].text)
    assert "lock" in said[-1].text


def accept_under_lock(listener: socket.socket, path: str) -> NoReturn:
    """Whoever has the lock keeps it."""
    with open(path, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        listener.setblocking(True)
        while True:
            listener.accept()[0].close()


def test_nginx_with_a_mutex_has_one_acceptor_and_no_idle_workers(tracing: Tracing) -> None:
    needs("nginx")
    with own_network(), Nginx(4, accept_mutex=True) as server:
        account = begin(tracing, server.port)
        finding = in_steps(account, server, nginx.REQUEST).finding
        took = server.accepts_by_pid()
    assert (finding.word, finding.connections) == ("ONE ACCEPTOR", CONNECTIONS)
    ((worker, accepts),) = took.items()
    assert accepts == CONNECTIONS
    assert f"pid {worker} " in finding.text
    assert "4 more hold the socket and do not wait on it" in finding.text  # one is the master


def test_one_process_alone(tracing: Tracing) -> None:
    with own_network(), Server("shared", workers=1) as server:
        account = begin(tracing, server.port)
        run_load(server.addresses, 50, concurrency=4)
        verdict = judged(account)
        (worker,) = server.counts()
    assert verdict.finding.word == "ONE ACCEPTOR"
    assert f"pid {worker.pid} " in verdict.finding.text
    assert verdict.finding.connections == 50


def test_a_few_connections_are_too_few(tracing: Tracing) -> None:
    with own_network(), Server("reuseport", workers=3) as server:
        account = begin(tracing, server.port)
        run_load(server.addresses, 2, concurrency=1)
        finding = judged(account).finding
    assert (finding.word, finding.connections, finding.needed) == ("TOO FEW", 2, 28)


def test_two_views_of_one_run_say_the_same(tracing: Tracing) -> None:
    with own_network(), Server("reuseport", workers=2) as server:
        account = begin(tracing, server.port)
        run_load(server.addresses, 400, concurrency=4)
        by: list[Snapshot] = [account.snapshot("worker"), account.snapshot("socket")]
    one, other = (snapshot.verdicts[0].finding for snapshot in by)
    assert (one.word, one.connections, one.ratio) == (other.word, other.connections, other.ratio)


def test_connections_that_one_worker_keeps_are_a_verdict_of_their_own(tracing: Tracing) -> None:
    """Accepts are even; then the clients of all but one worker leave."""
    with own_network(), ExitStack() as stack:
        port, pids = keepers(stack, 3)
        account = begin(tracing, port)
        clients: dict[int, list[socket.socket]] = {pid: [] for pid in pids}
        for step in range(400):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            clients[int(client.recv(16))].append(client)
            if step % 100 == 99:
                account.snapshot()
        took = {pid: len(those) for pid, those in clients.items()}
        most = max(took, key=lambda pid: took[pid])
        for pid, those in clients.items():
            for client in those[5:] if pid != most else ():
                client.close()
        held = {pid: took[pid] if pid == most else 5 for pid in pids}

        def open_now() -> dict[int | None, int | None]:
            return {row.pid: row.open_connections for row in account.snapshot().acceptors}

        wait_until(lambda: open_now() == held, "the server to close what its clients closed")
        finding = judged(account).finding
    assert finding.word == "UNEVEN OPEN"
    assert f"worker {most} holds" in finding.text
    assert f"({took[most]} of {took[most] + 10})" in finding.text
    assert finding.open_ratio == pytest.approx(took[most] * 3 / (took[most] + 10))


def keepers(stack: ExitStack, workers: int, slow_s: float = 0.0) -> tuple[int, list[int]]:
    """Processes with a reuseport socket each that say who they are, and keep what they accept.

    Where the first is `slow_s` at each, they close it instead.
    """
    sockets = [socket.socket() for _ in range(workers)]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", sockets[0].getsockname()[1] if one is not sockets[0] else 0))
    works = [partial(keep, one) for one in sockets]
    if slow_s:
        works = [partial(close_all, one, slow_s * (one is sockets[0])) for one in sockets]
    pids = [stack.enter_context(child(work)) for work in works]
    port = int(sockets[0].getsockname()[1])
    wait_until(lambda: len(listening(port)) == workers, "every worker to listen")
    for one in sockets:
        one.close()
    return port, pids


def close_all(listener: socket.socket, slow_s: float) -> NoReturn:
    listener.listen(200)
    while True:
        client = listener.accept()[0]
        time.sleep(slow_s)  # the work that it does for each
        client.close()


def keep(listener: socket.socket) -> NoReturn:
    listener.listen(200)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                client = listener.accept()[0]
                client.send(str(os.getpid()).encode())
                selector.register(client, selectors.EVENT_READ)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]


def test_a_slow_member_takes_as_many_and_its_waits_name_it(tracing: Tracing) -> None:
    with own_network(), ExitStack() as stack:
        port, pids = keepers(stack, 3, slow_s=0.004)
        account = begin(tracing, port)
        for _ in range(3):
            run_load([("127.0.0.1", port)], 150, concurrency=30, timeout=30)
            account.snapshot()
        snapshot = settled(account, "worker")
    rows = {row.pid: row for row in snapshot.acceptors if row.accepts}
    waits = {pid: rows[pid].wait_p50_us or 0 for pid in pids}
    assert max(waits, key=lambda pid: waits[pid]) == pids[0]
    finding = snapshot.verdicts[0].finding
    assert (finding.connections, finding.members) == (450, 3), finding
    assert finding.word in ("FAIR", "UNEVEN", "UNEVEN OPEN")
    assert finding.word != "UNEVEN" or (finding.p or 0) < 0.01


def test_workers_that_end_after_so_many_connections_are_judged_while_they_live(
    tracing: Tracing,
) -> None:
    """As php-fpm's pm.max_requests: three at a time, each ends after 40 connections."""
    with own_network(), ExitStack() as stack, listen(200) as server:
        port = port_of(server)
        stack.enter_context(child(partial(replace_workers, server)))
        account = begin(tracing, port)
        for _ in range(6):
            run_load([("127.0.0.1", port)], 150, concurrency=3)
            snapshot = account.snapshot()
    finding = snapshot.verdicts[0].finding
    assert sum(row.accepts for row in snapshot.acceptors) == finding.connections == 900
    ended = [row for row in snapshot.acceptors if not row.alive and row.accepts]
    assert sum(max(row.ended, 1) for row in ended) >= 18
    assert {row.accepts for row in ended if not row.ended} == {40}
    assert finding.members >= 3


def replace_workers(server: socket.socket) -> NoReturn:
    """Fork workers, three at a time; each accepts 40 connections."""
    running = 0
    while True:
        while running < 3:
            if not os.fork():
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                server.setblocking(True)
                for _ in range(40):
                    server.accept()[0].close()
                os._exit(0)
            running += 1
        os.wait()
        running -= 1
