"""All that one refresh of TCP reads: a picture is made from it, and can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import Counts, CpuTime, Inventory, Passed, Process

Use = Literal["shown", "drained", "confirmed"]  # a picture, room in the maps, the books once more


@dataclass(frozen=True, slots=True)
class Reading:
    """`inventory` None: it was not read again, the last one stands. `processes` by pid: those alive
    now that accepted, or ever did, and are no holders. `passed`: who came and left, read again
    after the inventory; None: not read since `counts` were. `wall`: UTC in RFC 3339. `cpu` by pid:
    the processor time of acceptors and holders alive. `around`: whose children the holders of the
    inventory are; None: not read again, the last stands.
    """

    counts: Counts
    inventory: Inventory | None = None
    processes: Mapping[int, Process] = field(default_factory=dict)
    passed: Passed | None = None
    wall: str = ""
    cpu: Mapping[int, CpuTime] = field(default_factory=dict)
    around: Surroundings | None = None
