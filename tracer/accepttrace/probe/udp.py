"""The tracer of UDP: attach it, prove it, read its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from accepttrace.config import Config, Filters
from accepttrace.facts import addresses
from accepttrace.facts.datagrams import ReceiverCount, ReceiverCounts
from accepttrace.probe import choosing, clock, plans, udptest, wire
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map
from accepttrace.probe.members import Member, member_of
from accepttrace.probe.tracer import Tracer


@dataclass(frozen=True, slots=True)
class Queue:
    """Packets waiting at a UDP socket, and its group. Source: the BPF socket iterator."""

    inode: int
    packets: int
    member: Member | None


class UdpSession(Tracer):
    """UDP: which socket of a group gets what, and what its queue takes."""

    def __init__(self, loaded: loaders.Attached) -> None:
        super().__init__(loaded)
        self._receivers = Map(loaded.map_fd("receivers"), wire.U32, wire.Receiver)
        self._owners: dict[int, int] = {}

    def counts(self) -> ReceiverCounts:
        """Everything counted since the start, for every socket."""
        at_s = clock.monotonic_s()
        items = self._receivers.items()
        self._owners = {key.value: row.owner for key, row in items}
        return ReceiverCounts(tuple(_count(k.value, v) for k, v in items), self.losses(), at_s)

    def reset(self) -> None:
        """Forget everything counted so far, and the sockets it was counted for."""
        super().reset()
        self._receivers.clear()
        self._owners = {}
        self._shares.clear()

    def forget(self, inodes: Iterable[int]) -> None:
        """Make room in the map: these sockets are gone, and their counts were read."""
        gone = {inode: self._owners.pop(inode) for inode in inodes if inode in self._owners}
        self._receivers.delete_all([wire.U32(inode) for inode in gone])
        self._shares.free(wire.SHARED_RECEIVERS, Counter(gone.values()))

    def queues(self) -> tuple[Queue, ...]:
        """Every UDP socket in the network namespace of the calling thread.

        Empty where the kernel has no such iterator.
        """
        return tuple(_queue(found) for found in self._loaded.sockets(wire.UdpMember))

    def _prove(self, limit_s: float) -> None:
        if not self.plan.hooks:
            return
        traffic = udptest.Traffic.prepare(limit_s)
        try:
            self.filter(Filters(ports=frozenset({traffic.port})))
            traffic.make()
            counts = self.counts()
        finally:
            traffic.end()
        wrong = udptest.verdicts(counts, traffic, self.plan.sees)
        self.reset()
        self._require(wrong)


def open_udp(config: Config) -> UdpSession:
    """Attach, prove, and set the filters. `UnsupportedError` says why each way failed."""
    return choosing.first(config, plans.UDP_PLANS, UdpSession)


def _count(inode: int, value: wire.Receiver) -> ReceiverCount:
    return ReceiverCount(
        inode=inode,
        netns=value.netns,
        family=addresses.family_of(value.family),
        local_address=addresses.spelled(value.family, bytes(value.address)),
        local_port=value.port,
        selected=value.selected,
        # A reading may fall between an offer and its refusal, and see the latter alone.
        datagrams=max(value.offered - value.dropped, 0),
        dropped=value.dropped,
    )


def _queue(found: wire.UdpMember) -> Queue:
    member = member_of(found.member) if found.member.size else None
    return Queue(found.member.inode, found.queue, member)
