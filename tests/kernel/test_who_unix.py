"""`who` on AF_UNIX: queue, backlog and holders as `ss` shows them at the same moment."""

from __future__ import annotations

import errno
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
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.cli import whowhy
from accepttrace.cli.who import who
from accepttrace.config import Filters
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.unixinventory import UnixReader
from accepttrace.views.who import whyname
from tests.unit.forked import child

from .conftest import wait_until
from .network import own_network
from .unixlisteners import row_of, rows_of, ss_holders, ss_queue, told, unix_listener

KINDS = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}
NOBODY = 65534
WHY = Draft202012Validator(
    json.loads((Path(accepttrace.views.__file__).parent / "who.why.unix.schema.json").read_text())
)
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


def bind_really(name: str, uid: int = 0) -> int:
    """The errno of bind() as that user; what it made is removed."""
    before = os.geteuid(), os.getgroups()
    os.setgroups([])
    os.seteuid(uid)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(address(name))
    except OSError as error:
        return error.errno or errno.EINVAL  # Python itself refuses what is too long
    finally:
        os.seteuid(before[0])
        os.setgroups(before[1])
    if not name.startswith("@"):
        os.unlink(name)
    return 0


def why(name: str, uid: int = 0) -> dict[str, Any]:
    """The answer of `--why`, which is what really happens."""
    use = whowhy.explain_name(name, uid, Filters())
    found: dict[str, Any] = json.loads(whyname.json_line(use))
    WHY.validate(found)
    code = bind_really(name, uid)
    assert found["errno"] == (errno.errorcode[code] if code else None)
    assert found["result"] == ("refused" if code else "works")
    assert found["tried"] == name.startswith("@")
    text = "\n".join(whyname.text_lines(use))
    if "once the file is removed" in text:
        os.rename(name, f"{name}~")
        assert ("would work: once" in text) == (bind_really(name, uid) == 0)
        os.rename(f"{name}~", name)
    return found | {"text": text}


def blamed(found: dict[str, Any]) -> list[tuple[int, str]]:
    return [(one["inode"], one["state"]) for one in found["sockets"] if one["in_the_way"]]


@pytest.mark.parametrize("kind", ["stream", "seqpacket", "dgram"])
def test_why_a_path_cannot_be_bound(tmp_path: Path, kind: str) -> None:
    name = str(tmp_path / "s")
    assert why(name)["result"] == "works"
    with socket.socket(socket.AF_UNIX, getattr(socket, f"SOCK_{kind.upper()}")) as sock:
        sock.bind(name)
        inode = os.fstat(sock.fileno()).st_ino
        assert blamed(why(name)) == [(inode, "bound")]
        if kind != "dgram":
            sock.listen()
            found = why(name)
            assert blamed(found) == [(inode, "listens")]
            assert "then gets no connections any more" in found["text"]
        assert why(name)["stale"] is False
        assert f"pid {os.getpid()} " in why(name)["text"]
        os.unlink(name)
        found = why(name)
        assert found["result"] == "works"
        assert "its file was removed, or is of another mount namespace" in found["text"]
        Path(name).touch()
    assert (why(name)["at"], why(name)["stale"]) == ("file", None)


def test_why_a_path_is_left_over(tmp_path: Path) -> None:
    """Also where connections that were accepted there go on."""
    name = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as client:
        with unix_listener(name) as listener:
            client.connect(name)
            accepted, _ = listener.accept()
        with accepted:
            found = why(name)
            assert (found["stale"], blamed(found)) == (True, [])
            assert "1 accepted connection" in found["text"]
            with socket.socket(socket.AF_UNIX) as other, pytest.raises(ConnectionRefusedError):
                other.connect(name)
    assert "it is left over: no socket is bound to it any more" in why(name)["text"]
    assert "would work: once the file is removed (not tried)" in why(name)["text"]
    os.unlink(name)
    assert why(name)["result"] == "works"


@pytest.mark.parametrize("seen", [True, False])
def test_why_a_path_of_another_network_namespace(tmp_path: Path, seen: bool) -> None:
    """Seen where a process is in it."""
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        with own_network():
            listener = stack.enter_context(unix_listener(name))
            if seen:
                stack.enter_context(child(signal.pause))
        found = why(name)
        inode = os.fstat(listener.fileno()).st_ino
        assert (blamed(found), found["stale"]) == ([(inode, "listens")] if seen else [], False)
        assert ("a socket is bound to it that is not seen here" in found["text"]) == (not seen)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has come
            listener.accept()


def test_why_a_path_cannot_be_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path(parent.anchor):
            parent.chmod(parent.stat().st_mode | 0o011)
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "file").touch()
    said = {
        "link": (errno.EADDRINUSE, "a symbolic link"),
        "file": (errno.EADDRINUSE, "a file that is no socket"),
        "none/s": (errno.ENOENT, "the directory is not there"),
        "file/s": (errno.ENOTDIR, "Not a directory"),
        "x" * 109: (errno.EINVAL, "longer than"),
    }
    for name, (code, words) in said.items():
        found = why(str(tmp_path / name))
        assert found["errno"] == errno.errorcode[code]
        assert words in found["text"]
    for name in ("s", "closed/s"):
        assert why(str(tmp_path / name), NOBODY)["errno"] == "EACCES"
        assert why(str(tmp_path / name))["result"] == "works"
    with unix_listener(str(tmp_path / "s")):
        assert "would not: once" in why(str(tmp_path / "s"), NOBODY)["text"]
    (tmp_path / "s").unlink()
    tmp_path.chmod(0o777)
    assert why(str(tmp_path / "s"), NOBODY)["result"] == "works"


def test_why_an_abstract_name_cannot_be_bound() -> None:
    name = f"{ABSTRACT}-why"
    assert why(name)["result"] == "works"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:  # names of each type are apart
        other.bind(address(name))
        assert (why(name)["result"], blamed(why(name))) == ("works", [])
        with socket.socket(socket.AF_UNIX) as client:
            with unix_listener(address(name)) as listener:
                inode = os.fstat(listener.fileno()).st_ino
                assert blamed(why(name)) == [(inode, "listens")]
                assert blamed(why(name, NOBODY)) == [(inode, "listens")]
                client.connect(address(name))
                accepted, _ = listener.accept()
                assert blamed(why(name)) == [(inode, "listens")]
                with own_network():
                    assert why(name)["result"] == "works"
            with accepted:
                assert (why(name)["result"], blamed(why(name))) == ("works", [])
    with unix_listener(address(f"{name}2")), socket.socket(socket.AF_UNIX) as client:
        client.bind(address(name))
        client.connect(address(f"{name}2"))
        assert blamed(why(name)) == [(os.fstat(client.fileno()).st_ino, "connected")]


def test_why_of_a_name_is_asked_as_that_of_a_port(tmp_path: Path) -> None:
    name = str(tmp_path / "s")
    assert CliRunner().invoke(who, ["--why", name]).exit_code == 0
    unix_listener(name).__enter__().close()
    result = CliRunner().invoke(who, ["--why", name])
    assert result.exit_code == 4
    assert " EADDRINUSE: address already in use" in " ".join(result.output.split())
    for wrong in (["--reuseaddr"], ["--netns", "self"], ["--device", "lo"], ["--address", "::"]):
        assert CliRunner().invoke(who, ["--why", name, *wrong]).exit_code not in (0, 4)
