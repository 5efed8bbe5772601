"""A descriptor changes while a thread sleeps in accept(): the connection stays its listener's."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.clients import inode_of, listen, port_of
from tests.kernel.conftest import Tracing, wait_until
from tests.kernel.network import own_network
from tests.kernel.reading import assert_balanced, begin, by_inode, settled
from tests.kernel.steering import RETURN_0, steer_by
from tests.kernel.test_failures import ACCEPT_CALLS

ROUNDS = 20
Change = Callable[[int, socket.socket], None]  # of a descriptor; the other listener


def leave(descriptor: int, _: socket.socket) -> None:
    """As it is."""


def close(descriptor: int, _: socket.socket) -> None:
    os.close(descriptor)


def become_a_listener(descriptor: int, other: socket.socket) -> None:
    os.dup2(other.fileno(), descriptor)


def become_a_connection(descriptor: int, other: socket.socket) -> None:
    with socket.create_connection(other.getsockname()) as client:
        os.dup2(client.fileno(), descriptor)


def become_the_other_end(descriptor: int, other: socket.socket) -> None:
    """Of a connection to the same port."""
    with socket.create_connection(other.getsockname()), other.accept()[0] as accepted:
        os.dup2(accepted.fileno(), descriptor)


def become_a_file(descriptor: int, _: socket.socket) -> None:
    with open("/dev/null", "rb") as file:
        os.dup2(file.fileno(), descriptor)


def sleeps_in_accept(tid: int) -> bool:
    return Path(f"/proc/self/task/{tid}/syscall").read_text().split()[0] in ACCEPT_CALLS


def accept_once(listener: socket.socket, other: socket.socket, change: Change) -> None:
    """A thread sleeps in accept(); its descriptor changes; then a client comes."""
    own = listener.dup()
    own.setblocking(True)
    taken: list[socket.socket] = []
    thread = threading.Thread(target=lambda: taken.append(own.accept()[0]))
    thread.start()
    wait_until(lambda: sleeps_in_accept(thread.native_id or 0), "the thread sleeps in accept()")
    change(own.fileno(), other)
    with socket.create_connection(listener.getsockname()):
        thread.join()
    taken[0].close()
    if change is close:
        own.detach()
    own.close()


@pytest.mark.parametrize(
    "change",
    [
        *(leave, close, become_a_file, become_a_listener),
        *(become_a_connection, become_the_other_end),
    ],
)
def test_accepts_are_of_the_listener_in_the_call(tracing: Tracing, change: Change) -> None:
    with own_network(), listen(100) as server, listen(100) as other:
        other.setblocking(True)
        account = begin(tracing, port_of(server), port_of(other))
        for _ in range(ROUNDS):
            accept_once(server, other, change)
        snapshot = settled(account)
        rows = by_inode(snapshot)
        assert rows.keys() == {inode_of(server), inode_of(other)}
        mine, others = rows[inode_of(server)], rows[inode_of(other)]
    seen_there = ROUNDS if change is become_the_other_end else 0
    assert (mine.accepted, mine.unseen) == (ROUNDS, 0)
    assert (others.accepted, others.unseen) == (seen_there, 0)
    assert_balanced(mine)
    assert (snapshot.books.losses.unattributed, snapshot.books.unseen) == (0, 0)


def test_among_several_listeners_of_a_port_it_is_said_to_be_lost(tracing: Tracing) -> None:
    """Only `tracepoint` looks the descriptor up when the call has ended."""
    with (
        own_network(),
        listen(100, reuseport=True) as first,
        listen(100, reuseport=True, port=port_of(first)) as second,
    ):
        account = begin(tracing, port_of(first))
        steer_by(first, [RETURN_0])
        for _ in range(ROUNDS):
            accept_once(first, second, close)
        snapshot = settled(account)
        rows = by_inode(snapshot)
        accepted = [rows[inode_of(each)].accepted for each in (first, second)]
    books = snapshot.books
    if tracing.plan.attach == "tracepoint":
        assert (accepted, books.losses.unattributed, books.unseen) == ([0, 0], ROUNDS, 0)
        assert not books.balanced
    else:
        assert (accepted, books.losses.unattributed) == ([ROUNDS, 0], 0)
