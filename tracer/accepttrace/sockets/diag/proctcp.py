"""Listening sockets from the text tables /proc/net/tcp and tcp6: the poor man's sock_diag."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from accepttrace.facts import addresses
from accepttrace.facts.records import Family

LISTEN: Final = "0A"
Tables = tuple[tuple[str, Family], ...]
TABLES: Final[Tables] = (("tcp", "ipv4"), ("tcp6", "ipv6"))


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
    return [
        parse(line, family) for family, line in sockets(folder, TABLES) if line.split()[3] == LISTEN
    ]


def sockets(folder: str, tables: Tables) -> Iterator[tuple[Family, str]]:
    """The lines of the tables without their titles. OSError if the first cannot be read."""
    for number, (table, family) in enumerate(tables):
        try:
            with open(f"{folder}/{table}", encoding="ascii") as lines:
                next(lines, None)
                yield from ((family, line) for line in lines)
        except FileNotFoundError:
            if not number:  # only a kernel without IPv6 has no second
                raise


def parse(line: str, family: Family) -> Entry:
    """One line of the table."""
    fields = line.split()
    address, port = endpoint(fields[1], family)
    return Entry(
        inode=int(fields[9]),
        family=family,
        address=address,
        port=port,
        queue=int(fields[4].split(":")[1], 16),
        uid=int(fields[7]),
    )


def endpoint(text: str, family: Family) -> tuple[str, int]:
    """Address and port: hexadecimal, the address in words of this machine."""
    address, port = text.split(":")
    words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    number = socket.AF_INET if family == "ipv4" else socket.AF_INET6
    return addresses.spelled(number, packed), int(port, 16)
