"""How many connections an even split would have given to each, at the time when they came."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from accepttrace.config import By
from accepttrace.facts.records import TICKS_PER_S, US_PER_S
from accepttrace.model.census import ProcessKey
from accepttrace.model.entries import Bygone, Entry, Key
from accepttrace.model.fairshare import Stay, fair_shares, until
from accepttrace.model.grains import GRAINS
from accepttrace.model.listeners import Listeners, SetKey, Socket
from accepttrace.model.recent import Parts, Trends, Windows
from accepttrace.model.watch import Watch

MEASURED: Final = tuple(by for by in GRAINS if by != "group")  # a group shares with nobody
COARSER: Final[tuple[By, ...]] = ("worker", "process")  # than threads, of which they consist
Takers = Iterable[tuple[SetKey, Key, Stay]]
Sets = Mapping[SetKey, Mapping[Key, Stay]]  # the members of each
Stays = Sequence[tuple[Entry, Stay]]  # those who could have taken something, and when


class Interval(NamedTuple):
    """Between two readings, in seconds of CLOCK_MONOTONIC; `ahead_s` as in `Counts`."""

    begin_s: float
    end_s: float
    ahead_s: float

    @property
    def whole(self) -> Stay:
        """Of those who were there all the time."""
        return Stay(self.begin_s, self.end_s)

    def begin_of(self, process: ProcessKey) -> float:
        """When it could have taken the first connection: from its start on."""
        start_s = process[1] / TICKS_PER_S - self.ahead_s
        return min(max(self.begin_s, start_s), self.end_s)


class Yardstick:
    """By what `key` makes of an entry, the accepts that it would have after even splits only."""

    def __init__(self, key: Callable[[Entry], Key], windows: Collection[float] = ()) -> None:
        self.key = key
        self._windows = Windows(windows)
        self._expected: dict[Key, float] = {}
        self._shared: set[Key] = set()

    def coarser(self, key: Callable[[Entry], Key]) -> Yardstick:
        """The same of rows that each stand for several of these; of threads alone."""

        def of(old: Key) -> Key:
            assert isinstance(old, tuple)
            return key(Entry(*old))

        found = Yardstick(key)
        found._windows = self._windows.coarser(of)
        for old, part in self._expected.items():
            found._expected[of(old)] = found._expected.get(of(old), 0.0) + part
        found._shared = set(map(of, self._shared))
        return found

    def split(
        self,
        takers: Sets,
        taken: Mapping[SetKey, int],
        counts: Callable[[], Mapping[Key, int]],
        whole: Stay,
        last: Mapping[SetKey, float],
    ) -> None:
        """Divide what each set has `taken` among its `takers`.

        `last`: when the last one of each came. `counts`: what each took, in all sets; not asked
        where there is no window.
        """
        parts: defaultdict[Key, float] = defaultdict(float)
        for shared, stays in takers.items():
            if len(stays) > 1:
                self._shared |= stays.keys()
            for taker, part in fair_shares(until(stays, last[shared]), taken[shared]).items():
                parts[taker] += part
        for taker, part in parts.items():
            self._expected[taker] = self._expected.get(taker, 0.0) + part
        if self._windows:
            self._windows.take_in(counts(), parts, whole)

    def recent(self, window_s: float | None, now_s: float) -> Parts | None:
        """By key, what was taken and expected in the window that ends now; None: there is none."""
        recent = self._windows.of(window_s)
        return None if recent is None else recent.sums(now_s)

    def trends(self, window_s: float | None, began_s: float, now_s: float) -> Trends | None:
        """By key, what was taken in the parts of that window, or of the widest."""
        recent = self._windows.of(window_s) or self._windows.widest()
        return None if recent is None else recent.trends(began_s, now_s)

    def move(self, old: Key, new: Key) -> None:
        """One row has become part of another."""
        for recent in self._windows if old != new else ():
            recent.move(old, new)
        if old != new and old in self._expected:
            self._expected[new] = self._expected.get(new, 0.0) + self._expected.pop(old)
            if old in self._shared:
                self._shared.add(new)

    def shared(self, key: Key) -> bool:
        """Whether there ever was another one to compare it with."""
        return key in self._shared

    def expected(self, key: Key) -> float:
        """Accepts after even splits; 0 for who was never there to take any."""
        return self._expected.get(key, 0.0)

    def keep(self, keys: Collection[Key]) -> None:
        """Forget all others."""
        for recent in self._windows:
            recent.keep(keys)
        for key in self._expected.keys() - keys:
            del self._expected[key]
        self._shared &= self._expected.keys()


class Yardsticks:
    """One for each kind of rows, of those in `grains`.

    At each reading what the members of a sharing set took since the last one is divided among those
    who could have taken it, for as long as they could. What came while one was not there is not
    expected of it, and one that left keeps its part. While each process has one thread there, and
    one socket of each set, workers and processes have what their threads have: one is kept for all.
    """

    def __init__(self, grains: Collection[By], listeners: Listeners, watch: Watch) -> None:
        wanted = {"worker", *grains} if "process" in grains else {*grains}  # see `took_part`
        wanted |= {"socket"} if "group" in grains else set()  # of which its recent sums are
        self._alike = {by for by in COARSER if {by, "thread"} <= wanted}  # to threads, until now
        self._by_grain: dict[By, Yardstick] = {
            by: Yardstick(GRAINS[by].key, watch.windows)
            for by in MEASURED
            if by in wanted and by not in self._alike
        }
        self._listeners = listeners
        self._watch = watch
        self._before: set[int] | None = None  # the sockets that were open; None: not looked yet

    def of(self, by: By) -> Yardstick:
        """The one for rows of this kind; one that never saw anything where there is none."""
        kept = self._by_grain.get("thread" if by in self._alike else by)
        return kept or Yardstick(GRAINS[by].key)

    def recent(self, by: By, now_s: float) -> Parts | None:
        """Of rows of this kind by key, of groups by socket, in the window; None: there is none."""
        return self._recent_of(by).recent(self._watch.window_s, now_s)

    def trends(self, by: By, began_s: float, now_s: float) -> Trends | None:
        """Of the same, what was taken part by part; None: no window is kept."""
        return self._recent_of(by).trends(self._watch.window_s, began_s, now_s)

    def _recent_of(self, by: By) -> Yardstick:
        return self.of("socket" if by == "group" else by)

    def split(
        self, entries: Sequence[Entry], all_counted: Callable[[Socket], bool], interval: Interval
    ) -> None:
        """Take in what is `fresh`, where it is known who shares."""
        moved = [entry for entry in entries if entry.fresh and self._shares(entry.socket)]
        if moved:
            self._divide(moved, entries, all_counted, interval)
        for entry in entries:
            entry.waited = entry.waits is True
        self._before = {i for i, known in self._listeners.known.items() if known.open}

    def _divide(
        self,
        moved: Sequence[Entry],
        entries: Sequence[Entry],
        all_counted: Callable[[Socket], bool],
        interval: Interval,
    ) -> None:
        taken: defaultdict[SetKey, int] = defaultdict(int)
        last: defaultdict[SetKey, float] = defaultdict(float)
        for entry in moved:
            taken[entry.members] += entry.fresh
            last[entry.members] = max(last[entry.members], _last_s(entry, interval))
        takers = [entry for entry in entries if entry.members in taken and self._takes(entry)]
        self._bar(moved, takers, all_counted)
        if self._alike and not _one_each(takers):
            self._tell_apart()
        there = [(entry, _stay(entry, interval)) for entry in takers]
        sockets = by_set(self._sockets(there, taken, interval))
        for grain, yardstick in self._by_grain.items():
            counts = partial(_taken_by, yardstick.key, moved)
            stays = sockets if grain == "socket" else by_set(_takers(grain, there))
            yardstick.split(stays, taken, counts, interval.whole, last)
        self._tell(moved, there, sockets, last, interval)
        for entry in moved:
            entry.fresh = 0

    def _tell_apart(self) -> None:
        """From now on threads, workers and processes differ."""
        for by in self._alike:
            self._by_grain[by] = self._by_grain["thread"].coarser(GRAINS[by].key)
        self._alike.clear()

    def _tell(
        self,
        moved: Sequence[Entry],
        takers: Stays,
        sockets: Sets,
        last: Mapping[SetKey, float],
        interval: Interval,
    ) -> None:
        """The watch gets each set's members: the sockets of a group, else who accepts there."""
        sizes = Counter(entry.members for entry, _ in takers)
        shared = {key for key in last if is_group(key) or sizes[key] > 1 or self._watch.get(key)}
        alone = {key for key in shared if not is_group(key)}
        processes = by_set((e.members, e.process, s) for e, s in takers if e.members in alone)
        counts: defaultdict[SetKey, defaultdict[Key, int]] = defaultdict(lambda: defaultdict(int))
        for entry in moved:
            if entry.members in shared and not entry.barred:
                counts[entry.members][_member(entry)] += entry.fresh
        for key, those in counts.items():
            stays = (sockets if is_group(key) else processes).get(key, {})
            self._watch.take_in(key, stays, those, interval.whole, last[key])

    def join(self, one: Entry, other: Entry) -> None:
        """The first has become part of the second."""
        for yardstick in self._by_grain.values():
            yardstick.move(yardstick.key(one), yardstick.key(other))

    def took_part(self, entry: Entry) -> bool:
        """Whether it ever could have had something, on this listener."""
        return any(
            yardstick.expected(yardstick.key(entry))
            for grain, yardstick in self._by_grain.items()
            if grain != "process"
        )

    def keep(self, entries: Sequence[Entry]) -> None:
        """Forget what no entry uses any more."""
        for grain, yardstick in self._by_grain.items():
            there = {yardstick.key(entry) for entry in entries}
            yardstick.keep(there if grain != "socket" else there | set(self._listeners.sockets))

    def _shares(self, socket: Socket) -> bool:
        return not isinstance(socket, int) or self._listeners.is_listed(socket)

    def _sockets(self, takers: Stays, taken: Collection[SetKey], interval: Interval) -> Takers:
        """Those that were open all the time, and those that somebody took something from."""
        whole = interval.whole
        yield from ((e.members, e.socket, stay) for e, stay in takers if e.fresh)
        for inode, known in self._listeners.known.items():
            members = self._listeners.set_of(inode)
            there = self._before is None or inode in self._before
            if known.open and there and members in taken:
                yield members, inode, whole

    def _bar(
        self,
        moved: Sequence[Entry],
        takers: Sequence[Entry],
        all_counted: Callable[[Socket], bool],
    ) -> None:
        """What shares with an acceptor that is not counted cannot be measured."""
        unknown = {e.members for e in moved if e.barred or not all_counted(e.socket)}
        for entry in takers if unknown else ():
            entry.barred = entry.barred or entry.members in unknown

    def _takes(self, entry: Entry) -> bool:
        """Not those that began to wait during the interval, and took nothing: who knows when."""
        if entry.fresh or entry.waits is not True:
            return bool(entry.fresh)
        return self._before is None or entry.waited


