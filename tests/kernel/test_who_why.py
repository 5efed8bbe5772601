"""`accepttrace who --why`: what it says of each rule, and what bind() and listen() do then."""

from __future__ import annotations

import errno
import os
import pickle
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import pytest

from accepttrace.cli import whowhy
from accepttrace.config import Filters
from accepttrace.facts.binding import Wish
from accepttrace.lab.acceptors import RESET_ON_CLOSE
from accepttrace.model.who.binding import Finding
from accepttrace.views.who.why import text_lines

from .binding import Port, bound, free_port, ip
from .clients import inode_of
from .conftest import wait_until
from .network import own_network, set_switch, sockets, visited

T = TypeVar("T")

OTHER = 65534  # a user
OPTIONS = ("reuseport", "reuseaddr", "v6only", "freebind")
# TCP_BOUND_INACTIVE of sock_diag: commit 91051f003948, Linux 6.8.
LISTS_BOUND = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 8)


@pytest.fixture
def port() -> Iterator[Port]:
    with own_network(), free_port() as found:
        yield found


def wish(port: Port, address: str = "0.0.0.0", **options: Any) -> Wish:
    return Wish("ipv6" if ":" in address else "ipv4", address, port.number, **options)


def explain(asked: Wish) -> Finding:
    return whowhy.explain(asked, Filters())


def really(asked: Wish) -> int:
    """The errno of bind() and listen(), as that user."""
    before = os.geteuid()
    os.seteuid(asked.uid)
    try:
        options: dict[str, Any] = {name: getattr(asked, name) for name in OPTIONS}
        with closing(
            bound(asked.address, asked.port, device=asked.device or "", **options)
        ) as opened:
            opened.listen(1)
    except OSError as error:
        return error.errno or -1
    finally:
        os.seteuid(before)
    return 0


def agree(asked: Wish) -> Finding:
    """That what is said of a wish, and of each other that was tried, is what really happens."""
    found = explain(asked)
    assert found.tried
    code = really(asked)
    assert (found.result, found.code) == ("refused" if code else "works", code)
    for one in found.remedies:
        assert one.code == really(one.wish), one
    return found


def wait_for(listener: socket.socket) -> None:
    assert select.select([listener], [], [], 5)[0]


def rules(found: Finding) -> list[str]:
    return [one.rule for one in found.conflicts]


def helps(found: Finding) -> list[str]:
    """The lines that name what would work."""
    return [line for line in text_lines(found) if line.startswith("  would work: ")]


def in_the_way(found: Finding) -> list[int]:
    return [one.user.inode for one in found.conflicts]


def test_a_free_port_works(port: Port) -> None:
    found = agree(wish(port))
    assert (found.conflicts, found.remedies) == ((), ())
    assert whowhy.STATUS[found.result] == 0


def test_a_listener_without_reuseport_lets_nobody_in(port: Port) -> None:
    first = port.listen("0.0.0.0", reuseaddr=True)
    for option in ("reuseaddr", "reuseport"):
        options: dict[str, Any] = {option: True}
        found = agree(wish(port, **options))
        assert in_the_way(found) == [inode_of(first)]
        assert found.conflicts[0].user.reuseport is False
        assert rules(found) == ["reuseport" if option == "reuseport" else "listens"]
        assert helps(found) == []
        lines = list(text_lines(found))
        assert lines[0].endswith("refused, EADDRINUSE: address already in use (tried)")
        assert f"pid {os.getpid()} " in lines[1]
        assert "  so: end what is in the way, or take another port or address" in lines


def test_reuseport_on_both_lets_it_in(port: Port) -> None:
    port.listen("0.0.0.0", reuseport=True)
    found = agree(wish(port))
    assert rules(found) == ["listens"]
    assert found.conflicts[0].user.reuseport is True
    assert helps(found) == ["  would work: with SO_REUSEPORT (tried)"]
    assert agree(wish(port, reuseport=True)).result == "works"


