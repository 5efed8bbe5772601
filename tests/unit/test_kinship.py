"""Ancestry is read where holders are others than before, and seldom without."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count

import pytest

from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import STUCK_US, Inventory
from accepttrace.sockets.kinship import KinshipReader
from tests.unit.pictures import holder, listener

ONE, TWO = (Inventory((listener(100, [holder(pid)]),)) for pid in (1001, 1002))


LATE = Inventory((replace(ONE.listeners[0], queue=1, oldest_us=STUCK_US),))


class Sockets:
    """As an InventoryReader: a read takes so long."""

    def __init__(self, clock: Clock, takes_s: float) -> None:
        self._clock, self._takes_s, self._numbers = clock, takes_s, count(1)

    def surroundings(self, inventory: Inventory, compared: bool) -> Surroundings:
        assert inventory.listeners
        assert not compared
        self._clock.now_s += self._takes_s
        return Surroundings(now_ticks=next(self._numbers))


class Clock:
    now_s = 1000.0


@pytest.mark.parametrize(
    ("takes_s", "at", "read"),
    [
        (0.02, [(0, ONE), (5, TWO), (16, TWO), (44, TWO), (46, TWO)], [1, 1, 0, 0, 1]),
        (0.001, [(0, ONE), (1, ONE), (2, TWO), (3, TWO), (11, TWO), (13, TWO)], [1, 0, 1, 0, 0, 1]),
        (1.0, [(0, ONE), (2, TWO), (99, TWO), (102, TWO), (999, TWO)], [1, 0, 0, 1, 0]),
        (0.0, [(0, ONE), (9.5, ONE), (10, ONE), (10, ONE), (10, TWO)], [1, 0, 1, 0, 1]),
        (0.5, [(0, ONE), (50, TWO), (50.5, TWO)], [1, 0, 1]),
        (0.01, [(0, ONE), (1.5, ONE), (1.6, LATE), (1.7, LATE), (3, LATE)], [1, 0, 1, 0, 1]),
    ],
)
def test_read_when_holders_change(
    monkeypatch: pytest.MonkeyPatch,
    takes_s: float,
    at: list[tuple[float, Inventory]],
    read: list[int],
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    reader = KinshipReader(Sockets(clock, takes_s))  # type: ignore[arg-type]
    found = []
    for second, inventory in at:
        clock.now_s = max(clock.now_s, 1000.0 + second)
        around = reader.read(inventory)
        found.append(around is not None)
    assert found == [bool(one) for one in read]
