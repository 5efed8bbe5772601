"""What `accepttrace check` requires, at its bound and on both sides; and what is not known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.cli import check as command
from accepttrace.config import Config
from accepttrace.errors import EXIT_BAD_VERDICT, EXIT_NO_VERDICT
from accepttrace.facts.buckets import BUCKETS, bucket_of, lower_bound, upper_bound
from accepttrace.facts.records import Losses
from accepttrace.model.conditions import EVEN as EVEN_WORDS
from accepttrace.model.conditions import (
    UNITS,
    UNJUDGED,
    Condition,
    Name,
    Outcome,
    decided,
    judge,
    result,
)
from accepttrace.model.pattern import Pattern, PatternWord
from accepttrace.model.snapshot import NamespaceLoss, Snapshot, Verdict
from accepttrace.model.verdict import FAULTS, WORDS, Word
from accepttrace.run.checking import Checking, Demand
from accepttrace.run.run import Run
from accepttrace.views.checked import json_line, junit, text
from accepttrace.views.text import clean
from accepttrace.views.verdicts import sentences
from tests.unit.pictures import UNREAD, four_workers, reuseport, seen, unbalanced
from tests.unit.test_screen_draw import several_ports

VALIDATOR = Draft202012Validator(
    json.loads((Path(accepttrace.views.__file__).parent / "check.schema.json").read_text())
)
EVEN = seen(reuseport((500, 480, 510, 495), "process"))  # of 1,985 the most is 510, or 25.7 %
UNEVEN = seen(reuseport((900, 400, 400, 300), "process"))
STRANGE = 'a"b<c>&\x1b[31m\x00\udcff\u202e é'


def outcome(name: Name, allowed: float | str, snapshot: Snapshot, quantile: float = 1.0) -> Outcome:
    (found,) = judge([Condition(name, allowed, str(allowed), quantile)], snapshot)
    return found


def held(
    name: Name, allowed: float | str, snapshot: Snapshot, quantile: float = 1.0
) -> bool | None:
    return outcome(name, allowed, snapshot, quantile).held


def listeners(snapshot: Snapshot, **facts: Any) -> Snapshot:
    """The first listener has other facts."""
    first, *rest = snapshot.listeners
    return replace(snapshot, listeners=(replace(first, **facts), *rest))


def acceptors(snapshot: Snapshot, *facts: dict[str, Any]) -> Snapshot:
    """The first rows have other facts."""
    rows = list(snapshot.acceptors)
    rows[: len(facts)] = [replace(row, **f) for row, f in zip(rows, facts, strict=False)]
    return replace(snapshot, acceptors=tuple(rows))


def nothing_came() -> Snapshot:
    return seen(reuseport((0, 0, 0, 0), "process"))


def waited(*us: int) -> Snapshot:
    """EVEN, with so many accepts as have waited so long."""
    histogram = [0] * BUCKETS
    for one in us:
        histogram[bucket_of(one)] += 1
    facts = {"accepts": len(us), "wait_histogram": histogram, "wait_max_us": max(us)}
    rows = acceptors(EVEN, facts).acceptors[:1]
    return replace(EVEN, acceptors=rows, books=replace(EVEN.books, accepts=len(us)))


def opened(*numbers: int | None) -> Snapshot:
    return acceptors(EVEN, *({"open_connections": number} for number in numbers))


def located(*parts: float | None) -> Snapshot:
    return acceptors(EVEN, *({"local": part} for part in parts))


def ordered(*words: PatternWord | None) -> Snapshot:
    """EVEN, with a verdict for each."""
    patterns = [Pattern(word, f"said of {word}", 9, 9, 9, 9, 9) for word in words]
    first = EVEN.verdicts[0]
    return replace(EVEN, verdicts=tuple(replace(first, pattern=one) for one in patterns))


SHARE = 510 / 1985


@pytest.mark.parametrize(
    ("name", "allowed", "snapshot", "expected"),
    [
        ("fair", "FAIR", EVEN, True),
        ("fair", "FAIR", UNEVEN, False),
        ("fair", "FAIR", seen(four_workers((700, 0, 0, 0), "process")), False),
        ("fair", "FAIR", seen(four_workers((700,), "process")), None),  # there is one alone
        ("fair", "FAIR", reuseport((3, 1, 0, 2), "process"), None),
        ("fair", "FAIR", seen(reuseport((500, 500, 500, 500), "process")), True),  # ROUND ROBIN
        ("max-share", SHARE, EVEN, True),
        ("max-share", SHARE + 1e-6, EVEN, True),
        ("max-share", SHARE - 1e-6, EVEN, None),  # chance alone reaches 27 %
        ("max-share", 0.24, EVEN, False),  # of four, even an even share is more
        ("max-share", 0.45, UNEVEN, True),
        ("max-share", 0.4499, UNEVEN, False),
        ("max-share", 0.9, reuseport((3, 1, 0, 2), "process"), None),
        ("max-share", 0.6, reuseport((3, 1), "process"), None),  # too few of two as well
        ("max-share", 0.6, reuseport((4,), "process"), False),  # but one has all, however few
        ("max-share", 0.61, seen(four_workers(by="process")), True),
        ("max-share", 0.6, seen(four_workers(by="process")), False),
        ("max-ratio", 1.8, UNEVEN, True),
        ("max-ratio", 1.7999, UNEVEN, False),
        ("max-ratio", 1.02, EVEN, None),  # largest 1.03x, and chance alone reaches 1.09x
        ("max-ratio", 2.44, seen(four_workers(by="process")), True),
        ("max-ratio", 2.43, seen(four_workers(by="process")), False),
        ("max-ratio", 3.0, reuseport((3, 1, 0, 2), "process"), None),
        ("min-workers", 4, EVEN, True),
        ("min-workers", 3, EVEN, True),
        ("min-workers", 5, EVEN, False),
        ("min-workers", 4, seen(four_workers(by="process")), False),
        ("min-workers", 3, seen(four_workers(by="process")), True),
        ("min-workers", 4, reuseport((3, 1, 0, 2), "process"), None),  # too few
        ("min-workers", 5, reuseport((3, 1, 0, 2), "process"), False),  # there are four
        ("max-queue", 7, listeners(EVEN, queue_max=7), True),
        ("max-queue", 8, listeners(EVEN, queue_max=7), True),
        ("max-queue", 6, listeners(EVEN, queue_max=7), False),
        ("max-queue", 6, listeners(EVEN, queue_max=7, queue_max_sampled=True), False),
        ("max-queue", 8, listeners(EVEN, queue_max=7, queue_max_sampled=True), None),
        ("max-queue", 511, listeners(EVEN, queue_max=7, queue_max_sampled=True), None),
        ("max-queue", 512, listeners(EVEN, queue_max=7, queue_max_sampled=True), True),
        ("max-queue", 8, listeners(EVEN, queue_max=None), None),
        ("no-loss", 0, EVEN, True),
        ("no-loss", 0, listeners(EVEN, dropped_overflow=1), False),
        ("no-loss", 0, listeners(EVEN, half_open_lost=1), False),
        ("no-loss", 0, listeners(EVEN, dropped_unclear=1), None),
        ("no-loss", 0, listeners(EVEN, dropped_other=None), None),
        ("no-loss", 0, listeners(EVEN, lost_on_close=None), True),  # it did not close
        ("no-loss", 0, listeners(EVEN, lost_on_close=None, open=False), None),
        ("no-loss", 0, listeners(EVEN, lost_on_close=None, epoch=2), None),
        ("expect", "reuseport", EVEN, True),
        ("expect", "shared", EVEN, False),
        ("expect", "shared", four_workers(by="process"), True),
        ("expect", "reuseport", listeners(EVEN, sharing="sole"), False),
        ("expect", "reuseport", listeners(EVEN, sharing=None), None),
        ("expect", "shared", listeners(EVEN, sharing=None), False),
        ("min-local", 0.8, located(1.0, 0.9, 0.8, 0.5), True),
        ("min-local", 0.81, located(1.0, 0.9, 0.8, 0.5), False),
        ("min-local", 0.1, located(1.0, None, 0.8, 0.5), None),
        ("min-local", 0.1, EVEN, None),
        ("pattern", "LIFO", ordered("LIFO"), True),
        ("pattern", "LIFO", ordered("LIFO", "LIFO"), True),
        ("pattern", "LIFO", ordered("LIFO", "BURSTY"), False),
        ("pattern", "LIFO", ordered("LIFO", None), None),
        ("pattern", "LIFO", ordered(None, "NONE"), False),
        ("pattern", "NONE", ordered("NONE"), True),
        ("pattern", "NONE", ordered(None), None),
        ("pattern", "NONE", EVEN, None),  # nobody noted it
        ("max-open-ratio", 1.6, opened(40, 20, 20, 20), True),
        ("max-open-ratio", 1.59, opened(40, 20, 20, 20), False),
        ("max-open-ratio", 1.59, opened(40, 20, None, 20), None),
        ("max-open-ratio", 1.5, opened(0, 0, 0, 0), None),
        ("max-open-ratio", 4.0, opened(1, 0, 0, 0), None),  # too few
        ("max-open-ratio", 9.0, EVEN, None),
    ],
)
def test_a_condition_holds_up_to_its_bound(
    name: Name, allowed: float | str, snapshot: Snapshot, expected: bool | None
) -> None:
    found = outcome(name, allowed, snapshot)
    assert (found.held, found.text) == (expected, found.text), found
    assert found.text or found.held


@pytest.mark.parametrize(
    ("quantile", "allowed", "expected"),
    [
        (1.0, 9000, True),
        (1.0, 8999, False),
        (0.99, lower_bound(bucket_of(500)) - 1, False),
        (0.99, lower_bound(bucket_of(500)), None),  # it is in that bucket
        (0.99, upper_bound(bucket_of(500)) - 1, None),
        (0.99, upper_bound(bucket_of(500)), True),
        (0.5, upper_bound(bucket_of(100)), True),
        (0.5, lower_bound(bucket_of(100)) - 1, False),
        (0.9, lower_bound(bucket_of(500)), True),
    ],
)
def test_a_quantile_of_the_wait_holds_where_its_bucket_shows_it(
    quantile: float, allowed: float, expected: bool | None
) -> None:
    snapshot = waited(*([100] * 95), *([500] * 4), 9000)
    assert held("max-wait", allowed, snapshot, quantile) is expected


def test_those_that_still_wait_have_waited_too() -> None:
    few = waited(*([100] * 99))
    for oldest, queue, quantile, expected in (
        (200_000, 1, 1.0, False),
        (200_000, 1, 0.99, True),  # one of a hundred may
        (200_000, 2, 0.99, None),  # the second one may have waited less
        (50_000, 500, 0.99, True),
        (None, 2, 0.99, None),
    ):
        stuck = listeners(few, queue=queue, oldest_wait_us=oldest)
        assert held("max-wait", 100_000, stuck, quantile) is expected, (oldest, queue)
    assert (
        outcome("max-wait", 100_000, listeners(few, queue=1, oldest_wait_us=200_000)).measured
        == 200_000
    )


def test_who_waits_since_an_unknown_time_came_after_those_that_were_accepted() -> None:
    few = waited(*([100] * 99))
    waiting = listeners(few, queue=1, oldest_wait_us=None)
    long_us = waiting.elapsed_s * 1e6 + 1000
    assert held("max-wait", long_us, waiting) is True
    assert held("max-wait", waiting.elapsed_s * 1e6 - 1, waiting) is None
    assert held("max-wait", long_us, listeners(waiting, accepted=0)) is None
    assert outcome("max-wait", long_us, waiting).text == "100 connections; 1 still waiting"


def test_accepts_without_a_time_stamp_have_not_waited_0() -> None:
    snapshot = waited(*([100] * 99))
    unknown = replace(snapshot, books=replace(snapshot.books, accepts=200))
    assert held("max-wait", 1000, unknown, 0.99) is None
    assert held("max-wait", 1000, EVEN) is None


ALL: Sequence[tuple[Name, float | str]] = (
    ("fair", "FAIR"),
    ("max-share", 0.9),
    ("max-ratio", 9.0),
    ("min-workers", 1),
    ("max-wait", 1e9),
    ("max-queue", 9999),
    ("no-loss", 0),
    ("max-open-ratio", 9.0),
    ("min-local", 0.1),
    ("pattern", "NONE"),
)


@pytest.mark.parametrize(("name", "allowed"), ALL)
def test_nothing_is_concluded_where_nothing_came_or_nobody_listens(
    name: Name, allowed: float | str
) -> None:
    assert held(name, allowed, nothing_came()) is None
    nobody = replace(nothing_came(), listeners=(), acceptors=(), verdicts=())
    found = outcome(name, allowed, nobody)
    assert (found.held, found.text) == (None, "nobody listens")
    assert held("expect", "shared", nobody) is None


def test_what_is_configured_needs_no_connection() -> None:
    assert held("expect", "reuseport", nothing_came()) is True


def lossy(snapshot: Snapshot) -> Snapshot:
    books = replace(snapshot.books, losses=Losses(events_lost=212), balanced=False)
    return replace(snapshot, books=books)


@pytest.mark.parametrize("spoil", ["lost", "unbalanced", "unseen"])
def test_lower_bounds_are_enough_for_some_answers_alone(spoil: str) -> None:
    def spoilt(snapshot: Snapshot) -> Snapshot:
        if spoil == "lost":
            return lossy(snapshot)
        changes: dict[str, Any] = {"unseen": 3} if spoil == "unseen" else {"balanced": False}
        return replace(snapshot, books=replace(snapshot.books, **changes))

    for name, allowed in (("max-share", 0.4), ("max-ratio", 1.5), ("max-queue", 9), ("no-loss", 0)):
        assert held(name, allowed, EVEN) is True  # type: ignore[arg-type]
        assert held(name, allowed, spoilt(EVEN)) is None  # type: ignore[arg-type]
    assert held("max-share", 0.4, spoilt(UNEVEN)) is None
    assert held("max-wait", 1e6, spoilt(waited(100, 200))) is None
    assert held("max-wait", 150, spoilt(waited(100, 200))) is False
    assert held("min-workers", 4, spoilt(EVEN)) is True
    assert held("min-workers", 5, spoilt(EVEN)) is None
    assert held("no-loss", 0, spoilt(listeners(EVEN, dropped_overflow=1))) is False
    assert held("max-queue", 6, spoilt(listeners(EVEN, queue_max=7))) is False
    assert held("expect", "reuseport", spoilt(EVEN)) is True


def test_books_that_do_not_balance_allow_no_verdict() -> None:
    assert held("max-share", 0.9, unbalanced("process")) is None


def test_losses_at_one_of_several_listeners_count_where_they_are_sure() -> None:
    for sure, expected in ((True, False), (False, None)):
        loss = NamespaceLoss(1, "overflow", 3, (200, 201), sure)
        assert held("no-loss", 0, replace(EVEN, namespace_losses=(loss,))) is expected


def test_a_stuck_set_is_unfair_and_has_the_ratio_of_its_rows() -> None:
    first = UNEVEN.verdicts[0]
    finding = replace(first.finding, word="STUCK", text="nobody accepts", ratio=None, p=None)
    stuck = replace(UNEVEN, verdicts=(replace(first, finding=finding),))
    assert held("fair", "FAIR", stuck) is False
    assert outcome("max-ratio", 1.5, stuck).measured == pytest.approx(1.8)
    assert held("max-ratio", 1.5, stuck) is False


def test_of_several_unfair_sets_the_first_decides_whether_it_is_certain() -> None:
    first = UNEVEN.verdicts[0]
    stuck = replace(first, finding=replace(first.finding, word="STUCK"))
    opened_unevenly = replace(first, finding=replace(first.finding, word="UNEVEN OPEN"))

    def said(*verdicts: Verdict) -> tuple[object, bool]:
        one = outcome("fair", "FAIR", replace(UNEVEN, verdicts=verdicts))
        assert one.held is False
        return one.measured, one.certain

    assert said(first, stuck) == ("UNEVEN", True)
    assert said(stuck, first) == ("STUCK", False)
    assert said(opened_unevenly) == ("UNEVEN OPEN", False)


def test_the_socket_with_the_longest_queue_is_named() -> None:
    rows = [replace(EVEN.listeners[0], inode=7 + n, queue_max=n) for n in (3, 9, 5)]
    worst = outcome("max-queue", 6, replace(EVEN, listeners=tuple(rows)))
    assert (worst.held, worst.measured, worst.text) == (False, 9, "socket 16")


@pytest.mark.parametrize("word", WORDS)
def test_fair_has_an_answer_to_every_word(word: Word) -> None:
    first = UNEVEN.verdicts[0]
    snapshot = replace(
        UNEVEN, verdicts=(replace(first, finding=replace(first.finding, word=word)),)
    )
    expected = {**dict.fromkeys(("FAIR", "ROUND ROBIN"), True), "TOO FEW": None, "INCOMPLETE": None}
    assert held("fair", "FAIR", snapshot) is expected.get(word, False)
    assert {*EVEN_WORDS, *FAULTS, *UNJUDGED, "ONE ACCEPTOR"} == set(WORDS)


def test_a_set_with_few_connections_does_not_hide_another_ones_verdict() -> None:
    few = reuseport((3, 1, 0, 2), "process").verdicts
    for name, allowed in (("fair", "FAIR"), ("max-ratio", 1.5)):
        assert held(name, allowed, replace(EVEN, verdicts=(*EVEN.verdicts, *few))) is True  # type: ignore[arg-type]
        assert held(name, allowed, replace(UNEVEN, verdicts=(*UNEVEN.verdicts, *few))) is False  # type: ignore[arg-type]


def test_holders_that_were_not_read_may_be_workers_that_took_nothing() -> None:
    def partial(snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, unread=UNREAD)

    few = reuseport((3, 1, 0, 2), "process")
    assert partial(few).partial
    assert (held("min-workers", 5, few), held("min-workers", 5, partial(few))) == (False, None)
    assert held("min-workers", 5, partial(EVEN)) is False
    sole = listeners(four_workers((700,), "process"), sharing="sole")
    assert (held("expect", "shared", sole), held("expect", "shared", partial(sole))) == (
        False,
        None,
    )


def test_one_that_left_is_no_worker() -> None:
    for change in ({"alive": False}, {"left": True}):
        assert outcome("min-workers", 4, acceptors(EVEN, change)).measured == 3


@pytest.mark.parametrize(
    ("name", "allowed", "snapshot", "certain"),
    [
        ("fair", "FAIR", UNEVEN, True),  # an always-valid test said so
        ("max-ratio", 1.5, UNEVEN, True),
        ("max-share", 0.3, UNEVEN, False),  # later ones may go elsewhere
        ("fair", "FAIR", seen(four_workers(by="process")), False),  # no law
        ("max-ratio", 1.5, seen(four_workers(by="process")), False),
        ("max-queue", 6, listeners(EVEN, queue_max=7), True),
        ("no-loss", 0, listeners(EVEN, dropped_overflow=1), True),
        ("max-wait", 150, waited(100, 200), True),
        ("min-workers", 5, EVEN, False),
        ("max-queue", 7, listeners(EVEN, queue_max=7), False),  # holds until now
    ],
)
def test_certain_is_what_nothing_can_change(
    name: Name, allowed: float | str, snapshot: Snapshot, certain: bool
) -> None:
    assert decided([outcome(name, allowed, snapshot)]) is certain


def test_a_quantile_below_the_longest_is_not_certain() -> None:
    assert not decided([outcome("max-wait", 50, waited(100, 200), 0.5)])


@pytest.mark.parametrize(
    ("held_by", "expected"),
    [((True, True), True), ((True, None), None), ((None, False), False), ((True, False), False)],
)
def test_one_that_fails_outweighs_one_that_is_not_known(
    held_by: Sequence[bool | None], expected: bool | None
) -> None:
    outcomes = [Outcome(Condition("no-loss", 0), held, None, "") for held in held_by]
    assert result(outcomes) is expected


def many() -> tuple[tuple[Outcome, ...], Snapshot]:
    """Each condition, with names that strangers chose."""
    snapshot = acceptors(UNEVEN, {"name": STRANGE, "open_connections": 1})
    first = snapshot.verdicts[0]
    finding = replace(first.finding, text=f"{first.finding.text} {STRANGE}")
    snapshot = replace(snapshot, verdicts=(replace(first, finding=finding),))
    asked = [Condition(name, allowed, f"{allowed}\x1b\n") for name, allowed in ALL]
    asked += [Condition("expect", "shared", "shared"), Condition("max-share", 0.3, "30%")]
    assert {one.name for one in asked} == UNITS.keys()
    return judge(asked, snapshot), snapshot


def test_json_is_as_its_schema_says() -> None:
    Draft202012Validator.check_schema(VALIDATOR.schema)
    turns = ordered("ROUND ROBIN", None)
    by_turns = judge([Condition("pattern", "ROUND ROBIN", "round-robin")], turns)
    fair = judge([Condition("fair", "FAIR")], EVEN)
    for outcomes, snapshot in (many(), (fair, EVEN), (by_turns, turns)):
        line = json_line(outcomes, snapshot)
        assert line.count("\n") == 1
        value = json.loads(line)
        VALIDATOR.validate(value)
        assert [one["held"] for one in value["conditions"]] == [one.held for one in outcomes]
        wrong: list[dict[str, object]] = [{"result": "good"}, {"conditions": []}, {"more": 1}]
        for extra in wrong:
            assert not VALIDATOR.is_valid({**value, **extra})


def test_junit_has_a_case_for_each_and_no_name_breaks_it() -> None:
    outcomes, snapshot = many()
    suites = ElementTree.fromstring(junit(outcomes, snapshot))
    (suite,) = suites
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [clean(one.condition.option) for one in outcomes]
    kinds = [[child.tag for child in case] for case in cases]
    expected: dict[bool | None, list[str]] = {True: [], False: ["failure"], None: ["skipped"]}
    assert kinds == [expected[one.held] for one in outcomes]
    for attribute, tag in (("failures", "failure"), ("skipped", "skipped")):
        assert suite.get(attribute) == str(len(suite.findall(f"testcase/{tag}")))
    assert suite.get("tests") == str(len(cases))
    assert (suite.get("timestamp"), suite.get("time")) == ("2026-01-02T12:00:02", "2.000")
    whole = replace(snapshot, time="2026-01-02T12:00:03Z")
    assert ElementTree.fromstring(junit(outcomes, whole))[0].get("timestamp") == (
        "2026-01-02T12:00:03"
    )
    words = "".join(suite.itertext())
    assert 'a"b<c>&?[31m?\ufffd? é' in words
    assert "UNEVEN" in (suite.findtext("system-out") or "")


def test_text_has_a_line_for_each_and_the_result_with_the_verdict_last() -> None:
    outcomes, snapshot = many()
    first = snapshot.verdicts[0]
    other = replace(first, finding=replace(first.finding, word="FAIR"))
    value = json.loads(json_line(outcomes, replace(snapshot, verdicts=(first, other))))
    assert value["verdict"] == "UNEVEN"
    lines = text(outcomes, snapshot).splitlines()
    assert len(lines) == len(outcomes) + 1
    assert all(line.isprintable() for line in lines)
    assert lines[-1].startswith("FAILED: 3 of 12 conditions; UNEVEN: worker 1001 took 1.80x")
    (share,) = (line for line in lines if "30%" in line)
    assert share.startswith(
        "FAILED      --max-share 30%: measured 45.0%, allowed at most 30.0%; pid"
    )


def test_the_last_line_says_what_became_of_all() -> None:
    few = reuseport((3, 1, 0, 2), "process")
    for snapshot, start in (
        (EVEN, "PASSED: 1 condition; FAIR: 4 sockets"),
        (few, "NO VERDICT: 1 of 1 condition could not be judged; TOO FEW: 6 connections"),
    ):
        last = text(judge([Condition("fair", "FAIR")], snapshot), snapshot).splitlines()[-1]
        assert last.startswith(start)


def test_the_last_line_has_the_gravest_verdict_alone() -> None:
    snapshot = several_ports()
    last = text(judge([Condition("fair", "FAIR")], snapshot), snapshot).splitlines()[-1]
    assert last == "FAILED: 1 of 1 condition; " + sentences(snapshot)[0]
    assert len(sentences(snapshot)) == 3


class Recorder:
    """Takes what is printed."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        return

    def isatty(self) -> bool:
        return False

    def enough(self) -> None:
        self.ended = True


