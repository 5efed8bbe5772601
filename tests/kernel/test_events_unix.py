"""`events` on AF_UNIX: a line for each connection, as its client and its server know it."""

from __future__ import annotations

import csv
import io
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.unit.forked import child

from .conftest import wait_until
from .test_cli import lines, started
from .test_top_unix import ABSTRACT, address, is_asleep
from .unixlisteners import unix_listener

STRANGER = 65534  # the user of a client
FOUR = ("local_address", "local_port", "peer_address", "peer_port")


def telling(sock: socket.socket) -> Callable[[], None]:
    """A worker that tells each client its PID, and who the kernel says that the client is."""

    def run() -> None:
        while True:
            connection, _ = sock.accept()
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            numbers = [int.from_bytes(peer[at : at + 4], "little") for at in (0, 4)]
            connection.send(repr([os.getpid(), connection.fileno(), *numbers]).encode())
            connection.close()

    return run


def asked(name: str, kind: int) -> list[int]:
    """One connection: who accepted it, with which descriptor, from whom (PID, user)."""
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(address(name))
        return [int(one) for one in client.recv(64).decode()[1:-1].split(",")]


def asked_by(uid: int, name: str, kind: int) -> list[int]:
    """The same by a process of that user, which has ended by then."""
    out, into = os.pipe()

    def run() -> None:
        os.setuid(uid)
        os.write(into, repr(asked(name, kind)).encode())

    with child(run), open(out, encoding="ascii") as found:
        os.close(into)
        return [int(one) for one in found.read()[1:-1].split(",")]


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


@pytest.mark.parametrize(("place", "kind"), [("path", "STREAM"), ("abstract", "SEQPACKET")])
def test_each_line_is_what_both_ends_know(tmp_path: Path, place: str, kind: str) -> None:
    """Also of who slept in accept() when it was attached, and of what has closed since."""
    number: int = getattr(socket, f"SOCK_{kind}")
    name = str(tmp_path / "s") if place == "path" else ABSTRACT
    other = os.getuid() if place == "path" else STRANGER  # whom tmp_path is closed to
    with ExitStack() as stack:
        sock = stack.enter_context(unix_listener(address(name), 8, number))
        inode = os.fstat(sock.fileno()).st_ino
        servers = stack.enter_context(ExitStack())
        workers = [servers.enter_context(child(telling(sock))) for _ in range(2)]
        wait_until(lambda: all(map(is_asleep, workers)), "accept()")
        stranger = stack.enter_context(unix_listener(f"{tmp_path}/other"))
        process = stack.enter_context(
            started("events", name, "-o", "jsonl", ready=tmp_path / "ready")
        )
        known = [asked(name, number) for _ in range(9)]
        known.append(asked_by(other, name, number))
        servers.close()
        sock.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/other")
            stranger.accept()[0].close()
        out, err = ended(process)
    meta, *events, last = lines(out)
    assert (meta["protocol"], meta["filter"]) == ("unix", f"UNIX {name}")
    assert [[one[key] for key in ("pid", "fd", "peer_pid", "peer_uid")] for one in events] == [
        [pid, fd if one["fd"] else None, peer, uid]
        for (pid, fd, peer, uid), one in zip(known, events, strict=True)
    ]
    if meta["attach"] == "tracepoint":
        assert all(one["fd"] for one in events)
    assert {(one["path"], one["listener_inode"], one["family"]) for one in events} == {
        (name, inode, "unix")
    }
    assert {(one["tid"] == one["pid"], one["type"], one["netns"]) for one in events} == {
        (True, "accept", os.stat("/proc/self/ns/net").st_ino)
    }
    assert {one[key] for one in events for key in FOUR} == {None}
    assert {one["wait_us"] is None for one in events} == {meta["attach"] == "tracepoint"}
    assert known[-1][2] != os.getpid()
    assert known[-1][3] == other
    assert (last["shown"], last["accepts"] - last["left_out"], last["balanced"]) == (10, 10, True)
    assert last["left_out"] >= 1  # other programs of the machine may accept, too
    assert err.startswith("accepttrace: 10 events in ")
    assert err.endswith("nothing lost\n")


def test_who_listens_anew_has_another_inode_and_failures_their_errno(tmp_path: Path) -> None:
    """By a link that leads there, in CSV; `queue`: what is left behind."""
    name, link = str(tmp_path / "s"), str(tmp_path / "link")
    os.symlink(name, link)
    command = ("events", link, "--failed", "-o", "csv")
    inodes = []
    with started(*command, ready=tmp_path / "ready") as process:
        for _ in range(2):
            with unix_listener(name) as sock, ExitStack() as clients:
                inodes.append(str(os.fstat(sock.fileno()).st_ino))
                for _ in range(2):
                    clients.enter_context(socket.socket(socket.AF_UNIX)).connect(name)
                refused(sock)
                sock.accept()[0].close()
                row: dict[str, Any] = read(process)
                assert (row["type"], row["error"], row["path"]) == ("failed", "EMFILE", name)
                assert (row["pid"], row["queue"]) == (str(os.getpid()), "2")
                taken = read(process)
                assert (taken["type"], taken["queue"]) == ("accept", "1")
                assert (taken["peer_pid"], taken["listener_inode"]) == (row["pid"], inodes[-1])
            os.unlink(name)
        _, err = ended(process)
    assert inodes[0] != inodes[1]
    assert err.startswith("accepttrace: 4 events in ")
    assert err.endswith("nothing lost\n")


def test_who_was_refused_or_reset_has_a_line(tmp_path: Path) -> None:
    """Each with who connected; where the attach type shows it."""
    name = str(tmp_path / "s")
    with ExitStack() as stack:
        sock = unix_listener(name, 0)
        inode = os.fstat(sock.fileno()).st_ino
        process = stack.enter_context(
            started("events", name, "--lost", "-o", "jsonl", ready=tmp_path / "ready")
        )
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(name)
        for _ in range(3):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.connect(name)
        sock.close()
        out, _ = ended(process)
    meta, *events, _ = lines(out)
    assert [(one["type"], one["peer_pid"], one["peer_uid"]) for one in events] == (
        []
        if meta["attach"] == "tracepoint"
        else [*[("dropped", os.getpid(), os.geteuid())] * 3, ("reset", os.getpid(), os.geteuid())]
    )
    assert {(one["path"], one["listener_inode"]) for one in events} <= {(name, inode)}


def refused(sock: socket.socket) -> None:
    """An accept() without a descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            sock.accept()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read(process: subprocess.Popen[str]) -> dict[str, str]:
    """The next line, by its column."""
    assert process.stdout is not None
    header = process.__dict__.setdefault("header", None) or process.stdout.readline()
    process.__dict__["header"] = header
    (row,) = csv.DictReader(io.StringIO(header + process.stdout.readline()))
    return row
