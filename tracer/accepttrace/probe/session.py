"""Choose an attach type by trying, prove it, read the counts, detach."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from accepttrace.config import Config, Filters
from accepttrace.errors import AcceptTraceError, UnsupportedError
from accepttrace.model.records import (
    AcceptorCount,
    Counts,
    Family,
    Flow,
    ListenerCount,
    Losses,
    MigrationCount,
    Overflow,
    Passed,
    PortCount,
    Program,
    Selector,
    Via,
)
from accepttrace.probe import (
    loaders,
    lockdown,
    plans,
    preemption,
    privileges,
    selftest,
    wire,
)
from accepttrace.probe.filtering import settings_of
from accepttrace.probe.maps import Map

_FAMILIES: dict[int, Family] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
_VIA: dict[int, Via] = {
    wire.VIA_SYSCALL: "syscall",
    wire.VIA_IO_URING: "io_uring",
    wire.VIA_KERNEL: "kernel",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attach type that was tried. `error` is None for the one that works."""

    attach: str
    loader: str
    error: AcceptTraceError | None


@dataclass(frozen=True, slots=True)
class Member:
    """A listening socket in a reuseport group. Source: the BPF socket iterator."""

    inode: int
    group: int
    size: int
    selector: Selector
    program: Program | None


class Session:
    """An attached and proved tracer. Use as a context manager; leaving it detaches."""

    def __init__(self, loaded: loaders.Attached) -> None:
        self._loaded = loaded
        self.plan = loaded.plan
        self.loader = loaded.loader
        self._skipped: dict[str, int] = {}
        fd = loaded.map_fd
        self._settings = Map(fd("settings"), wire.U32, wire.Settings)
        self._pids = Map(fd("pids"), wire.U32, wire.U8)
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
        self._losses = Map(fd("losses"), wire.U32, wire.U64)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Detach. May be called twice."""
        self._loaded.close()

    def filter(self, filters: Filters) -> None:
        """From now on count what these let through (ports, PIDs, netns, family).

        UsageError where they are more than the kernel side has room for.
        """
        settings = settings_of(filters)
        settings.without_waits = self.plan.detail == "accepts"
        sites = {hook.site for hook in self._loaded.hooks}
        settings.rings = 0 if "io_accept" in sites else wire.RINGS_UNHOOKED
        settings.never_migrates = not loaders.has_function("reuseport_migrate_sock")
        self._pids.clear()
        for pid in filters.pids:
            self._pids.put(wire.U32(pid), wire.U8(1))
        self._settings.put(wire.U32(0), settings)

    def counts(self) -> Counts:
        """Everything counted since the start, for every listener."""
        errors = self._errors_by_acceptor()
        return Counts(
            tuple(self._acceptor(row, errors) for row in self._ended_calls()),
            tuple(self._listener(value) for value in self._rows()),
            self._read_losses(),
            tuple(_migration(k, v) for k, v in self._migrations.items()),
            tuple(PortCount(k.netns, k.port, v.value) for k, v in self._ports.items()),
        )

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

    def skipped(self) -> dict[str, int] | None:
        """By program, hits since the last `reset` that the kernel's recursion guard dropped.

        None where this kernel does not tell (before 5.11).
        """
        misses = self._loaded.recursion_misses()
        if misses is None:
            return None
        return {name: count - self._skipped.get(name, 0) for name, count in misses.items()}

    def reset(self) -> None:
        """Forget everything counted so far, and the listeners it was counted for."""
        self._skipped = self._loaded.recursion_misses() or {}
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
        for index in range(wire.LOSS_MAX):
            self._losses.put(wire.U32(index), wire.U64(0))

    def members(self) -> tuple[Member, ...]:
        """Reuseport group members in the network namespace of the calling thread."""
        return tuple(
            Member(m.inode, m.group, m.size, _selector(m), _program(m))
            for m in self._loaded.members()
        )

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
        for hook in self._loaded.hooks:
            if hook.proves in wrong:
                raise UnsupportedError(
                    f"{hook.program} attached to {hook.site} but is silent: {wrong[hook.proves]}"
                )
        for story in wrong.values():
            raise UnsupportedError(f"the {self.plan.attach} hooks attached but: {story}")
        pids = {a.pid for a in counts.acceptors if a.listener_inode == traffic.inode}
        if pids != {os.getpid()}:
            raise UnsupportedError(
                "this is not the machine's own PID namespace, so PIDs could not be told",
                "run on the host, or in a container with the host's PID namespace (--pid=host)",
            )

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
            stops=value.stops,
            mptcp=bool(value.mptcp),
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
        )

    def _read_losses(self) -> Losses:
        def lost(*which: int) -> int:
            found = (self._losses.get(wire.U32(index)) for index in which)
            return sum(count.value for count in found if count is not None)

        skipped = self.skipped()
        return Losses(
            events_lost=0,
            map_full=lost(
                wire.LOSS_ACCEPTORS_FULL,
                wire.LOSS_LISTENERS_FULL,
                wire.LOSS_SELECTED_FULL,
                wire.LOSS_ERRORS_FULL,
                wire.LOSS_MIGRATIONS_FULL,
                wire.LOSS_PEERS_FULL,
                wire.LOSS_PORTS_FULL,
            ),
            probe_misses=self._loaded.probe_misses(),
            recursion_misses=None if skipped is None else sum(skipped.values()),
            unattributed=lost(wire.LOSS_UNATTRIBUTED),
        )


def open_session(config: Config) -> Session:
    """Attach, prove, and set the filters. Raises `UnsupportedError` telling why each way failed."""
    loader = loaders.choose(config.loader)
    attempts: list[Attempt] = []
    for plan in plans.by_preference(preemption.preempts()):
        if config.attach not in ("auto", plan.attach):
            continue
        session = try_plan(plan.at(config.detail), loader, attempts)
        if session is not None:
            session.filter(config.filters)
            return session
    raise _nothing_works(attempts)


def try_plan(plan: plans.Plan, loader: loaders.Name, attempts: list[Attempt]) -> Session | None:
    """Load, attach and prove one plan; the outcome is appended to `attempts`."""
    try:
        session = Session(loaders.load(loader, plan))
        try:
            session.prove()
        except BaseException:
            session.close()
            raise
    except UnsupportedError as error:
        if plan.fallback is not None:
            return try_plan(plan.fallback, loader, attempts)
        attempts.append(Attempt(plan.attach, loader, error))
        return None
    attempts.append(Attempt(plan.attach, loader, None))
    return session


def _nothing_works(attempts: list[Attempt]) -> UnsupportedError:
    reasons = "; ".join(f"{a.attach}: {a.error.message}" for a in attempts if a.error)
    detail = "\n".join(a.error.detail for a in attempts if a.error)
    if not privileges.may_trace():
        return UnsupportedError("no permission to trace", privileges.ADVICE, f"{reasons}\n{detail}")
    if lockdown.forbids_tracing():
        message = "kernel lockdown (confidentiality) forbids BPF to read kernel memory"
        return UnsupportedError(message, lockdown.ADVICE, f"{reasons}\n{detail}")
    return UnsupportedError(
        f"this kernel cannot be traced ({reasons})", "see `accepttrace doctor`", detail
    )


def _identity(key: wire.AcceptorKey) -> tuple[int, int, int]:
    return key.inode, key.tid, key.start_ns


def _inode_of(pid: int, fd: int) -> int | None:
    """Of the socket behind a descriptor; None where it is none, or the process has gone."""
    try:
        name = os.readlink(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return None
    return int(name[8:-1]) if name.startswith("socket:[") else None


def _selector(member: wire.Member) -> Selector:
    if member.program == wire.PROGRAM_EXTENDED:
        return "ebpf"
    if member.program == wire.PROGRAM_CLASSIC:
        return "cbpf"
    return "incoming_cpu" if member.incoming_cpu else "hash"


def _program(member: wire.Member) -> Program | None:
    if member.program != wire.PROGRAM_EXTENDED:
        return None
    return Program(member.program_id, member.program_name.decode(errors="replace"))


def _migration(key: wire.MigrationKey, value: wire.Migration) -> MigrationCount:
    return MigrationCount(key.from_inode, key.to_inode, value.connections, value.requests)
