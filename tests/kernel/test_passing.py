"""A listener that is handed over while that is watched: who has it, and by which way.

What is said is compared with what each process did to get it.
"""

from __future__ import annotations

import ctypes
import os
import socket

import pytest

from accepttrace.config import Config, Filters
from accepttrace.facts.records import Came
from accepttrace.probe.plans import AttachType
from accepttrace.run.tcp import TcpSubject
from accepttrace.run.who import Sought, WhoReader
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.inventory import InventoryReader
from accepttrace.views.who.holders import Style
from accepttrace.views.who.tree import text_lines

from .clients import inode_of, listen, port_of
from .conftest import offered, wait_until
from .test_who import child

PIDFD_GETFD = 438
BY_MESSAGE, BY_GETFD = "over a UNIX socket (SCM_RIGHTS)", "by pidfd_getfd"


def from_message(sock: socket.socket, channel: socket.socket) -> list[int]:
    """What a child of ours does that inherited it: nobody would know that from its ancestry."""
    sock.close()
    return socket.recv_fds(channel, 1, 1)[1]


def from_parent(sock: socket.socket) -> list[int]:
    """The same by pidfd_getfd()."""
    fd, pidfd = sock.detach(), os.pidfd_open(os.getppid())
    os.close(fd)
    got = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, fd, 0)
    assert got >= 0, os.strerror(ctypes.get_errno())
    return [got]


@pytest.fixture(params=sorted({way.attach for way in offered()}))
def attach(request: pytest.FixtureRequest) -> AttachType:
    """Each: by a tracepoint it is not seen, and nothing is said of it."""
    found: AttachType = request.param
    return found


def test_who_was_handed_a_listener_is_known_by_its_way(attach: AttachType) -> None:
    ours, theirs = socket.socketpair()
    iterator = open_iterator("tcp", (attach,))
    assert iterator is not None
    with iterator, ours, theirs, listen(5) as sock:
        assert iterator.watches == (attach != "tracepoint")
        reader = InventoryReader(Filters(ports=frozenset({port_of(sock)})), iterator)
        socket.send_fds(ours, [b"x"], [sock.fileno()])
        with (
            child(lambda: None) as inherits,
            child(lambda: from_message(sock, theirs)) as receives,
            child(lambda: from_parent(sock)) as takes,
        ):
            (row,) = reader.read(full=True).listeners
        reader.close()
    said: dict[int, Came | None] = {one.pid: one.came for one in row.holders}
    seen: dict[int, Came | None] = {receives: "SCM_RIGHTS", takes: "pidfd_getfd"}
    if attach == "tracepoint":
        seen = dict.fromkeys(seen)
    assert said == {os.getpid(): None, inherits: None, **seen}


def passed(run: TcpSubject) -> set[str | None]:
    """What events say of who was handed a listener."""
    return {event.text for event in run.refresh().events if event.kind == "PASSED"}


def test_a_run_has_it_as_an_event_and_who_in_its_sentence(attach: AttachType) -> None:
    of_ways = 0 if attach == "tracepoint" else 2
    ours, theirs = socket.socketpair()
    with ours, theirs, listen(5) as sock:
        filters = Filters(ports=frozenset({port_of(sock)}))
        with (
            TcpSubject(Config(filters, attach=attach, loader="libbpf")) as run,
            WhoReader(filters, Sought(watched=True)) as who,
        ):
            run.refresh()
            socket.send_fds(ours, [b"x"], [sock.fileno()])
            with (
                child(lambda: from_message(sock, theirs), "web") as receives,
                child(lambda: from_parent(sock), "web") as takes,
            ):
                wait_until(lambda: len(passed(run)) == of_ways, "both are seen")
                events = passed(run)
                text = " ".join(" ".join(text_lines(who.look(), "", Style(80))).split())
        inode = inode_of(sock)
    if attach == "tracepoint":  # `who` tries what else there is
        assert not events
        return
    assert {part.rpartition(" got ")[2] for part in filter(None, events)} == {
        f"socket {inode} {BY_MESSAGE}",
        f"socket {inode} {BY_GETFD}",
    }
    assert any(f"pid {receives} " in part for part in filter(None, events))
    assert f"pid {receives}: passed over a UNIX socket (traced)" in text
    assert f"pid {takes}: taken by pidfd_getfd (traced)" in text
