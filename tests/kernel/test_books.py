"""What came is what was accepted, waits or is lost: at every moment, whatever workers do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from accepttrace.facts.sight import Fact
from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load, run_load
from accepttrace.lab.servers import Server
from accepttrace.probe.load.core import Loaded
from accepttrace.probe.load.libbpf import library
from accepttrace.probe.session import Session

from .clients import Clients, address_of, drain, listen, port_of
from .conftest import Tracing, Way, attached, name, offered, wait_until
from .network import own_network
from .reading import (
    assert_balanced,
    begin,
    by_inode,
    if_seen,
    only,
    says_incomplete,
    settled,
    skipped,
)

FEW = 20
LOOKS = 5
LIMIT_S = 30.0
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
EVERYTHING = {
    *("accepts", "waits", "empty", "errors", "refused", "selected"),
    *("overflow", "arrived", "closed", "migrated", "unseen"),
}
UNSEEN_BY = {
    "fentry": set(),
    "kprobe": {"errors"},
    "tracepoint": {"selected", "overflow", "arrived", "migrated"},
}
BY_LIBBPF = [way for way in offered() if way.loader == "libbpf"]


def test_each_attach_type_sees_what_it_is_known_to_see(tracing: Tracing) -> None:
    """What the tests of losses expect follows from this."""
    assert EVERYTHING - tracing.plan.sees.facts == UNSEEN_BY[tracing.plan.attach]


@pytest.mark.parametrize("mode", ["reuseport", "shared", "blocking"])
def test_books_balance_at_every_moment_of_a_load(tracing: Tracing, mode: str) -> None:
    with own_network(), Server(mode, workers=3) as server:
        account = begin(tracing, server.port)
        with Load(server.addresses, Plan(duration_s=LIMIT_S, concurrency=16)) as load:
            snapshots = [account.snapshot("socket") for _ in range(LOOKS)]
            connected = load.stop().connected
        accepts = [snapshot.books.accepts for snapshot in snapshots]
        assert len(set(accepts)) > 2  # the load went on meanwhile
        snapshots.append(settled(account))
    if says_incomplete(tracing, snapshots[-1]):
        return
    for snapshot in snapshots:
        assert {row.book for row in snapshot.listeners} == {"balanced"}
        assert (snapshot.books.word, snapshot.books.balanced) == ("balanced", True)
    rows = snapshots[-1].listeners
    assert sum(row.accepted for row in rows) == connected
    for row in rows:
        assert row.arrived == if_seen(tracing, "arrived", row.accepted)
    assert_balanced(*rows)


def test_what_waited_before_the_tracer_is_known(tracing: Tracing) -> None:
    with own_network(), Server("epoll", workers=1) as server:
        server.pause()
        with Clients(server.addresses[0], FEW):
            account = begin(tracing, server.port)
            row = only(account)
            assert (row.queue, row.accepted) == (FEW, 0)
            server.resume()
            wait_until(lambda: server.counts()[0].accepts == FEW, "all accepted")
        run_load(server.addresses, FEW)
        row = only(account)
    assert (row.queue, row.accepted) == (0, 2 * FEW)
    assert row.arrived == if_seen(tracing, "arrived", FEW)
    assert_balanced(row)


def test_a_start_amid_a_load_leaves_no_debt(tracing: Tracing) -> None:
    with own_network(), Server("shared", workers=3) as server:
        with Load(server.addresses, Plan(duration_s=LIMIT_S, concurrency=16)) as load:
            wait_until(lambda: sum(c.accepts for c in server.counts()) > FEW, "a load")
            account = tracing.of(server.port)
            before = sum(count.accepts for count in server.counts())
            for _ in range(LOOKS):
                misses = skipped(tracing)
                snapshot = account.snapshot()
                if says_incomplete(tracing, snapshot, misses):
                    return
                assert snapshot.books.word == "balanced"
            connected = load.stop().connected
        snapshot = settled(account)
    if says_incomplete(tracing, snapshot):
        return
    (row,) = snapshot.listeners
    # Each worker may have taken one before that it had not counted yet.
    assert 0 < connected - row.accepted <= before + len(server.counts())
    assert_balanced(row)


def test_a_queue_that_never_rests_was_never_longer_than_its_clients_can_make_it(
    tracing: Tracing,
) -> None:
    """No moment of rest shows how long it was when tracing began, which its mean stands on."""
    plan = Plan(duration_s=LIMIT_S, rate=200, concurrency=4)
    with own_network(), Server("epoll", workers=16) as server, Load(server.addresses, plan) as load:
        wait_until(lambda: sum(c.accepts for c in server.counts()) > FEW, "a load")
        account = tracing.of(server.port)

        def is_enough() -> bool:
            return account.snapshot("socket").listeners[0].accepted > 5 * FEW

        wait_until(is_enough, "a longer load", LIMIT_S)
        (row,) = account.snapshot("socket").listeners
        load.stop()
        last = settled(account)
    if says_incomplete(tracing, last):
        return
    if row.queue_mean is None or row.queue_start is None or row.queue_max is None:
        assert not tracing.plan.sees.arrived
        return
    assert 0 <= row.queue_start <= row.queue_max <= plan.concurrency
    assert 0 <= row.queue_mean <= row.queue_max


def test_the_mean_of_a_queue_that_never_rests_is_what_its_clients_fill(tracing: Tracing) -> None:
    """All of them wait, but for the one that was just taken until it has come anew."""
    plan = Plan(duration_s=LIMIT_S, concurrency=4)
    server = Server("shared", workers=1, hold=0.2)
    with own_network(), server, Load(server.addresses, plan) as load:
        wait_until(lambda: server.counts()[0].accepts > plan.concurrency, "a load")
        account = tracing.of(server.port)

        def is_enough() -> bool:
            return account.snapshot("socket").listeners[0].accepted > FEW // 2

        wait_until(is_enough, "a longer load", LIMIT_S)
        (row,) = account.snapshot("socket").listeners
        load.stop()
        last = settled(account)
    if says_incomplete(tracing, last) or not tracing.plan.sees.arrived:
        return
    assert row.queue_mean is not None
    assert plan.concurrency - 0.5 < row.queue_mean <= plan.concurrency
    assert_balanced(*last.listeners)


def detach(session: Session, proves: Fact) -> None:
    """Take away the hooks that show this, as if they had failed in silence."""
    loaded = session._loaded
    assert isinstance(loaded, Loaded)
    for hook, link in [each for each in loaded._links if each[0].proves == proves]:
        library().bpf_link__destroy(link)
        loaded._links.remove((hook, link))


@pytest.mark.parametrize("way", BY_LIBBPF, ids=name)
def test_accepts_that_nobody_saw_are_missed_to_the_last_one(way: Way) -> None:
    with attached(way) as session, own_network(), listen(100) as server:
        port = port_of(server)
        account = begin(Tracing(session), port)
        with Clients(address_of("ipv4", port), FEW):
            assert drain(server, 5) == 5
            detach(session, "accepts")
            assert drain(server, 7) == 7
            snapshot = settled(account)
    (row,) = snapshot.listeners
    assert (row.accepted, row.queue) == (5, FEW - 12)
    if way.attach == "tracepoint":  # as if by io_uring
        assert (row.unseen, row.book, row.imbalance) == (7, "unchecked", 0)
        assert (snapshot.books.word, snapshot.books.unseen) == ("unchecked", 7)
    else:
        assert (row.arrived, row.book, row.imbalance) == (FEW, "unbalanced", 7)
        assert (snapshot.books.word, snapshot.books.balanced) == ("unbalanced", False)


@pytest.mark.parametrize("way", BY_LIBBPF, ids=name)
def test_arrivals_that_nobody_saw_are_missed_to_the_last_one(way: Way) -> None:
    with attached(way) as session, own_network(), listen(100) as server:
        port = port_of(server)
        account = begin(Tracing(session), port)
        detach(session, "closed" if way.attach == "tracepoint" else "arrived")
        with Clients(address_of("ipv4", port), FEW):
            assert drain(server, 7) == 7
            snapshot = settled(account)
    (row,) = snapshot.listeners
    assert (row.accepted, row.queue, row.book, row.imbalance) == (7, FEW - 7, "unbalanced", -FEW)
    assert (snapshot.books.word, snapshot.books.balanced) == ("unbalanced", False)


WORKER = """
import os, socket, sys

