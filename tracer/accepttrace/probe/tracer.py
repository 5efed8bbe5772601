"""What every attached tracer has: filters, and the account of what it lost itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeVar

from accepttrace.config import Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.records import Losses
from accepttrace.facts.sight import Fact
from accepttrace.probe import clock, preemption, selftest, wire
from accepttrace.probe.filtering import settings_of
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map
from accepttrace.probe.shares import Shares, name_of

T = TypeVar("T", bound="Tracer")


class Tracer(ABC):
    """Attached programs. Use as a context manager; leaving it detaches."""

    def __init__(self, loaded: loaders.Attached) -> None:
        self._loaded = loaded
        self.plan = loaded.plan
        self.loader = loaded.loader
        self.began_s = 0.0  # when the filters were set last, the kernel's CLOCK_MONOTONIC
        self._skipped: dict[str, int] = {}
        if self.plan.needs_kprobes and preemption.preempts() is not False:
            Map.never_preempted = True
        self._settings = Map(loaded.map_fd("settings"), wire.U32, wire.Settings)
        self._pids = Map(loaded.map_fd("pids"), wire.U32, wire.U8)
        self._shares = Shares(loaded)
        self._losses = Map(loaded.map_fd("losses"), wire.U32, wire.U64)

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Detach. May be called twice."""
        self._loaded.close()

    def filter(self, filters: Filters) -> None:
        """From now on count what these let through (ports, PIDs, netns, family).

        UsageError where they are more than the kernel side has room for.
        """
        settings = self._settings_for(filters)
        self.began_s = clock.monotonic_s()
        settings.began_us = round(self.began_s * 1e6)
        self._pids.clear()
        for pid in filters.pids:
            self._pids.put(wire.U32(pid), wire.U8(1))
        self._settings.put(wire.U32(0), settings)

    def _settings_for(self, filters: Filters) -> wire.Settings:
        return settings_of(filters)

    def prove(self) -> None:
        """Require that traffic of our own is seen; `UnsupportedError` names a silent hook.

        What fails is tried again, with more time: neither a busy machine nor a stranger who sends
        to us proves that a hook is silent.
        """
        for limit_s in selftest.LIMITS_S:
            try:
                return self._prove(limit_s)
            except UnsupportedError:
                if limit_s == selftest.LIMITS_S[-1]:
                    raise
                self.reset()
        return None

    @abstractmethod
    def _prove(self, limit_s: float) -> None:
        """One try of `prove`."""

    def _require(self, wrong: Mapping[Fact, selftest.Fault]) -> None:
        """Raise `UnsupportedError` where a fact (`wrong`: which, and in what way) is not right."""
        for hook in self._loaded.hooks:
            if hook.proves in wrong:
                fault = wrong[hook.proves]
                how = "is silent" if fault.silent else "counts wrong"
                message = f"{hook.program} attached to {hook.site} but {how}: {fault.story}"
                raise UnsupportedError(message, silent=fault.silent)
        for fault in wrong.values():
            raise UnsupportedError(f"the {self.plan.attach} hooks attached but: {fault.story}")

    def skipped(self) -> dict[str, int] | None:
        """By program, hits since the last `reset` that the kernel's recursion guard dropped.

        None where this kernel does not count them (loaders.recursion_misses).
        """
        misses = self._loaded.recursion_misses()
        if misses is None:
            return None
        return {name: count - self._skipped.get(name, 0) for name, count in misses.items()}

    def costs(self) -> Mapping[str, loaders.Cost]:
        """By program, what its runs took; of those that the kernel has measured."""
        return self._loaded.costs()

    def reset(self) -> None:
        """Forget everything counted so far."""
        self._skipped = self._loaded.recursion_misses() or {}
        for index in range(wire.LOSS_MAX):
            self._losses.put(wire.U32(index), wire.U64(0))

    def crowded(self) -> bool:
        """Whether so many rows are taken that those of the dead should go now."""
        return self._shares.crowded()

    def losses(self) -> Losses:
        """What was not counted since the last `reset`."""
        found = [self._losses.get(wire.U32(index)) for index in range(wire.LOSS_MAX)]
        counts = [0 if count is None else int(count.value) for count in found]
        rowless, full = counts.pop(wire.LOSS_ROWLESS), counts[wire.LOSS_LISTENERS_FULL]
        unattributed = counts.pop(wire.LOSS_UNATTRIBUTED)
        refused = self._shares.refused()
        skipped = self.skipped()
        return Losses(
            events_lost=0,
            map_full=sum(counts),  # every other loss is a map without room
            probe_misses=self._loaded.probe_misses(),
            recursion_misses=None if skipped is None else sum(skipped.values()),
            unattributed=unattributed,
            over_share=sum(refused.values()),
            over_whose=tuple(map(name_of, sorted(refused))),
            rowless=bool(rowless or full),
        )
