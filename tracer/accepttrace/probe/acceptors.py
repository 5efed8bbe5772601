"""The rows of acceptors in the maps: read, and deleted once their threads have ended."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Final, NamedTuple

from accepttrace.facts.records import Locality
from accepttrace.probe import pidns, wire
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import MANY, Map
from accepttrace.probe.shares import Shares

Identity = tuple[int, int, int]  # listener inode, TID (0: a crew), start

_ACCEPTS: Final = (wire.Acceptor.accepts.offset, "Q")
_INODE: Final = (wire.Acceptor.who.offset + wire.AcceptorKey.inode.offset, "I")


class _Seen(NamedTuple):
    """What is needed to delete a row: of ten thousand, all would be 20 MB."""

    start_ns: int
    inode: int
    tid: int  # as the key has it, with CREW
    thread: int  # PID << 32 | TID, as they are seen from here
    process_start_ns: int
    owner: int

    @classmethod
    def of(cls, row: wire.Acceptor) -> _Seen:
        who = row.who
        thread = row.pid << 32 | row.tid
        return cls(who.start_ns, who.inode, who.tid, thread, row.process_start_ns, row.owner)

    @property
    def pid(self) -> int:
        """As it is seen from here."""
        return self.thread >> 32


class AcceptorRows:
    """Threads with a slot and without, crews, and what belongs to them."""

    def __init__(self, loaded: loaders.Attached, shares: Shares) -> None:
        fd = loaded.map_fd
        self._shares = shares
        self._looks_at_cpus = loaded.plan.locality
        self._slots = Map(fd("slots"), wire.U32, wire.Acceptor)
        self._slot_owners = Map(fd("slot_owners"), wire.U32, wire.AcceptorKey)
        self._acceptors = Map(fd("acceptors"), wire.AcceptorKey, wire.Acceptor)
        self._crews = Map(fd("crews"), wire.AcceptorKey, wire.U32)
        self._errors = Map(fd("errors"), wire.ErrorKey, wire.Tally)
        self._calls = Map(fd("calls"), wire.U64, wire.Call)
        self._localities = Map(fd("localities"), wire.AcceptorKey, wire.Locality)
        self._seen_from = pidns.seen_from()
        self._last: dict[Identity, _Seen] = {}
        self._slot_of: dict[bytes, wire.U32] = {}  # by key, as last read; only we free a slot

    def read(self) -> dict[Identity, wire.Acceptor]:
        """Of all acceptors."""
        found = [*self._in_slots(), *(row for _, row in self._acceptors.items())]
        rows = {identity(who): row for row in found if (who := row.who).tid}
        self._last = {shown(row): _Seen.of(row) for row in rows.values()}
        return rows

    def accepts(self) -> dict[int, int]:
        """By inode of the listener, and nothing else: read quickly."""
        found: defaultdict[int, int] = defaultdict(int)
        parts = [self._acceptors.columns(_ACCEPTS, _INODE)]
        if len(self._slot_of) < MANY:
            for row in self._in_slots():
                found[row.who.inode] += row.accepts
        else:  # slots without an owner are empty
            parts.append(self._slots.columns(_ACCEPTS, _INODE))
        for accepts, inodes in chain.from_iterable(parts):
            for number, inode in zip(accepts, inodes, strict=True):
                found[inode] += number
        return found

    def read_ended(self, rows: Iterable[wire.Acceptor]) -> list[wire.Acceptor]:
        """Of those of `rows` whose thread is gone, once more: from now on nobody changes them.

        A thread whose number was given to another counts as alive, and those without a PID here.
        """
        there = {0: True}
        again = []
        for row in rows:
            task = row.pid if row.who.tid & wire.CREW else row.tid
            if task not in there:
                there[task] = _exists(task)
            if not there[task]:
                again.append(self._one(row.who) or row)
        return again

    def errors(self) -> dict[Identity, dict[int, int]]:
        """Failures other than EAGAIN by errno, of each acceptor by its key."""
        found: dict[Identity, dict[int, int]] = {}
        for key, tally in self._errors.items():
            found.setdefault(identity(key.acceptor), {})[key.error] = tally.count
        return found

    def localities(self) -> dict[Identity, Locality]:
        """Of each acceptor, by its key, whose CPUs were looked at."""
        rows = self._localities.items()
        return {identity(key): Locality(row.local, row.accepts) for key, row in rows}

    def calls(self) -> list[wire.Call]:
        """The accept() that each thread is in, or was in last."""
        return [call for _, call in self._calls.items()]

    def inodes(self) -> Mapping[Identity, int]:
        """Of the listeners of all acceptors that were read last."""
        return {key: key[0] for key in self._last}

    def delete(self, keys: Collection[Identity]) -> None:
        """The rows of these, and all that belongs to them."""
        gone = {key: row for key in keys if (row := self._last.pop(key, None)) is not None}
        if not gone:
            return
        theirs = [wire.AcceptorKey(*row[:3]) for row in gone.values()]
        self._leave_slots(theirs)
        if self._looks_at_cpus:
            self._localities.delete_all(theirs)
        self._delete_calls({row.thread for row in gone.values()})
        self._delete_errors({identity(key) for key in theirs})
        self._count_crews()
        self._shares.free(wire.SHARED_ACCEPTORS, Counter(row.owner for row in gone.values()))

    def clear(self) -> None:
        """Delete everything."""
        for slot, _ in self._slot_owners.items():
            self._slots.put(slot, wire.Acceptor())
        for each in (self._slot_owners, self._acceptors, self._crews, self._errors, self._calls):
            each.clear()
        self._localities.clear()
        self._last = {}

    def _in_slots(self) -> list[wire.Acceptor]:
        self._slot_of = {bytes(key): slot for slot, key in self._slot_owners.items()}
        return self._slots.elements(list(self._slot_of.values()))

    def _one(self, key: wire.AcceptorKey) -> wire.Acceptor | None:
        slot = self._slot_of.get(bytes(key))
        return self._acceptors.get(key) if slot is None else self._slots.get(slot)

    def _leave_slots(self, keys: Iterable[wire.AcceptorKey]) -> None:
        """The slot is free for others only once its row is empty."""
        others, left = [], []
        for key in keys:
            slot = self._slot_of.get(bytes(key))
            if slot is None:
                others.append(key)
            else:
                self._slots.put(slot, wire.Acceptor())
                left.append(slot)
        self._slot_owners.delete_all(left)
        self._acceptors.delete_all(others)

    def _delete_calls(self, threads: Collection[int]) -> None:
        if self._seen_from:  # there the keys are others
            found = [key for key, call in self._calls.items() if call.thread in threads]
            self._calls.delete_all(found)
        else:
            self._calls.delete_all([wire.U64(thread) for thread in threads])

    def _delete_errors(self, gone: Collection[Identity]) -> None:
        found = [(k, v) for k, v in self._errors.items() if identity(k.acceptor) in gone]
        if found:
            self._errors.delete_all([key for key, _ in found])
            self._shares.free(wire.SHARED_ERRORS, Counter(tally.owner for _, tally in found))

    def _count_crews(self) -> None:
        """How many of each crew have rows of their own still; the kernel adds to it meanwhile."""
        rows = Counter(
            (row.inode, row.pid, row.process_start_ns)
            for row in self._last.values()
            if not row.tid & wire.CREW
        )
        for key, _ in self._crews.items():
            left = rows[key.inode, key.tid & ~wire.CREW, key.start_ns]
            if left:
                self._crews.put(key, wire.U32(left))
            else:
                self._crews.delete(key)


def identity(key: wire.AcceptorKey) -> Identity:
    """By what the kernel side knows it: TIDs of the initial PID namespace."""
    return key.inode, 0 if key.tid & wire.CREW else key.tid, key.start_ns


def shown(row: wire.Acceptor) -> Identity:
    """By what the model knows it: TIDs as they are seen from here."""
    who = row.who
    return who.inode, 0 if who.tid & wire.CREW else row.tid, who.start_ns


def _exists(tid: int) -> bool:
    """Whether there is such a thread; /proc may hide it, a signal of no kind finds it."""
    try:
        os.kill(tid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
