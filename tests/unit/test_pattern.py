"""The order of accepts: the word for orders that were made, by chance, by turns or in runs."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from math import exp, log
from statistics import fmean
from types import SimpleNamespace

import mpmath
import pytest
from jsonschema import Draft202012Validator

from accepttrace import views
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    Counts,
    Inventory,
    Losses,
    Order,
    Placing,
)
from accepttrace.model.entries import SEVERAL, Bygone, Entry
from accepttrace.model.pattern import Pattern, Run, Seen, Turn, read
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.stats.order import (
    Taker,
    chance_runs,
    chance_steady,
    log_runs,
    log_turns,
    p_always,
)
from accepttrace.model.turns import pattern
from accepttrace.views.jsonl import summary_line
from accepttrace.views.jsonl import verdict as as_json
from accepttrace.views.verdicts import sentences
from tests.unit.pictures import count, holder, listener, tracker

SIMULATIONS, WATCHES, LOOKS = 1000, 100, 100
SCHEMA = Draft202012Validator(json.loads(files(views).joinpath("schema.json").read_text()))
UNEVEN = (0.5, 0.3, 0.15, 0.05)


class Counters:
    """As the kernel side has them."""

    def __init__(self) -> None:
        self._rows: dict[int, list[int]] = {}
        self._came_after: dict[int, int] = {}
        self._last: int | None = None

    def take(self, taker: int) -> None:
        row = self._rows.setdefault(taker, [0, 0, 0, 0])
        last, self._last = self._last, taker
        row[0] += 1
        row[1] += last is not None
        row[2] += last == taker
        if last is not None and last != taker:
            row[3] += self._came_after.get(taker) == last
            self._came_after[taker] = last

    @property
    def turns(self) -> list[Turn]:
        return [Turn(taker, None, *row) for taker, row in sorted(self._rows.items())]


def turns(takers: Iterable[int]) -> list[Turn]:
    counters = Counters()
    for taker in takers:
        counters.take(taker)
    return counters.turns


def named(takers: Sequence[int], **facts: object) -> Pattern:
    found = read(Seen(turns(takers), None, **facts))  # type: ignore[arg-type]
    assert found is not None
    return found


def drawn(rng: random.Random, number: int, shares: Sequence[float] = UNEVEN) -> list[int]:
    return rng.choices(range(len(shares)), shares, k=number)


def in_runs(rng: random.Random, members: int, length: int, number: int) -> list[int]:
    return [who for _ in range(number // length) for who in [rng.randrange(members)] * length]


@pytest.mark.parametrize("shares", [(1, 1, 1, 1), UNEVEN, (0.8, 0.1, 0.06, 0.04), (0.6, 0.4)])
def test_what_chance_draws_has_no_pattern(shares: Sequence[float]) -> None:
    rng = random.Random(1)
    words = Counter(named(drawn(rng, 300, shares)).word for _ in range(SIMULATIONS))
    assert words["NONE"] >= 0.99 * SIMULATIONS


def test_who_looks_often_sees_no_pattern_either() -> None:
    rng = random.Random(2)
    alarms = 0
    for _ in range(WATCHES):
        counters, words = Counters(), set()
        for place, taker in enumerate(drawn(rng, 10 * LOOKS), 1):
            counters.take(taker)
            if place % 10 == 0 and (found := read(Seen(counters.turns, None))):
                words.add(found.word)
        alarms += bool(words - {"NONE", None})
    assert alarms <= 0.02 * WATCHES


@pytest.mark.parametrize("members", [2, 3, 8, 64])
def test_turns_are_found(members: int) -> None:
    found = named([place % members for place in range(20 * members)])
    assert (found.word, found.again) == ("ROUND ROBIN", 0)
    assert found.steady == 19 * members - 1  # not the first of each, nor the next round's
    assert found.text.startswith("ROUND ROBIN: 9")


def test_turns_that_some_miss_are_turns() -> None:
    rng = random.Random(3)
    order = [place % 4 for place in range(400) if rng.random() < 0.9]
    found = named(order)
    assert found.word == "ROUND ROBIN"
    assert found.steady < 0.9 * found.accepts


def test_two_that_alternate_while_others_seldom_get_one_are_another_pattern() -> None:
    rng = random.Random(6)
    order = [2 if rng.random() < 0.1 else place % 2 for place in range(400)]
    found = named(order)
    assert found.word == "OTHER"
    assert found.text.startswith("another pattern: ")
    assert named([0, 1, 2, 3] * 9 + [0, 1] * 50).word == "OTHER"


def test_those_of_whom_any_other_may_come_next_take_no_turns() -> None:
    rng, order = random.Random(9), [0]
    while len(order) < 400:
        order.append((order[-1] + rng.choice((1, 2, 3))) % 4)
    found = named(order)
    assert (found.word, found.mean_run) == ("OTHER", 1.0)
    assert found.steady < 0.4 * found.accepts


def test_runs_shorter_than_chance_makes_are_another_pattern() -> None:
    found = named([0, 1, 0, 2, 1, 2] * 50)  # each after another one than the last time
    assert (found.word, found.mean_run, found.steady) == ("OTHER", 1.0, 0)
    assert found.text.endswith("; runs of 1.0 on average, by chance 1.5")


@pytest.mark.parametrize(
    ("accepts", "word"), [((29, 25, 23, 23), "ROUND ROBIN"), ((30, 24, 23, 23), "OTHER")]
)
def test_who_takes_a_fifth_more_takes_no_turns(accepts: Sequence[int], word: str) -> None:
    found = read(Seen([Turn(pid, None, n, n, 0, n - 1) for pid, n in enumerate(accepts)], None))
    assert found is not None
    assert found.word == word


def test_two_that_never_take_two_in_a_row_take_turns() -> None:
    assert named([0, 1] * 20).word == "ROUND ROBIN"


@pytest.mark.parametrize("length", [2, 4, 16])
@pytest.mark.parametrize("members", [2, 8])
def test_runs_are_found(members: int, length: int) -> None:
    rng = random.Random(4)
    found = named(in_runs(rng, members, length, 640))
    assert found.word == "BURSTY"
    assert found.mean_run == pytest.approx(length * members / (members - 1), rel=0.3)
    assert found.chance_run == pytest.approx(members / (members - 1), rel=0.1)
    assert found.text == (
        f"BURSTY: runs of {found.mean_run:.1f} on average, by chance {found.chance_run:.1f}"
    )


def test_one_that_takes_nearly_all_on_a_shared_socket_is_first_in_line() -> None:
    order = [*[0] * 95, 1, 0, 0, 2, 0]
    assert named(order).word == "LIFO"
    assert named(order).text.startswith("LIFO: one took 98.0%; runs of 20.0 on average")
    assert named(order, group=True).word == "NONE"  # the hash has no line
    assert named([*[0] * 80, *[1] * 20]).word == "BURSTY"


def test_little_is_no_pattern_however_certain() -> None:
    rng = random.Random(5)
    order = [0]
    while len(order) < 20_000:
        order.append(order[-1] if rng.random() < 0.05 else rng.randrange(4))
    found = named(order)
    assert (found.p or 1) < 1e-6
    assert (found.word, found.text) == ("NONE", "no pattern: runs of 1.4 on average, by chance 1.3")


@pytest.mark.parametrize(
    ("takers", "facts", "text"),
    [
        ([0, 1, 1, 0], {}, "about 12 connections show one"),
        ([0, 1] * 50, {"hidden": "not every accept was seen"}, "not every accept was seen"),
    ],
)
def test_what_cannot_be_said_is_not(takers: list[int], facts: dict[str, object], text: str) -> None:
    found = named(takers, **facts)
    assert (found.word, found.text) == (None, f"no pattern is named: {text}")


def test_accepts_without_a_place_count_as_new_runs_and_too_many_forbid_a_word() -> None:
    both = turns(in_runs(random.Random(6), 2, 8, 400))
    some = [one._replace(placed=one.placed - 5, again=one.again - 5) for one in both]
    found = read(Seen(some, None))
    assert found is not None
    assert found.word == "BURSTY"
    assert found.mean_run == 400 / (400 - sum(one.again for one in some))
    many = [one._replace(placed=one.placed - 30, again=one.again - 30) for one in both]
    found = read(Seen(many, None))
    assert found is not None
    assert found.word is None
    assert "61 accepts without a place" in found.text


def test_nobody_shares_no_pattern() -> None:
    assert read(Seen(turns([1, 1, 1]), None)) is None
    assert read(Seen([Turn(1, None, 0, 0, 0, 0), Turn(2, None, 0, 0, 0, 0)], None)) is None


def test_the_last_run_is_among_them() -> None:
    order = Order(100, None, None, (3, 2, 0, 1), 2, 0)
    found = read(Seen(turns([0, 1, 1, 0, 0]), order))
    assert found is not None
    assert found.runs == (Run(1, 1, 3), Run(2, 3, 3), Run(8, 15, 1))
    long = replace(order, runs=(0, 0), run=1 << 40)
    assert (read(Seen(turns([0, 1]), long)) or found).runs == (Run(2, 3, 1),)


def test_expectations_are_those_of_independent_draws() -> None:
    rng = random.Random(7)
    runs, steady, predicted = [], [], []
    for _ in range(400):
        found = turns(drawn(rng, 200))
        takers = [Taker(*turn[2:]) for turn in found]
        runs.append(200 - sum(turn.again for turn in found))
        steady.append(sum(turn.steady for turn in found) / 200)
        predicted.append((chance_runs(takers), chance_steady(takers)))
    assert fmean(runs) == pytest.approx(fmean(one for one, _ in predicted), rel=0.01)
    assert fmean(steady) == pytest.approx(fmean(one for _, one in predicted), rel=0.04)


def test_a_bet_against_chance_wins_nothing_on_average() -> None:
    """What makes an e-value one; that of runs is at most its share, for the best shares stand."""
    rng = random.Random(8)
    won = []
    for _ in range(4000):
        takers = [Taker(*turn[2:]) for turn in turns(drawn(rng, 60))]
        won.append((exp(log_runs(takers)), exp(log_turns(takers))))
    assert fmean(runs for runs, _ in won) <= 1
    assert fmean(by_turns for _, by_turns in won) <= 1.1


def test_runs_win_what_a_mixture_over_all_chains_wins() -> None:
    """Jeffreys' law over the two probabilities of a chain, against the likeliest ones of draws."""

    def mixed(ones: int, zeros: int) -> float:
        return float(mpmath.beta(ones + 0.5, zeros + 0.5) / mpmath.beta(0.5, 0.5))

    def drawn(ones: int, zeros: int) -> float:
        whole = ones + zeros
        return (ones / whole) ** ones * (zeros / whole) ** zeros

    # Of the taker 9 ones, 6 of them after a one; of the other 12, 9 of them.
    takers = [Taker(9, 9, 6, 0), Taker(12, 12, 9, 0)]
    won = [mixed(again, 3) * mixed(3, ones) / drawn(9, 12) for again, ones in ((6, 9), (9, 6))]
    assert exp(log_runs(takers)) == pytest.approx(fmean(won))


