"""Was it fair? One word for each sharing set, with the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log10
from typing import Final, Literal, NamedTuple

Word = Literal[
    "INCOMPLETE",
    "STUCK",
    "UNEVEN",
    "IDLE WORKERS",
    "UNEVEN OPEN",
    "ONE ACCEPTOR",
    "TOO FEW",
    "ROUND ROBIN",
    "FAIR",
]
# The gravest first: of several sets the first word of these is that of the whole.
WORDS: Final[tuple[Word, ...]] = (
    *("INCOMPLETE", "STUCK", "UNEVEN", "IDLE WORKERS", "UNEVEN OPEN"),
    *("ONE ACCEPTOR", "ROUND ROBIN", "FAIR", "TOO FEW"),
)
FAULTS: Final[tuple[Word, ...]] = ("STUCK", "UNEVEN", "IDLE WORKERS", "UNEVEN OPEN")
EFFECT: Final = 1.2  # times the fair share: less is not worth a word, however certain
HELD: Final = 1.5  # the same of connections held now, which come and go more slowly
RARE: Final = 1e-3  # what chance alone does that seldom is not called chance
SELDOM: Final = 1e-2  # the same of a split against which there is evidence of another kind too
FALSE_ALARMS: Final = 0.05  # the part of all runs, however long, that may call a fair split uneven
EACH: Final = FALSE_ALARMS / 2  # of them, by the set as a whole, and by one of its members
DOUBLED: Final = 2.0  # the share that a number of connections must be able to show
NAMED: Final = 16  # of those that stand out: half of them took most, half of them least
EXPECTED: Final = 5.0  # connections: of who has less to expect, none is nothing to speak of
LEAST_P: Final = 1e-9  # smaller ones are said to be smaller


class Member(NamedTuple):
    """One that shared: a socket of a group, or a process on a socket."""

    name: str  # for people: `worker 1234`, `socket 5678 (worker 1234)`
    pid: int | None
    inode: int | None
    accepts: int
    expected: float
    there: bool  # it could take the next one
    named: bool = False  # the evidence against it holds however often one looks
    held: int | None = None  # connections that it has open now; None: not known


@dataclass(frozen=True, slots=True)
class Case:
    """A sharing set, and what is known against it.

    `drawn`: the kernel's hash chose, so that chance has a law. `p_always`: the p-value of an even
    split that holds however often one looks.
    """

    noun: str  # what its members are: worker, socket
    members: Sequence[Member]
    drawn: bool = False
    p_always: float = 1.0
    because: str | None = None  # what decides, where it is not the hash

    @property
    def is_certain(self) -> bool:
        """Whether chance is no longer an explanation, however often somebody looked."""
        return self.p_always <= EACH or any(member.named for member in self.members)

    @property
    def connections(self) -> int:
        """That were accepted."""
        return sum(member.accepts for member in self.members)


@dataclass(frozen=True, slots=True)
class Standout:
    """A member that took more or less than its share. `p`: adjusted for their number."""

    pid: int | None
    listener_inode: int | None
    accepts: int
    expected: float
    ratio: float
    p: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A word, what it says in a sentence, and the numbers in it; None: there are none.

    `members`: those that shared. `ratio`: of the one that took most, to its share; chance alone
    stays within `chance_ratio` in 19 of 20 runs; who had less than `EXPECTED` to expect is passed
    over, unless all had. `p`: the probability that chance alone makes a split as uneven (of ROUND
    ROBIN: as even). `needed`: about as many connections show a doubled share. `open_ratio`: of
    the member that holds most open connections, to an even part of them.
    """

    word: Word
    text: str
    connections: int = 0
    members: int = 0
    ratio: float | None = None
    chance_ratio: float | None = None
    p: float | None = None
    needed: int | None = None
    open_ratio: float | None = None
    standouts: tuple[Standout, ...] = ()


