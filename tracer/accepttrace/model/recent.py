"""What was taken, and expected, in the last seconds: sums in slots, of which the first fall out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from accepttrace.model.fairshare import Stay

SLOTS: Final = 12  # parts of a window, which moves on by one at a time
TREND: Final = 8  # of them, that are shown side by side

Key = Hashable


@dataclass(slots=True)
class Part:
    """What one took, and what an even split would have given it."""

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


def _part(parts: Parts, key: Key) -> Part:
    """The one of this key, which there is from now on."""
    found = parts.get(key)
    if found is None:
        found = parts[key] = Part()
    return found


Trend = Sequence["float | None"]  # per second, the latest last; None: not known
Rates = dict[Key, list["float | None"]]


class Trends(NamedTuple):
    """What each took per second, part by part of the last time. `zero`: of who took nothing."""

    by_key: Mapping[Key, Trend]
    zero: Trend

    def of(self, keys: Iterable[Key]) -> Trend:
        """All of these together."""
        found = [self.by_key[key] for key in keys if key in self.by_key]
        return together(found) if found else self.zero


def together(trends: Sequence[Trend]) -> Trend:
    """The sum of those that cover the same time."""
    if len(trends) == 1:
        return trends[0]
    return [_sum(cells) for cells in zip(*trends, strict=True)]


def _sum(cells: Sequence[float | None]) -> float | None:
    known = [cell for cell in cells if cell is not None]
    return sum(known) if len(known) == len(cells) else None


@dataclass(slots=True)
class _Slot:
    begin_s: float
    end_s: float
    parts: Parts = field(default_factory=dict)


_Cell = tuple["_Slot | None", float]  # None: a quiet time; how long it lasted


class Recent:
    """A window of so many seconds, by key. What it covers is up to a slot longer."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._slots: deque[_Slot] = deque()
        # Of all slots but the last, that is added to; None: to be found.
        self._past: Parts | None = None  # their sums
        self._rates: tuple[object, Rates] | None = None  # of which cells, and what was taken there

    def take_in(
        self, taken: Mapping[Key, int], expected: Mapping[Key, float], whole: Stay
    ) -> Parts:
        """One interval; returns the slot that it went to."""
        return self.add(_changes(taken, expected), whole)

    def add(self, changes: Iterable[tuple[Key, int, float]], whole: Stay) -> Parts:
        """The same of what each took, and was expected to."""
        parts = self._slot(whole).parts
        for key, accepts, share in changes:
            part = parts.get(key)
            if part is None:
                parts[key] = Part(accepts, share)
            else:
                part.accepts += accepts
                part.expected += share
        return parts

    def sums(self, now_s: float) -> Parts:
        """By key, of the slots that reach into the window that ends now."""
        self._forget(now_s)
        if not self._slots:
            return {}
        if self._past is None:
            self._past = {}
            for slot in list(self._slots)[:-1]:
                for key, part in slot.parts.items():
                    _part(self._past, key).add(part.accepts, part.expected)
        found = dict(self._past)
        for key, part in self._slots[-1].parts.items():
            past = found.get(key)
            if past is not None:
                part = Part(past.accepts + part.accepts, past.expected + part.expected)
            found[key] = part
        return found

    def trends(self, began_s: float, now_s: float) -> Trends:
        """By key, what was taken per second in each of the last TREND parts, the latest last.

        None: that was before `began_s`, which is always the same. Who is missing took nothing.
        """
        cells = self._cells(now_s)
        zero: list[float | None] = [None] * TREND
        known = min(len(cells) + int((self._edge_s(now_s) - began_s) / self._slot_s), TREND)
        zero[TREND - known :] = [0.0] * known
        earlier = self._earlier(cells[1:TREND], zero)
        found: dict[Key, Trend] = {**earlier}
        slot, lasted_s = cells[0] if cells else (None, 0.0)
        for key, part in slot.parts.items() if slot else ():
            found[key] = [*earlier.get(key, zero)[:-1], part.accepts / lasted_s]
        return Trends(found, zero)

    def _earlier(self, cells: Sequence[_Cell], zero: Sequence[float | None]) -> Rates:
        """By key, what was taken before the last cell."""
        of = [slot and slot.begin_s for slot, _ in cells]
        if self._rates is None or self._rates[0] != of:
            found: Rates = {}
            for age, (slot, lasted_s) in enumerate(cells, 2):
                for key, part in slot.parts.items() if slot else ():
                    found.setdefault(key, [*zero])[-age] = part.accepts / lasted_s
            self._rates = (of, found)
        return self._rates[1]

    def _cells(self, now_s: float) -> list[_Cell]:
        """The slots with how long each lasted, the latest first; None: a quiet time."""
        cells: list[_Cell] = []
        edge_s = now_s
        for slot in reversed(self._slots):
            whole_s = max(edge_s - slot.begin_s, 1e-3)
            used_s = max(slot.end_s - slot.begin_s, min(self._slot_s, whole_s))
            quiet = int((whole_s - used_s) / self._slot_s + 1e-6)
            cells += [(None, 0.0)] * min(quiet, TREND)
            cells.append((slot, used_s))
            edge_s = slot.begin_s
        return cells

    def _edge_s(self, now_s: float) -> float:
        """Where the first slot begins."""
        return self._slots[0].begin_s if self._slots else now_s

    @property
    def _slot_s(self) -> float:
        return self._window_s / SLOTS

    def move(self, old: Key, new: Key) -> None:
        """One has become part of another."""
        self._past = self._rates = None
        for slot in self._slots:
            part = slot.parts.pop(old, None)
            if part is not None:
                _part(slot.parts, new).add(part.accepts, part.expected)

    def coarser(self, key: Callable[[Key], Key]) -> Recent:
        """The same by what `key` makes of each."""
        found = Recent(self._window_s)
        for slot in self._slots:
            moved = _Slot(slot.begin_s, slot.end_s)
            for old, part in slot.parts.items():
                _part(moved.parts, key(old)).add(part.accepts, part.expected)
            found._slots.append(moved)
        return found

    def keep(self, keys: Collection[Key]) -> None:
        """Forget all others."""
        for slot in self._slots:
            for key in slot.parts.keys() - keys:
                del slot.parts[key]
                self._past = self._rates = None

    def _slot(self, whole: Stay) -> _Slot:
        self._forget(whole.end_s)
        if not self._slots or whole.begin_s >= self._slots[-1].begin_s + self._slot_s:
            self._slots.append(_Slot(whole.begin_s, whole.end_s))
            self._past = None
        self._slots[-1].end_s = whole.end_s
        return self._slots[-1]

    def _forget(self, now_s: float) -> None:
        while self._slots and self._slots[0].end_s <= now_s - self._window_s:
            self._slots.popleft()
            self._past = None


