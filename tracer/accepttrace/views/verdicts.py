"""The answer, in a line for each sharing set: a word, and the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from textwrap import wrap
from typing import Final

from accepttrace.model.snapshot import Snapshot, Verdict
from accepttrace.views.formats import endpoint, plural, span
from accepttrace.views.text import Line, cells, clean, flow

SHOWN: Final = 3  # sets that have a line of their own
BESIDE: Final = 30  # cells: with so much room a sentence begins beside the word
STYLES: Final[Mapping[str, str]] = {
    "INCOMPLETE": "warn",
    "STUCK": "bad",
    "UNEVEN": "warn",
    "IDLE WORKERS": "warn",
    "UNEVEN OPEN": "warn",
    "FAIR": "good",
}


def lines(snapshot: Snapshot, width: int, most: int | None = None) -> list[Line]:
    """The gravest first; nothing where nobody shares. `most`: of so many, the others unsaid."""
    shown = snapshot.verdicts[: SHOWN if most is None else most]
    found = [line for one in shown for line in _lines(one, snapshot, width)]
    return found if most is not None else [*found, *left_out(snapshot)]


def left_out(snapshot: Snapshot) -> list[Line]:
    """That there are more of them, if so."""
    more = len(snapshot.verdicts) - SHOWN
    return [((f"… {plural(more, 'more verdict')}: JSON has them", "dim"),)] if more > 0 else []


def sentences(snapshot: Snapshot) -> list[str]:
    """The same as whole lines, however long."""
    return [f"{one.finding.word}: {_text(one, snapshot)}" for one in snapshot.verdicts[:SHOWN]]


def style(word: str) -> str:
    """Of the word on the screen."""
    return STYLES.get(word, "bold")


def _lines(verdict: Verdict, snapshot: Snapshot, width: int) -> list[Line]:
    word = verdict.finding.word
    first, *rest = _text(verdict, snapshot).split("; ")
    beside = width - cells(word) - len("  ")
    parts = wrap(first, beside)[:1] if beside >= BESIDE else []
    rest = [first[len("".join(parts)) :].lstrip(), *rest]
    parts += [piece for part in rest for piece in wrap(part, max(width - 2, 1))]
    spans = [(word, style(word)), *((part, "") for part in parts)]
    return flow(spans, width, indent="  ")


def _text(verdict: Verdict, snapshot: Snapshot) -> str:
    parts = [clean(verdict.finding.text)]
    if len(snapshot.verdicts) > 1:
        place = endpoint(verdict.local_address, verdict.local_port, verdict.family, verdict.inode)
        parts[0] = f"{place}: {parts[0]}"
    if snapshot.window_s is not None and verdict.over_s < snapshot.elapsed_s:
        parts.append(f"in the last {span(verdict.over_s)}")
    if verdict.since_s is not None and verdict.since_s > snapshot.interval_s:
        parts.append(f"since {clock(snapshot, verdict.since_s)}")
    if verdict.pattern is not None:
        parts.append(verdict.pattern.text)
    return "; ".join(parts)


def clock(snapshot: Snapshot, elapsed_s: float) -> str:
    """`12:03:04Z`, of so many seconds after the start."""
    now = datetime.fromisoformat(snapshot.time.replace("Z", "+00:00"))
    then = now - timedelta(seconds=snapshot.elapsed_s - elapsed_s)
    return f"{then.astimezone(timezone.utc):%H:%M:%S}Z"
