"""What became of every event of a run: shown, left out, or lost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ledger:
    """Of a whole run of `accepttrace events`.

    `accepts`: counted by the same programs, in other maps. `unseen`: of those, without an event.
    `left_out`: by filters. `not_shown`: read, or left unread, as the end was asked for (`-n`, or a
    reader that had stopped).
    """

    elapsed_s: float
    accepts: int
    shown: int
    left_out: int
    not_sampled: int
    not_shown: int
    lost: int
    unseen: int

    @property
    def balanced(self) -> bool:
        """Whether no event was lost."""
        return not (self.lost or self.unseen)
