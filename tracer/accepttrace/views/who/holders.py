"""Those who hold a socket, a line each; many alike on one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from accepttrace.config import named_ranges, ranges
from accepttrace.facts.kin import Surroundings
from accepttrace.facts.places import unit_of
from accepttrace.facts.records import TICKS_PER_S, Came, Holder, Process
from accepttrace.model.labels import few
from accepttrace.model.who.programs import without_numbers
from accepttrace.views.formats import span
from accepttrace.views.text import cells, clean, clip, flowed, pad
from accepttrace.views.who.alike import alike

FOLD_FROM: Final = 4  # processes alike, on one line from so many on
SHOWN: Final = 16  # lines of one socket; names are chosen by others, and may all differ
NAME_CELLS: Final = 28
RANGES: Final = 2  # of PIDs, that a line names
GAP_S: Final = 5.0  # between two generations
GENERATIONS: Final = 3  # more are none
WORDS: Final[Mapping[bool | None, str]] = {True: "waits", None: "?", False: "holds"}
ORDER: Final = (True, None, False)
CAME: Final[Mapping[Came, str]] = {
    "SCM_RIGHTS": "by SCM_RIGHTS",
    "pidfd_getfd": "by pidfd_getfd",
    "other": "passed",
}


class Style(NamedTuple):
    """How lines are made. `full`: nothing is folded."""

    width: int
    full: bool = False


class Open(NamedTuple):
    """Connections that processes hold now.

    `by_pid`: None: not known; absent: that was not looked for. `where`: what they came to, where
    that is more than the sockets next to them.
    """

    by_pid: Mapping[int, int | None] = {}
    where: str = ""

    def text(self, pids: Iterable[int]) -> str:
        """`open 12`, of all these; nothing where there are none."""
        if not self.by_pid:
            return ""
        numbers = [self.by_pid.get(pid, 0) for pid in pids]
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            return "open n/a"
        return f"open {sum(known):,}{self.where}" if any(known) else ""


UNSEEN: Final = Open()


@dataclass(frozen=True, slots=True)
class Member:
    """A process and what it does with one or several sockets alike.

    `on`: the number of those that it waits on, `has`: that it holds.
    """

    holder: Holder
    waits: bool | None
    on: int
    has: int


def holder_lines(
    holders: Sequence[Holder],
    around: Surroundings,
    style: Style,
    indent: str = "  ",
    opened: Open = UNSEEN,
) -> Iterator[str]:
    """Of one socket: who waits, then who merely holds it."""
    members = [Member(one, one.waits, int(one.waits is True), 1) for one in holders]
    return member_lines(members, 1, around, style, indent, opened)


def member_lines(
    members: Iterable[Member],
    sockets: int,
    around: Surroundings,
    style: Style,
    indent: str,
    opened: Open = UNSEEN,
) -> Iterator[str]:
    """Of so many sockets alike."""
    ordered = sorted(members, key=lambda one: (ORDER.index(one.waits), one.holder.pid))
    apart = style.full or len(ordered) < FOLD_FROM
    classes = [[one] for one in ordered] if apart else _classes(ordered, around)
    shown = len(classes) if style.full else SHOWN
    rows = [_row(one, sockets, around, opened) for one in classes[:shown]]
    yield from aligned(rows, style.width, indent)
    for waits, rest in groupby(
        (one for some in classes[shown:] for one in some), key=lambda one: one.waits
    ):
        more = list(rest)
        names = few(sorted({clean(one.holder.name) for one in more}))
        yield clip(f"{indent}{WORDS[waits]:<5}  {len(more):,} more: {names}", style.width)


def members_of(holders: Iterable[Holder]) -> list[Member]:
    """One a process, of the holders of several sockets."""
    return [_member(some) for some in alike(holders, lambda one: (one.pid, one.start_ticks))]


def _member(some: Sequence[Holder]) -> Member:
    waiting = [one for one in some if one.waits]
    known = False if all(one.waits is False for one in some) else None
    first = (waiting or some)[0]
    return Member(first, True if waiting else known, len(waiting), len(some))


def _classes(ordered: Sequence[Member], around: Surroundings) -> list[list[Member]]:
    """Those alike together, if they are many, in the order of the first of each."""
    found = alike(ordered, lambda one: (kind_of(one.holder, around), one.waits, one.on, one.has))
    return [part for some in found for part in _parts(some)]


def _parts(some: list[Member]) -> list[list[Member]]:
    if len(some) < FOLD_FROM:
        return [[one] for one in some]
    parts = _generations(some)
    return parts if len(parts) <= GENERATIONS else [some]


def _generations(some: list[Member]) -> list[list[Member]]:
    """Apart where between two starts there is a gap."""
    by_start = sorted(some, key=lambda one: (one.holder.start_ticks, one.holder.pid))
    parts: list[list[Member]] = []
    for one in by_start:
        if parts and _gap_s(parts[-1][-1], one) <= GAP_S:
            parts[-1].append(one)
        else:
            parts.append([one])
    return parts


def _gap_s(earlier: Member, later: Member) -> float:
    return (later.holder.start_ticks - earlier.holder.start_ticks) / TICKS_PER_S


def kind_of(holder: Holder, around: Surroundings) -> object:
    """What holders of one kind have in common, beside whether they wait."""
    kin = around.kin.get(holder.pid)
    own = (kin.uid, kin.parent, kin.stopped) if kin else None
    return (without_numbers(holder.name), holder.waits_in, holder.cgroup, holder.came, own)


class Row(NamedTuple):
    """Cells that are aligned, and what follows them."""

    word: str
    pid: str
    name: str
    rest: tuple[str, ...]


def _row(some: Sequence[Member], sockets: int, around: Surroundings, opened: Open) -> Row:
    first, *others = some
    holder = first.holder
    parts = [
        "" if others or sockets > 1 else f"fd {holder.fd}",
        (holder.waits_in or "") if first.waits else "",
        "not seen to wait" if first.waits is None else "",
        CAME[holder.came] if holder.came else "",
        _extent(first, sockets),
        opened.text(each.holder.pid for each in some),
    ]
    return row_of(WORDS[first.waits], [each.holder for each in some], parts, around)


def row_of(
    word: str, some: Sequence[Holder | Process], parts: Iterable[str], around: Surroundings
) -> Row:
    """Of processes alike, or of one: what they do, and where they belong."""
    first, *others = some
    pids = f"pids {few_ranges([each.pid for each in some])}" if others else ""
    rest = (*parts, _since(some, around), *_belongs(first, around), pids)
    pid = f"{len(some):,} x" if others else str(first.pid)
    name = clip(clean(_called([each.name or each.comm for each in some])), NAME_CELLS)
    return Row(word, pid, name, tuple(part for part in rest if part))


def _called(names: Sequence[str]) -> str:
    """What all are called, apart from numbers."""
    first, *_ = names
    return first if all(name == first for name in names) else without_numbers(first)


def _extent(one: Member, sockets: int) -> str:
    """On how many of several sockets alike."""
    if sockets == 1:
        return ""
    has = f"all {sockets}" if one.has == sockets else f"{one.has} of {sockets}"
    if not one.on:
        return has
    if one.on == one.has:
        return f"on {has}"
    return f"on {one.on}, has {has}"


def _since(some: Sequence[Holder | Process], around: Surroundings) -> str:
    starts = [one.start_ticks for one in some]
    ages = [around.age_s(each) for each in (max(starts), min(starts))]
    shown = dict.fromkeys(span(age) for age in ages if age is not None)
    return f"up {'-'.join(shown)}" if shown else ""


def _belongs(holder: Holder | Process, around: Surroundings) -> Iterator[str]:
    """User, parent, and where it runs."""
    kin = around.kin.get(holder.pid)
    if kin:
        yield "STOPPED" if kin.stopped else ""
        yield user(kin.uid, around)
        yield f"parent {kin.parent}" if kin.parent else ""
    if holder.pod:
        yield f"pod {clean(_without_uid(holder.pod))}"
    if holder.container:
        yield f"container {clean(holder.container)}"
    elif unit := unit_of(holder.cgroup):
        yield clean(unit)
    if holder.ns_pid not in (None, holder.pid):
        yield f"nspid {holder.ns_pid}"


def _without_uid(pod: str) -> str:
    """The beginning of a uid will do; a name is shown whole."""
    return pod if "/" in pod else pod.partition("-")[0]


def user(uid: int | None, around: Surroundings) -> str:
    """The name of a user, `uid 1001` where it has none, nothing where it is not known."""
    if uid is None:
        return ""
    name = around.users.get(uid)
    return clean(name) if name else f"uid {uid}"


def few_ranges(pids: Iterable[int]) -> str:
    """`12-15, 20, 31-40 and 3 more`."""
    found = ranges(pids)
    more = sum(high - low + 1 for low, high in found[RANGES:])
    return ", ".join(named_ranges(found[:RANGES])) + (f" and {more} more" if more else "")


def aligned(rows: Sequence[Row], width: int, indent: str) -> Iterator[str]:
    """A line each, longer ones on several."""
    pid_cells = max((len(row.pid) for row in rows), default=0)
    name_cells = max((cells(row.name) for row in rows), default=0)
    word_cells = max((len(row.word) for row in rows), default=0)
    for word, pid, name, rest in rows:
        head = f"{indent}{word:<{word_cells}}  {pid:>{pid_cells}}  {pad(name, name_cells, 'left')}"
        margin = " " * (len(indent) + word_cells + 2)
        yield from flowed((head, *rest), width, margin)
