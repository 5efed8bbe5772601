"""Filters in the kernel: traffic to another port, process, family or namespace adds no row."""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from socket import AF_INET

import pytest

from accepttrace.config import Filters
from accepttrace.lab.children import READY, fork
from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.sockets.inventory import InventoryReader, held_by

from .conftest import Account, Tracing, iterator
from .network import own_network
from .reading import number_of

PR_SET_NAME = 15


def counted(tracing: Tracing) -> dict[int, int]:
    """Accepts by listener inode, straight from the kernel's maps: no filter of the model helps."""
    found: dict[int, int] = {}
    for item in tracing.session.counts().acceptors:
        found[item.listener_inode] = found.get(item.listener_inode, 0) + item.accepts
    return found


def test_other_ports_are_not_counted(tracing: Tracing) -> None:
    with Server("epoll", workers=1) as wanted, Server("epoll", workers=1) as other:
        tracing.of(wanted.port)
        run_load(wanted.addresses, 23)
        run_load(other.addresses, 29)
        found = counted(tracing)
    assert found[wanted.counts()[0].inode] == 23
    assert other.counts()[0].inode not in found


def test_no_port_means_every_listener(tracing: Tracing) -> None:
    with Server("epoll", workers=1) as one, Server("epoll", workers=1, family="ipv6") as two:
        tracing.of(filters=Filters())
        run_load(one.addresses, 23)
        run_load(two.addresses, 29)
        found = counted(tracing)
    assert (found[one.counts()[0].inode], found[two.counts()[0].inode]) == (23, 29)


def test_other_processes_are_not_counted(tracing: Tracing) -> None:
    with Server("blocking", workers=2) as server:
        wanted = server.pids[0]
        tracing.of(filters=Filters(pids=frozenset({wanted})))
        run_load(server.addresses, 20)
        server.stop()
        mine = {c.pid: c.accepts for c in server.counts()}
        inode = server.counts()[0].inode
        rows = [a for a in tracing.session.counts().acceptors if a.listener_inode == inode]
    assert {row.pid: row.accepts for row in rows} == {wanted: mine[wanted]}


def test_other_families_are_not_counted(tracing: Tracing) -> None:
    with Server("epoll", workers=1) as four, Server("epoll", workers=1, family="ipv6") as six:
        tracing.of(filters=Filters(family="ipv6"))
        run_load(four.addresses, 23)
        run_load(six.addresses, 29)
        found = counted(tracing)
    assert found[six.counts()[0].inode] == 29
    assert four.counts()[0].inode not in found


# Bound to, IPV6_V6ONLY, the address of a client, and whether it serves IPv4.
SIX = (("::", 0, "127.0.0.1", True), ("::ffff:127.0.0.1", 0, "127.0.0.1", True),
       ("::", 1, "::1", False), ("::1", 0, "::1", False))  # fmt: skip


@pytest.mark.parametrize(
    "filters",
    [Filters(family="ipv4"), Filters(addresses=frozenset({"127.0.0.1"}))],
    ids=["family", "address"],
)
def test_sockets_of_ipv6_that_serve_ipv4_are_counted(tracing: Tracing, filters: Filters) -> None:
    tracing.of(filters=filters)
    expected: dict[int, int | None] = {}
    with ExitStack() as stack:
        for number, (bound, v6only, address, serves) in enumerate(SIX, 3):
            server = stack.enter_context(socket.socket(socket.AF_INET6))
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            server.bind((bound, 0))
            server.listen()
            for _ in range(number):
                socket.create_connection((address, server.getsockname()[1])).close()
                server.accept()[0].close()
            expected[os.fstat(server.fileno()).st_ino] = number if serves else None
        found = counted(tracing)
        assert {inode: found.get(inode) for inode in expected} == expected
        account = Account(tracing.session, filters)
        assert {row.inode for row in account.snapshot().listeners} & expected.keys() == {
            inode for inode, number in expected.items() if number
        }


@pytest.mark.parametrize(
    "filters",
    [
        Filters(family="ipv4"),
        Filters(family="ipv6"),
        Filters(addresses=frozenset({"127.0.0.1"})),
        Filters(addresses=frozenset({"::1"})),
    ],
    ids=["-4", "-6", "127.0.0.1", "::1"],
)
def test_what_a_filter_leaves_out_is_not_missing(tracing: Tracing, filters: Filters) -> None:
    """Clients of both families on one socket, and a second one on its port that is left out."""
    port, inodes = 0, set()
    with ExitStack() as stack:
        servers = []
        for family, bound in ((socket.AF_INET6, "::"), (socket.AF_INET, "127.0.0.2")):
            server = stack.enter_context(socket.socket(family))
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind((bound, port))
            server.listen()
            port = server.getsockname()[1]
            servers.append(server)
            inodes.add(os.fstat(server.fileno()).st_ino)
        account = tracing.of(filters=replace(filters, ports=frozenset({port})))
        account.snapshot()
        for address, number in (("127.0.0.1", 5), ("::1", 7), ("127.0.0.2", 11)):
            for _ in range(number):
                client = socket.create_connection((address, port))
                servers[address == "127.0.0.2"].accept()[0].close()
                client.close()
        snapshot = account.snapshot()
    shown = {row.inode: row.accepted for row in snapshot.listeners}
    assert sorted(shown.values()) == ([11, 12] if filters.family == "ipv4" else [12])
    assert snapshot.books.word != "unbalanced"
    assert not snapshot.books.unseen


