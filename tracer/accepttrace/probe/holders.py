"""Who holds which sockets and who waits on them, asked of the kernel: a BPF iterator over files.

One pass over all descriptors of all processes takes no system call for each of them, cannot block
on memory of a stranger, and shows threads whose leader has ended. Source: bpf/holders/.
"""

from __future__ import annotations

import ctypes as c
import errno
import os
import socket
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Final, Literal, NamedTuple

from accepttrace.errors import UnsupportedError
from accepttrace.facts.addresses import FAMILIES
from accepttrace.facts.record import record
from accepttrace.facts.records import LocalPort
from accepttrace.probe import _syscall as sys
from accepttrace.probe import holderwire as wire
from accepttrace.probe import iterators, pidns, privileges
from accepttrace.probe.clock import start_shown
from accepttrace.probe.load import core, loaders
from accepttrace.probe.load.libbpf import library
from accepttrace.probe.maps import Map
from accepttrace.probe.plans import AttachType
from accepttrace.probe.receiving import PROGRAMS as WATCHING
from accepttrace.probe.receiving import SITE, Receipt, receipts, usable
from accepttrace.probe.wire import U32

Protocol = Literal["tcp", "udp", "unix"]
Way = Literal["call", "poll", "select", "epoll", "io_uring", "other"]

WAYS: Final[dict[int, Way]] = {
    wire.WAITS_CALL: "call",
    wire.WAITS_POLL: "poll",
    wire.WAITS_SELECT: "select",
    wire.WAITS_EPOLL: "epoll",
    wire.WAITS_URING: "io_uring",
    wire.WAITS_OTHER: "other",
}
# As `wire.Asked` has it: protocol and family.
PROTOCOLS: Final[dict[Protocol, tuple[int, int]]] = {
    "tcp": (6, 0),
    "udp": (17, 0),
    "unix": (0, socket.AF_UNIX),
}
PROGRAMS: Final = ("iter_holders", "iter_holders_old")  # the second where there is no bpf_loop()
HEADER: Final = struct.Struct("=IIIIQQ16s")  # struct piece without its mark
PAIR: Final = struct.Struct("=II")
READ_BYTES: Final = 65536


class Waiter(NamedTuple):
    """An entry of a socket's wait queue.

    `who`: a PID, 0 of a process that has none here; of `epoll` the number of the set (0: no room
    for one); of `other` 0.
    """

    way: Way
    who: int
    exclusive: bool
    input: bool  # False: an entry that asks for no input, as a paused one


@record(frozen=True, slots=True)
class Waiters:
    """Who waits on one socket; not `complete` where there are more than are looked at."""

    found: tuple[Waiter, ...]
    complete: bool


@record(frozen=True, slots=True)
class Table:
    """A process with open files, or a thread of it that has its own (`tid`)."""

    pid: int
    tid: int
    netns: int  # inode number
    start_ns: int  # of the process, as /proc shows it here
    comm: str
    fds: dict[int, int] = field(default_factory=dict)  # inode → first descriptor


@dataclass(frozen=True, slots=True)
class EpollSet:
    """An epoll set that watches a socket asked for, as one process has it open."""

    fd: int
    number: int
    asleep: bool  # the process sleeps in epoll_wait() on it


@dataclass(slots=True)
class Holdings:
    """One pass. Objects of the last one are kept where nothing has changed."""

    tables: list[Table] = field(default_factory=list)
    epolls: dict[int, list[EpollSet]] = field(default_factory=dict)  # by PID
    waiters: dict[int, Waiters] = field(default_factory=dict)  # by inode
    sockets: dict[int, int] = field(default_factory=dict)  # inode → inode number of its netns
    received: dict[tuple[int, int], Receipt] = field(default_factory=dict)  # by PID and inode
    # Connections by PID and port; None: this pass did not count them, or not all.
    opened: dict[tuple[int, LocalPort], int] | None = None


