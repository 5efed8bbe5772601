"""What can be traced: it is attached when it is made, read again and again, and summed up."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar

from accepttrace import __version__
from accepttrace.config import Config, Filters
from accepttrace.facts.datagrams import UdpReading
from accepttrace.facts.reading import Reading, Use
from accepttrace.facts.records import Baseline
from accepttrace.facts.sight import Sight
from accepttrace.probe.tracer import Tracer as AttachedTracer

if TYPE_CHECKING:
    from accepttrace.facts.meta import Meta
    from accepttrace.model.datagrams import ReceiverSnapshot
    from accepttrace.model.snapshot import Snapshot
    from accepttrace.model.tracker import Tracker
    from accepttrace.views.screen.state import Wish

S = TypeVar("S", covariant=True)
Protocols = Literal["tcp", "udp", "unix"]
NOBODY: Final = Filters(ports=frozenset({1}))  # an unused port: nothing is counted during a reset


class Keeper(Protocol):
    """Who keeps what a run reads, so that its pictures can be made again."""

    @property
    def due(self) -> bool:
        """Whether to begin anew: counts too."""

    def begin(self, meta: Meta, sees: Sight, baseline: Baseline, began_s: float) -> None:
        """Nothing was read before."""

    def take(self, reading: Reading | UdpReading, use: Use) -> None:
        """It is about to be used so."""


def count_anew(tracer: AttachedTracer, filters: Filters) -> None:
    """All that was counted is forgotten; nothing is counted while it is."""
    tracer.filter(NOBODY)
    tracer.reset()
    tracer.filter(filters)


def utc_now() -> str:
    """The wall clock as RFC 3339 in UTC, to the millisecond."""
    return spelled(datetime.now(timezone.utc))


def spelled(moment: datetime) -> str:
    """As RFC 3339 in UTC, to the millisecond."""
    text = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Subject(Protocol[S]):
    """A run of any tracer: attached and proved, and detached at the end of a `with` block."""

    def __enter__(self) -> Subject[S]: ...

    def __exit__(self, *_: object) -> None: ...

    def refresh(self) -> S:
        """Read everything again."""

    def go_on(self) -> None:
        """The first reading is not shown: its interval goes on."""

    def drain(self) -> None:
        """Make room in the maps, during an interval."""

    def look(self, wish: Wish) -> S:
        """The last picture anew, as it is wished for from now on."""

    def threads(self) -> S | None:
        """The same picture by thread; None: there is no such thing."""

    def summary(self, again: bool = True) -> S:
        """The last reading, with the whole run as its interval; not `again`: nothing is read."""


def new_tracker(
    config: Config,
    begun: tuple[Meta, Filters, float | None, Sight],
    baseline: Baseline,
    window_s: float | None,
) -> Tracker:
    """A model of TCP that has seen nothing but the baseline. `begun`: as `Tracker` takes them."""
    from accepttrace.model.tracker import Tracker
    from accepttrace.model.yardstick import MEASURED

    tracker = Tracker(
        *begun,
        grains=MEASURED if config.live else (config.by,),
        window_s=window_s,
        windows=config.windows,
    )
    tracker.start(baseline)
    return tracker


def in_order(config: Config, snapshot: Snapshot) -> Snapshot:
    """As its rows are to be sorted."""
    if config.sort is None:
        return snapshot
    from accepttrace.views.columns.tcp import ordered

    return ordered(snapshot, config.sort)


def receivers_in_order(config: Config, snapshot: ReceiverSnapshot) -> ReceiverSnapshot:
    """The same of UDP."""
    if config.sort is None:
        return snapshot
    from accepttrace.views.columns.udp import ordered

    return ordered(snapshot, config.sort)


def meta_of(
    tracer: AttachedTracer,
    filters: Filters,
    protocol: Protocols = "tcp",
    names: Collection[str] = (),
) -> Meta:
    """What is traced, and how. `names`: of UNIX sockets."""
    from accepttrace.facts.meta import Meta

    began = datetime.now(timezone.utc) - timedelta(seconds=time.monotonic() - tracer.began_s)
    return Meta(
        version=__version__,
        kernel=f"{os.uname().release} {os.uname().machine}",
        attach=tracer.plan.attach,
        loader=tracer.loader,
        blind_spots=tracer.plan.blind_spots,
        started=spelled(began),
        filter=" ".join(filter(None, [*sorted(names), filters.describe()])),
        protocol=protocol,
    )
