"""The columns of `--udp`: one entry each, for tables, orders, formats and their documents."""

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
from accepttrace.views.columns.column import NOTHING, UNKNOWN, Column, Table, counter, selector

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
    pids = {holder.pid for holder in owners(row)}
    return "several" if len(pids) > 1 else str(pids.pop()) if pids else None


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
    return row.selector and formats.selector(row.selector, row.selector_program)


def _first_pid(row: ReceiverRow) -> int | None:
    return min((holder.pid for holder in owners(row)), default=None)


def _by_local(row: ReceiverRow) -> tuple[int, str]:
    return row.local_port or 0, row.local_address or ""


def _by_remote(row: ReceiverRow) -> tuple[str, int] | None:
    return (row.remote_address, row.remote_port or 0) if row.remote_address else None


COLUMNS: Final[tuple[Column[ReceiverRow], ...]] = (
    Column(
        "pid", "PID", "label", "id", "process that owns the socket", value=_first_pid, cell=_pid
    ),
    Column("inode", "INODE", "label", "id", "the socket, as in `ss -e`"),
    Column("group", "GROUP", "label", "id", "its SO_REUSEPORT group", hide_if=UNKNOWN),
    Column(
        "name",
        "WORKER",
        "label",
        "text",
        "who owns it: of several holders, those that wait for input on it",
        value=_name,
        least=8,
    ),
    Column(
        "netns",
        "NETNS",
        "label",
        "id",
        "its network namespace, as `lsns` has it; shown where there are several",
        hide_if_same=True,
    ),
    Column(
        "local",
        "LOCAL",
        "label",
        "endpoint",
        "its local address and port",
        value=_by_local,
        cell=_local,
        least=9,
    ),
    Column(
        "remote",
        "CONNECTED TO",
        "label",
        "endpoint",
        "the one peer that a connected socket gets datagrams of; the hash of its group never"
        " chooses it",
        value=_by_remote,
        cell=_remote,
        least=9,
        hide_if=UNKNOWN,
    ),
    selector(_selector),
    counter(
        "selected",
        "SELECTED",
        "packets for which SO_REUSEPORT chose it. More than DATAGRAMS in a group with a connected"
        " socket: the kernel chooses, and goes on looking. Fewer where a packet holds several"
        " datagrams (GRO). A socket without SO_REUSEPORT is never chosen",
    ),
    counter("datagrams", "DATAGRAMS", "datagrams that its queue took since the start"),
    Column(
        "rate", "/s", "gauge", "per_second", "datagrams per second, last interval", adds_up=True
    ),
    Column("share", "SHARE", "gauge", "part", "part of all datagrams shown", adds_up=True),
    counter(
        "dropped",
        "DROPPED",
        "datagrams that its queue did not take since the start: the receive buffer was full",
    ),
    counter(
        "drops",
        "DROPS",
        "packets dropped for whatever reason since the start, by the kernel's own count",
        hide_if=NOTHING,
    ),
    counter(
        "read",
        "READ",
        "packets that processes read since the start, each receive call or message of recvmmsg()"
        " one; what GRO put together is one packet, and what is only peeked at is none",
        hide_if=UNKNOWN,
    ),
    Column("queue", "QUEUE", "gauge", "count", "packets waiting to be read", adds_up=True),
    Column(
        "queue_bytes",
        "BYTES",
        "gauge",
        "bytes",
        "memory that they take: Recv-Q of `ss -lun`",
        adds_up=True,
    ),
    Column("queue_limit_bytes", "LIMIT", "gauge", "bytes", "memory that they may take (SO_RCVBUF)"),
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
