"""Invented UDP sockets and readings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from accepttrace.config import Filters
from accepttrace.facts.datagrams import (
    ReaderCount,
    Receiver,
    ReceiverCount,
    ReceiverCounts,
    Receivers,
    UdpReading,
)
from accepttrace.facts.records import Baseline, Holder, Losses, Program
from accepttrace.facts.sight import Sight
from accepttrace.model.datagrams import ReceiverSnapshot
from accepttrace.model.receivers import ReceiverTracker
from tests.unit.pictures import META, holder

SEES = Sight.of("selected", "datagrams", "dropped")
READS = Sight.of("read")
UDP_META = replace(META, attach="fentry", filter=":53", protocol="udp")


def count(inode: int, datagrams: int, selected: int = 0, dropped: int = 0) -> ReceiverCount:
    """What one socket got."""
    return ReceiverCount(inode, 4026531840, "ipv4", "127.0.0.1", 53, selected, datagrams, dropped)


def receiver(
    inode: int,
    holders: Iterable[Holder] = (),
    *,
    port: int = 53,
    address: str = "127.0.0.1",
    remote: str | None = None,
    group: int | None = None,
    drops: int | None = 0,
    queue: int = 0,
) -> Receiver:
    """A socket that is open; `group` is one of four members chosen by hash."""
    return Receiver(
        inode=inode,
        netns=4026531840,
        family="ipv6" if ":" in address else "ipv4",
        local_address=address,
        local_port=port,
        remote_address=remote,
        remote_port=None if remote is None else 40000,
        uid=0,
        drops=drops,
        queue_bytes=queue * 768,
        queue_limit_bytes=212992,
        queue=queue,
        group=group,
        group_size=None if group is None else 4,
        selector=None if group is None else "hash",
        holders=tuple(holders),
    )


def tracker(filters: Filters | None = None, sees: Sight = SEES) -> ReceiverTracker:
    """A model that began at second 0, when no socket was there."""
    model = ReceiverTracker(UDP_META, filters or Filters(), 0.0, sees)
    model.start(Baseline(complete=True))
    return model


def feed(
    model: ReceiverTracker,
    second: float,
    counts: Iterable[ReceiverCount],
    sockets: Iterable[Receiver],
    losses: Losses | None = None,
    readers: Iterable[ReaderCount] = (),
) -> tuple[int, ...]:
    """One reading; returns what the model says is gone for good."""
    return model.update(
        UdpReading(
            ReceiverCounts(tuple(counts), losses or Losses(), second, tuple(readers)),
            Receivers(tuple(sockets)),
            wall="2026-01-02T12:00:01.000Z",
        )
    )


def resolvers(blind: bool = False) -> ReceiverSnapshot:
    """Four members of two processes, a connected one, one that is gone, a crowd without rows."""
    model = tracker(sees=Sight() if blind else SEES)
    first = holder(1201, name="unbound", fd=5)
    second = holder(1202, None, name="unbound", fd=5)
    master = holder(1200, False, name="unbound: master", fd=5)
    members = [
        receiver(11, [master, first], group=0),
        receiver(12, [first], group=0, queue=3),
        receiver(13, [second], group=0, drops=17),
        replace(
            receiver(14, [second, first], group=0, address="2001:db8::53"),
            selector="ebpf",
            program=Program(42, "steer"),
        ),
    ]
    connected = receiver(15, [second], remote="192.0.2.77")
    gone = receiver(16, [holder(1203, name="unbound", fd=9)], group=0)
    counts = [
        count(11, 1_234_567, 1_234_700),
        count(12, 900, 900),
        count(13, 40, 57, 17),
        count(15, 12, 0),
        count(16, 5, 5),
        count(17, 3, 0),
    ]
    if blind:
        counts = []
    forgotten: set[int] = set()
    for now in (1, 2, 3):
        left = [one for one in counts if one.inode not in forgotten]
        sockets = [*members, connected, *([gone] if now == 1 else [])]
        forgotten.update(feed(model, now, left, sockets))
    return model.snapshot()
