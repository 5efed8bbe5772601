"""The live screen: what it draws, what stays when it ends, what it costs."""

from __future__ import annotations

import io
import re
import time

import pytest

from accepttrace.views.live import LiveView
from accepttrace.views.svg import export_svg
from accepttrace.views.table import render
from accepttrace.views.text import Line, plain
from tests.unit.pictures import four_workers

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def terminal(width: int = 80, height: int = 24) -> tuple[LiveView, io.StringIO]:
    out = io.StringIO()
    return LiveView(out, lambda: (width, height)), out


def picture(width: int, height: int | None) -> list[Line]:
    return render(four_workers(), width, height)


def test_it_draws_in_the_alternate_screen_and_leaves_the_last_picture() -> None:
    view, out = terminal()
    with view:
        view.update(picture)
        drawn = out.getvalue()
    assert ENTER in drawn
    assert LEAVE not in drawn
    assert "nginx: worker" in drawn
    _, _, after = out.getvalue().partition(LEAVE)
    assert ESCAPE.sub("", after).endswith(plain(picture(80, None)))


def test_each_line_of_the_screen_is_one_of_the_table() -> None:
    view, out = terminal()
    with view:
        view.update(picture)
        lines = ESCAPE.sub("", out.getvalue()).split("\r\n")
    expected = plain(picture(80, 24)).splitlines()
    assert [line.rstrip() for line in lines] == expected
    assert out.getvalue().count("\x1b[K") >= len(lines)


def test_it_asks_for_the_window_as_it_is_now() -> None:
    sizes = [(80, 24), (100, 30)]
    asked: list[tuple[int, int | None]] = []

    def factory(width: int, height: int | None) -> list[Line]:
        asked.append((width, height))
        return []

    with LiveView(io.StringIO(), lambda: sizes[min(len(asked), 1)]) as view:
        view.update(factory)
        view.update(factory)
    assert asked == [(80, 24), (100, 30), (100, None)]


def test_the_picture_stays_also_after_an_error() -> None:
    view, out = terminal()

    def interrupted() -> None:
        with view:
            view.update(picture)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "nginx: worker" in out.getvalue().partition(LEAVE)[2]


def test_a_dumb_terminal_gets_plain_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    view, out = terminal()
    with view:
        view.update(picture)
        view.update(picture)
    assert out.getvalue() == 2 * plain(picture(80, None))


@pytest.mark.parametrize(("no_color", "codes"), [("", "1;31"), ("1", "1")])
def test_styles_reach_the_terminal_and_no_color_leaves_out_colours(
    no_color: str, codes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    view, out = terminal()
    with view:
        view.update(lambda *_: [(("LOST", "bold red"), (" nothing", ""))])
    assert f"\x1b[{codes}mLOST\x1b[0m nothing" in out.getvalue()


def test_a_refresh_of_64_rows_is_cheap() -> None:
    """5 ms is the goal (0.6 ms here); rich's own table took 46. The best of ten: CI is noisy."""
    snapshot = four_workers(tuple(range(1, 65)))
    view, _ = terminal(120, 75)
    costs: list[float] = []
    with view:
        lines = render(snapshot, 120, 75)
        for _ in range(10):
            began = time.process_time()
            view.update(lambda *_: lines)
            costs.append(time.process_time() - began)
    assert min(costs) < 0.005


def test_leading_blanks_are_a_text_of_their_own_in_the_svg() -> None:
    """Some viewers drop them, and stretch the rest."""
    svg = export_svg([(("  indented", "bold"), (" more", "")), (), (("end", ""),)], "title", 20)
    texts = re.findall(r">([^<>]+)</text>", svg)
    assert "indented" in texts


def test_the_svg_shows_the_table_and_calls_nobody() -> None:
    svg = export_svg(picture(80, 24), "accepttrace --port 80", 80)
    assert svg == export_svg(picture(80, 24), "accepttrace --port 80", 80)
    assert "nginx:&#160;worker" in svg
    assert "accepttrace&#160;--port&#160;80" in svg
    assert "@font-face" not in svg
    links = set(re.findall(r"https?://[^\"'\s<)]+", svg))
    assert links <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
