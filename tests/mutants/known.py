"""The changes that no test can notice, or need not, as known.txt lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("tracer/accepttrace")
KNOWN = Path(__file__).with_name("known.txt")


@dataclass(frozen=True)
class Known:
    """A line of known.txt."""

    file: str
    before: str
    after: str
    reason: str

    def is_of(self, file: Path, before: str, after: str) -> bool:
        """Whether it is about this change."""
        return (
            PACKAGE / self.file == file
            and self.before == before
            and (self.after == "*" or self.after in after)
        )


def known_changes() -> list[Known]:
    """Raises SystemExit for a line that is no longer in its file, or says nothing of the change."""
    lines = [line for line in KNOWN.read_text().splitlines() if not line.startswith("#")]
    known = [Known(*line.split(" | ")) for line in lines]
    for one in known:
        code = " ".join((ROOT / PACKAGE / one.file).read_text(encoding="utf-8").split())
        if one.before not in code:
            raise SystemExit(f"{KNOWN}: not in {one.file}: {one.before}")
        if one.after in one.before:
            raise SystemExit(f"{KNOWN}: true of every change: {one.before} | {one.after}")
    return known
