"""AF_UNIX sockets of one network namespace, from the kernel's NETLINK_SOCK_DIAG dump.

/proc/net/unix has neither queue nor backlog, and a name with an end of line in it looks there like
another socket: it is not read instead.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from accepttrace.facts.naming import Kind, NameState
from accepttrace.sockets.diag import netlink
from accepttrace.sockets.diag.tcp import TCP_LISTEN, Rows, ask

SHOWN: Final = 0x53  # UDIAG_SHOW_NAME, UDIAG_SHOW_VFS, UDIAG_SHOW_RQLEN, UDIAG_SHOW_UID (since 5.3)
UNIX_DIAG_NAME: Final = 0
UNIX_DIAG_VFS: Final = 1
UNIX_DIAG_RQLEN: Final = 4
UNIX_DIAG_UID: Final = 7
# unix_diag_msg: family, type, state, pad, inode, cookie
MESSAGE: Final = struct.Struct("=BBBxI8x")
PAIR: Final = struct.Struct("=II")
MINOR_BITS: Final = 20  # of a device number as the kernel keeps it
NO_NAME: Final = "(no name)"
ALL: Final = 0xFFF  # states
TCP_ESTABLISHED: Final = 1
KINDS: Final[dict[int, Kind]] = {
    socket.SOCK_STREAM: "stream",
    socket.SOCK_DGRAM: "dgram",
    socket.SOCK_SEQPACKET: "seqpacket",
}


class SocketFile(NamedTuple):
    """The file that a path leads to: `connect` goes by it, whatever the name was at bind()."""

    major: int
    minor: int
    inode: int  # its lower 32 bits


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """One listening socket. `None`: not sent.

    `name`: a path as it was bound, or `@` and an abstract name, in which `@` stands for NUL, too.
    """

    inode: int
    name: str
    seqpacket: bool
    file: SocketFile | None  # None: of an abstract name
    queue: int | None  # connections that wait for accept()
    backlog: int | None  # limit as listen() set it; the queue holds one more
    uid: int | None


class NamedSocket(NamedTuple):
    """Any socket with a name, and what it does."""

    sock: UnixSocket
    kind: Kind
    state: NameState


def named_sockets(netns_path: str | None = None) -> Rows[NamedSocket]:
    """As `unix_sockets`, all that have a name."""
    return ask(netns_path, "UNIX sockets", _dump_named, _no_text)


def _dump_named() -> Rows[NamedSocket]:
    rows = netlink.dump_unix(ALL, SHOWN, decode_named)
    return tuple(row for row in rows if row.sock.name != NO_NAME)


def decode_named(body: bytes) -> NamedSocket:
    """As `decode`."""
    sock = decode(body)
    _, number, state, _ = MESSAGE.unpack_from(body)
    kind = KINDS.get(number, "dgram")
    if kind == "dgram":  # is bound for as long as it has a name, whomever it sends to
        return NamedSocket(sock, kind, "bound")
    known: dict[int, NameState] = {TCP_LISTEN: "listens", TCP_ESTABLISHED: "connected"}
    return NamedSocket(sock, kind, known.get(state, "bound"))


def unix_sockets(netns_path: str | None = None) -> Rows[UnixSocket]:
    """All listeners of the namespace at `netns_path` (None: the caller's own).

    AcceptTraceError and UnsupportedError as `tcp.ask` raises them.
    """
    return ask(netns_path, "UNIX sockets", _dump, _no_text)


def _dump() -> Rows[UnixSocket]:
    return netlink.dump_unix(1 << TCP_LISTEN, SHOWN, decode)


def _no_text(folder: str) -> Rows[Any]:
    raise OSError(errno.EOPNOTSUPP, "no queues there", f"{folder}/unix")


def decode(body: bytes) -> UnixSocket:
    """One `struct unix_diag_msg` with its attributes. OSError if it is none."""
    if len(body) < MESSAGE.size:
        raise OSError(errno.EBADMSG, "a short unix_diag message")
    _, kind, _, inode = MESSAGE.unpack_from(body)
    file, queue = _pair(body, UNIX_DIAG_VFS), _pair(body, UNIX_DIAG_RQLEN)
    return UnixSocket(
        inode=inode,
        name=spelled(netlink.attribute(body, UNIX_DIAG_NAME, MESSAGE.size)),
        seqpacket=kind == socket.SOCK_SEQPACKET,
        file=_file(*file) if file else None,
        queue=queue[0] if queue else None,
        backlog=queue[1] if queue else None,
        uid=netlink.counter(netlink.attribute(body, UNIX_DIAG_UID, MESSAGE.size)),
    )


def spelled(name: bytes) -> str:
    """The content of sun_path. A path that begins with `@` is written `./@…`: it is not abstract.

    U+FFFD stands for bytes that are not UTF-8.
    """
    if not name:
        return NO_NAME
    if name[:1] == b"\0":
        return name.replace(b"\0", b"@").decode("utf-8", "replace")
    path = name.partition(b"\0")[0].decode("utf-8", "replace")
    return f"./{path}" if path.startswith("@") else path


def file_at(path: str) -> SocketFile | None:
    """The socket that a path leads to here; None if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISSOCK(found.st_mode):
        return None
    device = found.st_dev
    return SocketFile(os.major(device), os.minor(device), found.st_ino & 0xFFFFFFFF)


def _file(inode: int, device: int) -> SocketFile:
    return SocketFile(device >> MINOR_BITS, device & (1 << MINOR_BITS) - 1, inode)


def _pair(body: bytes, wanted: int) -> tuple[int, int] | None:
    value = netlink.attribute(body, wanted, MESSAGE.size)
    return PAIR.unpack_from(value) if len(value) >= PAIR.size else None
