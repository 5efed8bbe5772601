"""What a script may require of a run, and whether it held.

A condition that cannot be judged, for want of connections or because something was not seen, has
neither held nor failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from accepttrace.facts.records import US_PER_S
from accepttrace.model.verdict import FAULTS, counted

if TYPE_CHECKING:
    from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot, Verdict

Unit = Literal["share", "ratio", "us", "count", "word"]
Name = Literal[
    "fair",
    "max-share",
    "max-ratio",
    "min-workers",
    "max-wait",
    "max-queue",
    "no-loss",
    "expect",
    "max-open-ratio",
    "min-local",
    "pattern",
]
UNITS: Final[Mapping[Name, Unit]] = {
    "fair": "word",
    "max-share": "share",
    "max-ratio": "ratio",
    "min-workers": "count",
    "max-wait": "us",
    "max-queue": "count",
    "no-loss": "count",
    "expect": "word",
    "max-open-ratio": "ratio",
    "min-local": "share",
    "pattern": "word",
}
EVEN: Final = ("FAIR", "ROUND ROBIN")
UNJUDGED: Final = ("INCOMPLETE", "TOO FEW")  # of ONE ACCEPTOR it depends on how many wait
# Connections that nobody saw change nothing here: read from sockets, or judged by the verdict.
SOUND: Final = ("fair", "expect", "max-open-ratio")


@dataclass(frozen=True, slots=True)
class Condition:
    """`allowed`: in the unit of UNITS; `asked`: the same as it was written, with its quantile.

    `quantile` (0..1): of max-wait; 1 is the longest wait.
    """

    name: Name
    allowed: float | str
    asked: str = ""
    quantile: float = 1.0

    @property
    def option(self) -> str:
        """As on the command line."""
        return f"--{self.name} {self.asked}".rstrip()


@dataclass(frozen=True, slots=True)
class Outcome:
    """`held` None: it could not be judged. `measured` None: there is no such number.

    `text`: what it rests on, with names as processes chose them. `certain`: nothing that comes
    later changes it.
    """

    condition: Condition
    held: bool | None
    measured: float | str | None
    text: str
    certain: bool = False


def judge(conditions: Iterable[Condition], snapshot: Snapshot) -> tuple[Outcome, ...]:
    """Of a picture whose rows are processes, in the same order."""
    missing = _missing(snapshot)
    return tuple(_sound(_JUDGES[one.name](one, snapshot), missing) for one in conditions)


def result(outcomes: Sequence[Outcome]) -> bool | None:
    """Whether all held; False as soon as one fails, None where one could not be judged."""
    if any(one.held is False for one in outcomes):
        return False
    return None if any(one.held is None for one in outcomes) else True


def decided(outcomes: Sequence[Outcome]) -> bool:
    """Whether the result is certain before the end: one has failed for good."""
    return any(one.held is False and one.certain for one in outcomes)


def _sound(outcome: Outcome, missing: str) -> Outcome:
    """Nothing is concluded from counts that are lower bounds, but what they are enough for."""
    condition = outcome.condition
    enough = condition.name == "min-workers" and outcome.held
    if not missing or outcome.certain or enough or condition.name in SOUND:
        return outcome
    return replace(
        outcome, held=None, text=f"{outcome.text}; {missing}" if outcome.text else missing
    )


def _missing(snapshot: Snapshot) -> str:
    """What nobody counted, in words; empty: nothing."""
    books = snapshot.books
    if books.losses.total:
        return f"INCOMPLETE: {counted(books.losses.total, 'event')} lost by the tracer"
    if not books.balanced:
        return "INCOMPLETE: the books do not balance"
    return f"INCOMPLETE: {counted(books.unseen, 'accept')} not seen" if books.unseen else ""


def _fair(condition: Condition, snapshot: Snapshot) -> Outcome:
    """The verdicts: the gravest decides, those of sets with too few connections do not."""
    verdicts = snapshot.verdicts
    if not verdicts:
        return Outcome(condition, None, None, _nobody(snapshot))
    first = verdicts[0].finding
    bad = [one.finding for one in verdicts if _is_unfair(one)]
    if bad:
        # Whatever may come: the evidence holds however often one looks.
        certain = bad[0].word == "UNEVEN" and bad[0].p is not None
        return Outcome(condition, False, bad[0].word, bad[0].text, certain)
    words = {one.finding.word for one in verdicts}
    even = next((one.finding for one in verdicts if one.finding.word in EVEN), None)
    if even is None or "INCOMPLETE" in words:
        return Outcome(condition, None, first.word, first.text)
    return Outcome(condition, True, even.word, even.text)


def _is_unfair(verdict: Verdict) -> bool:
    finding = verdict.finding
    return finding.word in FAULTS or (finding.word == "ONE ACCEPTOR" and finding.members > 1)


def _max_ratio(condition: Condition, snapshot: Snapshot) -> Outcome:
    """The worst of all sharing sets decides."""
    found = [_ratio_of_set(condition, one, snapshot) for one in snapshot.verdicts]
    if not found:
        return Outcome(condition, None, None, _nobody(snapshot))
    order = (False, True, None)
    return min(found, key=lambda one: (order.index(one.held), -_number(one.measured)))


def _ratio_of_set(condition: Condition, verdict: Verdict, snapshot: Snapshot) -> Outcome:
    finding = verdict.finding
    ratio = finding.ratio if finding.word != "STUCK" else _largest_ratio(snapshot)
    text = f"{finding.word}: {finding.text}"
    if ratio is None or finding.word in UNJUDGED:
        return Outcome(condition, None, ratio, text)
    if ratio <= _number(condition.allowed):
        return Outcome(condition, True, ratio, text)
    drawn = finding.p is not None
    if drawn and ratio <= (finding.chance_ratio or 0):
        return Outcome(condition, None, ratio, f"chance alone reaches it 1 time in 20; {text}")
    return Outcome(condition, False, ratio, text, certain=drawn and finding.word == "UNEVEN")


def _largest_ratio(snapshot: Snapshot) -> float | None:
    """By process: a set that is stuck has no verdict on its split."""
    ratios = [row.fair_ratio for row in snapshot.acceptors if row.fair_ratio is not None]
    return max(ratios, default=None)


def _max_share(condition: Condition, snapshot: Snapshot) -> Outcome:
    """Of all connections, what one process took."""
    rows = _sharing(snapshot)
    total, limit = snapshot.books.accepts, _number(condition.allowed)
    if not rows or not total:
        return Outcome(condition, None, None, _nobody(snapshot))
    top = max(rows, key=lambda row: row.accepts)
    share = top.accepts / total
    text = f"{_who(top)} took {top.accepts:,} of {total:,}"
    several = sum(row.accepts for row in snapshot.acceptors if row.pid is None)
    if share <= limit and several / total > limit:
        text = f"{several:,} of {total:,} by processes without a row of their own"
        return Outcome(condition, None, share, text)
    why = _undecided(snapshot, total, len(rows)) or _by_chance(snapshot, share, limit, len(rows))
    if why:
        return Outcome(condition, None, share, f"{text}; {why}")
    return Outcome(condition, share <= limit, share, text)


def _min_workers(condition: Condition, snapshot: Snapshot) -> Outcome:
    """Processes that are there and took at least one connection."""
    there = [row for row in _sharing(snapshot) if _is_there(row)]
    working = sum(1 for row in there if row.accepts)
    wanted = _number(condition.allowed)
    text = f"{working} of {counted(len(there), 'process', 'processes')} there took connections"
    if working >= wanted:
        return Outcome(condition, True, working, text)
    if not snapshot.listeners:
        return Outcome(condition, None, None, _nobody(snapshot))
    if any(row.pid is None and row.alive and row.accepts for row in snapshot.acceptors):
        return Outcome(condition, None, working, f"{text}, and others without a row of their own")
    # There may be as many, where not all holders could be read: the others took nothing.
    maybe = snapshot.partial or len(there) >= wanted
    members = max(len(there), round(wanted))
    why = _undecided(snapshot, snapshot.books.accepts, members) if maybe else ""
    return Outcome(condition, None if why else False, working, f"{text}; {why}" if why else text)


class _Waits(NamedTuple):
    """Of `connections`, at least `least` and at most `most` waited longer than is allowed."""

    connections: int
    least: int
    most: int


def _max_wait(condition: Condition, snapshot: Snapshot) -> Outcome:
    """All connections together; those that still wait have waited as long as they have by now."""
    from accepttrace.model.histogram import percentiles, rank

    histogram, longest = _all_waits(snapshot)
    waiting = [row for row in snapshot.listeners if row.queue and row.open]
    oldest = max((row.oldest_wait_us or 0 for row in waiting), default=0)
    longer = _longer_than(_number(condition.allowed), snapshot, histogram, longest)
    if not longer.connections:
        return Outcome(condition, None, None, _nobody(snapshot))
    permitted = longer.connections - rank(condition.quantile, longer.connections)
    held = True if longer.most <= permitted else False if longer.least > permitted else None
    bound = percentiles(histogram, [condition.quantile], longest)[0]
    if condition.quantile == 1.0 and (bound is None or oldest > bound):
        bound = oldest or bound
    parts = [f"{longer.connections:,} connections"]
    if waiting:
        number = sum(row.queue or 0 for row in waiting)
        since = f", the first for {oldest / 1000:,.1f} ms" if oldest else ""
        parts.append(f"{number:,} still waiting{since}")
    if longer.most > longer.least:
        parts.append(f"{longer.least:,} to {longer.most:,} waited longer, {permitted:,} may")
    certain = condition.quantile == 1.0 and held is False
    return Outcome(condition, held, bound, "; ".join(parts), certain)


def _all_waits(snapshot: Snapshot) -> tuple[Sequence[int], int]:
    from accepttrace.model.histogram import add

    total: Sequence[int] = ()
    for row in snapshot.acceptors:
        total = add(total, row.wait_histogram)
    return total, max((row.wait_max_us or 0 for row in snapshot.acceptors), default=0)


def _longer_than(
    allowed_us: float, snapshot: Snapshot, histogram: Sequence[int], longest_us: int
) -> _Waits:
    from accepttrace.model.histogram import filled

    measured = filled(histogram)
    connections = max(snapshot.books.accepts, sum(count for _, _, count in measured))
    unmeasured = connections - sum(count for _, _, count in measured)
    least = sum(count for low, _, count in measured if low > allowed_us)
    most = sum(count for _, high, count in measured if min(high, longest_us) > allowed_us)
    least, most = max(least, longest_us > allowed_us), most + unmeasured
    for row in snapshot.listeners:
        if row.queue and row.open:
            connections += row.queue
            if _waited_at_most_us(row, snapshot, longest_us) > allowed_us:
                least, most = least + (row.oldest_wait_us is not None), most + row.queue
    return _Waits(connections, least, most)


def _waited_at_most_us(row: ListenerRow, snapshot: Snapshot, longest_us: int) -> float:
    """How long the first in a queue has waited by now, or no longer than that.

    Where it could not be read: it came after those that were accepted in this run.
    """
    if row.oldest_wait_us is not None:
        return row.oldest_wait_us
    return snapshot.elapsed_s * US_PER_S + longest_us if row.accepted else math.inf


def _max_queue(condition: Condition, snapshot: Snapshot) -> Outcome:
    """The longest queue of any listener, at any time."""
    rows = snapshot.listeners
    limit = _number(condition.allowed)
    known = [row for row in rows if row.queue_max is not None]
    if not known:
        return Outcome(condition, None, None, _nobody(snapshot))
    worst = max(known, key=lambda row: row.queue_max or 0)
    longest = worst.queue_max or 0
    text = f"socket {worst.inode}" if worst.inode else ""
    if longest > limit:
        return Outcome(condition, False, longest, text, certain=True)
    if len(known) < len(rows) or not all(_never_longer(row, limit) for row in rows):
        text = "seen at each refresh alone: it may have been longer between them"
        return Outcome(condition, None, longest, text)
    return Outcome(condition, True if _came(snapshot) else None, longest, _nobody(snapshot) or text)


def _never_longer(row: ListenerRow, limit: float) -> bool:
    """Watched all the time, or with a backlog that allows no more."""
    if row.queue_max_sampled:
        return row.capacity is not None and row.capacity <= limit
    return True


def _no_loss(condition: Condition, snapshot: Snapshot) -> Outcome:
    """By the rule of the header; a cause that could not be seen is no 0."""
    from accepttrace.model.losses import lost, verdict

    word = verdict(snapshot)
    shared = sum(one.packets for one in snapshot.namespace_losses if one.sure)
    number = sum(map(lost, snapshot.listeners)) + shared
    if word == "lost":
        text = _at_worst(snapshot) or f"{shared:,} packets at one of several listeners"
        return Outcome(condition, False, number, text, certain=True)
    if word == "unclear":
        text = "packets were dropped, and whether a client lost by that is not known"
        return Outcome(condition, None, None, text)
    unknown = sorted({name for row in snapshot.listeners for name in _not_seen(row)})
    if unknown:
        return Outcome(condition, None, None, f"not visible: {', '.join(unknown)}")
    if not _came(snapshot):
        return Outcome(condition, None, None, _nobody(snapshot))
    return Outcome(condition, True, 0, "nothing lost")


def _not_seen(row: ListenerRow) -> list[str]:
    """Causes that the attach type does not show; those of closing where it did close."""
    from accepttrace.model.losses import ATTEMPTS, OF_UNIX, ON_CLOSE

    closed = not row.open or row.epoch > 1
    causes = (*ATTEMPTS, *(ON_CLOSE if closed else ()))
    if row.family == "unix":
        causes = tuple(name for name in causes if name in OF_UNIX)
    return [name for name in causes if getattr(row, name) is None]


def _at_worst(snapshot: Snapshot) -> str:
    """Where most was lost."""
    from accepttrace.model.losses import lost

    row = max(snapshot.listeners, key=lost, default=None)
    if row is None or not lost(row):
        return ""
    place = f"socket {row.inode}" if row.inode else "sockets that closed"
    return f"{place} lost {lost(row):,}"


def _expect(condition: Condition, snapshot: Snapshot) -> Outcome:
    """How each open listener is shared."""
    rows = [row for row in snapshot.listeners if row.open]
    if not rows:
        return Outcome(condition, None, None, _nobody(snapshot))
    kinds = {row.sharing for row in rows}
    known = sorted(kind for kind in kinds if kind is not None)
    measured = " and ".join(known) or None
    text = counted(sum(max(row.folded, 1) for row in rows), "listener")
    if kinds == {condition.allowed}:
        return Outcome(condition, True, measured, text)
    # Whose holders could not all be read may be shared nevertheless.
    doubtful = None in kinds or (snapshot.partial and condition.allowed == "shared")
    others = {kind for kind in kinds if kind not in (condition.allowed, None)}
    if doubtful and others <= {"sole"}:
        return Outcome(condition, None, measured, f"{text}; not all holders could be read")
    return Outcome(condition, False, measured, text)


def _max_open_ratio(condition: Condition, snapshot: Snapshot) -> Outcome:
    """Connections held now: of the process that has most, to the mean."""
    rows = [row for row in _sharing(snapshot) if _is_there(row)]
    numbers = [row.open_connections for row in rows]
    known = [number for number in numbers if number is not None]
    if not rows or len(known) < len(numbers):
        why = "not known of every process" if rows else _nobody(snapshot)
        return Outcome(condition, None, None, why)
    total, top = sum(known), max(rows, key=lambda row: row.open_connections or 0)
    if not total or len(rows) < 2:
        why = f"{counted(total, 'connection')} open at {counted(len(rows), 'process', 'processes')}"
        return Outcome(condition, None, None, why)
    ratio = max(known) * len(rows) / total
    text = f"{_who(top)} holds {max(known):,} of {total:,}"
    needed = _needed(len(rows))
    if total < needed:
        return Outcome(
            condition, None, ratio, f"{text}; TOO FEW: about {needed:,} show a doubled share"
        )
    return Outcome(condition, ratio <= _number(condition.allowed), ratio, text)


def _min_local(condition: Condition, snapshot: Snapshot) -> Outcome:
    """Of all connections, those accepted on the CPU that had received them."""
    took = [row for row in snapshot.acceptors if row.accepts]
    known = [(row, row.local) for row in took if row.local is not None]
    total = sum(row.accepts for row, _ in known)
    if not total or total < snapshot.books.accepts:
        why = _nobody(snapshot) or "not known of every connection"
        return Outcome(condition, None, None, why)
    local = sum(row.accepts * part for row, part in known) / total
    worst, part = min(known, key=lambda one: one[1])
    text = f"{_who(worst)} has the least: {part:.1%} of {worst.accepts:,}"
    return Outcome(condition, local >= _number(condition.allowed), local, text)


def _pattern(condition: Condition, snapshot: Snapshot) -> Outcome:
    """The order of accepts in each sharing set: all have the same pattern."""
    found = [one.pattern for one in snapshot.verdicts if one.pattern is not None]
    if not found:
        return Outcome(condition, None, None, _nobody(snapshot) or "nobody shares")
    other = next((one for one in found if one.word not in (condition.allowed, None)), None)
    if other is not None:
        return Outcome(condition, False, other.word, other.text)
    unnamed = next((one for one in found if one.word is None), None)
    if unnamed is not None:
        return Outcome(condition, None, None, unnamed.text)
    return Outcome(condition, True, found[0].word, found[0].text)


def _sharing(snapshot: Snapshot) -> list[AcceptorRow]:
    """Processes that took a connection, or wait for one."""
    return [row for row in snapshot.acceptors if row.pid is not None and (row.accepts or row.waits)]


def _is_there(row: AcceptorRow) -> bool:
    return row.alive and not row.left


def _undecided(snapshot: Snapshot, connections: int, members: int) -> str:
    """Why so many connections over so many show nothing yet; empty: they do."""
    words = {one.finding.word for one in snapshot.verdicts}
    if members < 2 or words & {*FAULTS} or connections >= _needed(members):
        return ""
    return f"TOO FEW: about {_needed(members):,} show a doubled share"


def _by_chance(snapshot: Snapshot, share: float, limit: float, members: int) -> str:
    """Where an even share is allowed and this one is not: whether the hash alone reaches it."""
    from accepttrace.model.stats.power import chance_ratio

    drawn = all(one.finding.p is not None for one in snapshot.verdicts)
    if share <= limit or limit * members < 1 or not drawn or members < 2:
        return ""
    reached = chance_ratio(snapshot.books.accepts, members) / members
    return f"chance alone reaches {reached:.1%} 1 time in 20" if share <= reached else ""


def _needed(members: int) -> int:
    from accepttrace.model.stats.power import connections_needed
    from accepttrace.model.verdict import DOUBLED

    return connections_needed(members, DOUBLED)


def _came(snapshot: Snapshot) -> bool:
    """Whether there was any connection."""
    return bool(snapshot.books.accepts) or any(
        row.arrived or row.queue or row.queue_max for row in snapshot.listeners
    )


def _nobody(snapshot: Snapshot) -> str:
    """Why there is nothing to judge; empty: there is."""
    if not snapshot.listeners:
        return "nobody listens"
    return "" if _came(snapshot) else "nothing came"


def _who(row: AcceptorRow) -> str:
    return f"pid {row.pid} ({row.name})"


def _number(value: float | str | None) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


_JUDGES: Final[Mapping[Name, Callable[[Condition, Snapshot], Outcome]]] = {
    "fair": _fair,
    "max-share": _max_share,
    "max-ratio": _max_ratio,
    "min-workers": _min_workers,
    "max-wait": _max_wait,
    "max-queue": _max_queue,
    "no-loss": _no_loss,
    "expect": _expect,
    "max-open-ratio": _max_open_ratio,
    "min-local": _min_local,
    "pattern": _pattern,
}
