"""Whom the kernel chose in a reuseport group, and by what, against the servers' own counts."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from accepttrace.config import Config, Filters
from accepttrace.facts.records import Program
from accepttrace.lab.acceptors import RESET_ON_CLOSE
from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.model.snapshot import Snapshot
from accepttrace.run.tcp import TcpSubject
from accepttrace.sockets.diag import netlink
from accepttrace.sockets.diag import tcp as sockdiag

from .clients import Clients, address_of, drain, inode_of, listen, port_of
from .conftest import Tracing, wait_until
from .network import counted, listening, own_network, sockets
from .packets import ACK, FIN, FIRST_SEQUENCE, RST, SYN_ACK, Peers
from .reading import assert_balanced, begin, by_inode, if_seen, settled
from .steering import (
    DOUBLE,
    DROP_HALF,
    LOAD_CPU,
    MODULO_3,
    RETURN,
    RETURN_1,
    Classic,
    id_of,
    let_hash_choose,
    program,
    steer,
    steer_by,
    wants_cpu,
)

RELEASE = tuple(int(part) for part in os.uname().release.split(".")[:2])
CONNECTIONS = 200
FEW = 30
RETURNS, FIXED_PORTS = 200, 8
LARGE = 150  # members: more than the kernel has room for at first
STRAYS = range(30_000, 30_050)
PEERS = range(20_000, 20_030)
NLM_F_REQUEST, SOCK_DIAG_BY_FAMILY = 1, 20


@contextmanager
def group(members: int) -> Iterator[list[socket.socket]]:
    """Sockets of our own that share a port; nobody accepts unless the test does."""
    with ExitStack() as stack:
        opened: list[socket.socket] = []
        for _ in range(members):
            port = port_of(opened[0]) if opened else 0
            opened.append(stack.enter_context(listen(1000, port=port, reuseport=True)))
        yield opened


@contextmanager
def on_one_processor() -> Iterator[int]:
    """What comes over loopback comes in on the processor that it left from."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield min(allowed)
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def returning(address: tuple[str, int], port: int) -> Iterator[None]:
    """One connection from `port`, which is free again afterwards; 0: from any."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((address[0], port))
        client.connect(address)
        yield


def assert_selected(tracing: Tracing, snapshot: Snapshot, got: dict[int, int]) -> None:
    """Every member was selected as often as it got connections, no more."""
    rows = by_inode(snapshot)
    assert {inode: row.accepted for inode, row in rows.items()} == got
    for inode, count in got.items():
        assert rows[inode].selected == if_seen(tracing, "selected", count)
        assert rows[inode].arrived == if_seen(tracing, "arrived", count)
    assert_balanced(*rows.values())


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "mapped"])
def test_each_member_is_selected_as_often_as_it_gets_a_connection(
    tracing: Tracing, family: str
) -> None:
    with own_network(), Server("reuseport", workers=4, family=family) as server:  # type: ignore[arg-type]
        account = begin(tracing, server.port)
        load = run_load(server.addresses, CONNECTIONS, concurrency=8)
        snapshot = settled(account)
    got = {count.inode: count.accepts for count in server.counts()}
    assert sum(got.values()) == load.connected == CONNECTIONS
    assert_selected(tracing, snapshot, got)
    groups = {(row.group_size, row.selector, row.sharing) for row in snapshot.listeners}
    assert groups == {(4, "hash", "reuseport")}
    assert len({row.group for row in snapshot.listeners}) == 1
    assert {r.listener_inode: r.selected for r in snapshot.acceptors} == {
        inode: if_seen(tracing, "selected", count) for inode, count in got.items()
    }


def look_up(port: int, client_port: int) -> int:
    """Ask for one exact socket, as `ss` may: the kernel finds a listener by selecting."""
    here = socket.inet_aton("127.0.0.1") + bytes(12)
    identity = struct.pack("!HH", port, client_port) + here + here
    identity += struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + identity
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, netlink.NETLINK_SOCK_DIAG) as link:
        head = struct.pack("=IHHII", 16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0)
        link.send(head + body)
        answer = link.recv(65536)
    assert struct.unpack_from("=IHHII", answer)[1] == SOCK_DIAG_BY_FAMILY
    return sockdiag.decode(answer[16:]).inode


def resets(peers: Peers) -> int:
    return sum(segment.flags == RST for segment in peers.heard)


def test_what_is_no_request_for_a_connection_is_not_counted(tracing: Tracing) -> None:
    with own_network(), Server("reuseport", workers=4) as server:
        account = begin(tracing, server.port)
        run_load(server.addresses, FEW)
        members = listening(server.port).keys()
        assert {look_up(server.port, client) for client in STRAYS} <= members
        with Peers(server.port) as peers:
            for flags in (ACK, SYN_ACK, FIN | ACK, RST, RST | ACK):
                for port in STRAYS:
                    peers.send(port, flags, FIRST_SEQUENCE, 1)
            # Nothing answers an RST; the answers to the others prove that they reached TCP.
            peers.await_answers(RST, lambda _: resets(peers) >= 3 * len(STRAYS), "RSTs")
        run_load(server.addresses, FEW)
        snapshot = settled(account)
        got = {count.inode: count.accepts for count in server.counts()}
        assert resets(peers) == 3 * len(STRAYS)
    assert sum(got.values()) == 2 * FEW
    assert_selected(tracing, snapshot, got)


def visit(server: Server, port: int) -> None:
    """A connection from a port of our choice, that the server ends."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", port))
        client.connect(("127.0.0.1", server.port))
        assert client.recv(1) == b""


