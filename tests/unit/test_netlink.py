"""The framing of sock_diag: dumps over several datagrams, errors, attributes of every length."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.facts.records import TcpCounters
from accepttrace.sockets.diag import netlink, netstat, proctcp, tcp, udp

ROW, DONE, ERROR, OTHER = 20, 3, 2, 1
INTERRUPTED = 0x10


class Link:
    """A kernel that answers each request with the next of some dumps, each of some datagrams."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *dumps: Sequence[bytes]) -> None:
        self.requests: list[bytes] = []
        self.timeout_s = 0.0
        self._dumps = iter(dumps)
        self._datagrams: Iterator[bytes] = iter(())
        monkeypatch.setattr(socket, "socket", lambda *_: self)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        self.timeout_s = seconds

    def send(self, request: bytes) -> None:
        self.requests.append(request)
        self._datagrams = iter(next(self._dumps))

    def recv(self, _: int) -> bytes:
        return next(self._datagrams)


def message(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """With what fills it up to a multiple of four."""
    size = 16 + len(body)
    return struct.pack("=IHHII", size, kind, flags, 1, 2) + body + bytes(-size % 4)


def code(number: int) -> bytes:
    return struct.pack("=i", number)


def dump(families: Sequence[int] = (socket.AF_INET,)) -> tuple[bytes, ...]:
    return netlink.dump(families, socket.IPPROTO_TCP, 1 << 10, bytes)


def test_a_request_asks_for_a_dump_with_the_memory_of_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = Link(monkeypatch, [message(DONE)], [message(DONE)])
    assert dump((socket.AF_INET, socket.AF_INET6)) == ()
    for family, request in zip((2, 10), link.requests, strict=True):
        size, kind, flags, _, _ = struct.unpack_from("=IHHII", request)
        assert (size, kind, flags) == (len(request), 20, 0x301)
        assert struct.unpack_from("=BBBxI", request, 16) == (family, 6, 0x40, 0x400)
        assert request[24:] == bytes(48)
    assert link.timeout_s > 0


def test_rows_come_in_order_over_datagrams_and_families(monkeypatch: pytest.MonkeyPatch) -> None:
    other = message(OTHER, code(-1))
    four = [message(ROW, b"one") + other + message(ROW, b"four"), message(ROW, b"")]
    Link(monkeypatch, [*four, message(DONE, code(0))], [message(ROW, b"six") + message(DONE)])
    assert dump((socket.AF_INET, socket.AF_INET6)) == (b"one", b"four", b"", b"six")


def test_nothing_counts_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Link(monkeypatch, [message(ROW, b"a") + message(DONE) + message(ROW, b"b")])
    assert dump() == (b"a",)


@pytest.mark.parametrize("kind", [DONE, ERROR])
def test_an_error_of_the_kernel_is_raised_as_such(
    kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Link(monkeypatch, [message(ROW, b"a") + message(kind, code(-errno.ENOENT))])
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        dump()
    assert caught.value.errno == errno.ENOENT
    Link(monkeypatch, [message(kind, code(-1))])
    with pytest.raises(PermissionError):
        dump()


def test_what_is_no_error_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (0, 7):
        Link(monkeypatch, [message(ERROR, code(number)) + message(ROW, b"a") + message(DONE)])
        assert dump() == (b"a",)
    Link(monkeypatch, [message(ERROR, b"\xff" * 3) + message(DONE)])  # too short for a number
    assert dump() == ()


def test_a_dump_that_was_interrupted_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    half = [message(ROW, b"half", INTERRUPTED) + message(DONE)]
    late = [message(ROW, b"late") + message(DONE, flags=INTERRUPTED)]
    whole = [message(ROW, b"whole", 2) + message(DONE, flags=0xFFEF)]
    for first in (half, late):
        link = Link(monkeypatch, first, whole)
        assert dump() == (b"whole",)
        assert len(link.requests) == 2
    link = Link(monkeypatch, *[half] * 9)
    assert dump() == (b"half",)  # better than nothing
    assert len(link.requests) == netlink.ATTEMPTS


@pytest.mark.parametrize("size", [0, 15, 21, 2**31])
def test_a_message_of_a_wrong_length_is_refused(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen bytes are its head alone; there are four more."""
    wrong = struct.pack("=IHHII", size, ROW, 0, 0, 0) + b"abcd"
    for before in (b"", message(ROW, b"whole")):
        Link(monkeypatch, [before + wrong])
        with pytest.raises(OSError, match="cut-off"):
            dump()
    Link(monkeypatch, [wrong])
    with pytest.raises(OSError, match="cut-off") as caught:
        dump()
    assert caught.value.errno == errno.EBADMSG


def test_a_head_that_is_cut_off_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    Link(monkeypatch, [message(ROW, b"a") + bytes(15), message(DONE)])
    assert dump() == (b"a",)


HEAD = netlink.MESSAGE.pack(
    2, 10, 0, 0, b"\0P", b"", bytes(16), b"", 0, 7, 2, 0, 3, 128, 1000, 77
)  # port 80, cookie 2 << 32 | 7


def attribute(kind: int, content: bytes) -> bytes:
    size = 4 + len(content)
    return struct.pack("=HH", size, kind) + content + bytes(-size % 4)


def test_attributes_are_found_behind_each_other() -> None:
    body = HEAD + attribute(3, b"abcde") + attribute(11, b"\x01") + attribute(12, b"") + b"\0\0\0"
    assert [netlink.attribute(body, kind) for kind in (3, 11, 12, 4)] == [
        b"abcde",
        b"\x01",
        b"",
        b"",
    ]
    assert netlink.attribute(HEAD + attribute(9, b""), 9) == b""
    for others in range(4):
        assert netlink.attribute(HEAD + attribute(3, b"") * others + b"\0\0\0", 9) == b""
    assert netlink.attribute(HEAD + struct.pack("=HH", 3, 9) + attribute(3, b"x"), 3) == b""
    assert netlink.attribute(HEAD + struct.pack("=HH", 4, 9) + attribute(3, b"x"), 3) == b"x"


def test_memory_counters_are_known_as_far_as_they_were_sent() -> None:
    body = HEAD + attribute(7, struct.pack("=9I", *range(100, 109)))
    assert netlink.meminfo(body, netlink.SK_MEMINFO_RCVBUF) == 101
    assert netlink.meminfo(body, netlink.SK_MEMINFO_DROPS) == 108
    assert netlink.meminfo(body, 9) is None
    older = HEAD + attribute(7, struct.pack("=8I", *range(8)))
    assert netlink.meminfo(older, 7) == 7
    assert netlink.meminfo(older, netlink.SK_MEMINFO_DROPS) is None
    assert netlink.meminfo(HEAD, 0) is None
    assert netlink.meminfo(HEAD + attribute(7, b"abc"), 0) is None
    assert netlink.meminfo(HEAD + attribute(7, b"\1\0\0\0"), 0) == 1
    for index in range(1, 4):
        assert netlink.meminfo(HEAD + attribute(7, bytes(4 * index)), index) is None


def test_a_device_is_known_by_name_or_by_number() -> None:
    assert netlink.device(0) is None
    assert netlink.device(socket.if_nametoindex("lo")) == "lo"
    assert netlink.device(2**31 - 1) == "if2147483647"


def test_a_message_has_every_field_of_a_listener() -> None:
    row = tcp.decode(HEAD)
    assert (row.inode, row.local_port, row.queue, row.backlog, row.uid) == (77, 80, 3, 128, 1000)
    assert (row.cookie, row.interface, row.device, row.drops) == (2 << 32 | 7, 0, None, None)
    six = bytes([10]) + HEAD[1:]
    for content, refuses in ((b"\0", False), (b"\x02", True), (b"", None)):
        assert tcp.decode(six + attribute(11, content)).v6only is refuses
    with pytest.raises(OSError, match="which is none of IP") as caught:
        tcp.decode(bytes([3]) + HEAD[1:])
    assert caught.value.errno == errno.EBADMSG


@pytest.mark.parametrize(("state", "remote"), [(1, ("0.0.0.0", 0)), (7, (None, None))])
def test_only_a_connected_socket_of_udp_has_a_peer(
    state: int, remote: tuple[str | None, int | None]
) -> None:
    row = udp.decode(HEAD[:1] + bytes([state]) + HEAD[2:])
    assert (row.remote_address, row.remote_port) == remote
    assert (row.inode, row.local_port, row.queue_bytes, row.uid) == (77, 80, 3, 1000)


def test_a_line_of_udp_is_read_by_its_fields() -> None:
    line = (
        " 5: 0100007F:0035 0200007F:{:04X} {} 00000010:00000200 00:00000001 00000002"
        " 33 9 4711 2 00 8"
    )
    row = udp.parse(line.format(40000, "01"), "ipv4")
    assert (row.local_address, row.local_port) == ("127.0.0.1", 53)
    assert (row.remote_address, row.remote_port) == ("127.0.0.2", 40000)
    assert (row.inode, row.uid, row.queue_bytes) == (4711, 33, 0x200)
    row = udp.parse(line.format(0, "07"), "ipv4")
    assert (row.remote_address, row.remote_port) == (None, None)


def test_a_table_without_its_first_file_cannot_be_read(tmp_path: Path) -> None:
    line = " 0: {}:0050 0:0 {} 00000000:0000001B 00:0 0 33 0 77 1\n"
    six = line.format("0" * 32, "0A")
    (tmp_path / "tcp6").write_text(f"title\n{six}")
    with pytest.raises(FileNotFoundError):
        proctcp.listening(str(tmp_path))
    others = "".join(line.format("0200007F", state) for state in ("01", "09", "0B"))
    four = line.format("0100007F", "0A") + others
    (tmp_path / "tcp").write_text(f"title\n{four}")
    found = [(one.family, one.address, one.queue) for one in proctcp.listening(str(tmp_path))]
    assert found == [("ipv4", "127.0.0.1", 27), ("ipv6", "::", 27)]
    (tmp_path / "tcp6").unlink()  # a kernel without IPv6
    assert [one.family for one in proctcp.listening(str(tmp_path))] == ["ipv4"]


NETSTAT = """\
TcpExt: SyncookiesSent SyncookiesFailed ListenOverflows ListenDrops TCPDeferAcceptDrop
TcpExt: 1 2 3 4 5
IpExt: InNoRoutes ListenDrops
IpExt: 6 7
"""


def test_counters_of_the_kernel_are_found_by_name() -> None:
    found = TcpCounters(overflows=3, listen_drops=4, deferred=5, cookies_failed=2)
    assert netstat.parse(NETSTAT) == found
    first, second = NETSTAT[: NETSTAT.index("IpExt")], NETSTAT[NETSTAT.index("IpExt") :]
    assert netstat.parse(second + first) == found
    for text in ("", second, first.splitlines()[0], "TcpExt: a\nIpExt: 1", "IpExt: a\nTcpExt: 1"):
        with pytest.raises(OSError, match="no TcpExt"):
            netstat.parse(text)


def asked(error: int, folder: str = "", path: str | None = None) -> list[str]:
    """Which tables are read where the dump fails so."""
    read: list[str] = []

    def fail() -> tuple[str, ...]:
        raise OSError(error, os.strerror(error))

    def from_text(where: str) -> tuple[str, ...]:
        read.append(where)
        if folder:
            raise FileNotFoundError(errno.ENOENT, "No such file", folder)
        return ("row",)

    assert tcp.ask(path, "sockets", fail, from_text) == ("row",)
    return read


def test_tables_are_read_only_where_there_is_no_sock_diag() -> None:
    for error in (errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
        assert asked(error) == ["/proc/thread-self/net"]
    with pytest.raises(AcceptTraceError, match="refused to list sockets: Permission denied"):
        asked(errno.EACCES)
    with pytest.raises(AcceptTraceError, match="cannot read /x: No such file"):
        asked(errno.ENOENT, "/x")


def test_who_may_not_enter_and_finds_no_tables_is_told_to_be_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(tcp, "call_inside", refuse)
    assert asked(0, path="/proc/7/ns/net") == ["/proc/7/net"]
    for folder, path in (("/x", "/proc/7/ns/net"), ("", "/run/netns/a")):
        with pytest.raises(UnsupportedError, match="CAP_SYS_ADMIN"):
            asked(0, folder, path)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("no number")])
def test_without_counters_the_sockets_are_still_listed(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> TcpCounters:
        raise error

    assert tcp.look(None, counting=True).counters is not None
    monkeypatch.setattr(tcp, "tcp_counters", fail)
    with socket.create_server(("127.0.0.1", 0)):
        found = tcp.look(None, counting=True)
    assert found.counters is None
    assert found.sockets


def test_connections_are_listed_of_the_ports_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        clients = [socket.create_connection(server.getsockname()) for _ in range(2)]
        taken = [server.accept()[0] for _ in clients]

        def listed(*ports: int) -> set[tuple[int, int, str]] | None:
            found = tcp.look(None, counting=False, open_ports=ports).connections
            return None if found is None else {(c.inode, c.local_port, c.family) for c in found}

        mine = {(os.fstat(one.fileno()).st_ino, port, "ipv4") for one in taken}
        try:
            assert listed(port) == mine
            assert listed() is None
            assert listed(1) == set()
            for most, found in ((2, mine), (1, None)):
                monkeypatch.setattr(tcp, "MAX_CONNECTIONS", most)
                assert listed(port) == found
        finally:
            for one in (*clients, *taken):
                one.close()
