"""Whose drops they were, and why: what the counts of listeners and of their namespace allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import pytest

from accepttrace.facts.records import (
    Baseline,
    Inventory,
    ListenerCount,
    NamespaceCount,
    Overflow,
    TcpCounters,
)
from accepttrace.model.drops import SOMEBODY, Cause, Dropped, Drops
from accepttrace.model.snapshot import NamespaceLoss
from accepttrace.sockets.diag.netstat import parse
from tests.unit.pictures import listener

NETNS = 9
AT_START = TcpCounters(overflows=100, listen_drops=150, syn_queue_full=20, deferred=1000)


def started(drops: Mapping[int, int] | None = None) -> Drops:
    """Two listeners at the start: 1 with 7 drops, 2 with none."""
    there = NamespaceCount(NETNS, drops or {1: 7}, AT_START)
    found = Drops()
    found.start(Baseline(frozenset((1, 2)), {NETNS: there}, complete=True))
    return found


def feed(
    found: Drops,
    drops: Mapping[int, int],
    counters: TcpCounters | None,
    *,
    traced: tuple[int, ...] = (1, 2),
    defers: Mapping[int, bool] | None = None,
    counted: tuple[ListenerCount, ...] = (),
) -> None:
    """One reading of listeners, of which the traced ones pass the filters."""
    rows = (
        replace(
            listener(inode, netns=NETNS),
            drops=drops.get(inode, 0),
            defers=(defers or {}).get(inode),
        )
        for inode in traced
    )
    shown = {inode: number for inode, number in drops.items() if number}
    namespace = NamespaceCount(NETNS, shown, counters)
    found.update(Inventory(tuple(rows), namespaces=(namespace,)), counted)


def hooked(inode: int, syn: int, ack: int = 0) -> ListenerCount:
    overflow = Overflow(syn, ack, 0, 0)
    return ListenerCount(inode, NETNS, "ipv4", "0.0.0.0", 80, 0, overflow=overflow)


def test_only_what_came_since_the_start_is_named_by_its_cause() -> None:
    found = started()
    feed(found, {1: 7 + 60}, replace(AT_START, overflows=148, listen_drops=203, syn_queue_full=23))
    assert found.of(1) == Dropped(60, 48, 3, 2, 0, 0)
    assert found.of(2) == Dropped(0, 0, 0, 0, 0, 0)
    assert found.shared((1, 2)) == ()


def test_deferred_handshakes_are_no_losses() -> None:
    found = started()
    feed(found, {1: 2007}, replace(AT_START, deferred=3000))
    assert found.of(1) == Dropped(2000, 0, 0, 0, 2000, 0)


def test_a_listener_that_was_born_since_starts_at_zero() -> None:
    found = started()
    feed(found, {1: 7, 3: 94}, replace(AT_START, overflows=194, listen_drops=244), traced=(3,))
    assert found.of(3) == Dropped(94, 94, 0, 0, 0, 0)


def test_a_namespace_without_a_listener_at_first_has_its_baseline() -> None:
    found = started()
    found.update(Inventory(), ())
    feed(found, {3: 4}, replace(AT_START, overflows=104, listen_drops=154), traced=(3,))
    assert found.of(3) == Dropped(4, 4, 0, 0, 0, 0)


def test_a_namespace_that_was_born_since_starts_at_zero() -> None:
    found = Drops()
    found.start(Baseline(complete=True))
    feed(found, {1: 5}, TcpCounters(overflows=5, listen_drops=5))
    assert found.of(1) == Dropped(5, 5, 0, 0, 0, 0)


def test_without_a_baseline_the_first_reading_is_one() -> None:
    found = Drops()
    feed(found, {1: 5}, TcpCounters(overflows=5, listen_drops=5))
    feed(found, {1: 6}, TcpCounters(overflows=6, listen_drops=6))
    assert found.of(1) == Dropped(1, 1, 0, 0, 0, 0)


def test_what_is_no_attempt_is_in_the_total_alone() -> None:
    """A SYN sent again, a reset: the kernel counts them at the socket, and calls them no drop."""
    found = started()
    feed(found, {1: 12}, AT_START)
    assert found.of(1) == Dropped(5, 0, 0, 0, 0, 0)


def test_one_after_the_other_two_listeners_have_their_own() -> None:
    found = started()
    feed(found, {1: 17}, replace(AT_START, overflows=110, listen_drops=160))
    for _ in range(2):  # a drop may be read an interval before its cause
        feed(found, {1: 17}, replace(AT_START, overflows=110, listen_drops=160))
    feed(found, {1: 17, 2: 4}, replace(AT_START, overflows=114, listen_drops=164))
    assert (found.of(1).overflow, found.of(2).overflow) == (10, 4)


def test_a_cause_that_is_read_an_interval_later_finds_its_drop() -> None:
    found = started()
    feed(found, {1: 17}, AT_START)
    feed(found, {1: 17}, replace(AT_START, overflows=110, listen_drops=160))
    assert found.of(1).overflow == 10


def test_both_have_all_of_theirs_where_the_sum_is_the_namespaces() -> None:
    found = started()
    feed(found, {1: 17, 2: 4}, replace(AT_START, overflows=114, listen_drops=164))
    assert (found.of(1).overflow, found.of(2).overflow) == (10, 4)


def test_what_is_put_off_is_out_of_the_way_of_what_is_lost() -> None:
    found = started()
    after = replace(AT_START, overflows=104, listen_drops=154, deferred=1010)
    feed(found, {1: 17, 2: 4}, after, defers={1: True, 2: False})
    assert found.of(1) == Dropped(10, 0, 0, 0, 10, 0)
    assert found.of(2) == Dropped(4, 4, 0, 0, 0, 0)


def test_what_cannot_be_divided_is_reported_for_both() -> None:
    found = started()
    feed(found, {1: 27, 2: 14}, replace(AT_START, overflows=114, listen_drops=164))
    assert found.shared((1, 2)) == (NamespaceLoss(NETNS, "overflow", 14, (1, 2), sure=True),)
    assert found.shared((2,)) == (NamespaceLoss(NETNS, "overflow", 14, (2,), sure=False),)
    assert found.shared((5,)) == ()
    assert (found.of(1).overflow, found.of(1).syn_queue, found.of(1).total) == (None, 0, 20)


def test_another_program_may_have_lost_them() -> None:
    found = started()
    feed(found, {1: 27, 2: 14}, replace(AT_START, overflows=114, listen_drops=164), traced=(1,))
    assert found.shared((1,)) == (NamespaceLoss(NETNS, "overflow", 14, (1,), sure=False),)


def test_drops_of_others_alone_are_nobodys_here() -> None:
    found = started()
    feed(found, {1: 7, 3: 14}, replace(AT_START, overflows=114, listen_drops=164), traced=(1,))
    assert found.shared((1,)) == ()
    assert found.of(1) == Dropped(0, 0, 0, 0, 0, 0)
    assert found.of(3) == Dropped()


def test_more_causes_than_drops_belong_to_somebody_else() -> None:
    """One that closed: what it dropped may not be put on those that are still there."""
    found = started()
    feed(found, {1: 9}, replace(AT_START, overflows=200, listen_drops=250))
    assert found.of(1).overflow is None
    assert found.shared((1,)) == (NamespaceLoss(NETNS, "overflow", 100, (1,), sure=False),)


def test_cookies_that_are_no_good_are_nobodys_for_sure() -> None:
    found = started()
    feed(found, {1: 7}, replace(AT_START, cookies_failed=3))
    assert found.shared((1, 2)) == (NamespaceLoss(NETNS, "cookie", 3, (1, 2), sure=False),)
    assert found.of(1) == Dropped(0, 0, 0, 0, 0, 0)


def test_hooks_know_better_and_leave_the_rest_to_the_counters() -> None:
    found = started()
    after = replace(AT_START, overflows=114, listen_drops=167, syn_queue_full=23)
    feed(found, {1: 17, 2: 7}, after, counted=(hooked(1, 8, 2), hooked(2, 4)))
    assert found.of(1).syn_queue == 0
    assert found.of(2).syn_queue == 3
    assert found.shared((1, 2)) == ()


def test_what_hooks_counted_is_not_divided_among_others() -> None:
    """SYNs and final ACKs; one that began lately has no hooks yet."""
    found = started()
    after = replace(AT_START, overflows=116, listen_drops=166)
    feed(found, {1: 17, 3: 6}, after, traced=(1, 2, 3), counted=(hooked(1, 8, 2), hooked(2, 0)))
    assert found.of(3) == Dropped(6, 6, 0, 0, 0, 0)
    assert found.shared((1, 2, 3)) == ()


def test_a_listener_that_closed_unlisted_left_its_drops_as_it_went() -> None:
    found = started()
    after = replace(AT_START, overflows=194, listen_drops=244)
    gone = replace(hooked(3, 0), overflow=None, drops=94)
    feed(found, {1: 7}, after, counted=(gone,))
    assert found.of(3) == Dropped(94, 94, 0, 0, 0, 0)


def test_without_counters_nothing_is_clear() -> None:
    found = Drops()
    found.start(Baseline(frozenset((1,)), {NETNS: NamespaceCount(NETNS, {1: 7})}, complete=True))
    feed(found, {1: 10}, None)
    assert found.of(1) == Dropped(3, unclear=3)
    assert found.of(2) == Dropped(0, unclear=0)


def test_what_a_namespace_dropped_as_it_went_is_not_clear() -> None:
    found = started()
    feed(found, {1: 17}, replace(AT_START, overflows=110, listen_drops=160))
    gone = replace(hooked(1, 0), overflow=None, drops=20)
    found.update(Inventory(), (gone,))
    assert found.of(1) == Dropped(13, 10, 0, 0, 0, 3)


def test_one_that_is_gone_for_good_becomes_somebody() -> None:
    found = started()
    feed(found, {1: 27, 2: 14}, replace(AT_START, overflows=114, listen_drops=164))
    found.forget((2,))
    assert found.of(2) == Dropped()
    assert found.shared((1,)) == (NamespaceLoss(NETNS, "overflow", 14, (1,), sure=False),)
    assert SOMEBODY not in found.shared((1,))[0].listeners


def test_a_hooked_listener_that_is_gone_leaves_nothing_for_others() -> None:
    found = started()
    after = replace(AT_START, overflows=110, listen_drops=160)
    feed(found, {1: 17}, after, counted=(hooked(1, 10),))
    found.forget((1,))
    feed(found, {2: 5}, after, traced=(2,))
    assert found.of(2) == Dropped(5, 0, 0, 0, 0, 0)
    assert found.shared((2,)) == ()


def test_a_namespace_with_the_number_of_another_began_with_zeros() -> None:
    found = started()
    feed(found, {3: 4}, TcpCounters(overflows=4, listen_drops=4), traced=(3,))
    assert found.of(3) == Dropped(4, 4, 0, 0, 0, 0)


def test_namespaces_that_come_and_go_leave_nothing_behind() -> None:
    found = Drops()
    found.start(Baseline(complete=True))
    for netns in range(1, 100):
        row = replace(listener(netns, netns=netns), drops=2)
        counts = NamespaceCount(netns, {netns: 2, 1000 + netns: 1}, TcpCounters(2, 3, 0, 0, 1))
        found.update(Inventory((row,), namespaces=(counts,)), ())
        found.forget((netns,))
        found.update(Inventory(namespaces=(NamespaceCount(netns, {}, TcpCounters(2, 3)),)), ())
        found.update(Inventory(), ())
    kept = [value for value in vars(found).values() if isinstance(value, dict | set)]
    assert [len(value) for value in kept if len(value)] == []


@pytest.mark.parametrize("cause", ["overflow", "syn_queue", "other", "deferred"])
def test_a_counter_that_goes_back_is_nothing(cause: Cause) -> None:
    found = started()
    feed(found, {1: 9}, TcpCounters())
    assert getattr(found.of(1), cause) == 0


def test_the_counters_are_those_that_nstat_shows() -> None:
    text = (
        "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPDeferAcceptDrop Later\n"
        "TcpExt: 1 22 33 44 5\nIpExt: InNoRoutes\nIpExt: 6\n"
    )
    assert parse(text) == TcpCounters(22, 33, 0, 44)


def test_a_namespace_that_was_just_made_has_counted_nothing() -> None:
    assert set(asdict(TcpCounters()).values()) == {0}


@pytest.mark.parametrize("text", ["", "TcpExt: ListenDrops\n", "IpExt: A\nIpExt: 1\n"])
def test_a_file_without_them_is_an_error(text: str) -> None:
    with pytest.raises(OSError, match="TcpExt"):
        parse(text)
