"""Who uses a port, and where packets go: what the kernel sends, decoded; the real thing once."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from accepttrace.facts.binding import Attempt, PortUser, Wish
from accepttrace.sockets import portuse
from accepttrace.sockets.diag import netlink, ports, proctcp, routes, tcp
from accepttrace.sockets.diag.routes import Route
from accepttrace.sockets.diag.tcp import lookup_order
from accepttrace.sockets.portuse import port_use
from accepttrace.sockets.reaching import reaching
from accepttrace.sockets.trybind import Trial, code_of, try_all

LOCAL, REMOTE = b"\x7f\x00\x00\x01", b"\x0a\x00\x00\x02"


def message(
    state: int, *, timer: int = 0, family: int = socket.AF_INET, uid: int = 7, inode: int = 9
) -> bytes:
    local, remote = LOCAL + bytes(12), REMOTE + bytes(12)
    return netlink.MESSAGE.pack(
        family,
        state,
        timer,
        0,
        b"\x00\x50",
        b"\x01\x00",
        local,
        remote,
        0,
        0,
        0,
        0,
        0,
        0,
        uid,
        inode,
    )


def test_each_state_is_a_use_and_half_open_ones_are_none() -> None:
    uses = {state: ports.decode(message(state)) for state in range(1, 14)}
    assert {state: user and user.use for state, user in uses.items()} == {
        **dict.fromkeys((1, 2, 4, 5, 8, 9, 11), "connected"),
        **dict.fromkeys((7, 13), "bound"),
        **dict.fromkeys((3, 12), None),
        6: "time_wait",
        10: "listens",
    }
    connected = uses[1]
    assert connected == PortUser(
        "connected", "ipv4", "127.0.0.1", 80, 9, 7, None, None, "10.0.0.2", 256
    )
    listens, waits = uses[10], uses[6]
    assert listens is not None
    assert listens.remote_address is None
    assert waits is not None
    assert waits.uid is None


def test_what_was_closed_in_fin_wait_2_is_as_in_time_wait() -> None:
    line = "0: 0100007F:0050 0200000A:0100 05 00000000:00000000 03:0 0 0 0 0 1 x"
    for found in (ports.decode(message(5, timer=3)), ports.parse(line, "ipv4")):
        assert found is not None
        assert (found.use, found.uid) == ("time_wait", None)


def test_closed_sockets_are_not_asked_for() -> None:
    assert ports.STATES >> 13 & 1
    assert not ports.STATES >> 7 & 1
    assert not ports.STATES & (1 << 3 | 1 << 12)


def test_the_text_tables_are_read_as_well() -> None:
    line = "0: 0100007F:0050 0200000A:0100 01 00000000:00000000 00:0 0 7 0 9 1 x"
    assert ports.parse(line, "ipv4") == ports.decode(message(1))
    assert ports.parse(line.replace(" 01 ", " 03 "), "ipv4") is None
    waits = ports.parse(line.replace(" 01 ", " 06 "), "ipv4")
    assert waits is not None
    assert waits.uid is None


def test_the_first_of_each_use_are_kept_and_all_are_counted() -> None:
    users = ports.Users(complete=True, exact=True)
    for inode in range(100):
        one = ports.decode(message(1, inode=inode))
        assert one is not None
        users.add(one)
    assert (len(users.first), users.counts["connected"]) == (ports.KEPT, 100)


def reply(kind: int, body: bytes) -> bytes:
    return netlink.NLMSGHDR.pack(netlink.NLMSGHDR.size + len(body), kind, 0) + body


def route(route_type: int) -> bytes:
    device = netlink.ATTRIBUTE.pack(8, routes.RTA_OIF) + struct.pack("=I", 1)
    return struct.pack("=8BI", 2, 32, 0, 0, 254, 2, 253, route_type, 0) + device


def test_routes_are_decoded() -> None:
    name = socket.if_indextoname(1)
    assert routes._decoded(reply(24, route(2))) == Route(True, name)
    assert routes._decoded(reply(24, route(1))) == Route(False, name)
    assert routes._decoded(reply(24, route(3))) == Route(False, name)  # a broadcast address
    assert routes._decoded(reply(2, struct.pack("=i", -errno.ENETUNREACH))) is None
    with pytest.raises(PermissionError, match="Operation not permitted"):
        routes._decoded(reply(2, struct.pack("=i", -errno.EPERM)))
    bare = struct.pack("=8BI", 2, 32, 0, 0, 254, 2, 253, 2, 0)
    assert routes._decoded(reply(24, bare)) == Route(True, None)
    for wrong in (reply(24, bare[:-1]), reply(3, route(2)), reply(25, route(2)), reply(1, b"")):
        with pytest.raises(OSError, match="no route in the answer"):
            routes._decoded(wrong)


def test_loopback_is_local_and_has_its_device() -> None:
    assert routes.route_to("127.0.0.9") == Route(True, "lo")
    assert routes.route_to("::1") == Route(True, "lo")


def test_listeners_are_listed_in_the_order_of_the_kernel() -> None:
    """Of one port the last that began to listen comes first."""
    opened = []
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as first:
        port = first.getsockname()[1]
        with socket.create_server(("127.0.0.1", port), reuse_port=True) as second:
            opened = [os.fstat(each.fileno()).st_ino for each in (second, first)]
            order = lookup_order()
    assert [inode for inode in order if inode in opened] == opened


def test_a_port_in_use_has_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        use, place = port_use(None, port, "127.0.0.1")
        (user,) = use.users
        assert (user.use, user.inode) == ("listens", os.fstat(server.fileno()).st_ino)
        assert os.getpid() in {holder.pid for holder in user.holders}
        assert (place.netns_path, place.local) == (None, True)
        assert use.unprivileged_from is not None
    assert port_use(None, port, "192.0.2.1")[1].local is False
    assert port_use(None, port, "0.0.0.0")[1].local


@pytest.mark.parametrize(("four", "six"), [("0", "1"), ("1", "0")])
def test_an_address_of_others_may_be_bound_where_the_switch_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, four: str, six: str
) -> None:
    for family, text in (("ipv4", four), ("ipv6", six)):
        (tmp_path / family).mkdir()
        (tmp_path / family / "ip_nonlocal_bind").write_text(f"{text}\n")
    monkeypatch.setattr(portuse, "SWITCHES", str(tmp_path))
    monkeypatch.setattr(portuse, "route_to", lambda _: None)
    allowed = [portuse._may_bind(address) for address in ("192.0.2.1", "2001:db8::1")]
    assert allowed == [four == "1", six == "1"]
    (tmp_path / "ipv4" / "ip_nonlocal_bind").unlink()
    assert not portuse._may_bind("192.0.2.1")
    monkeypatch.setattr(portuse, "route_to", lambda _: Route(False, "eth0"))
    assert not portuse._may_bind("192.0.2.1")


@pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace needs root")
def test_who_may_not_enter_a_namespace_knows_less(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    command = ["unshare", "-n", "sh", "-c", "echo; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            number = os.stat(f"/proc/{other.pid}/ns/net").st_ino
            assert port_use(number, 80, "127.0.0.1")[0].unprivileged_from == 1024
            assert reaching(number, "192.0.2.1", None).here is None
            for module in (portuse, tcp):
                monkeypatch.setattr(module, "call_inside", refuse)
            use, place = port_use(number, 80, "127.0.0.1")
        finally:
            other.kill()
    assert (use.netns, use.exact, use.complete, use.unprivileged_from) == (
        number,
        False,
        False,
        None,
    )
    assert place.local
    assert not use.reserved


@pytest.mark.parametrize(
    ("first", "reserved", "known"),
    [
        ("1024", "8080,9000-9010", (1024, True)),
        ("1024", "9004-9010", (1024, True)),
        ("1024", "80,9000-9004", (1024, True)),
        ("1024", "9000-9003,9005-9010", (1024, False)),
        ("1024", "9003,9005", (1024, False)),
        ("0", "", (0, False)),
        ("many", "80-many", (None, False)),
        ("", ",", (None, False)),
        (None, None, (None, False)),
    ],
)
def test_a_switch_that_is_missing_or_not_understood_is_not_known(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: str | None,
    reserved: str | None,
    known: tuple[int | None, bool],
) -> None:
    (tmp_path / "ipv4").mkdir()
    texts = {"ip_unprivileged_port_start": first, "ip_local_reserved_ports": reserved}
    for name, text in texts.items():
        if text is not None:
            (tmp_path / "ipv4" / name).write_text(f"{text}\n")
    monkeypatch.setattr(portuse, "SWITCHES", str(tmp_path))
    use = port_use(None, 9004, "127.0.0.1")[0]
    assert (use.unprivileged_from, use.reserved) == known


def test_without_socket_diagnosis_users_are_read_from_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "ask", lambda _path, _what, _dump, text: text("/proc/net"))
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))):
            found = ports.port_users(port, None)
    assert found.counts == {"listens": 1, "connected": 1}
    assert {(user.use, user.local_port) for user in found.first} == {
        ("listens", port),
        ("connected", port),
    }
    assert (found.complete, found.exact) == (False, False)


def test_sockets_of_other_ports_are_none_of_its_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are bound and do not listen the kernel sends all."""
    bodies = [message(13), message(3)]
    bodies += [one.replace(b"\x00\x50", port) for one in bodies[:1] for port in (b"\0O", b"\0Q")]
    asked: list[tuple[int, int]] = []

    def dump(_: object, protocol: int, states: int, take: Any, port: int) -> tuple[object, ...]:
        assert protocol == socket.IPPROTO_TCP
        asked.append((states, port))
        return tuple(map(take, bodies))

    monkeypatch.setattr(netlink, "dump", dump)
    found = ports.port_users(80)
    assert [(one.use, one.local_port) for one in found.first] == [("bound", 80)]
    assert (found.exact, found.complete) == (True, False)
    own, all_of_it = asked
    assert own[0] == 1 << 13
    assert all_of_it == (ports.STATES, 80)
    line = "0: 0100007F:00{} 0200000A:0100 0A 00000000:00000000 00:0 0 7 0 9 1 x"
    lines = [("ipv4", line.format(port)) for port in ("4F", "50", "51")]
    monkeypatch.setattr(proctcp, "sockets", lambda *_: lines)
    monkeypatch.setattr(ports, "ask", lambda _path, _what, _dump, text: text("/x"))
    assert [one.local_port for one in ports.port_users(80).first] == [80]


