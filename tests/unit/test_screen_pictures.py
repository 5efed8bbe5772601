"""Stored pictures of the screen, with their styles: what stands where, and how it looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accepttrace.model.snapshot import Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.views.screen.draw import Picture
from accepttrace.views.text import plain
from tests.unit.pictures import (
    META,
    SEES,
    count,
    feed,
    four_workers,
    holder,
    listener,
    reuseport,
    seen,
)
from tests.unit.test_screen_draw import SNAPSHOTS, drawn, ended, lossy, several_ports
from tests.unit.test_table import WRITE


def windowed() -> Snapshot:
    """Two workers, of whom one took all of the last ten seconds."""
    model = Tracker(META, None, 0.0, SEES, window_s=10.0, windows=(60.0,))
    there = [listener(100, [holder(1), holder(2), holder(9, False, name="nginx: master")])]
    for second in range(1, 41):
        late = max(second - 20, 0)
        rows = [count(1, 10 * min(second, 20)), count(2, 90 * late, waits_us=[5000] * late)]
        feed(model, second, rows, there)
    return model.snapshot()


def full() -> Snapshot:
    """One queue of three is full, and SYNs were dropped there; much is held open."""
    snapshot = seen(reuseport([30, 40, 50]), {200: {"overflow_syn": 1500, "overflow_peers": 1}})
    first, *others = snapshot.listeners
    rows = tuple(
        replace(row, open_connections=1000 * place if row.waits else 0)
        for place, row in enumerate(snapshot.acceptors)
    )
    listeners = (replace(first, queue=512, queue_full_s=2.0), *others)
    return replace(snapshot, listeners=listeners, acceptors=rows)


STORED = Path(__file__).parent / "snapshots_screen"
STATES: dict[str, tuple[Callable[[], Snapshot], dict[str, Any]]] = {
    **{name: (made, {}) for name, made in SNAPSHOTS.items() if name != "thousand"},
    "lost": (lambda: lossy(9), {}),
    "ended": (lambda: ended("a", "b", "c", "d", "e", "f", aside="master"), {}),
    "windowed": (windowed, {}),
    "full": (full, {}),
    "filter": (several_ports, {"filter": "2001"}),
    "typing": (several_ports, {"filter": "nobody", "typing": True}),
    "paused": (four_workers, {"paused": True}),
    "sorted": (several_ports, {"sort": "wait_p99_us", "reverse": True}),
    "scrolled": (lambda: several_ports(2, 40), {"top": 30}),
    "worker": (full, {"page": "worker"}),
    "histogram": (windowed, {"page": "histogram", "scroll": 3}),
    "explain": (four_workers, {"page": "explain"}),
    "keys": (four_workers, {"page": "keys"}),
}


def styled(picture: Picture) -> str:
    """A picture, and below it what has a style, by line and style."""
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(picture.lines, 1):
        for part, style in line:
            if style and part.strip():
                parts[f"{number} {style}"].append(part.strip())
    return plain(picture.lines) + "".join(
        f"{key}: {' '.join(those)}\n" for key, those in parts.items()
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 35)], ids=lambda size: size[0])
@pytest.mark.parametrize("name", STATES)
def test_the_picture_is_the_stored_one(name: str, size: tuple[int, int]) -> None:
    made, state = STATES[name]
    shown = styled(drawn(made(), size, sight={"cost": 0.0123}, **state))
    path = STORED / f"{name.replace(' ', '-')}-{size[0]}.txt"
    if WRITE:
        path.write_text(shown)
    assert shown == path.read_text()


def test_no_stored_picture_is_left_over() -> None:
    expected = {f"{name.replace(' ', '-')}-{width}.txt" for name in STATES for width in (80, 120)}
    assert {path.name for path in STORED.iterdir()} == expected
