"""Events of connections as lines: for people, as JSON Lines (`events.schema.json`), as CSV.

Each writer takes many events at once, column by column, and makes a text of each value once: most
columns have few values, and many lines are to be written on the machine that serves the clients.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from operator import mod
from typing import Any, Final, Literal, Protocol

from accepttrace.facts.connections import Batch, ConnectionEvent
from accepttrace.facts.meta import Meta
from accepttrace.model.ledger import Ledger
from accepttrace.views import csvrows, formats
from accepttrace.views.columns.column import Column
from accepttrace.views.columns.connections import TABLE
from accepttrace.views.jsonl import dump, meta_of
from accepttrace.views.text import cells, pad

Timestamps = Literal["iso", "relative", "unix"]
Shown = Literal["accept", "any", "unix", "any of unix"]
FIELDS: Final = tuple("time" if name == "time_ns" else name for name in ConnectionEvent._fields)
LEDGER_FIELDS: Final = tuple(Ledger.__dataclass_fields__)
_NS: Final = 1_000_000_000
_TIME: Final = "\0"  # in a template; JSON has none
_OWN: Final = tuple("time" if name == "time_ns" else name for name in Batch._fields[2:])
_NUMBERS: Final = frozenset(
    {
        *("pid", "tid", "fd", "local_port", "peer_port", "listener_inode", "netns", "group"),
        *("wait_us", "queue", "cpu", "received_cpu", "connections"),
    }
)


class Stamps:
    """Times as they were asked for, to the microsecond. `began_ns`: the start, since the epoch.

    `width`: cells that one takes, of those since the start up to 9,999 s.
    """

    def __init__(self, form: Timestamps, began_ns: int) -> None:
        self.words = form == "iso"
        self._since_ns = began_ns if form == "relative" else 0
        (text,) = self.texts([began_ns + 9_999 * _NS])
        self.width = len(text)

    def texts(self, times_ns: Sequence[int]) -> list[str]:
        """`2026-11-26T12:03:58.123456Z`, or seconds since the start, or since the epoch."""
        if not self.words:
            return [seconds(t - self._since_ns) for t in times_ns]
        return [f"{_second(t // _NS)}.{t % _NS // 1000:06}Z" for t in times_ns]

    def forms(self, times_ns: Sequence[int]) -> tuple[str, Sequence[object]]:
        """As values of JSON: a format for `%` with what all have in common, and the rest."""
        if not self.words:
            return "%s", self.texts(times_ns)
        first_ns = min(times_ns) // _NS * _NS
        since = [t - first_ns for t in times_ns]
        if max(since) >= _NS:
            return '"%s"', self.texts(times_ns)
        return f'"{_second(first_ns // _NS)}.%06dZ"', [ns // 1000 for ns in since]

    def json(self, times_ns: Sequence[int]) -> list[str]:
        """The same as values of JSON."""
        found = self.texts(times_ns)
        return [f'"{text}"' for text in found] if self.words else found


def seconds(ns: int) -> str:
    """With six decimals; an event may be from just before the clock was read."""
    sign = "-" if ns < 0 else ""
    return f"{sign}{abs(ns) // _NS}.{abs(ns) % _NS // 1000:06}"


@lru_cache(maxsize=64)
def _second(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


class Lines(Protocol):
    """A form of output."""

    def begin(self, meta: Meta, sample: int) -> str:
        """What comes first. One of `sample` events is shown."""

    def rows(self, events: Sequence[ConnectionEvent]) -> str:
        """A line for each, with its newline."""

    def end(self, ledger: Ledger) -> str:
        """What comes last."""


class JsonLines:
    """meta, events, summary."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._likes: Sequence[ConnectionEvent] = ()
        self._templates: list[str] = []  # a line for each of those

    def begin(self, meta: Meta, sample: int) -> str:
        protocol = {"protocol": meta.protocol} if meta.protocol == "unix" else {}
        return dump({**meta_of(meta), **protocol, "sample": sample}) + "\n"

    def rows(self, events: Sequence[ConnectionEvent]) -> str:
        fixed: list[str] = []  # the line, with a place for each column that varies
        varying: list[Iterable[object]] = []
        for name, column in zip(FIELDS, zip(*events, strict=True), strict=True):
            values = set(column)
            if name != "time" and len(values) == 1:
                fixed.append(f'"{name}":{_value(*values)}'.replace("%", "%%"))
                continue
            fixed.append(f'"{name}":%s')
            if name == "time":
                varying.append(self._stamps.json(column))
            else:
                varying.append(column if _is_plain(name, values) else _each(column, values, _value))
        template = "{" + ",".join(fixed) + "}\n"
        return "".join(map(template.__mod__, zip(*varying, strict=True)))

    def accepts(self, batch: Batch) -> str:
        """As `rows`, at a third of the cost: what they have in common is written once."""
        if batch.likes is not self._likes:
            self._likes, self._templates = batch.likes, []
        self._templates += map(_template, batch.likes[len(self._templates) :])
        form, times = self._stamps.forms(batch.time_ns)
        own = (
            times,
            _numbers(batch.fd),
            _each(batch.peer_address, {*batch.peer_address}, _value),
            _numbers(batch.peer_port),
            _numbers(batch.wait_us),
            batch.queue,
        )
        lines = [template.replace(_TIME, form) for template in self._templates]
        chosen = map(lines.__getitem__, batch.which)
        return "".join(map(mod, chosen, zip(*own, strict=True)))

    def end(self, ledger: Ledger) -> str:
        values = {name: getattr(ledger, name) for name in LEDGER_FIELDS}
        return dump({"type": "summary", **values, "balanced": ledger.balanced}) + "\n"


