"""The books of every listener: what came, what left, what waits, and whether that agrees."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

from accepttrace.config import Filters
from accepttrace.facts.records import (
    BOOKS,
    US_PER_S,
    AcceptorCount,
    Book,
    Counts,
    Flow,
    Passed,
    PortCount,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.books import Account, Passage, Span
from accepttrace.model.entries import Entry
from accepttrace.model.listeners import Known, Listeners, Socket, Verdict

Port = tuple[int, int]  # network namespace and local port
_NOTHING: Final = Flow(0, 0, 0, 0, 0)
_REFUSALS: Final = (errno.EMFILE, errno.ENFILE)
LATELY_S: Final = 2.0  # a thread that did nothing for longer is not inside a call


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the books are checked against. `after`: what passed, read again after the queues;
    None: nothing since. Times: µs, CLOCK_MONOTONIC."""

    counts: Counts
    after: Passed | None
    began_us: int
    now_us: int


@dataclass(slots=True)
class Side:
    """Who accepted from one listener. `active`: so many may be inside accept() now."""

    counts: list[AcceptorCount] = field(default_factory=list)
    active: int = 0

    @property
    def accepts(self) -> int:
        """Of all of them."""
        return sum([count.accepts for count in self.counts])


class Reconciler:
    """Checks the books at each reading and keeps the verdicts.

    Where arrivals are known by listener, each has an account of its own. Where they are known by
    port alone, an account is a port's, and what is missing there was accepted unseen,
    except for what the tracer itself lost.
    """

    def __init__(self, filters: Filters, sees: Sight) -> None:
        self._by_listener = sees.arrived
        self._by_port = not self._by_listener and sees.unseen
        self._sees = sees
        # By address some listeners of a port are left out, but none of what came to it.
        self._all_counted = not (filters.pids or filters.addresses)
        self._only_ipv4 = filters.family == "ipv4"
        self._accounts: dict[int | Port, Account] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._missing: dict[Port, int] = {}
        self._missing_before = 0  # at ports that are no more
        self._ports_known: dict[Port, int] = {}  # and how many listeners each has
        self._folded: dict[Port, int | None] = {}  # what left listeners that are gone; None: n/a
        self._came = Arrivals()
        self._lost = 0
        self._rowless = False
        self.idle_ports: tuple[Port, ...] = ()  # that were let go: the kernel's counts may go too

    def update(self, listeners: Listeners, entries: Iterable[Entry], evidence: Evidence) -> None:
        """Check everything."""
        sides = _sides(entries, evidence.now_us)
        self._lost, self._rowless = evidence.counts.losses.total, evidence.counts.losses.rowless
        if self._by_port:
            self._check_ports(listeners, sides, evidence)
        for inode, known in listeners.known.items():
            if inode in listeners.finished:
                continue
            side = sides.get(inode) or Side()
            if known.counted is None and not side.counts and self._is_idle(inode, known):
                continue
            if self._by_listener:
                self._check_listener(inode, known, side, evidence)
            elif self._by_port:
                self._judge_by_port(inode, known, side)
            else:
                self._verdicts[inode] = Verdict(refused=self._refused(side.counts))
            if known.queue or known.queues:
                self._note_wait(inode, known, side, evidence)

    def _is_idle(self, inode: int, known: Known) -> bool:
        """Whether nothing ever came, so that no reading says more than the last one."""
        verdict, account = self.verdict(inode), self._accounts.get(inode)
        if account is None or known.queue or known.queues or self._rowless:
            return False
        return verdict.mean == 0 and verdict.book == "balanced" and account.is_exact

    def _note_wait(self, inode: int, known: Known, side: Side, evidence: Evidence) -> None:
        left = side.accepts + _gone(known)
        left_after = _left_after(inode, known, evidence.after, left)
        oldest = known.oldest_us(left, left_after, evidence.now_us)
        verdict = self._verdicts[inode]
        hidden = bool(verdict.unseen) or (self._by_port and verdict.unseen is None)
        self._verdicts[inode] = verdict._replace(oldest_us=None if hidden else oldest)

    def verdict(self, inode: int) -> Verdict:
        """What the last reading said of a socket."""
        return self._verdicts.get(inode) or Verdict()

    def drop(self, inode: int, known: Known, accepts: int) -> None:
        """A listener is closed for good and was summed up."""
        self._verdicts.pop(inode, None)
        self._accounts.pop(inode, None)
        if self._by_port:
            port = _port_of(known)
            before = self._folded.get(port, 0)
            known_all = before is not None and not (
                _mptcp(known) or _maybe_moved(known) or self._serves_others(known)
            )
            self._folded[port] = (before or 0) + accepts + _gone(known) if known_all else None

    def may_have_passed(self, known: Known) -> bool:
        """Whether something may have come to a listener that nothing was counted of."""
        if self._by_listener:
            return self._may_lack(known)
        return not self._by_port or self._came.last(_port_of(known)) > 0

    @property
    def unseen(self) -> int | None:
        """Accepts that cannot be seen; None where that is not known."""
        if self._by_listener:
            return 0 if self._sees.unseen else None
        if not (self._by_port and self._all_counted):
            return None
        return max(self._missing_before + sum(self._missing.values()) - self._lost, 0)

    @property
    def unseen_at_least(self) -> bool:
        """Whether more may have been: what was under way hides as many."""
        accounts = [self._accounts[port] for port in self._ports_known]
        return bool(self._by_port) and not all(account.is_exact for account in accounts)

    @property
    def quiet(self) -> bool:
        """Whether nothing came or left between the last two readings."""
        return all(account.quiet for account in self._accounts.values())

    def word(self, books: Iterable[Book], lost: int) -> Book:
        """The worst of the verdicts; not balanced where something is known to be missing.

        `lost`: by the tracer, as of its newest counts, which may be newer than the last check.
        """
        worst: Book = max(books, key=BOOKS.index, default="balanced")
        doubtful = lost or self.unseen
        return "unchecked" if worst == "balanced" and doubtful else worst

    def _check_listener(self, inode: int, known: Known, side: Side, evidence: Evidence) -> None:
        refused, account = self._refused(side.counts), self._account(inode, [known])
        book: Book = "unchecked"
        imbalance = start = mean = None
        checkable = self._all_counted and not self._may_lack(known)
        if checkable and known.queue is not None and not _mptcp(known):
            passage = _passage(known, side, evidence)
            came, left, after = passage.came, passage.left, evidence.after
            imbalance = account.check(
                Span(came, after.came.get(inode, came) if after else came),
                Span(left, _left_after(inode, known, after, left)),
                known.queue,
                side.active,
            )
            book = "unbalanced" if imbalance else "balanced"
            start = account.start(_seen_at_start(known), *passage.start_bounds())
            mean = None if _without_row(known) else passage.mean_length(start)
        unseen = None if self._may_lack(known) else 0
        self._verdicts[inode] = Verdict(book, imbalance, unseen, start, mean, refused)

    def _check_ports(
        self, listeners: Listeners, sides: Mapping[Socket, Side], evidence: Evidence
    ) -> None:
        counted = {(port.netns, port.local_port): port for port in evidence.counts.ports}
        came = self._came.at({port: one.arrived for port, one in counted.items()})
        new = _left_of_new(listeners.known, evidence.after)
        at_port: defaultdict[Port, list[int]] = defaultdict(list)
        for inode, known in listeners.known.items():
            at_port[_port_of(known)].append(inode)
        self._ports_known = {}
        for port, inodes in at_port.items() if self._all_counted else ():
            there = [listeners.known[inode] for inode in inodes]
            hidden = self._folded.get(port, 0) is None or None in [one.queue for one in there]
            if hidden or any(map(self._is_hidden, there)):
                continue
            mine = [sides.get(inode) or Side() for inode in inodes]
            left = [side.accepts + _gone(known) for side, known in zip(mine, there, strict=True)]
            later = map(_left_after, inodes, there, repeat(evidence.after), left)
            folded, arrived = self._folded.get(port) or 0, came.get(port, 0)
            aside = _aside(port, counted.get(port), evidence.after)
            account = self._account(port, there)
            account.doubt = counted[port].late if port in counted else 0
            missing = account.check(
                Span(arrived, self._came.after(port, evidence.after, arrived)),
                Span(
                    sum(left) + folded + aside.before, sum(later) + folded + aside.after + new[port]
                ),
                sum(known.queue or 0 for known in there),
                sum(side.active for side in mine),
            )
            self._ports_known[port] = len(inodes)
            self._missing[port] = max(missing, self._missing.get(port, 0))
        self.idle_ports = tuple(self._came.idle(at_port))
        untouched = self._folded.keys() - at_port.keys() - came.keys()
        for port in (*self.idle_ports, *untouched):
            self._missing_before += self._missing.pop(port, 0)
            self._accounts.pop(port, None)
            self._folded.pop(port, None)

    def _judge_by_port(self, inode: int, known: Known, side: Side) -> None:
        refused = self._refused(side.counts)
        port = _port_of(known)
        if port not in self._ports_known:
            self._verdicts[inode] = Verdict(refused=refused)
            return
        missing = self._missing[port]
        unseen = max(missing - self._lost, 0)  # what the tracer lost is reported as that
        imbalance = min(self._accounts[port].imbalance, 0) or missing - unseen
        book: Book = "unbalanced" if imbalance else "unchecked" if unseen else "balanced"
        alone = self._ports_known[port] == 1
        self._verdicts[inode] = Verdict(book, imbalance, unseen if alone else None, refused=refused)

    def _may_lack(self, known: Known) -> bool:
        """Whether something may have passed that was not counted, for want of a row."""
        return self._rowless and known.counted is None

    def _is_hidden(self, known: Known) -> bool:
        return (
            _mptcp(known)
            or _maybe_moved(known)
            or self._may_lack(known)
            or self._serves_others(known)
        )

    def _serves_others(self, known: Known) -> bool:
        """Whether clients come to it whose family was not asked for: they count at no port."""
        return self._only_ipv4 and known.facts.local_address == "::"

    def _account(self, key: int | Port, listeners: Iterable[Known]) -> Account:
        """A new one: what can have waited at the start is bounded."""
        if key not in self._accounts:
            bounds = [_most_at_start(known) for known in listeners]
            self._accounts[key] = Account(high=sum(bounds))
        return self._accounts[key]

    def _refused(self, takers: Iterable[AcceptorCount]) -> int | None:
        if not self._sees.refused:
            return None
        return sum(map(_refusals_of, takers))


