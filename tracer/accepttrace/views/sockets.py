"""The listening sockets that a row of the table stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from accepttrace.model.snapshot import AcceptorRow, ListenerRow

_Key = tuple[object, ...]


class Sockets:
    """Those of one snapshot."""

    def __init__(self, rows: Iterable[ListenerRow]) -> None:
        self._rows = rows
        self._sorted = False

    def _sort(self) -> None:
        """Once, and only if somebody asks: there may be ten thousand."""
        self._sorted = True
        self._by_inode: dict[int, ListenerRow] = {}
        self._by_place: dict[_Key, ListenerRow] = {}
        self._crowds: defaultdict[_Key, list[ListenerRow]] = defaultdict(list)
        self._by_group: defaultdict[_Key, list[ListenerRow]] = defaultdict(list)
        for row in self._rows:
            if row.folded:
                self._crowds[_place(row), row.group].append(row)
            elif row.inode is None:
                self._by_place[_place(row)] = row
            else:
                self._by_inode[row.inode] = row
            if row.group is not None:
                self._by_group[_key(row)].append(row)

    def of(self, row: AcceptorRow) -> Sequence[ListenerRow]:
        """The one socket, all of the reuseport group, or all that closed at the place; none where
        a row has other ones. Of many idle ones what they have in common."""
        if not self._sorted:
            self._sort()
        if row.serves:
            return ()
        if row.folded:
            crowds = self._crowds.get((_place(row), row.group), ())
            return crowds if len(crowds) == 1 else ()  # else of several owners, at many places
        if row.group is not None and row.listener_inode is None:
            return self._by_group.get(_key(row), ())
        if row.listener_inode is not None:
            one = self._by_inode.get(row.listener_inode)
        else:
            one = self._by_place.get(_place(row)) if row.pid is None else None
        return () if one is None else (one,)


def _key(row: AcceptorRow | ListenerRow) -> _Key:
    return (row.group, row.netns, row.family, row.local_port)


def _place(row: AcceptorRow | ListenerRow) -> _Key:
    return (row.netns, row.family, row.local_address, row.local_port)
