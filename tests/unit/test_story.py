"""A busy minute of two servers: what is said of it, stored as table and JSON.

nginx has a reuseport group of four on port 80. Its first worker hangs for two seconds, so that its
queue fills and clients are dropped; then it is reloaded, and one of the old sockets takes two
connections along. Another server has three workers on one socket of port 8080, of which the first
takes nearly all; it is stopped at the end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from accepttrace.config import By, Filters
from accepttrace.facts.records import (
    AcceptorCount,
    Flow,
    Holder,
    Listener,
    ListenerCount,
    Overflow,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.grains import GRAINS
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.views.jsonl import snapshot_line, summary_line
from accepttrace.views.table import render
from accepttrace.views.text import plain
from tests.unit.pictures import META, count, counted, feed, holder, listener
from tests.unit.test_table import WRITE

STORED = Path(__file__).parent / "snapshots_story"
SEES = Sight.of(
    *("accepts", "waits", "empty", "errors", "refused", "selected"),
    *("overflow", "arrived", "closed", "migrated", "unseen"),
)
MASTER = holder(10, False, name="nginx: master")
API = (21, 22, 23)
OLD, NEW = {200 + n: 11 + n for n in range(4)}, {210 + n: 31 + n for n in range(4)}
HANG, RELOAD, STOP, END = (6, 7), 10, 15, 20  # seconds
EACH = {11: 10, 12: 12, 13: 8, 14: 10, 31: 11, 32: 9, 33: 10, 34: 10, 21: 9, 22: 1, 23: 0}


@dataclass
class Machine:
    """What has happened so far."""

    taken: Counter[int] = field(default_factory=Counter)  # by worker
    hung: int = 0  # connections in the queue of the first one

    def live(self, second: int) -> None:
        """One second more."""
        there = {*(OLD if second < RELOAD else NEW).values(), *(API if second < STOP else ())}
        for pid in there:
            if pid == 11 and second in HANG:
                self.hung += 3
            else:
                self.taken[pid] += EACH[pid]
        if second == HANG[-1] + 1:
            self.taken[11] += self.hung
            self.hung = 0

    def acceptors(self) -> list[AcceptorCount]:
        """As the kernel side has them; the second worker of the API has two threads."""
        found = []
        for inode, pid in [*OLD.items(), *NEW.items(), *((300, pid) for pid in API)]:
            accepts = self.taken[pid]
            waits = [40 + pid] * (accepts - 1) + [900 * pid] if accepts else []
            if pid == 22:
                halves = accepts // 2, accepts - accepts // 2
                found += [
                    count(22, n, 300, tid=22 + at, waits_us=[80] * n, comm="api")
                    for at, n in enumerate(halves)
                ]
            elif accepts:
                one = count(pid, accepts, inode, waits_us=waits, empty=accepts // 4, wasted=pid % 3)
                found.append(replace(one, comm="api") if inode == 300 else one)
        return found

    def listeners(self, second: int) -> list[Listener]:
        """As the inventory has them."""
        found = []
        for place, (inode, pid) in enumerate((OLD if second < RELOAD else NEW).items()):
            one = listener(inode, [MASTER, holder(pid)], group=7, size=4)
            if place == 0 and self.hung:
                one = replace(one, queue=self.hung, oldest_us=1_500_000)
            found.append(one)
        if second < STOP:
            own = [Holder(pid, pid, "api", "api", 3, True) for pid in API]
            found.append(listener(300, own, port=8080))
        return found

    def counted(self, second: int) -> list[ListenerCount]:
        """As the kernel side has the listeners."""
        found = []
        for inode, pid in [*OLD.items(), *NEW.items()]:
            accepts = self.taken[pid]
            if accepts or (inode in NEW and second >= RELOAD):
                closed = inode in OLD and second >= RELOAD
                lost = 2 if closed and inode == 201 else 0
                waits = self.hung if inode == 200 else 0
                full = Overflow(4, 1, 0, 2) if inode == 200 and second >= HANG[-1] else None
                found.append(
                    replace(
                        counted(inode, accepts + waits + lost),
                        flow=Flow(accepts + waits + lost, lost, 0, 0, 0),
                        overflow=full or Overflow(0, 0, 0, 0),
                        queue_max=6 if inode == 200 and second >= HANG[-1] else 1,
                        queue_start=0,
                        requests=accepts + waits + lost,
                        stops=int(closed),
                        drops=5 if closed and inode == 200 else 0 if closed else None,
                    )
                )
        api = sum(self.taken[pid] for pid in API)
        one = replace(counted(300, None, 8080), flow=Flow(api, 0, 0, 0, 0), queue_start=0)
        none = Overflow(0, 0, 0, 0)
        return [*found, replace(one, overflow=none, queue_max=2, stops=int(second >= STOP))]


@cache
def story() -> tuple[dict[tuple[int, By], Snapshot], dict[By, Snapshot]]:
    """Pictures by second and kind of rows, and the summary by kind of rows."""
    model = Tracker(META, Filters(), 0.0, SEES, window_s=5.0)
    machine = Machine()
    pictures: dict[tuple[int, By], Snapshot] = {}
    for second in range(END + 1):
        machine.live(second)
        found = machine.acceptors(), machine.listeners(second)
        feed(model, second, *found, counted=machine.counted(second))
        pictures |= {(second, by): model.snapshot(by) for by in GRAINS}
    return pictures, {by: model.summary(by) for by in GRAINS}


def summary(by: By = "worker") -> Snapshot:
    return story()[1][by]


def at(second: int) -> str:
    return plain(render(story()[0][second, "worker"], 160, None))


def ending(by: By) -> str:
    return plain(render(summary(by), 160, None, full=True))


TEXTS: dict[str, Callable[[], str]] = {
    **{f"{second:02}.txt": partial(at, second) for second in (5, 7, 11, 16)},
    **{f"end-{by}.txt": partial(ending, by) for by in GRAINS},
}
LINES: dict[str, Callable[[], str]] = {
    "11.json": lambda: snapshot_line(story()[0][11, "worker"]),
    "end-worker.json": lambda: summary_line(summary()),
    "end-group.json": lambda: summary_line(summary("group")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_table_is_the_stored_one(name: str) -> None:
    text, path = TEXTS[name](), STORED / name
    if WRITE:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", LINES)
def test_json_has_what_is_stored(name: str) -> None:
    line, path = LINES[name](), STORED / name
    if WRITE:
        path.write_text(line)
    stored = json.loads(path.read_text())
    assert _as_in(stored, json.loads(line)) == stored


def _as_in(stored: Any, found: Any) -> Any:
    """`found` without the fields that are newer than what is stored, and what is no difference:
    from 3.12 on Python rounds sums of floats better.
    """
    if isinstance(stored, float) and found == pytest.approx(stored, rel=1e-9):
        return stored
    if isinstance(stored, dict) and isinstance(found, dict):
        return {name: _as_in(stored[name], found.get(name)) for name in stored}
    if isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        return [_as_in(*both) for both in zip(stored, found, strict=True)]
    return found


def test_nothing_stored_is_left_over() -> None:
    assert {path.name for path in STORED.iterdir()} == {*TEXTS, *LINES}


def test_nothing_that_came_is_missing() -> None:
    machine = Machine()
    for second in range(END + 1):
        machine.live(second)
    books = summary().books
    assert (books.accepts, books.word) == (sum(machine.taken.values()), "balanced")
    assert sum(row.lost_on_close or 0 for row in summary().listeners) == 2
