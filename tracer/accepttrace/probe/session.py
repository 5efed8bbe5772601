"""The tracer of TCP: attach it, prove it, read its counts."""

from __future__ import annotations

import ctypes as c
import os
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts import addresses
from accepttrace.facts.buckets import bucket_of, lower_bound
from accepttrace.facts.records import (
    AcceptorCount,
    Counts,
    Family,
    Flow,
    Gone,
    ListenerCount,
    ListenerFact,
    Locality,
    MigrationCount,
    Overflow,
    Passed,
    Placing,
    PortCount,
    Via,
)
from accepttrace.probe import choosing, clock, plans, preemption, selftest, wire
from accepttrace.probe.acceptors import AcceptorRows, Identity, identity, shown
from accepttrace.probe.listeners import ListenerRows
from accepttrace.probe.load import loaders
from accepttrace.probe.members import facts_of
from accepttrace.probe.orders import OrderRows
from accepttrace.probe.tracer import Tracer

if TYPE_CHECKING:
    from accepttrace.probe.connections import Connections, NameOf

_VIA: dict[int, Via] = {
    wire.VIA_SYSCALL: "syscall",
    wire.VIA_IO_URING: "io_uring",
    wire.VIA_KERNEL: "kernel",
}
_BUCKET: Final = c.sizeof(c.c_uint64)
_NOTHING: Final = bytes(_BUCKET * wire.WAIT_BUCKETS)


