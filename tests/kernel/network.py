"""A network namespace for one test: its switches are its own, and its counters are quiet.

What the kernel counts there (`nstat`, `ss`) is what the tracer is compared with.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
SYSCTLS = Path("/proc/sys/net")
HERE = "/proc/thread-self/ns/net"  # of the calling thread
SHARED = os.stat(HERE).st_ino  # with the rest of the machine


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener as `ss -ltnem` shows it; `backlog` is the limit, the queue holds one more."""

    queue: int
    backlog: int
    drops: int


@contextmanager
def own_network(**switches: object) -> Iterator[None]:
    """The calling process lives in a new network namespace, with loopback, until the block ends.

    So do its children; the tracer's hooks see all namespaces. `switches` are named as below
    /proc/sys/net/ipv4 and core.
    """
    home = os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)
    _libc("unshare", CLONE_NEWNET)
    try:
        _start_loopback()
        for name, value in switches.items():
            set_switch(name, value)
        yield
    finally:
        _libc("setns", home, CLONE_NEWNET)
        os.close(home)


def own_namespace() -> frozenset[int]:
    """Of the calling thread, if no other process listens there (`own_network`)."""
    return frozenset({os.stat(HERE).st_ino}) - {SHARED}


@contextmanager
def visited(namespace: int) -> Iterator[None]:
    """In the network namespace behind a file descriptor, which is closed, until the block ends."""
    home = os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _libc("setns", namespace, CLONE_NEWNET)
        yield
    finally:
        _libc("setns", home, CLONE_NEWNET)
        os.close(home)
        os.close(namespace)


def set_switch(name: str, value: object) -> None:
    """Change a switch of the namespace that the caller is in."""
    switch(name).write_text(str(value))


def refuse_all_input(table: str) -> None:
    """A chain of nftables without rules, of the hook `input` and the policy `drop`.

    In the namespace of the caller. OSError where the kernel has no nftables.
    """

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)

    def message(
        kind: int, family: int, body: bytes = b"", flags: int = 0, subsystem: int = 0
    ) -> bytes:
        content = struct.pack(">BBH", family, 0, subsystem) + body
        return struct.pack("=IHHII", len(content) + 16, kind, flags | 1, 1, 0) + content

    name = attribute(1, table.encode() + b"\0")
    hook = attribute(1, struct.pack(">I", 1)) + attribute(
        2, struct.pack(">i", 0)
    )  # input, priority
    chain = name + attribute(3, b"in\0") + attribute(4, hook) + attribute(5, bytes(4))
    inet, create, acknowledge = 1, 0x400, 4
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as link:  # NETLINK_NETFILTER
        link.send(
            message(0x10, 0, subsystem=10)
            + message(0xA00, inet, name, create)
            + message(0xA03, inet, chain + attribute(7, b"filter\0"), create | acknowledge)
            + message(0x11, 0, subsystem=10)
        )
        (code,) = struct.unpack_from("=i", link.recv(4096), 16)
        if code:
            raise OSError(-code, os.strerror(-code))


def switch(name: str) -> Path:
    """Where the switch is, or would be."""
    core = SYSCTLS / "core" / name
    return core if core.exists() else SYSCTLS / "ipv4" / name


def counted() -> dict[str, int]:
    """TcpExt and MPTcpExt of the namespace since it was made, as `nstat -az` shows them."""
    lines = Path("/proc/thread-self/net/netstat").read_text().splitlines()
    found: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        if names.startswith(("TcpExt:", "MPTcpExt:")):
            found |= zip(names.split()[1:], map(int, values.split()[1:]), strict=True)
    return found


def listening(port: int) -> dict[int, Listening]:
    """All listeners on `port` by inode, from `ss`."""
    call = ["ss", "-HOltnem", f"sport = :{port}"]
    lines = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(map(_decode, lines))


def sockets(state: str, port: int) -> int:
    """How many sockets of the server's side are in a state, as `ss` names them."""
    call = ["ss", "-Htn", "state", state, f"sport = :{port}"]
    return len(subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines())


def _decode(line: str) -> tuple[int, Listening]:
    inode = re.search(r"\bino:(\d+)", line)
    drops = re.search(r"skmem:\(.*,d(\d+)\)", line)
    assert inode, line
    assert drops, line
    queue, backlog = line.split()[1:3]
    return int(inode[1]), Listening(int(queue), int(backlog), int(drops[1]))


def _start_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def _libc(name: str, *arguments: int) -> None:
    """unshare(2) and setns(2); Python has them since 3.12."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