def test_a_client_that_returns_while_its_last_connection_lingers_is_counted_once_more(
    tracing: Tracing,
) -> None:
    with own_network(), Server("reuseport", workers=4, linger0=False) as server:
        account = begin(tracing, server.port)
        for _ in range(2):
            for port in STRAYS:
                visit(server, port)
            # On a preemptible kernel now and then one does not linger.
            wait_until(lambda: sockets("time-wait", server.port) > FEW, "TIME_WAIT")
        snapshot = settled(account)
        got = {count.inode: count.accepts for count in server.counts()}
    assert sum(got.values()) == 2 * len(STRAYS)
    assert_selected(tracing, snapshot, got)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_with_cookies_each_connection_is_selected_once(tracing: Tracing, family: str) -> None:
    with (
        own_network(tcp_syncookies=2),
        Server("reuseport", workers=4, family=family) as server,  # type: ignore[arg-type]
    ):
        account = begin(tracing, server.port)
        run_load(server.addresses, CONNECTIONS, concurrency=8)
        snapshot = settled(account)
        got = {count.inode: count.accepts for count in server.counts()}
        assert counted()["SyncookiesSent"] == counted()["SyncookiesRecv"] == CONNECTIONS
    assert sum(got.values()) == CONNECTIONS
    assert_selected(tracing, snapshot, got)
    sent = [row.counted.get("cookies_sent", 0) for row in snapshot.listeners]
    assert sum(sent) == (if_seen(tracing, "selected", CONNECTIONS) or 0)


def test_of_two_selections_for_a_cookie_the_second_counts(tracing: Tracing) -> None:
    """The first member is gone when the cookies come back: they all go to the other."""
    with own_network(tcp_syncookies=2), group(2) as (first, second):
        port, inode, other = port_of(first), inode_of(first), inode_of(second)
        account = begin(tracing, port)
        with Peers(port) as peers:
            peers.open(PEERS)
            first.close()
            peers.finish(PEERS)
            wait_until(lambda: listening(port)[other].queue == len(PEERS), "all on the other")
            assert drain(second) == len(PEERS)
            snapshot = settled(account)
    assert_selected(tracing, snapshot, {inode: 0, other: len(PEERS)})


