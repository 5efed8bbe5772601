"""The state of a run: readings go in, snapshots come out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from accepttrace.config import By, Filters
from accepttrace.facts.matching import by_process, held, process_matches
from accepttrace.facts.meta import Meta
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    US_PER_S,
    Baseline,
    Counts,
    Flow,
    Gone,
    Inventory,
    Listener,
    Losses,
    Opened,
    Order,
    Overflow,
    Passed,
    Process,
    Serving,
    Unread,
)
from accepttrace.facts.sight import Fact, Sight
from accepttrace.model.census import Census
from accepttrace.model.cpu import Cpus
from accepttrace.model.crowds import Crowds, Draw, Judge, gathered
from accepttrace.model.entries import Bygone, Entry
from accepttrace.model.events import Journal
from accepttrace.model.findings import Findings
from accepttrace.model.listeners import Known, Listeners, Socket, Uncounted
from accepttrace.model.migrations import Migrations
from accepttrace.model.order import ordered
from accepttrace.model.places import ELSEWHERE, Place, place_of
from accepttrace.model.presence import Presence
from accepttrace.model.recent import Parts, Trends
from accepttrace.model.reconciler import Evidence, Reconciler
from accepttrace.model.rows import Rows
from accepttrace.model.serving import without_acceptors
from accepttrace.model.snapshot import (
    Books,
    ListenerRow,
    NamespaceLoss,
    Snapshot,
    Verdict,
)
from accepttrace.model.strays import Strays
from accepttrace.model.sums import Visible
from accepttrace.model.tallies import LAST, WITHOUT_ROW, Tallies
from accepttrace.model.verdicts import Scene, Verdicts
from accepttrace.model.watch import Watch
from accepttrace.model.who.diagnosis import Diagnosis
from accepttrace.model.yardstick import MEASURED, Interval, Yardsticks


class Tracker:
    """Merges what the kernel counted with who holds what.

    The last threads, processes and listeners that ended keep their rows; the totals of all others
    are kept by program and address. The first interval begins at `started_s`, on the same clock as
    `at_s` of the counts. `sees` names what the attach type in use can see (`empty`, `errors`,
    `selected`); without it, only counters that were read prove that: until then it is unknown.
    `grains`: the kinds of rows that will be asked for. `window_s`: see Watch; `windows`: others
    that `look_back` may be asked for, which make that rows have a trend.
    """

    def __init__(
        self,
        meta: Meta,
        filters: Filters | None = None,
        started_s: float | None = None,
        sees: Sight | None = None,
        grains: Collection[By] = MEASURED,
        window_s: float | None = None,
        windows: Collection[float] = (),
    ) -> None:
        self._sees = sees
        self._meta = meta
        self._filters = filters or Filters()
        self._started_s = started_s
        self._now_s = started_s or 0.0
        self._interval_s = 0.0
        self._from_s = self._next_s = self._now_s  # where intervals begin: the last, the next
        self._wall = meta.started
        self._ended = True  # the interval: what is counted next belongs to a new one
        self._census = Census()
        self._listeners = Listeners(self._filters)
        self._watch = Watch(window_s, windows)
        self._trends = bool(windows)
        self._yardsticks = Yardsticks(grains, self._listeners, self._watch)
        self._verdicts = Verdicts(self._watch, self._listeners)
        self._tallies = Tallies(self._census, self._program, self._yardsticks.join)
        self._presence = Presence(self._listeners, self._census, self._tallies)
        self._reconciler = Reconciler(self._filters, sees or Sight())
        self._migrations = Migrations()
        self._strays = Strays()
        self._losses = Losses()
        self._orders: tuple[Order, ...] = ()
        self._swept = -1  # changes of entries when those that are gone were last forgotten
        self._divided_s: float | None = None  # when the yardstick was last put to it
        self._unread: tuple[Unread, ...] = ()
        self._unix: tuple[str, ...] = ()
        self._opened: Opened | None = None
        self._serving: tuple[Serving, ...] = ()
        self._cpus = Cpus()
        self._journal = Journal(self._listeners, self._census)
        self._findings = Findings()
        self._found: Sequence[Diagnosis] = ()
        self._listed: Sequence[Listener] = ()  # by the last inventory

    def start(self, baseline: Baseline) -> None:
        """What was there when tracing began; read before it is announced that it did."""
        self._listeners.start(baseline)

    def update(self, reading: Reading) -> Gone:
        """Take in one reading of everything; returns what need not be counted any longer."""
        counts = self._strays.settle(reading.counts, reading.inventory)
        self._pass_time(counts.at_s, reading.wall)
        self._take_in(counts, reading.inventory, reading.processes)
        self._check(counts, reading.passed)
        if reading.inventory is not None:
            self._unread, self._unix = reading.inventory.unread, reading.inventory.unix
            self._listed = reading.inventory.listeners
            self._take_in_opened(reading.inventory)
            changes = self._listeners.changes
            asked = reading.inventory
            if by_process(self._filters):
                kept = tuple(one for one in self._listed if held(self._filters, one.holders))
                asked = replace(asked, listeners=kept)
            self._found = self._findings.update(asked, changes, self._elapsed_s, reading.around)
            self._cpus.update(reading.cpu)
        gone = self._let_go(counts)
        self._ended, self._from_s, self._next_s = True, self._next_s, self._now_s
        return gone

    def go_on(self) -> None:
        """The interval of the last update goes on: nobody was shown it."""
        self._ended, self._next_s = False, self._from_s

    def drain(self, reading: Reading) -> Gone:
        """Sum up those that ended, during an interval, so that maps do not fill."""
        counts = self._strays.settle(reading.counts, None)
        self._take_in(counts, None, reading.processes)
        return self._let_go(counts)

    def confirm(self, reading: Reading) -> bool:
        """Check the books once more, in a reading that finds all counters as the last one did.

        False where it does not: then it is left alone, and so is all that was said.
        """
        if not self._tallies.agree(reading.counts):
            return False
        counts = self._strays.settle(reading.counts, reading.inventory)
        self._listeners.update(counts, reading.inventory, (), self._elapsed_s)
        self._check(counts, reading.passed)
        return True

    @property
    def quiet(self) -> bool:
        """Whether nothing came or left between the last two readings."""
        return self._reconciler.quiet

    @property
    def pids(self) -> set[int]:
        """Of processes that accepted something, and may have ended since."""
        return {pid for pid, _ in self._tallies.undecided}

    @property
    def holders(self) -> set[int]:
        """Pids of the holders that the last inventory found."""
        return self._census.holders

    def look_back(self, window_s: float | None) -> None:
        """Recent sums and verdicts are of another window from now on, or of the whole run."""
        self._watch.look_back(window_s)

    def snapshot(self, by: By = "worker") -> Snapshot:
        """The picture as of the last update, the most accepts first."""
        return self._picture(by, self._interval_s, whole=False)

    def summary(self, by: By = "worker") -> Snapshot:
        """The same with the whole run as its interval."""
        return self._picture(by, self._elapsed_s, whole=True)

    @property
    def _elapsed_s(self) -> float:
        return self._now_s - (self._started_s or 0.0)

    def _picture(self, by: By, interval_s: float, whole: bool) -> Snapshot:
        uncounted = self._uncounted()
        rows = Rows(
            by=by,
            listeners=self._listeners,
            census=self._census,
            filters=self._filters,
            visible=self._visible(),
            interval_s=interval_s,
            yardstick=self._yardsticks.of(by),
            cpus=self._cpus,
            opened=self._opened,
            serving=self._serving,
            recent=self._recent(by),
            trends=self._trends_of(by),
            passed_over=self._passed_over(),
            whole=whole,
        )
        kept = [entry for entry in self._entries() if rows.keeps(entry)]
        shown = rows.shown(kept)
        accepted: defaultdict[Socket, int] = defaultdict(int)
        for entry in kept:
            accepted[entry.socket] += entry.accepts

        def draw(socket: Socket) -> ListenerRow | None:
            return self._row_of(socket, accepted.get(socket, 0), uncounted)

        crowds = self._crowds(shown, accepted, draw)
        listeners = _listener_rows(shown, crowds, draw)
        scene = Scene(
            *(listeners, kept, self._losses, self._now_s, self._elapsed_s, whole),
            opened=self._opened,
            orders=self._orders,
        )
        verdicts = self._verdicts.of(scene)
        sockets = {socket for socket in shown if isinstance(socket, int)}
        shared = self._listeners.drops.shared(sockets)
        self._note_events(scene, shown, verdicts, shared)
        return Snapshot(
            time=self._wall,
            elapsed_s=self._elapsed_s,
            interval_s=interval_s,
            by=by,
            meta=self._meta,
            listeners=listeners,
            acceptors=tuple(ordered(rows.make(kept, shown, crowds))),
            books=self._books(kept, listeners),
            verdicts=verdicts,
            window_s=self._watch.window_s,
            migrations=self._migrations.among(sockets),
            namespace_losses=shared,
            unread=self._unread,
            unix=self._unix,
            open_age_s=max(self._now_s - self._opened.at_s, 0.0) if self._opened else None,
            events=self._journal.events,
            earlier_events=self._journal.earlier,
        )

    def _note_events(
        self,
        scene: Scene,
        shown: Sequence[Socket],
        verdicts: Sequence[Verdict],
        shared: Sequence[NamespaceLoss],
    ) -> None:
        """What happened since the picture before; `shared`: losses that no listener can be given.

        The summary shows the last reading again: only losses may have come to light since.
        """
        self._journal.begin(self._elapsed_s, self._wall)
        if not scene.whole:
            changes = self._listeners.changes + self._tallies.changes
            self._journal.compare(scene, shown, changes)
            self._journal.judge(verdicts)
            self._journal.find(self._found)
            self._journal.hand_over(self._listed)
        self._journal.lose(scene.rows, shared)

    def _recent(self, by: By) -> Parts | None:
        """What rows took in the window; None while that is the whole run."""
        window_s = self._watch.window_s
        if window_s is None or self._elapsed_s <= window_s:
            return None
        return self._yardsticks.recent(by, self._now_s)

    def _trends_of(self, by: By) -> Trends | None:
        began_s = self._started_s or 0.0
        return self._yardsticks.trends(by, began_s, self._now_s) if self._trends else None

    def _passed_over(self) -> frozenset[Socket]:
        """Closed listeners without any connection, which need no row."""
        acting, busy = set(), set()
        for entry in self._tallies:
            acting.add(entry.socket)
            if entry.accepts:
                busy.add(entry.socket)
        closed = [(i, known) for i, known in self._listeners.known.items() if not known.open]
        return frozenset(
            inode
            for inode, known in closed
            if known.untouched
            and (
                inode not in busy  # nobody ever saw it, nor who asked it for connections
                if known.listed is None
                else inode not in acting and self._is_bare(inode, known)
            )
        )

    def _is_bare(self, inode: int, known: Known) -> bool:
        """Whether nothing that happened belongs to it, beside what was counted there."""
        return (
            self._is_plain(inode)
            and not self._reconciler.may_have_passed(known)
            and not self._yardsticks.took_part(Entry(inode, Bygone("", kept=True)))
        )

    def _is_plain(self, inode: int) -> bool:
        """Whether neither the kernel's drops nor the books have anything there."""
        return self._listeners.drops.none_of(inode) and self._reconciler.verdict(inode).is_plain

    def _crowds(
        self, shown: Sequence[Socket], accepted: Mapping[Socket, int], draw: Draw
    ) -> Crowds:
        """Which of the listeners to show share a row."""
        idle, closing = [], []
        for socket in shown:
            known = self._listeners.known.get(socket) if isinstance(socket, int) else None
            if known is None or not isinstance(socket, int):
                continue
            if not known.open:
                if socket not in self._listeners.finished:
                    closing.append(socket)
            elif (
                known.listed
                and not accepted.get(socket)
                and known.untouched
                and self._is_plain(socket)
            ):
                idle.append(known.listed)
        return gathered(idle, closing, self._listeners, Judge(draw, self._reconciler.verdict))

    def _take_in_opened(self, inventory: Inventory) -> None:
        """Before anybody who ended since that look is forgotten."""
        if inventory.opened is not self._opened:
            entries, serving = self._presence.entries, inventory.serving
            self._serving = without_acceptors(serving, entries, self._listeners) if serving else ()
        self._opened = inventory.opened

    def _pass_time(self, now_s: float, wall: str) -> None:
        if self._started_s is None:
            self._started_s = self._next_s = now_s
        self._interval_s = max(now_s - self._next_s, 0.0)
        self._now_s, self._wall = now_s, wall

    def _take_in(
        self, counts: Counts, inventory: Inventory | None, processes: Mapping[int, Process]
    ) -> None:
        if self._ended:
            self._tallies.begin_interval()
            self._ended = False
        self._census.update(counts.acceptors, inventory, processes)
        self._fold(self._listeners.returning(counts, inventory), returns=True)
        moved = self._tallies.count(counts, counts.at_s)
        self._listeners.update(counts, inventory, moved, counts.at_s - (self._started_s or 0.0))
        for inode, accepts in self._listeners.uncounted:
            self._tallies.count_without_row(inode, accepts, counts.at_s)
        self._migrations.update(counts.migrations, self._listeners.known.keys())
        self._losses = counts.losses
        self._orders = counts.orders
        for idle in self._presence.update(counts.at_s, looked=inventory is not None):
            if self._yardsticks.took_part(idle):
                self._tallies.wait_no_more(idle)
        began_s = self._started_s if self._divided_s is None else self._divided_s
        interval = Interval(
            counts.at_s if began_s is None else began_s, counts.at_s, counts.ahead_s
        )
        self._divided_s = counts.at_s
        self._yardsticks.split(self._presence.entries, self._all_counted, interval)

    def _check(self, counts: Counts, after: Passed | None) -> None:
        began_us = round((self._started_s or 0.0) * US_PER_S)
        evidence = Evidence(counts, after, began_us, round(counts.at_s * US_PER_S))
        self._reconciler.update(self._listeners, self._tallies, evidence)

    def _let_go(self, counts: Counts) -> Gone:
        """Everything that ended leaves the kernel's maps, and the last of it the rows."""
        acceptors = self._tallies.let_go(counts.ended)
        for key, accepts in acceptors.items():
            known = self._listeners.known.get(key[0])
            if known is not None:
                known.forgotten += accepts
        self._tallies.end_processes()
        closed = self._listeners.ending
        acceptors |= self._tallies.close(set(closed))
        for inode in closed:
            self._listeners.finish(inode)
            self._forget_if_nothing_happened(inode)
        finished = list(self._listeners.finished)
        self._fold(finished[: max(len(finished) - LAST, 0)])
        self._sweep()
        return Gone(tuple(acceptors), tuple(self._listeners.parting), self._reconciler.idle_ports)

    def _forget_if_nothing_happened(self, inode: int) -> None:
        known = self._listeners.known[inode]
        if known.untouched and self._is_bare(inode, known) and not self._tallies.at(inode):
            self._reconciler.drop(inode, known, 0)
            self._migrations.forget(inode)
            self._journal.close(inode, None)
            self._listeners.drop(inode)

    def _fold(self, inodes: Collection[int], *, returns: bool = False) -> None:
        """Sum up closed listeners with the others at their places: there may be thousands."""
        if not inodes:
            return
        uncounted = self._uncounted()
        for inode in inodes:
            self._fold_one(inode, uncounted, returns=returns)

    def _fold_one(self, inode: int, uncounted: Uncounted, *, returns: bool) -> None:
        known = self._listeners.known[inode]
        row = self._row_of(inode, 0, uncounted)
        assert row is not None
        self._journal.close(inode, row)
        accepts = self._accepts_at(inode)
        place = self._place_for(row, accepts)
        self._listeners.places.fold(row, place)
        self._move(inode, place)
        self._reconciler.drop(inode, known, accepts)
        self._migrations.forget(inode)
        self._listeners.drop(inode, returns=returns)

    def _place_for(self, row: ListenerRow, accepts: int) -> Place:
        """Its own, while there is room: the least busy of the others makes it for a busier one."""
        places, place = self._listeners.places, place_of(row)
        if not places.has_room(place):
            least = min(places.own, key=self._accepts_at) if accepts else place
            if self._accepts_at(least) >= accepts:
                return places.wider(place)
            self._move(least, places.merge(least))
        return place

    def _accepts_at(self, socket: Socket) -> int:
        """From a listener that was closed, or at a place."""
        return sum(entry.accepts for entry in self._tallies.at(socket))

    def _move(self, socket: Socket, place: Place) -> None:
        """What belongs to a listener, or a place, belongs to another place from now on."""
        self._tallies.fold(socket, place)
        nobody = Bygone("", kept=True)
        self._yardsticks.join(Entry(socket, nobody), Entry(place, nobody))

    def _sweep(self) -> None:
        """What belongs to listeners that nothing describes is summed up, or is not ours."""
        for socket in self._tallies.at_rest:
            if isinstance(socket, int) and socket not in self._listeners.known:
                ours = self._listeners.lets_in(socket)
                self._tallies.fold(socket, ELSEWHERE if ours else None)
        changes = self._listeners.changes + self._tallies.changes
        if changes != self._swept:
            self._swept, entries = changes, self._presence.entries
            self._yardsticks.keep(entries)
            self._census.keep({e.process for e in entries if not isinstance(e.process, Bygone)})
            self._watch.keep({entry.members for entry in entries})

    def _program(self, entry: Entry) -> Bygone:
        """What a process that ended is summed up as."""
        assert not isinstance(entry.process, Bygone)
        process = self._census.process(entry.process)
        comm = entry.count.comm if entry.count else ""
        kept = process_matches(self._filters, process, comm)
        return Bygone(process.name or process.comm or comm, kept)

    def _entries(self) -> list[Entry]:
        return [e for e in self._presence.entries if self._listeners.lets_in(e.socket)]

    def _all_counted(self, socket: Socket) -> bool:
        """Whether nobody there is kept from being counted, by the filter in the kernel."""
        pids = self._filters.pids
        waits = self._listeners.waits(socket)
        return not pids or (
            bool(waits) and all(key[0] in pids or answer is False for key, answer in waits.items())
        )

    def _visible(self) -> Visible:
        counts = [entry.count for entry in self._tallies.live if entry.count is not None]
        return Visible(
            empty=self._seen("empty", [count.empty for count in counts]),
            errors=self._seen("errors", [count.errors for count in counts]),
            selected=self._seen("selected", self._listeners.selections),
        )

    def _seen(self, fact: Fact, counters: Sequence[object]) -> bool:
        if None in counters:
            return False
        return bool(counters) if self._sees is None else fact in self._sees.facts

    def _row_of(self, socket: Socket, number: int, uncounted: Uncounted) -> ListenerRow | None:
        """With so many accepts."""
        if isinstance(socket, Place):
            row = self._listeners.places.rows.get(socket)
            return None if row is None else replace(row, accepted=number)
        return self._listeners.row(socket, number, uncounted, self._reconciler.verdict(socket))

    def _uncounted(self) -> Uncounted:
        complete = not self._losses.rowless
        sees = (self._sees or Sight()) if complete else Sight()
        zero = {True: 0, False: None}
        moved = zero[sees.migrated]
        return Uncounted(
            selected=self._visible().selected,
            complete=complete,
            nothing_passed=Flow(zero[sees.arrived], zero[sees.closed], *(moved,) * 3),
            no_overflow=Overflow(0, 0, 0, 0) if sees.overflow else None,
            no_counts=dict.fromkeys(sees.counted, 0),
            queues=sees.arrived,
        )

    def _books(self, kept: Sequence[Entry], listeners: Sequence[ListenerRow]) -> Books:
        word = self._reconciler.word((row.book for row in listeners), self._losses.total)
        return Books(
            accepts=sum(entry.accepts for entry in kept),
            losses=self._losses,
            uncounted=sum(entry.accepts for entry in kept if entry.process == WITHOUT_ROW),
            unseen=self._reconciler.unseen,
            unseen_at_least=self._reconciler.unseen_at_least,
            word=word,
            balanced=self._losses.total == 0 and word != "unbalanced",
        )


def _listener_rows(shown: Sequence[Socket], crowds: Crowds, draw: Draw) -> tuple[ListenerRow, ...]:
    apart = (one for one in shown if one not in crowds.shared and one not in crowds.rows)
    found = [row for one in apart if (row := draw(one)) is not None]
    return tuple(sorted((*found, *crowds.rows.values()), key=_by_place))


def _by_place(row: ListenerRow) -> tuple[int, str, bool, int]:
    return row.local_port or 0, row.local_address or "", row.inode is None, row.inode or 0
