"""Who accepts after whom: as the tracer has it, and as those saw it who were there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from accepttrace.model.pattern import Pattern, Run

from .conftest import Account, Tracing, Way, attached, name, offered


@pytest.fixture(scope="module", params=offered(), ids=name)
def noting(request: pytest.FixtureRequest) -> Iterator[Tracing]:
    """A session that notes who accepts after whom."""
    way: Way = request.param
    with attached(way, patterns=True) as session:
        yield Tracing(session)


class Log:
    """What a client saw, one connection at a time: who took each."""

    def __init__(self, takers: Iterable[int]) -> None:
        self.accepts: Counter[int] = Counter()
        self.placed: Counter[int] = Counter()
        self.again: Counter[int] = Counter()
        self.steady: Counter[int] = Counter()
        self.lengths: list[int] = []
        came_after: dict[int, int] = {}
        last: int | None = None
        for taker in takers:
            self.accepts[taker] += 1
            if taker == last:
                self.lengths[-1] += 1
                self.again[taker] += 1
            else:
                self.lengths.append(1)
            if last is not None:
                self.placed[taker] += 1
                if taker != last:
                    self.steady[taker] += came_after.get(taker) == last
                    came_after[taker] = last
            last = taker

    @property
    def turns(self) -> dict[int, tuple[int, int, int, int]]:
        return {
            taker: (number, self.placed[taker], self.again[taker], self.steady[taker])
            for taker, number in self.accepts.items()
        }

    @property
    def runs(self) -> tuple[Run, ...]:
        sizes = Counter(length.bit_length() - 1 for length in self.lengths)
        return tuple(Run(1 << n, (2 << n) - 1, sizes[n]) for n in sorted(sizes))


def found(account: Account) -> Pattern:
    """Of the only sharing set."""
    (verdict,) = account.snapshot().verdicts
    assert verdict.pattern is not None
    return verdict.pattern


def assert_exact(pattern: Pattern, log: Log, *, group: bool = False) -> None:
    seen = {turn.inode if group else turn.pid: turn[2:6] for turn in pattern.turns if turn.accepts}
    assert seen == log.turns
    assert (pattern.runs, pattern.raced) == (log.runs, 0)
    assert pattern.mean_run == pytest.approx(sum(log.lengths) / len(log.lengths))
