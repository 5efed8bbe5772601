"""UDP reuseport groups: the tracer's rows against what the sockets' own processes received."""

from __future__ import annotations

import ctypes
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.datagrams import UdpReading
from accepttrace.facts.meta import Meta
from accepttrace.model.datagrams import ReceiverRow, ReceiverSnapshot
from accepttrace.model.receivers import ReceiverTracker
from accepttrace.probe import _syscall
from accepttrace.probe.load import btf
from accepttrace.probe.udp import UdpSession, open_udp
from accepttrace.sockets.diag import netlink
from accepttrace.sockets.receivers import ReceiverReader

from .conftest import ATTEMPTS, EXPECTED, Way, name, offered, wait_until
from .test_cli import ATTACH, LOADER, START_S, lines, started
from .udpserver import LOOPBACK, UDP_SEGMENT, UdpServer, inode_of, member

FAMILIES = [socket.AF_INET, socket.AF_INET6]
CLIENTS = 199
SIZE = 100  # so that one queue has room for those of all clients
SO_ATTACH_REUSEPORT_CBPF = 51
SO_ATTACH_REUSEPORT_EBPF = 52
GROUPS = btf.VMLINUX.exists()  # without it there is no iterator that lists them


@dataclass
class UdpTracing:
    """A live session; `of` starts a fresh account for one port."""

    session: UdpSession

    @property
    def sees_datagrams(self) -> bool:
        return self.session.plan.sees.datagrams

    def of(self, port: int) -> UdpAccount:
        return UdpAccount(self.session, Filters(ports=frozenset({port})))


class UdpAccount:
    """What the tracer says of a port, as any view would get it."""

    def __init__(self, session: UdpSession, filters: Filters) -> None:
        session.filter(filters)
        session.reset()
        self._session = session
        self._reader = ReceiverReader(filters, session.queues)
        meta = Meta("test", "", session.plan.attach, session.loader, (), "", "")
        self._tracker = ReceiverTracker(meta, filters, time.monotonic(), session.plan.sees)
        self._tracker.start(self._reader.baseline())

    def snapshot(self) -> ReceiverSnapshot:
        counts, found = self._session.counts(), self._reader.read(full=True)
        gone = self._tracker.update(UdpReading(counts, found, wall=""))
        self._session.forget(gone)
        return self._tracker.snapshot()

    def rows(self) -> dict[int, ReceiverRow]:
        snapshot = self.snapshot()
        assert snapshot.books.balanced
        return {row.inode: row for row in snapshot.sockets if row.inode is not None}


def udp_session(way: Way) -> UdpSession:
    """A proved session, or a skip with the kernel's reason."""
    try:
        return open_udp(Config(attach=way.attach, loader=way.loader))  # type: ignore[arg-type]
    except UnsupportedError as error:
        if way.attach in EXPECTED:
            pytest.fail(f"{way} is expected here: {error.message}\n{error.detail}")
        pytest.skip(f"{way}: {error.message}")


@pytest.fixture(scope="session", params=offered(), ids=name)
def udp(request: pytest.FixtureRequest) -> Iterator[UdpTracing]:
    with udp_session(request.param) as session:
        yield UdpTracing(session)


def group(family: int, **options: int) -> tuple[int, list[list[socket.socket]]]:
    """A port, and four members of its group, for two processes."""
    first = member(family, **options)
    port = first.getsockname()[1]
    others = [member(family, port, **options) for _ in range(3)]
    return port, [[first, others[0]], others[1:]]


def send(family: int, port: int, clients: int = CLIENTS) -> None:
    """From each client, that is from its own source port, one datagram."""
    for _ in range(clients):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(bytes(SIZE), (LOOPBACK[family], port))


def all_received(server: UdpServer, number: int) -> dict[int, int]:
    wait_until(lambda: sum(server.received().values()) == number, f"{number} datagrams received")
    return server.received()