def _template(like: ConnectionEvent) -> str:
    """The line of it, with places for what each has of its own."""
    texts = [_value(value).replace("%", "%%") for value in like]
    own = {**dict.fromkeys(_OWN, "%s"), "time": _TIME}
    fields = zip(FIELDS, texts, strict=True)
    return "{" + ",".join(f'"{name}":{own.get(name, text)}' for name, text in fields) + "}\n"


def _numbers(column: Sequence[int | None]) -> Sequence[object]:
    """As JSON."""
    if None not in column:
        return column
    if column.count(None) == len(column):
        return ("null",) * len(column)
    return ["null" if one is None else one for one in column]


def _is_plain(name: str, values: set[object]) -> bool:
    """Whether all are numbers, which need no text of their own."""
    return name in _NUMBERS and None not in values


def _each(
    column: Sequence[object], values: set[object], text: Callable[[object], str]
) -> Iterable[str]:
    """A text for each; the same ones have the same. `values`: those in the column."""
    texts = {value: text(value) for value in values}
    return map(texts.__getitem__, column)


def _value(value: object) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """As a string of JSON, in ASCII."""
    return dump({"": text})[4:-1]


class Csv:
    """A header, then events."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps

    def begin(self, meta: Meta, sample: int) -> str:  # noqa: ARG002
        return csvrows.line(FIELDS) + "\n"

    def rows(self, events: Sequence[ConnectionEvent]) -> str:
        columns: list[Iterable[object]] = []
        for name, column in zip(FIELDS, zip(*events, strict=True), strict=True):
            if name == "time":
                columns.append(self._stamps.texts(column))
                continue
            values = set(column)
            plain = _is_plain(name, values)
            columns.append(column if plain else _each(column, values, csvrows.text))
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows(zip(*columns, strict=True))
        return written.getvalue()

    def end(self, ledger: Ledger) -> str:  # noqa: ARG002
        return ""


class Plain:
    """Columns that fit a width, with their titles first; they grow with what stands in them."""

    def __init__(self, stamps: Stamps, width: int, kind: Shown) -> None:
        self._stamps = stamps
        self._columns = _fitting(kind, width, stamps.width)
        self._widths = [_width(column, stamps.width) for column in self._columns]

    def begin(self, meta: Meta, sample: int) -> str:  # noqa: ARG002
        return self._line([column.title for column in self._columns])

    def rows(self, events: Sequence[ConnectionEvent]) -> str:
        columns = []
        for index, column in enumerate(self._columns):
            texts = self._texts(column, events)
            values = set(texts)
            width = self._widths[index] = max(self._widths[index], *map(cells, values))
            padded = {text: pad(text, width, column.align) for text in values}
            columns.append(map(padded.__getitem__, texts))
        return "".join(f"{' '.join(line).rstrip()}\n" for line in zip(*columns, strict=True))

    def end(self, ledger: Ledger) -> str:  # noqa: ARG002
        return ""

    def _texts(
        self, column: Column[ConnectionEvent], events: Sequence[ConnectionEvent]
    ) -> list[str]:
        if column.key == "time":
            return self._stamps.texts([event.time_ns for event in events])
        shown = column.shown(events)
        values = [*dict.fromkeys(shown)]
        texts = dict(zip(values, column.text(values), strict=True))
        return [texts[value] for value in shown]

    def _line(self, texts: Sequence[str]) -> str:
        padded = (
            pad(text, width, column.align)
            for text, width, column in zip(texts, self._widths, self._columns, strict=True)
        )
        return " ".join(padded).rstrip() + "\n"


# From the start; what is wider makes its column so from there on.
_UNITS: Final = {"id": 7, "us": 6, "count": 5}
_KEYS: Final = {"fd": 5, "cpu": 5, "received_cpu": 5, "netns": 10, "listener_inode": 10}


def _width(column: Column[Any], stamp: int) -> int:
    if column.key == "time":
        return stamp
    usual = _KEYS.get(column.key) or column.least or _UNITS.get(column.unit, 4)
    return max(len(column.title), usual)


def _fitting(kind: str, width: int, stamp: int) -> list[Column[ConnectionEvent]]:
    """As many as fit, the most important first, in the order of the table."""
    base, more = TABLE.chosen(kind)
    kept: set[str] = set()
    used = -1
    for column in (*base, *more):
        used += 1 + _width(column, stamp)
        if kept and used > width:
            break
        kept.add(column.key)
    return [column for column in TABLE.columns if column.key in kept]


def summary(ledger: Ledger) -> str:
    """One line for people: what was shown, and whether that was all."""
    said = [f"{formats.plural(ledger.shown, 'event')} in {ledger.elapsed_s:.1f}s"]
    if ledger.accepts is not None:
        said.append(f"{formats.plural(ledger.accepts, 'accept')} counted")
    for number, words in (
        (ledger.left_out, "left out by the filters"),
        (ledger.not_sampled, "not in the sample"),
        (ledger.not_shown, "not shown after the end"),
        (ledger.lost, "lost: the reader was too slow for the ring buffer"),
        (ledger.unseen, "accepts without an event"),
    ):
        if number:
            said.append(f"{number:,} {words}")
    if ledger.balanced and not ledger.not_shown:
        said.append("nothing lost")
    return "; ".join(said)


WRITERS: Final[dict[str, Callable[[Stamps], Lines]]] = {"jsonl": JsonLines, "csv": Csv}