def judge(case: Case) -> Finding:
    """What the counts of a sharing set say."""
    # Who took something, but was never seen to be there, can be held to no share.
    there = [one for one in case.members if one.expected or (one.there and not one.accepts)]
    if len(there) < 2:
        return _alone(case, there)
    # Not before they are needed: a tracer that waits for connections stays small.
    from accepttrace.model.stats.power import connections_needed

    facts = _facts(case, there)
    needed = connections_needed(len(there), DOUBLED)
    say = _against_chance if case.drawn else _described
    finding = say(case, there, facts, needed)
    return _held(finding, there) if finding.word in ("FAIR", "ROUND ROBIN") else finding


def _held(finding: Finding, there: Sequence[Member]) -> Finding:
    """Of even accepts, whether the connections that are open now are even too."""
    from accepttrace.model.stats.power import chance_ratio, connections_needed

    now = [member for member in there if member.there]
    held = [member.held for member in now if member.held is not None]
    total = sum(held)
    if len(held) < max(len(now), 2) or total < connections_needed(len(held), DOUBLED):
        return finding
    ratio = max(held) * len(held) / total
    most = max(now, key=lambda member: member.held or 0)
    if ratio < max(HELD, chance_ratio(total, len(held), 1 - RARE)):
        return replace(finding, open_ratio=ratio)
    text = (
        f"accepts are even, but {most.name} holds {ratio:.2f}x its share of the open connections"
        f" ({most.held:,} of {total:,})"
    )
    return replace(finding, word="UNEVEN OPEN", text=text, open_ratio=ratio)


def _alone(case: Case, there: Sequence[Member]) -> Finding:
    number = case.connections
    if not there:
        return Finding("TOO FEW", "nobody waits here, and nothing came")
    text = f"{there[0].name} alone accepts here: {counted(number, 'connection')}"
    return Finding("ONE ACCEPTOR", text, number, 1)


class _Odd(NamedTuple):
    name: str
    row: Standout


class _Facts(NamedTuple):
    counts: list[int]
    shares: list[float]  # what each would have taken of an even split
    ratio: float
    chance: float
    top: int  # the member with that ratio

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def idle(self) -> list[int]:
        """Those that took nothing, by index, where they were there for long enough to."""
        found = enumerate(zip(self.counts, self.shares, strict=True))
        return [index for index, (count, share) in found if not count and share >= EXPECTED]

    def finding(
        self, word: Word, text: str, p: float | None = None, odd: Sequence[_Odd] = ()
    ) -> Finding:
        return Finding(
            *(word, text, self.total, len(self.counts), self.ratio, self.chance),
            p=p,
            standouts=tuple(one.row for one in odd),
        )


def _facts(case: Case, there: Sequence[Member]) -> _Facts:
    from accepttrace.model.stats.power import chance_ratio

    counts = [member.accepts for member in there]
    shares = [member.expected for member in there]
    ratios = [count / share if share else 0.0 for count, share in zip(counts, shares, strict=True)]
    # Who has only just come may have two connections where one was to be expected.
    top = max(range(len(there)), key=lambda index: (shares[index] >= EXPECTED, ratios[index]))
    chance = chance_ratio(case.connections, len(there))
    return _Facts(counts, shares, ratios[top], chance, top)


def _against_chance(case: Case, there: Sequence[Member], facts: _Facts, needed: int) -> Finding:
    """A group whose members the hash drew."""
    from accepttrace.model.stats.split import even_split_p, more_even_p

    uneven = even_split_p(facts.counts, facts.shares).p
    if uneven < SELDOM and case.is_certain:
        found = _standouts(there, facts, certain=True)
        if found:
            text = f"{_most(case, there, facts, found)}; {_p(uneven)}"
            return facts.finding("UNEVEN", text, uneven, found)
    if facts.total < needed:
        return _too_few(case, facts, needed, len(there))
    even = more_even_p(facts.counts, facts.shares).p
    limit = f"chance alone reaches {facts.chance:.2f}x 1 time in 20"
    what = f"{counted(len(there), case.noun)}, {counted(facts.total, 'connection')}"
    if even < RARE:
        text = f"more even than chance: {what}; largest {facts.ratio:.2f}x ({limit}); {_p(even)}"
        return facts.finding("ROUND ROBIN", text, even)
    text = f"{what}; largest {facts.ratio:.2f}x ({limit}); {_p(uneven)}"
    return facts.finding("FAIR", text, uneven)


