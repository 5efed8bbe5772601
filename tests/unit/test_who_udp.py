"""`accepttrace who --udp`: over real sockets, and its lines."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace

from click.testing import CliRunner

from accepttrace.cli.who import who
from accepttrace.config import Filters
from accepttrace.facts.datagrams import Receivers
from accepttrace.facts.records import Program
from accepttrace.sockets.receivers import ReceiverReader
from accepttrace.views import receivers as table
from accepttrace.views.text import plain
from accepttrace.views.who.holders import Style
from accepttrace.views.whoudp import hint, json_lines, text_lines
from tests.unit import udppictures
from tests.unit.pictures import holder
from tests.unit.udppictures import receiver


def lines(*rows: object) -> list[str]:
    return list(text_lines(Receivers(rows), ":53", Style(80)))  # type: ignore[arg-type]


def test_shows_groups_and_holders() -> None:
    steered = replace(
        receiver(8, [holder(2)], group=0), selector="ebpf", program=Program(7, "st\x1b[2J")
    )
    assert lines(receiver(7, [holder(1)], group=0, queue=2), steered) == [
        "127.0.0.1:53  inode 7  queue 1,536 bytes  reuseport 1 of 4 by hash, 1 process",
        "  waits  1  nginx: worker  fd 6",
        "127.0.0.1:53  inode 8  queue 0 bytes  reuseport 2 of 4 by ebpf 7 st?[2J, 1 process",
        "  waits  2  nginx: worker  fd 6",
    ]


def test_sockets_with_the_same_address_need_not_be_a_group() -> None:
    rows = [receiver(inode, [holder(inode)]) for inode in (1, 2, 3)]
    assert "in no group, 1 process" in lines(*rows)[0]
    assert lines(*rows)[-1].startswith("note: 3 sockets have 127.0.0.1:53 without SO_REUSEPORT")
    connected = receiver(4, remote="192.0.2.1")
    assert "connected to 192.0.2.1:40000" in lines(connected, receiver(5))[0]
    assert "note" not in lines(connected, receiver(5))[-1]
    model = udppictures.tracker()
    udppictures.feed(model, 1, [], rows)
    assert "3 sockets have 127.0.0.1:53" in plain(table.render(model.snapshot(), 200, None))


def test_what_was_not_looked_at_is_not_said() -> None:
    rows = [replace(receiver(inode), queue=None) for inode in (1, 2)]
    assert lines(*rows) == [
        f"127.0.0.1:53  inode {inode}  queue 0 bytes"
        "  group: n/a without BPF, held by nobody visible"
        for inode in (1, 2)
    ]


def test_nobody_is_an_answer() -> None:
    assert lines() == ["no UDP socket on :53"]
    assert hint(Receivers()) == ""
    assert hint(Receivers((receiver(1),))).startswith("there is 1 UDP socket:")


def test_finds_real_sockets() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        two.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        two.bind(one.getsockname())
        port = str(one.getsockname()[1])
        inodes = {os.fstat(sock.fileno()).st_ino for sock in (one, two)}
        answer = CliRunner().invoke(who, ["--udp", "-p", port])
        objects = CliRunner().invoke(who, ["--udp", "-p", port, "-o", "jsonl"])
        tcp = CliRunner().invoke(who, ["-p", port])
    assert answer.exit_code == objects.exit_code == tcp.exit_code == 0
    assert f"127.0.0.1:{port}  inode {min(inodes)}" in answer.output
    assert f"{os.getpid()}  " in answer.output
    rows = [json.loads(line) for line in objects.output.splitlines() if line.startswith("{")]
    assert {row["inode"] for row in rows} == inodes
    assert {row["holders"][0]["pid"] for row in rows} == {os.getpid()}
    assert len({row["group"] for row in rows}) == 1
    assert tcp.output.splitlines()[1].startswith("there are 2 UDP sockets")


def test_the_baseline_has_what_every_socket_had_dropped() -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as full,
        socket.socket(type=socket.SOCK_DGRAM) as idle,
    ):
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for sock in (full, idle):
            sock.bind(("127.0.0.1", 0))
        for _ in range(50):
            idle.sendto(b"x" * 1000, full.getsockname())
        inodes = [os.fstat(sock.fileno()).st_ino for sock in (full, idle)]
        found = ReceiverReader(Filters(ports=frozenset({1})), tuple).baseline()
        (receiver,) = (
            ReceiverReader(Filters(ports=frozenset({full.getsockname()[1]})), tuple).read().sockets
        )
    assert found.sockets >= set(inodes)  # whatever the filters say
    drops = found.namespaces[os.stat("/proc/self/ns/net").st_ino].drops
    assert inodes[1] not in drops
    assert 0 < drops[inodes[0]] < 50
    assert (receiver.inode, receiver.drops) == (inodes[0], drops[inodes[0]])


def test_json_has_the_names_of_udp() -> None:
    (line,) = json_lines(Receivers((receiver(1, [holder(1)], group=0),)))
    row = json.loads(line)
    assert (row["type"], row["protocol"], row["group"], row["selector"]) == (
        "socket",
        "udp",
        0,
        "hash",
    )
    assert row["holders"][0]["pid"] == 1


def test_what_is_known_of_a_socket_stands_in_its_line() -> None:
    two = replace(
        receiver(2, address="::", port=80), netns=9, v6only=False, device="eth0", queue_bytes=1234
    )
    other = replace(receiver(3, [holder(1), holder(2)], address="::1", port=80), v6only=False)
    mapped = replace(other, local_address="::ffff:10.0.0.1", holders=())
    assert "IPv4" not in lines(mapped, replace(mapped, inode=4, local_address="10.0.0.1"))[0]
    shown = [line for line in lines(two, other) if not line.startswith("  ")]
    assert shown == [
        "[::]%eth0:80  inode 2  netns 9  IPv4 too  queue 1,234 bytes"
        "  in no group, held by nobody visible",
        "[::1]:80  inode 3  netns 4026531840  queue 0 bytes  in no group, 2 processes",
    ]
