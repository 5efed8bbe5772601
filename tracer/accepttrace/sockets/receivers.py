"""The inventory of UDP: every bound socket that the filters let through, and who holds it."""

from __future__ import annotations

from collections.abc import Callable

from accepttrace.config import Filters
from accepttrace.model.datagrams import Receiver, Receivers
from accepttrace.model.records import Baseline, NamespaceCount
from accepttrace.probe.netns import call_inside
from accepttrace.probe.udp import Queue
from accepttrace.probe.udpdiag import UdpSocket, udp_sockets
from accepttrace.sockets.filtering import is_held, passes
from accepttrace.sockets.namespaces import Namespaces, ask_all
from accepttrace.sockets.processes import FULL_EVERY_S, Processes

Queues = Callable[[], tuple[Queue, ...]]


class ReceiverReader:
    """Reads UDP sockets and their holders again and again, at little cost after the first time.

    `queues` tells the lengths of queues and the groups in the namespace of the calling thread.
    """

    def __init__(
        self, filters: Filters, queues: Queues, full_every_s: float = FULL_EVERY_S
    ) -> None:
        self._filters = filters
        self._queues = queues
        self._namespaces = Namespaces()
        self._processes = Processes(full_every_s)

    def baseline(self) -> Baseline:
        """What was dropped so far, in every namespace, without a look at who holds what."""
        namespaces = self._namespaces.refresh()
        found, hidden = ask_all(namespaces, self._filters.netns, lambda path: (udp_sockets(path),))
        counts = {
            netns: NamespaceCount(netns, {one.inode: one.drops for one in sockets if one.drops})
            for netns, sockets in found
        }
        return Baseline(
            sockets=frozenset(one.inode for _, sockets in found for one in sockets),
            namespaces=counts,
            complete=not (hidden or self._namespaces.partial),
        )

    def read(self, full: bool = False) -> Receivers:
        """All sockets now. `full` looks at every descriptor of every process again.

        A socket that nobody visible holds has no holders. AcceptTraceError if the kernel refuses
        to list sockets; what single processes or namespaces hide makes it `partial`.
        """
        namespaces = self._namespaces.refresh(full)
        found, hidden = ask_all(namespaces, self._filters.netns, udp_sockets)
        found = [(netns, sock) for netns, sock in found if passes(self._filters, sock)]
        self._processes.refresh([sock.inode for _, sock in found], full)
        queues = {
            queue.inode: queue
            for netns in {netns for netns, _ in found}
            for queue in self._queues_in(namespaces[netns])
        }
        rows = [self._receiver(netns, sock, queues.get(sock.inode)) for netns, sock in found]
        kept = [row for row in rows if is_held(self._filters, row.holders)]
        others = {row.inode for row in rows} - {row.inode for row in kept}
        partial = hidden or self._namespaces.partial or self._processes.partial
        return Receivers(tuple(kept), frozenset(others), partial)

    def _queues_in(self, path: str | None) -> tuple[Queue, ...]:
        try:
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
            drops=sock.drops,
            queue_bytes=sock.queue_bytes,
            queue_limit_bytes=sock.queue_limit_bytes,
            queue=queue.packets if queue else None,
            group=member.group if member else None,
            group_size=member.size if member else None,
            selector=member.selector if member else None,
            program=member.program if member else None,
            holders=self._processes.holders(sock.inode),
        )