def _one_each(takers: Sequence[Entry]) -> bool:
    """Whether each process takes part in a set by one thread on one socket."""
    processes = {(e.members, e.process) for e in takers if _has_part(e)}
    return len(processes) == len(takers)


def _has_part(thread: Entry) -> bool:
    """Not one that ended, and took nothing: its process may wait on by another."""
    return bool(thread.fresh) or not thread.ended


def _takers(grain: By, takers: Stays) -> Takers:
    key = GRAINS[grain].key
    for entry, stay in takers:
        if grain != "thread" or _has_part(entry):
            yield entry.members, key(entry), stay


def _taken_by(key: Callable[[Entry], Key], moved: Iterable[Entry]) -> Mapping[Key, int]:
    counts: defaultdict[Key, int] = defaultdict(int)
    for entry in moved:
        counts[key(entry)] += entry.fresh
    return counts


def by_set(takers: Takers) -> Sets:
    """The members of each set, each once, from its first begin to its last end."""
    found: defaultdict[SetKey, dict[Key, Stay]] = defaultdict(dict)
    for shared, taker, stay in takers:
        those = found[shared]
        there = those.get(taker)
        those[taker] = stay if there is None or there == stay else stay.joined(there)
    return found


def is_group(members: SetKey) -> bool:
    """Whether a sharing set is a reuseport group."""
    return bool(members) and members[0] == "group"


def _member(entry: Entry) -> Key:
    """What of an entry is a member of its sharing set."""
    return entry.socket if is_group(entry.members) else entry.process


def _stay(entry: Entry, interval: Interval) -> Stay:
    """When it could have taken connections; of who is gone by now, until the last that it took."""
    end_s = interval.end_s if entry.waits is True else _last_s(entry, interval)
    return Stay(_begin_s(entry, interval), end_s)


def _begin_s(entry: Entry, interval: Interval) -> float:
    if isinstance(entry.process, Bygone):
        return interval.begin_s
    return interval.begin_of(entry.process)


def _last_s(entry: Entry, interval: Interval) -> float:
    """When the last connection that it took came, as far as that is in the interval.

    One that was queued before the process was there came to it as it began.
    """
    if entry.count is None or not entry.count.ready_us:
        return interval.end_s
    return min(max(_begin_s(entry, interval), entry.count.ready_us / US_PER_S), interval.end_s)
