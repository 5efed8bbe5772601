"""The columns of `--udp`: one entry each; whoever shows, sorts or explains one reads it here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Final

from accepttrace.facts.records import Holder
from accepttrace.model.datagrams import ReceiverRow, ReceiverSnapshot
from accepttrace.model.labels import few
from accepttrace.views import formats
from accepttrace.views.columns.choice import UDP
from accepttrace.views.columns.column import NOTHING, UNKNOWN, Column, Table, Unit

Value = Callable[[ReceiverRow], object]
Cell = Callable[[ReceiverRow], str | None]


def owners(row: ReceiverRow) -> list[Holder]:
    """Those who wait for input on it; if nobody is seen to, all who may."""
    return (
        [holder for holder in row.holders if holder.waits]
        or [holder for holder in row.holders if holder.waits is None]
        or list(row.holders)
    )


def _pid(row: ReceiverRow) -> str | None:
    pids = [holder.pid for holder in owners(row)]
    return str(pids[0]) if len(pids) == 1 else "several" if pids else None


def _name(row: ReceiverRow) -> str | None:
    holders = owners(row)
    names = few(list(dict.fromkeys(holder.name or holder.comm for holder in holders)))
    text = f"{len(holders)} x {names}" if len(holders) > 1 else names
    return (text or None) if row.open else f"closed {text}".rstrip()


def _local(row: ReceiverRow) -> str:
    crowd = f"{row.folded:,} x " if row.folded else ""
    return crowd + formats.endpoint(
        row.local_address, row.local_port, row.family, row.inode, row.device
    )


def _remote(row: ReceiverRow) -> str:
    if row.remote_address is None:
        return ""
    return formats.endpoint(row.remote_address, row.remote_port, row.family, row.inode)


def _selector(row: ReceiverRow) -> str | None:
    return formats.selector(row.selector, row.selector_program)


def _first_pid(row: ReceiverRow) -> int | None:
    return min((holder.pid for holder in owners(row)), default=None)


def _by_local(row: ReceiverRow) -> tuple[int, str]:
    return row.local_port or 0, row.local_address or ""


def _by_remote(row: ReceiverRow) -> tuple[str, int] | None:
    return (row.remote_address, row.remote_port or 0) if row.remote_address else None


def _label(
    key: str,
    title: str,
    unit: Unit,
    help: str,
    *,
    value: Value | None = None,
    cell: Cell | None = None,
    least: int | None = None,
    hide_if: tuple[object, ...] = (),
    hide_if_same: bool = False,
) -> Column[ReceiverRow]:
    return Column(
        *(key, title, "label", unit, help, value or attrgetter(key), cell, least),
        hide_if=hide_if,
        hide_if_same=hide_if_same,
    )


def _counter(
    key: str, title: str, help: str, *, hide_if: tuple[object, ...] = ()
) -> Column[ReceiverRow]:
    return Column(
        *(key, title, "counter", "count", help, attrgetter(key)), hide_if=hide_if, adds_up=True
    )


def _gauge(
    key: str, title: str, unit: Unit, help: str, *, adds_up: bool = True
) -> Column[ReceiverRow]:
    return Column(key, title, "gauge", unit, help, attrgetter(key), adds_up=adds_up)


COLUMNS: Final = (
    _label("pid", "PID", "id", "process that owns the socket", value=_first_pid, cell=_pid),
    _label("inode", "INODE", "id", "the socket, as in `ss -e`"),
    _label("group", "GROUP", "id", "its SO_REUSEPORT group", hide_if=UNKNOWN),
    _label(
        "name",
        "WORKER",
        "text",
        "who owns it: of several holders, those that wait for input on it",
        value=_name,
        least=8,
    ),
    _label(
        "netns",
        "NETNS",
        "id",
        "its network namespace, as `lsns` has it; shown where there are several",
        hide_if_same=True,
    ),
    _label(
        "local",
        "LOCAL",
        "endpoint",
        "its local address and port",
        value=_by_local,
        cell=_local,
        least=9,
    ),
    _label(
        "remote",
        "CONNECTED TO",
        "endpoint",
        "the one peer that a connected socket gets datagrams of; the hash of its group never"
        " chooses it",
        value=_by_remote,
        cell=_remote,
        least=9,
        hide_if=UNKNOWN,
    ),
    _label(
        "selector",
        "SELECTOR",
        "text",
        "how the kernel chooses among the group: hash, cbpf, ebpf (with the id and the name of the"
        " program) or incoming_cpu",
        value=_selector,
        least=8,
        hide_if=UNKNOWN,
    ),
    _counter(
        "selected",
        "SELECTED",
        "packets for which SO_REUSEPORT chose it. More than DATAGRAMS in a group with a connected"
        " socket: the kernel chooses, and goes on looking. Fewer where a packet holds several"
        " datagrams (GRO). A socket without SO_REUSEPORT is never chosen",
    ),
    _counter("datagrams", "DATAGRAMS", "datagrams that its queue took since the start"),
    _gauge("rate", "/s", "per_second", "datagrams per second, last interval"),
    _gauge("share", "SHARE", "part", "part of all datagrams shown"),
    _counter(
        "dropped",
        "DROPPED",
        "datagrams that its queue did not take since the start: the receive buffer was full",
    ),
    _counter(
        "drops",
        "DROPS",
        "packets dropped for whatever reason since the start, by the kernel's own count",
        hide_if=NOTHING,
    ),
    _gauge("queue", "QUEUE", "count", "packets waiting to be read"),
    _gauge("queue_bytes", "BYTES", "bytes", "memory that they take: Recv-Q of `ss -lun`"),
    _gauge(
        "queue_limit_bytes",
        "LIMIT",
        "bytes",
        "memory that they may take (SO_RCVBUF)",
        adds_up=False,
    ),
)
TABLE: Final = Table(
    columns=COLUMNS,
    choice=UDP,
    fields=tuple(ReceiverRow.__dataclass_fields__),
    is_open=attrgetter("open"),
)


def ordered(snapshot: ReceiverSnapshot, key: str) -> ReceiverSnapshot:
    """The same with its rows sorted by a column. ValueError: there is no such."""
    return replace(snapshot, sockets=tuple(TABLE.ordered(snapshot.sockets, key)))