class Arrivals:
    """Counters by port that go on where the kernel's own row was let go and began anew."""

    def __init__(self) -> None:
        self._before: dict[Port, int] = {}
        self._last: dict[Port, int] = {}
        self._still: set[Port] = set()  # where nothing came since the reading before

    def at(self, came: Mapping[Port, int]) -> dict[Port, int]:
        """Since the start, by what is read now."""
        for port, last in self._last.items():
            if came.get(port, 0) < last:
                self._before[port] = self._before.get(port, 0) + last
        self._still = {port for port, number in came.items() if self._last.get(port) == number}
        self._last = dict(came)
        return {port: self._before.get(port, 0) + number for port, number in came.items()}

    def last(self, port: Port) -> int:
        """As it was read last."""
        return self._last.get(port, 0)

    def idle(self, at_port: Collection[Port]) -> list[Port]:
        """Forget, and return, ports without a listener to which nothing comes."""
        idle = [port for port in self._still if port not in at_port]
        gone = [port for port in self._before if port not in self._last and port not in at_port]
        for port in (*idle, *gone):
            self._before.pop(port, None)
            self._last.pop(port, None)
        return idle

    def after(self, port: Port, after: Passed | None, now: int) -> int:
        """The same read again a little later; `now`: as it was read before."""
        if after is None or port not in after.ports:
            return now
        return self._before.get(port, 0) + after.ports[port].arrived


