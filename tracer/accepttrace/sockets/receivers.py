"""The inventory of UDP: every bound socket that the filters let through, and who holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from accepttrace.config import Filters
from accepttrace.facts.datagrams import Receiver, Receivers
from accepttrace.facts.matching import held, place_matches
from accepttrace.facts.records import Baseline, Holder, NamespaceCount
from accepttrace.probe.holders import HolderIterator
from accepttrace.probe.members import Queue
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.diag.udp import UdpSocket, udp_sockets
from accepttrace.sockets.fromproc import FULL_EVERY_S
from accepttrace.sockets.holding import Holding

if TYPE_CHECKING:
    from accepttrace.facts.kin import Surroundings

Queues = Callable[[], tuple[Queue, ...]]


class ReceiverReader:
    """Reads UDP sockets and their holders again and again, at little cost after the first time.

    `queues` returns the lengths of queues and the groups in the namespace of the calling thread.
    """

    def __init__(
        self,
        filters: Filters,
        queues: Queues,
        iterator: HolderIterator | None = None,
        full_every_s: float = FULL_EVERY_S,
    ) -> None:
        self._filters = filters
        self._queues = queues
        self._holding = Holding(filters, iterator, full_every_s)
        self._occupied: set[int] = set()  # namespaces where sockets were found last

    def baseline(self) -> Baseline:
        """What was dropped so far, in every namespace; who holds what is not looked at."""
        self._holding.begin(full=False)
        found = self._holding.ask(lambda _, path: udp_sockets(path), everywhere=True)
        counts = {
            netns: NamespaceCount(netns, {one.inode: one.drops for one in sockets if one.drops})
            for netns, sockets in found
        }
        return Baseline(
            sockets=frozenset(one.inode for _, sockets in found for one in sockets),
            namespaces=counts,
            complete=self._holding.everywhere,
        )

    def read(self, full: bool = False) -> Receivers:
        """All sockets now. `full` looks at every descriptor of every process again.

        A socket without a visible holder has none. AcceptTraceError if the kernel refuses
        to list sockets; what single processes or namespaces hide is in `unread`.
        """
        holding = self._holding
        holding.begin(full)
        looks = holding.ask(lambda _, path: udp_sockets(path), full, self._occupied)
        found = [(netns, sock) for netns, one in looks for sock in one]
        found = [pair for pair in found if place_matches(self._filters, pair[1], pair[1].v6only)]
        self._occupied = {netns for netns, _ in found}
        holding.finish([sock.inode for _, sock in found], full)
        queues = {
            queue.inode: queue for netns in self._occupied for queue in self._queues_in(netns)
        }
        rows = [self._receiver(netns, sock, queues.get(sock.inode)) for netns, sock in found]
        kept = [row for row in rows if held(self._filters, row.holders)]
        others = {row.inode for row in rows} - {row.inode for row in kept}
        return Receivers(tuple(kept), frozenset(others), holding.unread)

    def surroundings(self, receivers: Receivers) -> Surroundings:
        """Whose children the holders are, and how the machine is set."""
        from accepttrace.sockets.surroundings import surroundings

        return surroundings(receivers.sockets, self._holding.path)

    def use(self, iterator: HolderIterator | None) -> None:
        """As if given from the start: it takes time to load, and `baseline` does without."""
        self._holding.use(iterator)

    def close(self) -> None:
        """End what reads for us. May be called twice."""
        self._holding.close()

    def _queues_in(self, netns: int) -> tuple[Queue, ...]:
        try:
            path = self._holding.path(netns)
            return call_inside(path, self._queues) if path else self._queues()
        except OSError:  # the namespace went away, or is not ours to enter
            return ()

    def _receiver(self, netns: int, sock: UdpSocket, queue: Queue | None) -> Receiver:
        member = queue.member if queue else None
        return Receiver(
            inode=sock.inode,
            netns=netns,
            family=sock.family,
            local_address=sock.local_address,
            local_port=sock.local_port,
            remote_address=sock.remote_address,
            remote_port=sock.remote_port,
            uid=sock.uid,
            v6only=sock.v6only,
            device=sock.device,
            in_kernel=queue.in_kernel if queue else None,
            drops=sock.drops,
            queue_bytes=sock.queue_bytes,
            queue_limit_bytes=sock.queue_limit_bytes,
            queue=queue.packets if queue else None,
            group=member.group if member else None,
            group_size=member.size if member else None,
            selector=member.selector if member else None,
            program=member.program if member else None,
            holders=tuple(map(_reader, self._holding.holders(sock.inode))),
        )


def _reader(holder: Holder) -> Holder:
    """Who sleeps in a call on the socket itself does so in accept() if it is one of TCP."""
    return replace(holder, waits_in="recv") if holder.waits_in == "accept" else holder
