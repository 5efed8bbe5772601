"""Listening UNIX sockets of single processes: not traced, but said where nothing else is found."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from accepttrace.sockets import procfs

ACCEPTS: Final = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix
TABLE_BYTES: Final = 1 << 20
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
    """Inode → name of the listening sockets in the text of /proc/net/unix."""
    found: dict[int, str] = {}
    for line in table.splitlines()[1:]:
        fields = line.split(maxsplit=7)  # Num RefCount Protocol Flags Type St Inode Path
        if len(fields) >= 7 and int(fields[3], 16) & ACCEPTS:
            found[int(fields[6])] = fields[7] if len(fields) > 7 else NO_NAME
    return found
