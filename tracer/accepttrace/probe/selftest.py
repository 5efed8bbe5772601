"""The proof that every hook fires exactly as often as it must: loopback connections of our own."""

from __future__ import annotations

import ctypes as c
import errno
import os
import resource
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from accepttrace.config import Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.records import AcceptorCount, Counts, ListenerCount
from accepttrace.facts.sight import Fact, Sight

CONNECTIONS = 3
EMPTY = 2
REFUSED = 1  # for want of a file descriptor
LEFT = 1  # connections that are still queued when the listener closes
LIMITS_S = (2.0, 5.0, 15.0)  # of each try: on a busy machine everything takes longer
_HOST = "127.0.0.1"
_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a count. `silent`: there is none at all."""

    story: str
    silent: bool = False

    @classmethod
    def of(cls, found: int | None, made: int, noun: str) -> Fault:
        """`found` of `made` were counted."""
        return cls(f"{found} of {made} {noun} were counted", silent=found == 0)


class LoopbackError(UnsupportedError):
    """Traffic of our own does not arrive, which says nothing of any hook."""


@dataclass(slots=True)
class Traffic:
    """A private listener on loopback, and what was done to it.

    Anybody on the machine may connect to it; only packets from `clients` get as far as the hooks.
    """

    listener: socket.socket
    clients: list[socket.socket]
    port: int
    inode: int
    limit_s: float
    began_s: float
    used: int = 0  # clients
    overflowed: int = 0  # attempts that met a full queue

    @property
    def address(self) -> tuple[str, int] | str | bytes:
        """Where clients connect to."""
        return (_HOST, self.port)

    @property
    def filters(self) -> Filters:
        """What lets all of it through, and nothing else."""
        return Filters(ports=frozenset({self.port}))

    @classmethod
    def prepare(cls, limit_s: float) -> Traffic:
        """Listen on a free port of 127.0.0.1. All of it must be done in `limit_s`."""
        began_s = time.monotonic()
        sockets: list[socket.socket] = []
        try:
            for _ in range(1 + CONNECTIONS + LEFT):
                sockets.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                sockets[-1].bind((_HOST, 0))
        except OSError as error:
            for each in sockets:
                each.close()
            raise not_arrived(error, "TCP") from None
        listener, *clients = sockets
        _admit_only(listener, [client.getsockname()[1] for client in clients])
        listener.listen(CONNECTIONS)
        listener.settimeout(0)
        inode = os.fstat(listener.fileno()).st_ino
        return cls(listener, clients, listener.getsockname()[1], inode, limit_s, began_s)

    def make(self) -> None:
        """Accepts that succeed, find nothing or get no descriptor; and `LEFT` not accepted."""
        for number in range(CONNECTIONS):
            self._connect()
            if number < REFUSED:  # counted only while a connection waits
                self._accept_without_descriptors()
            self.listener.accept()[0].close()
        for _ in range(EMPTY):
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                continue
            raise UnsupportedError(
                "cannot prove the hooks: another process connected to the self-test"
            )
        for _ in range(LEFT):
            self._connect()

    def end(self) -> None:
        """Close the clients; those left in the queue were reset with the listener."""
        for client in self.clients:
            client.close()

    def most_us(self) -> int:
        """The longest that a connection can have waited."""
        return int((time.monotonic() - self.began_s) * 1e6)

    def _accept_without_descriptors(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with suppress(OSError):
                self.listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def _connect(self) -> None:
        """The next client is connected, and in the queue."""
        client = self.clients[self.used]
        self.used += 1
        try:
            client.settimeout(self._left_s())
            client.connect(self.address)
            queued = select.poll()  # select() knows no descriptors beyond 1023
            queued.register(self.listener, select.POLLIN)
            if not queued.poll(self._left_s() * 1e3):
                raise TimeoutError
        except TimeoutError:
            raise not_in_time("connection", "TCP", self.limit_s) from None
        except OSError as error:
            raise not_arrived(error, "TCP") from None

    def _left_s(self) -> float:
        return max(self.began_s + self.limit_s - time.monotonic(), 1e-3)


class _Instruction(c.Structure):
    """struct sock_filter (linux/filter.h)."""

    _fields_ = (("code", c.c_uint16), ("jt", c.c_uint8), ("jf", c.c_uint8), ("k", c.c_uint32))


class _Program(c.Structure):
    """struct sock_fprog (linux/filter.h)."""

    _fields_ = (("length", c.c_ushort), ("filter", c.POINTER(_Instruction)))


def _admit_only(listener: socket.socket, ports: list[int]) -> None:
    """Let the kernel drop what does not come from these ports, before any hook sees it.

    They are bound, so no other process sends from there. Where that is refused, others are noticed.
    """
    drop, take = (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF)  # return so many bytes
    tests = [(0x15, len(ports) - index, 0, port) for index, port in enumerate(ports)]
    code = [(0x28, 0, 0, 0), *tests, drop, take]  # first: load the source port
    program = _Program(
        len(code), (_Instruction * len(code))(*(_Instruction(*each) for each in code))
    )
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))


def not_arrived(error: OSError, protocol: str) -> LoopbackError:
    """Loopback refuses."""
    return LoopbackError(
        f"cannot prove the hooks over loopback: {error.strerror or error}",
        f"bring it up with `ip link set lo up`, and allow {protocol} on 127.0.0.1",
    )


def not_in_time(what: str, protocol: str, limit_s: float) -> LoopbackError:
    """Loopback swallows, or all takes very long."""
    return LoopbackError(
        f"cannot prove the hooks: no {what} of our own came over loopback in {limit_s:g} s",
        f"allow {protocol} on 127.0.0.1; or try again when the machine is less busy",
    )


def verdicts(counts: Counts, traffic: Traffic, sees: Sight) -> dict[Fact, Fault]:
    """By fact, what is wrong with it; empty when every hook counted right."""
    mine = [a for a in counts.acceptors if a.listener_inode == traffic.inode]
    listener = next((x for x in counts.listeners if x.inode == traffic.inode), None)
    if not mine or listener is None:
        return {"accepts": Fault.of(0, CONNECTIONS, "accepts")}
    if len(mine) != 1:
        story = f"{CONNECTIONS} accepts by 1 thread were counted for {len(mine)}"
        return {"accepts": Fault(story)}
    return _acceptor_faults(mine[0], traffic, sees) | _listener_faults(listener, traffic, sees)


def _listener_faults(mine: ListenerCount, traffic: Traffic, sees: Sight) -> dict[Fact, Fault]:
    arrived, lost = (mine.flow.arrived, mine.flow.lost) if mine.flow else (None, None)
    made = CONNECTIONS + LEFT
    wrong: dict[Fact, Fault] = {}
    if sees.selected and mine.selected != made:
        wrong["selected"] = Fault.of(mine.selected, made, "requests for a connection")
    if sees.arrived and arrived != made:
        wrong["arrived"] = Fault.of(arrived, made, "arrivals")
    if sees.closed and (lost, mine.stops) != (LEFT, 1):
        wrong["closed"] = Fault.of(lost, LEFT, "connections lost with the listener")
    if sees.overflow and mine.overflow and mine.overflow.syn != traffic.overflowed:
        wrong["overflow"] = Fault.of(mine.overflow.syn, traffic.overflowed, "refusals")
    return wrong


def _acceptor_faults(mine: AcceptorCount, traffic: Traffic, sees: Sight) -> dict[Fact, Fault]:
    wrong: dict[Fact, Fault] = {}
    if mine.accepts != CONNECTIONS:
        wrong["accepts"] = Fault.of(mine.accepts, CONNECTIONS, "accepts")
    if sees.empty and mine.empty != EMPTY:
        wrong["empty"] = Fault.of(mine.empty, EMPTY, "EAGAIN")
    if sees.refused and mine.refused != REFUSED:
        wrong["refused"] = Fault.of(mine.refused, REFUSED, "calls without a descriptor")
    if sees.errors and mine.errors != {errno.EMFILE: REFUSED}:
        story = f"{mine.errors} is not the errno of {REFUSED} calls without a descriptor"
        wrong["errors"] = Fault(story)
    measured = sum(mine.wait_us) == CONNECTIONS and mine.wait_max_us <= traffic.most_us()
    if sees.waits and (mine.wait_unknown or not measured):
        wrong["waits"] = Fault("the time in the accept queue is not readable")
    return wrong