def take(count):
    for _ in range(count):
        listener.accept()[0].close()

listener, again = socket.socket(fileno=int(sys.argv[1])), len(sys.argv) > 2
take(5 if again else 3)
if not again:
    child = os.fork()
    if child == 0:
        take(4)
        os._exit(0)
    os.waitpid(child, 0)
    print(child, flush=True)
    os.execv(sys.executable, [sys.executable, "-c", os.environ["CODE"], sys.argv[1], "again"])
"""


def test_totals_are_kept_through_fork_exec_and_exit(tracing: Tracing) -> None:
    with own_network(), listen(100) as server:
        port = port_of(server)
        account = begin(tracing, port)
        server.setblocking(True)
        with Clients(address_of("ipv4", port), 3 + 4 + 5):
            with subprocess.Popen(
                [sys.executable, "-c", WORKER, str(server.fileno())],
                pass_fds=[server.fileno()],
                env={**os.environ, "CODE": WORKER},
                stdout=subprocess.PIPE,
                text=True,
            ) as worker:
                assert worker.stdout is not None
                child = int(worker.stdout.readline())
            snapshot = settled(account, "worker")
    assert worker.returncode == 0
    assert {row.pid: (row.accepts, row.alive) for row in snapshot.acceptors} == {
        worker.pid: (3 + 5, False),
        child: (4, False),
        os.getpid(): (0, True),
    }
    assert_balanced(*snapshot.listeners)


def run_as(wanted: int | None, listener: socket.socket, count: int) -> int:
    """A process that accepts so many and ends, with that PID if it is to be had now."""
    if wanted is not None:
        LAST_PID.write_text(str(wanted - 1))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if wanted not in (None, os.getpid()) or drain(listener, count) == count else 1)
    assert os.waitpid(pid, 0)[1] == 0
    return pid


@pytest.mark.xfail(not LAST_PID.exists(), run=False, reason="no CONFIG_CHECKPOINT_RESTORE")
def test_two_processes_with_one_pid_are_two_workers(tracing: Tracing) -> None:
    with own_network(), listen(100) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), 3 + 5):
            pid = run_as(None, server, 3)
            settled(account)
            tries = iter(range(50))  # somebody else may take it
            while run_as(pid, server, 5) != pid:
                next(tries)
            snapshot = settled(account, "worker")
    rows = [(row.accepts, row.alive) for row in snapshot.acceptors if row.pid == pid]
    assert sorted(rows) == [(3, False), (5, False)]
    assert_balanced(*snapshot.listeners)


def test_a_server_that_starts_anew_on_its_port_has_books_of_its_own(tracing: Tracing) -> None:
    with own_network():
        with Server("reuseport", workers=3) as old:
            account = begin(tracing, old.port)
            run_load(old.addresses, 3 * FEW, concurrency=8)
            settled(account)
        with Server("reuseport", workers=2, port=old.port) as new:
            run_load(new.addresses, 2 * FEW, concurrency=8)
            snapshot = settled(account, "worker")
    rows = by_inode(snapshot)
    counts = {c.inode: c.accepts for c in (*old.counts(), *new.counts())}
    assert {inode: row.accepted for inode, row in rows.items()} == counts
    assert {inode for inode, row in rows.items() if row.open} == {c.inode for c in new.counts()}
    assert sum(row.accepts for row in snapshot.acceptors) == 5 * FEW
    assert snapshot.books.accepts == 5 * FEW
    assert_balanced(*rows.values())
