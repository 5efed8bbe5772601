"""Who is who: processes by pid and start, so that a reused pid inherits nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from accepttrace.facts.records import NS_PER_TICK, AcceptorCount, Holder, Inventory, Process

ProcessKey = tuple[int, int]  # pid, start in clock ticks since boot (0: unknown)


class Census:
    """Every process seen since the start; the dead keep their names."""

    def __init__(self) -> None:
        self._known: dict[ProcessKey, Process] = {}
        self._by_pid: dict[int, list[int]] = {}
        self._holders: dict[ProcessKey, Holder] = {}  # as they were found last
        self._others: set[ProcessKey] = set()

    def update(
        self,
        acceptors: Iterable[AcceptorCount],
        inventory: Inventory | None,
        processes: Mapping[int, Process],
    ) -> None:
        """Learn names and who is alive. Without a new inventory the last one stands."""
        for acceptor in acceptors:
            self._meet_acceptor(acceptor)
        if inventory is not None:
            holders = {
                (holder.pid, holder.start_ticks): holder
                for listener in inventory.listeners
                for holder in listener.holders
            }
            before, self._holders = self._holders, {}
            for key, holder in holders.items():
                same = before.get(key) is holder
                self._holders[key if same else self._meet(_described(holder))] = holder
        self._others = {self._meet(process) for process in processes.values()}

    def keep(self, processes: Collection[ProcessKey]) -> None:
        """Forget those that are neither alive nor among these."""
        wanted = {*self._holders, *self._others, *processes}
        for pid, start in self._known.keys() - wanted:
            del self._known[pid, start]
            self._by_pid[pid].remove(start)
            if not self._by_pid[pid]:
                del self._by_pid[pid]

    def key_of(self, acceptor: AcceptorCount) -> ProcessKey:
        """The process of a thread, by its own start or as the newest that is not younger."""
        start = _process_start(acceptor)
        if start:
            return acceptor.pid, start
        thread = acceptor.start_ns // NS_PER_TICK
        starts = self._by_pid.get(acceptor.pid, [])
        return acceptor.pid, max((s for s in starts if s <= thread or not thread), default=0)

    def alive(self, key: ProcessKey) -> bool:
        """Whether it was there when last looked for."""
        return key in self._holders or key in self._others

    @property
    def holders(self) -> set[int]:
        """Pids of those who held a listener when last looked for."""
        return {pid for pid, _ in self._holders}

    def process(self, key: ProcessKey) -> Process:
        """What is known of it: at least the pid."""
        return self._known.get(key) or Process(pid=key[0], start_ticks=key[1])

    def _meet_acceptor(self, acceptor: AcceptorCount) -> None:
        start = _process_start(acceptor)
        if start and (acceptor.pid, start) not in self._known:
            # Only the name of a thread: good enough until /proc is read, if it ever can be.
            self._meet(Process(acceptor.pid, start, acceptor.comm, acceptor.comm))

    def _meet(self, process: Process) -> ProcessKey:
        starts = self._by_pid.setdefault(process.pid, [])
        start = process.start_ticks or max(starts, default=0)
        if start not in starts:
            starts.append(start)
        key = (process.pid, start)
        self._known[key] = process
        return key


def _described(holder: Holder) -> Process:
    """A holder as a process."""
    return Process(
        pid=holder.pid,
        start_ticks=holder.start_ticks,
        comm=holder.comm,
        name=holder.name,
        cgroup=holder.cgroup,
        container=holder.container,
        ns_pid=holder.ns_pid,
        pod=holder.pod,
    )


def _process_start(acceptor: AcceptorCount) -> int:
    """In ticks; 0 if the counters do not show it."""
    if acceptor.process_start_ns:
        return acceptor.process_start_ns // NS_PER_TICK
    return acceptor.start_ns // NS_PER_TICK if acceptor.tid == acceptor.pid else 0