@pytest.mark.parametrize(("early", "expected"), [(True, False), (False, True)])
def test_early_ends_with_what_made_it_certain(early: bool, expected: bool) -> None:
    out = Recorder()
    demand = Demand((Condition("no-loss", 0),), "text", early)
    screen = Checking(demand, out, out)  # type: ignore[arg-type]
    screen.show(EVEN)
    assert not out.ended
    screen.show(listeners(EVEN, dropped_overflow=1))
    assert out.ended is early
    screen.finish(EVEN, EVEN)
    assert (result(screen.outcomes), out.text.count("\n")) == (expected, 2)


Options = Sequence[str]


def run(monkeypatch: pytest.MonkeyPatch, *options: str, snapshot: Snapshot | None = EVEN) -> Any:
    """The command, whose run ends with this summary; None: before there was any."""
    seen_by: list[Config] = []

    def trace(run: Run, _: object) -> None:
        seen_by.append(run.config)
        if snapshot is not None and run.screen is not None:
            screen = run.screen(Recorder())  # type: ignore[arg-type]
            screen.finish(snapshot, snapshot)

    monkeypatch.setattr(command, "trace", trace)
    monkeypatch.setattr("accepttrace.run.pace.signal.signal", lambda *_: None)
    done = CliRunner().invoke(command.check, options)
    return done.exit_code, seen_by


