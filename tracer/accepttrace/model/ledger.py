"""The books of every listener: what came, what left, what waits, and whether that agrees."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from accepttrace.config import Filters
from accepttrace.model.books import Account, Passage, Span
from accepttrace.model.listeners import Known, Listeners, Verdict
from accepttrace.model.records import AcceptorCount, Book, Counts, Flow, Passed

Port = tuple[int, int]  # network namespace and local port
WORST: Final[Mapping[Book, int]] = {"balanced": 0, "unchecked": 1, "unbalanced": 2}
_NOTHING: Final = Flow(0, 0, 0, 0, 0)
_REFUSALS: Final = (errno.EMFILE, errno.ENFILE)


class Ledger:
    """Checks the books at each reading and keeps the verdicts.

    Where arrivals are told by listener, each has an account of its own. Where they are told by port
    alone, an account is a port's, and what is missing there was accepted by somebody unseen.
    """

    def __init__(self, filters: Filters, sees: Collection[str]) -> None:
        self._by_listener = "arrived" in sees
        self._by_port = not self._by_listener and "unseen" in sees
        self._sees = sees
        self._all_counted = not filters.pids
        self._accounts: dict[int | Port, Account] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._unseen: dict[Port, int] = {}
        self._rowless = False
        self._ports_told: dict[Port, int] = {}  # and how many listeners each has

    def update(
        self,
        listeners: Listeners,
        counts: Counts,
        acceptors: Collection[AcceptorCount],
        after: Passed | None,
        began_us: int,
        now_us: int,
    ) -> None:
        """Check everything. `after`: read again after the queues; None: nothing passed since."""
        takers = _by_inode(acceptors)
        self._rowless = counts.losses.rowless
        self._verdicts = {}
        if self._by_port and self._all_counted:
            self._check_ports(listeners, counts, takers, after)
        for inode, known in listeners.known.items():
            mine = takers.get(inode, [])
            if self._by_listener:
                self._check_listener(inode, known, mine, after, began_us, now_us)
            elif self._by_port:
                self._judge_by_port(inode, known, mine)
            else:
                self._verdicts[inode] = Verdict(refused=self._refused(mine))

    def verdict(self, inode: int) -> Verdict:
        """What the last reading said of a socket."""
        return self._verdicts.get(inode) or Verdict()

    @property
    def unseen(self) -> int | None:
        """Accepts by somebody who cannot be seen; None where that is not told."""
        if self._by_listener:
            return 0 if "unseen" in self._sees else None
        if not (self._by_port and self._all_counted):
            return None
        return sum(self._unseen.values())

    def word(self, inodes: Iterable[int]) -> Book:
        """The worst of the verdicts on some sockets; of none, nothing is wrong."""
        words = [self.verdict(inode).book for inode in inodes]
        return max(words, key=lambda word: WORST[word], default="balanced")

    def _check_listener(
        self,
        inode: int,
        known: Known,
        takers: Collection[AcceptorCount],
        after: Passed | None,
        began_us: int,
        now_us: int,
    ) -> None:
        refused, account = self._refused(takers), self._account(inode, [known])
        book: Book = "unchecked"
        imbalance = start = mean = None
        told = self._all_counted and not self._may_lack(known)
        if told and known.queue is not None and not _mptcp(known):
            passage = _passage(known, takers, began_us, now_us)
            came, left = passage.came, passage.left
            imbalance = account.check(
                Span(came, after.came.get(inode, came) if after else came),
                Span(left, after.left.get(inode, left) if after else left),
                known.queue,
                len(takers),
            )
            book = "unbalanced" if imbalance else "balanced"
            start = account.start(_seen_at_start(known), *passage.start_bounds())
            mean = passage.mean_length(start)
        unseen = None if self._may_lack(known) else 0
        self._verdicts[inode] = Verdict(book, imbalance, unseen, start, mean, refused)

    def _check_ports(
        self,
        listeners: Listeners,
        counts: Counts,
        takers: Mapping[int, Collection[AcceptorCount]],
        after: Passed | None,
    ) -> None:
        came = {(port.netns, port.local_port): port.arrived for port in counts.ports}
        strayed = {(port.netns, port.local_port): port.strayed for port in counts.ports}
        at_port: defaultdict[Port, list[int]] = defaultdict(list)
        for inode, known in listeners.known.items():
            if known.facts is not None:
                at_port[known.facts.netns, known.facts.local_port].append(inode)
        self._ports_told = {}
        for port, inodes in at_port.items():
            there = [listeners.known[inode] for inode in inodes]
            queues = [known.queue for known in there]
            if None in queues or any(map(self._not_told, there)):
                continue
            mine = [taker for inode in inodes for taker in takers.get(inode, ())]
            left = sum(taker.accepts for taker in mine) + sum(map(_gone, there))
            left += strayed.get(port, 0)
            left_after = sum(after.left.get(inode, 0) for inode in inodes) if after else left
            left_after += after.strayed.get(port, 0) if after else 0
            arrived = came.get(port, 0)
            missing = self._account(port, there).check(
                Span(arrived, after.ports.get(port, arrived) if after else arrived),
                Span(left, max(left_after, left)),
                sum(queue or 0 for queue in queues),
                len(mine),
            )
            self._ports_told[port] = len(inodes)
            self._unseen[port] = max(missing, self._unseen.get(port, 0))

    def _judge_by_port(self, inode: int, known: Known, takers: Collection[AcceptorCount]) -> None:
        refused = self._refused(takers)
        port = (known.facts.netns, known.facts.local_port) if known.facts else (0, 0)
        if port not in self._ports_told:
            self._verdicts[inode] = Verdict(refused=refused)
            return
        alone = self._ports_told[port] == 1
        surplus = min(self._accounts[port].imbalance, 0)
        self._verdicts[inode] = Verdict(
            book="unbalanced" if surplus else "balanced",
            imbalance=surplus,
            unseen=self._unseen.get(port, 0) if alone else None,
            refused=refused,
        )

    def _may_lack(self, known: Known) -> bool:
        """Whether something may have passed that was not counted, for want of a row."""
        return self._rowless and known.counted is None

    def _not_told(self, known: Known) -> bool:
        return _mptcp(known) or _maybe_moved(known) or self._may_lack(known)

    def _account(self, key: int | Port, listeners: Iterable[Known]) -> Account:
        """A new one: what can have waited at the start is bounded."""
        if key not in self._accounts:
            bounds = [_most_at_start(known) for known in listeners]
            self._accounts[key] = Account(high=sum(bounds))
        return self._accounts[key]

    def _refused(self, takers: Iterable[AcceptorCount]) -> int | None:
        if "refused" not in self._sees:
            return None
        return sum(map(_refusals_of, takers))


def _refusals_of(taker: AcceptorCount) -> int:
    if taker.refused is not None:
        return taker.refused
    return sum((taker.errors or {}).get(number, 0) for number in _REFUSALS)


def _by_inode(acceptors: Iterable[AcceptorCount]) -> Mapping[int, list[AcceptorCount]]:
    found: defaultdict[int, list[AcceptorCount]] = defaultdict(list)
    for acceptor in acceptors:
        found[acceptor.listener_inode].append(acceptor)
    return found


def _gone(known: Known) -> int:
    """Left other than by accept() of somebody who has a row."""
    flow = known.flow or _NOTHING
    uncounted = known.counted.uncounted if known.counted else 0
    return (flow.lost or 0) + (flow.migrated_out or 0) + uncounted


def _mptcp(known: Known) -> bool:
    """Further subflows of a connection arrive too, and are never queued."""
    return known.counted is not None and known.counted.mptcp


def _maybe_moved(known: Known) -> bool:
    return known.flow is not None and known.flow.lost is None


def _passage(
    known: Known, takers: Collection[AcceptorCount], began_us: int, now_us: int
) -> Passage:
    since_us = began_us + round(known.since_s * 1e6)
    until_us = now_us if known.until_s is None else began_us + round(known.until_s * 1e6)
    flow = known.flow or _NOTHING
    told = not any(taker.wait_unknown for taker in takers)
    return Passage(
        began_us=since_us if known.met_late else began_us,
        now_us=max(until_us, since_us),
        came=(flow.arrived or 0) + (flow.migrated_in or 0),
        left=sum(taker.accepts for taker in takers) + _gone(known),
        came_us=flow.came_us,
        left_us=sum(taker.left_us for taker in takers) + flow.left_us,
        waited_us=sum(taker.waited_us for taker in takers) + flow.waited_us if told else None,
        carried_us=flow.carried_us,
        oldest_us=max([began_us, *(taker.ready_us for taker in takers)]),
    )


def _seen_at_start(known: Known) -> int:
    """By the kernel side when it first counted something; while it has not, all still waits."""
    seen = known.counted.queue_start if known.counted else known.queue
    return seen or 0


def _most_at_start(known: Known) -> int:
    """Nothing waited on a socket that was not there yet."""
    if known.met_late:
        return 0
    backlog = known.listed.backlog if known.listed else None
    return 1 << 32 if backlog is None else backlog + 1
