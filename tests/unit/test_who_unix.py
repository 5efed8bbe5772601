"""AF_UNIX in `who`: what the kernel sends, how it is asked for, its lines and its JSON."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.cli import whounix
from accepttrace.cli.who import who
from accepttrace.config import Filters
from accepttrace.errors import AcceptTraceError, UsageError
from accepttrace.facts.kin import Kin, Surroundings
from accepttrace.facts.records import Holder, Inventory, Listener
from accepttrace.model.who.diagnoses import diagnoses
from accepttrace.model.who.tree import answer
from accepttrace.run import who as run
from accepttrace.sockets.diag import netlink, unix
from accepttrace.sockets.diag.unix import SocketFile, UnixSocket, decode, file_at, spelled
from accepttrace.sockets.unixinventory import UnixReader
from accepttrace.views.text import cells, shortened
from accepttrace.views.who.holders import Style
from accepttrace.views.who.objects import json_lines
from accepttrace.views.who.tree import text_lines

SCHEMA = json.loads((Path(accepttrace.views.__file__).parent / "who.schema.json").read_text())
AROUND = Surroundings({9: Kin(9, 1, "app", 1, 9, 0, "0-3")}, {0: "root"}, {}, {}, 500)


def row(inode: int = 7, *holders: Holder, **changes: Any) -> Listener:
    one = Listener(inode, 1, "unix", "/run/app.sock", 0, 4, 0, "sole", None, None, None, holders, 0)
    return replace(one, **changes)


def holder(pid: int, waits: bool | None = True) -> Holder:
    return Holder(pid, 1, "app", "app", 5, waits, None)


def lines(*rows: Listener, width: int = 80) -> list[str]:
    return list(text_lines(answer(Inventory(rows), AROUND), "", Style(width)))


def attribute(kind: int, value: bytes) -> bytes:
    padded = value.ljust((len(value) + 3) & ~3, b"\0")
    return netlink.ATTRIBUTE.pack(netlink.ATTRIBUTE.size + len(value), kind) + padded


def message(*attributes: bytes, kind: int = socket.SOCK_STREAM) -> bytes:
    return unix.MESSAGE.pack(socket.AF_UNIX, kind, 10, 4711) + b"".join(attributes)


def test_a_message_of_the_kernel() -> None:
    whole = message(
        attribute(unix.UNIX_DIAG_NAME, b"/run/s\0"),
        attribute(unix.UNIX_DIAG_VFS, unix.PAIR.pack(33, 9 << 20 | 0xFFFFF)),
        attribute(unix.UNIX_DIAG_RQLEN, unix.PAIR.pack(5, 4)),
        attribute(unix.UNIX_DIAG_UID, netlink.COUNTER.pack(1000)),
        kind=socket.SOCK_SEQPACKET,
    )
    file = SocketFile(9, 0xFFFFF, 33)
    assert decode(whole) == UnixSocket(4711, "/run/s", True, file, 5, 4, 1000)
    assert decode(message()) == UnixSocket(4711, "(no name)", False, None, None, None, None)
    assert decode(message(attribute(unix.UNIX_DIAG_UID, bytes(3)))).uid is None
    with pytest.raises(OSError, match="short"):
        decode(whole[:15])


def test_a_kernel_without_unix_diag_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> tuple[UnixSocket, ...]:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(netlink, "dump_unix", fail)
    with pytest.raises(AcceptTraceError, match="net/unix: no queues there"):
        unix.unix_sockets()


@given(st.binary(max_size=120))
def test_no_message_is_too_strange(body: bytes) -> None:
    decode(message(body))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"/run/s\0", "/run/s"),
        (b"s", "s"),
        (b"\0abc", "@abc"),
        (b"\0a\0b\0", "@a@b@"),
        (b"@abc\0", "./@abc"),
        (b"/a\xffb\0", "/a\ufffdb"),
        (b"\0", "@"),
        (b"", "(no name)"),
    ],
)
def test_names_are_spelled_as_ss_does_and_relative_paths_are_not_taken_for_abstract(
    name: bytes, shown: str
) -> None:
    assert spelled(name) == shown


def test_the_file_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        found = os.stat(tmp_path / "s")
        assert stat.S_ISSOCK(found.st_mode)
        expected = (os.major(found.st_dev), os.minor(found.st_dev), found.st_ino & 0xFFFFFFFF)
        assert file_at(str(tmp_path / "s")) == expected
    far = SimpleNamespace(st_mode=stat.S_IFSOCK, st_dev=os.makedev(8, 1), st_ino=(5 << 32) - 1)
    with monkeypatch.context() as large:
        large.setattr(os, "stat", lambda _: far)
        assert file_at("/s") == SocketFile(8, 1, 0xFFFFFFFF)
    assert file_at(str(tmp_path)) is None
    assert file_at(str(tmp_path / "none")) is None
    assert file_at("/nul\0") is None


def test_lines() -> None:
    assert lines(row(7, holder(9), queue=5, seqpacket=True)) == [
        "/run/app.sock  inode 7  queue 5, backlog 4  owner root  SOCK_SEQPACKET  FULL",
        "    sole",
        "  waits  9  app  fd 5  up 4s  root  parent 1",
        "QUEUE FULL /run/app.sock socket 7: 5 connections wait where backlog 4 lets one",
        "  more wait; further connect() calls block, or fail with EAGAIN",
        "  -> Find out why nobody accepts faster. A larger backlog (listen(),",
        "     net.core.somaxconn) only helps against bursts.",
    ]


def test_names_do_not_look_like_what_stands_around_them() -> None:
    first = lines(row(7, holder(9), local_address='@a  inode 1  "x\n'))[0]
    assert first.startswith('"@a  inode 1  \'x?"  inode 7  queue 0, backlog 4')
    long = f"/{'x' * 60}/{'y' * 60}/app.sock"
    first = lines(row(7, holder(9), local_address=long))[0]
    assert (cells(first), first[:4], first[-9:]) == (80, "/xxx", "/app.sock")


@given(st.text(max_size=40), st.integers(0, 30))
def test_shortened_is_of_its_width(text: str, width: int) -> None:
    assert cells(shortened(text, width)) <= max(width, cells(text) * (cells(text) <= width))
    assert shortened(text, 1000) == text


def test_they_have_no_ports_that_groups_or_owners_could_share() -> None:
    rows = (
        row(7, holder(9)),
        row(8, holder(9), local_address="0.0.0.0", uid=1),
        row(9, holder(9), local_address="::", uid=2),
    )
    assert diagnoses(answer(Inventory(rows), AROUND)) == ()
    assert not [line for line in lines(*rows) if "groups" in line]


def test_what_to_do_names_nothing_of_tcp() -> None:
    dead = lines(row(7, holder(9, waits=False)))
    assert dead[2].startswith("NOBODY WAITS /run/app.sock socket 7: nobody waits on it")
    assert "tcp_migrate_req" not in " ".join(dead)
    other = replace(row(7, holder(9, waits=False)), family="ipv4", local_address="127.0.0.1")
    assert "tcp_migrate_req" in " ".join(lines(other))


def test_every_line_is_as_the_schema_says() -> None:
    shown = answer(Inventory((row(7, holder(9), queue=5), row(8, seqpacket=True))), AROUND)
    found = [json.loads(line) for line in json_lines(shown)]
    for line in found:
        Draft202012Validator(SCHEMA).validate(line)
    one, two, *rest = found
    assert (one["family"], one["local_address"], one["local_port"]) == (
        "unix",
        "/run/app.sock",
        None,
    )
    assert (one["socket_type"], two["socket_type"]) == ("stream", "seqpacket")
    assert {line["local_port"] for line in rest if line["type"] == "diagnosis"} == {None}
    assert [one[name] for name in ("half_open", "drops", "defer_accept", "reuseport")] == [None] * 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--unix", "80"],
        ["--unix", "-4"],
        ["--unix", "--address", "127.0.0.1"],
        ["/run/s", "--udp"],
        ["--unix", "--udp"],
        ["@name", "--to", "80"],
        ["--unix", "--why", "80"],
        ["name"],
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(who, arguments)
    assert result.exit_code == 2 or isinstance(result.exception, UsageError)
    assert "Traceback" not in result.output


def test_what_is_sought() -> None:
    any_name: frozenset[str] = frozenset()
    pid, port = Filters(pids=frozenset({1})), Filters(ports=frozenset({80}))
    name = frozenset({"/run/s"})
    for names, filters, expected in (
        (None, Filters(), (True, None)),
        (None, pid, (True, any_name)),
        (None, replace(pid, ports=port.ports), (True, None)),
        (None, replace(pid, family="ipv4"), (True, None)),
        (any_name, Filters(), (False, any_name)),
        (any_name, pid, (False, any_name)),
        (name, Filters(), (False, name)),
        (name, port, (True, name)),
    ):
        assert whounix.sought(names, filters) == run.Sought(*expected)
    assert whounix.described(None, port) == ":80"
    assert whounix.described(any_name, pid) == "pid 1 UNIX sockets"
    assert whounix.described(name, port) == ":80 /run/s"


@pytest.mark.parametrize(
    ("kind", "seqpacket"), [(socket.SOCK_STREAM, False), (socket.SOCK_SEQPACKET, True)]
)
@pytest.mark.parametrize("named", [False, True])
def test_a_real_one_is_listed_with_its_facts(
    tmp_path: Path, kind: int, seqpacket: bool, named: bool
) -> None:
    name = str(tmp_path / "s") if named else f"\0accepttrace-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, kind) as own, socket.socket(socket.AF_UNIX, kind) as client:
        own.bind(name)
        own.listen(7)
        client.connect(name)
        inode = os.fstat(own.fileno()).st_ino
        (found,) = [one for one in unix.unix_sockets() if one.inode == inode]
    file = file_at(name) if named else None
    assert (file is not None) is named
    assert found == UnixSocket(inode, spelled(name.encode()), seqpacket, file, 1, 7, os.getuid())


def test_one_that_is_asked_for_is_read_with_its_holders() -> None:
    name = f"accepttrace-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(f"\0{name}")
        own.listen(7)
        reader = UnixReader(Filters(), [f"@{name}"])
        try:
            (found,) = reader.read(full=True).listeners
        finally:
            reader.close()
        assert found.inode == os.fstat(own.fileno()).st_ino
    assert (found.family, found.local_address, found.local_port) == ("unix", f"@{name}", 0)
    assert (found.backlog, found.queue, found.seqpacket) == (7, 0, False)
    assert [holder.pid for holder in found.holders] == [os.getpid()]


def test_a_kernel_that_does_not_list_them_lists_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str | None) -> None:  # noqa: ARG001
        raise AcceptTraceError("the kernel refused to list UNIX sockets", "")

    monkeypatch.setattr("accepttrace.sockets.unixinventory.unix_sockets", refuse)
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        filters = Filters(pids=frozenset({os.getpid()}))
        with run.WhoReader(filters, run.Sought(True, frozenset())) as reader:
            found = reader.look().inventory
        assert tcp.getsockname()[1] in {one.local_port for one in found.listeners}
        assert "the kernel refused to list UNIX sockets" in {one.reason for one in found.unread}
        with (
            run.WhoReader(filters, run.Sought(False, frozenset())) as reader,
            pytest.raises(AcceptTraceError),
        ):
            reader.look()
