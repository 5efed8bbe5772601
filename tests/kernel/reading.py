"""What the tests of losses ask of the tracer, and how."""

from __future__ import annotations

from typing import TypeVar

from accepttrace.config import By
from accepttrace.facts.sight import Fact
from accepttrace.model.snapshot import ListenerRow, Snapshot

from .conftest import Account, Tracing

T = TypeVar("T")


def begin(tracing: Tracing, *ports: int) -> Account:
    """An account that has read what was there at its start, as the command does."""
    account = tracing.of(*ports)
    settled(account)
    return account


def settled(account: Account, by: By = "socket") -> Snapshot:
    """What stands once nothing happens: the books are exact when two readings find the same."""
    account.snapshot(by)
    return account.snapshot(by)


def if_seen(tracing: Tracing, fact: Fact, value: T) -> T | None:
    """`value` where the attach type sees such facts; else it must say that it does not."""
    return value if fact in tracing.plan.sees.facts else None


def by_inode(snapshot: Snapshot) -> dict[int, ListenerRow]:
    """Its listeners."""
    return {number_of(row): row for row in snapshot.listeners}


def number_of(row: ListenerRow) -> int:
    """Of a row of one listener."""
    assert row.inode is not None
    return row.inode


def only(account: Account) -> ListenerRow:
    """What is settled of the one listener."""
    (row,) = settled(account).listeners
    return row


def assert_balanced(*rows: ListenerRow) -> None:
    """Every one of the books was checked, and balances."""
    assert {(row.book, row.imbalance) for row in rows} == {("balanced", 0)}


def skipped(tracing: Tracing) -> int:
    """How often the kernel skipped a hook since the account began, by its own count."""
    return sum((tracing.session.skipped() or {}).values())


def says_incomplete(tracing: Tracing, snapshot: Snapshot, before: int | None = None) -> bool:
    """Whether the kernel skipped a hook, which must not be kept secret.

    An interrupt within one kprobe program makes it skip those of the packets that come then.
    `before`: how often by the time of the snapshot at least; None: nothing was going on since.
    """
    now = skipped(tracing)
    said = snapshot.books.losses.recursion_misses or 0  # None: the kernel does not count them
    assert (now if before is None else before) <= said <= now
    assert not (said and snapshot.books.balanced)
    return bool(now)
