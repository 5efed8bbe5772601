"""What `who` reads of TCP and AF_UNIX: one picture, or one after the other."""

from __future__ import annotations

import time
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from accepttrace.errors import AcceptTraceError
from accepttrace.facts.records import Inventory, Listener, Unread
from accepttrace.model.who.diagnoses import closed
from accepttrace.model.who.serving import serving_at
from accepttrace.model.who.tree import Answer, answer
from accepttrace.run.subject import utc_now
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.inventory import InventoryReader, held_by

if TYPE_CHECKING:
    from accepttrace.config import Filters
    from accepttrace.facts.kin import Surroundings
    from accepttrace.model.who.diagnosis import Diagnosis
    from accepttrace.probe.plans import AttachType
    from accepttrace.sockets.diag.tcp import AskFacts
    from accepttrace.sockets.unixinventory import UnixReader

LOOKS: Final = 3  # a busy worker shows what it waits in only when it is caught asleep,
SURE: Final = 2  # and one that begins to wait between two parts of a look seems not to
APART_S: Final = 0.05
CLOSED: Final = 16  # that are said of a watch: the last


class Sought(NamedTuple):
    """Which families. `unix`: names of sockets, or of any (none); None: that is not asked.

    `watched`: for as long as the reader is there, it is seen who is handed a socket.
    """

    tcp: bool = True
    unix: frozenset[str] | None = None
    watched: bool = False


class WhoReader:
    """Use as a context manager: leaving it frees what BPF was loaded."""

    def __init__(self, filters: Filters, sought: Sought = Sought()) -> None:  # noqa: B008
        self._filters = filters
        self._stack = ExitStack()
        self._blind = ""
        self._watched: tuple[AttachType, ...] = ("fentry", "kprobe") if sought.watched else ()
        self._last: Answer | None = None
        self._there: frozenset[int] = frozenset()  # inodes of all, whoever holds them
        self._closed: deque[Diagnosis] = deque(maxlen=CLOSED)
        self._tcp = self._open_tcp() if sought.tcp else None
        self._unix = None if sought.unix is None else self._open_unix(sought.unix)

    def __enter__(self) -> WhoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> Answer:
        """Everything now. AcceptTraceError if the kernel refuses to list sockets."""
        inventory = self._read(full=True)
        for looks in range(1, LOOKS):
            rows = [[one.waits for one in row.holders] for row in inventory.listeners]
            doubtful = looks < SURE and any(waits and not any(waits) for waits in rows)
            if not doubtful and not any(None in waits for waits in rows):
                break
            time.sleep(APART_S)
            inventory = self._read(full=False)
        found = answer(inventory, self._around(inventory), self._blind, utc_now())
        self._note_closed(found)
        return replace(found, closed=tuple(self._closed))

    def _note_closed(self, now: Answer) -> None:
        """Not those that merely the holders asked for have let go of."""
        before, self._last = self._last, now
        for row in before.inventory.listeners if before else ():
            if before and row.inode not in self._there:
                others = sum(_place(one) == _place(row) for one in now.inventory.listeners)
                self._closed.append(closed(row, before.time, now.time, others))

    def _open_tcp(self) -> InventoryReader:
        ask_facts, self._blind = self._facts()
        reader = InventoryReader(self._filters, ask_facts=ask_facts)
        self._stack.callback(reader.close)
        if not self._filters.ports:
            reader.find_ports()
        reader.use(open_iterator("tcp", self._watched))
        return reader

    def _open_unix(self, names: frozenset[str]) -> UnixReader:
        from accepttrace.sockets.unixinventory import UnixReader

        reader = UnixReader(self._filters, names, open_iterator("unix", self._watched))
        self._stack.callback(reader.close)
        return reader

    def _around(self, inventory: Inventory) -> Surroundings:
        reader = self._tcp or self._unix
        assert reader is not None
        return reader.surroundings(inventory)

    def _read(self, full: bool) -> Inventory:
        found = self._tcp.read(full) if self._tcp else Inventory()
        if self._unix:
            unix = self._read_unix(self._unix, full)
            unread = {(one.pid or one.name): one for one in (*found.unread, *unix.unread)}
            rows = (*found.listeners, *unix.listeners)
            found = replace(found, listeners=rows, unread=tuple(unread.values()), unix=())
        self._there = frozenset(row.inode for row in found.listeners)
        return _of_kept(held_by(found, self._filters))

    def _read_unix(self, reader: UnixReader, full: bool) -> Inventory:
        try:
            return reader.read(full)
        except AcceptTraceError as error:
            if self._tcp is None:
                raise
            return Inventory(unread=(Unread("UNIX sockets", error.message),))

    def _facts(self) -> tuple[AskFacts | None, str]:
        """What reads by BPF what no system call shows; None, and why it may not be used."""
        from accepttrace.probe.listing import ListenerIterator

        try:
            iterator = ListenerIterator()
        except AcceptTraceError as error:
            return None, error.message
        except OSError as error:
            return None, error.strerror or str(error)
        self._stack.callback(iterator.close)
        return iterator.read, ""


def _of_kept(inventory: Inventory) -> Inventory:
    """Of those who only serve, just those at the ports of its listeners."""
    return replace(inventory, serving=serving_at(inventory.listeners, inventory))


def _place(row: Listener) -> tuple[object, ...]:
    return (row.netns, row.family, row.local_address, row.local_port, row.device)
