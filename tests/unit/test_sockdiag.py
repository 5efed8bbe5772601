"""The sock_diag dump against `ss`, /proc/net/tcp and sockets of our own. No mocked kernel."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts import addresses
from accepttrace.sockets.diag import netlink, proctcp
from accepttrace.sockets.diag import tcp as sockdiag
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.diag.tcp import ListenSocket, listeners

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def own(sock: socket.socket) -> ListenSocket:
    inode = os.fstat(sock.fileno()).st_ino
    return next(row for row in listeners() if row.inode == inode)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket(request.param) as sock:
        sock.bind((LOOPBACK[request.param], 0))
        sock.listen(7)
        yield sock


@pytest.fixture
def foreign_netns() -> Iterator[str]:
    """A path to a network namespace of our own, kept alive by a process that only waits."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace of our own needs root")
    process = subprocess.Popen(
        ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    path = f"/proc/{process.pid}/ns/net"
    here = os.stat("/proc/self/ns/net").st_ino
    wait_until(lambda: os.stat(path).st_ino != here)
    yield path
    process.kill()
    process.communicate()


def test_reports_what_was_bound_and_set(listener: socket.socket) -> None:
    row = own(listener)
    assert (row.local_address, row.local_port) == listener.getsockname()[:2]
    assert row.family == ("ipv4" if listener.family == socket.AF_INET else "ipv6")
    assert (row.backlog, row.queue, row.uid, row.interface) == (7, 0, os.geteuid(), 0)
    cookie = listener.getsockopt(socket.SOL_SOCKET, 57, 8)  # SO_COOKIE
    assert row.cookie == struct.unpack("=Q", cookie)[0]


def test_counts_the_connections_that_wait(listener: socket.socket) -> None:
    peers = [socket.create_connection(listener.getsockname()[:2]) for _ in range(5)]
    wait_until(lambda: own(listener).queue == 5)
    listener.accept()[0].close()
    assert own(listener).queue == 4
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("only", [0, 1])
def test_tells_dual_stack_from_v6only(only: int) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.bind(("::", 0))
        sock.listen()
        assert own(sock).v6only is bool(only)
        assert own(sock).local_address == "::"


def test_a_dump_of_many_messages_is_complete() -> None:
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(600)]
    inodes = {os.fstat(sock.fileno()).st_ino for sock in socks}
    try:
        seen = [row.inode for row in listeners()]
        assert inodes <= set(seen)
        assert len(seen) == len(set(seen))
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.skipif(not shutil.which("ss"), reason="ss (iproute2) is not installed")
def test_agrees_with_ss(listener: socket.socket) -> None:
    peers = [socket.create_connection(listener.getsockname()[:2]) for _ in range(3)]
    wait_until(lambda: own(listener).queue == 3)
    row = own(listener)
    port = listener.getsockname()[1]
    shown = subprocess.run(
        ["ss", "-H", "-ltne", f"sport = :{port}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    line = next(line for line in shown if f"ino:{row.inode} " in line)
    queue, backlog = line.split()[1:3]
    assert (int(queue), int(backlog)) == (row.queue, row.backlog)
    found = re.search(r"sk:([0-9a-f]+)", line)
    assert found
    assert int(found[1], 16) == row.cookie
    for peer in peers:
        peer.close()


def test_the_text_tables_say_the_same(listener: socket.socket) -> None:
    peer = socket.create_connection(listener.getsockname()[:2])
    wait_until(lambda: own(listener).queue == 1)
    row = own(listener)
    entry = next(e for e in proctcp.listening("/proc/self/net") if e.inode == row.inode)
    assert (entry.family, entry.address, entry.port) == (
        row.family,
        row.local_address,
        row.local_port,
    )
    assert (entry.queue, entry.uid) == (row.queue, row.uid)
    peer.close()


def test_falls_back_to_text_where_sock_diag_is_absent(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # AF_APPLETALK has no sock_diag handler: the kernel's real answer to a missing module, ENOENT.
    monkeypatch.setattr(addresses, "FAMILIES", {5: "ipv4"})
    row = own(listener)
    assert row.local_port == listener.getsockname()[1]
    assert (row.backlog, row.cookie, row.v6only, row.interface) == (None, None, None, None)
    assert row.queue == 0


def test_looks_into_another_namespace_without_moving(foreign_netns: str) -> None:
    here = os.stat("/proc/self/ns/net").st_ino
    inside = call_inside(foreign_netns, lambda: socket.create_server(("0.0.0.0", 80)))
    with inside:
        rows = listeners(foreign_netns)
        assert [(row.local_address, row.local_port) for row in rows] == [("0.0.0.0", 80)]
        assert rows[0].inode == os.fstat(inside.fileno()).st_ino
    assert os.stat("/proc/thread-self/ns/net").st_ino == here
    assert os.stat("/proc/self/ns/net").st_ino == here
    assert threading.active_count() == 1


def test_without_the_capability_a_process_shows_its_namespace(
    foreign_netns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with call_inside(foreign_netns, lambda: socket.create_server(("0.0.0.0", 80))):
        monkeypatch.setattr(sockdiag, "call_inside", refused)
        row = listeners(foreign_netns)[0]
        assert (row.local_port, row.backlog) == (80, None)
    with pytest.raises(UnsupportedError, match="CAP_SYS_ADMIN"):
        listeners("/run/netns/elsewhere")


def test_a_namespace_that_is_gone_is_one_clear_error() -> None:
    with pytest.raises(AcceptTraceError, match="cannot enter the network namespace") as caught:
        listeners("/proc/999999999/ns/net")
    assert caught.value.hint


def test_a_device_goes_by_the_name_that_it_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {7: "eth0"}
    monkeypatch.setattr(socket, "if_indextoname", names.__getitem__)
    address = bytes(16)
    bound, unbound = (
        netlink.MESSAGE.pack(2, 10, 0, 0, b"\0P", b"\0\0", address, address, index, *[0] * 7)
        for index in (7, 0)
    )
    assert [sockdiag.decode(body).device for body in (bound, unbound)] == ["eth0", None]
    names[7] = "lan0"
    assert [sockdiag.decode(body).device for body in (bound, unbound)] == ["lan0", None]


def test_short_messages_are_refused() -> None:
    with pytest.raises(OSError, match="short"):
        sockdiag.decode(b"\x02\x0a")


def test_parses_a_mapped_address() -> None:
    line = "0: 0000000000000000FFFF00000100007F:1F90 0:0 0A 00000000:00000002 0:0 0 33 0 77 1"
    entry = proctcp.parse(line, "ipv6")
    assert (entry.address, entry.port, entry.queue, entry.uid, entry.inode) == (
        "::ffff:127.0.0.1",
        8080,
        2,
        33,
        77,
    )