def _changes(
    taken: Mapping[Key, int], expected: Mapping[Key, float]
) -> list[tuple[Key, int, float]]:
    changes = [(key, taken.get(key, 0), share) for key, share in expected.items()]
    return changes + [(key, taken[key], 0.0) for key in taken.keys() - expected.keys()]


class Windows:
    """The same for several windows, side by side."""

    def __init__(self, windows: Iterable[float] = ()) -> None:
        self._recent = {window_s: Recent(window_s) for window_s in sorted(windows)}

    def __iter__(self) -> Iterator[Recent]:
        return iter(self._recent.values())

    def take_in(
        self, taken: Mapping[Key, int], expected: Mapping[Key, float], whole: Stay
    ) -> list[Parts]:
        """One interval; returns the slot of each that it went to."""
        changes = _changes(taken, expected) if self._recent else ()
        return [recent.add(changes, whole) for recent in self]

    def coarser(self, key: Callable[[Key], Key]) -> Windows:
        """All of them by what `key` makes of each."""
        found = Windows()
        found._recent = {s: recent.coarser(key) for s, recent in self._recent.items()}
        return found

    def __bool__(self) -> bool:
        return bool(self._recent)

    def of(self, window_s: float | None) -> Recent | None:
        """The one that goes back so far; None: it is not kept."""
        return None if window_s is None else self._recent.get(window_s)

    def widest(self) -> Recent | None:
        """The one that goes back furthest."""
        return next(reversed(self._recent.values()), None)
