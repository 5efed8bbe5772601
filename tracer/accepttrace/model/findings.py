"""What `who` would find wrong with the sockets of a run, as it goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import Inventory
from accepttrace.model.who.diagnoses import diagnoses
from accepttrace.model.who.diagnosis import LASTING, Diagnosis
from accepttrace.model.who.tree import answer

SETTLED_S: Final = 2.0  # a server that starts, or is reloaded, is not complete at once
AGAIN_S: Final = 10.0  # also where nothing seems to have changed

Key = tuple[object, ...]


class Findings:
    """Those that have lasted for a while, brought up to date by `update`."""

    def __init__(self) -> None:
        self._since_s: dict[Key, float] = {}
        self._found: tuple[Diagnosis, ...] = ()
        self._around = Surroundings()
        self._changes = -1
        self._due_s = -math.inf

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
        if around is not None or changes != self._changes or elapsed_s >= self._due_s:
            self._changes, self._due_s = changes, elapsed_s + AGAIN_S
            self._found = tuple(_found(inventory, self._around))
        keys = [key_of(one) for one in self._found]
        self._since_s = {key: self._since_s.get(key, elapsed_s) for key in keys}
        return [one for one in self._found if elapsed_s - self._since_s[key_of(one)] >= SETTLED_S]


def key_of(one: Diagnosis) -> Key:
    """What makes it the same as another time."""
    return (one.kind, one.netns, one.family, one.local_address, one.local_port, one.device)


def _found(inventory: Inventory, around: Surroundings) -> Sequence[Diagnosis]:
    """Of a lone socket the verdicts say whether anybody accepts."""
    rows = inventory.listeners
    members = {row.inode for row in rows if (row.group_size or 0) > 1}
    found = diagnoses(answer(inventory, around))
    return [
        one
        for one in found
        if one.kind in LASTING and (one.kind != "NOBODY WAITS" or members.intersection(one.inodes))
    ]
