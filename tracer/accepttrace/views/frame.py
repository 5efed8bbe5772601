"""What every view has around its body: the header above, losses and changes below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from accepttrace.model.snapshot import Snapshot
from accepttrace.views.books import unbalanced
from accepttrace.views.changes import moved, selectors, unattributed, uncounted, unseen
from accepttrace.views.closing import closing
from accepttrace.views.events import changes
from accepttrace.views.formats import plural
from accepttrace.views.header import header, title
from accepttrace.views.losses import delays, full_queues, losses
from accepttrace.views.text import Line, clean, cut, flow

UNIX_NAMED: Final = 3  # UNIX sockets that are named where nothing else is found
Body = Callable[["int | None"], Sequence[Line]]  # lines there are (None: any number) → lines

_SHARE: Final = 3  # what is below takes at most this part of a window
_NOTES: Final = (
    losses,
    full_queues,
    delays,
    unbalanced,
    uncounted,
    unattributed,
    unseen,
    moved,
    selectors,
    changes,
)


def framed(
    snapshot: Snapshot,
    width: int,
    height: int | None,
    body: Body,
    after: Sequence[Line] = (),
    *,
    footer: bool,
    full: bool,
) -> list[Line]:
    """The lines of a view: at most `width` cells each, at most `height` of them.

    `after` stands last. Without a height nothing is cut, and a `footer` stands for header and
    notes: it says what was seen, and with `full` every number that there is.
    """
    if height is None and footer:
        above = flow(title(snapshot.meta, snapshot.time, snapshot.elapsed_s), width)
        below = [*after, *closing(snapshot, width, ledger=full)]
        return [cut(line, width) for line in (*above, *body(None), *below)]
    above = header(snapshot, width)
    below = [line for note in _NOTES for line in note(snapshot, width)]
    if height is None:
        below = [*below, *after]
        room = None
    else:
        below = [*_capped(below, max(height // _SHARE, 2)), *after]
        room = height - len(above) - len(below)
    lines = [cut(line, width) for line in (*above, *body(room), *below)]
    return lines if height is None else lines[:height]


def nothing(snapshot: Snapshot) -> str:
    """Why there is no row: an empty view is never silent."""
    there = sum(row.folded or row.open for row in snapshot.listeners)
    place = placed(clean(snapshot.meta.filter))
    if there:
        return f"0 accepts{place} so far; {plural(there, 'listener')} there"
    return f"nobody listens{place}{elsewhere(snapshot.unix)}"


def elsewhere(unix: Sequence[str], which: str = "which --unix traces") -> str:
    """` on TCP; /run/app.sock: UNIX sockets, which --unix traces`, or nothing."""
    if not unix:
        return ""
    more = f" and {len(unix) - UNIX_NAMED} more" if len(unix) > UNIX_NAMED else ""
    names = ", ".join(clean(path) for path in unix[:UNIX_NAMED])
    return f" on TCP; {names}{more}: UNIX sockets, {which}"


def placed(text: str) -> str:
    """` on :80`, ` (pid 12)`, or nothing where every listener is traced."""
    if not text:
        return ""
    return f" on {text}" if text.startswith((":", "/", "@")) else f" ({text})"


def _capped(lines: Sequence[Line], limit: int) -> Sequence[Line]:
    if len(lines) <= limit:
        return lines
    left_out = plural(len(lines) - limit + 1, "more line")
    return [*lines[: limit - 1], ((f"… {left_out} of this in the summary at the end", "dim"),)]
