"""Where a process belongs, by its control group."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

POD: Final = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")
UNIT: Final = re.compile(r"([^/]+\.(?:service|scope|socket))(?:/|$)")
CONTAINER: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@lru_cache(maxsize=4096)
def unit_of(cgroup: str | None) -> str | None:
    """The innermost unit of systemd in the path of a control group; None: in none.

    The scope that is a container's own, named after its number, is left out.
    """
    found = [unit for unit in UNIT.findall(cgroup or "") if not CONTAINER.search(unit)]
    return found[-1] if found else None


def pod_of(cgroup: str | None) -> str | None:
    """The uid of the Kubernetes pod that the path of a control group names; None: of none."""
    found = POD.findall(cgroup or "")
    return found[-1].replace("_", "-") if found else None
