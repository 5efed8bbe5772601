"""Every word on the screen is explained, in one place, briefly."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args

import pytest
from click.testing import CliRunner

from accepttrace.cli.explain import NARROW, explain
from accepttrace.errors import UsageError
from accepttrace.facts.records import Losses
from accepttrace.model.verdict import Word
from accepttrace.views.columns import tcp, udp
from accepttrace.views.explain import KINDS, WIDTH, lines, listing, markdown
from accepttrace.views.explanations import COLUMNS, LOSSES, UDP, Explanation, everything, find, near
from accepttrace.views.losses import LOST, NOT_LOST, OVERFLOW, SHARED

ALL = list(everything())
MOST_LINES = 12


def kinds(word: str) -> set[str]:
    return {one.kind for one in find(word)}


def shown(*words: str) -> str:
    done = CliRunner().invoke(explain, words)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("word", get_args(Word))
def test_every_verdict_is_explained(word: str) -> None:
    (one,) = find(word)
    assert one.kind == "verdict"
    assert all((one.means, one.why, one.do))


@pytest.mark.parametrize("word", ["LIFO", "BURSTY"])
def test_every_pattern_is_explained(word: str) -> None:
    assert kinds(word) == {"pattern"}


@pytest.mark.parametrize("cause", [*LOST, OVERFLOW, *NOT_LOST], ids=lambda one: one.field)
def test_every_loss_is_found_by_its_field_and_its_words(cause: object) -> None:
    assert "loss" in kinds(getattr(cause, "field", ""))
    assert "loss" in kinds(getattr(cause, "words", ""))


@pytest.mark.parametrize("cause", SHARED)
def test_every_loss_of_a_namespace_is_found(cause: str) -> None:
    assert kinds(SHARED[cause][1]) == {"loss"}


def test_every_loss_of_the_tracer_is_explained() -> None:
    numbers = {one.name for one in fields(Losses)} - {"over_whose", "rowless"}
    assert {name for name in numbers if kinds(name) == {"missed"}} == numbers
    assert all(kinds(word) == {"missed"} for _, word in Losses().by_cause)


@pytest.mark.parametrize("table", [tcp.TABLE, udp.TABLE], ids=["tcp", "udp"])
def test_every_column_is_found_by_title_and_key_and_has_its_help(table: object) -> None:
    for column in getattr(table, "columns", ()):
        for name in (column.key, column.title):
            helped = [one for one in find(name) if column.help[1:] in one.means]
            assert helped, column.key


def test_no_column_is_explained_twice() -> None:
    titles = [one.word for one in ALL if one.kind in ("column", "loss")]
    assert sorted(titles) == sorted(set(titles))
    assert len([one for one in ALL if one.kind == "udp"]) == len(udp.TABLE.columns)


def test_nothing_is_said_of_what_is_not_there() -> None:
    keys = set(tcp.TABLE.keys())
    causes = {cause.field for cause in (*LOST, OVERFLOW, *NOT_LOST)} | {"cookie"}
    assert set(LOSSES) == causes
    assert set(COLUMNS) <= keys - (causes - {OVERFLOW.field})  # which is a column of UNIX sockets
    assert set(UDP) <= set(udp.TABLE.keys())


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.kind}-{one.word}")
def test_an_explanation_is_short_and_refers_to_what_there_is(one: Explanation) -> None:
    text = lines(one)
    assert len(text) <= MOST_LINES
    assert max(map(len, text)) <= WIDTH
    said = " ".join((one.means, one.why, one.do))
    assert said.isascii()
    assert re.fullmatch(r"\S.*\.", one.means)
    referred = re.findall(r"\b(?:see|See) ([A-Z][A-Z_]+(?:[ -][A-Z]+)*)", said)
    assert [word for word in referred if not find(word)] == []


@pytest.mark.parametrize(
    "typed",
    ["round robin", "ROUND-ROBIN", "roundrobin", "Round_Robin"],
)
def test_case_spaces_and_dashes_do_not_matter(typed: str) -> None:
    assert [one.word for one in find(typed)] == ["ROUND ROBIN"]


@pytest.mark.parametrize("typed", ["xFAIR", "XFAIR", "fair_ratio", "fair ratio"])
def test_a_column_is_found_by_its_title_and_its_key(typed: str) -> None:
    (one,) = find(typed)
    assert one.word == "xFAIR"
    assert one.means.startswith("Accepts as a multiple of an even split")


def test_a_column_with_two_words_is_found_by_both() -> None:
    assert [one.word for one in find("WAIT p99")] == ["p99"]
    assert [one.word for one in find("wait p50")] == ["WAIT p50"]


def test_the_command_explains_words_given_as_one_or_several() -> None:
    assert shown("TOO", "FEW") == shown("too few")
    assert shown("TOO", "FEW").startswith("TOO FEW (verdict)\n  Too few connections came")
    both = shown("drops")
    assert "DROPS (of clients)" in both
    assert "DROPS (column of --udp)" in both


def test_without_a_word_it_lists_all_in_a_line_each() -> None:
    text = shown()
    assert text == listing() + "\n"
    rows = text.splitlines()
    assert max(map(len, rows)) <= WIDTH
    assert [row for row in rows if row.endswith(":") and row[0] != " "] == [
        f"{head}:" for head, _ in KINDS.values()
    ]
    assert len([row for row in rows if row.startswith("  ")]) == len(ALL)


def test_a_narrow_window_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "5")
    assert max(map(len, shown().splitlines())) <= NARROW
    assert max(map(len, shown("stuck").splitlines())) <= NARROW


def test_an_unknown_word_is_an_error_with_near_ones() -> None:
    done = CliRunner().invoke(explain, ["unevn"])
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == 2
    assert "'unevn'" in done.exception.message
    assert done.exception.hint.startswith("one of these: UNEVEN, ")
    assert near("overflw")[0] == "QUEUE FULL"
    assert "SYNDROP" in near("SYNs dropped")
    assert near("qqqqqqqq") == []


def test_the_reference_has_every_word_with_more_than_a_meaning() -> None:
    text = markdown()
    for one in ALL:
        assert (f"\n### {one.word}\n" in text) == any(
            same.why or same.do for same in ALL if same.word == one.word
        )


@pytest.mark.parametrize("width", [40, 79, 80])
def test_words_are_broken_at_blanks_alone(width: int) -> None:
    for one in ALL:
        first, *body = lines(one, width)
        text = " ".join(part.strip() for part in body)
        labels = ("Helps", "Costs") if one.kind == "remedy" else ("Why", "What to do")
        rest = [
            f"{label}: {words}"
            for label, words in zip(labels, (one.why, one.do), strict=True)
            if words
        ]
        assert text == " ".join(" ".join([one.means, *rest]).split())
        assert first.startswith(f"{one.word} (")
        assert max(map(len, body)) <= width


def test_the_list_has_the_beginning_of_each_as_far_as_it_fits() -> None:
    shown = listing(60).splitlines()
    cut = [line for line in shown if line.endswith("...")]
    assert max(map(len, shown)) <= 60
    assert len(cut) > 20
    assert max(map(len, cut)) > 55
    assert listing() == listing(80)


def test_what_is_like_a_word_is_five_words_at_most() -> None:
    assert near("wait")[:5] == near("wait")
    assert len(near("wait")) == len(near("accept")) == 5
    assert near("max")
    assert "UNEVEN" in near("une")
    assert "UNEVEN" not in near("un")