def test_reuseport_is_for_one_user_alone(port: Port) -> None:
    port.listen("0.0.0.0", reuseport=True)
    found = agree(wish(port, uid=OTHER, reuseport=True))
    assert rules(found) == ["uid"]
    assert helps(found) == ["  would work: with SO_REUSEPORT as uid 0 (tried)"]
    assert "belongs to uid 0" in "".join(text_lines(found))


@pytest.mark.parametrize(
    ("first", "second"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::", "127.0.0.1"),
     ("127.0.0.1", "::"), ("::", "0.0.0.0"), ("::1", "::"), ("::ffff:127.0.0.1", "127.0.0.1")],
)  # fmt: skip
def test_a_wildcard_covers_specific_addresses(port: Port, first: str, second: str) -> None:
    listener = port.listen(first)
    found = agree(wish(port, second))
    assert (found.result, in_the_way(found)) == ("refused", [inode_of(listener)])


@pytest.mark.parametrize(
    ("first", "second", "v6only"),
    [("127.0.0.2", "127.0.0.1", False), ("::1", "127.0.0.1", False), ("::1", "0.0.0.0", False),
     ("0.0.0.0", "::", True), ("127.0.0.1", "::", True), ("0.0.0.0", "::1", False)],
)  # fmt: skip
def test_what_does_not_overlap_is_not_in_the_way(
    port: Port, first: str, second: str, v6only: bool
) -> None:
    listener = port.listen(first)
    found = agree(wish(port, second, v6only=v6only))
    assert (found.result, in_the_way(found)) == ("works", [])
    assert [user.inode for user in found.beside] == [inode_of(listener)]


def test_v6only_makes_room_beside_ipv4(port: Port) -> None:
    port.listen("0.0.0.0")
    found = agree(wish(port, "::"))
    assert "  would work: with IPV6_V6ONLY (tried)" in helps(found)


def test_devices_keep_sockets_apart(port: Port) -> None:
    ip("link add va type veth peer name vb")
    listener = port.listen("0.0.0.0", device="va")
    assert agree(wish(port, device="vb")).result == "works"
    found = agree(wish(port, device="va"))
    assert in_the_way(found) == [inode_of(listener)]
    assert agree(wish(port)).result == "refused"
    assert "there is no such device" in next(text_lines(agree(wish(port, device="none"))))


def test_a_socket_that_is_bound_and_does_not_listen_is_in_the_way(port: Port) -> None:
    with closing(bound("127.0.0.1", port.number, reuseaddr=True)) as first:
        found = agree(wish(port))
        if not LISTS_BOUND:
            assert any(
                "does not listen: this kernel lists none" in line for line in text_lines(found)
            )
            return
        assert (rules(found), in_the_way(found)) == (["reuseaddr"], [inode_of(first)])
        assert found.conflicts[0].user.reuseaddr is True
        assert helps(found) == ["  would work: with SO_REUSEADDR (tried)"]


def test_sockets_that_are_bound_to_other_ports_are_not_counted(port: Port) -> None:
    with closing(bound("127.0.0.1", port.number + 1)), closing(bound("127.0.0.1", port.number)):
        assert explain(wish(port)).use.counts.get("bound", 0) == LISTS_BOUND


def test_one_that_has_not_set_it_itself_is_named(port: Port) -> None:
    with closing(bound("127.0.0.1", port.number)):
        found = agree(wish(port, reuseaddr=True))
        assert found.result == "refused"
        assert rules(found) == (["first"] if LISTS_BOUND else [])
        assert helps(found) == []


@contextmanager
def connection(port: Port, reuseaddr: bool) -> Iterator[socket.socket]:
    """The server's end of one, whose listener is closed."""
    listener = bound("127.0.0.1", port.number, reuseaddr=reuseaddr)
    listener.listen(1)
    with closing(listener), closing(socket.create_connection(("127.0.0.1", port.number))):
        accepted, _ = listener.accept()
        listener.close()
        with closing(accepted):
            yield accepted


