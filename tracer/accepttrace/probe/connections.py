"""Each connection as an event: asked for, read from the ring buffer, and accounted for."""

from __future__ import annotations

import ctypes as c
import errno
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from accepttrace.facts.addresses import FAMILIES, spelled
from accepttrace.facts.connections import Batch, Called, ConnectionEvent, EventCounts, Kind, Wish
from accepttrace.facts.records import OUTSIDE, Family
from accepttrace.probe import clock, wire
from accepttrace.probe.cpus import cpus
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map
from accepttrace.probe.ring import Ring

KINDS: Final[dict[int, Kind]] = {
    wire.EVENT_ACCEPT: "accept",
    wire.EVENT_FAILED: "failed",
    wire.EVENT_RESET: "reset",
    wire.EVENT_DROPPED: "dropped",
}
_OF_TASKS: Final = (wire.EVENT_ACCEPT, wire.EVENT_FAILED)  # the others happen to nobody
NameOf = Callable[[int, int, str], Called]  # PID, its start in nanoseconds as /proc has it, comm
NOBODY: Final = (None, None, None, None)
STRANGER: Final = Called(OUTSIDE)
# struct event behind the head of its record; tests/contract compares it with the mirror.
LAYOUT: Final = Struct("<8xQQqIIIIIiiIHHHHhhI16s16s16s")
# The same in pieces: what accepts have in common, and what each has of its own.
PIECES: Final = Struct("<8xQ8sq16sI4si10sH40s16s")
_LIKES: Final = 4096  # sets of values that are kept
_READINGS: Final = 3  # of two clocks, of which the closest are taken: we may be interrupted
_FAMILIES: Final[dict[int, Family]] = {**FAMILIES, socket.AF_UNIX: "unix"}
_NUMBERS: Final = {name: number for number, name in _FAMILIES.items()}


class Connections:
    """The ring buffer of a tracer that was loaded with events."""

    def __init__(self, loaded: loaders.Attached, name_of: NameOf) -> None:
        self._ring = Ring(loaded.map_fd("events"), wire.EVENTS_BYTES, c.sizeof(wire.Event))
        self.room = wire.EVENTS_BYTES // self._ring.stride  # events that wait at most
        self._wishes = Map(loaded.map_fd("event_wishes"), wire.U32, wire.EventWish)
        self._counts = Map(
            loaded.map_fd("event_counts"), wire.U32, _of_each(wire.EventCount, cpus("possible"))
        )
        self._name_of = name_of
        self._boot_offset = clock.start_shown(0)
        self._known: dict[tuple[bytes, ...], int] = {}
        self._likes: list[ConnectionEvent] = []

    def fileno(self) -> int:
        """Ready when so much waits that it should be read at once."""
        return self._ring.fileno()

    def begin(self, wish: Wish) -> None:
        """Forget all events so far; from now on write these. Nothing is to be traced meanwhile."""
        self._wishes.put(wire.U32(0), _wish(wish))
        while self._ring.take(4096):
            pass
        self._counts.put(wire.U32(0), _of_each(wire.EventCount, cpus("possible"))())

    def read(self, most: int) -> list[ConnectionEvent]:
        """The oldest events that were not read yet; empty where there are none."""
        found = self._ring.take(most)
        return [*self._events(found, _wall_ahead_ns())] if found else []

    def read_accepts(self, most: int) -> Batch | None:
        """As `read`, where nothing but accepts was wished for; None: there are none."""
        found = self._ring.take(most)
        return self._batch(found, _wall_ahead_ns()) if found else None

    def _batch(self, records: bytes, ahead_ns: int) -> Batch:
        (*(times, starts, waits, tasks, queues, groups, results, places, ports, rest, peers),) = (
            zip(*PIECES.iter_unpack(records), strict=True)
        )
        keys = [*zip(starts, tasks, groups, places, rest, strict=True)]
        try:
            which = [*map(self._known.__getitem__, keys)]
        except KeyError:
            self._learn(keys, records, ahead_ns)
            which = [*map(self._known.__getitem__, keys)]
        return Batch(
            self._likes,
            which,
            [at_ns + ahead_ns for at_ns in times],
            _known(results, -1) if max(results) >= 0 else (None,) * len(results),
            self._peers(which, peers, ports),
            _known(ports, 0) if 0 in ports else ports,
            _known(waits, -1) if wire.WAIT_UNKNOWN in waits else waits,
            queues,
        )

    def _learn(self, keys: Sequence[tuple[bytes, ...]], records: bytes, ahead_ns: int) -> None:
        """An event for each key that is new."""
        first = {key: n for n, key in reversed([*enumerate(keys)])}
        new = {*first} - {*self._known}
        if len(self._known) + len(new) > _LIKES:
            self._known, self._likes, new = {}, [], {*first}
        for key in sorted(new, key=first.__getitem__):
            record = records[first[key] * LAYOUT.size :][: LAYOUT.size]
            self._known[key] = len(self._likes)
            self._likes += self._events(record, ahead_ns)

    def _peers(
        self, which: Sequence[int], peers: Sequence[bytes], ports: Sequence[int]
    ) -> list[str | None]:
        families = {n: _NUMBERS[self._likes[n].family] for n in set(which)}
        if len({*families.values()}) == 1 and 0 not in ports:
            family = families[which[0]]
            texts = {peer: _address(family, peer) for peer in set(peers)}
            return [*map(texts.__getitem__, peers)]
        there = zip(which, peers, ports, strict=True)
        return [_address(families[n], peer) if port else None for n, peer, port in there]

    def _events(self, records: bytes, ahead_ns: int) -> Iterator[ConnectionEvent]:
        offset, name_of = self._boot_offset, self._name_of
        # fmt: off
        for (
            at_ns, start_ns, wait_us, pid, tid, inode, netns, queue, group, result, connections,
            kind, family, local_port, peer_port, cpu, received, _, comm, local, peer,
        ) in LAYOUT.iter_unpack(records):  # fmt: on
            thread = _text(comm) if kind in _OF_TASKS else None
            who = NOBODY if thread is None else _called(name_of, pid, start_ns + offset, thread)
            known_peer = peer_port != 0
            yield ConnectionEvent(
                KINDS[kind],
                at_ns + ahead_ns,
                pid or None,
                tid or None,
                who[0],
                thread,
                result if result >= 0 else None,
                _error(result) if result < 0 else None,
                _FAMILIES[family],
                _address(family, local),
                local_port or None,
                _address(family, peer) if known_peer else None,
                peer_port if known_peer else None,
                inode,
                netns,
                None if group == wire.GROUP_NONE else group,
                None if wait_us == wire.WAIT_UNKNOWN else wait_us,
                queue,
                cpu,
                None if received < 0 else received,
                None if received < 0 else received == cpu,
                connections,
                unit=who[1],
                container=who[2],
                pod=who[3],
            )

    def counts(self) -> EventCounts:
        """What became of all events since `begin`."""
        found = self._counts.get(wire.U32(0))
        each = found.each if found is not None else ()

        def total(name: str) -> int:
            return sum(getattr(one, name) for one in each)

        return EventCounts(*(total(name) for name in EventCounts.__dataclass_fields__))

    def close(self) -> None:
        """Let go of the ring buffer."""
        self._ring.close()


