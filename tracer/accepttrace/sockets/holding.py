"""One picture of all processes: from the kernel where BPF may be used, else from /proc."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import TYPE_CHECKING, Final, TypeVar

from accepttrace.config import Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.records import Holder, LocalPort, Opened, Process, Serving, Unread
from accepttrace.probe import pidns
from accepttrace.sockets.fromproc import FULL_EVERY_S, ProcSource
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.namespaces import Namespaces, ask_all
from accepttrace.sockets.opened import OpenedByProc
from accepttrace.sockets.processes import Processes
from accepttrace.sockets.serving import ServingReader

if TYPE_CHECKING:  # not needed until the tracer is ready
    from accepttrace.probe.holders import HolderIterator, Protocol
    from accepttrace.probe.plans import AttachType
    from accepttrace.sockets.diag.tcp import Look
    from accepttrace.sockets.fromkernel import KernelSource

T = TypeVar("T")

SLICE_S: Final = 0.25  # of a pass, in one refresh; a longer one is continued in the next
FULL_S: Final = 5.0  # for a pass over all open files, where that is all there is to do
EVERYWHERE_S: Final = 30.0  # namespaces where no process holds a socket asked for are asked, too


def open_iterator(
    protocol: Protocol = "tcp", watched: Collection[AttachType] = ()
) -> HolderIterator | None:
    """The kernel's own list of open files, see there; None where it may not be used."""
    from accepttrace.probe.holders import HolderIterator

    try:
        return HolderIterator(protocol, watched)
    except (UnsupportedError, OSError):
        return None


class Holding:
    """Namespaces, holders and who waits: `begin` a look, ask for sockets, then `finish` it."""

    def __init__(
        self,
        filters: Filters,
        iterator: HolderIterator | None,
        full_every_s: float = FULL_EVERY_S,
    ) -> None:
        self._filters = filters
        self._helper = Helper()
        self._kernel: KernelSource | None = None
        self._proc = ProcSource(self._helper, full_every_s)
        self._processes = Processes(self._proc, self._helper)
        self._opened = OpenedByProc(self._helper)
        self._serving = ServingReader(self._helper)
        self.use(iterator)
        self._namespaces = Namespaces()
        self._sees_all = pidns.is_initial()
        self.closed: tuple[Unread, ...] = ()  # namespaces that may not be entered
        self._everywhere_s = -math.inf

    def use(self, iterator: HolderIterator | None, sparing: bool = False) -> None:
        """Have the kernel list open files, if it does; to be said before any look is finished.

        `sparing`: see KernelSource.
        """
        if iterator is not None:
            from accepttrace.sockets.fromkernel import KernelSource

            self._kernel = KernelSource(iterator, self._filters.ports, self._helper, sparing)
            self._processes = Processes(self._kernel, self._helper)

    def begin(self, full: bool, open_ports: frozenset[int] = frozenset()) -> None:
        """Find the namespaces, and have the kernel list open files.

        Connections of `open_ports` are counted by who holds them.
        """
        threads = None
        if self._kernel is not None:
            self._kernel.pass_over(full, FULL_S if full else SLICE_S, open_ports)
            threads = self._kernel.threads
        self._namespaces.refresh(full, threads or {})

    def ask(
        self,
        question: Callable[[int, str | None], T],
        everywhere: bool,
        also: Collection[int] = (),
    ) -> list[tuple[int, T]]:
        """The answer to a question in each namespace, as pairs (netns, answer).

        Not everywhere: where the kernel says that sockets asked for are, and in these, too.
        """
        found, self.closed = ask_all(self._to_ask(everywhere, also), self._filters.netns, question)
        return found

    @property
    def opened(self) -> Opened | None:
        """Who holds how many connections, as of the last time that was read."""
        return self._kernel.opened if self._kernel else self._opened.last

    @property
    def lists_connections(self) -> bool:
        """Whether `count_connections` wants them listed in each namespace."""
        return self._kernel is None and self._opened.due

    def count_connections(
        self, ports: frozenset[int], looks: Iterable[tuple[int, Look]], took_s: float
    ) -> None:
        """Find who holds those that were listed, which took so long."""
        self._opened.read(ports, looks, self._proc.found, took_s)

    def serving(self, holders: Mapping[LocalPort, Set[int]]) -> tuple[Serving, ...]:
        """Who holds connections without a listener; see `ServingReader`. /proc is not searched."""
        return self._serving.read(self._kernel.opened, holders) if self._kernel else ()

    def finish(self, inodes: Collection[int], full: bool) -> None:
        """Bring up to date who holds these sockets."""
        self._processes.refresh(inodes, full)

    @property
    def namespaces(self) -> Set[int]:
        """By inode number, those that are there."""
        return self._namespaces.paths.keys()

    @property
    def everywhere(self) -> bool:
        """Whether every namespace was found and asked."""
        return not (self.closed or self._namespaces.unread)

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What could not be looked at, each once: holders and listeners may be missing."""
        found = (*self.closed, *self._namespaces.unread, *self._processes.unread)
        if self._kernel is None and self._opened.last is not None:
            found += (
                Unread(
                    "connections of those that hold no listener",
                    "not searched for in /proc",
                    holders=False,
                ),
            )
        if not self._sees_all:
            found += (Unread("processes outside of this PID namespace", "they have no PID in it"),)
        return tuple({(each.pid or each.name): each for each in found}.values())

    def holders(self, inode: int) -> tuple[Holder, ...]:
        """Everybody who holds a socket, by PID."""
        return self._processes.holders(inode)

    def process(self, pid: int) -> Process | None:
        """Any process by its PID, holder or not; None if it is gone."""
        return self._processes.process(pid)

    @property
    def own(self) -> int:
        """The namespace that we are in ourselves."""
        return self._namespaces.own

    def path(self, netns: int) -> str | None:
        """By which a namespace can be entered; None: we are in it. OSError if it is gone."""
        return self._namespaces.path(netns)

    def close(self) -> None:
        """End what reads for us. May be called twice."""
        self._helper.close()

    def _to_ask(self, everywhere: bool, also: Collection[int]) -> Mapping[int, Collection[str]]:
        """At times, and where the kernel does not say where sockets are, everywhere."""
        paths, now = self._namespaces.paths, time.monotonic()
        if self._kernel is None or everywhere or now - self._everywhere_s > EVERYWHERE_S:
            self._everywhere_s = now
            return paths
        here = {*self._kernel.netns_of_sockets, *also, self._namespaces.own}
        return {number: found for number, found in paths.items() if number in here}
