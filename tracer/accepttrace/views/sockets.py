"""The listening sockets that a row of the table stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from accepttrace.model.snapshot import AcceptorRow, ListenerRow

_Key = tuple[object, ...]


class Sockets:
    """Those of one snapshot."""

    def __init__(self, rows: Iterable[ListenerRow]) -> None:
        self._by_inode: dict[int, ListenerRow] = {}
        self._by_group: defaultdict[_Key, list[ListenerRow]] = defaultdict(list)
        for row in rows:
            self._by_inode[row.inode] = row
            if row.group is not None:
                self._by_group[_key(row)].append(row)

    def of(self, row: AcceptorRow) -> Sequence[ListenerRow]:
        """The one socket, or all of the reuseport group; none where a row has other ones."""
        if row.listener_inode is not None:
            one = self._by_inode.get(row.listener_inode)
            return () if one is None else (one,)
        return () if row.group is None else self._by_group.get(_key(row), ())


def _key(row: AcceptorRow | ListenerRow) -> _Key:
    return (row.group, row.netns, row.family, row.local_port)
