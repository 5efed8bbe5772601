"""`who` on AF_UNIX: queue, backlog and holders as `ss` shows them at the same moment."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from accepttrace.cli.who import who
from accepttrace.config import Filters
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.unixinventory import UnixReader
from tests.unit.forked import child

from .conftest import wait_until
from .network import own_network
from .unixlisteners import row_of, rows_of, ss_holders, ss_queue, told, unix_listener

KINDS = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}
NOBODY = 65534
ABSTRACT = f"@accepttrace-{os.getpid()}"


def address(name: str) -> str:
    """As bind() takes it."""
    return "\0" + name[1:] if name.startswith("@") else name


def clients(name: str, number: int, kind: int, stack: ExitStack) -> None:
    for _ in range(number):
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        sock.connect(address(name))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["path", "abstract"])
def test_queue_backlog_and_holders_are_those_of_ss(tmp_path: Path, place: str, kind: str) -> None:
    name = str(tmp_path / "s") if place == "path" else ABSTRACT
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(address(name), 4, KINDS[kind]))
        for queued in (0, 3, 5):
            clients(name, queued - ss_queue(name)[0], KINDS[kind], stack)
            row = row_of(name)
            assert (row["queue"], row["backlog"]) == ss_queue(name) == (queued, 4)
        assert (row["family"], row["local_address"], row["local_port"]) == ("unix", name, None)
        assert (row["socket_type"], row["uid"]) == (kind, os.geteuid())
        assert row["inode"] == os.fstat(sock.fileno()).st_ino
        assert row["netns"] == os.stat("/proc/self/ns/net").st_ino
        assert {(one["pid"], one["fd"]) for one in row["holders"]} == ss_holders(name)
        assert {one["pid"] for one in row["holders"]} == {os.getpid()}
        (full,) = (line for line in told(name) if line.get("kind") == "QUEUE FULL")
        assert (full["local_address"], full["local_port"], full["fault"]) == (name, None, True)
        assert "5 connections wait where backlog 4" in full["text"]
        with socket.socket(socket.AF_UNIX, KINDS[kind]) as refused:
            refused.setblocking(False)
            with pytest.raises(BlockingIOError):
                refused.connect(address(name))
        text = " ".join(CliRunner().invoke(who, [name]).output.split())
        assert text.startswith(f"{name} inode {row['inode']} queue 5, backlog 4 owner ")
        assert (" SOCK_SEQPACKET " in text) is (kind == "seqpacket")
        assert " FULL " in text.partition("QUEUE FULL")[0]


@pytest.mark.parametrize("source", ["kernel", "proc"])
@pytest.mark.parametrize("kind", KINDS)
def test_forked_workers_wait_each_in_its_way(tmp_path: Path, kind: str, source: str) -> None:
    iterator = open_iterator("unix") if source == "kernel" else None
    if source == "kernel" and iterator is None:
        pytest.skip("BPF may not list open files here")
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(name, kind=KINDS[kind]))
        ways = {
            stack.enter_context(child(lambda: sock.accept())): "accept",
            stack.enter_context(child(lambda: polled(sock, "epoll"))): "epoll",
            stack.enter_context(child(lambda: polled(sock, "poll"))): "poll",
            stack.enter_context(child(signal.pause)): None,
        }
        reader = UnixReader(Filters(), [name], iterator)
        stack.callback(reader.close)
        if iterator:
            stack.callback(iterator.close)

        def found() -> dict[int, str | None]:
            (row,) = reader.read(full=True).listeners
            return {one.pid: one.waits_in for one in row.holders if one.pid in ways}

        wait_until(lambda: found() == ways, "how they wait")
        (row,) = reader.read(full=True).listeners
        holders = {one.pid: one for one in row.holders}
        assert [holders[pid].waits for pid in ways] == [True, True, True, False]
        assert {(one.pid, one.fd) for one in row.holders} == ss_holders(name)
        shown = row_of(name)
        assert (shown["sharing"], shown["way"], shown["way_from"]) == (
            "shared",
            "inherited",
            os.getpid(),
        )
        assert shown["same_file"] is not False


def polled(sock: socket.socket, way: str) -> None:
    poller = select.epoll() if way == "epoll" else select.poll()
    poller.register(sock, select.POLLIN)
    poller.poll()


def test_who_asks_for_a_process_is_told_of_both_families(tmp_path: Path) -> None:
    name, pid = str(tmp_path / "s"), str(os.getpid())
    with unix_listener(name):
        assert name in {row["local_address"] for row in rows_of("--pid", pid)}
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            port = tcp.getsockname()[1]
            assert {name, port} <= {
                row["local_port"] or row["local_address"] for row in rows_of("--pid", pid)
            }
            rows = rows_of(str(port), name)
            assert [row["family"] for row in rows] == ["ipv4", "unix"]
            assert name not in {row["local_address"] for row in rows_of(str(port))}
            assert {row["family"] for row in rows_of("--unix", "--pid", pid)} == {"unix"}
        with child(signal.pause) as other:
            assert {one["pid"] for one in row_of(name, "--pid", str(other))["holders"]} == {
                other,
                os.getpid(),
            }
        with subprocess.Popen(["sleep", "60"]) as stranger:
            try:
                assert rows_of(name, "--pid", str(stranger.pid)) == []
            finally:
                stranger.kill()


@pytest.fixture
def plain_folder() -> Iterator[Path]:
    """On a file system whose files have the numbers that the kernel shows: overlayfs has others."""
    with TemporaryDirectory(dir="/run") as folder:
        yield Path(folder)


def test_a_socket_is_found_by_its_file_whatever_it_was_called(plain_folder: Path) -> None:
    """A path relative to where its owner was, one that was renamed, and a link."""
    here = os.getcwd()
    os.chdir(plain_folder)
    try:
        with unix_listener("@odd") as sock:
            os.chdir(here)
            inode = os.fstat(sock.fileno()).st_ino
            (plain_folder / "@odd").rename(plain_folder / "new")
            (plain_folder / "link").symlink_to("new")
            for name in (str(plain_folder / "new"), str(plain_folder / "link"), "./@odd"):
                row = row_of(name)
                assert (row["inode"], row["local_address"]) == (inode, "./@odd")
            assert rows_of("@odd") == rows_of(str(plain_folder / "@odd")) == []
    finally:
        os.chdir(here)


def test_abstract_names_are_of_one_network_namespace() -> None:
    with unix_listener(address(ABSTRACT)) as ours, ExitStack() as stack:
        with own_network():
            other = os.stat("/proc/thread-self/ns/net").st_ino
            theirs = stack.enter_context(unix_listener(address(ABSTRACT), 3))
            pid = stack.enter_context(child(signal.pause))
        rows = {row["netns"]: row for row in rows_of(ABSTRACT)}
        assert rows.keys() == {other, os.stat("/proc/self/ns/net").st_ino}
        assert [rows[other][name] for name in ("inode", "backlog")] == [
            os.fstat(theirs.fileno()).st_ino,
            3,
        ]
        assert pid in {one["pid"] for one in rows[other]["holders"]}
        (row,) = rows_of(ABSTRACT, "--netns", str(other))
        assert row["inode"] == os.fstat(theirs.fileno()).st_ino != os.fstat(ours.fileno()).st_ino


def test_one_that_is_on_its_way_to_somebody_stays_on_the_list() -> None:
    """In a namespace that no holder leads to: no process has its descriptor."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ExitStack() as stack:
        with own_network():
            there = stack.enter_context(child(signal.pause))
            sock = unix_listener(address(ABSTRACT))
        reader = UnixReader(Filters(), [ABSTRACT], open_iterator("unix"))
        stack.callback(reader.close)
        socket.send_fds(ours, [b"x"], [sock.fileno()])
        sock.close()
        for full in (True, False):
            (row,) = reader.read(full).listeners
            assert (row.netns, row.holders) == (os.stat(f"/proc/{there}/ns/net").st_ino, ())