def test_a_p_value_is_1_where_the_bets_lost_and_the_mean_of_several_counts() -> None:
    assert [p_always(log(won)) for won in (1 / 8, 1.0, 8.0)] == pytest.approx([1.0, 1.0, 1 / 8])
    assert p_always(log(30), log(10)) == pytest.approx(1 / 20)
    assert 0.0 < p_always(5000.0) < 1e-300


def test_accepts_without_a_place_win_nothing() -> None:
    assert log_runs([Taker(9, 0, 0, 0), Taker(12, 0, 0, 0)]) == 0.0


def test_of_one_that_takes_all_no_order_is_known() -> None:
    alone = [Taker(9, 8, 8, 0), Taker(0, 0, 0, 0)]
    assert log_turns(alone) == pytest.approx(0.0)


def test_turns_win_what_bets_on_them_win_and_lose() -> None:
    """The mean of four stakes, of which those on less than chance are kept."""
    bets, chance, hits, misses = (0.5, 0.7, 0.9, 0.98), 20 / (20 + 10), 5.0, 2.0
    takers = [Taker(10, 9, 9 - hits - misses, hits), Taker(10, 9, 9, 0), Taker(20, 20, 20, 0)]
    won = [
        (bet / chance) ** hits * ((1 - bet) / (1 - chance)) ** misses if bet > chance else 1.0
        for bet in bets
    ]
    assert log_turns(takers) == pytest.approx(log(fmean(won)))
    first = [Taker(10, 9, 9, 0), Taker(12, 12, 12, 0), Taker(20, 19, 19 - hits, hits)]
    won = [(bet / (12 / 22)) ** hits if bet > 12 / 22 else 1.0 for bet in bets]
    assert log_turns(first) == pytest.approx(log(fmean(won)))
    of_four = [Taker(10, 9, 9 - hits - misses, hits), *[Taker(10, 10, 10, 0)] * 3]
    won = [(bet * 3) ** hits * ((1 - bet) * 3 / 2) ** misses for bet in bets]
    assert log_turns(of_four) == pytest.approx(log(fmean(won)))


