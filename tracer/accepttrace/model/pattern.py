"""In which order those who share accept: a word, and the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from accepttrace.facts.records import Order
from accepttrace.model.verdict import DOUBLED, EFFECT, SELDOM, counted

PatternWord = Literal["LIFO", "ROUND ROBIN", "BURSTY", "OTHER", "NONE"]
PATTERNS: Final[tuple[PatternWord, ...]] = ("LIFO", "ROUND ROBIN", "BURSTY", "OTHER", "NONE")
NEARLY_ALL: Final = 0.9  # of the accepts, by one
MOSTLY: Final = 0.5  # of the accepts, after the same one as the last time
KNOWN: Final = 0.9  # of the accepts must have a place in the order
LISTED: Final = 64  # members that are listed, of those with the most accepts


class Turn(NamedTuple):
    """A member of a sharing set, and after whom it accepted: see `facts.records.Placing`.

    Without `pid` and `inode`: so many `workers` that are gone, together.
    """

    pid: int | None
    inode: int | None
    accepts: int
    placed: int
    again: int
    steady: int
    workers: int = 1


class Run(NamedTuple):
    """So many runs of `low` to `high` accepts."""

    low: int
    high: int
    runs: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the order of all accepts since the start says; `word` None: nothing.

    `mean_run`: accepts in a row, where those without a place count as new runs; `chance_run`: that
    of independent draws with the same shares; `chance_steady`: their `steady` / `accepts`. `p`: the
    probability that such draws ever look so much unlike themselves, however often one looks.
    `raced`: accepts on several CPUs at a time, which have no place. `runs`: those that have ended,
    and the last one. `turns`: who took how many, and after whom; the first of them.
    """

    word: PatternWord | None
    text: str
    accepts: int
    placed: int
    again: int
    steady: int
    largest: int  # accepts of the one that took most
    mean_run: float | None = None
    chance_run: float | None = None
    chance_steady: float | None = None
    p: float | None = None
    raced: int | None = None
    runs: tuple[Run, ...] = ()
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A sharing set. `hidden`: why not all of its accepts are in the order; empty: they are."""

    turns: Sequence[Turn]
    order: Order | None
    group: bool = False
    hidden: str = ""


def read(seen: Seen) -> Pattern | None:
    """None where nobody shares, or nothing was noted."""
    members = sum(turn.workers for turn in seen.turns)
    if members < 2 or not any(turn.accepts for turn in seen.turns):
        return None
    facts = _facts(seen.turns)
    word, text = _word(facts, seen)
    return Pattern(
        *(word, text, facts.accepts, facts.placed, facts.again, facts.steady, facts.largest),
        mean_run=facts.mean_run,
        chance_run=facts.chance_run,
        chance_steady=facts.chance_steady,
        p=facts.p_turns if word in ("ROUND ROBIN", "OTHER") else facts.p_runs,
        raced=seen.order.raced if seen.order else None,
        runs=_runs(seen.order),
        turns=tuple(sorted(seen.turns, key=lambda turn: -turn.accepts)[:LISTED]),
    )


class _Facts(NamedTuple):
    members: int
    accepts: int
    placed: int
    again: int
    steady: int
    largest: int
    mean_run: float
    chance_run: float
    chance_steady: float
    p_runs: float
    p_turns: float

    @property
    def is_even(self) -> bool:
        """Whether nobody took much more than its share."""
        return self.largest * self.members < EFFECT * self.accepts

    @property
    def is_steady(self) -> bool:
        """Whether more come after the same one as the last time than chance explains."""
        more = self.steady >= EFFECT * self.chance_steady * self.accepts
        return more and self.p_turns <= SELDOM

    @property
    def runs_long(self) -> bool:
        """Whether runs are longer than chance explains."""
        return self.p_runs <= SELDOM and self.mean_run >= EFFECT * self.chance_run

    @property
    def runs_short(self) -> bool:
        """The same of shorter ones."""
        return self.p_runs <= SELDOM and self.chance_run >= EFFECT * self.mean_run


def _facts(turns: Sequence[Turn]) -> _Facts:
    """Of all members together, beside what chance would make of the same shares."""
    from accepttrace.model.stats import order

    takers = [
        order.Taker(turn.accepts, turn.placed, turn.again, turn.steady, turn.workers)
        for turn in turns
    ]
    accepts = sum(turn.accepts for turn in turns)
    again = sum(turn.again for turn in turns)
    by_runs, by_turns = order.log_runs(takers), order.log_turns(takers)
    return _Facts(
        members=sum(turn.workers for turn in turns),
        accepts=accepts,
        placed=sum(turn.placed for turn in turns),
        again=again,
        steady=sum(turn.steady for turn in turns),
        largest=max(turn.accepts for turn in turns),
        mean_run=accepts / (accepts - again),
        chance_run=accepts / order.chance_runs(takers),
        chance_steady=order.chance_steady(takers),
        p_runs=order.p_always(by_runs),
        p_turns=order.p_always(by_runs, by_turns),
    )


def _word(facts: _Facts, seen: Seen) -> tuple[PatternWord | None, str]:
    from accepttrace.model.stats.power import connections_needed

    needed = connections_needed(facts.members, DOUBLED)
    why = seen.hidden or _unplaced(facts)
    if why:
        return None, f"no pattern is named: {why}"
    runs = f"runs of {facts.mean_run:,.1f} on average, by chance {facts.chance_run:,.1f}"
    if not seen.group and facts.accepts >= needed and facts.largest >= NEARLY_ALL * facts.accepts:
        part = f"LIFO: one took {facts.largest / facts.accepts:.1%}"
        return "LIFO", part if facts.largest == facts.accepts else f"{part}; {runs}"
    if facts.runs_long:
        return "BURSTY", f"BURSTY: {runs}"
    steady = f"{facts.steady / facts.accepts:.1%} came after the same one as the last time"
    steady += f", by chance {facts.chance_steady:.1%}"
    if facts.is_steady and facts.is_even and facts.steady >= MOSTLY * facts.accepts:
        return "ROUND ROBIN", f"ROUND ROBIN: {steady}"
    if facts.is_steady or facts.runs_short:
        return "OTHER", f"another pattern: {steady}; {runs}"
    if facts.accepts < needed:
        return None, f"no pattern is named: about {needed:,} connections show one"
    return "NONE", f"no pattern: {runs}"


def _unplaced(facts: _Facts) -> str:
    """Why so few have a place that nothing can be said; empty: enough do."""
    if facts.placed >= KNOWN * (facts.accepts - 1):
        return ""
    return f"{counted(facts.accepts - facts.placed, 'accept')} without a place in the order"


def _runs(order: Order | None) -> tuple[Run, ...]:
    if order is None:
        return ()
    runs = list(order.runs)
    if order.run:
        runs[min(order.run.bit_length(), len(runs)) - 1] += 1
    return tuple(Run(1 << n, (2 << n) - 1, number) for n, number in enumerate(runs) if number)
