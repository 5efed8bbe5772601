"""The columns of `accepttrace events`: a row is an event of one connection."""

from __future__ import annotations

from typing import Final

from accepttrace.facts.connections import ConnectionEvent
from accepttrace.views import formats
from accepttrace.views.columns.column import Column, Table

_YES: Final = {True: "yes", False: "no", None: formats.NA}


def _peer(event: ConnectionEvent) -> str:
    if event.peer_address is None:
        return formats.NA
    return formats.endpoint(event.peer_address, event.peer_port, event.family, None)


def _local(event: ConnectionEvent) -> str:
    if event.local_address is None or event.local_port is None:
        return event.path or formats.NA
    return formats.endpoint(event.local_address, event.local_port, event.family, None)


def _left(key: str, title: str, least: int, help: str) -> Column[ConnectionEvent]:
    return Column(key, title, "label", "text", help, least=least)


def _id(key: str, title: str, help: str) -> Column[ConnectionEvent]:
    return Column(key, title, "label", "id", help)


# `least`: how wide it is from the start; wider values make it so from there on.
COLUMNS: Final[tuple[Column[ConnectionEvent], ...]] = (
    Column("time", "TIME", "label", "text", "when, by the wall clock; see --timestamps", least=8),
    _left(
        *("type", "EVENT", 7),
        "accept; `failed`: a call of accept() that took nothing; `reset`: queued connections, with"
        " their listener; `dropped`: a SYN, a final ACK or a connect() to a UNIX socket that met a"
        " full queue",
    ),
    _id("pid", "PID", "process id"),
    _id("tid", "TID", "thread id"),
    _left("name", "WORKER", 14, "what the process calls itself; `comm` where it was gone by then"),
    _left("comm", "COMM", 8, "the kernel's name of the thread"),
    _id("fd", "FD", "descriptor that accept() returned, where the attach type knows it"),
    Column(
        *("peer", "PEER", "label", "endpoint", "the client's address and port"),
        *(_peer, _peer, 21),
    ),
    Column(
        *("endpoint", "LOCAL", "label", "endpoint", "the address and port that it came to"),
        *(_local, _local, 14),
    ),
    _id("listener_inode", "INODE", "the listening socket, as in `ss -e`"),
    _id("netns", "NETNS", "network namespace of the listener, as `lsns` has it"),
    _id("group", "GROUP", "SO_REUSEPORT group of the listener"),
    Column("wait_us", "WAIT", "gauge", "us", "time in the accept queue"),
    Column("queue", "QUEUE", "gauge", "count", "left behind in the queue of the listener"),
    _id("cpu", "CPU", "where it was accepted"),
    _id("received_cpu", "RXCPU", "where its last packet was handled"),
    Column(
        *("local", "SAME", "label", "text", "whether that is the same CPU"),
        cell=lambda event: _YES[event.local],
    ),
    _id("peer_pid", "PEERPID", "who connected to a UNIX socket, as of then"),
    _id("peer_uid", "PEERUID", "its user"),
    _left("error", "ERROR", 6, "why accept() failed"),
    Column("connections", "CONNS", "gauge", "count", "how many connections it is about"),
    _left("pod", "POD", 12, "Kubernetes pod of the process, NAMESPACE/NAME"),
    _left("container", "CONTAINER", 12, "container of the process, by name if known"),
    _left("unit", "UNIT", 12, "systemd unit of the process"),
)
# With --failed and --lost, those of `lost` stand beside them.
TABLE: Final[Table[ConnectionEvent]] = Table(
    columns=COLUMNS,
    choice={
        "accept": "time pid name peer wait_us queue cpu local"
        " | fd endpoint tid group listener_inode netns comm received_cpu pod container unit",
        "any": "time type pid name peer wait_us queue error connections"
        " | fd cpu local endpoint tid group listener_inode netns comm received_cpu"
        " pod container unit",
        "unix": "time pid name endpoint peer_pid queue wait_us"
        " | peer_uid fd tid listener_inode netns comm cpu pod container unit",
        "any of unix": "time type endpoint peer_pid pid name queue error wait_us"
        " | peer_uid fd tid listener_inode netns comm cpu pod container unit",
    },
    fields=ConnectionEvent._fields,
    is_open=lambda _: True,
)
