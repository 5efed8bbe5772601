"""What this machine offers: what `doctor` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "missing", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the machine. `advice` is empty where nothing needs doing."""

    name: str
    state: State
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """An attach type with a loader. `reason` tells why it does not work; None: it was proved."""

    attach: str
    loader: str
    reason: str | None
    advice: str
    sees: tuple[str, ...]
    blind_spots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything `doctor` found; `chosen` is the way `--attach auto` would take."""

    findings: tuple[Finding, ...]
    ways: tuple[Way, ...]

    @property
    def chosen(self) -> Way | None:
        """The first way that was proved."""
        return next((way for way in self.ways if way.reason is None), None)
