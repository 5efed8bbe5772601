"""Who did what on which listener: the grain that rows of every kind are summed from."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from accepttrace.facts.records import AcceptorCount, Locality, Placing, Via
from accepttrace.model.census import ProcessKey
from accepttrace.model.histogram import add
from accepttrace.model.listeners import SetKey, Socket

_WRAP: Final = 1 << 64


class Bygone(NamedTuple):
    """Processes that ended, by what they were called. `kept`: the filters let them through."""

    name: str
    kept: bool


Actor = ProcessKey | Bygone
Key = Hashable
Thread = tuple[int, int]  # tid and start (ns)
SEVERAL: Final[Thread] = (0, 0)  # threads that ended, together


@dataclass(slots=True, eq=False)
class Entry:
    """A thread that called accept() on a listener, or several of them that ended, or one that
    only waits there (`thread` None).

    `waits`: None if it is not known whether connections can reach it at all. `left`: its process
    is alive, and holds the listener no more. `ended`: so many threads that ended; 0: one that may
    be alive. `workers`: so many processes, by now only known by their program. `waited`: it did
    when the yardstick was last put to it. `fresh`: accepts that the yardstick has not taken in yet.
    `barred`: not everybody with whom it shared was counted.
    """

    socket: Socket
    process: Actor
    thread: Thread | None = None
    count: AcceptorCount | None = None
    members: SetKey = ()
    waits: bool | None = None
    waited: bool = False
    left: bool = False
    ended: int = 0
    workers: int = 0
    interval: int = 0
    fresh: int = 0
    barred: bool = False
    active_s: float = 0.0  # when it last accepted, or asked for something to accept

    @property
    def accepts(self) -> int:
        """Since the start."""
        return self.count.accepts if self.count else 0

    @property
    def takes_part(self) -> bool:
        """Whether it could have taken connections of its set."""
        return self.accepts > 0 or self.waits is True

    def advance(self, count: AcceptorCount, now_s: float) -> int:
        """Take in a later reading; returns the accepts since. A smaller one is a broken one."""
        before = self.count
        taken = count.accepts - (before.accepts if before else 0)
        if taken < 0:
            return 0
        if taken or before is None or count.empty != before.empty or count.errors != before.errors:
            self.active_s = now_s
        self.count = count
        self.interval += taken
        self.fresh += taken
        return taken

    def absorb(self, other: Entry) -> None:
        """Stand for another one as well, whose threads have ended."""
        if other.count is not None:
            self.count = plus(self.count, other.count) if self.count else other.count
        self.ended += max(other.ended, 1)
        self.workers += max(other.workers, 1) if isinstance(self.process, Bygone) else 0
        self.interval += other.interval
        self.fresh += other.fresh
        self.barred = self.barred or other.barred
        self.active_s = max(self.active_s, other.active_s)


def plus(one: AcceptorCount, other: AcceptorCount) -> AcceptorCount:
    """The counters of both together, under the name of the first."""
    return replace(
        one,
        accepts=one.accepts + other.accepts,
        empty=_sum(one.empty, other.empty),
        errors=_errors(one, other),
        wait_us=add(one.wait_us, other.wait_us),
        wait_max_us=max(one.wait_max_us, other.wait_max_us),
        wait_unknown=one.wait_unknown + other.wait_unknown,
        wasted=_sum(one.wasted, other.wasted),
        via=_via(one, other),
        refused=_sum(one.refused, other.refused),
        left_us=(one.left_us + other.left_us) % _WRAP,
        waited_us=one.waited_us + other.waited_us,
        ready_us=max(one.ready_us, other.ready_us),
        locality=localities((one.locality, other.locality)),
        clients=one.clients | other.clients,
        placing=placings((one.placing, other.placing)),
    )


def localities(found: Iterable[Locality | None]) -> Locality | None:
    """All that are known, added up."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    return Locality(sum(one.local for one in known), sum(one.accepts for one in known))


def placings(found: Iterable[Placing | None]) -> Placing | None:
    """All that are known, added up."""
    known = [one for one in found if one is not None]
    return Placing(*map(sum, zip(*known, strict=True))) if known else None


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _errors(one: AcceptorCount, other: AcceptorCount) -> dict[int, int] | None:
    if one.errors is None or other.errors is None:
        return None
    errors = dict(one.errors)
    for number, times in other.errors.items():
        errors[number] = errors.get(number, 0) + times
    return errors


def _via(one: AcceptorCount, other: AcceptorCount) -> Via | None:
    ways = {count.via for count in (one, other) if count.accepts}
    return ways.pop() if len(ways) == 1 else None
