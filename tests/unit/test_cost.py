"""What a refresh of the live screen costs: calls, whose number does not depend on the machine."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import AcceptorCount, Listener, ListenerCount
from accepttrace.model.snapshot import AcceptorRow, ListenerRow
from accepttrace.model.tracker import Tracker
from accepttrace.views.screen.draw import Drawing, Sight, Window
from accepttrace.views.screen.glyphs import BLOCKS
from accepttrace.views.screen.state import State, Wish
from tests.unit.pictures import META, SEES, count, counted, feed, holder, listener

# Measured: 458 (Python 3.11), 656 before the cost was looked at.
CALLS_PER_WORKER = 475
WINDOWS = (10.0, 60.0)
REFRESHES = 4


class Screen:
    """So many nginx workers with `reuseport`, each busy at every refresh."""

    def __init__(self, workers: int) -> None:
        self._numbers = range(workers)
        self._model = Tracker(
            META, Filters(ports=frozenset({80})), 0.0, SEES, window_s=60.0, windows=WINDOWS
        )
        self._drawing = Drawing(BLOCKS)
        self._sockets = [
            listener(10_000 + n, [holder(20_000 + n)], group=7, size=workers) for n in self._numbers
        ]

    def refresh(self, second: int) -> str:
        """One reading until it is drawn in a window of 80 lines; returns the verdict."""
        taken = [
            count(20_000 + n, 3 * second + n % 2, 10_000 + n, waits_us=[90] * second)
            for n in self._numbers
        ]
        seen = [counted(10_000 + n, 3 * second) for n in self._numbers]
        self.calls = 0
        sys.setprofile(self._note)
        try:
            feed(self._model, second, taken, self._sockets, counted=seen)
            sight = Sight(self._model.snapshot(), None, 0.05, (*WINDOWS, None))
            picture = self._drawing.draw(sight, State(wish=Wish("worker", 60.0)), Window(120, 80))
        finally:
            sys.setprofile(None)
        return "".join(text for text, _ in picture.lines[1])

    def _note(self, frame: FrameType, event: str, arg: object) -> None:  # noqa: ARG002
        self.calls += event in ("call", "c_call")


@pytest.fixture(scope="module")
def calls() -> dict[int, float]:
    """Of a refresh, per worker, by the number of workers."""
    found = {}
    for workers in (64, 512):
        screen = Screen(workers)
        for second in range(1, REFRESHES + 1):
            assert f"over {workers} sockets" in screen.refresh(second)
        found[workers] = screen.calls / workers
    return found


def test_a_refresh_with_512_workers_stays_within_its_calls(calls: dict[int, float]) -> None:
    assert calls[512] < CALLS_PER_WORKER


def test_a_worker_costs_no_more_where_there_are_more_of_them(calls: dict[int, float]) -> None:
    """A part of the cost is the screen's own: among 512 each has less of that."""
    assert calls[512] < calls[64]


def test_rows_are_made_at_the_cost_of_plain_ones_and_compare_as_frozen_ones() -> None:
    """A frozen dataclass takes six times as long to make, and there are two for each worker."""
    (row, other) = (listener(7), listener(7))
    assert (row, hash(row)) == (other, hash(other))
    for kind in (AcceptorRow, ListenerRow, AcceptorCount, ListenerCount, Listener):
        assert "__setattr__" not in vars(kind)


def test_what_all_closed_listeners_have_in_common_is_found_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands may close between two refreshes."""
    model, asked = Tracker(META, Filters(), 0.0, SEES), [0]
    found = Tracker._uncounted

    def counting(tracker: Tracker) -> object:
        asked[0] += 1
        return found(tracker)

    many = [listener(n, [holder(n)]) for n in range(100, 300)]
    feed(model, 1, [count(n, 1, n) for n in range(100, 300)], many)
    monkeypatch.setattr(Tracker, "_uncounted", counting)
    for second in range(2, 8):
        feed(model, second, [], [])
        model.snapshot()
    assert len(model.snapshot().listeners) < 40
    assert asked[0] <= 2 * 7
