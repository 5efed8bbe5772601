"""What happened while tracing ran: each reading is compared with the one before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from accepttrace.facts.records import Came, Holder, Listener
from accepttrace.model.census import Census
from accepttrace.model.findings import key_of
from accepttrace.model.labels import NAME_LENGTH, few
from accepttrace.model.listeners import Listeners, Socket
from accepttrace.model.losses import ON_CLOSE
from accepttrace.model.sites import Change, SiteKey, Sites, sites
from accepttrace.model.snapshot import Event, EventKind, ListenerRow, NamespaceLoss, Verdict
from accepttrace.model.verdicts import Scene
from accepttrace.model.who.diagnosis import Diagnosis

KEPT: Final = 200  # events
SOON_S: Final = 10.0  # what follows within that time at one place belongs to one event
# What a listener loses. Of a full queue both kinds, or where hooks do not tell them apart the sum.
_PACKETS: Final = ("overflow_syn", "overflow_ack")
_LOSSES: Final = (*_PACKETS, "dropped_syn_queue", "dropped_other", *ON_CLOSE)
_seen: Final = attrgetter("dropped_overflow", *_LOSSES)
_FAULTS: Final[Mapping[str, EventKind]] = {
    "STUCK": "STUCK",
    "UNEVEN": "UNEVEN",
    "IDLE WORKERS": "IDLE WORKERS",
    "UNEVEN OPEN": "UNEVEN OPEN",
}
_CHANGES: Final = ("RELOAD", "WORKERS", "GROUP", "CLOSED", "PASSED")
_CAME: Final[Mapping[Came, str]] = {
    "SCM_RIGHTS": "over a UNIX socket (SCM_RIGHTS)",
    "pidfd_getfd": "by pidfd_getfd",
    "other": "from another process",
}
Key = tuple[object, ...]
_SHARED: Final = {
    "overflow": "dropped_overflow",
    "syn_queue": "dropped_syn_queue",
    "other": "dropped_other",
    "cookie": "cookie",
}


@dataclass(slots=True)
class _Mark:
    """A listener as it was last looked at; what it had lost then, by cause."""

    row: ListenerRow | None = None
    lost: dict[str, int] = field(default_factory=dict)

    def grown(self, row: ListenerRow) -> dict[str, int]:
        """What it has lost since. What is not known any more has not grown."""
        before, self.row = self.row, row
        if before is not None and _seen(before) == _seen(row):
            return {}
        apart = row.overflow_syn is not None
        names = _LOSSES if apart else ("dropped_overflow", *_LOSSES)
        now = {name: getattr(row, name) or 0 for name in names}
        more = {name: number - self.lost.get(name, 0) for name, number in now.items()}
        grown = {name: number for name, number in more.items() if number > 0}
        self.lost = _sum(self.lost, grown)
        return grown


class Journal:
    """The last events. Those by which nobody lost anything make room first."""

    def __init__(self, listeners: Listeners, census: Census) -> None:
        self._listeners = listeners
        self._census = census
        self._now_s = 0.0
        self._wall = ""
        self._kept: dict[int, Event] = {}
        self._begun = 0
        self._sites = Sites(SOON_S)
        self._compared = (-1, -1)
        # The last event of each sort, by place or by what a verdict is about.
        self._changes: dict[Key, int] = {}
        self._losses: dict[Key, int] = {}
        self._faults: dict[Key, int] = {}
        self._findings: dict[Key, int] = {}
        self._marks: dict[int, _Mark] = {}
        self._shared: dict[tuple[int, str], int] = {}
        self._handed: set[tuple[int, int, int]] = set()  # inode, PID and start of who has it

    @property
    def events(self) -> tuple[Event, ...]:
        """In the order in which they began."""
        return tuple(self._kept.values())

    @property
    def earlier(self) -> int:
        """How many are not kept any more."""
        return self._begun - len(self._kept)

    def begin(self, elapsed_s: float, wall: str) -> None:
        """What is taken in now was read then, so many seconds after the start."""
        self._now_s, self._wall = elapsed_s, wall
        for numbers in (self._changes, self._losses):
            for key in list(numbers):
                event = self._last(numbers, key)
                if event is None or elapsed_s - event.until_s > SOON_S:
                    del numbers[key]
                    if event is not None:
                        self._keep(replace(event, going_on=False))

    def compare(self, scene: Scene, shown: Sequence[Socket], changes: int) -> None:
        """Take in who is where. `changes`: grows where that may be otherwise than before."""
        if (changes, len(shown)) == self._compared:
            return
        self._compared = (changes, len(shown))
        there = sites(self._listeners, self._census, shown, scene.entries)
        for key, change in self._sites.update(there, self._listeners.is_open, self._now_s):
            goes_on = change.began_s < self._now_s
            known = self._last(self._changes, key) if goes_on else None
            event = known or self._begin("CLOSED", key)
            self._changes[key] = event.number
            self._keep(_of_change(event, change))

    def hand_over(self, rows: Iterable[Listener]) -> None:
        """Take in who was seen as it was handed a listener, and has it."""
        there = {
            (row.inode, one.pid, one.start_ticks): (row, one)
            for row in rows
            for one in row.holders
            if one.came
        }
        new: dict[tuple[SiteKey, Came], list[tuple[Listener, Holder]]] = {}
        for key in there.keys() - self._handed:
            row, one = there[key]
            assert one.came is not None
            place = SiteKey(row.netns, row.family, row.local_address, row.local_port)
            new.setdefault((place, one.came), []).append((row, one))
        self._handed = set(there)
        for (place, came), pairs in new.items():
            inodes = {row.inode for row, _ in pairs}
            socket = f"socket {min(inodes)}" if len(inodes) == 1 else f"{len(inodes)} sockets"
            who = sorted({(one.pid, one.name[:NAME_LENGTH]) for _, one in pairs})
            names = few([f"pid {pid} {name}" for pid, name in who])
            text = f"{names} got {socket} {_CAME[came]}"
            inode = min(inodes) if len(inodes) == 1 else None
            event = self._begin("PASSED", place)
            self._keep(replace(event, going_on=False, inode=inode, text=text))

    def lose(self, rows: Iterable[ListenerRow], shared: Iterable[NamespaceLoss]) -> None:
        """Take in what each listener has lost so far, and what was lost at one of several."""
        for row in rows:
            if row.inode is not None:
                mark = self._marks.get(row.inode)
                if mark is None:
                    mark = self._marks[row.inode] = _Mark()
                if mark.row is not row:
                    self._lost(mark, row)
        for loss in shared:
            key = (loss.netns, loss.cause)
            more = loss.packets - self._shared.get(key, 0)
            self._shared[key] = loss.packets
            if loss.sure and more > 0:
                place = SiteKey(loss.netns, None, None, None)
                self._add(place, {_SHARED[loss.cause]: more})

    def close(self, inode: int, row: ListenerRow | None) -> None:
        """A listener is gone for good; `row`: the last of it."""
        mark = self._marks.pop(inode, None)
        if mark is not None and row is not None:
            self._lost(mark, row)

    def judge(self, verdicts: Sequence[Verdict]) -> None:
        """Take in what is said of each set. Where something is missing, nothing is said of any."""
        if any(one.finding.word == "INCOMPLETE" for one in verdicts):
            return
        faults = {_set_of(one): one for one in verdicts if one.finding.word in _FAULTS}
        for key in list(self._faults):
            known, verdict = self._last(self._faults, key), faults.get(key)
            if known and (verdict is None or verdict.finding.word != known.kind):
                self._keep(replace(known, going_on=False, until_s=self._now_s))
            elif known is None and not self._may_return(self._faults, key):
                del self._faults[key]
        for key, verdict in faults.items():
            self._fault(key, verdict)

    def find(self, found: Sequence[Diagnosis]) -> None:
        """Take in what is wrong with groups of sockets, whoever accepts how much."""
        now = dict(_numbered(found))
        for key in list(self._findings):
            known = self._last(self._findings, key)
            if known and key not in now:
                self._keep(replace(known, going_on=False, until_s=self._now_s))
            elif known is None and not self._may_return(self._findings, key):
                del self._findings[key]
        for key, one in now.items():
            known = self._may_return(self._findings, key)
            if known is None:
                place = SiteKey(one.netns, one.family, one.local_address, one.local_port)
                known = self._begin(one.kind, place)
            self._findings[key] = known.number
            inode = one.inodes[0] if len(one.inodes) == 1 else None
            now_s = self._now_s
            self._keep(replace(known, until_s=now_s, going_on=True, inode=inode, text=one.text))

    def _fault(self, key: Key, verdict: Verdict) -> None:
        """One that comes back soon had not ended."""
        word = verdict.finding.word
        known = self._may_return(self._faults, key)
        if known is None or known.kind != word:
            known = self._begin(_FAULTS[word], _place(verdict))
        self._faults[key] = known.number
        self._keep(
            replace(
                known,
                until_s=self._now_s,
                going_on=True,
                group=verdict.group,
                inode=verdict.inode,
                text=verdict.finding.text,
            )
        )

    def _may_return(self, numbers: Mapping[Key, int], key: Key) -> Event | None:
        """That of a set, if it goes on or ended just now."""
        event = self._kept.get(numbers.get(key, 0))
        recent = event and (event.going_on or self._now_s - event.until_s <= SOON_S)
        return event if recent else None

    def _lost(self, mark: _Mark, row: ListenerRow) -> None:
        met_before = mark.row is not None and mark.row.overflow_peers
        grown = mark.grown(row)
        place = _place(row)
        change = self._last(self._changes, place)
        if change is not None:  # what a listener takes along when it closes
            visible = [cause for cause in ON_CLOSE if getattr(row, cause) is not None]
            closing = {cause: grown.pop(cause, 0) for cause in visible}
            self._keep(replace(change, lost=_sum(change.lost, closing)))
        if not grown:
            return
        begins = self._last(self._losses, place) is None
        event = self._add(place, grown)
        if begins and not met_before:
            event = replace(event, inode=row.inode)  # all its clients lost something in this event
        alone = event.inode is not None and event.inode == row.inode
        clients = row.overflow_peers or None if alone else None
        self._keep(replace(event, inode=row.inode if alone else None, clients=clients))

    def _add(self, place: SiteKey, grown: Mapping[str, int]) -> Event:
        event = self._last(self._losses, place) or self._begin("LOST", place)
        self._losses[place] = event.number
        event = replace(event, until_s=self._now_s, lost=_sum(event.lost, grown))
        self._keep(event)
        return event

    def _last(self, numbers: Mapping[Key, int], key: Key) -> Event | None:
        """That of a place or a set, if it goes on."""
        event = self._kept.get(numbers.get(key, 0))
        return event if event and event.going_on else None

    def _begin(self, kind: EventKind, place: SiteKey) -> Event:
        self._begun += 1
        return Event(self._begun, kind, self._wall, self._now_s, self._now_s, True, *place)

    def _keep(self, event: Event) -> None:
        self._kept[event.number] = event
        if len(self._kept) > KEPT:
            before = [one for one in self._kept.values() if one is not event]
            least = next((one for one in before if _is_harmless(one)), before[0])
            del self._kept[least.number]


def _numbered(found: Iterable[Diagnosis]) -> Iterator[tuple[Key, Diagnosis]]:
    """Each by what it is about, and which of its kind there: several masters may have ended."""
    seen: Counter[Key] = Counter()
    for one in found:
        key = key_of(one)
        seen[key] += 1
        yield (*key, seen[key]), one


def _is_harmless(event: Event) -> bool:
    return event.kind in _CHANGES and not any(event.lost.values())


def _of_change(event: Event, change: Change) -> Event:
    return replace(
        event,
        kind=_kind(change),
        until_s=change.until_s,
        program=change.program,
        workers=len(change.workers),
        left=len(change.left),
        came=len(change.came),
        sockets=change.sockets,
        closed=change.closed,
        opened=change.opened,
    )


def _kind(change: Change) -> EventKind:
    """The gravest that is true of it."""
    if not change.sockets_now:
        return "CLOSED"
    if change.all_left and change.came:
        return "RELOAD"
    if change.sockets_now != change.sockets:
        return "GROUP"
    return "WORKERS" if change.left or change.came else "CLOSED"


def _place(one: ListenerRow | Verdict) -> SiteKey:
    return SiteKey(one.netns, one.family, one.local_address, one.local_port)


def _set_of(verdict: Verdict) -> Key:
    """What a verdict is about: a group, or a socket."""
    return (*_place(verdict), verdict.group, None if verdict.group else verdict.inode)


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in (*one, *other)}