def field(rows: dict[int, ReceiverRow], key: str) -> dict[int, int | None]:
    return {inode: getattr(row, key) for inode, row in rows.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_datagram_is_counted_for_its_socket(udp: UdpTracing, family: int) -> None:
    port, sockets = group(family)
    account = udp.of(port)
    with UdpServer(sockets) as server:
        send(family, port)
        received = all_received(server, CLIENTS)
        rows = account.rows()
    assert {i: [h.pid for h in row.holders] for i, row in rows.items()} == {
        inode: [pid] for inode, pid in server.owners.items()
    }
    assert {(r.local_address, r.local_port) for r in rows.values()} == {(LOOPBACK[family], port)}
    assert {r.remote_address for r in rows.values()} == {None}
    if GROUPS:
        assert len({row.group for row in rows.values()}) == 1
        assert {(row.group_size, row.selector) for row in rows.values()} == {(4, "hash")}
    if udp.sees_datagrams:
        assert sum(received.values()) == CLIENTS
        assert field(rows, "datagrams") == field(rows, "selected") == received
        assert set(field(rows, "dropped").values()) == {0}
    else:
        for key in ("datagrams", "selected", "dropped", "rate", "share"):
            assert set(field(rows, key).values()) == {None}


def buffer_errors(family: int) -> int:
    """Datagrams that this network namespace dropped for want of room, by its own count."""
    counter = "UdpRcvbufErrors" if family == socket.AF_INET else "Udp6RcvbufErrors"
    done = subprocess.run(["nstat", "-asz", counter], capture_output=True, text=True, check=True)
    return int(next(line.split()[1] for line in done.stdout.splitlines() if counter in line))


def settled(account: UdpAccount, family: int, before: int) -> bool:
    """Whether every datagram is in a queue or dropped; where queues cannot be read, True."""
    queued = sum(row.queue or 0 for row in account.rows().values())
    return not GROUPS or queued + buffer_errors(family) - before == CLIENTS


def ss(port: int) -> dict[int, tuple[int, int]]:
    """inode → bytes waiting and drops, as `ss` shows them."""
    command = ("ss", "-H", "-u", "-a", "-n", "-e", "-m", f"sport = :{port}")
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for entry in re.split(r"\n(?=\S)", shown.strip()):
        inode = int(re.search(r"ino:(\d+)", entry)[1])  # type: ignore[index]
        drops = re.search(r"skmem:\(.*,d(\d+)\)", entry)
        found[inode] = (int(entry.split()[1]), int(drops[1]) if drops else 0)
    return found


def test_only_what_was_dropped_since_it_is_ready_is_reported_and_in_the_header(
    tmp_path: Path,
) -> None:
    port, sockets = group(socket.AF_INET, buffer=4096)
    options = ("--attach", ATTACH, "--loader", LOADER, "--udp", "--port", str(port), "-i", "0.5")
    with UdpServer(sockets, asleep=True):
        send(socket.AF_INET, port)
        before = sum(drops for _, drops in ss(port).values())
        with started(*options, ready=tmp_path / "ready") as process:
            send(socket.AF_INET, port)
            dropped = sum(drops for _, drops in ss(port).values()) - before
            assert process.stdout is not None
            process.stdout.readline()  # after the first reading
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=START_S)
    assert err == ""
    assert before > 0
    assert dropped > 0
    assert f"{dropped} datagrams dropped" in re.sub(r"\s+", " ", out)
    assert "nothing lost" not in out


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_full_queue_drops_is_counted(udp: UdpTracing, family: int) -> None:
    port, sockets = group(family, buffer=8192)
    account = udp.of(port)
    before = buffer_errors(family)
    with UdpServer(sockets, asleep=True) as server:
        send(family, port)
        wait_until(lambda: settled(account, family, before), "each one queued or dropped")
        dropped = buffer_errors(family) - before
        rows, shown = account.rows(), ss(port)
        assert dropped > 0
        assert {i: (row.queue_bytes, row.drops) for i, row in rows.items()} == shown
        assert sum(drops for _, drops in shown.values()) == dropped
        assert {row.queue_limit_bytes for row in rows.values()} == {2 * 8192}
        server.wake()
        received = all_received(server, CLIENTS - dropped)
        if GROUPS:
            assert field(rows, "queue") == received
        after = account.rows()
    assert {row.queue_bytes for row in after.values()} == {0}
    if udp.sees_datagrams:
        assert field(after, "datagrams") == received
        assert field(after, "dropped") == {inode: drops for inode, (_, drops) in shown.items()}
        assert sum(row.selected or 0 for row in after.values()) == CLIENTS


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connected_member_is_kept_apart(udp: UdpTracing, family: int) -> None:
    port, sockets = group(family)
    connected = member(family, port)
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.bind((LOOPBACK[family], 0))
    peer = client.getsockname()[:2]
    connected.connect(client.getsockname())
    chosen = inode_of(connected)
    account = udp.of(port)
    with client, UdpServer([*sockets, [connected]]) as server:
        for _ in range(23):
            client.sendto(bytes(SIZE), (LOOPBACK[family], port))
        send(family, port)
        received = all_received(server, 23 + CLIENTS)
        rows = account.rows()
    assert received[chosen] == 23
    assert (rows[chosen].remote_address, rows[chosen].remote_port) == peer
    assert {r.remote_address for i, r in rows.items() if i != chosen} == {None}
    if udp.sees_datagrams:
        assert field(rows, "datagrams") == received
        assert rows[chosen].selected == 0
        # The kernel may choose a member before it finds that the connected one fits better.
        assert sum(row.selected or 0 for row in rows.values()) >= CLIENTS


