"""The columns of accepts: one entry each, for tables, orders, formats and their documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from accepttrace.facts.record import record
from accepttrace.model.grains import OF_PROCESSES, OF_SOCKETS
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from accepttrace.views import formats
from accepttrace.views.columns.choice import TCP
from accepttrace.views.columns.column import NOTHING, UNKNOWN, Column, Table, counter, selector
from accepttrace.views.sockets import Sockets


@record(frozen=True, slots=True)
class TcpRow:
    """A row, with what is known of the listening sockets that it stands for."""

    row: AcceptorRow
    _all: Sockets

    @property
    def sockets(self) -> Sequence[ListenerRow]:
        """None where there are several that have nothing in common."""
        return self._all.of(self.row)

    @property
    def open_ones(self) -> list[ListenerRow]:
        """Those that are not closed."""
        return [socket for socket in self.sockets if socket.open]


Value = Callable[[TcpRow], object]


def _sum_of(key: str) -> Value:
    """This field of its sockets, added up."""
    return lambda line: _sum([getattr(socket, key) for socket in line.sockets])


def _sum_now(key: str) -> Value:
    """The same of the sockets that are open."""
    return lambda line: _sum([getattr(socket, key) for socket in line.open_ones])


def _most_of(key: str) -> Value:
    """The largest that one of its sockets has."""

    def value(line: TcpRow) -> object:
        known = [getattr(socket, key) for socket in line.sockets]
        return max((number for number in known if number is not None), default=None)

    return value


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _name(line: TcpRow) -> str:
    """Who it is, and whether it is gone, or how many are."""
    row = line.row
    if row.serves:
        return f"serves {row.name}" if row.serves == 1 else f"{row.serves:,} serve {row.name}"
    if row.left:
        return f"left {row.name}"
    if row.alive:
        return row.name
    of_sockets = row.pid is None and row.waits is None
    gone = f"{'closed' if of_sockets else 'gone'} {row.name}".rstrip()
    return f"{row.ended:,} {gone}" if row.ended else gone


def _place(line: TcpRow) -> str:
    """Where it listens, and with how many idle sockets that have no rows of their own."""
    row = line.row
    crowd = f"{row.folded:,} x " if row.folded else ""
    return crowd + formats.endpoint(
        row.local_address, row.local_port, row.family, row.listener_inode, row.device
    )


def _by_place(line: TcpRow) -> tuple[int, str]:
    return line.row.local_port or 0, line.row.local_address or ""


def _netns(line: TcpRow) -> str:
    return "several" if line.row.netns is None else str(line.row.netns)


def _via(line: TcpRow) -> str | None:
    return line.row.via or ("several" if line.row.accepts else None)


def _inner_pid(line: TcpRow) -> str | None:
    row = line.row
    return None if row.ns_pid in (None, row.pid) else str(row.ns_pid)


def _wasted_per_accept(line: TcpRow) -> float | None:
    if line.row.wasted_wakeups is None or not line.row.accepts:
        return None
    return line.row.wasted_wakeups / line.row.accepts


def _queue(line: TcpRow) -> str | None:
    """`3/511`, of several sockets together."""
    now = _sum([socket.queue for socket in line.open_ones])
    if now is None:
        return None
    limit = _sum([socket.backlog for socket in line.open_ones])
    if limit is not None and line.row.folded:  # one speaks for all
        limit *= line.row.folded
    return f"{now}/{formats.numbers([limit])[0]}"


def _longest(line: TcpRow) -> str | None:
    """`1,234`; `7+` where only refreshes show it, of which none may have met a queue."""
    known = [one for one in line.sockets if one.queue_max is not None]
    if not known:
        return None
    most = max(one.queue_max or 0 for one in known)
    if any(one.queue_max_sampled for one in known):
        return f"{most:,}+" if most else None
    return f"{most:,}"


def _refused(line: TcpRow) -> object:
    """Of TCP, SYNDROP and ACKDROP have what met a full queue."""
    return _sum([one.dropped_overflow if one.family == "unix" else None for one in line.sockets])


def _selector(line: TcpRow) -> str | None:
    """`hash`, or `ebpf 12 steer` with the id and the name of the program."""
    found = {
        formats.selector(one.selector, one.selector_program) for one in line.sockets if one.selector
    }
    return found.pop() if len(found) == 1 else "several" if found else None


def _of_sockets(key: str, title: str, help: str, *, adds_up: bool = True) -> Column[TcpRow]:
    """A counter of listeners, added up; as a rule there is nothing of it."""
    value = _sum_of(key)
    return counter(key, title, help, value=value, hide_if=NOTHING, adds_up=adds_up, by=OF_SOCKETS)


def _belonging(key: str, title: str, help: str) -> Column[TcpRow]:
    """Where all belong to one, the header names it."""
    return Column(
        *(key, title, "label", "text", help), least=12, hide_if=UNKNOWN, hide_if_same=True
    )


def _counted(key: str, title: str, help: str) -> Column[TcpRow]:
    """A plain counter of listeners; as a rule there is nothing of it."""

    def value(line: TcpRow) -> object:
        return _sum([socket.counted.get(key) for socket in line.sockets])

    return counter(key, title, help, value=value, hide_if=NOTHING, by=OF_SOCKETS)


COLUMNS: Final[tuple[Column[TcpRow], ...]] = (
    Column("pid", "PID", "label", "id", "process id"),
    Column("tid", "TID", "label", "id", "thread id; n/a: no thread of it accepted yet"),
    Column("listener_inode", "INODE", "label", "id", "the listening socket, as in `ss -e`"),
    Column("group", "GROUP", "label", "id", "SO_REUSEPORT group of the listener", hide_if=UNKNOWN),
    Column(
        *("group_size", "SIZE", "gauge", "count", "sockets in that group now"),
        _most_of("group_size"),
        hide_if=UNKNOWN,
        by=OF_SOCKETS,
    ),
    Column(
        *("epoch", "EPOCH", "counter", "count", "how often the socket began to listen"),
        _most_of("epoch"),
        hide_if=(None, 1),
        by=OF_SOCKETS,
    ),
    Column(
        "name",
        "WORKER",
        "label",
        "text",
        "what the process calls itself, else its program; `gone`: it has ended; `serves`: it holds"
        " connections that another process accepted",
        cell=_name,
        least=8,
    ),
    Column("comm", "COMM", "label", "text", "the kernel's name of the thread", least=6),
    Column(
        "netns",
        "NETNS",
        "label",
        "id",
        "network namespace of the listener, as `lsns` has it; shown where there are several",
        cell=_netns,
        hide_if_same=True,
    ),
    Column(
        "listener",
        "LISTENER",
        "label",
        "endpoint",
        "local address and port of the listening socket, with the device that it is bound to",
        value=_by_place,
        cell=_place,
        least=9,
    ),
    selector(_selector),
    counter("accepts", "ACCEPTS", "connections accepted since the start"),
    Column(
        *("rate", "/s", "gauge", "per_second", "connections accepted per second, last interval"),
        adds_up=True,
    ),
    Column(
        "share", "SHARE", "gauge", "part", "part of all accepts shown, in percent", adds_up=True
    ),
    Column(
        "fair_ratio",
        "xFAIR",
        "gauge",
        "ratio",
        "accepts as a multiple of an even split over those who wait on the same listener or group;"
        " n/a: it does not wait for connections",
    ),
    Column(
        *("open_connections", "OPEN", "gauge", "count"),
        "established connections at the listener's port that the process holds now, whoever"
        " accepted them; n/a: not known, or of one of its several listeners at that port",
        hide_if=UNKNOWN,
        adds_up=True,
        by=OF_PROCESSES,
    ),
    Column(
        *("cpu", "CPU", "gauge", "part"),
        "processor time that the process takes, as a part of one processor, last interval",
        hide_if=UNKNOWN,
        by=OF_PROCESSES,
    ),
    Column(
        "recent_accepts",
        "RECENT",
        "gauge",
        "count",
        "connections accepted in the window (`--window`)",
        hide_if=UNKNOWN,
        adds_up=True,
    ),
    Column(
        "recent_share",
        "R.SHARE",
        "gauge",
        "part",
        "part of all accepts shown, in the window",
        hide_if=UNKNOWN,
        adds_up=True,
    ),
    Column(
        "recent_ratio",
        "R.xFAIR",
        "gauge",
        "ratio",
        "xFAIR in the window",
        hide_if=UNKNOWN,
    ),
    Column(
        *("local", "LOCAL", "gauge", "part"),
        "part of the connections accepted on the CPU that received them; n/a: not asked for",
        hide_if=UNKNOWN,
    ),
    Column(
        "via",
        "VIA",
        "label",
        "text",
        "how it accepts: syscall, io_uring, kernel (a thread of the kernel itself); n/a: in more "
        "than one way, or not known",
        value=_via,
        hide_if=(None, "syscall"),
    ),
    counter(
        *("selected", "SELECTED", "connections that SO_REUSEPORT steered here"), hide_if=UNKNOWN
    ),
    Column(
        *("arrived", "ARRIVED", "counter", "count"),
        "connections established, whether or not they were accepted",
        _sum_of("arrived"),
        hide_if=UNKNOWN,
        adds_up=True,
        by=OF_SOCKETS,
    ),
    _of_sockets("unseen", "UNSEEN", "accepted by a thread that this attach type cannot see"),
    Column(
        *("queue", "QUEUE", "gauge", "count"),
        "connections waiting now / backlog: Recv-Q and Send-Q of `ss -ltn`; of a group, the sum",
        _sum_now("queue"),
        cell=_queue,
    ),
    Column(
        *("capacity", "HOLDS", "gauge", "count"),
        "connections that the queue holds: backlog + 1; of a group, the sum",
        _sum_now("capacity"),
        hide_if=UNKNOWN,
        by=OF_SOCKETS,
    ),
    Column(
        *("queue_max", "LONGEST", "gauge", "count"),
        "the longest queue seen; of a group, that of one socket; `7+`: seen at a refresh only, it"
        " may have been longer in between",
        _most_of("queue_max"),
        cell=_longest,
        hide_if=UNKNOWN,
        by=OF_SOCKETS,
    ),
    Column(
        *("queue_mean", "MEAN", "gauge", "mean"),
        "the mean length of the queue over time; of a group, the sum",
        _sum_of("queue_mean"),
        hide_if=UNKNOWN,
        by=OF_SOCKETS,
    ),
    Column(
        *("oldest_wait_us", "OLDEST", "gauge", "us"),
        "how long the connection that waits longest has waited, now, before anybody accepts it;"
        " of a group, that of one socket",
        _most_of("oldest_wait_us"),
        hide_if=UNKNOWN,
        by=OF_SOCKETS,
    ),
    Column(
        "wait_p50_us",
        "WAIT p50",
        "gauge",
        "us",
        "half of the connections waited at most so long in the accept queue (us, ms, s)",
    ),
    Column("wait_p90_us", "p90", "gauge", "us", "90 % waited at most so long"),
    Column("wait_p99_us", "p99", "gauge", "us", "99 % waited at most so long"),
    Column("wait_max_us", "max", "gauge", "us", "the longest wait"),
    counter("empty_accepts", "EAGAIN", "calls of accept() that found nothing"),
    counter(
        "wasted_wakeups",
        "WASTED",
        "woken for nothing: of EAGAIN, with no accept() that succeeded since the thread last woke",
        hide_if=UNKNOWN,
    ),
    Column(
        "wasted_per_accept",
        "PER ACCEPT",
        "gauge",
        "ratio",
        "how often it was woken for nothing, for each connection that it accepted",
        value=_wasted_per_accept,
        hide_if=UNKNOWN,
    ),
    counter("failed_accepts", "FAILED", "calls of accept() that failed otherwise"),
    _of_sockets(
        "refused_accepts",
        "NO FD",
        "calls of accept() without a free file descriptor (EMFILE, ENFILE) while a connection"
        " waited",
    ),
    counter(
        "dropped_overflow",
        "REFUSED",
        "calls of connect() to a UNIX socket that failed because the queue was full (EAGAIN)",
        value=_refused,
        hide_if=NOTHING,
        by=OF_SOCKETS,
    ),
    _counted(
        "blocked",
        "BLOCKED",
        "calls of connect() to a UNIX socket that slept until the queue had room",
    ),
    _of_sockets(
        "overflow_syn",
        "SYNDROP",
        "SYNs dropped because the queue was full; the client tries again",
    ),
    _of_sockets(
        "overflow_ack",
        "ACKDROP",
        "final ACKs of handshakes dropped because the queue was full; the client believes that it"
        " is connected",
    ),
    _of_sockets(
        "overflow_aborted",
        "ABORTED",
        "of ACKDROP, answered with a reset (`tcp_abort_on_overflow`)",
    ),
    _of_sockets(
        "overflow_peers",
        "CLIENTS",
        "clients (address and port) whose packets were dropped because the queue was full",
        adds_up=False,  # some may be the same ones
    ),
    _counted(
        "cookies_sent",
        "COOKIES",
        "SYNs answered with a cookie, since too many handshakes were half-open",
    ),
    _of_sockets(
        "drops",
        "DROPS",
        "packets dropped for whatever reason, by the kernel's own count of the socket",
    ),
    _of_sockets(
        "lost_on_close",
        "RESET",
        "queued connections that were reset because the socket closed",
    ),
    _of_sockets(
        "migrated_in",
        "IN",
        "queued connections that the kernel moved here from another socket of the group",
    ),
    _of_sockets(
        "migrated_out",
        "OUT",
        "queued connections that the kernel moved from here to another socket of the group",
    ),
    _belonging("pod", "POD", "Kubernetes pod of the process, NAMESPACE/NAME"),
    _belonging("container", "CONTAINER", "container of the process, by name if known"),
    _belonging("unit", "UNIT", "systemd unit of the process"),
    Column("cgroup", "CGROUP", "label", "text", "cgroup of the process", least=12, hide_if=UNKNOWN),
    Column(
        *(
            "ns_pid",
            "NSPID",
            "label",
            "id",
            "process id inside its container, where that is another number",
        ),
        cell=_inner_pid,
        hide_if=UNKNOWN,
    ),
)
TABLE: Final = Table(
    columns=COLUMNS,
    choice=TCP,
    fields=(*AcceptorRow.__dataclass_fields__, *ListenerRow.__dataclass_fields__),
    is_open=lambda line: line.row.alive,
    record="row.",
)


def rows_of(snapshot: Snapshot, acceptors: Iterable[AcceptorRow]) -> list[TcpRow]:
    """Rows of a snapshot, with its sockets."""
    sockets = Sockets(snapshot.listeners)
    return [TcpRow(row, sockets) for row in acceptors]


def ordered(snapshot: Snapshot, key: str) -> Snapshot:
    """The same with its rows sorted by a column. ValueError: there is no such."""
    rows = TABLE.ordered(rows_of(snapshot, snapshot.acceptors), key)
    return replace(snapshot, acceptors=tuple(line.row for line in rows))
