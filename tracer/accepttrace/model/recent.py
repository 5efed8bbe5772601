"""What was taken, and expected, in the last seconds: sums in slots, of which the first fall out."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from accepttrace.model.fairshare import Stay

SLOTS: Final = 12  # parts of a window, which moves on by one at a time

Key = Hashable


@dataclass(slots=True)
class Part:
    """What somebody took, and what would have been his of an even split."""

    accepts: int = 0
    expected: float = 0.0

    def add(self, accepts: int, expected: float) -> None:
        """More of both."""
        self.accepts += accepts
        self.expected += expected

    @property
    def ratio(self) -> float | None:
        """The one to the other; None: nothing was to be had."""
        return self.accepts / self.expected if self.expected else None


Parts = dict[Key, Part]


@dataclass(slots=True)
class _Slot:
    begin_s: float
    end_s: float
    parts: Parts = field(default_factory=dict)


class Recent:
    """A window of so many seconds, by key. What it covers is up to a slot longer."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._slots: deque[_Slot] = deque()

    def take_in(
        self, taken: Mapping[Key, int], expected: Mapping[Key, float], whole: Stay
    ) -> Parts:
        """One interval; returns the slot that it went to."""
        slot = self._slot(whole)
        for key in taken.keys() | expected.keys():
            slot.parts.setdefault(key, Part()).add(taken.get(key, 0), expected.get(key, 0.0))
        return slot.parts

    def sums(self, now_s: float) -> Parts:
        """By key, of the slots that reach into the window that ends now."""
        self._forget(now_s)
        found: Parts = {}
        for slot in self._slots:
            for key, part in slot.parts.items():
                found.setdefault(key, Part()).add(part.accepts, part.expected)
        return found

    def move(self, old: Key, new: Key) -> None:
        """One has become part of another."""
        for slot in self._slots:
            part = slot.parts.pop(old, None)
            if part is not None:
                slot.parts.setdefault(new, Part()).add(part.accepts, part.expected)

    def keep(self, keys: Collection[Key]) -> None:
        """Forget all others."""
        for slot in self._slots:
            for key in slot.parts.keys() - keys:
                del slot.parts[key]

    def _slot(self, whole: Stay) -> _Slot:
        self._forget(whole.end_s)
        if not self._slots or whole.begin_s >= self._slots[-1].begin_s + self._window_s / SLOTS:
            self._slots.append(_Slot(whole.begin_s, whole.end_s))
        self._slots[-1].end_s = whole.end_s
        return self._slots[-1]

    def _forget(self, now_s: float) -> None:
        while self._slots and self._slots[0].end_s <= now_s - self._window_s:
            self._slots.popleft()
