"""Listening sockets from the text tables /proc/net/tcp and tcp6: the poor man's sock_diag."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from typing import Final

from accepttrace.model.records import Family

LISTEN: Final = "0A"
TABLES: Final[tuple[tuple[str, Family], ...]] = (("tcp", "ipv4"), ("tcp6", "ipv6"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line in state LISTEN; `queue` is the number of connections that wait for accept()."""

    inode: int
    family: Family
    address: str
    port: int
    queue: int
    uid: int


def listening(folder: str) -> list[Entry]:
    """All listeners in `folder` (such as /proc/self/net). OSError if `tcp` cannot be read."""
    entries: list[Entry] = []
    for table, family in TABLES:
        try:
            with open(f"{folder}/{table}", encoding="ascii") as lines:
                next(lines, None)
                entries += [parse(line, family) for line in lines if line.split()[3] == LISTEN]
        except FileNotFoundError:
            if table == "tcp":  # a kernel without IPv6 has no tcp6
                raise
    return entries


def parse(line: str, family: Family) -> Entry:
    """One line of the table. Address words are hexadecimal in the order of this machine."""
    fields = line.split()
    address, port = fields[1].split(":")
    return Entry(
        inode=int(fields[9]),
        family=family,
        address=_address(address, family),
        port=int(port, 16),
        queue=int(fields[4].split(":")[1], 16),
        uid=int(fields[7]),
    )


def _address(text: str, family: Family) -> str:
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return socket.inet_ntop(socket.AF_INET if family == "ipv4" else socket.AF_INET6, packed)