SERVE_ELSEWHERE = """
import os, socket, sys
os.system("ip link set lo up")
server = socket.create_server(("127.0.0.1", 0))
for _ in range(11):
    client = socket.create_connection(server.getsockname())
    server.accept()[0].close()
    client.close()
print(os.stat("/proc/self/ns/net").st_ino, os.fstat(server.fileno()).st_ino)
"""


def test_network_namespaces_are_kept_apart(tracing: Tracing) -> None:
    here = os.stat("/proc/self/ns/net").st_ino
    for filters, expected in ((Filters(netns=frozenset({here})), None), (Filters(), 11)):
        tracing.of(filters=filters)
        command = ["unshare", "--net", sys.executable, "-c", SERVE_ELSEWHERE]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        netns, inode = map(int, done.stdout.split())
        assert counted(tracing).get(inode) == expected
        if expected:
            listener = next(x for x in tracing.session.counts().listeners if x.inode == inode)
            assert listener.netns == netns != here


LONG = "a-very-long-name-of-a-program"  # the kernel keeps 15 bytes of it


def _accept(name: str, places: Sequence[tuple[str, int]], channel: socket.socket) -> None:
    """A server of this name: listens there, says its inodes, and takes whatever comes."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(
                socket.create_server(place, family=socket.AF_INET6 if ":" in place[0] else AF_INET)
            )
            for place in places
        ]
        channel.sendall(READY)
        channel.sendall(json.dumps([os.fstat(one.fileno()).st_ino for one in listeners]).encode())
        while channel not in (ready := select.select([channel, *listeners], [], [])[0]):
            for one in ready:
                one.accept()[0].close()


@contextmanager
def scene() -> Iterator[dict[str, tuple[int, int, str]]]:
    """Three listeners of two processes, two of them on one port: inode, PID, address of each."""
    with own_network():
        places = {LONG: (("127.0.0.1", 81),), "two": (("::1", 81), ("127.0.0.2", 82))}
        children = [fork(partial(_accept, name, there)) for name, there in places.items()]
        try:
            found: dict[str, tuple[int, int, str]] = {}
            for child, there in zip(children, places.values(), strict=True):
                child.await_ready()
                inodes = json.loads(child.channel.recv(4096))
                for (address, _), inode in zip(there, inodes, strict=True):
                    found[address] = (inode, child.pid, address)
            yield found
        finally:
            for child in children:
                child.hang_up()
                child.reap()


# Which of them each filter lets through, and whether the kernel's own filter knows it too.
CHOICES: Mapping[str, tuple[Callable[[int], Filters], set[str], bool]] = {
    "port": (lambda _: Filters(ports=frozenset({81})), {"127.0.0.1", "::1"}, True),
    "-4": (lambda _: Filters(family="ipv4"), {"127.0.0.1", "127.0.0.2"}, True),
    "-6": (lambda _: Filters(family="ipv6"), {"::1"}, True),
    "address": (lambda _: Filters(addresses=frozenset({"127.0.0.2"})), {"127.0.0.2"}, False),
    "pid": (lambda pid: Filters(pids=frozenset({pid})), {"127.0.0.1"}, True),
    "comm": (lambda _: Filters(comms=frozenset({LONG})), {"127.0.0.1"}, False),
    "both": (lambda _: Filters(family="ipv4", ports=frozenset({81})), {"127.0.0.1"}, True),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_kernel_who_and_top_let_the_same_through(tracing: Tracing, choice: str) -> None:
    make, expected, by_kernel = CHOICES[choice]
    with scene() as there:
        filters = make(there["127.0.0.1"][1])
        account = tracing.of(filters=filters)
        account.snapshot()
        for address, port in (("127.0.0.1", 81), ("::1", 81), ("127.0.0.2", 82)):
            for _ in range(3):
                with socket.create_connection((address, port)) as client:
                    assert client.recv(1) == b""
        of = {inode: address for inode, _, address in there.values()}
        kernel = {of[inode] for inode, number in counted(tracing).items() if number == 3}
        top = {of[number_of(row)] for row in account.snapshot("socket").listeners if row.accepted}
        with closing(InventoryReader(filters, iterator())) as reader:
            shown = held_by(reader.read(full=True), filters).listeners
        who = {of[row.inode] for row in shown if row.inode in of}
    assert (top, who) == (expected, expected)
    assert kernel == expected if by_kernel else kernel >= expected