class HolderIterator:
    """The iterator, loaded. Use as a context manager; leaving it frees it.

    `watched`: who is handed a socket is seen from now on, by the first of these attach types that
    works; not at all where none does.

    Raises `UnsupportedError` where this kernel or these privileges do not allow it.
    """

    def __init__(self, protocol: Protocol = "tcp", watched: Collection[AttachType] = ()) -> None:
        self._object: int | None = None
        self._link: int | None = None
        self._watch: int | None = None
        self._fd: int | None = None  # of a pass that is under way
        self._pidns = _seen_from()
        self._numbers: dict[int, int] = {}  # PIDs here, by those of the initial PID namespace
        self._object, self._link, self._watch = _load(watched)
        self._asked = Map(self._map("asked"), U32, wire.Asked)
        self._progress = Map(self._map("progress"), U32, wire.Progress)
        self._epolls = Map(self._map("epolls"), wire.U64, U32)
        self._walked = Map(self._map("walked"), U32, U32)
        self._opened = Map(self._map("opened"), wire.OpenKey, wire.OpenCount)
        self._counted = Map(self._map("counted"), wire.CountedKey, U32)
        self._received = Map(self._map("received"), wire.ReceivedKey, wire.Received)
        self._protocol = PROTOCOLS[protocol]
        self._parts: list[bytes] = []
        self._again = False  # it is the second pass of a reading
        self._pass = 0
        self._ports: frozenset[int] | None = None  # that were asked for last,
        self._open_ports: frozenset[int] = frozenset()  # and those to count connections of
        self._counts = False  # the pass under way counts them
        self._spent_s = 0.0
        self.took_s = 0.0  # the last reading, however many calls it took
        self._known: dict[bytes, _Piece] = {}
        self.ask(())

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> HolderIterator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def watches(self) -> bool:
        """Whether it is seen who is handed a socket."""
        return self._watch is not None

    def close(self) -> None:
        """Free it. May be called twice."""
        self._end()
        if self._link is not None:
            os.close(self._link)
            self._link = None
        if self._watch is not None:
            library().bpf_link__destroy(self._watch)
            self._watch = None
        if self._object is not None:
            library().bpf_object__close(self._object)
            self._object = None

    def ask(self, ports: Collection[int], open_ports: Collection[int] = ()) -> None:
        """From now on look for sockets bound to `ports`; none: any.

        Of `open_ports` the connections are counted as well, where `read` is to count.
        """
        wanted = frozenset(ports), frozenset(open_ports)
        if wanted == (self._ports, self._open_ports):
            return
        self._end()
        self._ports, self._open_ports = wanted
        protocol, family = self._protocol
        asked = wire.Asked(any_port=not ports, protocol=protocol, family=family)
        _mark(asked.ports, ports)
        _mark(asked.open_ports, open_ports)
        self._asked.put(U32(0), asked)

    def read(self, limit_s: float, *, count: bool = False) -> Holdings | None:
        """What a pass finds; None where it takes longer: the next call continues it.

        `count`: and how many connections each process holds. OSError where the kernel refuses.
        """
        if self._fd is None:
            self._counts = count
        deadline = time.monotonic() + limit_s
        while self._continue(deadline):
            data, self._parts = b"".join(self._parts), []
            found, is_new = self._decoded(data)
            # Those who were listed before an epoll set was met may have it open, too.
            if not is_new or self._again:
                self._again = False
                found.opened = self._read_opened() if self._counts else None
                found.received = self._read_received() if self.watches else {}
                return found
            self._again = True
        return None

    def _continue(self, deadline: float) -> bool:
        """Read on; True at the end of the pass."""
        began = time.monotonic()
        if self._fd is None:
            self._begin()
        try:
            while time.monotonic() < deadline:
                if self._read_some():
                    return True
            return False
        except OSError:
            self._end()
            raise
        finally:
            self._spent_s += time.monotonic() - began

    def _read_some(self) -> bool:
        """A bufferful; True where there is no more."""
        assert self._fd is not None
        try:
            part = os.read(self._fd, READ_BYTES)
        except OSError as error:
            # A million descriptors without anything to write: the kernel takes a breath.
            if error.errno != errno.EAGAIN:
                raise
            return False
        if part:
            self._parts.append(part)
            return False
        self._end()
        self.took_s = self._spent_s
        return True

    def _begin(self) -> None:
        before = self._progress.get(U32(0)) or wire.Progress()
        epolls, walked, counted = before.epolls, before.walked, before.counted
        if epolls > wire.MAX_EPOLLS // 2:  # most of them are gone
            self._epolls.clear()
            self._known.clear()
            epolls = 0
        if walked > wire.MAX_WALKED // 2:
            self._walked.clear()
            walked = 0
        if counted > wire.MAX_COUNTED // 2:
            self._counted.clear()
            counted = 0
        self._pass += 1
        progress = wire.Progress(pass_number=self._pass, epolls=epolls, walked=walked)
        progress.counts, progress.counted, progress.pidns = self._counts, counted, self._pidns
        self._progress.put(U32(0), progress)
        self._parts = []
        if not self._again:
            self._spent_s = 0.0
        self._fd = sys.bpf(sys.ITER_CREATE, sys.IterAttr(link_fd=self._link))

    def _end(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _decoded(self, data: bytes) -> tuple[Holdings, bool]:
        """What was read, and whether there is an epoll set in it that was not known before."""
        found = Holdings()
        before, self._known = self._known, {}
        is_new = False
        for text in data.split(wire.MARK)[1:]:
            piece = before.get(text) or _Piece.of(text)
            self._known[text] = piece
            is_new |= piece.add_to(found)
        if self._pidns:
            self._numbers = {one.inode: one.pid for one in self._known.values() if one.pid}
            for inode, waiters in found.waiters.items():
                found.waiters[inode] = _as_seen(waiters, self._numbers)
        return found, is_new

    def _read_opened(self) -> dict[tuple[int, LocalPort], int] | None:
        """What this pass counted; None where some had no room."""
        after = self._progress.get(U32(0))
        rows = self._opened.items()
        if len(rows) > wire.MAX_OPENED // 2:  # most of them are of processes that are gone
            self._opened.clear()
        if after is None or after.uncounted:
            return None
        now = [(key, row.connections) for key, row in rows if row.pass_number == self._pass]
        pids = self._numbers if self._pidns else {key.tgid: key.tgid for key, _ in now}
        return {
            (pids[key.tgid], LocalPort(key.netns, key.port, FAMILIES[key.family])): connections
            for key, connections in now
            if key.tgid in pids
        }

    def _read_received(self) -> dict[tuple[int, int], Receipt]:
        """After the pass: who has a descriptor by then is in it."""
        found = receipts(self._received)
        if not self._pidns:
            return found
        numbers = self._numbers
        return {(numbers[p], inode): one for (p, inode), one in found.items() if p in numbers}

    def _map(self, name: str) -> int:
        return int(library().bpf_object__find_map_fd_by_name(self._object, name.encode()))


class _Piece:
    """One piece, decoded."""

    __slots__ = ("epolls", "inode", "is_new", "netns", "pid", "table", "waiters")

    def __init__(self) -> None:
        self.table: Table | None = None
        self.epolls: tuple[EpollSet, ...] = ()
        self.waiters: Waiters | None = None
        self.inode = 0  # of a process: its PID in the initial PID namespace,
        self.pid = 0  # and here
        self.netns = 0
        self.is_new = False

    @classmethod
    def of(cls, text: bytes) -> _Piece:
        kind, number, _, netns, start_ns, thread, comm = HEADER.unpack_from(text)
        piece = cls()
        pairs = PAIR.iter_unpack(text[HEADER.size :])
        piece.inode, piece.netns = number, netns
        if kind == wire.PIECE_SOCKET:
            piece._take_waiters(pairs)
            return piece
        if not thread:  # it has no PID here
            return piece
        piece.pid, tid = thread >> 32, thread & 0xFFFFFFFF
        if kind == wire.PIECE_EPOLLS:
            piece.epolls = tuple(
                EpollSet(fd & ~wire.EPOLL_ASLEEP, epoll, bool(fd & wire.EPOLL_ASLEEP))
                for fd, epoll in pairs
            )
            return piece
        name = intern(comm.partition(b"\0")[0].decode("utf-8", "replace"))
        piece.table = Table(piece.pid, tid, netns, start_shown(start_ns), name)
        for fd, inode in pairs:
            piece.table.fds.setdefault(inode, fd)
        return piece

    def add_to(self, found: Holdings) -> bool:
        """Whether there is a new epoll set in it."""
        if self.waiters is not None:
            found.waiters[self.inode] = self.waiters
            found.sockets[self.inode] = self.netns
        elif self.epolls:
            found.epolls.setdefault(self.pid, []).extend(self.epolls)
        elif self.table is not None:
            found.tables.append(self.table)
        return self.is_new

    def _take_waiters(self, pairs: Iterator[tuple[int, int]]) -> None:
        found: list[Waiter] = []
        complete = True
        for what, who in pairs:
            kind = what & wire.WAITS_KIND
            if kind == wire.WAITS_MORE:
                complete = False
                continue
            self.is_new |= bool(what & wire.WAITS_NEW)
            found.append(
                Waiter(
                    WAYS[kind],
                    who,
                    bool(what & wire.WAITS_EXCLUSIVE),
                    not what & wire.WAITS_NO_INPUT,
                )
            )
        self.waiters = Waiters(tuple(found), complete)


def _as_seen(waiters: Waiters, numbers: Mapping[int, int]) -> Waiters:
    """With PIDs as they are seen here, by those of the initial PID namespace."""
    found = (
        one if one.way in ("epoll", "other") else one._replace(who=numbers.get(one.who, 0))
        for one in waiters.found
    )
    return Waiters(tuple(found), waiters.complete)


def _mark(words: c.Array[c.c_uint64], ports: Collection[int]) -> None:
    for port in ports:
        words[port >> 6] |= 1 << (port & 63)


def _seen_from() -> int:
    """The PID namespace, as `pidns` has it; `UnsupportedError` where BPF may not be used."""
    if not privileges.may_trace():
        raise UnsupportedError("BPF needs CAP_BPF and CAP_PERFMON", privileges.ADVICE)
    return pidns.seen_from()


def _load(watched: Collection[AttachType]) -> tuple[int, int, int | None]:
    """The object, a link of its iterator, and one of what sees who is handed sockets: by trying."""
    loaders.raise_memlock()
    for watch in (*usable(watched), ""):
        for name in PROGRAMS:
            try:
                return _load_with(name, watch)
            except UnsupportedError as error:
                failure = error
    raise failure


def _load_with(name: str, watch: str) -> tuple[int, int, int | None]:
    lib = library()
    bpf = core.opened("holders")
    try:
        programs = {
            each: lib.bpf_object__find_program_by_name(bpf, each.encode())
            for each in (*PROGRAMS, *WATCHING.values())
        }
        for each, program in programs.items():
            lib.bpf_program__set_autoload(program, each in (name, watch))
        code = lib.bpf_object__load(bpf)
        if code < 0:
            raise core.refused("load the iterator over files", -code)
        link = _attached(programs[watch]) if watch else None
        return bpf, iterators.link(lib.bpf_program__fd(programs[name])), link
    except OSError as error:
        lib.bpf_object__close(bpf)
        raise core.refused("link the iterator over files", error.errno or 0) from None
    except BaseException:
        lib.bpf_object__close(bpf)
        raise


def _attached(program: int) -> int:
    c.set_errno(0)
    link = library().bpf_program__attach(program)
    if not link:
        raise core.refused(f"attach to {SITE}", c.get_errno())
    return int(link)