def test_a_classic_bpf_selector_chooses(udp: UdpTracing) -> None:
    port, sockets = group(socket.AF_INET)
    always_2 = struct.pack("=HBBI", 0x06, 0, 0, 2)  # ret #2
    code = ctypes.create_string_buffer(always_2)
    program = struct.pack("=HxxxxxxQ", 1, ctypes.addressof(code))
    sockets[0][0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
    chosen = inode_of(sockets[1][0])
    account = udp.of(port)
    with UdpServer(sockets) as server:
        send(socket.AF_INET, port)
        received = all_received(server, CLIENTS)
        rows = account.rows()
    assert received[chosen] == CLIENTS
    if GROUPS:
        assert {row.selector for row in rows.values()} == {"cbpf"}
    if udp.sees_datagrams:
        assert field(rows, "selected") == field(rows, "datagrams") == received


def look_up(port: int, source: int) -> int:
    """The inode of the socket that a packet from this source port would reach, by sock_diag."""
    address = socket.inet_aton("127.0.0.1") + bytes(12)
    ports = source.to_bytes(2, "big") + port.to_bytes(2, "big")
    request = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_UDP, 0, 0xFFFFFFFF)
    request += ports + address + address + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    header = struct.pack("=IHHII", 16 + len(request), netlink.SOCK_DIAG_BY_FAMILY, 1, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, netlink.NETLINK_SOCK_DIAG) as link:
        link.send(header + request)
        answer = link.recv(65536)
    return int(netlink.fields(answer[16:])[-1])


def test_a_look_up_is_no_selection(udp: UdpTracing) -> None:
    port, sockets = group(socket.AF_INET)
    account = udp.of(port)
    with UdpServer(sockets) as server:
        found = {look_up(port, source) for source in range(40000, 40064)}
        assert len(found) > 1  # so the kernel did choose
        assert found <= server.owners.keys()
        send(socket.AF_INET, port, 7)
        received = all_received(server, 7)
        rows = account.rows()
    if udp.sees_datagrams:
        assert field(rows, "selected") == field(rows, "datagrams") == received