def _known(values: Sequence[int], below: int) -> Sequence[int | None]:
    """None in place of those that are not above."""
    return [value if value > below else None for value in values]


def _called(name_of: NameOf, pid: int, start_ns: int, comm: str) -> Called:
    return name_of(pid, start_ns, comm) if pid else STRANGER


def _wall_ahead_ns() -> int:
    """By how much the wall clock is ahead of the kernel's CLOCK_MONOTONIC now."""
    best = None
    for _ in range(_READINGS):
        before = clock.monotonic_s()
        wall_ns = time.time_ns()
        took = clock.monotonic_s() - before
        if best is None or took < best[0]:
            best = took, wall_ns - round((before + took / 2) * 1e9)
    assert best is not None
    return best[1]


def _wish(wish: Wish) -> wire.EventWish:
    kinds = sum(1 << number for number, kind in KINDS.items() if kind in wish.kinds)
    found = wire.EventWish(slower_us=wish.slower_us, kinds=kinds, sample=wish.sample)
    if wish.peer is not None:
        address, mask = wish.peer
        found.peer[:], found.mask[:] = address, mask
    return found


@lru_cache(maxsize=4)
def _of_each(kind: type[c.Structure], number: int) -> type[c.Structure]:
    """A value of a map that has one for each CPU."""
    return type("Each", (c.Structure,), {"_fields_": (("each", kind * number),)})


@lru_cache(maxsize=4096)
def _text(comm: bytes) -> str:
    return comm.partition(b"\0")[0].decode(errors="replace")


@lru_cache(maxsize=8192)
def _address(family: int, raw: bytes) -> str | None:
    return None if family == socket.AF_UNIX else spelled(family, raw)


def _error(result: int) -> str | None:
    """None: it was not seen what the call returned."""
    return None if result == wire.RESULT_UNKNOWN else errno.errorcode.get(-result, str(-result))
