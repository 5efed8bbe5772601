"""What became of every event of a run: shown, left out, or lost."""

from __future__ import annotations

from dataclasses import dataclass

from accepttrace.facts.connections import Account


@dataclass(frozen=True, slots=True)
class Ledger:
    """Of a whole run of `accepttrace events`.

    `accepts`: counted by the same programs, in other maps. `unseen`: of those, without an event.
    Both None: not known, for a recording was cut. `left_out`: by filters. `not_shown`: read, or
    left unread, as the end was asked for (`-n`, or a reader that had stopped).
    """

    elapsed_s: float
    accepts: int | None
    shown: int
    left_out: int
    not_sampled: int
    not_shown: int
    lost: int
    unseen: int | None

    @property
    def balanced(self) -> bool | None:
        """Whether no event was lost; None: not known."""
        if self.lost or self.unseen:
            return False
        return None if self.unseen is None else True


def ledger_of(account: Account, shown: int, left_out: int, not_shown: int) -> Ledger:
    """`left_out`: of those that were written to the ring buffer."""
    counts, accepts = account.counts, account.accepts
    return Ledger(
        elapsed_s=account.elapsed_s,
        accepts=accepts,
        shown=shown,
        left_out=counts.left_out + left_out,
        not_sampled=counts.not_sampled,
        not_shown=not_shown,
        lost=counts.lost,
        unseen=None if accepts is None else max(accepts - counts.accepts, 0),
    )