def test_those_that_are_gone_together_count_each_with_an_even_part() -> None:
    """Workers that end after a few connections, as php-fpm's may."""
    rng = random.Random(9)
    order = [place // 200 * 4 + rng.randrange(4) for place in range(4000)]
    every = turns(order)
    gone, there = every[:-4], every[-4:]
    columns = list(zip(*(one[2:6] for one in gone), strict=True))
    accepts, placed, again, steady = map(sum, columns)
    together = Turn(None, None, accepts, placed, again, steady, len(gone))
    takers = [Taker(*turn[2:]) for turn in every]
    folded = [Taker(*turn[2:]) for turn in (*there, together)]
    assert chance_runs(folded) == pytest.approx(chance_runs(takers), rel=0.01)
    assert chance_steady(folded) == pytest.approx(chance_steady(takers), rel=0.1)


def test_where_one_took_all_nobody_came_after_another() -> None:
    assert chance_steady([Taker(7, 7, 6, 0), Taker(0, 0, 0, 0)]) == 0


def fed(found: Sequence[Turn], inode: int | None = 100, **facts: object) -> Snapshot:
    """What a run says that has read these."""
    model = tracker()
    holders = [holder(turn.pid or 0) for turn in found]
    rows = [
        replace(count(turn.pid or 0, turn.accepts), placing=Placing(*turn[3:6])) for turn in found
    ]
    order = Order(inode, None, None, (5, 1), 1, 2)
    none = [replace(row, accepts=0, placing=Placing(0, 0, 0)) for row in rows]
    for at_s, those in ((1.0, none), (2.0, rows)):
        model.update(
            Reading(
                Counts(tuple(those), at_s=at_s, orders=(order,), **facts),  # type: ignore[arg-type]
                Inventory((listener(100, holders),)),
                wall=f"2026-01-02T12:00:0{at_s:.0f}.000Z",
            )
        )
    return model.snapshot()


def test_it_stands_in_the_verdict_and_in_its_sentence() -> None:
    order = in_runs(random.Random(1), 4, 8, 800)
    snapshot = fed(turns(who + 1 for who in order))
    (verdict,) = snapshot.verdicts
    found = verdict.pattern
    assert found is not None
    assert (found.word, found.accepts, found.raced) == ("BURSTY", 800, 2)
    assert sentences(snapshot)[0].endswith(f"; {found.text}")
    SCHEMA.validate(json.loads(summary_line(snapshot)))
    shown = as_json(verdict)["pattern"]
    assert isinstance(shown, dict)
    assert json.loads(json.dumps(shown))["runs"] == [
        {"low": 1, "high": 1, "runs": 6},
        {"low": 2, "high": 3, "runs": 1},
    ]
    assert [turn["accepts"] for turn in shown["turns"]] == sorted(
        (turn.accepts for turn in found.turns), reverse=True
    )
    assert shown["mean_run"] == pytest.approx(800 / (800 - shown["again"]), abs=1e-3)


def test_of_another_socket_it_is_not() -> None:
    found = fed(turns([1, 2] * 100), inode=101).verdicts[0].pattern
    assert found is not None
    assert (found.word, found.raced, found.runs) == ("ROUND ROBIN", None, ())


def test_the_order_is_that_of_its_own_group() -> None:
    key = ("group", 7, 1, "ipv4", 80)
    entries = [
        Entry(
            inode, (inode, 1), (inode, 1), replace(count(inode, 40), placing=Placing(40, 0, 39)),
            key, waits=True,
        )
        for inode in (100, 101)
    ]  # fmt: skip
    orders = [
        Order(None, 7, 81, (1,), 1, 3),
        Order(None, 8, 80, (1,), 1, 4),
        Order(None, 7, 80, (1,), 1, 5),
    ]
    found = pattern(key, (), entries, orders, Losses())
    assert found is not None
    assert found.raced == 5


def test_losses_forbid_it() -> None:
    found = fed(turns([1, 2] * 100), losses=Losses(events_lost=1)).verdicts[0].pattern
    assert found is not None
    assert (found.word, found.text) == (None, "no pattern is named: the tracer lost events")


def test_what_hides_accepts_forbids_it() -> None:
    both = [replace(count(pid, 40), placing=Placing(40, 0, 39)) for pid in (1, 2)]
    entries = [
        Entry(100, (one.pid, 9), (one.tid, 9), one, ("socket", 100), waits=True) for one in both
    ]

    def found(**facts: object) -> Pattern | None:
        row = SimpleNamespace(**{"uncounted": 0, "unseen": None, **facts})
        return pattern(("socket", 100), [row], entries, (), Losses())  # type: ignore[list-item]

    seen = (found(), found(uncounted=1), found(unseen=1))
    assert [one and one.word for one in seen] == ["ROUND ROBIN", None, None]
    assert [turn.pid for one in seen if one for turn in one.turns] == [1, 2] * 3
    entries[0].barred = True
    barred = found()
    assert barred is not None
    assert barred.text == "no pattern is named: not everybody who shares is counted"


def test_those_that_are_gone_are_as_many_as_they_were() -> None:
    one = replace(count(1, 40), placing=Placing(40, 20, 10))
    gone = replace(count(0, 90), placing=Placing(90, 30, 20))
    entries = [
        Entry(100, (1, 1), (1, 1), one, ("socket", 100), waits=True),
        Entry(100, Bygone("php-fpm", True), SEVERAL, gone, ("socket", 100), workers=3),
        Entry(100, (2, 2), None, None, ("socket", 100), waits=True),
        Entry(101, (3, 3), (3, 3), one, ("socket", 101), waits=True),
    ]
    found = pattern(("socket", 100), (), entries, (), Losses())
    assert found is not None
    assert found.turns == (
        Turn(None, None, 90, 90, 30, 20, 3),
        Turn(1, None, 40, 40, 20, 10),
        Turn(2, None, 0, 0, 0, 0),
    )