def test_a_program_that_drops_is_named_and_what_it_drops_counts_for_nobody(
    tracing: Tracing,
) -> None:
    with own_network(), group(3) as members, program("drop_half", DROP_HALF) as descriptor:
        steer(members[0], descriptor)
        port = port_of(members[0])
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), CONNECTIONS, wait=False) as clients:
            wait_until(
                lambda: clients.connected() + clients.failed(errno.ECONNREFUSED) == CONNECTIONS,
                "an answer for everyone",
            )
            connected = clients.connected()
            got = {inode_of(member): drain(member) for member in members}
            snapshot = settled(account)
        expected = Program(id_of(descriptor), "drop_half")
    assert 0 < connected < CONNECTIONS
    assert sum(got.values()) == connected
    assert_selected(tracing, snapshot, got)
    programs = {(row.selector, row.selector_program) for row in snapshot.listeners}
    assert programs == {("ebpf", expected)}


@pytest.mark.parametrize(
    ("code", "chosen", "name"),
    [
        ([RETURN_1], 1, "member 1"),
        ([LOAD_CPU, RETURN], 0, "cpu"),
        ([LOAD_CPU, MODULO_3, RETURN], 0, "cpu modulo 3"),
        ([LOAD_CPU, DOUBLE, MODULO_3, RETURN], 0, None),
    ],
)
def test_a_classic_program_is_named_by_what_it_returns(
    tracing: Tracing, code: list[Classic], chosen: int, name: str | None
) -> None:
    with own_network(), group(3) as members, on_one_processor() as cpu:
        assert cpu == 0
        steer_by(members[0], code)
        port = port_of(members[0])
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), FEW):
            got = {inode_of(member): drain(member) for member in members}
            snapshot = settled(account)
    assert list(got.values())[chosen] == FEW
    assert Counter(got.values()) == {FEW: 1, 0: 2}
    assert_selected(tracing, snapshot, got)
    programs = {(row.selector, row.selector_program) for row in snapshot.listeners}
    assert programs == {("cbpf", Program(None, name) if name else None)}


def test_each_member_of_a_large_group_has_its_place(tracing: Tracing) -> None:
    """That in which it began to listen."""
    with own_network(), group(LARGE) as members:
        found = tracing.session.listening()
        places = {inode: fact.options.place for inode, fact in found.items() if fact.options}
        expected: dict[int, int | None] = {
            inode_of(member): place for place, member in enumerate(members)
        }
    if tracing.session.loader == "bcc":  # which looks for none
        expected = dict.fromkeys(expected)
    assert {inode: places.get(inode) for inode in expected} == expected


@pytest.mark.parametrize("ports", [FIXED_PORTS, 0])
def test_clients_that_return_from_the_same_ports_are_no_lots(tracing: Tracing, ports: int) -> None:
    """Each goes to one member always; clients from ports of their own are spread by chance."""
    with own_network(), group(4) as members:
        address = address_of("ipv4", port_of(members[0]))
        account = begin(tracing, address[1])
        got: Counter[int] = Counter()
        for number in range(RETURNS):
            with returning(address, PEERS[number % ports] if ports else 0):
                got += Counter({inode_of(member): drain(member) for member in members})
        snapshot = settled(account)
    assert got.total() == RETURNS
    assert {row.inode: row.accepted for row in snapshot.listeners if row.accepted} == +got
    (verdict,) = snapshot.verdicts
    found = re.search("return to it, about ([0-9]+)", verdict.finding.text)
    if ports:
        assert found is not None
        assert verdict.finding.p is None or verdict.finding.word == "ROUND ROBIN"
        assert 1 <= int(found[1]) <= ports
    else:
        assert found is None
        assert verdict.finding.p is not None