def _described(case: Case, there: Sequence[Member], facts: _Facts, needed: int) -> Finding:
    """No law says how it should be split: what was counted, and what the mechanism does."""
    from accepttrace.model.stats.split import more_even_p

    if facts.total < needed:
        return _too_few(case, facts, needed, len(there))
    what = f"{counted(len(there), case.noun)}, {counted(facts.total, 'connection')}"
    by = f"; {case.because}" if case.because else ""
    taken = [count for count in facts.counts if count]
    if len(taken) == 1:
        name = there[facts.top].name
        text = f"{name} took all {facts.total:,}, {len(there) - 1} more wait{by}"
        return facts.finding("ONE ACCEPTOR", text)
    found = _standouts(there, facts, certain=False)
    idle = facts.idle
    if idle and max(taken) * len(taken) / facts.total < EFFECT:
        text = (
            f"{len(idle)} of {counted(len(there), case.noun)} took none of"
            f" {counted(facts.total, 'connection')}; the others are even{by}"
        )
        return facts.finding("IDLE WORKERS", text, odd=found)
    if any(one.row.ratio >= EFFECT for one in found):
        text = _most(case, there, facts, found) + by
        return facts.finding("UNEVEN", text, odd=found)
    even = more_even_p(facts.counts, facts.shares).p
    if even < RARE:
        text = f"more even than chance: {what}; largest {facts.ratio:.2f}x{by}"
        return facts.finding("ROUND ROBIN", text, even)
    return facts.finding("FAIR", f"{what}; largest {facts.ratio:.2f}x{by}")


def _too_few(case: Case, facts: _Facts, needed: int, members: int) -> Finding:
    number = counted(facts.total, "connection")
    text = f"{number} over {counted(members, case.noun)}; about {needed:,} show a doubled share"
    return replace(facts.finding("TOO FEW", text), needed=needed)


def _standouts(there: Sequence[Member], facts: _Facts, *, certain: bool) -> list[_Odd]:
    """Those that deviate enough, the one with most to spare first; `certain`: not by chance.

    Where nothing is drawn there is no such law, but as much as chance alone would do is no word.
    """
    from accepttrace.model.stats.split import outliers

    found = {
        one.member: one.p
        for one in outliers(facts.counts, facts.shares, SELDOM if certain else RARE)
    }
    tests: dict[int, float | None] = dict.fromkeys((*found, *facts.idle))
    if certain:
        tests = {index: p for index, p in found.items() if there[index].named} or {**found}
    odd = [_Odd(there[index].name, _standout(there[index], p)) for index, p in tests.items()]
    far = [one for one in odd if one.row.ratio >= EFFECT or one.row.ratio <= 1 / EFFECT]
    far.sort(key=lambda one: one.row.expected - one.row.accepts)
    return far if len(far) <= NAMED else [*far[: NAMED // 2], *far[-NAMED // 2 :]]


def _standout(one: Member, p: float | None) -> Standout:
    ratio = one.accepts / one.expected
    return Standout(one.pid, one.inode, one.accepts, one.expected, ratio, p)


def _most(case: Case, there: Sequence[Member], facts: _Facts, found: Sequence[_Odd]) -> str:
    """The sentence on who stands out most, and how many got nothing."""
    name, first = found[0]
    part = f"{first.accepts:,} of {facts.total:,}"
    text = f"{name} took {first.ratio:.2f}x its share ({part})"
    none = len(facts.idle)
    if none:
        text += f", {none} of {counted(len(there), case.noun)} got none"
    if case.drawn:
        text += f"; chance alone reaches {facts.chance:.2f}x 1 time in 20"
    return text


def _p(p: float) -> str:
    """`p=0.36`, `p=2e-5`, `p<1e-9`: never 0."""
    if p < LEAST_P:
        return f"p<1e{log10(LEAST_P):.0f}"
    return f"p={p:.2f}" if p >= 0.01 else f"p={p:.0e}".replace("e-0", "e-")


def counted(number: int, noun: str, several: str = "") -> str:
    """`1 socket`, `2,000 connections`; `several`: the plural, where it is no mere `s`."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"
