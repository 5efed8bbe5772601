"""The inventory: every listening TCP socket that the filters let through, and who holds it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from accepttrace.config import Filters
from accepttrace.facts.matching import held, place_matches, process_matches
from accepttrace.facts.records import (
    Baseline,
    Inventory,
    Listener,
    ListenerFact,
    LocalPort,
    NamespaceCount,
    Process,
    is_partial,
)
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.diag.tcp import AskFacts, ListenSocket, Look, look
from accepttrace.sockets.fromproc import FULL_EVERY_S
from accepttrace.sockets.holding import Holding
from accepttrace.sockets.sharing import Bond, Facts, bond, bonds, share_of

if TYPE_CHECKING:
    from accepttrace.facts.kin import Surroundings
    from accepttrace.probe.holders import HolderIterator

MAX_COUNTED: Final = 256  # namespaces whose counters are read; a read takes 0.1 to 1 ms

Looks = list[tuple[int, Look]]  # by netns


class InventoryReader:
    """Reads listeners and holders again and again, at little cost after the first time.

    Of the filters, ports, netns, family and addresses decide which listeners are listed;
    `held_by` applies those that speak of processes. `ask_facts` returns what BPF reads of the
    listeners in the namespace of the calling thread; `iterator` is the kernel's list of open files:
    without it /proc is read.
    """

    def __init__(
        self,
        filters: Filters,
        iterator: HolderIterator | None = None,
        full_every_s: float = FULL_EVERY_S,
        ask_facts: AskFacts | None = None,
    ) -> None:
        self._filters = filters
        self._ask_facts = ask_facts
        self._holding = Holding(filters, iterator, full_every_s)
        self._traced: set[int] = set()  # namespaces in which listeners passed the filters
        self._counting = False  # their counters are read as well
        self._ports = filters.ports  # of those listeners: whose connections are counted

    def baseline(self) -> Baseline:
        """What was dropped so far, in every namespace; from now on `read` has that as well.

        Holders are not looked for: the start of the tracer waits for this.
        Raises as `read` does.
        """
        self._counting = True
        self._holding.begin(full=False)
        looks = self._look_everywhere(self._holding.namespaces)
        return Baseline(
            sockets=frozenset(sock.inode for _, one in looks for sock in one.sockets),
            namespaces={netns: _dropped(netns, one) for netns, one in looks},
            complete=self._holding.everywhere,
        )

    def find_ports(self) -> None:
        """See where listeners are, so that the first `read` counts the connections there.

        Raises as `read` does. Not needed where the filters name the ports.
        """
        self._holding.begin(full=False)
        self._look_everywhere(())

    def read(self, full: bool = False, counted: Iterable[int] = ()) -> Inventory:
        """All listeners now. `full` looks at every descriptor of every process again.

        `counted`: namespaces in which something was traced, though it may have closed already.
        A listener without a visible holder has none. AcceptTraceError if the kernel
        refuses to list sockets; what single processes or namespaces hide is in `unread`.
        """
        self._holding.begin(full, self._ports)
        listed, began_s = self._holding.lists_connections, time.monotonic()
        self._traced = self._traced.union(counted) & self._holding.namespaces
        ports = self._ports if listed else frozenset[int]()
        looks = self._look_at_all(self._traced, self._ask_facts, full, ports)
        took_s = time.monotonic() - began_s
        found = [(netns, sock) for netns, one in looks for sock in one.sockets]
        together = bonds(found)
        everywhere = found
        found = [pair for pair in found if place_matches(self._filters, pair[1], pair[1].v6only)]
        facts = self._facts(looks, {netns for netns, _ in found})
        # For good: the last drops may be those of a listener that closed.
        self._traced |= {netns for netns, _ in found}
        self._holding.finish([sock.inode for _, sock in found], full)
        if listed:
            self._holding.count_connections(ports, looks, took_s)
        self._ports = frozenset(sock.local_port for _, sock in found)
        unread = self._holding.unread
        partial = is_partial(unread)
        rows = [self._listener(netns, sock, together, facts, partial) for netns, sock in found]
        rows.sort(key=lambda row: (row.local_port, row.netns, row.family, row.inode))
        counts = (_dropped(netns, one) for netns, one in looks if netns in self._traced)
        instead, opened = self._instead(rows), self._holding.opened
        serving = self._holding.serving(self._holders(everywhere, rows))
        return Inventory(tuple(rows), unread, instead, tuple(counts), opened, serving)

    def _holders(
        self, everywhere: Collection[tuple[int, ListenSocket]], rows: Collection[Listener]
    ) -> dict[LocalPort, set[int]]:
        """By port, the PIDs of those who hold a listener there.

        Ports where the filters leave out a listener are missing: of a connection there it is not
        known to which listener it came.
        """
        found: defaultdict[LocalPort, set[int]] = defaultdict(set)
        for row in rows:
            where = LocalPort(row.netns, row.local_port, row.family)
            found[where].update(holder.pid for holder in row.holders)
        asked = {row.inode for row in rows}
        for netns, sock in everywhere:
            if sock.inode not in asked:
                found.pop(LocalPort(netns, sock.local_port, sock.family), None)
        return found

    def surroundings(self, inventory: Inventory, compared: bool = True) -> Surroundings:
        """Whose children its holders are, and how the machine is set; `compared` by kcmp."""
        from accepttrace.sockets.surroundings import surroundings

        serving = inventory.serving if compared else ()
        return surroundings(inventory.listeners, self._holding.path, serving, compared)

    def process(self, pid: int) -> Process | None:
        """A process by name, whether it holds a listener or not; None if it is gone."""
        return self._holding.process(pid)

    def use(self, iterator: HolderIterator | None, sparing: bool = False) -> None:
        """As if given from the start: it takes time to load, and `baseline` does without."""
        self._holding.use(iterator, sparing)

    def close(self) -> None:
        """End what reads for us. May be called twice."""
        self._holding.close()

    def _instead(self, rows: list[Listener]) -> tuple[str, ...]:
        """Where the processes asked for listen, if none of them does here."""
        asked = self._filters.pids
        if not asked or any(holder.pid in asked for row in rows for holder in row.holders):
            return ()
        from accepttrace.sockets.unixsockets import unix_listeners

        return unix_listeners(asked)

    def _look_everywhere(self, closely: Collection[int]) -> Looks:
        looks = self._look_at_all(closely, None, everywhere=True)
        sockets = (sock for _, one in looks for sock in one.sockets)
        self._ports = frozenset(
            sock.local_port for sock in sockets if place_matches(self._filters, sock, sock.v6only)
        )
        return looks

    def _look_at_all(
        self,
        closely: Collection[int],
        ask_facts: AskFacts | None,
        everywhere: bool,
        open_ports: Collection[int] = (),
    ) -> Looks:
        """All namespaces that may matter, some `closely`."""
        close = frozenset(closely)
        counted = frozenset(islice(close, MAX_COUNTED)) if self._counting else frozenset[int]()

        def ask(netns: int, path: str | None) -> Look:
            facts = ask_facts if netns in close else None
            return look(path, netns in counted, facts, open_ports)

        return self._holding.ask(ask, everywhere, close)

    def _facts(self, looks: Looks, wanted: Collection[int]) -> Facts:
        """By inode; a namespace where nothing was traced before is entered once more."""
        found: dict[int, ListenerFact] = {}
        for netns, one in looks:
            if one.facts is not None:
                found.update(one.facts)
            elif netns in wanted:
                found.update(self._facts_in(netns))
        return found

    def _facts_in(self, netns: int) -> Facts:
        if self._ask_facts is None:
            return {}
        try:
            path = self._holding.path(netns)
            return call_inside(path, self._ask_facts) if path else self._ask_facts()
        except OSError:  # it went away, or is not ours to enter: known by address alone
            return {}

    def _listener(
        self,
        netns: int,
        sock: ListenSocket,
        together: Counter[Bond],
        facts: Facts,
        partial: bool,
    ) -> Listener:
        holders, fact = self._holding.holders(sock.inode), facts.get(sock.inode)
        share = share_of(together[bond(netns, sock)], holders, fact, partial)
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
            defers=fact.defers if fact else None,
            half_open=fact.half_open if fact else None,
            v6only=sock.v6only,
            device=sock.device,
            oldest_us=fact.oldest_us if fact else None,
            options=fact.options if fact else None,
        )


def held_by(inventory: Inventory, filters: Filters) -> Inventory:
    """Only the listeners with a holder that passes the filters for pid, comm and cgroup, or with
    such a process that serves connections of their ports.

    All their holders stay: with whom a process shares is what was asked for.
    """
    served = {one.where for one in inventory.serving if process_matches(filters, one.process)}
    kept = [
        row
        for row in inventory.listeners
        if held(filters, row.holders) or LocalPort(row.netns, row.local_port, row.family) in served
    ]
    return replace(inventory, listeners=tuple(kept))


def _dropped(netns: int, found: Look) -> NamespaceCount:
    drops = {sock.inode: sock.drops for sock in found.sockets if sock.drops}
    return NamespaceCount(netns, drops, found.counters)
