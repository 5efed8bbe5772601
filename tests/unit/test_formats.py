"""Numbers, times and text as cells of a terminal."""

from __future__ import annotations

import pytest

from accepttrace.facts.records import Program
from accepttrace.views import formats, text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (119, "1m59s"),
        (120, "2m00s"),
        (185, "3m05s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (7199, "1h59m"),
        (7200, "2h00m"),
        (7659, "2h07m"),
        (86399, "23h59m"),
        (86400, "1d00h"),
        (172_799, "1d23h"),
        (172_800, "2d00h"),
        (3 * 86400 + 4 * 3600 + 3599, "3d04h"),
        (30 * 86400 + 23 * 3600, "30d23h"),
    ],
)
def test_how_long_something_lasts(seconds: float, shown: str) -> None:
    assert formats.span(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.25, "0.25s"), (90, "90s"), (119.5, "119.5s"), (120, "2m00s"), (301, "5m01s")],
)
def test_a_chosen_length_is_written_as_it_was_chosen(number: float, shown: str) -> None:
    assert formats.seconds(number) == shown


@pytest.mark.parametrize(
    ("us", "shown"),
    [
        (0, "0us"),
        (999, "999us"),
        (1000, "1.0ms"),
        (1001, "1.1ms"),
        (9900, "9.9ms"),
        (9901, "10ms"),
        (10_001, "11ms"),
        (999_000, "999ms"),
        (999_001, "1.0s"),
        (9_900_000, "9.9s"),
        (9_900_001, "10s"),
        (9_998_000_001, "9999s"),
        (123_456_000_000, "123456s"),
    ],
)
def test_a_waiting_time_is_rounded_up_to_what_fits(us: int, shown: str) -> None:
    assert formats.times([us, None]) == [shown, "n/a"]


def test_what_is_not_known_is_never_0() -> None:
    for column in (formats.counts, formats.numbers, formats.rates, formats.shares, formats.ratios):
        assert column([None]) == ["n/a"]
    assert (formats.known(None), formats.known(0), formats.known(1234)) == ("n/a", "0", "1,234")


def test_numbers_of_a_column_are_written_alike() -> None:
    assert formats.counts([0, 12345]) == ["0", "12,345"]
    assert formats.numbers([12345, "eth0"]) == ["12345", "eth0"]
    assert formats.rates([0.04, 99.94]) == ["0.0", "99.9"]
    assert formats.rates([1.26, 100]) == ["1", "100"]
    assert formats.rates([1234.5]) == ["1,234"]
    assert formats.shares([0.613, 1]) == ["61.3%", "100.0%"]
    assert formats.ratios([2.4, 1]) == ["2.40", "1.00"]


def test_nouns_have_a_plural() -> None:
    assert [formats.plural(number, "accept") for number in (0, 1, 2, 1000)] == [
        "0 accepts",
        "1 accept",
        "2 accepts",
        "1,000 accepts",
    ]
    assert formats.plural(3, "probe miss") == "3 probe misses"
    assert formats.plural(4, "map full") == "4 map full"


def test_an_endpoint_is_written_as_ss_does() -> None:
    assert formats.endpoint("127.0.0.1", 80, "ipv4", 5) == "127.0.0.1:80"
    assert formats.endpoint("::", 80, "ipv6", 5, "eth0") == "[::]%eth0:80"
    assert formats.endpoint(None, 80, "ipv4", None) == "*:80"
    assert formats.endpoint("127.0.0.1", None, "ipv4", None) == "127.0.0.1:*"
    assert formats.endpoint(None, None, None, None) == "several"
    assert formats.endpoint(None, None, None, 5) == "n/a"
    assert formats.selector("ebpf", Program(12, "steer")) == "ebpf 12 steer"
    assert formats.selector("hash", None) == "hash"
    assert formats.selector("cbpf", Program(None, "cpu modulo 4")) == "cbpf cpu modulo 4"


@pytest.mark.parametrize(
    ("width", "shown"),
    [(16, "192.168.100.1:80"), (15, "192.168.100…:80"), (5, "1…:80"), (4, "192."), (1, "1")],
)
def test_an_endpoint_that_is_too_long_keeps_its_port(width: int, shown: str) -> None:
    assert formats.shorten("192.168.100.1:80", width) == shown


@pytest.mark.parametrize(
    ("char", "columns"),
    [
        ("a", 1),
        ("é", 1),
        ("\u0301", 0),  # a mark above the letter before it
        ("\u20dd", 0),  # a circle around it
        ("\u200d", 0),
        ("\u1160", 0),
        ("\u1180", 0),
        ("\u11ff", 0),
        ("\u115f", 2),
        ("\u1100", 2),
        ("\u1200", 1),
        ("世", 2),
        ("\uff21", 2),
    ],
)
def test_a_character_takes_the_columns_that_a_terminal_gives_it(char: str, columns: int) -> None:
    assert text.cells(char) == columns
    assert text.cells(f"x{char}x") == 2 + columns


def test_text_is_cut_at_whole_characters_and_says_so() -> None:
    assert text.clip("abcd", 4) == "abcd"
    assert text.clip("abcde", 4) == "abc…"
    assert text.clip("世世世", 4) == "世…"
    assert text.clip("世世世", 5) == "世世…"
    assert [text.clip("abc", width) for width in (2, 1, 0)] == ["a…", "…", ""]
    assert text.pad("ab", 4, "right") == "  ab"
    assert text.pad("世", 4, "left") == "世  "
    assert text.degraded("a…b") == "?+?"
    assert text.degraded("世\u0301") == "??"


def test_a_line_is_cut_where_the_window_ends() -> None:
    line = (("abc", "bold"), ("def", ""), ("ghi", "dim"))
    assert text.cut(line, 9) == line
    assert text.cut(line, 6) == (*line[:2], ("", "dim"))
    assert text.cut(line, 5) == (("abc", "bold"), ("d…", ""))


def test_parts_flow_over_lines_and_none_is_broken() -> None:
    parts = [("abc", "bold"), ("", ""), ("def", ""), ("ghi", ""), ("jkl", "")]
    assert text.plain(text.flow(parts, 8)) == "abc  def\nghi  jkl\n"
    assert text.plain(text.flow(parts, 7)) == "abc\ndef\nghi\njkl\n"
    assert text.plain(text.flow(parts, 8, indent=" ")) == "abc  def\n ghi\n jkl\n"
    assert text.plain(text.flow(parts, 14, gap=", ", indent=" ")) == "abc, def, ghi\n jkl\n"
    assert text.flow([("abcdef", "")], 4) == [(("abc…", ""),)]
