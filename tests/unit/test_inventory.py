"""The inventory over real sockets: forked, reuseport, IPv6, in another network namespace."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache

import pytest

from accepttrace.config import Filters
from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts.records import ListenerFact, Unread
from accepttrace.probe.holders import HolderIterator
from accepttrace.sockets import inventory as inventory_module
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.inventory import InventoryReader

from .forked import child, wait_until

HERE = os.stat("/proc/self/ns/net").st_ino


def reuseport(address: str, port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    sock.listen(9)
    return sock


def port_of(sock: socket.socket) -> int:
    port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


Reader = Callable[[int], InventoryReader]


@pytest.fixture(params=["kernel", "proc"])
def reader_of(request: pytest.FixtureRequest) -> Reader:
    """By the kernel's own list of open files, and by reading /proc."""
    iterator = shared_iterator() if request.param == "kernel" else None
    if request.param == "kernel" and iterator is None:
        pytest.skip("BPF may not be used here")
    return lambda port: InventoryReader(Filters(ports=frozenset({port})), iterator)


@cache
def shared_iterator() -> HolderIterator | None:
    return open_iterator()


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_process_one_socket(address: str, reader_of: Reader) -> None:
    with reuseport(address) as sock:
        inode = inode_of(sock)
        found = reader_of(port_of(sock)).read()
        (row,) = found.listeners
    assert (row.inode, row.netns, row.local_address) == (inode, HERE, address)
    assert (row.backlog, row.queue, row.uid) == (9, 0, os.geteuid())
    assert [holder.pid for holder in row.holders] == [os.getpid()]
    assert row.holders[0].fd > 2
    # One visible holder proves "sole" only if everybody is visible.
    assert row.sharing == (None if found.partial else "sole")
    assert (row.group, row.group_size, row.selector) == (None, None, None)


def test_a_forked_server_shares_one_socket(address: str, reader_of: Reader) -> None:
    def worker() -> None:
        epoll = select.epoll()
        epoll.register(sock.fileno(), select.EPOLLIN)
        epoll.poll()

    with ExitStack() as stack:
        sock = stack.enter_context(reuseport(address))
        workers = {stack.enter_context(child(worker)) for _ in range(3)}
        blocked = stack.enter_context(child(sock.accept))
        idle = stack.enter_context(child(signal.pause))
        reader = reader_of(port_of(sock))

        def ways() -> dict[int, str | bool | None]:
            (row,) = reader.read().listeners
            assert row.sharing == "shared"
            return {h.pid: h.waits_in or h.waits for h in row.holders if h.pid != os.getpid()}

        expected = dict.fromkeys(workers, "epoll") | {blocked: "accept", idle: False}
        wait_until(lambda: ways() == expected)


def test_reuseport_is_proved_by_numbers(address: str, reader_of: Reader) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(reuseport(address))
        socks = [first] + [
            stack.enter_context(reuseport(address, port_of(first))) for _ in range(3)
        ]
        rows = reader_of(port_of(first)).read().listeners
        assert {row.inode for row in rows} == {inode_of(sock) for sock in socks}
        assert {(row.sharing, row.group, row.group_size) for row in rows} == {
            ("reuseport", None, 4)
        }
        socks[-1].close()
        rows = reader_of(port_of(first)).read().listeners
        assert [row.group_size for row in rows] == [3, 3, 3]


def test_families_on_one_port_are_two_groups(reader_of: Reader) -> None:
    with reuseport("127.0.0.1") as four, reuseport("::1", port_of(four)):
        found = reader_of(port_of(four)).read().listeners
        assert sorted((row.family, row.group_size or 0) for row in found) == [
            ("ipv4", 0),
            ("ipv6", 0),
        ]
        six = Filters(ports=frozenset({port_of(four)}), family="ipv6")
        assert [row.family for row in InventoryReader(six).read().listeners] == ["ipv6"]


def test_what_bpf_read_of_the_group_wins() -> None:
    with reuseport("127.0.0.1") as sock:
        facts = {inode_of(sock): ListenerFact(17, 1, "cbpf", defers=True, half_open=3)}
        only = Filters(ports=frozenset({port_of(sock)}))
        reader = InventoryReader(only, ask_facts=lambda: facts)
        ((row,), (again,)) = reader.read().listeners, reader.read().listeners
    assert again.group == row.group
    assert (row.defers, row.half_open) == (True, 3)
    assert (row.sharing, row.group, row.group_size, row.selector) == ("reuseport", 17, 1, "cbpf")