class ProgLoad(ctypes.Structure):
    """The part of union bpf_attr for BPF_PROG_LOAD that is needed here."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
    )


def dropping_selector() -> int:
    """File descriptor of an eBPF selector that lets nothing through (SK_DROP)."""
    code = ctypes.create_string_buffer(
        struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    )
    licence = ctypes.create_string_buffer(b"GPL")
    attr = ProgLoad(
        prog_type=21,  # BPF_PROG_TYPE_SK_REUSEPORT
        insn_cnt=2,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(licence),
        prog_name=b"drop_all",
    )
    return _syscall.bpf(5, attr)  # BPF_PROG_LOAD


def test_a_selector_that_drops_is_no_selection(udp: UdpTracing) -> None:
    port, sockets = group(socket.AF_INET)
    selector = struct.pack("=i", dropping_selector())
    account = udp.of(port)
    with UdpServer(sockets) as server:
        send(socket.AF_INET, port, 11)
        before = all_received(server, 11)
        with member(socket.AF_INET, port) as one_more:
            one_more.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, selector)
            send(socket.AF_INET, port, 13)
            rows = {i: row for i, row in account.rows().items() if i in before}
    if GROUPS:
        assert {row.selector for row in rows.values()} == {"ebpf"}
        assert {row.selector_program and row.selector_program.name for row in rows.values()} == {
            "drop_all"
        }
    if udp.sees_datagrams:
        assert field(rows, "selected") == field(rows, "datagrams") == before


def test_a_packet_of_many_datagrams_counts_as_those(udp: UdpTracing) -> None:
    """Each send is ten datagrams, the last one short. Old kernels cut it up on the way."""
    port, sockets = group(socket.AF_INET, gro=1)
    account = udp.of(port)
    with UdpServer(sockets) as server:
        for _ in range(17):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
                client.sendto(bytes(950), ("127.0.0.1", port))
        received, packets = all_received(server, 17 * 10), server.packets()
        rows = account.rows()
    if udp.sees_datagrams:
        assert field(rows, "datagrams") == received
        assert field(rows, "selected") == packets
    assert sum(packets.values()) in (17, 17 * 10)


def test_a_member_that_closed_keeps_its_totals(udp: UdpTracing) -> None:
    port, sockets = group(socket.AF_INET)
    account = udp.of(port)
    with UdpServer(sockets) as server:
        send(socket.AF_INET, port)
        received = all_received(server, CLIENTS)
        account.rows()
        server.stop(0)
        for _ in range(3):
            rows = account.rows()
    if GROUPS:
        assert {i for i, row in rows.items() if not row.open} == set(server.inodes[0])
    if GROUPS and udp.sees_datagrams:
        assert field(rows, "datagrams") == received


def test_the_command_tells_the_same(tmp_path: Path) -> None:
    for attempt in range(ATTEMPTS):
        port, sockets = group(socket.AF_INET)
        options = ("--udp", "-p", str(port), "-o", "jsonl", "--attach", ATTACH, "--loader", LOADER)
        ready = tmp_path / f"ready{attempt}"
        with UdpServer(sockets) as server, started(*options, ready=ready) as process:
            send(socket.AF_INET, port)
            received = all_received(server, CLIENTS)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=START_S)
        meta, *_, summary = lines(out)
        assert (process.returncode, err) == (0, "")
        skipped = summary["books"]["recursion_misses"]
        assert summary["books"]["balanced"] == (not skipped)
        if not skipped:
            break
    assert not skipped
    assert (meta["protocol"], meta["filter"]) == ("udp", f"UDP :{port}")
    rows = {row["inode"]: row for row in summary["sockets"]}
    assert {i: [h["pid"] for h in row["holders"]] for i, row in rows.items()} == {
        inode: [pid] for inode, pid in server.owners.items()
    }
    seen = ATTACH != "tracepoint"
    expected = received if seen else dict.fromkeys(received)
    assert {inode: row["datagrams"] for inode, row in rows.items()} == expected
    assert {inode: row["selected"] for inode, row in rows.items()} == expected
    assert summary["books"]["datagrams"] == (CLIENTS if seen else None)
