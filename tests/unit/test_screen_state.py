"""What each key changes, without a terminal."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest

from accepttrace.views.screen.state import GROUPINGS, Drawn, Page, State, Wish, press

ORDER = tuple((number,) for number in range(10))
DRAWN = Drawn(order=ORDER, room=4, sorts=(None, "rate", "queue"), windows=(10.0, 60.0, None))


def pressed(*keys: str, state: State | None = None, drawn: Drawn = DRAWN) -> State:
    return reduce(lambda one, key: press(one, key, drawn), keys, state or State())


@pytest.mark.parametrize(
    ("key", "at", "row"),
    [
        ("down", 0, 1),
        ("j", 4, 5),
        ("up", 0, 0),
        ("k", 4, 3),
        ("down", 9, 9),
        ("pagedown", 1, 5),
        ("pageup", 9, 5),
        (" ", 8, 9),
        ("home", 7, 0),
        ("end", 0, 9),
    ],
)
def test_moving_selects_a_row_by_what_it_is(key: str, at: int, row: int) -> None:
    assert pressed(key, drawn=DRAWN._replace(at=at)).selected == (row,)


def test_there_is_nothing_to_move_to_in_an_empty_table() -> None:
    state = pressed("down", "end", "enter", drawn=Drawn())
    assert (state.selected, state.page) == (None, "table")


BUSY = State(
    *(Wish("thread", 10.0), "table", "rate", True, "x", False, (3,), 9, 9, 5, True),
)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("down", {"selected": (4,), "at": 4}),
        ("s", {"sort": "queue", "reverse": False, "top": 0}),
        ("S", {"reverse": False, "top": 0}),
        ("z", {"wish": Wish("thread", 10.0, 1), "paused": False}),
        ("w", {"wish": Wish("thread", 60.0), "paused": False}),
        ("/", {"typing": True}),
        ("p", {"paused": False}),
        ("q", {"ended": True}),
        ("escape", {"filter": "", "selected": None, "at": 0, "top": 0}),
        ("enter", {"page": "worker", "scroll": 0, "wish": Wish("thread", 10.0, threads=True)}),
        ("h", {"page": "histogram", "scroll": 0}),
        ("x", {}),
        (
            "g",
            {
                **{"wish": Wish("socket", 10.0), "paused": False, "sort": None},
                **{"selected": None, "at": 0, "top": 0},
            },
        ),
    ],
)
def test_a_key_changes_what_it_is_for_and_nothing_else(key: str, changes: dict[str, Any]) -> None:
    after = press(BUSY, key, DRAWN._replace(at=3, top=2))
    assert after == replace(BUSY, **{"at": 3, "top": 2, **changes})


def test_what_is_typed_shows_the_table_from_its_top() -> None:
    typing = replace(BUSY, typing=True)
    drawn = DRAWN._replace(at=3, top=2)
    assert press(typing, "y", drawn) == replace(typing, filter="xy", at=3, top=0)
    assert press(typing, "backspace", drawn) == replace(typing, filter="", at=3, top=2)
    assert press(typing, "paste:a\nb", drawn).filter == "x"
    assert len(press(typing, "paste:" + "y" * 100, drawn).filter) == 64


def test_pages_open_over_an_empty_table_too_but_that_of_nobody() -> None:
    pages = [press(State(), key, Drawn()).page for key in ("h", "e", "?", "enter")]
    assert pages == ["histogram", "explain", "keys", "table"]


@pytest.mark.parametrize(("length", "last"), [(0, 0), (3, 0), (4, 0), (5, 1), (50, 46)])
def test_a_page_scrolls_to_its_last_line_and_no_farther(length: int, last: int) -> None:
    page = State(page="keys", scroll=2)
    drawn = DRAWN._replace(length=length)
    assert press(page, "end", drawn).scroll == last
    assert press(page, "home", drawn).scroll == 0
    assert press(replace(page, scroll=last), "down", drawn).scroll == last
    assert press(page, "up", drawn).scroll == max(min(last, 2) - 1, 0)


def test_grouping_goes_round_and_forgets_whom_it_had_selected() -> None:
    state = State(selected=(3,), sort="rate", paused=True)
    seen = []
    for _ in GROUPINGS:
        state = press(state, "g", DRAWN)
        seen.append(state.wish.by)
        assert (state.selected, state.sort, state.paused) == (None, None, False)
    assert seen == [*GROUPINGS[1:], GROUPINGS[0]]


def test_sorting_takes_the_next_column_that_is_shown() -> None:
    states = [pressed(*["s"] * times) for times in range(4)]
    assert [state.sort for state in states] == [None, "rate", "queue", None]
    assert pressed("S").reverse
    assert not pressed("S", "s").reverse
    assert pressed("s", state=State(sort="not shown")).sort is None


def test_the_window_goes_round() -> None:
    state = State(Wish(window_s=60.0))
    assert pressed("w", state=state).wish.window_s is None
    assert pressed("w", "w", state=state).wish.window_s == 10.0
    assert pressed("w", state=State(Wish(window_s=5.0))).wish.window_s == 10.0  # none of them


def test_each_z_begins_anew() -> None:
    assert pressed("z", "z").wish.anew == 2


def test_the_filter_takes_keys_while_it_is_typed() -> None:
    state = pressed("/", "q", "G", "x", "backspace")
    assert (state.filter, state.typing, state.ended) == ("qG", True, False)
    kept = press(state, "enter", DRAWN)
    assert (kept.filter, kept.typing) == ("qG", False)
    assert press(kept, "q", DRAWN).ended
    assert press(kept, "escape", DRAWN).filter == ""
    left = press(state, "escape", DRAWN)
    assert (left.filter, left.typing) == ("", False)


def test_what_is_pasted_goes_into_the_filter_alone() -> None:
    assert pressed("paste:qqq") == pressed()
    assert pressed("/", "paste:nginx", "up").filter == "nginx"
    assert len(pressed("/", *["paste:" + "x" * 50] * 5).filter) == 64
    assert pressed("/", "\u202e").filter == ""


@pytest.mark.parametrize(
    ("key", "page"), [("enter", "worker"), ("h", "histogram"), ("e", "explain"), ("?", "keys")]
)
def test_a_page_opens_scrolls_and_closes(key: str, page: Page) -> None:
    assert not State().wish.threads
    state = pressed(key)
    assert (state.page, state.wish.threads) == (page, page == "worker")
    drawn = DRAWN._replace(length=10, room=4)
    assert pressed("down", "down", state=state, drawn=drawn).scroll == 2
    assert pressed("end", "down", state=state, drawn=drawn).scroll == 6
    assert pressed("end", "pageup", state=state, drawn=drawn).scroll == 2
    assert pressed("up", state=state, drawn=drawn).scroll == 0
    whole = DRAWN._replace(length=4, room=4)
    assert pressed("down", "end", state=state, drawn=whole).scroll == 0
    for back in ("q", "escape", key):
        closed = press(state, back, drawn)
        assert (closed.page, closed.ended, closed.wish.threads) == ("table", False, False)


def test_pause_can_be_pressed_everywhere_and_ends_with_what_needs_new_numbers() -> None:
    assert pressed("p").paused
    assert not pressed("p", "p").paused
    assert pressed("h", "p").paused
    for key in ("g", "w", "z"):
        assert not pressed("p", key).paused


@pytest.mark.parametrize("key", ["left", "right", "x", "\t", "tab", "", "世"])
def test_other_keys_change_nothing(key: str) -> None:
    assert pressed(key) == pressed()


def test_a_replay_moves_in_time_and_stands_still() -> None:
    begun = State(replays=True)
    assert pressed("right", "right", "left", state=begun).wish.moved == 10
    held = pressed("p", state=begun)
    assert (held.wish.held, held.stands, held.paused) == (True, True, False)
    assert pressed("left", "h", "left", state=held).wish.moved == -2
    assert not pressed("p", state=held).stands
    assert pressed("/", "p", state=begun).filter == "p"
