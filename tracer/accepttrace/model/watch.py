"""What each sharing set took, by member: over the whole run, and over the last seconds.

A sharing set is a reuseport group, or one socket that several processes accept from. Its members
are the sockets of the group, whose split has a law; or the processes on the socket.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Final

from accepttrace.model.fairshare import Stay, fair_shares, until
from accepttrace.model.listeners import SetKey
from accepttrace.model.recent import Part, Parts, Windows
from accepttrace.model.stats.evidence import Evidence, MemberEvidence

LAST: Final = 64  # members that are gone and stay apart, and sets
GONE: Final = "gone"  # the others that are gone, together
STRETCH_S: Final = 300.0  # after so long an even time no longer speaks for what comes now

Member = Hashable


class SetWatch:
    """One sharing set; `windows`: how far back its recent sums go."""

    def __init__(self, now_s: float, windows: Collection[float] = ()) -> None:
        self.whole: Parts = {}
        self.there: Collection[Member] = ()  # members at the end of the last interval
        self.evidence = Evidence()
        self.members: MemberEvidence[Member] = MemberEvidence()
        self.active_s = now_s  # when it last took something
        self.uneven_s: float | None = None  # since when it is called so
        self.judged = True  # False: over another window, where it is not known since when
        self._windows = Windows(windows)
        self._stretch: dict[Member, int] = {}
        self._stretch_s = now_s

    def take_in(
        self,
        stays: Mapping[Member, Stay],
        taken: Mapping[Member, int],
        whole: Stay,
        last_s: float,
    ) -> None:
        """Who was there from when to when, and took what in one interval, the last at `last_s`."""
        self.there = [member for member, stay in stays.items() if stay.end_s == whole.end_s]
        stays = until(stays, last_s)
        expected = fair_shares(stays, sum(taken.values()))
        self.active_s = whole.end_s
        for member in expected.keys() | taken.keys():
            part = self.whole.get(member)
            if part is None:
                part = self.whole[member] = Part()
            part.add(taken.get(member, 0), expected.get(member, 0.0))
        _fold(self.whole, self.there)
        for parts in self._windows.take_in(taken, expected, whole):
            _fold(parts, self.there)
        self._weigh(stays, taken, Stay(whole.begin_s, last_s))

    def recent(self, window_s: float | None, now_s: float) -> Parts:
        """The sums of the window that ends now; of the whole run where there is none."""
        recent = self._windows.of(window_s)
        return self.whole if recent is None else recent.sums(now_s)

    def _weigh(
        self, stays: Mapping[Member, Stay], taken: Mapping[Member, int], whole: Stay
    ) -> None:
        """Evidence is taken of times in which the members were the same."""
        constant = all(stay == whole for stay in stays.values())
        same = self._stretch.keys() == stays.keys()
        if not (constant and same) or whole.end_s - self._stretch_s > STRETCH_S:
            self.evidence.close_stretch()
            self.members.close_stretch()
            self._stretch, self._stretch_s = {}, whole.begin_s
        if not constant or len(stays) < 2:
            return
        for member in stays:
            self._stretch[member] = self._stretch.get(member, 0) + taken.get(member, 0)
        self.evidence.update(list(self._stretch.values()))
        self.members.update(self._stretch, dict.fromkeys(self._stretch, 1.0))


class Watch:
    """All sharing sets.

    `window_s`: how far back the recent part goes; None: there is none. `windows`: other ones that
    it may be changed to.
    """

    def __init__(self, window_s: float | None = None, windows: Collection[float] = ()) -> None:
        self.window_s = window_s
        self.windows = frozenset((*windows, *(() if window_s is None else (window_s,))))
        self._sets: dict[SetKey, SetWatch] = {}

    def __iter__(self) -> Iterator[SetKey]:
        return iter(self._sets)

    def get(self, members: SetKey) -> SetWatch | None:
        """None: nobody ever shared there."""
        return self._sets.get(members)

    def take_in(
        self,
        key: SetKey,
        stays: Mapping[Member, Stay],
        taken: Mapping[Member, int],
        whole: Stay,
        last_s: float,
    ) -> None:
        """One interval of a set that took something, the last one at `last_s`."""
        one = self._sets.get(key)
        if one is None:
            if len(stays) < 2:
                return  # it has all to itself
            one = self._sets[key] = SetWatch(whole.begin_s, self.windows)
        one.take_in(stays, taken, whole, last_s)

    def look_back(self, window_s: float | None) -> None:
        """Speak of another window from now on. Since when it is uneven is not known of that."""
        if window_s == self.window_s:
            return
        self.window_s = window_s
        for one in self._sets.values():
            one.uneven_s, one.judged = None, False

    def keep(self, keys: Collection[SetKey]) -> None:
        """Forget sets that are gone, but for the last ones."""
        gone = [key for key in self._sets if key not in keys]
        gone.sort(key=lambda key: self._sets[key].active_s)
        for key in gone[: max(len(gone) - LAST, 0)]:
            del self._sets[key]


def _fold(parts: Parts, there: Collection[Member]) -> None:
    """Sum up the first of those that are gone."""
    if len(parts) <= len(there) + LAST + 1:
        return
    alive = {*there, GONE}
    gone = [member for member in parts if member not in alive]
    for member in gone[: max(len(gone) - LAST, 0)]:
        part = parts.pop(member)
        parts.setdefault(GONE, Part()).add(part.accepts, part.expected)
