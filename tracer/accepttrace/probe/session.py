"""The tracer of TCP: attach it, prove it, read its counts."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Iterable

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.model.records import (
    AcceptorCount,
    Counts,
    Family,
    Flow,
    Gone,
    ListenerCount,
    ListenerFact,
    MigrationCount,
    Overflow,
    Passed,
    PortCount,
    Via,
)
from accepttrace.probe import choosing, loaders, plans, preemption, selftest, wire
from accepttrace.probe.maps import Map
from accepttrace.probe.members import member_of
from accepttrace.probe.tracer import Tracer

_FAMILIES: dict[int, Family] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
_VIA: dict[int, Via] = {
    wire.VIA_SYSCALL: "syscall",
    wire.VIA_IO_URING: "io_uring",
    wire.VIA_KERNEL: "kernel",
}


class Session(Tracer):
    """TCP: who accepts what from which listener."""

    def __init__(self, loaded: loaders.Attached) -> None:
        super().__init__(loaded)
        fd = loaded.map_fd
        self._seats = Map(fd("seats"), wire.U32, wire.Acceptor)
        self._sitters = Map(fd("sitters"), wire.U32, wire.AcceptorKey)
        self._acceptors = Map(fd("acceptors"), wire.AcceptorKey, wire.Acceptor)
        self._errors = Map(fd("errors"), wire.ErrorKey, wire.U64)
        self._listeners = Map(fd("listeners"), wire.U32, wire.Listener)
        self._places = Map(fd("places"), wire.U32, wire.U32)
        self._calls = Map(fd("calls"), wire.U64, wire.Call)
        self._migrations = Map(fd("migrations"), wire.MigrationKey, wire.Migration)
        self._peers = Map(fd("peers"), wire.Peer, wire.U8)
        self._ports = Map(fd("ports"), wire.PortKey, wire.U64)
        hooked = any(hook.site == "io_accept" for hook in loaded.hooks)
        # The end of a system call is all that the attach type tracepoint counts.
        is_told = hooked or self.plan.attach == "tracepoint"
        self._rings = 0 if is_told else wire.RINGS_UNHOOKED

    def _settings_for(self, filters: Filters) -> wire.Settings:
        settings = super()._settings_for(filters)
        settings.without_waits = self.plan.detail == "accepts"
        settings.rings = self._rings
        settings.never_migrates = not loaders.has_function("reuseport_migrate_sock")
        return settings

    def counts(self) -> Counts:
        """Everything counted since the start, for every listener."""
        ended = self._ended_threads()
        errors = self._errors_by_acceptor()
        acceptors = tuple(self._acceptor(row, errors) for row in self._ended_calls())
        at_s = time.monotonic()
        return Counts(
            acceptors,
            tuple(self._listener(value) for value in self._rows()),
            self.losses(),
            tuple(_migration(k, v) for k, v in self._migrations.items()),
            tuple(PortCount(k.netns, k.port, v.value) for k, v in self._ports.items()),
            at_s,
            frozenset(ended.intersection(_key(acceptor) for acceptor in acceptors)),
        )

    def crowded(self) -> bool:
        """Whether so many rows are taken that those of the dead should go now."""
        return True

    def forget(self, gone: Gone) -> None:
        """Delete the rows of these, and all that belongs to them."""

    def passed(self) -> Passed:
        """Only what the books need, quickly: who came to which listener, and who left."""
        came: dict[int, int] = {}
        left: dict[int, int] = {}
        for row in self._acceptor_rows():
            left[row.who.inode] = left.get(row.who.inode, 0) + row.accepts
        for flow in self._rows():
            came[flow.inode] = flow.arrived + flow.migrated_in
            left[flow.inode] = left.get(flow.inode, 0) + flow.lost + flow.migrated_out
        ports = {(key.netns, key.port): count.value for key, count in self._ports.items()}
        return Passed(came, left, ports)

    def reset(self) -> None:
        """Forget everything counted so far, and the listeners it was counted for."""
        super().reset()
        for seat, _ in self._sitters.items():
            self._seats.put(seat, wire.Acceptor())
        self._sitters.clear()
        self._acceptors.clear()
        self._errors.clear()
        for place, _ in self._places.items():
            self._listeners.put(place, wire.Listener())
        self._places.clear()
        self._migrations.clear()
        self._peers.clear()
        self._ports.clear()
        self._calls.clear()

    def listening(self) -> dict[int, ListenerFact]:
        """Every listener in the network namespace of the calling thread, by inode."""
        found = self._loaded.sockets(wire.TcpMember)
        return {one.member.inode: _fact(one) for one in found if one.member.inode}

    def prove(self) -> None:
        """Require that connections of our own are seen; `UnsupportedError` names a silent hook."""
        traffic = selftest.Traffic.prepare()
        with traffic.listener:
            self.filter(Filters(ports=frozenset({traffic.port})))
            traffic.make()
        traffic.end()
        counts = self.counts()
        wrong = selftest.verdicts(counts, traffic, self.plan.sees)
        self.reset()
        self._require(wrong)
        mine = [a for a in counts.acceptors if a.listener_inode == traffic.inode]
        if {a.via for a in mine} != {"syscall"}:
            self._rings = wire.RINGS_UNTOLD
        if {a.pid for a in mine} != {os.getpid()}:
            raise UnsupportedError(
                "this is not the machine's own PID namespace, so PIDs could not be told",
                "run on the host, or in a container with the host's PID namespace (--pid=host)",
            )

    def _ended_threads(self) -> set[tuple[int, int, int]]:
        """Of the acceptors; a thread whose number was given to another counts as alive."""
        keys = [key for _, key in self._sitters.items()]
        keys += [key for key, _ in self._acceptors.items()]
        dead = {tid for tid in {key.tid for key in keys} if _ended(tid)}
        return {(key.inode, key.tid, key.start_ns) for key in keys if key.tid in dead}

    def _acceptor_rows(self) -> list[wire.Acceptor]:
        """Of all acceptors, with a seat or without."""
        seats = (self._seats.get(place) for place, _ in self._sitters.items())
        seated = [row for row in seats if row is not None and row.who.tid]
        return seated + [row for _, row in self._acceptors.items() if row.who.tid]

    def _ended_calls(self) -> Iterable[wire.Acceptor]:
        """A call still pending (kprobe) after all rows were read has ended without success."""
        rows = self._acceptor_rows()
        refused = self._pending_refusals()
        again = {}
        if any(row.pending for row in rows):
            again = {_identity(row.who): row for row in self._acceptor_rows()}
        for row in rows:
            row.refused += refused.get(row.who.tid) == row.who.inode
            later = again.get(_identity(row.who)) if row.pending else None
            if later is not None and later.pending and later.accepts == row.accepts:
                row.empty += 1
                row.wasted += row.pending == wire.PENDING_WASTED
        return rows

    def _pending_refusals(self) -> dict[int, int]:
        """By thread, the inode of the socket whose last accept() never got as far as its queue."""
        if self.plan.attach != "kprobe":
            return {}
        first = dict(self._stuck_calls())
        return {
            thread & 0xFFFFFFFF: inode
            for thread, fd in self._stuck_calls()
            if first.get(thread) == fd and (inode := _inode_of(thread >> 32, fd))
        }

    def _stuck_calls(self) -> list[tuple[int, int]]:
        return [(k.value, v.fd) for k, v in self._calls.items() if v.is_known and not v.listener]

    def _acceptor(
        self,
        value: wire.Acceptor,
        errors: dict[tuple[int, int, int], dict[int, int]],
    ) -> AcceptorCount:
        sees, key = self.plan.sees, value.who
        return AcceptorCount(
            listener_inode=key.inode,
            pid=value.pid,
            tid=key.tid,
            start_ns=key.start_ns,
            process_start_ns=value.process_start_ns,
            comm=value.comm.decode(errors="replace"),
            accepts=value.accepts,
            refused=value.refused if self.plan.attach == "kprobe" else None,
            empty=value.empty if "empty" in sees else None,
            wasted=value.wasted if "empty" in sees else None,
            via=_VIA.get(value.via),
            left_us=value.left_us,
            waited_us=value.waited_us,
            ready_us=value.ready_us,
            errors=errors.get(_identity(key), {}) if "errors" in sees else None,
            wait_us=value.wait_us[:],
            wait_max_us=value.wait_max_us,
            wait_unknown=value.wait_unknown,
            cgroup_id=value.cgroup_id,
        )

    def _errors_by_acceptor(self) -> dict[tuple[int, int, int], dict[int, int]]:
        found: dict[tuple[int, int, int], dict[int, int]] = {}
        for key, count in self._errors.items():
            found.setdefault(_identity(key.acceptor), {})[key.error] = count.value
        return found

    def _rows(self) -> list[wire.Listener]:
        """Of all listeners that are described already."""
        rows = (self._listeners.get(place) for place, _ in self._places.items())
        return [row for row in rows if row is not None and row.inode]

    def _listener(self, value: wire.Listener) -> ListenerCount:
        raw = bytes(value.address)
        is_v4 = value.family == socket.AF_INET
        sees = self.plan.sees
        return ListenerCount(
            inode=value.inode,
            netns=value.netns,
            family=_FAMILIES[value.family],
            local_address=str(ipaddress.ip_address(raw[:4] if is_v4 else raw)),
            local_port=value.port,
            selected=value.requests - value.cookies_sent + value.cookies_back
            if "selected" in sees
            else None,
            flow=self._flow(value),
            overflow=Overflow(
                value.overflow_syn,
                value.overflow_ack,
                value.overflow_aborted,
                value.overflow_peers,
            )
            if "overflow" in sees
            else None,
            queue_max=value.queue_max if "arrived" in sees else None,
            queue_start=value.queue_start if "arrived" in sees else None,
            stops=value.stops,
            mptcp=bool(value.mptcp),
            drops=value.drops if value.stops else None,
        )

    def _flow(self, value: wire.Listener) -> Flow:
        sees = self.plan.sees
        told = "closed" in sees and not value.stakes_unknown
        return Flow(
            arrived=value.arrived if "arrived" in sees else None,
            lost=value.lost if told else None,
            migrated_in=value.migrated_in if "migrated" in sees else None,
            migrated_out=value.migrated_out if "migrated" in sees else None,
            migration_failed=value.migration_failed if "migrated" in sees else None,
            came_us=value.came_us,
            left_us=value.left_us,
            waited_us=value.waited_us,
            carried_us=value.carried_us,
        )


def _key(acceptor: AcceptorCount) -> tuple[int, int, int]:
    return acceptor.listener_inode, acceptor.tid, acceptor.start_ns


def _ended(tid: int) -> bool:
    try:
        os.kill(tid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def open_session(config: Config) -> Session:
    """Attach, prove, and set the filters. Raises `UnsupportedError` telling why each way failed."""
    ways = plans.by_preference(preemption.preempts())
    return choosing.first(config, (plan.at(config.detail) for plan in ways), Session)


def _fact(found: wire.TcpMember) -> ListenerFact:
    member = member_of(found.member)
    own = bool(found.defers), found.half_open
    if not member.size:
        return ListenerFact(None, None, None, None, *own)
    return ListenerFact(member.group, member.size, member.selector, member.program, *own)


def _identity(key: wire.AcceptorKey) -> tuple[int, int, int]:
    return key.inode, key.tid, key.start_ns


def _inode_of(pid: int, fd: int) -> int | None:
    """Of the socket behind a descriptor; None where it is none, or the process has gone."""
    try:
        name = os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return None
    return int(name[8:-1]) if name.startswith("socket:[") else None


def _migration(key: wire.MigrationKey, value: wire.Migration) -> MigrationCount:
    return MigrationCount(key.from_inode, key.to_inode, value.connections, value.requests)
