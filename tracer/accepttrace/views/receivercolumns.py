"""The columns of `--udp`: what each shows, how, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from accepttrace.facts.records import Holder
from accepttrace.model.datagrams import ReceiverRow
from accepttrace.model.labels import few
from accepttrace.model.receivers import SORTABLE
from accepttrace.views import formats
from accepttrace.views.column import NOTHING, UNKNOWN, Column, words

_ALL: Final = (
    Column("pid", "PID", words, "process that owns the socket"),
    Column("inode", "INODE", formats.numbers, "the socket, as in `ss -e`"),
    Column("group", "GROUP", formats.numbers, "its SO_REUSEPORT group", dull=UNKNOWN),
    Column(
        "name",
        "WORKER",
        words,
        "who owns it: of several holders, those that wait for input on it",
        "left",
        least=8,
    ),
    Column(
        "netns",
        "NETNS",
        formats.numbers,
        "its network namespace, as `lsns` has it; shown where there are several",
        tells_apart=True,
    ),
    Column("local", "LOCAL", words, "its local address and port", "left", least=9),
    Column(
        "remote",
        "CONNECTED TO",
        words,
        "the one peer that a connected socket gets datagrams of; the hash of its group never"
        " chooses it",
        "left",
        least=9,
        dull=UNKNOWN,
    ),
    Column(
        "selector",
        "SELECTOR",
        words,
        "how the kernel chooses among the group: hash, cbpf, ebpf (with the id and the name of the"
        " program) or incoming_cpu",
        "left",
        least=8,
        dull=UNKNOWN,
    ),
    Column(
        "selected",
        "SELECTED",
        formats.counts,
        "packets for which SO_REUSEPORT chose it. More than DATAGRAMS in a group with a connected"
        " socket: the kernel chooses, and goes on looking. Fewer where a packet holds several"
        " datagrams (GRO). A socket without SO_REUSEPORT is never chosen",
        adds_up=True,
    ),
    Column(
        "datagrams",
        "DATAGRAMS",
        formats.counts,
        "datagrams that its queue took since the start",
        adds_up=True,
    ),
    Column("rate", "/s", formats.rates, "datagrams per second, last interval", adds_up=True),
    Column("share", "SHARE", formats.shares, "part of all datagrams shown", adds_up=True),
    Column(
        "dropped",
        "DROPPED",
        formats.counts,
        "datagrams that its queue did not take since the start: the receive buffer was full",
        adds_up=True,
    ),
    Column(
        "drops",
        "DROPS",
        formats.counts,
        "packets dropped for whatever reason since the start, by the kernel's own count",
        dull=NOTHING,
        adds_up=True,
    ),
    Column("queue", "QUEUE", formats.counts, "packets waiting to be read", adds_up=True),
    Column(
        "queue_bytes",
        "BYTES",
        formats.counts,
        "memory that they take: Recv-Q of `ss -lun`",
        adds_up=True,
    ),
    Column(
        "queue_limit_bytes",
        "LIMIT",
        formats.counts,
        "memory that they may take (SO_RCVBUF)",
    ),
)
COLUMNS: Final[Mapping[str, Column]] = {one.key: one for one in _ALL}
ORDER: Final = {key: place for place, key in enumerate(COLUMNS)}

# The dearest first, as in `choice`.
BASE: Final = "local datagrams netns name remote pid selected rate dropped queue"
MORE: Final = "share drops group selector queue_bytes queue_limit_bytes inode"


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
    program = row.selector_program
    return f"{row.selector} {program.id} {program.name}" if program else row.selector


_VALUES: Final[Mapping[str, Callable[[ReceiverRow], object]]] = {
    "pid": _pid,
    "name": _name,
    "local": _local,
    "remote": _remote,
    "selector": _selector,
}


def value(row: ReceiverRow, key: str) -> object:
    """What a cell shows, before it is formatted."""
    made = _VALUES.get(key)
    return made(row) if made else getattr(row, key)


def sort_keys() -> tuple[str, ...]:
    """What `--sort` takes: the names of columns that are fields of a row."""
    return tuple(key for key in COLUMNS if key in SORTABLE)