@pytest.mark.parametrize("reuseaddr", [True, False])
def test_a_connection_that_outlived_its_listener_is_in_the_way(port: Port, reuseaddr: bool) -> None:
    with connection(port, reuseaddr) as accepted:
        found = agree(wish(port))
        assert (rules(found), in_the_way(found)) == (["reuseaddr"], [inode_of(accepted)])
        assert bool(helps(found)) == reuseaddr
        again = agree(wish(port, reuseaddr=True))
        assert again.result == ("works" if reuseaddr else "refused")
        assert rules(again) == ([] if reuseaddr else ["first"])


@pytest.mark.parametrize("reuseaddr", [True, False])
def test_time_wait_is_in_the_way_without_reuseaddr(port: Port, reuseaddr: bool) -> None:
    with connection(port, reuseaddr) as accepted:
        accepted.close()  # first: so its end is the one that waits
    found = agree(wish(port))
    assert [one.user.use for one in found.conflicts] == ["time_wait"]
    assert found.conflicts[0].user.uid is None
    assert rules(found) == ["reuseaddr"]
    assert bool(helps(found)) == reuseaddr
    assert "TIME-WAIT with 127.0.0.1:" in "".join(text_lines(found))


@pytest.mark.parametrize("first", ["::", "::1"])
def test_connections_of_ipv6_may_be_in_the_way_of_any_ipv4(port: Port, first: str) -> None:
    """They are not where their listener was bound to one address: that sets IPV6_V6ONLY."""
    with port.listen(first) as listener, socket.create_connection(("::1", port.number)):
        wait_for(listener)
        accepted, _ = listener.accept()
        listener.close()
        with closing(accepted):
            found = agree(wish(port))
            assert rules(found) == (["ipv6"] if first == "::" else [])
            assert in_the_way(found) == ([inode_of(accepted)] if first == "::" else [])
            assert agree(wish(port, "127.0.0.1")).conflicts == ()


def test_what_was_closed_in_fin_wait_2_belongs_to_nobody(port: Port) -> None:
    with port.listen("127.0.0.1", reuseport=True) as listener:
        client = socket.create_connection(("127.0.0.1", port.number))
        wait_for(listener)
        listener.accept()[0].close()
    with closing(client):
        wait_until(lambda: sockets("fin-wait-2", port.number) == 1, "the answer to FIN")
        found = agree(wish(port))
        (waits,) = [one.user for one in found.conflicts]
        # Most are kept as in TIME-WAIT; if the answer to FIN came while close() was on, it is not.
        assert (waits.use, waits.uid) in (("time_wait", None), ("connected", 0))
        assert any(line.startswith("  so: wait until TIME-WAIT") for line in text_lines(found)) == (
            waits.use == "time_wait" and not helps(found)
        )
        other = agree(wish(port, uid=OTHER, reuseport=True))
        assert other.result == ("works" if waits.use == "time_wait" else "refused")


def test_trying_does_not_keep_members_of_a_group_out(port: Port) -> None:
    """As long as a group is alone on its port, connections of other users keep nobody out."""
    listener = port.listen("127.0.0.1", reuseport=True)
    with closing(socket.create_connection(("127.0.0.1", port.number))):
        wait_for(listener)
        os.seteuid(OTHER)
        accepted, _ = listener.accept()
        os.seteuid(0)
        with closing(accepted):
            asked = [wish(port, "127.0.0.2"), wish(port, "127.0.0.2", uid=OTHER, reuseport=True)]
            asked.append(wish(port, "127.0.0.1"))
            for each in asked:
                found = explain(each)
                assert (found.result, found.tried, found.spared) in (
                    ("works" if LISTS_BOUND else "not known", False, True),
                    ("refused", True, False),
                )
                assert any("would disturb the group" in line for line in text_lines(found)) == (
                    found.spared
                )
            assert helps(found) == ["  would work: with SO_REUSEPORT (tried)"]
            bound("127.0.0.1", port.number, reuseport=True).close()
            bound("127.0.0.2", port.number).close()
            with pytest.raises(OSError, match="in use"):  # and so it would have been
                bound("127.0.0.1", port.number, reuseport=True)


