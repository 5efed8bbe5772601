"""`accepttrace who --udp`: over real sockets, and its lines."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.cli.who import who
from accepttrace.config import Filters
from accepttrace.facts.datagrams import Receiver, Receivers
from accepttrace.facts.kin import Kin, Surroundings
from accepttrace.facts.records import Program
from accepttrace.model.who.datagrams import Answer, answer
from accepttrace.sockets.receivers import ReceiverReader
from accepttrace.views import receivers as table
from accepttrace.views.text import plain
from accepttrace.views.who.holders import Style
from accepttrace.views.who.udp import instead, json_lines, text_lines
from tests.unit import udppictures
from tests.unit.pictures import holder
from tests.unit.udppictures import receiver

SCHEMA = Draft202012Validator(
    json.loads((Path(accepttrace.views.__file__).parent / "who.udp.schema.json").read_text())
)
AROUND = Surroundings()


def lines(*rows: Receiver) -> list[str]:
    return list(text_lines(told(*rows), ":53", Style(80)))


def told(*rows: Receiver) -> Answer:
    """The answer, every object of which is as the schema has it."""
    found = answer(Receivers(rows), AROUND)
    for line in json_lines(found):
        SCHEMA.validate(json.loads(line))
    return found


def test_shows_groups_and_holders() -> None:
    steered = replace(
        receiver(8, [holder(2)], group=0), selector="ebpf", program=Program(7, "st\x1b[2J")
    )
    assert lines(steered, receiver(7, [holder(1)], group=0, queue=2)) == [
        "127.0.0.1:53  4 reuseport sockets of group 0 by hash  2 shown",
        "  1 of 4  inode 7  queue 1,536 bytes  owner uid 0",
        "    waits  1  nginx: worker  fd 6",
        "  2 of 4  inode 8  queue 0 bytes  owner uid 0",
        "    waits  2  nginx: worker  fd 6",
    ]
    assert lines(steered)[0] == ("127.0.0.1:53  inode 8  queue 0 bytes  owner uid 0")
    assert lines(steered)[1].strip() == "one of 4 reuseport sockets by ebpf 7 st?[2J  one process"


def test_sockets_with_the_same_address_need_not_be_a_group() -> None:
    rows = [receiver(inode, [holder(inode)]) for inode in (1, 2, 3)]
    assert "reuseport" not in lines(*rows)[0]
    note = "note: 3 sockets have 127.0.0.1:53 without SO_REUSEPORT"
    assert [line for line in lines(*rows) if line.startswith(note)]
    connected = receiver(4, remote="192.0.2.1")
    assert "connected to 192.0.2.1:40000" in lines(connected, receiver(5))[0]
    assert "note" not in lines(connected, receiver(5))[-1]
    model = udppictures.tracker()
    udppictures.feed(model, 1, [], rows)
    assert "3 sockets have 127.0.0.1:53" in plain(table.render(model.snapshot(), 200, None))


def test_what_was_not_looked_at_is_not_said() -> None:
    rows = [replace(receiver(inode), queue=None) for inode in (1, 2)]
    assert [" ".join(line.split()) for line in lines(*rows)] == [
        part
        for inode in (1, 2)
        for part in (
            f"127.0.0.1:53 inode {inode} queue 0 bytes owner uid 0 group: n/a without BPF",
            "held by nobody visible",
        )
    ]


def test_nobody_is_an_answer() -> None:
    assert lines() == ["no UDP socket on :53"]
    assert instead(told(receiver(1)), ":53") == "no TCP listener on :53; UDP: 1 socket"


def test_finds_real_sockets() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        two.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        two.bind(one.getsockname())
        port = str(one.getsockname()[1])
        inodes = {os.fstat(sock.fileno()).st_ino for sock in (one, two)}
        shown = CliRunner().invoke(who, ["--udp", "-p", port])
        objects = CliRunner().invoke(who, ["--udp", "-p", port, "-o", "jsonl"])
        tcp = CliRunner().invoke(who, ["-p", port])
    assert shown.exit_code == objects.exit_code == tcp.exit_code == 0
    assert f"127.0.0.1:{port}  2 reuseport sockets of group " in shown.output
    assert f"  1 of 2  inode {min(inodes)}  " in shown.output
    assert f"{os.getpid()}  " in shown.output
    rows = [json.loads(line) for line in objects.output.splitlines() if line.startswith("{")]
    assert {row["inode"] for row in rows} == inodes
    assert {row["holders"][0]["pid"] for row in rows} == {os.getpid()}
    assert len({row["group"] for row in rows}) == 1
    first, *rest = tcp.output.splitlines()
    assert first == f"no TCP listener on :{port}; UDP: 2 sockets"
    assert rest[:2] == shown.output.splitlines()[:2]


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
    (line,) = json_lines(told(receiver(1, [holder(1)], group=0)))
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
    assert lines(two, other)[:4] == [
        "[::]%eth0:80  netns 9  IPv4 too  inode 2  queue 1,234 bytes  owner uid 0",
        "    held by nobody visible",
        "[::1]:80  netns 4026531840  inode 3  queue 0 bytes  owner uid 0",
        "    shared by 2 processes  way not known",
    ]


def test_drops_and_how_a_socket_came_to_be_shared_are_said() -> None:
    holders = [holder(9), holder(10)]
    around = Surroundings(
        {9: Kin(9, 1, "m", 1, 9, 33, "0"), 10: Kin(10, 1, "w", 9, 9, 33, "0")},
        {33: "www"},
        {},
        {1: True},
        200,
    )
    row = replace(receiver(1, holders), drops=1234, uid=33)
    found = answer(Receivers((row,)), around)
    assert list(text_lines(found, "", Style(80)))[:3] == [
        "127.0.0.1:53  inode 1  queue 0 bytes  1,234 drops  owner www",
        "    shared by 2 processes  likely inherited from 9 nginx: worker",
        "    one open file (kcmp)",
    ]


def test_a_member_alone_has_its_own_facts() -> None:
    rows = [
        receiver(1, [holder(1)], group=0, queue=1, drops=7),
        receiver(2, [holder(2)], group=0),
    ]
    assert lines(*rows) == [
        "127.0.0.1:53  4 reuseport sockets of group 0 by hash  2 shown",
        "  1 of 4  inode 1  queue 768 bytes  7 drops  owner uid 0",
        "    waits  1  nginx: worker  fd 6",
        "  2 of 4  inode 2  queue 0 bytes  owner uid 0",
        "    waits  2  nginx: worker  fd 6",
    ]


def test_drops_of_many_are_one_number_and_not_known_where_one_is_not() -> None:
    def said(*drops: int | None) -> str:
        rows = [receiver(n, [holder(n)], group=0, drops=d) for n, d in enumerate(drops, 1)]
        return lines(*rows)[1].partition("bytes  ")[2]

    assert said(0, 0, 0, 0) == "owner uid 0"
    assert said(1, 2, 3, 1000) == "1,006 drops  owner uid 0"
    assert said(None, None, None, None) == "drops n/a  owner uid 0"


def test_members_alike_share_a_line() -> None:
    rows = [receiver(inode, [holder(inode)], group=0, queue=1) for inode in (1, 2, 3, 4)]
    assert lines(*rows)[:3] == [
        "127.0.0.1:53  4 reuseport sockets of group 0 by hash",
        "  1-4 of 4  inodes 1-4  queues 3,072 bytes  owner uid 0",
        "    waits  4 x  nginx: worker  on 1 of 4  pids 1-4",
    ]
    assert len(list(text_lines(told(*rows), "", Style(80, full=True)))) == 9
