"""JSON Lines: one object a line. `schema.json` beside this file is the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from accepttrace.facts.meta import Meta
from accepttrace.facts.records import Losses, Program
from accepttrace.model.histogram import filled
from accepttrace.model.pattern import Pattern, Run, Turn
from accepttrace.model.snapshot import (
    AcceptorRow,
    Books,
    Event,
    GroupSize,
    ListenerRow,
    Migration,
    NamespaceLoss,
    SelectorChange,
    Snapshot,
    Verdict,
)
from accepttrace.model.verdict import Finding, Standout
from accepttrace.views.events import recent
from accepttrace.views.text import well_formed
from accepttrace.views.unread import objects

if TYPE_CHECKING:
    from accepttrace.model.datagrams import ReceiverBooks

SCHEMA: Final = 1
HISTOGRAM: Final = "wait_histogram"  # long, so only for those who ask
DRAWN: Final = "trend"  # for a screen: programs have the readings themselves
ACCEPTOR_FIELDS: Final = tuple(
    name for name in AcceptorRow.__dataclass_fields__ if name not in (HISTOGRAM, DRAWN)
)
LISTENER_FIELDS: Final = tuple(ListenerRow.__dataclass_fields__)
OWN_LOSSES: Final = tuple(name for name in Losses.__dataclass_fields__ if name != "rowless")
MIGRATION_FIELDS: Final = tuple(Migration.__dataclass_fields__)
LOSS_FIELDS: Final = tuple(NamespaceLoss.__dataclass_fields__)
CHANGE_FIELDS: Final = tuple(SelectorChange.__dataclass_fields__)
SIZE_FIELDS: Final = tuple(GroupSize.__dataclass_fields__)
_OBJECTS: Final = ("finding", "pattern", "runs", "turns")  # fields that are no plain values
VERDICT_FIELDS: Final = tuple(n for n in Verdict.__dataclass_fields__ if n not in _OBJECTS)
FINDING_FIELDS: Final = tuple(Finding.__dataclass_fields__)
EVENT_FIELDS: Final = tuple(Event.__dataclass_fields__)
PATTERN_FIELDS: Final = tuple(n for n in Pattern.__dataclass_fields__ if n not in _OBJECTS)
STANDOUT_FIELDS: Final = tuple(Standout.__dataclass_fields__)
PROGRAM_FIELDS: Final = tuple(Program.__dataclass_fields__)
PLACE_FIELDS: Final = ("netns", "family", "local_address", "local_port", "device")
HOLDER_FIELDS: Final = ("pid", "comm", "name", "fd", "waits", "waits_in")


def meta_line(meta: Meta) -> str:
    """The first line: what is traced, how, and what cannot be seen that way."""
    protocol = {"protocol": meta.protocol} if meta.protocol == "unix" else {}
    return dump({**meta_of(meta), **protocol})


def meta_of(meta: Meta) -> dict[str, object]:
    """What every run says of itself."""
    return {
        "type": "meta",
        "schema": SCHEMA,
        "version": meta.version,
        "kernel": meta.kernel,
        "attach": meta.attach,
        "loader": meta.loader,
        "blind_spots": list(meta.blind_spots),
        "started": meta.started,
        "filter": meta.asked,
    }


def snapshot_line(snapshot: Snapshot, *, histogram: bool = False) -> str:
    """The picture after one interval; with a `histogram` of waiting times in each row."""
    return _line("snapshot", snapshot, histogram)


def summary_line(snapshot: Snapshot, *, histogram: bool = False) -> str:
    """The last line: as a snapshot, over the whole run."""
    return _line("summary", snapshot, histogram)


def acceptors(snapshot: Snapshot, *, histogram: bool) -> Iterator[dict[str, object]]:
    """Rows with their numbers rounded, and what columns make of them; also a source of CSV."""
    from accepttrace.views.columns import tcp

    made = tcp.TABLE.made(snapshot.by)
    for line in tcp.rows_of(snapshot, snapshot.acceptors):
        values = named(line.row, ACCEPTOR_FIELDS)
        values.update((column.key, column.written(line)) for column in made)
        if histogram:
            values[HISTOGRAM] = filled(line.row.wait_histogram)
        yield values


def books(totals: Books) -> dict[str, object]:
    """What was counted and what was lost."""
    return flat(totals, Books)


def listener(row: ListenerRow) -> dict[str, object]:
    """One listening socket; also a source of CSV."""
    return {
        **named(row, LISTENER_FIELDS),
        "counted": dict(row.counted),
        "group_sizes": [named(size, SIZE_FIELDS) for size in row.group_sizes],
        "selector_program": _program(row.selector_program),
        "selectors": [
            {**named(change, CHANGE_FIELDS), "program": _program(change.program)}
            for change in row.selectors
        ],
        "holders": [named(holder, HOLDER_FIELDS) for holder in row.holders],
    }


def _program(program: Program | None) -> dict[str, object] | None:
    return named(program, PROGRAM_FIELDS) if program else None


def _line(kind: str, snapshot: Snapshot, histogram: bool) -> str:
    return "".join(_parts(kind, snapshot, histogram))


def _parts(kind: str, snapshot: Snapshot, histogram: bool) -> Iterator[str]:
    """Row by row: there may be ten thousand, and all of them as objects would take much room."""
    yield dump(_head(kind, snapshot))[:-1]
    yield ',"listeners":['
    yield from _list(dump(listener(row)) for row in snapshot.listeners)
    yield '],"acceptors":['
    yield from _list(map(dump, acceptors(snapshot, histogram=histogram)))
    yield "]," + dump(_tail(snapshot))[1:]


def _list(objects: Iterable[str]) -> Iterator[str]:
    gap = ""
    for each in objects:
        yield gap + each
        gap = ","


def _head(kind: str, snapshot: Snapshot) -> dict[str, object]:
    return {
        "type": kind,
        "time": snapshot.time,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        "interval_s": round(snapshot.interval_s, 3),
        "by": snapshot.by,
        "open_age_s": rounded(snapshot.open_age_s),
        "window_s": snapshot.window_s,
        "verdict": snapshot.verdict,
        "verdicts": [verdict(one) for one in snapshot.verdicts],
        "partial": snapshot.partial,
        "unread": objects(snapshot.unread),
    }


def rounded(seconds: float | None) -> float | None:
    """To the millisecond."""
    return None if seconds is None else round(seconds, 3)


def verdict(one: Verdict) -> dict[str, object]:
    """One sharing set, with the numbers that its word rests on."""
    finding = one.finding
    return {
        **named(one, VERDICT_FIELDS),
        **named(finding, FINDING_FIELDS),
        "standouts": [named(odd, STANDOUT_FIELDS) for odd in finding.standouts],
        "pattern": one.pattern and _pattern(one.pattern),
    }


def _pattern(found: Pattern) -> dict[str, object]:
    return {
        **named(found, PATTERN_FIELDS),
        "runs": [named(run, Run._fields) for run in found.runs],
        "turns": [named(turn, Turn._fields) for turn in found.turns],
    }


def _tail(snapshot: Snapshot) -> dict[str, object]:
    return {
        "books": books(snapshot.books),
        "migrations": [named(one, MIGRATION_FIELDS) for one in snapshot.migrations],
        "namespace_losses": [named(one, LOSS_FIELDS) for one in snapshot.namespace_losses],
        "events": [named(one, EVENT_FIELDS) for one in recent(snapshot)],
        "earlier_events": snapshot.earlier_events,
    }


def named(record: object, names: tuple[str, ...]) -> dict[str, object]:
    """Fields of a record by name, floats rounded to what they mean."""
    values = dict(zip(names, _getter(names)(record), strict=True))
    decimals = _decimals()
    for name in decimals.keys() & values.keys():
        value = values[name]
        if isinstance(value, float):
            values[name] = round(value, decimals[name])
    if values.get("family") == "unix" and "local_port" in values:
        values["local_port"] = None
    return values


_OF_VERDICTS: Final = {
    "began_s": 3,
    "until_s": 3,
    "over_s": 3,
    "since_s": 3,
    "ratio": 4,
    "chance_ratio": 4,
    "open_ratio": 4,
    "expected": 3,
    "mean_run": 3,
    "chance_run": 3,
    "chance_steady": 4,
}


@cache
def _decimals() -> Mapping[str, int]:
    """Of fractions, by name: those of a row have as many as their column."""
    from accepttrace.views.columns import tcp

    return {**tcp.TABLE.decimals(), "queue_full_s": 3, "elapsed_s": 3, **_OF_VERDICTS}


def books_fields(kind: type[Books | ReceiverBooks]) -> tuple[str, ...]:
    """The names of what stands in books, with each loss in the place of all."""
    names: list[str] = []
    for name in kind.__dataclass_fields__:
        names += OWN_LOSSES if name == "losses" else (name,)
    return tuple(names)


def flat(totals: Books | ReceiverBooks, kind: type[Books | ReceiverBooks]) -> dict[str, object]:
    """Those by name."""
    lost = named(totals.losses, OWN_LOSSES)
    return {
        name: lost[name] if name in lost else getattr(totals, name) for name in books_fields(kind)
    }


@lru_cache
def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    """There are several, always: of a single name it would be no tuple."""
    return attrgetter(*names)


def dump(value: Mapping[str, object]) -> str:
    """One object as one line of ASCII, valid for strict readers."""
    line = _dumped(value)
    # Half a character is an escape that strict readers refuse. A whole one may have such escapes.
    return _dumped(_well_formed(value)) if "\\ud" in line else line


def _dumped(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _well_formed(value: object) -> object:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {name: _well_formed(one) for name, one in value.items()}
    return [*map(_well_formed, value)] if isinstance(value, list | tuple) else value
