"""What the person at the screen has chosen, and what each key changes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, get_args

from accepttrace.config import By

Page = Literal["table", "worker", "histogram", "explain", "keys"]
RowKey = tuple[object, ...]  # of a row, whichever place it has in the order
GROUPINGS: Final[tuple[By, ...]] = get_args(By)
LONGEST_FILTER: Final = 64
LEAP: Final = 10  # readings, unless the recording stands still


class Wish(NamedTuple):
    """What the model is asked for. `anew`: how often counting was to begin anew.

    Of a recording: `held`, it stands still; `moved`, by so many readings in all.
    """

    by: By = "worker"
    window_s: float | None = None
    anew: int = 0
    threads: bool = False  # of each process, too
    held: bool = False
    moved: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """`selected`: None is the first row. `at`: its place in the order when it was last drawn.

    `top`: the first line of the table that is shown; `scroll`: of a page. `typing`: keys go to the
    filter. `replays`: it is a recording.
    """

    wish: Wish = field(default_factory=Wish)
    page: Page = "table"
    sort: str | None = None  # a column; None: the most accepts first
    reverse: bool = False
    filter: str = ""
    typing: bool = False
    selected: RowKey | None = None
    at: int = 0
    top: int = 0
    scroll: int = 0
    paused: bool = False
    ended: bool = False
    replays: bool = False

    @property
    def stands(self) -> bool:
        """Whether the numbers stand still."""
        return self.paused or self.wish.held


class Drawn(NamedTuple):
    """What was on the screen when a key was pressed.

    `order`: the rows that can be selected; `room`: lines that a page key moves by; `length`: lines
    of a page. `sorts`: the columns to sort by; `windows`: None is the whole run.
    """

    order: Sequence[RowKey] = ()
    room: int = 1
    length: int = 0
    top: int = 0
    at: int = 0
    sorts: Sequence[str | None] = (None,)
    windows: Sequence[float | None] = (None,)


def press(state: State, key: str, drawn: Drawn) -> State:
    """The state after a key. Unknown ones change nothing."""
    state = replace(state, top=drawn.top, at=drawn.at)
    if state.typing:
        return _typed(state, key)
    if state.replays and key in _IN_TIME:
        return replace(state, wish=_IN_TIME[key](state.wish))
    if state.page != "table":
        return _on_a_page(state, key, drawn)
    if key in _MOVES:
        return _moved(state, key, drawn)
    action = _KEYS.get(key)
    return action(state, drawn) if action else state


def _typed(state: State, key: str) -> State:
    if key == "enter":
        return replace(state, typing=False)
    if key == "escape":
        return replace(state, typing=False, filter="")
    if key == "backspace":
        return replace(state, filter=state.filter[:-1])
    text = key[6:] if key.startswith("paste:") else key if len(key) == 1 else ""
    if not text.isprintable():
        return state
    return replace(state, filter=(state.filter + text)[:LONGEST_FILTER], top=0)


def _on_a_page(state: State, key: str, drawn: Drawn) -> State:
    if key in _MOVES:
        furthest = max(drawn.length - drawn.room, 0)
        goal = _MOVES[key](min(state.scroll, furthest), drawn.room, furthest)
        return replace(state, scroll=min(max(goal, 0), furthest))
    if key in ("q", "escape", "backspace", _OPENS[state.page]):
        return _open(state, "table")
    if key in _PAGES:
        return _open(state, _PAGES[key])
    if key in ("p", "w", "z"):
        return _KEYS[key](state, drawn)
    return state


def _open(state: State, page: Page) -> State:
    wish = state.wish._replace(threads=page == "worker")
    return replace(state, page=page, scroll=0, wish=wish)


def _moved(state: State, key: str, drawn: Drawn) -> State:
    if not drawn.order:
        return state
    last = len(drawn.order) - 1
    goal = min(max(_MOVES[key](min(drawn.at, last), drawn.room, last), 0), last)
    return replace(state, selected=drawn.order[goal], at=goal)


def _next(state: State, drawn: Drawn) -> State:
    """Sort by the next column that is shown."""
    sorts = drawn.sorts
    place = sorts.index(state.sort) if state.sort in sorts else -1
    return replace(state, sort=sorts[(place + 1) % len(sorts)], reverse=False, top=0)


def _grouped(state: State, drawn: Drawn) -> State:  # noqa: ARG001
    place = GROUPINGS.index(state.wish.by)
    wish = state.wish._replace(by=GROUPINGS[(place + 1) % len(GROUPINGS)])
    return replace(state, wish=wish, paused=False, selected=None, at=0, top=0, sort=None)


def _windowed(state: State, drawn: Drawn) -> State:
    windows = drawn.windows
    place = windows.index(state.wish.window_s) if state.wish.window_s in windows else -1
    wish = state.wish._replace(window_s=windows[(place + 1) % len(windows)])
    return replace(state, wish=wish, paused=False)


def _anew(state: State, drawn: Drawn) -> State:  # noqa: ARG001
    return replace(state, wish=state.wish._replace(anew=state.wish.anew + 1), paused=False)


def _escaped(state: State, drawn: Drawn) -> State:  # noqa: ARG001
    return replace(state, filter="", selected=None, at=0, top=0)


def _moved_in_time(wish: Wish, steps: int) -> Wish:
    return wish._replace(moved=wish.moved + (steps if wish.held else steps * LEAP))


def _page(page: Page) -> Callable[[State, Drawn], State]:
    return lambda state, drawn: _open(state, page) if page != "worker" or drawn.order else state


# From where, lines of a page, the last → where.
_MOVES: Final[Mapping[str, Callable[[int, int, int], int]]] = {
    "up": lambda at, _, __: at - 1,
    "k": lambda at, _, __: at - 1,
    "down": lambda at, _, __: at + 1,
    "j": lambda at, _, __: at + 1,
    "pageup": lambda at, room, _: at - room,
    "pagedown": lambda at, room, _: at + room,
    " ": lambda at, room, _: at + room,
    "home": lambda _, __, ___: 0,
    "end": lambda _, __, last: last,
}
_PAGES: Final[Mapping[str, Page]] = {"h": "histogram", "e": "explain", "?": "keys"}
_OPENS: Final[Mapping[Page, str]] = {"worker": "enter", **{v: k for k, v in _PAGES.items()}}
_KEYS: Final[Mapping[str, Callable[[State, Drawn], State]]] = {
    "q": lambda state, _: replace(state, ended=True),
    "g": _grouped,
    "s": _next,
    "S": lambda state, _: replace(state, reverse=not state.reverse, top=0),
    "w": _windowed,
    "z": _anew,
    "/": lambda state, _: replace(state, typing=True),
    "p": lambda state, _: replace(state, paused=not state.paused),
    "escape": _escaped,
    "enter": _page("worker"),
    **{key: _page(page) for key, page in _PAGES.items()},
}
_IN_TIME: Final[Mapping[str, Callable[[Wish], Wish]]] = {
    "p": lambda wish: wish._replace(held=not wish.held),
    "left": lambda wish: _moved_in_time(wish, -1),
    "right": lambda wish: _moved_in_time(wish, 1),
}
