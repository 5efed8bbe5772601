"""accepttrace from Python: a run as a context manager, a recording as an iterator.

    from accepttrace import read_recording, trace

Documented, with examples, in docs/library.md. What these return is immutable: `Snapshot` and its
rows (`accepttrace.model.snapshot`), whose fields have the names and units of the JSON.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from accepttrace.config import Attach, By, Config, Detail, Filters, Loader

if TYPE_CHECKING:
    from accepttrace.facts.connections import Account, ConnectionEvent
    from accepttrace.model.snapshot import Snapshot
    from accepttrace.run.eventsource import EventSource
    from accepttrace.run.replay import ReplaySubject
    from accepttrace.run.tcp import TcpSubject

__all__ = ["Run", "read_recording", "trace"]
_READ_S: Final = 0.05  # between two looks for events


class Run:
    """Attached and proved inside a `with` block, detached when it is left.

    Entering it raises UnsupportedError (`accepttrace.errors`) where this kernel, or these
    privileges, cannot trace; another AcceptTraceError where attaching failed.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._subject: TcpSubject | None = None

    def __enter__(self) -> Run:
        if self._config.events:
            from accepttrace.run.eventsource import TcpWithEvents

            self._subject = TcpWithEvents(self._config)
        else:
            from accepttrace.run.tcp import TcpSubject

            self._subject = TcpSubject(self._config)
        self._subject.refresh()  # intervals begin now
        return self

    def __exit__(self, *_: object) -> None:
        if self._subject is not None:
            self._subject.__exit__()
            self._subject = None

    def read(self) -> Snapshot:
        """Everything as it is now; its interval began with the last call, or with the block."""
        return self._attached.refresh()

    def summary(self) -> Snapshot:
        """Everything as it is now, with the whole run as its interval."""
        self._attached.refresh()
        return self._attached.summary()

    def snapshots(self, interval_s: float = 1.0, count: int | None = None) -> Iterator[Snapshot]:
        """One every `interval_s` seconds, `count` of them; None: without an end."""
        due = time.monotonic()
        while count is None or count > 0:
            due += interval_s
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, 1.0))
                self._attached.drain()
            yield self.read()
            count = None if count is None else count - 1

    def events(self, duration_s: float | None = None) -> Iterator[ConnectionEvent]:
        """Each connection that came since the start and was not read yet, then each as it comes.

        It ends after `duration_s`, once all are read that came until then; None: without an end.
        The kernel keeps some 65,000 for who reads late; `account` says how many were lost.
        """
        end_s = math.inf if duration_s is None else time.monotonic() + duration_s
        over = False
        while not over:
            over = time.monotonic() >= end_s
            for events in self._source.batches():
                yield from events
            self._attached.drain()
            select.select([self._source], (), (), max(min(end_s - time.monotonic(), _READ_S), 0.0))

    def account(self) -> Account:
        """What became of all events so far: written, left out, lost."""
        return self._source.account()

    @property
    def _source(self) -> EventSource:
        found: EventSource | None = getattr(self._attached, "events", None)
        if found is None:
            raise RuntimeError("events are read of a run with events=True")
        return found

    @property
    def _attached(self) -> TcpSubject:
        if self._subject is None:
            raise RuntimeError("nothing is attached outside of the `with` block")
        return self._subject


def trace(
    ports: int | Iterable[int] = (),
    *,
    by: By = "worker",
    pids: Iterable[int] = (),
    netns: Iterable[int] = (),
    window_s: float | None = None,
    attach: Attach = "auto",
    loader: Loader = "auto",
    detail: Detail = "full",
    patterns: bool = False,
    events: bool = False,
) -> Run:
    """A run over the listeners of these ports, all of them if there are none.

    `by`: what a row is. `pids`, `netns` (inode numbers): only these processes, network namespaces.
    `window_s`: how far back `recent_…` and verdicts reach; None: to the start. `attach`, `loader`,
    `detail`, `patterns`: as the options of `accepttrace top`. `events`: `Run.events()` may be used.
    """
    chosen = frozenset((ports,) if isinstance(ports, int) else ports)
    filters = Filters(ports=chosen, pids=frozenset(pids), netns=frozenset(netns))
    return Run(
        Config(
            filters=filters,
            by=by,
            window_s=window_s,
            attach=attach,
            loader=loader,
            detail=detail,
            patterns=patterns,
            events=events,
        )
    )


class Replayed:
    """What `accepttrace record` wrote: an iterator over its snapshots, then a summary.

    `why`: why it ends before its end, once it was read as far; None: it is whole.
    """

    def __init__(self, path: str | Path, by: By) -> None:
        from accepttrace.run.replay import Recording, whole

        self._recording = Recording(Path(path))
        self._subject: ReplaySubject[Snapshot] = whole(self._recording, by)

    def __iter__(self) -> Iterator[Snapshot]:
        return self._subject.pictures()

    def events(self) -> Iterator[ConnectionEvent]:
        """Each connection, in the order in which they were read; UsageError if it has none.

        `accepttrace record --events` keeps them. They are read apart from the snapshots.
        """
        from accepttrace.facts.connections import KINDS, Wish
        from accepttrace.run.eventreplay import Recorded

        for events in Recorded(self._recording, Filters(), Wish(KINDS)).batches():
            yield from events

    def summary(self) -> Snapshot:
        """The whole run, as far as it was iterated over."""
        return self._subject.summary()

    @property
    def why(self) -> str | None:
        """As the class says."""
        return self._recording.why


def read_recording(path: str | Path, *, by: By = "worker") -> Replayed:
    """A recording; UsageError (`accepttrace.errors`) if it is none. It needs msgspec."""
    return Replayed(path, by)