def test_what_does_not_listen_is_not_shown(tmp_path: Path) -> None:
    name = str(tmp_path / "s")
    with (
        socket.socket(socket.AF_UNIX) as bound,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        bound.bind(name)
        datagrams.bind(f"{name}.d")
        assert rows_of(name, f"{name}.d") == []
        result = CliRunner().invoke(who, [name])
        assert (result.exit_code, result.output.splitlines()[0]) == (0, f"nobody listens on {name}")


def test_without_privileges_ones_own_are_shown() -> None:
    """As nobody: own process, queue and backlog; the holder of another user's is not known."""
    if os.geteuid():
        pytest.skip("needs root to become another")
    script = (
        "import socket, sys, subprocess\n"
        f"s = socket.socket(socket.AF_UNIX); s.bind('\\0{ABSTRACT[1:]}-nobody'); s.listen(2)\n"
        f"names = ['{ABSTRACT}-nobody', '{ABSTRACT}-root']\n"
        "subprocess.run([sys.executable, '-m', 'accepttrace', 'who', *names, '-o', 'jsonl'])\n"
    )
    with unix_listener(address(f"{ABSTRACT}-root"), 6):
        command = [sys.executable, "-c", script]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, timeout=30, user=NOBODY, group=NOBODY
        )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rows = {line["local_address"]: line for line in lines if line["type"] == "listener"}
    own, other = rows[f"{ABSTRACT}-nobody"], rows[f"{ABSTRACT}-root"]
    assert (own["queue"], own["backlog"], own["uid"], len(own["holders"])) == (0, 2, NOBODY, 1)
    assert (other["backlog"], other["uid"], other["holders"], other["sharing"]) == (6, 0, [], None)
    assert other["partial"] is True


def test_a_reader_reads_again(tmp_path: Path) -> None:
    """Light looks find what came, and whom."""
    name = str(tmp_path / "s")
    reader = UnixReader(Filters(), [name], open_iterator("unix"))
    try:
        assert reader.read(full=True).listeners == ()
        with unix_listener(name), ExitStack() as stack:
            clients(name, 2, socket.SOCK_STREAM, stack)

            def is_held() -> bool:
                return any(row.holders for row in reader.read().listeners)

            wait_until(is_held, "holders")
            (row,) = reader.read().listeners
            assert row.queue == 2
        assert reader.read().listeners == ()
    finally:
        reader.close()