@pytest.mark.parametrize(
    ("options", "snapshot", "status"),
    [
        ((), EVEN, 0),
        ((), UNEVEN, EXIT_BAD_VERDICT),
        (("--max-share", "50%", "--no-loss"), UNEVEN, 0),
        (("--max-share", "0.3", "--no-loss"), UNEVEN, EXIT_BAD_VERDICT),
        (("--no-loss",), listeners(EVEN, dropped_other=None), EXIT_NO_VERDICT),
        (("--no-loss", "--max-share", "1%"), listeners(EVEN, dropped_other=None), EXIT_BAD_VERDICT),
        ((), None, EXIT_NO_VERDICT),
        (("--pattern", "none"), ordered("NONE"), 0),
        (("--pattern", "round-robin"), ordered("ROUND ROBIN"), 0),
        (("--pattern", "lifo"), ordered("BURSTY"), EXIT_BAD_VERDICT),
        (("--pattern", "bursty"), ordered(None), EXIT_NO_VERDICT),
    ],
)
def test_the_exit_status_is_that_of_the_result(
    monkeypatch: pytest.MonkeyPatch, options: Options, snapshot: Snapshot | None, status: int
) -> None:
    assert run(monkeypatch, *options, snapshot=snapshot)[0] == status


@pytest.mark.parametrize(
    "options",
    [
        ("--max-share", "0"),
        ("--max-share", "101%"),
        ("--max-share", "40"),
        ("--max-share", "nan%"),
        ("--max-ratio", "0.9"),
        ("--max-ratio", "inf"),
        ("--max-open-ratio", "x"),
        ("--min-workers", "-1"),
        ("--max-queue", "1.5"),
        ("--max-wait", "50ms"),
        ("--max-wait", "p95=50ms"),
        ("--max-wait", "p99="),
        ("--max-wait", "p99=fast"),
        ("--expect", "sole"),
        ("--pattern", "fifo"),
        ("-o", "csv"),
        ("-d", "0"),
    ],
)
def test_what_is_no_condition_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    assert run(monkeypatch, *options) == (2, [])


