"""What real servers are said to be: each case has the word that its counts call for."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from contextlib import ExitStack

import pytest

from accepttrace.lab import nginx
from accepttrace.lab.load import run_load
from accepttrace.lab.nginx import Nginx
from accepttrace.lab.servers import Server
from accepttrace.model.snapshot import Snapshot, Verdict
from tests.kernel.conftest import Account, Tracing, tracing, wait_until
from tests.kernel.network import own_network
from tests.kernel.reading import begin

from .test_real_servers import needs

__all__ = ["tracing"]

CONNECTIONS = 2000


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
    assert finding.ratio == pytest.approx(max(took.values()) * 4 / 240, rel=0.05)
    assert finding.p is None or finding.word == "ROUND ROBIN"  # no law of chance, but for turns
    taking = [n for n in took.values() if n]
    if len(taking) == 1:
        assert finding.word == "ONE ACCEPTOR"
    elif max(taking) * len(took) / 240 >= 1.2 and len(taking) == len(took):
        assert finding.word == "UNEVEN"


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
