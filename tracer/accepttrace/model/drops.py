"""Packets that listeners dropped, and why, by the kernel's own counts.

A listener's own count (sk_drops) has one number for all causes; a network namespace has a number
for each cause (TcpExt), but one for all its listeners. What a cause took between two readings
belongs to the listeners that dropped something meanwhile: where that is one, to that one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from accepttrace.facts.records import (
    Baseline,
    Inventory,
    ListenerCount,
    NamespaceCount,
    TcpCounters,
)
from accepttrace.model.snapshot import NamespaceLoss

Cause = Literal["overflow", "syn_queue", "other", "deferred", "cookie"]
LOST: Final[tuple[Cause, ...]] = ("overflow", "syn_queue", "other", "cookie")
SOMEBODY: Final = 0  # for an inode: a listener that is not traced, or not there any more


@dataclass(frozen=True, slots=True)
class Dropped:
    """Of one listener since tracing began; `None`: not known.

    `total`: by its own count, for whatever reason. The others: packets by cause, as in a
    `ListenerRow`. What is more than their sum no client missed: a SYN sent again, a reset, the
    second count of one final ACK. `unclear`: of the total, what came when no counters were read.
    """

    total: int | None = None
    overflow: int | None = None
    syn_queue: int | None = None
    other: int | None = None
    deferred: int | None = None
    unclear: int | None = None


NOTHING: Final = Dropped(0, 0, 0, 0, 0, 0)


@dataclass(slots=True)
class _Socket:
    """`fresh` and `stale`: what it dropped in the last interval and the one before, unexplained.

    Two, because the counters of a namespace are read first: a drop between the two readings is
    among these only next time.
    """

    netns: int
    start: int
    now: int
    fresh: int = 0
    stale: int = 0
    causes: Counter[Cause] = field(default_factory=Counter)
    hooked: int | None = None  # overflow as hooks counted it; None: they do not
    defers: bool | None = None

    @property
    def open_question(self) -> int:
        return self.fresh + self.stale

    def see(self, drops: int) -> None:
        """Its own count now; it never becomes less."""
        self.fresh += drops - self.now
        self.now = drops

    def explain(self, packets: int) -> None:
        """So many have a cause."""
        old = min(self.stale, packets)
        self.stale -= old
        self.fresh = max(self.fresh - (packets - old), 0)

    def age(self) -> None:
        """The counters of the namespace were read."""
        self.stale, self.fresh = self.fresh, 0


class Drops:
    """What every listener dropped since tracing began, and what only a namespace is known to."""

    def __init__(self) -> None:
        self._baseline = Baseline()
        self._sockets: dict[int, _Socket] = {}
        self._in: defaultdict[int, dict[int, _Socket]] = defaultdict(dict)  # the same by namespace
        self._asking: defaultdict[int, dict[int, _Socket]] = defaultdict(dict)  # with a question
        self._counting: set[int] = set()  # inodes whose own count the kernel shows
        self._counters: dict[int, TcpCounters] = {}  # as last read
        self._shared: defaultdict[int, Counter[Cause]] = defaultdict(Counter)
        self._involved: defaultdict[tuple[int, Cause], set[int]] = defaultdict(set)
        self._read: set[int] = set()  # namespaces whose counters an inventory had
        self._gone: frozenset[int] = frozenset()  # of those, the ones that the last had not
        self._by_hooks: Counter[int] = Counter()  # overflow by namespace, since last explained

    def start(self, baseline: Baseline) -> None:
        """What was there when tracing began: only what comes on top is reported."""
        self._baseline = baseline
        for one in baseline.namespaces.values():
            if one.counters is not None:
                self._counters[one.netns] = one.counters

    def update(self, inventory: Inventory | None, counted: Iterable[ListenerCount]) -> None:
        """Take in one reading."""
        for listener in inventory.listeners if inventory else ():
            if listener.drops is not None:
                self._counting.add(listener.inode)
                self._see(listener.netns, listener.inode, listener.drops).defers = listener.defers
        for count in counted:
            self._hear(count)
        for namespace in inventory.namespaces if inventory else ():
            for inode, drops in namespace.drops.items():
                self._see(namespace.netns, inode, drops)
            if namespace.counters is not None:
                self._explain(namespace, namespace.counters)
        if inventory:
            there = {one.netns for one in inventory.namespaces if one.counters is not None}
            self._read |= there
            self._gone = frozenset(self._read - there)
            self._forget_namespaces()

    def of(self, inode: int) -> Dropped:
        """What is known of one listener."""
        one = self._sockets.get(inode)
        if one is None or inode not in self._counting:
            return Dropped()
        if one.netns not in self._counters:
            return Dropped(one.now - one.start, unclear=one.open_question)
        if one.now == one.start:
            return NOTHING
        return Dropped(
            one.now - one.start,
            self._of(inode, one, "overflow"),
            self._of(inode, one, "syn_queue"),
            self._of(inode, one, "other"),
            self._of(inode, one, "deferred"),
            one.open_question if one.netns in self._gone else 0,
        )

    def none_of(self, inode: int) -> bool:
        """Whether it dropped nothing, as far as is known."""
        one = self._sockets.get(inode)
        return one is None or one.now == one.start

    def shared(self, shown: Collection[int]) -> tuple[NamespaceLoss, ...]:
        """What was lost at one of several listeners, with some of `shown` (inodes) among them."""
        found, shown = [], set(shown)
        for netns, causes in self._shared.items():
            for cause in LOST:
                involved = self._involved[netns, cause]
                ours = sorted(involved.intersection(shown))
                if causes[cause] and ours:
                    sure = len(ours) == len(involved)
                    found.append(NamespaceLoss(netns, cause, causes[cause], tuple(ours), sure))
        return tuple(found)

    def forget(self, inodes: Iterable[int]) -> None:
        """Listeners that are gone for good."""
        for inode in inodes:
            self._remove(inode)
            self._counting.discard(inode)
            for involved in self._involved.values():
                if inode in involved:
                    involved.remove(inode)
                    involved.add(SOMEBODY)

    def _of(self, inode: int, one: _Socket, cause: Cause) -> int | None:
        if inode in self._involved.get((one.netns, cause), ()):
            return None
        return one.causes[cause]

    def _see(self, netns: int, inode: int, drops: int) -> _Socket:
        """The own count of a listener now."""
        one = self._sockets.get(inode)
        if one is None:
            before = self._baseline.drops(netns, inode)
            start = drops if before is None else min(before, drops)
            one = self._sockets[inode] = self._in[netns][inode] = _Socket(netns, start, start)
        if drops > one.now:
            one.see(drops)
            self._asking[one.netns][inode] = one
        return one

    def _remove(self, inode: int) -> None:
        one = self._sockets.pop(inode, None)
        if one is not None:
            for there in (self._in, self._asking):
                there[one.netns].pop(inode, None)
                if not there[one.netns]:
                    del there[one.netns]

    def _forget_namespaces(self) -> None:
        """Those that are gone, as are all their listeners."""
        for netns in [netns for netns in self._gone if not self._in[netns]]:
            for known in (self._counters, self._in, self._asking, self._shared, self._by_hooks):
                known.pop(netns, None)
            self._read.discard(netns)
            for key in [key for key in self._involved if key[0] == netns]:
                del self._involved[key]

    def _hear(self, count: ListenerCount) -> None:
        """What the kernel side counted; a listener that closed may never have been listed."""
        if count.drops is not None:
            self._counting.add(count.inode)
            self._see(count.netns, count.inode, count.drops)
        one = self._sockets.get(count.inode)
        if one is not None and count.overflow is not None:
            overflow = count.overflow.syn + count.overflow.ack
            more = overflow - (one.hooked or 0)
            one.explain(more)
            one.hooked = overflow
            self._by_hooks[one.netns] += more

    def _explain(self, namespace: NamespaceCount, now: TcpCounters) -> None:
        netns = namespace.netns
        # A namespace that was not there when all were listed began with zeros.
        before = self._counters.get(netns, TcpCounters() if self._baseline.complete else now)
        self._counters[netns] = now
        sockets, grown = self._asking[netns], _growth(before, now)
        grown["overflow"] -= self._by_hooks.pop(netns, 0)
        may_defer = {inode: one for inode, one in sockets.items() if one.defers is not False}
        no_hooks = {inode: one for inode, one in sockets.items() if one.hooked is None}
        self._divide(netns, "deferred", grown["deferred"], may_defer)
        self._divide(netns, "overflow", grown["overflow"], no_hooks)
        self._divide(netns, "syn_queue", grown["syn_queue"], sockets)
        self._divide(netns, "other", grown["other"], sockets)
        if grown["cookie"]:  # no listener counts these
            self._shared[netns]["cookie"] += grown["cookie"]
            self._involved[netns, "cookie"] |= self._counting.intersection(self._in[netns])
            self._involved[netns, "cookie"].add(SOMEBODY)
        self._age(namespace)

    def _age(self, namespace: NamespaceCount) -> None:
        """What has no cause by now never gets one; others that are gone are of no interest."""
        asking, there = self._asking[namespace.netns], self._in[namespace.netns]
        for inode, one in list(asking.items()):
            one.age()
            if not one.open_question:
                del asking[inode]
        for inode in there.keys() - namespace.drops.keys() - self._counting:
            self._remove(inode)

    def _divide(self, netns: int, cause: Cause, packets: int, among: Mapping[int, _Socket]) -> None:
        asked = {inode: one for inode, one in among.items() if one.open_question}
        there = sum(one.open_question for one in asked.values())
        if packets <= 0 or not asked:
            return
        if packets == there or (packets < there and len(asked) == 1):
            for one in asked.values():
                share = min(one.open_question, packets)
                one.causes[cause] += share
                one.explain(share)
            return
        self._shared[netns][cause] += packets
        known, involved = self._counting.intersection(asked), self._involved[netns, cause]
        involved.update(known)
        if len(known) < len(asked) or packets > there:
            involved.add(SOMEBODY)


def _growth(before: TcpCounters, now: TcpCounters) -> dict[Cause, int]:
    """The number of a namespace may be given to another one, which began with zeros."""
    if now.listen_drops < before.listen_drops:
        before = TcpCounters()

    def grown(name: str) -> int:
        return max(int(getattr(now, name)) - int(getattr(before, name)), 0)

    overflow, syn_queue = grown("overflows"), grown("syn_queue_full")
    rest = grown("listen_drops") - overflow - syn_queue
    return {
        "overflow": overflow,
        "syn_queue": syn_queue,
        "other": max(rest, 0),
        "deferred": grown("deferred"),
        "cookie": grown("cookies_failed"),
    }
