"""Listening UNIX sockets of single processes: not traced, but said where nothing else is found."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from accepttrace.sockets import procfs

ACCEPTS: Final = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix
LINE: Final = re.compile(  # ASCII; a name may have anything in it
    r"(?as)[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ (?P<flags>[0-9A-F]+) [0-9A-F]+ [0-9A-F]+ +(?P<inode>\d+)"
    r"(?: (?P<name>.*))?$"
)
TABLE_BYTES: Final = 1_048_576
ASKED: Final = 16  # processes that are looked at
NO_NAME: Final = "(no name)"


def unix_listeners(pids: Collection[int]) -> tuple[str, ...]:
    """Names of the UNIX sockets on which these processes listen; none where nothing can be read."""
    found: dict[int, str] = {}
    for pid in sorted(pids)[:ASKED]:
        try:
            sockets, _, _ = procfs.descriptors(pid)
            table = procfs.text(f"/proc/{pid}/net/unix", TABLE_BYTES)
        except OSError:
            continue
        names = listening(table)
        found |= {inode: names[inode] for inode in sockets.values() if inode in names}
    return tuple(sorted(found.values()))


def listening(table: str) -> dict[int, str]:
    """Inode → name of the listening sockets in the text of /proc/net/unix.

    A name may hold any byte, also the end of a line: what looks like no socket is left out.
    """
    found: dict[int, str] = {}
    for line in map(LINE.match, table.split("\n")):
        if line and int(line["flags"], 16) & ACCEPTS:
            found.setdefault(int(line["inode"]), line["name"] or NO_NAME)
    return found
