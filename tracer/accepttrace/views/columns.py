"""One row a column: what it shows, how, and what it means. Table, `--sort` and README read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from accepttrace.model.order import SORTABLE
from accepttrace.model.snapshot import AcceptorRow, ListenerRow
from accepttrace.views import formats
from accepttrace.views.text import Align, clean

Listeners = Mapping[int, ListenerRow]  # by inode
Value = Callable[[AcceptorRow, Listeners], object]


@dataclass(frozen=True, slots=True)
class Column:
    """`key` is the field of AcceptorRow, and so the name in JSON, CSV and `--sort`.

    `least` makes it elastic: it may shrink to so many cells before other columns give way.
    An `optional` column is left out while no row has anything in it.
    """

    key: str
    title: str
    format: Callable[[Sequence[object]], list[str]]
    help: str
    align: Align = "right"
    least: int | None = None
    optional: bool = False
    value: Value | None = None

    def values(self, rows: Sequence[AcceptorRow], listeners: Listeners) -> list[object]:
        """What the cells show, before it is formatted."""
        if self.value is None:
            return [getattr(row, self.key) for row in rows]
        return [self.value(row, listeners) for row in rows]


def _words(values: Sequence[object]) -> list[str]:
    return [formats.NA if value is None else clean(str(value)) for value in values]


def _name(row: AcceptorRow, _: Listeners) -> str:
    gone = "gone " if row.pid is not None else "closed "
    return row.name if row.alive else gone + row.name


def _listener(row: AcceptorRow, _: Listeners) -> str:
    return formats.endpoint(row.local_address, row.local_port, row.family, row.listener_inode)


def _queue(row: AcceptorRow, listeners: Listeners) -> str | None:
    listener = listeners.get(row.listener_inode or 0)
    if listener is None or listener.queue is None:
        return None
    return f"{listener.queue}/{formats.numbers([listener.backlog])[0]}"


_ALL: Final = (
    Column("pid", "PID", formats.numbers, "process id"),
    Column("tid", "TID", formats.numbers, "thread id; n/a: no thread of it accepted yet"),
    Column("listener_inode", "INODE", formats.numbers, "the listening socket, as in `ss -e`"),
    Column("group", "GROUP", formats.numbers, "SO_REUSEPORT group of the listener", optional=True),
    Column(
        "name",
        "WORKER",
        _words,
        "what the process calls itself, else its program; `gone`: it has ended",
        "left",
        least=8,
        value=_name,
    ),
    Column("comm", "COMM", _words, "the kernel's name of the thread", "left", 6),
    Column(
        "listener",
        "LISTENER",
        _words,
        "local address and port of the listening socket",
        "left",
        least=9,
        value=_listener,
    ),
    Column("accepts", "ACCEPTS", formats.counts, "connections accepted since the start"),
    Column("rate", "/s", formats.rates, "connections accepted per second, last interval"),
    Column("share", "SHARE", formats.shares, "part of all accepts shown, in percent"),
    Column(
        "fair_ratio",
        "xFAIR",
        formats.ratios,
        "accepts as a multiple of an even split over those who wait on the same listener or group;"
        " n/a: it does not wait for connections",
    ),
    Column(
        "selected",
        "SELECTED",
        formats.counts,
        "connections that SO_REUSEPORT steered here",
        optional=True,
    ),
    Column("queue", "QUEUE", _words, "connections waiting now / backlog", value=_queue),
    Column(
        "wait_p50_us",
        "WAIT p50",
        formats.times,
        "half of the connections waited at most so long in the accept queue (us, ms, s)",
    ),
    Column("wait_p90_us", "p90", formats.times, "90 % waited at most so long"),
    Column("wait_p99_us", "p99", formats.times, "99 % waited at most so long"),
    Column("wait_max_us", "max", formats.times, "the longest wait"),
    Column("empty_accepts", "EAGAIN", formats.counts, "calls of accept() that found nothing"),
    Column("failed_accepts", "FAILED", formats.counts, "calls of accept() that failed otherwise"),
    Column("container", "CONTAINER", _words, "container of the process", "left", 12, True),
    Column("cgroup", "CGROUP", _words, "cgroup of the process", "left", 12, True),
    Column("ns_pid", "NSPID", formats.numbers, "process id inside its container", optional=True),
)
COLUMNS: Final[Mapping[str, Column]] = {column.key: column for column in _ALL}

# What a table shows, the dearest first: as many as fit, from left to right as in COLUMNS. Behind
# the bar are those that only come when nothing else has to shrink for them.
_PROCESS = "pid accepts name listener rate share fair_ratio wait_p99_us wait_p50_us empty_accepts"
_SOCKETS = "accepts name rate share fair_ratio selected queue wait_p99_us wait_p50_us empty_accepts"
_MORE = "wait_max_us failed_accepts"
_WHERE = "container cgroup ns_pid comm"
CHOICE: Final[Mapping[str, str]] = {
    "worker": f"{_PROCESS} | {_MORE} listener_inode queue wait_p90_us {_WHERE}",
    "process": f"{_PROCESS} | {_MORE} wait_p90_us {_WHERE}",
    "thread": f"tid {_PROCESS} | {_MORE} comm listener_inode queue wait_p90_us {_WHERE}",
    "socket": f"listener_inode listener {_SOCKETS} | {_MORE} group wait_p90_us",
    "group": f"group listener {_SOCKETS} | {_MORE} wait_p90_us",
}


def chosen(by: str) -> tuple[list[Column], list[Column]]:
    """Columns for rows of this kind, the dearest first: the base, and those for wide windows."""
    base, more = (dict.fromkeys(part.split()) for part in CHOICE[by].split("|"))
    return [COLUMNS[key] for key in base], [COLUMNS[key] for key in more]


def sort_keys() -> tuple[str, ...]:
    """What `--sort` takes: the names of columns that are fields of a row."""
    return tuple(key for key in COLUMNS if key in SORTABLE)


def glossary() -> list[tuple[str, str]]:
    """Title and meaning of every column, in the order of the table."""
    return [(column.title, column.help) for column in _ALL]
