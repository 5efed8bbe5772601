"""What `who` would find wrong with the sockets of a run, as it goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import Inventory
from accepttrace.model.who.diagnoses import diagnoses
from accepttrace.model.who.diagnosis import Diagnosis
from accepttrace.model.who.tree import answer

SETTLED_S: Final = 2.0  # a server that starts, or is reloaded, is not complete at once
FIRST_S: Final = 0.5  # the same of what was so before anybody looked
AGAIN_S: Final = 10.0  # also where nothing seems to have changed
HOLDERS_A_SECOND: Final = 100_000  # that are looked at, where connections wait

Key = tuple[object, ...]


class Findings:
    """Those that have lasted for a while, brought up to date by `update`."""

    def __init__(self) -> None:
        self._since_s: dict[Key, float] = {}
        self._found: tuple[Diagnosis, ...] = ()
        self._around = Surroundings()
        self._changes = -1
        self._first_s = math.inf  # the first look,
        self._due_s = self._soonest_s = -math.inf  # the next, and where connections wait
        self._pressing = False  # in the last look they did

    def update(
        self,
        inventory: Inventory,
        changes: int,
        elapsed_s: float,
        around: Surroundings | None = None,
    ) -> Sequence[Diagnosis]:
        """`changes`: grows where who waits on what may be otherwise than before.

        `around` None: the last stands.
        """
        if around is not None:
            self._around = around
        waiting = [row for row in inventory.listeners if row.queue]
        pressing = any(row.is_full or row.waits_long for row in waiting)
        due_s = self._soonest_s if pressing or self._pressing else self._due_s
        if around is not None or changes != self._changes or elapsed_s >= due_s:
            self._changes, self._due_s = changes, elapsed_s + AGAIN_S
            self._found = diagnoses(answer(inventory, self._around))
            self._pressing = pressing or any(one.kind == "NOBODY WAITS" for one in self._found)
            holders = sum(len(row.holders) for row in inventory.listeners)
            self._soonest_s = elapsed_s + holders / HOLDERS_A_SECOND
        self._first_s = min(self._first_s, elapsed_s)
        self._since_s = {key: self._since_s.get(key, elapsed_s) for key in map(key_of, self._found)}
        return [
            one for one in self._found if self._has_lasted(self._since_s[key_of(one)], elapsed_s)
        ]

    def _has_lasted(self, since_s: float, elapsed_s: float) -> bool:
        lasts_s = elapsed_s - since_s
        return lasts_s >= (SETTLED_S if since_s > self._first_s else FIRST_S)


def key_of(one: Diagnosis) -> Key:
    """What makes it the same as another time."""
    return (one.kind, one.netns, one.family, one.local_address, one.local_port, one.device)
