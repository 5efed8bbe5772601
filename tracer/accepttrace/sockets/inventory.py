"""The inventory: every listening TCP socket that the filters let through, and who holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from accepttrace.config import Filters
from accepttrace.model.records import Baseline, Inventory, Listener, NamespaceCount, Process
from accepttrace.probe.sockdiag import ListenSocket, Look, look
from accepttrace.sockets.filtering import is_held, passes
from accepttrace.sockets.namespaces import Namespaces, ask_all
from accepttrace.sockets.processes import FULL_EVERY_S, Processes
from accepttrace.sockets.sharing import Bond, Groups, bond, bonds, share_of

NO_GROUPS: Final[Groups] = {}

MAX_COUNTED: Final = 256  # namespaces whose counters are read; a read takes 0.1 to 1 ms

Found = list[tuple[int, ListenSocket]]  # (netns, socket)
Looks = list[tuple[int, Look]]  # by netns


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
        self._counted: set[int] | None = None  # namespaces whose counters are read; None: no need

    def baseline(self) -> Baseline:
        """What was dropped so far, in every namespace; from now on `read` tells that as well.

        Without a look at any process but for its namespace: whoever waits for the tracer to be
        ready waits for this. Raises as `read` does.
        """
        looks, hidden = self._look_at_all(full=False, counting=lambda _: True)
        self._counted = set()
        return Baseline(
            sockets=frozenset(sock.inode for _, one in looks for sock in one.sockets),
            namespaces={netns: _dropped(netns, one) for netns, one in looks},
            complete=not hidden,
        )

    def read(self, full: bool = False, groups: Groups = NO_GROUPS) -> Inventory:
        """All listeners now. `full` looks at every descriptor of every process again.

        `groups` maps the inode of each socket with a reuseport group to what BPF read of it.
        A listener that nobody visible holds has no holders. AcceptTraceError if the kernel
        refuses to list sockets; what single processes or namespaces hide makes it `partial`.
        """
        looks, hidden = self._look_at_all(full, self._is_counted)
        found = [(netns, sock) for netns, one in looks for sock in one.sockets]
        together = bonds(found)
        found = [(netns, sock) for netns, sock in found if passes(self._filters, sock)]
        if self._counted is not None:  # the last drops may be those of a listener that closed
            self._counted |= {netns for netns, _ in found}
            self._counted &= self.namespaces.keys()
        self._processes.refresh([sock.inode for _, sock in found], full)
        partial = hidden or self._processes.partial
        rows = [self._listener(netns, sock, together, groups, partial) for netns, sock in found]
        rows.sort(key=lambda row: (row.local_port, row.netns, row.family, row.inode))
        counts = (_dropped(netns, one) for netns, one in looks if self._is_counted(netns))
        return Inventory(tuple(rows), partial, tuple(counts))

    def process(self, pid: int) -> Process | None:
        """A process by name, whether it holds a listener or not; None if it is gone."""
        return self._processes.process(pid)

    def _look_at_all(self, full: bool, counting: Callable[[int], bool]) -> tuple[Looks, bool]:
        """All namespaces, and whether some could not be looked at."""
        self.namespaces = self._namespaces.refresh(full)
        counted = [path for netns, path in self.namespaces.items() if counting(netns)]
        paths = set(counted[:MAX_COUNTED])
        looks, hidden = ask_all(
            self.namespaces, self._filters.netns, lambda path: (look(path, path in paths),)
        )
        return looks, hidden or self._namespaces.partial

    def _is_counted(self, netns: int) -> bool:
        return self._counted is not None and netns in self._counted

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
    return Inventory(tuple(kept), inventory.partial, inventory.namespaces)


def _dropped(netns: int, found: Look) -> NamespaceCount:
    drops = {sock.inode: sock.drops for sock in found.sockets if sock.drops}
    return NamespaceCount(netns, drops, found.counters)