def _sides(entries: Iterable[Entry], now_us: int) -> Mapping[Socket, Side]:
    found: defaultdict[Socket, Side] = defaultdict(Side)
    for entry in entries:
        count = entry.count
        if count is None:
            continue
        side = found[entry.socket]
        side.counts.append(count)
        lately = now_us - entry.active_s * US_PER_S <= LATELY_S * US_PER_S
        side.active += not entry.ended and (lately or entry.waits is True)
    return found


def _left_after(inode: int, known: Known, after: Passed | None, left: int) -> int:
    """What had left when it was read again; rows that were let go are not in that evidence."""
    if after is None or inode not in after.left:
        return left
    return max(after.left[inode] + known.forgotten, left)


def _left_of_new(known: Collection[Socket], after: Passed | None) -> Mapping[Port, int]:
    """What left listeners that came up since the counts were read, and may be gone again."""
    found: defaultdict[Port, int] = defaultdict(int)
    if after is not None:
        for inode in after.places.keys() - known:
            found[after.places[inode]] += after.left.get(inode, 0)
    return found


def _aside(port: Port, now: PortCount | None, after: Passed | None) -> Span:
    """What left a port by no listener of it."""
    least = now.strayed + now.unmade if now else 0
    later = after.ports.get(port) if after else None
    return Span(least, max(later.strayed + later.unmade, least) if later else least)


def _port_of(known: Known) -> Port:
    return known.facts.netns, known.facts.local_port


def _refusals_of(taker: AcceptorCount) -> int:
    if taker.refused is not None:
        return taker.refused
    return sum((taker.errors or {}).get(number, 0) for number in _REFUSALS)


def _gone(known: Known) -> int:
    """Left other than by accept()."""
    flow = known.flow or _NOTHING
    return (flow.lost or 0) + (flow.migrated_out or 0)


def _mptcp(known: Known) -> bool:
    """Further subflows of a connection arrive too, and are never queued."""
    return known.counted is not None and known.counted.mptcp


def _without_row(known: Known) -> bool:
    return known.counted is not None and bool(known.counted.uncounted)


def _maybe_moved(known: Known) -> bool:
    return known.flow is not None and known.flow.lost is None


def _passage(known: Known, side: Side, evidence: Evidence) -> Passage:
    since_us = evidence.began_us + round(known.since_s * US_PER_S)
    now_us = evidence.now_us
    until_us = (
        now_us if known.until_s is None else evidence.began_us + round(known.until_s * US_PER_S)
    )
    flow = known.flow or _NOTHING
    waits_us = None
    if not any(count.wait_unknown for count in side.counts):
        waits_us = flow.waited_us + sum(count.waited_us for count in side.counts)
    return Passage(
        began_us=since_us if known.met_late else evidence.began_us,
        now_us=max(until_us, since_us),
        came=(flow.arrived or 0) + (flow.migrated_in or 0),
        left=side.accepts + _gone(known),
        came_us=flow.came_us,
        left_us=flow.left_us + sum(count.left_us for count in side.counts),
        waited_us=waits_us,
        carried_us=flow.carried_us,
        oldest_us=max([evidence.began_us, *(count.ready_us for count in side.counts)]),
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
