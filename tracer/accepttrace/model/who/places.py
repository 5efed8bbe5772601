"""Where a process belongs, by its control group."""

from __future__ import annotations

import re
from typing import Final

UNIT: Final = re.compile(r"([^/]+\.(?:service|scope|socket))(?:/|$)")


def unit_of(cgroup: str | None) -> str | None:
    """The innermost unit of systemd in the path of a control group; None: in none."""
    found = UNIT.findall(cgroup or "")
    return found[-1] if found else None
