"""What `who` reads of TCP: one picture, or one after the other."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from accepttrace.errors import AcceptTraceError
from accepttrace.model.who.tree import Answer, answer
from accepttrace.run.subject import utc_now
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.inventory import InventoryReader, held_by

if TYPE_CHECKING:
    from accepttrace.config import Filters
    from accepttrace.facts.records import Inventory
    from accepttrace.sockets.diag.tcp import AskFacts

LOOKS: Final = 3  # a busy worker shows what it waits in only when it is caught asleep
APART_S: Final = 0.05


class WhoReader:
    """Use as a context manager: leaving it frees what BPF was loaded."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._stack = ExitStack()
        ask_facts, self._blind = self._facts()
        self._reader = InventoryReader(filters, open_iterator(), ask_facts=ask_facts)
        self._stack.callback(self._reader.close)

    def __enter__(self) -> WhoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> Answer:
        """Everything now. AcceptTraceError if the kernel refuses to list sockets."""
        inventory = self._read(full=True)
        for _ in range(LOOKS - 1):
            if all(one.waits is not None for row in inventory.listeners for one in row.holders):
                break
            time.sleep(APART_S)
            inventory = self._read(full=False)
        around = self._reader.surroundings(inventory)
        return answer(inventory, around, self._blind, utc_now())

    def _read(self, full: bool) -> Inventory:
        return held_by(self._reader.read(full), self._filters)

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