def test_a_bound_socket_is_listed_by_a_kernel_that_lists_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[int] = []

    def dump(*_: object) -> tuple[int, ...]:
        return (held[-1], 1)

    def fstat(fd: int, fstat: Any = os.fstat) -> os.stat_result:
        found: os.stat_result = fstat(fd)
        held.append(found.st_ino)
        return found

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(netlink, "dump", dump)
    assert ports.lists_bound()
    monkeypatch.setattr(netlink, "dump", lambda *_: (1, 2))
    assert not ports.lists_bound()


def test_a_namespace_that_is_gone_is_an_error() -> None:
    with pytest.raises(OSError, match="no network namespace"):
        port_use(1, 80, "127.0.0.1")


def test_a_trial_changes_nothing_of_ours() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        taken = Wish("ipv4", "127.0.0.1", server.getsockname()[1], uid=os.geteuid())
        found = try_all([taken], None)
    assert found == [Attempt(taken, errno.EADDRINUSE)]
    assert try_all([taken], None) == [Attempt(taken, 0)]
    assert try_all([taken], "/proc/self/no-such-namespace") == [Attempt(taken, None)]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_trial_as_another_user_ends_as_it_began() -> None:
    assert code_of(Trial(Wish("ipv4", "127.0.0.1", 1, uid=65534), None)) == errno.EACCES
    assert os.geteuid() == 0


def test_who_may_not_become_another_user_does_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "seteuid", refuse)
    assert code_of(Trial(Wish("ipv4", "127.0.0.1", 0, uid=os.geteuid() + 1), None)) is None
    assert code_of(Trial(Wish("ipv4", "127.0.0.1", 0, uid=os.geteuid()), None)) == 0


def test_a_trial_sets_the_options_that_were_asked_for() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        wishes = [Wish("ipv6", "::", port, v6only=alone) for alone in (True, False)]
        assert [code_of(Trial(wish, None)) for wish in wishes] == [0, errno.EADDRINUSE]
    nowhere = Wish("ipv4", "0.0.0.0", 0, device="no-such-device")
    assert code_of(Trial(nowhere, None)) in (errno.ENODEV, errno.EPERM)


def test_without_the_order_of_the_kernel_routes_are_still_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> tuple[int, ...]:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr("accepttrace.sockets.reaching.lookup_order", fail)
    found = reaching(None, "127.0.0.1", None)
    assert (found.order, found.here, found.back) == ((), Route(True, "lo"), None)