class Session(Tracer):
    """TCP: who accepts what from which listener."""

    _traffic: type[selftest.Traffic] = selftest.Traffic  # that proves the hooks

    def __init__(self, loaded: loaders.Attached) -> None:
        super().__init__(loaded)
        self._acceptors = AcceptorRows(loaded, self._shares)
        self._listeners = ListenerRows(loaded, self._shares)
        self._orders = OrderRows(loaded)
        self._rings = 0 if plans.knows_rings(loaded.hooks) else wire.RINGS_UNHOOKED

    def _settings_for(self, filters: Filters) -> wire.Settings:
        settings = super()._settings_for(filters)
        settings.unusual = wire.WITHOUT_WAITS if self.plan.detail == "accepts" else 0
        settings.unusual |= wire.WITH_CPUS if self.plan.locality else 0
        settings.unusual |= wire.WITH_ORDER if self.plan.patterns else 0
        settings.rings = self._rings
        settings.never_migrates = not loaders.may_migrate()
        return settings

    def counts(self) -> Counts:
        """Everything counted since the start, for every listener."""
        errors = self._acceptors.errors()
        rows, ended = self._settled_acceptors()
        cpus = self._acceptors.localities() if self.plan.locality else {}
        acceptors = tuple(self._acceptor(*row, errors, cpus) for row in rows.items())
        at_s = clock.monotonic_s()
        return Counts(
            acceptors,
            tuple(self._listener(value) for value in self._listeners.read()),
            self.losses(),
            tuple(_migration(k, v) for k, v in self._listeners.migrations()),
            self._ports(),
            at_s,
            ended,
            clock.starts_ahead_s(),
            self._orders.read(),
        )

    def _ports(self) -> tuple[PortCount, ...]:
        found = {(k.netns, k.port): tally.count for k, tally in self._listeners.ports()}
        places = {(netns, port % wire.PORTS) for netns, port in found}
        kinds = (0, wire.PORT_STRAYS, wire.PORT_UNMADE, wire.PORT_LATE)
        return tuple(
            PortCount(netns, port, *(found.get((netns, port | kind), 0) for kind in kinds))
            for netns, port in places
        )

    def forget(self, gone: Gone) -> None:
        """Delete the rows of these, and all that belongs to them."""
        closed = frozenset(gone.listeners)
        theirs = [key for key, inode in self._acceptors.inodes().items() if inode in closed]
        self._acceptors.delete({*gone.acceptors, *theirs})
        self._listeners.delete(closed, frozenset(gone.ports))
        self._orders.delete(closed)

    def passed(self) -> Passed:
        """Only what the books need, quickly: who came to which listener, and who left."""
        came: dict[int, int] = {}
        left = self._acceptors.accepts()
        places: dict[int, tuple[int, int]] = {}
        for flow in self._listeners.read():
            came[flow.inode] = flow.arrived + flow.migrated_in
            out = flow.lost + flow.migrated_out + flow.uncounted
            left[flow.inode] += out
            places[flow.inode] = (flow.netns, flow.port)
        ports = {(one.netns, one.local_port): one for one in self._ports()}
        return Passed(came, left, ports, places)

    def reset(self) -> None:
        """Forget everything counted so far, and the listeners it was counted for."""
        super().reset()
        self._acceptors.clear()
        self._listeners.clear()
        self._orders.clear()
        self._shares.clear()

    def connections(self, name_of: NameOf) -> Connections:
        """Each connection from now on, if the session was opened with events."""
        from accepttrace.probe.connections import Connections

        return Connections(self._loaded, name_of)

    def listening(self) -> dict[int, ListenerFact]:
        """Every listener in the network namespace of the calling thread, by inode."""
        found = self._loaded.sockets(wire.TcpMember)
        return facts_of(found)

    def _prove(self, limit_s: float) -> None:
        traffic = self._traffic.prepare(limit_s)
        try:
            with traffic.listener:
                self.filter(traffic.filters)
                traffic.make()
        finally:
            traffic.end()
        counts = self.counts()
        wrong = selftest.verdicts(counts, traffic, self.plan.sees)
        self.reset()
        mine = [a for a in counts.acceptors if a.listener_inode == traffic.inode]
        if self._rings == wire.RINGS_UNHOOKED and {a.via for a in mine} - {"syscall"}:
            # Here the registers of a system call lie elsewhere, and EAGAIN was taken for a ring's.
            self._rings = wire.RINGS_UNKNOWN
            self._prove(limit_s)
            return
        self._require(wrong)
        if {a.pid for a in mine} != {os.getpid()}:
            raise UnsupportedError("the PID of this process was counted wrong")

    def _settled_acceptors(self) -> tuple[dict[Identity, wire.Acceptor], frozenset[Identity]]:
        """All rows; which of them are of ended threads, and so final.

        A call still pending (kprobe) after all rows were read has ended without success.
        """
        rows = self._acceptors.read()
        final = {identity(row.who): row for row in self._acceptors.read_ended(rows.values())}
        rows.update(final)
        refused = self._pending_refusals()
        again = {}
        if any(row.pending for row in rows.values()):
            again = self._acceptors.read()
        _add_refusals(rows, refused)
        for key, row in rows.items():
            later = again.get(key) if row.pending else None
            if later is not None and later.pending and later.accepts == row.accepts:
                row.empty += 1
                row.wasted += row.pending == wire.PENDING_WASTED
        return rows, frozenset(map(shown, final.values()))

    def _pending_refusals(self) -> Mapping[tuple[int, int], int]:
        """By PID and TID, the socket (inode) whose last accept() never got as far as its queue."""
        if not self.plan.infers_failures:
            return {}
        first = dict(self._stuck_calls())
        return {
            (thread >> 32, thread & 0xFFFFFFFF): inode
            for thread, fd in self._stuck_calls()
            if first.get(thread) == fd and (inode := _inode_of(thread >> 32, fd))
        }

    def _stuck_calls(self) -> list[tuple[int, int]]:
        """Of threads that have a PID here."""
        return [
            (call.thread, call.fd)
            for call in self._acceptors.calls()
            if call.thread and call.state == wire.CALL_AWAITED and not call.listener
        ]

    def _acceptor(
        self,
        key: Identity,
        value: wire.Acceptor,
        errors: dict[Identity, dict[int, int]],
        cpus: Mapping[Identity, Locality],
    ) -> AcceptorCount:
        sees, crew = self.plan.sees, bool(value.who.tid & wire.CREW)
        inode, tid, start_ns = shown(value)
        inferred = crew and self.plan.infers_failures
        # The last bucket shows how long some wait was at least: threads of a crew that write the
        # longest at once may overwrite each other's.
        waits = _filled(value.wait_us, value.wait_max_us)
        return AcceptorCount(
            listener_inode=inode,
            pid=value.pid,
            tid=tid,
            start_ns=start_ns,
            process_start_ns=clock.start_shown(value.process_start_ns) if value.pid else 0,
            comm=value.comm.decode(errors="replace"),
            accepts=value.accepts,
            refused=value.refused if sees.refused and (value.pid or not inferred) else None,
            empty=value.empty if sees.empty and not inferred else None,
            wasted=value.wasted if sees.empty and not crew else None,
            via=_VIA.get(value.via),
            left_us=value.left_us,
            waited_us=value.waited_us,
            ready_us=value.ready_us,
            errors=errors.get(key, {}) if sees.errors else None,
            wait_us=waits,
            wait_max_us=max(
                value.wait_max_us, lower_bound(len(waits) - 1) if crew and waits else 0
            ),
            wait_unknown=value.wait_unknown,
            locality=cpus.get(key),
            clients=int.from_bytes(value.clients, "little"),
            placing=Placing(value.placed, value.again, value.steady)
            if self.plan.patterns
            else None,
        )

    def _listener(self, value: wire.Listener) -> ListenerCount:
        sees = self.plan.sees
        family, address = self._bound(value)
        return ListenerCount(
            inode=value.inode,
            netns=value.netns,
            family=family,
            local_address=address,
            local_port=value.port,
            selected=value.requests - value.cookies_sent + value.cookies_back
            if sees.selected
            else None,
            flow=self._flow(value),
            overflow=Overflow(
                value.overflow_syn,
                value.overflow_ack,
                value.overflow_aborted,
                value.overflow_peers,
            )
            if sees.overflow
            else None,
            queue_max=value.queue_max if sees.arrived else None,
            queue_start=value.queue_start if sees.arrived else None,
            stops=value.stops,
            mptcp=bool(value.mptcp),
            drops=value.drops if value.stops else None,
            cut_off=None if value.cut_off & wire.CUT_OFF_UNKNOWN else value.cut_off,
            uncounted=value.uncounted,
            requests=value.requests,
            counted={name: getattr(value, name) for name in sees.counted},
        )

    def _bound(self, value: wire.Listener) -> tuple[Family, str]:
        address = addresses.spelled(value.family, bytes(value.address))
        return addresses.family_of(value.family), address

    def _flow(self, value: wire.Listener) -> Flow:
        sees = self.plan.sees
        known = sees.closed and not value.stakes_unknown
        return Flow(
            arrived=value.arrived if sees.arrived else None,
            lost=value.lost if known else None,
            migrated_in=value.migrated_in if sees.migrated else None,
            migrated_out=value.migrated_out if sees.migrated else None,
            migration_failed=value.migration_failed if sees.migrated else None,
            came_us=value.came_us,
            left_us=value.left_us,
            waited_us=value.waited_us,
            carried_us=value.carried_us,
        )


