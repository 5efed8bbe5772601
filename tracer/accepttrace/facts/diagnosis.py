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
    """An attach type with a loader. `reason` says why it does not work; None: it was proved.

    `detail` is what the loader, the compiler and the verifier said of that.
    """

    attach: str
    loader: str
    reason: str | None
    advice: str
    sees: tuple[str, ...]
    blind_spots: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything `doctor` found; the ways of the default loader come first."""

    findings: tuple[Finding, ...]
    ways: tuple[Way, ...]

    @property
    def chosen(self) -> Way | None:
        """The way that `--attach auto --loader auto` takes; None where it fails."""
        loader = self.ways[0].loader
        return next((w for w in self.ways if w.reason is None and w.loader == loader), None)
