"""One row a column: what it shows, how, and what it means. Table, `--sort` and README read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accepttrace.model.order import SORTABLE
from accepttrace.views import column, formats
from accepttrace.views.column import NOTHING, UNKNOWN, Column, most_of, sum_now, sum_of, words


def _of_sockets(key: str, title: str, help: str) -> Column:
    """A field of listeners, added up; as a rule there is nothing of it."""
    return Column(key, title, formats.counts, help, dull=NOTHING, value=sum_of(key), adds_up=True)


_ALL: Final = (
    Column("pid", "PID", formats.numbers, "process id"),
    Column("tid", "TID", formats.numbers, "thread id; n/a: no thread of it accepted yet"),
    Column("listener_inode", "INODE", formats.numbers, "the listening socket, as in `ss -e`"),
    Column("group", "GROUP", formats.numbers, "SO_REUSEPORT group of the listener", dull=UNKNOWN),
    Column(
        "group_size",
        "SIZE",
        formats.counts,
        "sockets in that group now",
        dull=UNKNOWN,
        value=most_of("group_size"),
    ),
    Column(
        "epoch",
        "EPOCH",
        formats.counts,
        "how often the socket began to listen",
        dull=(None, 1),
        value=most_of("epoch"),
    ),
    Column(
        "name",
        "WORKER",
        words,
        "what the process calls itself, else its program; `gone`: it has ended",
        "left",
        least=8,
        value=column.name,
    ),
    Column("comm", "COMM", words, "the kernel's name of the thread", "left", 6),
    Column(
        "netns",
        "NETNS",
        formats.numbers,
        "network namespace of the listener, as `lsns` has it; shown where there are several",
        value=column.netns,
        tells_apart=True,
    ),
    Column(
        "listener",
        "LISTENER",
        words,
        "local address and port of the listening socket, with the device that it is bound to",
        "left",
        least=9,
        value=column.place,
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
        value=column.selector,
    ),
    Column(
        "accepts",
        "ACCEPTS",
        formats.counts,
        "connections accepted since the start",
        adds_up=True,
    ),
    Column(
        "rate",
        "/s",
        formats.rates,
        "connections accepted per second, last interval",
        adds_up=True,
    ),
    Column("share", "SHARE", formats.shares, "part of all accepts shown, in percent", adds_up=True),
    Column(
        "fair_ratio",
        "xFAIR",
        formats.ratios,
        "accepts as a multiple of an even split over those who wait on the same listener or group;"
        " n/a: it does not wait for connections",
    ),
    Column(
        "via",
        "VIA",
        words,
        "how it accepts: syscall, io_uring, kernel (a thread of the kernel itself); n/a: in more "
        "than one way, or the kernel does not tell",
        dull=(None, "syscall"),
        value=column.via,
    ),
    Column(
        "selected",
        "SELECTED",
        formats.counts,
        "connections that SO_REUSEPORT steered here",
        dull=UNKNOWN,
        adds_up=True,
    ),
    Column(
        "arrived",
        "ARRIVED",
        formats.counts,
        "connections established, whether or not they were accepted",
        dull=UNKNOWN,
        value=sum_of("arrived"),
        adds_up=True,
    ),
    _of_sockets(
        "unseen",
        "UNSEEN",
        "accepted by somebody whom this attach type cannot see",
    ),
    Column(
        "queue",
        "QUEUE",
        words,
        "connections waiting now / backlog: Recv-Q and Send-Q of `ss -ltn`; of a group, the sum",
        value=column.queue,
    ),
    Column(
        "capacity",
        "HOLDS",
        formats.counts,
        "connections that the queue holds: backlog + 1; of a group, the sum",
        dull=UNKNOWN,
        value=sum_now("capacity"),
    ),
    Column(
        "queue_max",
        "LONGEST",
        words,
        "the longest queue seen; of a group, that of one socket; `7+`: seen at a refresh only, it"
        " may have been longer in between",
        dull=UNKNOWN,
        value=column.longest,
    ),
    Column(
        "queue_mean",
        "MEAN",
        formats.ratios,
        "the mean length of the queue over time; of a group, the sum",
        dull=UNKNOWN,
        value=sum_of("queue_mean"),
    ),
    Column(
        "wait_p50_us",
        "WAIT p50",
        formats.times,
        "half of the connections waited at most so long in the accept queue (us, ms, s)",
    ),
    Column("wait_p90_us", "p90", formats.times, "90 % waited at most so long"),
    Column("wait_p99_us", "p99", formats.times, "99 % waited at most so long"),
    Column("wait_max_us", "max", formats.times, "the longest wait"),
    Column(
        "empty_accepts",
        "EAGAIN",
        formats.counts,
        "calls of accept() that found nothing",
        adds_up=True,
    ),
    Column(
        "wasted_wakeups",
        "WASTED",
        formats.counts,
        "woken for nothing: of EAGAIN, with no accept() that succeeded since the thread last woke",
        dull=UNKNOWN,
        adds_up=True,
    ),
    Column(
        "wasted_per_accept",
        "PER ACCEPT",
        formats.ratios,
        "how often it was woken for nothing, for each connection that it accepted",
        dull=UNKNOWN,
        value=column.wasted_per_accept,
    ),
    Column(
        "failed_accepts",
        "FAILED",
        formats.counts,
        "calls of accept() that failed otherwise",
        adds_up=True,
    ),
    _of_sockets(
        "refused_accepts",
        "NO FD",
        "calls of accept() without a free file descriptor (EMFILE, ENFILE) while a connection"
        " waited",
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
    Column(
        "overflow_peers",
        "CLIENTS",
        formats.counts,
        "clients (address and port) whose packets were dropped because the queue was full",
        dull=NOTHING,
        value=sum_of("overflow_peers"),
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
    Column("container", "CONTAINER", words, "container of the process", "left", 12, UNKNOWN),
    Column("cgroup", "CGROUP", words, "cgroup of the process", "left", 12, UNKNOWN),
    Column("ns_pid", "NSPID", formats.numbers, "process id inside its container", dull=UNKNOWN),
)
COLUMNS: Final[Mapping[str, Column]] = {one.key: one for one in _ALL}


def sort_keys() -> tuple[str, ...]:
    """What `--sort` takes: the names of columns that are fields of a row."""
    return tuple(key for key in COLUMNS if key in SORTABLE)
