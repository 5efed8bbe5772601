"""What a run is of, and how it was traced: what its first line of JSON says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Meta:
    """What was traced, how, and what this way cannot see."""

    version: str
    kernel: str
    attach: str
    loader: str
    blind_spots: tuple[str, ...]
    started: str  # UTC, RFC 3339
    filter: str  # for people, as `Filters.describe` says it; empty: everything
    protocol: Literal["tcp", "udp", "unix"] = "tcp"

    @property
    def asked(self) -> str:
        """What was asked for, in words."""
        if self.protocol == "udp":
            return f"UDP {self.filter}" if self.filter else "every UDP socket"
        if self.protocol == "unix":
            return f"UNIX {self.filter}" if self.filter else "every UNIX listener"
        return self.filter or "every listener"