def test_what_one_attempt_lets_in_is_not_believed_of_the_next(port: Port) -> None:
    """After one with both options, the kernel lets in the next with SO_REUSEPORT unasked."""
    with closing(bound("127.0.0.1", port.number, reuseaddr=True)) as first:
        found = explain(wish(port, "127.0.0.1", reuseport=True))
        assert helps(found) == ["  would work: with SO_REUSEADDR and SO_REUSEPORT (tried)"]
        assert in_the_way(found) == ([inode_of(first)] if LISTS_BOUND else [])
        agree(wish(port, "127.0.0.1", reuseport=True))
        assert explain(wish(port, "127.0.0.1", reuseport=True, reuseaddr=True)).result == "works"
        agree(wish(port, "127.0.0.1", reuseport=True))
    with closing(bound("127.0.0.1", port.number)) as first:
        asked = wish(port, "::", reuseport=True)
        assert helps(agree(asked)) == ["  would work: with IPV6_V6ONLY (tried)"]
        first.listen()
        port.listen("::1", reuseport=True)
        assert helps(agree(asked)) == []
        assert agree(asked).result == "refused"


def test_a_group_of_ipv6_is_not_disturbed_by_connections_of_ipv4(port: Port) -> None:
    """As of nginx with two reuseport listeners: SO_REUSEADDR is what lets in beside others' own."""
    options: dict[str, Any] = {"reuseport": True, "reuseaddr": True}
    listener = port.listen("0.0.0.0", **options)
    port.listen("::", v6only=True, **options)
    clients = [socket.create_connection(("127.0.0.1", port.number)) for _ in range(40)]
    os.seteuid(OTHER)
    accepted = [listener.accept()[0] for _ in clients]
    os.seteuid(0)
    try:
        found = explain(wish(port))
        assert found.code == errno.EADDRINUSE
        assert helps(found)  # SO_REUSEPORT alone, in Linux 5.10
        assert not found.spared
        assert really(wish(port, **options)) == 0
    finally:
        for each in (*clients, *accepted):
            each.close()


def test_a_client_that_happens_to_use_the_port_is_in_the_way(port: Port) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        closing(bound("127.0.0.1", port.number)) as client,
    ):
        client.connect(server.getsockname())
        found = agree(wish(port))
        assert in_the_way(found) == [inode_of(client)]
        assert f"connection with 127.0.0.1:{server.getsockname()[1]}" in "".join(text_lines(found))


def test_an_ordinary_user_tries_as_himself_and_derives_the_rest(port: Port) -> None:
    port.listen("127.0.0.1")
    asked = [wish(port, uid=OTHER), wish(port, uid=0), wish(port, uid=0, reuseport=True)]
    explain(asked[0])  # what it imports may not be his to read
    mine, roots, shares = as_other(lambda: [list(text_lines(explain(each))) for each in asked])
    assert mine[0].endswith("refused, EADDRINUSE: address already in use (tried)")
    assert any("with SO_REUSEPORT as uid 0 (not tried: run as root)" in line for line in mine)
    assert roots[0].endswith("refused, EADDRINUSE: address already in use (derived, not tried)")
    assert shares[0].endswith("not known (derived, not tried)")


def as_other(function: Callable[[], T]) -> T:
    """What it returns in a child that is an ordinary user."""
    source, sink = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            os.write(sink, pickle.dumps(function()))
        finally:
            os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as stream:
        data = stream.read()
    os.waitpid(pid, 0)
    found: T = pickle.loads(data)
    return found


@pytest.mark.usefixtures("port")
def test_a_privileged_port_is_for_those_who_may() -> None:
    asked = Wish("ipv4", "127.0.0.1", 81, uid=OTHER)
    found = agree(asked)
    assert found.code == errno.EACCES
    assert helps(found) == ["  would work: as uid 0 (tried)"]
    assert "note: 81 is below ip_unprivileged_port_start (1024)" in "\n".join(text_lines(found))
    set_switch("ip_unprivileged_port_start", 81)
    assert agree(asked).result == "works"


def test_an_address_of_another_machine_cannot_be_bound(port: Port) -> None:
    for address in ("192.0.2.1", "2001:db8::1"):
        found = agree(wish(port, address))
        assert found.code == errno.EADDRNOTAVAIL
        assert helps(found) == ["  would work: with IP_FREEBIND (tried)"]


