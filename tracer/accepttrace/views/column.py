"""What a column is, and the values of those that are no plain field of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from accepttrace.model.snapshot import AcceptorRow, ListenerRow
from accepttrace.views import formats
from accepttrace.views.sockets import Sockets
from accepttrace.views.text import Align, clean

Value = Callable[[AcceptorRow, Sockets], object]

UNKNOWN: Final = (None, "")
NOTHING: Final = (None, 0)


@dataclass(frozen=True, slots=True)
class Column:
    """`key` is the field of AcceptorRow, and so the name in JSON, CSV and `--sort`.

    With a `value` it is a field of `listeners` in JSON, or stands nowhere else. `least` makes it
    elastic: it may shrink to so many cells before other columns give way. It is left out while all
    that it has to show is `dull`, or, if it only `tells_apart`, while all rows have the same. Only
    what `adds_up` has a total.
    """

    key: str
    title: str
    format: Callable[[Sequence[object]], list[str]]
    help: str
    align: Align = "right"
    least: int | None = None
    dull: tuple[object, ...] = ()
    value: Value | None = None
    adds_up: bool = False
    tells_apart: bool = False

    def values(self, rows: Sequence[AcceptorRow], sockets: Sockets) -> list[object]:
        """What the cells show, before it is formatted."""
        if self.value is None:
            return [getattr(row, self.key) for row in rows]
        return [self.value(row, sockets) for row in rows]

    def total(self, rows: Sequence[AcceptorRow], sockets: Sockets) -> float | None:
        """The sum; None for what cannot be added up, or is not known of every row."""
        if not self.adds_up:
            return None
        values = [v for v in self.values(rows, sockets) if isinstance(v, int | float)]
        return sum(values) if len(values) == len(rows) else None


def words(values: Sequence[object]) -> list[str]:
    """Names as others chose them, made harmless."""
    return [formats.NA if value is None else clean(str(value)) for value in values]


def name(row: AcceptorRow, _: Sockets) -> str:
    """Who it is, and whether it is gone, or how many are."""
    if row.left:
        return f"left {row.name}"
    if row.alive:
        return row.name
    of_sockets = row.pid is None and row.waits is None
    gone = f"{'closed' if of_sockets else 'gone'} {row.name}".rstrip()
    return f"{row.ended:,} {gone}" if row.ended else gone


def place(row: AcceptorRow, _: Sockets) -> str:
    """Where it listens, and with how many idle sockets that have no rows of their own."""
    crowd = f"{row.folded:,} x " if row.folded else ""
    return crowd + formats.endpoint(
        row.local_address, row.local_port, row.family, row.listener_inode, row.device
    )


def netns(row: AcceptorRow, _: Sockets) -> int | str:
    """Where that is."""
    return "several" if row.netns is None else row.netns


def via(row: AcceptorRow, _: Sockets) -> str | None:
    """How it accepts."""
    return row.via or ("several" if row.accepts else None)


def wasted_per_accept(row: AcceptorRow, _: Sockets) -> float | None:
    """How often it was woken for nothing, for each connection that it took."""
    if row.wasted_wakeups is None or not row.accepts:
        return None
    return row.wasted_wakeups / row.accepts


def queue(row: AcceptorRow, sockets: Sockets) -> str | None:
    """`3/511`, of several sockets together."""
    there = _open(row, sockets)
    now = _sum([socket.queue for socket in there])
    if now is None:
        return None
    limit = _sum([socket.backlog for socket in there])
    if limit is not None and row.folded:  # one speaks for all
        limit *= row.folded
    return f"{now}/{formats.numbers([limit])[0]}"


def longest(row: AcceptorRow, sockets: Sockets) -> str | None:
    """`1,234`; `7+` where only refreshes tell, of which none may have met a queue."""
    known = [one for one in sockets.of(row) if one.queue_max is not None]
    if not known:
        return None
    most = max(one.queue_max or 0 for one in known)
    if any(one.queue_max_sampled for one in known):
        return f"{most:,}+" if most else None
    return f"{most:,}"


def selector(row: AcceptorRow, sockets: Sockets) -> str | None:
    """`hash`, or `ebpf 12 steer` with the id and the name of the program."""
    found = {_selector(socket) for socket in sockets.of(row)} - {None}
    return found.pop() if len(found) == 1 else "several" if found else None


def sum_of(field: str) -> Value:
    """This field of its sockets, added up."""
    return lambda row, sockets: _sum([getattr(socket, field) for socket in sockets.of(row)])


def sum_now(field: str) -> Value:
    """The same of the sockets that are open."""
    return lambda row, sockets: _sum([getattr(socket, field) for socket in _open(row, sockets)])


def most_of(field: str) -> Value:
    """The largest that one of its sockets has."""

    def value(row: AcceptorRow, sockets: Sockets) -> int | None:
        known = [getattr(socket, field) for socket in sockets.of(row)]
        return max((number for number in known if number is not None), default=None)

    return value


def _open(row: AcceptorRow, sockets: Sockets) -> list[ListenerRow]:
    return [socket for socket in sockets.of(row) if socket.open]


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _selector(socket: ListenerRow) -> str | None:
    program = socket.selector_program
    return f"{socket.selector} {program.id} {program.name}" if program else socket.selector