def _filled(buckets: c.Array[c.c_uint64], longest_us: int) -> tuple[int, ...]:
    """Up to that of the longest wait: most are empty, and there may be ten thousand acceptors."""
    data, used = bytes(buckets), bucket_of(longest_us) + 1
    if not data.endswith(_NOTHING[used * _BUCKET :]):  # a wait was counted, and not yet compared
        used = len(buckets)
    found = struct.unpack_from(f"{used}Q", data)
    return found if found[-1] else _stripped(found)


def _stripped(buckets: Sequence[int]) -> tuple[int, ...]:
    """Up to the last that is not empty."""
    used = len(buckets)
    while used and not buckets[used - 1]:
        used -= 1
    return tuple(buckets[:used])


def open_session(config: Config) -> Session:
    """Attach, prove, and set the filters. `UnsupportedError` says why each way failed."""
    ways = plans.by_preference(preemption.preempts())
    asked = (config.locality, config.patterns, config.events)
    wanted = (plan.at(config.detail).looking(*asked) for plan in ways)
    return choosing.first(config, wanted, Session)


def _add_refusals(
    rows: Mapping[Identity, wire.Acceptor], refused: Mapping[tuple[int, int], int]
) -> None:
    """Each to the row of its thread, or of the thread's crew."""
    threads = {shown(row)[:2]: row for row in rows.values() if not row.who.tid & wire.CREW}
    crews = {(row.who.inode, row.pid): row for row in rows.values() if row.who.tid & wire.CREW}
    for (pid, tid), inode in refused.items():
        row = threads.get((inode, tid)) or crews.get((inode, pid))
        if row is not None:
            row.refused += 1


def _inode_of(pid: int, fd: int) -> int | None:
    """Of the socket behind a descriptor; None where it is none, or the process has gone."""
    try:
        name = os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return None
    return int(name[8:-1]) if name.startswith("socket:[") else None


def _migration(key: wire.MigrationKey, value: wire.Migration) -> MigrationCount:
    return MigrationCount(key.from_inode, key.to_inode, value.connections, value.requests)