def test_a_link_local_address_needs_its_device(port: Port) -> None:
    ip("link add va type veth peer name vb")
    ip("address add fe80::7/64 dev va nodad")
    ip("link set va up")
    first = next(text_lines(agree(wish(port, "fe80::7"))))
    assert "EINVAL: a link-local address needs its device: --device NAME" in first
    assert agree(wish(port, "fe80::7", device="va")).result == "works"
    found = agree(wish(port, "::1", device="va"))
    assert "EADDRNOTAVAIL: no address of the device va" in next(text_lines(found))


def test_a_reserved_port_can_be_bound_and_is_noted(port: Port) -> None:
    set_switch("ip_local_port_range", f"{port.number - 1} {port.number}")
    set_switch("ip_local_reserved_ports", f"1-2,{port.number - 1}-{port.number}")
    found = agree(wish(port))
    assert found.result == "works"
    assert any("is in ip_local_reserved_ports" in line for line in text_lines(found))
    assert not found.use.ephemeral
    set_switch("ip_local_reserved_ports", port.number - 1)
    found = explain(wish(port))
    assert (found.use.reserved, found.use.ephemeral) == (False, True)


def test_a_port_that_connections_may_have_is_noted(port: Port) -> None:
    set_switch("ip_local_port_range", f"{port.number} {port.number + 1}")
    said = "is in ip_local_port_range: a connection to elsewhere may have it"
    assert any(said in line for line in text_lines(explain(wish(port))))
    with closing(socket.create_server(("127.0.0.1", port.number - 1))) as server:
        clients = [socket.create_connection(server.getsockname()) for _ in range(2)]
        assert {client.getsockname()[1] for client in clients} == {port.number, port.number + 1}
        found = agree(wish(port))
        assert [one.user.use for one in found.conflicts] == ["connected"]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            client.close()
        set_switch("ip_local_reserved_ports", port.number)
        assert not any(said in line for line in text_lines(explain(wish(port))))
        with closing(socket.create_connection(server.getsockname())) as client:
            assert client.getsockname()[1] == port.number + 1


def test_the_one_of_several_that_has_not_set_it_is_found(port: Port) -> None:
    shares = port.listen("127.0.0.1", reuseport=True)
    port.listen("127.0.0.2")
    bare = agree(wish(port))
    assert [(one.user.inode == inode_of(shares), one.user.reuseport) for one in bare.conflicts] in (
        [(True, True), (False, False)],
        [(False, False), (True, True)],
    )
    (one,) = agree(wish(port, reuseport=True)).conflicts
    assert (one.user.local_address, one.rule, one.sure) == ("127.0.0.2", "reuseport", True)


def test_trying_takes_no_connection_and_leaves_nothing(port: Port) -> None:
    """Of a group that others connect to meanwhile."""
    listener = port.listen("127.0.0.1", reuseport=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    over = threading.Event()

    def connect() -> int:
        """How often six of six arrived."""
        rounds = 0
        with visited(home):
            while not over.is_set():
                assert port.takers("127.0.0.1", [listener]) == {inode_of(listener): 6}
                rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(connect)
        try:
            for _ in range(4):
                assert explain(wish(port, "127.0.0.1", reuseport=True)).result == "works"
        finally:
            over.set()
        assert client.result() > 4
    assert explain(wish(port)).use.counts["listens"] == 1


def test_many_connections_are_counted_and_a_few_are_shown(port: Port) -> None:
    with closing(bound("127.0.0.1", port.number)) as listener:
        listener.listen(200)
        clients = [socket.create_connection(("127.0.0.1", port.number)) for _ in range(100)]
        try:
            found = explain(wish(port))
        finally:
            for client in clients:
                client.close()
    assert found.use.counts["connected"] == 100
    lines = list(text_lines(found))
    assert len(lines) < 30
    assert "    and 68 more of this port: connections" in lines
    assert any("32 connections with 127.0.0.1:" in line for line in lines)
