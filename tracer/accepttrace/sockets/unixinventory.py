"""The inventory of AF_UNIX: every listening socket that was asked for, and who holds it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from accepttrace.config import Filters
from accepttrace.facts.records import Baseline, Inventory, Listener, Process, is_partial
from accepttrace.sockets.diag.unix import SocketFile, UnixSocket, file_at, unix_sockets
from accepttrace.sockets.holding import Holding
from accepttrace.sockets.sharing import share_of

if TYPE_CHECKING:
    from accepttrace.facts.kin import Surroundings
    from accepttrace.probe.holders import HolderIterator

ABSTRACT: Final = "@"


class AskedFor:
    """Listeners by these paths and abstract names (`@NAME`); none: any."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._files: frozenset[SocketFile] = frozenset()

    def look(self) -> None:
        """Whatever a path is called where its owner has bound it: it is the one there now."""
        paths = [name for name in self._names if not name.startswith(ABSTRACT)]
        self._files = frozenset(found for path in paths if (found := file_at(path)))

    def match(self, name: str, file: SocketFile | None) -> bool:
        """Whether it was asked for, as it was when it was looked at last."""
        names = {name}
        if name.startswith(ABSTRACT):  # some programs bind all of sun_path
            names.add(name.rstrip(ABSTRACT))
        return not self._names or not names.isdisjoint(self._names) or file in self._files


class UnixReader:
    """Reads listeners and holders again and again, as `InventoryReader` does those of TCP.

    `names`: only these paths and abstract names (`@NAME`); none: any. Of the filters, netns decides
    which are listed; `inventory.held_by` applies those that speak of processes.
    """

    def __init__(
        self, filters: Filters, names: Collection[str], iterator: HolderIterator | None = None
    ) -> None:
        self._asked = AskedFor(names)
        self._holding = Holding(replace(filters, ports=frozenset()), iterator)
        self._occupied: set[int] = set()  # namespaces where listeners were found last
        self.there: frozenset[int] = frozenset()  # inodes of all that the last look met

    def baseline(self) -> Baseline:
        """The sockets that are there; holders are not looked for. Raises as `read` does."""
        self._holding.begin(full=False)
        looks = self._holding.ask(lambda _, path: unix_sockets(path), True, ())
        inodes = frozenset(sock.inode for _, one in looks for sock in one)
        return Baseline(inodes, complete=self._holding.everywhere)

    def read(self, full: bool = False, counted: Iterable[int] = ()) -> Inventory:
        """All listeners now. `full` looks at every descriptor of every process again.

        `counted`: namespaces in which something was traced, though it may have closed already.
        Raises as `InventoryReader.read` does, also where this kernel has no unix_diag.
        """
        holding = self._holding
        self._asked.look()
        holding.begin(full)
        self._occupied.update(counted)
        looks = holding.ask(lambda _, path: unix_sockets(path), full, self._occupied)
        self.there = frozenset(sock.inode for _, one in looks for sock in one)
        match = self._asked.match
        found = [(n, sock) for n, one in looks for sock in one if match(sock.name, sock.file)]
        self._occupied = {netns for netns, _ in found}
        holding.finish([sock.inode for _, sock in found], full)
        partial = is_partial(holding.unread)
        rows = [self._listener(netns, sock, partial) for netns, sock in found]
        rows.sort(key=lambda row: (row.local_address, row.netns, row.inode))
        return Inventory(tuple(rows), holding.unread)

    def surroundings(self, inventory: Inventory, compared: bool = True) -> Surroundings:
        """Whose children its holders are, and how the machine is set; `compared` by kcmp."""
        from accepttrace.sockets.surroundings import surroundings

        return surroundings(inventory.listeners, self._holding.path, (), compared)

    def process(self, pid: int) -> Process | None:
        """A process by name, whether it holds a listener or not; None if it is gone."""
        return self._holding.process(pid)

    def use(self, iterator: HolderIterator | None, sparing: bool = False) -> None:
        """As if given from the start: it takes time to load, and `baseline` does without."""
        self._holding.use(iterator, sparing)

    def close(self) -> None:
        """End what reads for us. May be called twice."""
        self._holding.close()

    def _listener(self, netns: int, sock: UnixSocket, partial: bool) -> Listener:
        holders = self._holding.holders(sock.inode)
        return Listener(
            inode=sock.inode,
            netns=netns,
            family="unix",
            local_address=sock.name,
            local_port=0,
            backlog=sock.backlog,
            queue=sock.queue,
            sharing=share_of(1, holders, None, partial).sharing,
            group=None,
            group_size=None,
            selector=None,
            holders=holders,
            uid=sock.uid,
            seqpacket=sock.seqpacket,
        )