@pytest.mark.xfail(RELEASE < (6, 1), run=False, reason="no such choice before 6.1")
def test_members_chosen_by_the_processor_are_named(tracing: Tracing) -> None:
    with own_network(), group(2) as members, on_one_processor() as cpu:
        wants_cpu(members[0], cpu)
        wants_cpu(members[1], cpu + 1)
        port = port_of(members[0])
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), FEW):
            got = {inode_of(member): drain(member) for member in members}
            snapshot = settled(account)
        assert got == {inode_of(members[0]): FEW, inode_of(members[1]): 0}
    assert_selected(tracing, snapshot, got)
    assert {row.selector for row in snapshot.listeners} == {"incoming_cpu"}


def test_what_chooses_is_read_at_each_refresh(tracing: Tracing) -> None:
    """A program is attached to a running server; the set of listeners stays as it is."""
    config = Config(attach=tracing.plan.attach, loader=tracing.session.loader)
    with (
        own_network(),
        group(2) as members,
        Clients(address_of("ipv4", port_of(members[0])), FEW),  # listed behind the listeners
        program("first", DROP_HALF) as first,
        program("second", DROP_HALF) as second,
    ):
        changes: list[Callable[[], None]] = [
            lambda: None,
            lambda: steer(members[0], first),
            lambda: None,
            lambda: steer(members[1], second),
            lambda: steer_by(members[0], [RETURN_1]),
            lambda: let_hash_choose(members[0]),
        ]
        expected = [
            ("hash", None),
            ("ebpf", Program(id_of(first), "first")),
            ("ebpf", Program(id_of(second), "second")),
            ("cbpf", Program(None, "member 1")),
            ("hash", None),
        ]
        if RELEASE >= (6, 1):
            changes.append(lambda: wants_cpu(members[1], 0))
            expected.append(("incoming_cpu", None))
        mine = replace(config, filters=Filters(ports=frozenset({port_of(members[0])})))
        with TcpSubject(mine) as subject:
            for change in changes:
                change()
                rows = subject.refresh().listeners
    assert len(rows) == 2
    for row in rows:
        assert [(each.selector, each.program) for each in row.selectors] == expected
        times = [each.elapsed_s for each in row.selectors]
        assert times == sorted(set(times))


def test_the_size_of_a_group_is_shown_over_time(tracing: Tracing) -> None:
    with own_network(), ExitStack() as later, group(1) as (first,):
        port, inode = port_of(first), inode_of(first)
        account = begin(tracing, port)
        second = later.enter_context(listen(10, port=port, reuseport=True))
        account.snapshot()
        later.enter_context(listen(10, port=port, reuseport=True))
        account.snapshot()
        account.snapshot()
        second.close()
        rows = by_inode(settled(account))
    sizes = rows[inode].group_sizes
    assert [each.size for each in sizes] == [1, 2, 3, 2]
    times = [each.elapsed_s for each in sizes]
    assert times == sorted(set(times))
    assert rows[inode].group_size == 2


def test_two_groups_on_one_port_are_kept_apart(tracing: Tracing) -> None:
    """The same number of another family is another group, with a choice of its own."""
    with own_network(), group(2) as four, ExitStack() as stack:
        port = port_of(four[0])
        six = [
            stack.enter_context(listen(1000, family="ipv6", port=port, reuseport=True))
            for _ in range(3)
        ]
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), FEW), Clients(address_of("ipv6", port), 2 * FEW):
            got = {inode_of(member): drain(member) for member in (*four, *six)}
            snapshot = settled(account)
            groups = settled(account, "group").acceptors
    assert_selected(tracing, snapshot, got)
    assert {(row.family, row.group_size) for row in snapshot.listeners} == {
        ("ipv4", 2),
        ("ipv6", 3),
    }
    assert {(row.family, row.accepts, row.selected) for row in groups} == {
        ("ipv4", FEW, if_seen(tracing, "selected", FEW)),
        ("ipv6", 2 * FEW, if_seen(tracing, "selected", 2 * FEW)),
    }
