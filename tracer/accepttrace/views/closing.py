"""What a run has seen, in whole sentences, one thing a line: below its last table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Final

from accepttrace.facts.records import Losses
from accepttrace.model.histogram import add, percentiles
from accepttrace.model.losses import verdict
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import verdicts
from accepttrace.views.books import accounted, totals, unbalanced
from accepttrace.views.changes import moved, selectors, unattributed, uncounted, unseen
from accepttrace.views.events import happened
from accepttrace.views.formats import duration, known, many, plural, rate, span
from accepttrace.views.header import crowd, namespaces, over_share, rate_of, unread_lines
from accepttrace.views.losses import INDENT, causes, delays, full_queues, hidden, losses, sentence
from accepttrace.views.text import Line, Span, flow

_QUANTILES: Final = (0.5, 0.99)


def closing(snapshot: Snapshot, width: int, *, ledger: bool = False) -> list[Line]:
    """All of it; with the `ledger`, every number of the books and every cause of a loss, also 0."""
    parts = [line for say in _SENTENCES for line in say(snapshot, width)]
    return [*parts, *(_ledger(snapshot, width) if ledger else ())]


def _traced(snapshot: Snapshot, width: int) -> list[Line]:
    accepts = snapshot.books.accepts
    number = f" ({rate(rate_of(snapshot))}/s)" if accepts else ""
    where, _ = namespaces(snapshot.listeners)
    text = f"{plural(accepts, 'connection')} accepted in {span(snapshot.elapsed_s)}{number}"
    return _said(f"{text}: {crowd(snapshot)} {where}".rstrip(), width)


def _verdicts(snapshot: Snapshot, width: int) -> list[Line]:
    lines: list[Line] = []
    for text in verdicts.sentences(snapshot):
        word, _, rest = text.partition(": ")
        lines += _said(rest, width, begin=[(f"{word}:", verdicts.style(word))])
    return [*lines, *verdicts.left_out(snapshot)]


def _accounted(snapshot: Snapshot, width: int) -> list[Line]:
    word = snapshot.books.word
    if word == "balanced":
        number, parts = accounted(snapshot)
        whose = f": {', '.join(parts)}" if len(parts) > 1 else ""
        return _said(f"Accounted for: all {number:,}{whose}", width) if number else []
    if word == "unchecked":
        return _said("Whether all that came are accounted for could not be checked", width)
    why = "Not all that came are accounted for"
    return unbalanced(snapshot, width) or _said(why, width, "bold red")


def _waits(snapshot: Snapshot, width: int) -> list[Line]:
    """Of all rows together."""
    histogram: Sequence[int] = reduce(add, (row.wait_histogram for row in snapshot.acceptors), ())
    longest = max((row.wait_max_us or 0 for row in snapshot.acceptors), default=0)
    half, most = percentiles(histogram, _QUANTILES, longest)
    if half is None or most is None:
        return []
    unknown = snapshot.books.accepts - sum(histogram)
    rest = f" ({unknown:,} were not measured)" if unknown > 0 else ""
    text = (
        f"In the accept queue half of them waited at most {duration(half)}, 99% at most"
        f" {duration(most)}, the longest {duration(longest)}{rest}"
    )
    return _said(text, width)


def _lost(snapshot: Snapshot, width: int) -> list[Line]:
    """By clients: what they lost, in words, or that it was nothing."""
    if verdict(snapshot) != "nothing":
        return losses(snapshot, width)
    unknown = hidden(snapshot)
    if not unknown:
        return _said("Clients lost nothing", width)
    return _said(f"Clients lost nothing that can be seen; not visible: {', '.join(unknown)}", width)


def _ended(snapshot: Snapshot, width: int) -> list[Line]:
    rows = [row for row in snapshot.acceptors if not row.alive and (row.pid or row.ended)]
    if snapshot.by not in ("worker", "process") or not rows:
        return []
    ended = len({row.pid for row in rows if row.pid}) + sum(row.ended for row in rows)
    took = plural(sum(row.accepts for row in rows), "connection")
    return _said(f"{plural(ended, 'worker')} ended, having accepted {took}", width)


def _by_tracer(snapshot: Snapshot, width: int) -> list[Line]:
    """What the tracer itself lost: that it was nothing is said too."""
    own = snapshot.books.losses
    lost = [plural(number, word) for number, word in own.by_cause if number]
    unknown = [many(word) for number, word in own.by_cause if number is None]
    if lost:
        lines = _said(f"LOST by the tracer: {', '.join(lost)}", width, "bold red")
    else:
        rest = f" that it can count; not counted: {', '.join(unknown)}" if unknown else ""
        lines = _said(f"The tracer lost nothing{rest}", width)
    shares = over_share(own)
    return [*lines, *(_said(shares, width, "yellow") if shares else ())]


def _unread(snapshot: Snapshot, width: int) -> list[Line]:
    return unread_lines(snapshot.unread, width)


def _ledger(snapshot: Snapshot, width: int) -> list[Line]:
    """Everything that could be lost, by name, also when it is 0."""
    own = lost_by_tracer(snapshot.books.losses, width)
    return [*totals(snapshot, width), *causes(snapshot, width), *own]


def lost_by_tracer(losses: Losses, width: int) -> list[Line]:
    """What the tracer itself may lose."""
    parts = [f"{known(number)} {many(word)}" for number, word in losses.by_cause]
    return sentence("lost by the tracer:", parts, width, "dim")


def _said(text: str, width: int, style: str = "", begin: Sequence[Span] = ()) -> list[Line]:
    """One sentence, on as many lines as it takes."""
    words = [(word, style) for word in f"{text}.".split()]
    return flow([*begin, *words], width, gap=" ", indent=INDENT)


_SENTENCES: Final[Sequence[Callable[[Snapshot, int], list[Line]]]] = (
    _traced,
    _verdicts,
    _accounted,
    _waits,
    _lost,
    full_queues,
    delays,
    _ended,
    _by_tracer,
    uncounted,
    unattributed,
    unseen,
    moved,
    selectors,
    _unread,
    happened,
)
