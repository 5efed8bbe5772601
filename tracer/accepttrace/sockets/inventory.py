"""The inventory: every listening TCP socket that the filters let through, and who holds it."""

from __future__ import annotations

from collections import Counter
from typing import Final

from accepttrace.config import Filters
from accepttrace.model.records import Inventory, Listener, Process
from accepttrace.probe.sockdiag import ListenSocket, listeners
from accepttrace.sockets.filtering import is_held, passes
from accepttrace.sockets.namespaces import Namespaces, ask_all
from accepttrace.sockets.processes import FULL_EVERY_S, Processes
from accepttrace.sockets.sharing import Bond, Groups, bond, bonds, share_of

NO_GROUPS: Final[Groups] = {}

Found = list[tuple[int, ListenSocket]]  # (netns, socket)


class InventoryReader:
    """Reads listeners and holders again and again, at little cost after the first time.

    Of the filters, ports, netns, family and addresses decide which listeners are listed;
    `held_by` applies those that speak of processes.
    """

    def __init__(self, filters: Filters, full_every_s: float = FULL_EVERY_S) -> None:
        self._filters = filters
        self._namespaces = Namespaces()
        self._processes = Processes(full_every_s)
        self.namespaces: dict[int, str | None] = {}  # by inode number, as last read; None: our own

    def read(self, full: bool = False, groups: Groups = NO_GROUPS) -> Inventory:
        """All listeners now. `full` looks at every descriptor of every process again.

        `groups` maps the inode of each socket with a reuseport group to what BPF read of it.
        A listener that nobody visible holds has no holders. AcceptTraceError if the kernel
        refuses to list sockets; what single processes or namespaces hide makes it `partial`.
        """
        found, hidden = self._sockets(full)
        together = bonds(found)
        found = [(netns, sock) for netns, sock in found if passes(self._filters, sock)]
        self._processes.refresh([sock.inode for _, sock in found], full)
        partial = hidden or self._processes.partial
        rows = [self._listener(netns, sock, together, groups, partial) for netns, sock in found]
        rows.sort(key=lambda row: (row.local_port, row.netns, row.family, row.inode))
        return Inventory(tuple(rows), partial)

    def process(self, pid: int) -> Process | None:
        """A process by name, whether it holds a listener or not; None if it is gone."""
        return self._processes.process(pid)

    def _sockets(self, full: bool) -> tuple[Found, bool]:
        """Listeners of all namespaces, and whether some could not be looked at."""
        self.namespaces = self._namespaces.refresh(full)
        found, hidden = ask_all(self.namespaces, self._filters.netns, listeners)
        return found, hidden or self._namespaces.partial

    def _listener(
        self,
        netns: int,
        sock: ListenSocket,
        together: Counter[Bond],
        groups: Groups,
        partial: bool,
    ) -> Listener:
        holders = self._processes.holders(sock.inode)
        share = share_of(together[bond(netns, sock)], holders, groups.get(sock.inode), partial)
        return Listener(
            inode=sock.inode,
            netns=netns,
            family=sock.family,
            local_address=sock.local_address,
            local_port=sock.local_port,
            backlog=sock.backlog,
            queue=sock.queue,
            sharing=share.sharing,
            group=share.group,
            group_size=share.size,
            selector=share.selector,
            holders=holders,
            uid=sock.uid,
            program=share.program,
            drops=sock.drops,
        )


def held_by(inventory: Inventory, filters: Filters) -> Inventory:
    """Only the listeners with a holder that passes the filters for pid, comm and cgroup.

    All their holders stay: with whom a process shares is what was asked for.
    """
    kept = [row for row in inventory.listeners if is_held(filters, row.holders)]
    return Inventory(tuple(kept), inventory.partial)
