"""What happened, one event a line: when, a word, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

from accepttrace.model.snapshot import Event, EventKind, Snapshot
from accepttrace.model.who.diagnosis import ADVICE, FAULTS, KINDS, Kind
from accepttrace.views.formats import endpoint, plural
from accepttrace.views.losses import in_words
from accepttrace.views.text import Line, clean, flow
from accepttrace.views.verdicts import STYLES, clock

STYLES_OF_EVENTS: Final[Mapping[EventKind, str]] = {
    "LOST": "bold red",
    **dict.fromkeys(FAULTS, "bold red"),
    "STUCK": STYLES["STUCK"],
    "UNEVEN": STYLES["UNEVEN"],
    "IDLE WORKERS": STYLES["IDLE WORKERS"],
    "UNEVEN OPEN": STYLES["UNEVEN OPEN"],
}
_SHOWN: Final = 12  # below a table
_AT_ONCE: Final[tuple[EventKind, ...]] = ("PASSED",)


def happened(snapshot: Snapshot, width: int) -> list[Line]:
    """All of the run, the latest last, as many as a page takes."""
    shown = snapshot.events[-_SHOWN:]
    earlier = len(snapshot.events) - len(shown) + snapshot.earlier_events
    found = [line for event in shown for line in line_of(snapshot, event, width)]
    if earlier:
        found.insert(0, ((f"… {plural(earlier, 'earlier event')}", "dim"),))
    return found


def changes(snapshot: Snapshot, width: int) -> list[Line]:
    """Those of the last interval that a table does not show in another way."""
    said = (*_OF_CHANGES, *KINDS)
    shown = [event for event in recent(snapshot) if event.kind in said or not event.going_on]
    shown = [event for event in shown if event.kind != "LOST"]
    return [line for event in shown[-_SHOWN:] for line in line_of(snapshot, event, width)]


def recent(snapshot: Snapshot) -> Sequence[Event]:
    """Those that began, went on or ended in the interval of the snapshot."""
    began_s = snapshot.elapsed_s - snapshot.interval_s
    return [event for event in snapshot.events if event.until_s > began_s]


def line_of(snapshot: Snapshot, event: Event, width: int) -> list[Line]:
    """`12:03:58Z LOST 15 SYNs dropped from 9 clients (queue full)`, on as many lines as needed."""
    spans = [(clock(snapshot, event.began_s), "dim"), (event.kind, _style(event))]
    spans += [(word, "") for word in text(snapshot, event).split()]
    spans += [(word, "dim") for word in _remedy(event).split()]
    return flow(spans, width, gap=" ", indent="  ")


def _remedy(event: Event) -> str:
    """What to do about what `who` would find, in a sentence; all of it: `accepttrace explain`."""
    advice = ADVICE.get(cast("Kind", event.kind)) if event.going_on else None
    return f"-> {advice.do.partition('. ')[0].rstrip('.')}" if advice else ""


def text(snapshot: Snapshot, event: Event) -> str:
    """What there is to say of it, without its time and its word."""
    places = {(row.netns, row.local_address, row.local_port) for row in snapshot.listeners}
    where = endpoint(event.local_address, event.local_port, event.family, event.inode)
    if len({netns for netns, _, _ in places}) > 1:
        where += f" in netns {event.netns}"
    named = len(places) > 1 and event.local_port is not None
    return f"{where}: {_words(snapshot, event)}" if named else _words(snapshot, event)


def _words(snapshot: Snapshot, event: Event) -> str:
    if event.text is not None and event.going_on and _is_said(snapshot, event):
        return "since then"
    if event.text is not None:
        over = not event.going_on and event.kind not in _AT_ONCE
        ended = f"; until {clock(snapshot, event.until_s)}" if over else ""
        return clean(event.text) + ended
    if event.kind == "LOST":
        whose = f" from {plural(event.clients, 'client')}" if event.clients else ""
        lost = in_words(event.lost, whose, event.family == "unix")
        return ", ".join(lost) + _last(snapshot, event)
    return ", ".join([*_OF_CHANGES[event.kind](event), *_cut_off(event)])


def _is_said(snapshot: Snapshot, event: Event) -> bool:
    """Whether a verdict, which stands above, says the same."""
    about = (event.netns, event.local_address, event.local_port, event.kind)
    return any(
        (one.netns, one.local_address, one.local_port, one.finding.word) == about
        for one in snapshot.verdicts
    )


def _last(snapshot: Snapshot, event: Event) -> str:
    lasted_s = event.until_s - event.began_s
    return f"; the last at {clock(snapshot, event.until_s)}" if lasted_s >= 1 else ""


def _style(event: Event) -> str:
    return "bold red" if any(event.lost.values()) else STYLES_OF_EVENTS.get(event.kind, "bold")


def _replaced(event: Event) -> list[str]:
    by = "" if event.came == event.left else f" by {event.came}"
    return [f"{plural(event.left or 0, 'worker')}{_called(event)} replaced{by}"]


def _partly(event: Event) -> list[str]:
    """Of the workers, where not all were replaced."""
    parts = []
    if event.left:
        of = f" of {event.workers}" if event.workers else ""
        parts.append(f"{event.left}{of} {'worker' if event.workers == 1 else 'workers'} gone")
    if event.came:
        parts.append(f"{event.came} new {'worker' if event.came == 1 else 'workers'}")
    if parts:
        parts[-1] += _called(event)
    return parts


def _grown(event: Event) -> list[str]:
    before = event.sockets or 0
    now = before + (event.opened or 0) - (event.closed or 0)
    verb = "grew" if now > before else "shrank"
    return [f"{verb} from {before:,} to {plural(now, 'socket')}", *_partly(event)]


def _closed(event: Event) -> list[str]:
    again = f", {event.opened} opened since" if event.opened else ""
    # They need not have ended with it.
    held = [f"held by {plural(event.left, 'worker')}{_called(event)}"] if event.left else []
    came = _partly(replace(event, left=0))
    return [f"{plural(event.closed or 0, 'socket')} closed{again}", *held, *came]


def _called(event: Event) -> str:
    return f" ({clean(event.program)})" if event.program else ""


def _cut_off(event: Event) -> list[str]:
    """What that cost; nothing where it is not visible."""
    reset, cut_off = event.lost.get("lost_on_close"), event.lost.get("half_open_lost")
    parts = [] if reset is None else [f"{plural(reset, 'connection')} reset"]
    return [*parts, f"{plural(cut_off, 'half-open handshake')} cut off"] if cut_off else parts


_OF_CHANGES: Final[Mapping[EventKind, Callable[[Event], list[str]]]] = {
    "RELOAD": _replaced,
    "WORKERS": _partly,
    "GROUP": _grown,
    "CLOSED": _closed,
}
