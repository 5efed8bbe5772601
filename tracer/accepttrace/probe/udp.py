"""The tracer of UDP: attach it, prove it, read its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from accepttrace.config import Config, Filters
from accepttrace.facts import addresses
from accepttrace.facts.datagrams import ReaderCount, ReceiverCount, ReceiverCounts
from accepttrace.facts.records import NS_PER_TICK, OUTSIDE
from accepttrace.probe import choosing, clock, plans, udptest, wire
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map
from accepttrace.probe.members import Queue, queue_of
from accepttrace.probe.tracer import Tracer


class UdpSession(Tracer):
    """UDP: which socket of a group gets what, and what its queue takes."""

    def __init__(self, loaded: loaders.Attached) -> None:
        super().__init__(loaded)
        self.plan = self.plan.with_hooks(loaded.hooks)
        self._receivers = Map(loaded.map_fd("receivers"), wire.U32, wire.Receiver)
        self._readers = Map(loaded.map_fd("readers"), wire.ReaderKey, wire.Reader)
        self._owners: dict[int, int] = {}
        self._read_by: dict[int, list[tuple[wire.ReaderKey, int]]] = {}  # by inode, with the owner

    def counts(self) -> ReceiverCounts:
        """Everything counted since the start, for every socket."""
        at_s = clock.monotonic_s()
        items = self._receivers.items()
        self._owners = {key.value: row.owner for key, row in items}
        receivers = tuple(_count(key.value, row) for key, row in items)
        return ReceiverCounts(receivers, self.losses(), at_s, self._read_counts())

    def reset(self) -> None:
        """Forget everything counted so far, and the sockets it was counted for."""
        super().reset()
        self._receivers.clear()
        self._readers.clear()
        self._owners, self._read_by = {}, {}
        self._shares.clear()

    def forget(self, inodes: Iterable[int]) -> None:
        """Make room in the map: these sockets are gone, and their counts were read."""
        gone = {inode: self._owners.pop(inode) for inode in inodes if inode in self._owners}
        self._receivers.delete_all([wire.U32(inode) for inode in gone])
        self._shares.free(wire.SHARED_RECEIVERS, Counter(gone.values()))
        read = [pair for inode in gone for pair in self._read_by.pop(inode, ())]
        self._readers.delete_all([key for key, _ in read])
        self._shares.free(wire.SHARED_READERS, Counter(owner for _, owner in read))

    def _read_counts(self) -> tuple[ReaderCount, ...]:
        self._read_by = {}
        found = []
        outside: Counter[int] = Counter()
        for key, row in self._readers.items():
            self._read_by.setdefault(key.inode, []).append((key, row.owner))
            if row.pid:
                found.append(_read_count(key, row))
            else:
                outside[key.inode] += row.packets
        found += [ReaderCount(inode, 0, 0, OUTSIDE, packets) for inode, packets in outside.items()]
        return tuple(found)

    def queues(self) -> tuple[Queue, ...]:
        """Every UDP socket in the network namespace of the calling thread.

        Empty where the kernel has no such iterator.
        """
        return tuple(queue_of(found) for found in self._loaded.sockets(wire.UdpMember))

    def _prove(self, limit_s: float) -> None:
        if not self._loaded.hooks:
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


def _read_count(key: wire.ReaderKey, row: wire.Reader) -> ReaderCount:
    comm = bytes(row.comm).partition(b"\0")[0].decode("utf-8", "replace")
    start_ticks = clock.start_shown(key.start_ns) // NS_PER_TICK
    return ReaderCount(key.inode, row.pid, start_ticks, comm, row.packets)
