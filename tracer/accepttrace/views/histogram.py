"""How long connections waited in the accept queue: bars by powers of two, a block for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from math import ceil
from typing import Final

from accepttrace.config import By
from accepttrace.model.grains import GRAINS
from accepttrace.model.histogram import add, octaves, percentiles
from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.model.sums import QUANTILES
from accepttrace.views.formats import duration, endpoint, plural
from accepttrace.views.frame import framed, nothing
from accepttrace.views.text import Line, Span, cells, clean, cut, flow

MARKS: Final = ("p50", "p90", "p99")
BLOCK: Final = 70  # cells that a block wants, to stand beside another one
GAP: Final = "    "


@dataclass(frozen=True, slots=True)
class Pile:
    """The waiting times of one row, or of all."""

    title: str
    accepts: int
    histogram: Sequence[int]
    longest: int  # us


def render(
    snapshot: Snapshot,
    width: int,
    height: int | None,
    *,
    rows: int | None = None,
    bars: bool = True,
    footer: bool = True,
    full: bool = False,
) -> list[Line]:
    """All lines, as `framed` says: a block for all rows together, and one for each of `rows`.

    Without `bars` the numbers stand alone.
    """
    piles = _piles(snapshot)

    def body(room: int | None) -> list[Line]:
        if not piles:
            return flow([(_none(snapshot), "")], width)
        return _body(piles, rows, width, room, bars)

    return framed(snapshot, width, height, body, footer=footer, full=full)


def blocks(snapshot: Snapshot, width: int) -> list[Line]:
    """The same without anything around it, however many lines that takes."""
    piles = _piles(snapshot)
    if not piles:
        return flow([(_none(snapshot), "")], width)
    return _body(piles, None, width, None, bars=True)


def block(snapshot: Snapshot, row: AcceptorRow, width: int) -> list[Line]:
    """Of one row."""
    return _block(_pile(snapshot.by, row, several=False), width, bars=True)


def _body(
    piles: Sequence[Pile], rows: int | None, width: int, room: int | None, bars: bool
) -> list[Line]:
    """As many blocks as there is room for, then rows in a line each, then how many are left."""
    together = [_sum(piles)] if len(piles) > 1 else []
    shown = [*together, *piles[:rows]]
    note = len(shown) < len(together) + len(piles)
    lines, done = _blocks(shown, width, room, note, bars)
    brief = shown[done:]
    if room is not None and len(lines) + len(brief) + note > room:
        brief = brief[: max(room - len(lines) - 1, 0)]
    hidden = piles[max(done + len(brief) - len(together), 0) :]
    return [*lines, *map(_brief, brief), *_left_out(hidden)]


def _blocks(
    shown: Sequence[Pile], width: int, room: int | None, note: bool, bars: bool
) -> tuple[list[Line], int]:
    """Side by side in a wide window; a line stays free for a `note`, or for what did not fit."""
    columns = min(max((width + len(GAP)) // (BLOCK + len(GAP)), 1), len(shown))
    share = (width - (columns - 1) * len(GAP)) // columns
    lines: list[Line] = []
    for done in range(0, len(shown), columns):
        some = shown[done : done + columns]
        band = _side_by_side([_block(pile, share, bars) for pile in some], share)
        more = note or done + columns < len(shown)
        if room is not None and len(lines) + len(band) + more > room:
            if lines:
                return lines, done
            part = _block(shown[0], width, bars)[: max(room - 1, 1)]
            return part, 1  # better than nothing
        lines += band
    return lines, len(shown)


def _side_by_side(blocks: Sequence[Sequence[Line]], width: int) -> list[Line]:
    """Blocks as columns, each of `width` cells."""
    return [_joined(parts, width) for parts in zip_longest(*blocks, fillvalue=())]


def _joined(parts: Sequence[Line], width: int) -> Line:
    spans: list[Span] = []
    for part in parts[:-1]:
        line = cut(part, width)
        used = sum(cells(text) for text, _ in line)
        spans += [*line, (" " * (width - used) + GAP, "")]
    return (*spans, *cut(parts[-1], width))


def _block(pile: Pile, width: int, bars: bool) -> list[Line]:
    """A title with the percentiles, and a bar for each power of two."""
    marks = _marks(pile)
    texts = [f"{mark} {duration(us)}" for mark, us in (*marks, ("max", pile.longest))]
    summary = flow([(f"  {_waits(pile)}", ""), *((text, "") for text in texts)], width, indent="  ")
    return [((pile.title, "bold"),), *summary, *_bars(pile.histogram, marks, width, bars)]


def _brief(pile: Pile) -> Line:
    marks = (*_marks(pile), ("max", pile.longest))
    return (
        ("".join(f"{mark} {duration(us):<5}  " for mark, us in marks), ""),
        (pile.title, "bold"),
    )


def _marks(pile: Pile) -> list[tuple[str, int]]:
    bounds = percentiles(pile.histogram, QUANTILES, pile.longest)
    return [(mark, us) for mark, us in zip(MARKS, bounds, strict=True) if us is not None]


def _waits(pile: Pile) -> str:
    waits = sum(pile.histogram)
    unknown = pile.accepts - waits
    return plural(waits, "wait") + (f" ({unknown:,} not measured)" if unknown > 0 else "")


def _bars(
    histogram: Sequence[int], marks: Sequence[tuple[str, int]], width: int, drawn: bool
) -> Iterator[Line]:
    parts = octaves(histogram)
    waits, most = sum(histogram), max(count for _, _, count in parts)
    digits = len(f"{most:,}")
    for low, high, count in parts:
        text = (
            f"  {duration(low):>5} - {duration(high):>5}  {count:>{digits},} {count / waits:>6.1%} "
        )
        names = " ".join(mark for mark, us in marks if low <= us <= high)
        room = max(width - len(text) - len(" p50 p90 p99"), 0) if drawn else 0
        yield ((text, ""), ("#" * ceil(count * room / most), "bold"), (f" {names}", ""))


def _piles(snapshot: Snapshot) -> list[Pile]:
    several = len({row.netns for row in snapshot.acceptors}) > 1
    filled = [row for row in snapshot.acceptors if any(row.wait_histogram)]
    return [_pile(snapshot.by, row, several) for row in filled]


def _pile(by: By, row: AcceptorRow, several: bool) -> Pile:
    grain = GRAINS[by]
    number = getattr(row, grain.identity)
    known = "" if number is None else f"{grain.noun} {number} "
    place = endpoint(row.local_address, row.local_port, row.family, row.listener_inode, row.device)
    gone = "" if row.alive else "closed " if row.pid is None else "gone "
    where = f"{place} in netns {row.netns}" if several and row.netns else place
    title = f"{known}{gone}{clean(row.name)} on {where}"
    return Pile(title, row.accepts, row.wait_histogram, row.wait_max_us or 0)


def _sum(piles: Sequence[Pile]) -> Pile:
    return Pile(
        "all rows",
        sum(pile.accepts for pile in piles),
        reduce(add, (pile.histogram for pile in piles)),
        max(pile.longest for pile in piles),
    )


def _left_out(piles: Sequence[Pile]) -> list[Line]:
    if not piles:
        return []
    accepts = plural(sum(pile.accepts for pile in piles), "accept")
    return [((f"… {plural(len(piles), 'more row')} ({accepts})", "dim"),)]


def _none(snapshot: Snapshot) -> str:
    if not snapshot.books.accepts:
        return nothing(snapshot)
    return "no waiting time was measured"
