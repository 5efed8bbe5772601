"""What a way of tracing sees at all: what it does not see is n/a, never 0."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, cast

Fact = Literal[
    "accepts",
    "waits",
    "empty",
    "errors",
    "refused",
    "selected",
    "overflow",
    "arrived",
    "closed",
    "migrated",
    "unseen",
    "datagrams",
    "dropped",
    "read",
]


@dataclass(frozen=True, slots=True)
class Sight:
    """Which facts an attach type sees at a level of detail."""

    accepts: bool = False
    waits: bool = False
    empty: bool = False  # EAGAIN, and wake-ups for nothing
    errors: bool = False
    refused: bool = False  # EMFILE, ENFILE
    selected: bool = False
    overflow: bool = False
    arrived: bool = False
    closed: bool = False  # what was lost with a queue that closed
    migrated: bool = False
    unseen: bool = False  # accepts by threads that it cannot see
    datagrams: bool = False  # UDP: what came to the queues
    dropped: bool = False  # UDP: what they did not take
    read: bool = False  # UDP: which process took what out of them
    counted: tuple[str, ...] = ()  # plain counters of listeners, see `ListenerCount.counted`

    @classmethod
    def of(cls, *facts: Fact) -> Sight:
        """These, and no others."""
        seen: dict[str, Any] = dict.fromkeys(facts, True)
        return cls(**seen)

    @property
    def facts(self) -> frozenset[Fact]:
        """Those that are seen, by name."""
        names = (field.name for field in fields(self))
        return frozenset(cast("Fact", name) for name in names if getattr(self, name) is True)
