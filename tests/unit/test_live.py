"""What a terminal is sent, and a table as a picture."""

from __future__ import annotations

import re
import time

import pytest

from accepttrace.run.terminal import has_blocks
from accepttrace.views.screen.draw import Drawing, Sight, Window
from accepttrace.views.screen.glyphs import ASCII, BLOCKS
from accepttrace.views.screen.paint import Painter
from accepttrace.views.screen.state import State
from accepttrace.views.svg import export_svg
from accepttrace.views.table import render
from accepttrace.views.text import Line, plain
from tests.unit.pictures import four_workers, reuseport

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def painter(*, colored: bool = True, ascii: bool = False) -> Painter:
    return Painter(colored=colored, ascii=ascii)


def test_only_lines_that_changed_are_sent() -> None:
    one = painter()
    first = one.changes([(("a", ""),), (("b", ""),)])
    assert "a" in first
    assert "b" in first
    assert one.changes([(("a", ""),), (("c", ""),)]) == "\x1b[2H\x1b[Kc"
    assert one.changes([(("a", ""),), (("c", ""),)]) == ""


def test_a_window_of_another_height_is_drawn_anew() -> None:
    one = painter()
    one.changes([(("a", ""),), (("b", ""),)])
    assert one.changes([(("a", ""),)]).startswith("\x1b[0m\x1b[2J\x1b[1H")
    one.forget()
    assert "a" in one.changes([(("a", ""),)])


def test_a_line_is_cleared_before_it_is_written() -> None:
    """Afterwards the cursor stands on the last cell of a full one, which would go too."""
    assert painter().changes([(("full", ""),)]).endswith("\x1b[Kfull")


@pytest.mark.parametrize(
    ("style", "colored", "codes"),
    [
        ("bold red", True, "1;31"),
        ("bold red", False, "1"),
        ("bad", True, "1;37;41"),
        ("bad", False, "1;7"),
        ("warn reverse", True, "30;43;7"),
        ("good", False, "1"),
    ],
)
def test_styles_reach_the_terminal_and_colours_can_be_left_out(
    style: str, colored: bool, codes: str
) -> None:
    one = painter(colored=colored)
    assert one.styled((("LOST", style), (" 3", ""))) == f"\x1b[{codes}mLOST\x1b[0m 3"


def test_without_unicode_all_is_ascii_of_the_same_width() -> None:
    line = (("a…b世e\u0301", ""),)
    assert painter(ascii=True).styled(line) == "a+b??e"
    assert painter().styled(line) == line[0][0]


@pytest.mark.parametrize(
    ("environment", "blocks"),
    [
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # as Python sets it by itself
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "C", "LC_ALL": "de_DE.utf8"}, True),
        ({"LANG": "C.UTF-8", "LC_ALL": "POSIX"}, False),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, False),
        ({}, False),
    ],
)
def test_blocks_need_a_locale_that_has_them(environment: dict[str, str], blocks: bool) -> None:
    assert has_blocks("utf-8", environment) is blocks
    assert not has_blocks("ascii", environment)


@pytest.mark.parametrize("glyphs", [BLOCKS, ASCII], ids=["blocks", "ascii"])
def test_a_refresh_of_512_workers_is_cheap(glyphs: object) -> None:
    """20 ms are the goal, of a budget of 60 for all that a refresh costs. The best of ten."""
    snapshot = reuseport([*range(1, 513)])
    costs: list[float] = []
    for _ in range(10):
        began = time.process_time()
        drawing = Drawing(BLOCKS if glyphs is BLOCKS else ASCII)
        picture = drawing.draw(Sight(snapshot), State(), Window(120, 40))
        painter().changes(picture.lines)
        costs.append(time.process_time() - began)
    assert min(costs) < 0.020


def picture(width: int, height: int | None) -> list[Line]:
    return render(four_workers(), width, height)


def test_leading_blanks_are_a_text_of_their_own_in_the_svg() -> None:
    """Some viewers drop them, and stretch the rest."""
    svg = export_svg([(("  indented", "bold"), (" more", "")), (), (("end", ""),)], "title", 20)
    texts = re.findall(r">([^<>]+)</text>", svg)
    assert [one for one in texts if one.strip()] == ["title", "indented", "more", "end"]


def test_the_svg_shows_the_table_and_calls_nobody() -> None:
    svg = export_svg(picture(80, 24), "accepttrace --port 80", 80)
    assert svg == export_svg(picture(80, 24), "accepttrace --port 80", 80)
    assert "nginx:&#160;worker" in svg
    assert "accepttrace&#160;--port&#160;80" in svg
    assert "@font-face" not in svg
    links = set(re.findall(r"https?://[^\"'\s<)]+", svg))
    assert links <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


def test_the_svg_shows_every_style_of_the_screen() -> None:
    words = ("bad", "warn", "good", "bold", "reverse")
    svg = export_svg([tuple((word, word) for word in words)], "styles", 40)
    assert all(word in svg for word in words)
    assert plain([(("x", "bad"),)]) == "x\n"


def test_a_style_changes_the_svg() -> None:
    plain, bold = (export_svg([(("a", style),)], "title", 20) for style in ("", "bold"))
    assert ";font-weight: bold }" in bold
    assert ";font-weight: bold }" not in plain