def test_the_order_is_noted_only_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, expected in (((), False), (("--pattern", "lifo"), True)):
        (config,) = run(monkeypatch, *options)[1]
        assert config.patterns is expected


def test_values_of_options() -> None:
    assert command.parse_share("40%") == command.parse_share("0.4") == 0.4
    assert command.parse_wait("p99=50ms") == ("p99", 50_000)
    assert command.parse_wait("max=2s") == ("max", 2_000_000)


def test_a_row_is_a_process_and_ten_seconds_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    _, (config,) = run(monkeypatch, "-p", "80")
    assert (config.by, config.duration_s, config.window_s) == ("process", 10.0, None)
    assert config.filters.ports == {80}


def test_numbers_are_written_in_their_unit_with_the_bound_before() -> None:
    snapshot = replace(EVEN, verdicts=())
    for name, measured, allowed, words in (
        ("max-share", 0.123456, 0.5, "measured 12.3%, allowed at most 50.0%"),
        ("max-ratio", 1.23456, 2.0, "measured 1.23, allowed at most 2.00"),
        ("max-wait", 1500.4, 2000, "measured 1.5ms, allowed at most 2.0ms"),
        ("max-queue", 1234, 5000, "measured 1,234, allowed at most 5,000"),
        ("min-workers", 3, 4, "measured 3, allowed at least 4"),
        ("min-local", None, 0.5, "measured n/a, allowed at least 50.0%"),
        ("expect", "FAIR", "UNEVEN", "measured FAIR, allowed UNEVEN"),
        ("no-loss", 0, 0, "measured 0, allowed 0"),
    ):
        condition = Condition(cast("Name", name), allowed, "x", 0.99)
        first = text([Outcome(condition, True, measured, "")], snapshot).splitlines()[0]
        assert first == f"ok          --{name} x: {words}"
        value = json.loads(json_line([Outcome(condition, False, measured, "why")], snapshot))
        (found,) = value["conditions"]
        assert found["quantile"] == (0.99 if name == "max-wait" else None)
        digits = {"max-share": 4, "max-ratio": 4}.get(name)
        rounded = round(measured, digits) if isinstance(measured, float) else measured
        assert (found["measured"], found["allowed"], found["text"]) == (rounded, allowed, "why")
        assert (value["verdict"], value["verdicts"], value["result"]) == (None, [], "failed")