def test_queue_as_ss_shows_it(reader_of: Reader) -> None:
    with reuseport("127.0.0.1") as sock, socket.create_connection(sock.getsockname()):
        reader = reader_of(port_of(sock))
        wait_until(lambda: reader.read().listeners[0].queue == 1)


def test_filters_of_the_listener() -> None:
    with reuseport("127.0.0.1") as sock, reuseport("127.0.0.2", port_of(sock)):
        ports = frozenset({port_of(sock)})
        only = Filters(ports=ports, addresses=frozenset({"127.0.0.2"}))
        rows = InventoryReader(only).read().listeners
        assert [row.local_address for row in rows] == ["127.0.0.2"]
        elsewhere = Filters(ports=ports, netns=frozenset({HERE + 1}))
        assert InventoryReader(elsewhere).read().listeners == ()


def test_the_baseline_has_every_listener_and_the_counters_from_then_on() -> None:
    with reuseport("127.0.0.1") as sock:
        reader = InventoryReader(Filters(ports=frozenset({1})))
        assert reader.read().namespaces == ()  # nobody asked for them
        found = reader.baseline()
        assert inode_of(sock) in found.sockets  # whatever the filters say
        here = found.namespaces[HERE]
        assert (here.netns, here.drops.get(inode_of(sock), 0)) == (HERE, 0)
        later = {one.netns: one for one in reader.read(counted=[HERE]).namespaces}
        assert later[HERE].counters is not None


def test_a_reader_is_asked_for_unix_sockets_only_where_nothing_else_is_found() -> None:
    mine = frozenset({os.getpid()})
    name = f"accepttrace-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as unix, reuseport("127.0.0.1") as sock:
        unix.bind(f"\0{name}")
        unix.listen()
        elsewhere = Filters(ports=frozenset({1}), pids=mine)
        assert InventoryReader(elsewhere).read().unix == (f"@{name}",)
        assert InventoryReader(Filters(ports=frozenset({1}))).read().unix == ()
        here = Filters(ports=frozenset({port_of(sock)}), pids=mine)
        assert InventoryReader(here).read().unix == ()


def test_a_listener_that_appears_later_gets_its_holders(reader_of: Reader) -> None:
    with reuseport("127.0.0.1") as sock:
        port = port_of(sock)
    reader = reader_of(port)
    assert reader.read().listeners == ()
    with reuseport("127.0.0.1", port):

        def held() -> bool:
            rows = reader.read().listeners
            return bool(rows) and [h.pid for h in rows[0].holders] == [os.getpid()]

        wait_until(held, 30)  # a look at /proc is followed by 20 times its time of rest


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of our own needs root")
def test_other_namespaces_are_listed(reader_of: Reader) -> None:
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as process:
        path = f"/proc/{process.pid}/ns/net"
        wait_until(lambda: os.stat(path).st_ino != HERE)
        inside = os.stat(path).st_ino
        with (
            reuseport("127.0.0.1") as sock,
            call_inside(path, lambda: reuseport("127.0.0.1", port_of(sock))) as other,
        ):
            rows = reader_of(port_of(sock)).read().listeners
            assert {row.netns: row.inode for row in rows} == {
                HERE: inode_of(sock),
                inside: inode_of(other),
            }
            # Two namespaces never share a group, and a socket may be held from outside.
            assert {row.group_size for row in rows} == {None}
            assert all(h.pid == os.getpid() for row in rows for h in row.holders)
            only = Filters(ports=frozenset({port_of(sock)}), netns=frozenset({inside}))
            assert [row.netns for row in InventoryReader(only).read().listeners] == [inside]
        process.kill()


def test_a_namespace_that_may_not_be_entered_makes_it_partial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> tuple[()]:
        raise UnsupportedError("no CAP_SYS_ADMIN")

    monkeypatch.setattr(inventory_module, "look", refuse)
    closed = Unread(f"network namespace {HERE}", "permission denied")
    assert closed in InventoryReader(Filters()).read().unread


def test_a_kernel_that_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> tuple[()]:
        raise AcceptTraceError("the kernel refused")

    monkeypatch.setattr(inventory_module, "look", fail)
    with pytest.raises(AcceptTraceError, match="refused"):
        InventoryReader(Filters()).read()
