"""The accept queue: how long it is, and what becomes of those who find it full.

Compared with the clients, with `nstat` and with `ss` of a namespace where nothing else happens.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from accepttrace.model.snapshot import ListenerRow

from .clients import Clients, address_of, drain, listen, port_of
from .conftest import Tracing, wait_until
from .network import counted, listening, own_network
from .packets import FIRST_SEQUENCE, RST, SYN, SYN_ACK, Peers
from .reading import assert_balanced, begin, if_seen, number_of, only, settled

FAMILIES = ["ipv4", "ipv6", "mapped"]
REFUSED = 12
PEERS = range(20_000, 20_005)
FIT, TOO_MANY = PEERS[:3], PEERS[3:]
HELD_S = 0.3
QUEUED = 20
ATTEMPTS = 3


class Overflow(NamedTuple):
    """What a listener's row says of its full queue."""

    syn: int | None = 0
    ack: int | None = 0
    both: int | None = 0
    peers: int | None = 0
    aborted: int | None = 0


def overflow(row: ListenerRow) -> Overflow:
    return Overflow(
        row.overflow_syn,
        row.overflow_ack,
        row.dropped_overflow,
        row.overflow_peers,
        row.overflow_aborted,
    )


def if_overflow_seen(
    tracing: Tracing, *, syn: int = 0, ack: int = 0, peers: int = 0, aborted: int = 0
) -> Overflow:
    """Without hooks the counters of the namespace show how many, of both kinds together."""
    found = Overflow(syn, ack, syn + ack, peers, aborted)
    return if_seen(tracing, "overflow", found) or Overflow(None, None, syn + ack, None, None)


def test_clients_that_nobody_lets_in_are_counted_with_each_attempt(tracing: Tracing) -> None:
    with own_network(), listen(3) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Clients(address_of("ipv4", port), 4) as lucky:
            with Clients(address_of("ipv4", port), REFUSED, wait=False) as others:
                wait_until(lambda: counted()["ListenOverflows"] >= 2 * REFUSED, "a second SYN each")
                assert (lucky.connected(), others.connected()) == (4, 0)
            row = only(account)
            shown = listening(port)[number_of(row)]
        dropped = counted()["ListenOverflows"]
        assert counted()["ListenDrops"] == dropped == shown.drops
    assert (row.queue, row.queue_max, row.backlog, row.capacity) == (4, 4, 3, 4)
    assert row.queue_full_s is not None
    assert (shown.queue, shown.backlog) == (4, 3)
    assert row.drops == shown.drops
    assert overflow(row) == if_overflow_seen(tracing, syn=dropped, peers=REFUSED)
    assert_balanced(row)
    # Who is met again is no client without a row.
    assert tracing.session.losses().map_full == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_requests_that_find_the_queue_full_are_counted(tracing: Tracing, family: str) -> None:
    with own_network(), listen(3, family=family) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Peers(port, family) as peers, Clients(address_of(family, port), 4):
            for again in range(3):
                for peer in PEERS[again:]:
                    peers.send(peer, SYN, FIRST_SEQUENCE)
            sent = 3 * len(PEERS) - 1 - 2
            wait_until(lambda: counted()["ListenOverflows"] == sent, "every SYN dropped")
            row = only(account)
            (event,) = (one for one in account.snapshot().events if one.kind == "LOST")
            shown = listening(port)[number_of(row)]
        assert peers.heard == []
    assert (row.queue, row.drops) == (4, sent) == (shown.queue, shown.drops)
    assert overflow(row) == if_overflow_seen(tracing, syn=sent, peers=len(PEERS))
    assert sum(event.lost.values()) == sent
    assert event.clients == if_seen(tracing, "overflow", len(PEERS))
    assert_balanced(row)
    assert tracing.session.losses().map_full == 0


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Not one more can be opened here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("abort", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_handshakes_that_end_at_a_full_queue_are_counted(
    tracing: Tracing, family: str, abort: int
) -> None:
    """The clients believe that they are connected, unless `tcp_abort_on_overflow` resets them."""
    with own_network(tcp_abort_on_overflow=abort), listen(9, family=family) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Peers(port, family) as peers:
            peers.open(PEERS)
            with Clients(address_of(family, port), 7):
                peers.finish(FIT)
                assert counted()["ListenOverflows"] == 0
                peers.finish(TOO_MANY)
                if not abort:
                    peers.finish(TOO_MANY)
                row = only(account)
                shown = listening(port)[number_of(row)]
            resets = len(peers.answers(RST))
        assert resets == counted()["EmbryonicRsts"] == (len(TOO_MANY) if abort else 0)
        dropped = counted()["ListenOverflows"]
        assert dropped == len(TOO_MANY) * (1 if abort else 2)
    assert (row.queue, row.capacity) == (10, 10) == (shown.queue, shown.backlog + 1)
    assert row.drops == shown.drops
    assert overflow(row) == if_overflow_seen(
        tracing, ack=dropped, peers=len(TOO_MANY), aborted=resets
    )
    assert_balanced(row)


@pytest.mark.parametrize("family", FAMILIES)
def test_cookies_that_come_back_to_a_full_queue_are_counted(tracing: Tracing, family: str) -> None:
    """A request that is not kept in the kernel is lost all the same."""
    with own_network(tcp_syncookies=2), listen(2, family=family) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Peers(port, family) as peers:
            peers.open(PEERS)
            peers.finish(FIT)
            wait_until(lambda: listening(port).popitem()[1].queue == 3, "a full queue")
            peers.finish(TOO_MANY)
            wait_until(lambda: counted()["SyncookiesRecv"] == len(PEERS), "every cookie")
            row = only(account)
        dropped = counted()["ListenOverflows"]
        assert counted()["SyncookiesSent"] == len(PEERS)
    assert row.counted.get("cookies_sent") == if_seen(tracing, "selected", len(PEERS))
    assert (row.queue, row.capacity, dropped) == (3, 3, len(TOO_MANY))
    assert overflow(row) == if_overflow_seen(tracing, ack=dropped, peers=len(TOO_MANY))
    assert_balanced(row)


def test_requests_dropped_for_another_reason_are_no_overflow(tracing: Tracing) -> None:
    """Too many half-open ones, without cookies: the kernel counts drops, the queue is empty."""
    with own_network(tcp_syncookies=0), listen(3) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Peers(port) as peers:
            for peer in range(20_000, 20_010):
                peers.send(peer, SYN, FIRST_SEQUENCE)
            wait_until(
                lambda: counted()["ListenDrops"] + len(peers.answers(SYN_ACK)) == 10, "an end"
            )
            dropped = 10 - len(peers.answers(SYN_ACK))
            row = only(account)
            shown = listening(port)[number_of(row)]
        assert counted()["TCPReqQFullDrop"] == counted()["ListenDrops"] == dropped > 0
        assert counted()["ListenOverflows"] == 0
    assert row.drops == shown.drops == dropped
    assert overflow(row) == if_overflow_seen(tracing)
    assert_balanced(row)


def test_the_limit_in_force_is_shown_and_follows_a_second_listen(tracing: Tracing) -> None:
    with own_network(somaxconn=128), listen(5000) as server:
        port = port_of(server)
        account = begin(tracing, port)
        for wanted, backlog in ((5000, 128), (7, 7), (0, 0)):
            server.listen(wanted)
            row = only(account)
            shown = listening(port)[number_of(row)]
            assert (row.backlog, row.capacity) == (shown.backlog, shown.backlog + 1)
            assert (row.backlog, row.epoch) == (backlog, 1)


def test_the_longest_queue_and_its_mean_are_those_of_the_clients_clock(tracing: Tracing) -> None:
    with own_network(), listen(64) as server:
        port = port_of(server)
        account = begin(tracing, port)
        time.sleep(HELD_S)  # an empty queue, for so long
        first = time.monotonic()
        with Clients(address_of("ipv4", port), QUEUED):
            last = time.monotonic()
            time.sleep(HELD_S)  # a long one, for as long
            assert listening(port).popitem()[1].queue == QUEUED
            emptied = time.monotonic()
            assert drain(server, QUEUED - 2) == QUEUED - 2
            empty = time.monotonic()
            snapshot = settled(account)
            ended = time.monotonic()
    (row,) = snapshot.listeners
    assert (row.queue, row.queue_max) == (2, if_seen(tracing, "arrived", QUEUED) or 2)
    if tracing.plan.sees.arrived:
        assert row.queue_mean is not None
        waited_s = row.queue_mean * snapshot.elapsed_s
        least_s = QUEUED * (emptied - last)
        most_s = QUEUED * (empty - first) + 2 * (ended - empty)
        assert least_s <= waited_s <= most_s < 3 * least_s
    assert_balanced(row)


def test_a_member_is_selected_for_every_request_also_for_those_it_drops(tracing: Tracing) -> None:
    with own_network(), listen(3, reuseport=True) as server:
        port = port_of(server)
        account = begin(tracing, port)
        with Peers(port) as peers, Clients(address_of("ipv4", port), 4):
            for _ in range(ATTEMPTS):
                for peer in PEERS:
                    peers.send(peer, SYN, FIRST_SEQUENCE)
            wait_until(lambda: counted()["ListenOverflows"] == ATTEMPTS * len(PEERS), "the drops")
            row = only(account)
    assert row.selected == if_seen(tracing, "selected", 4 + ATTEMPTS * len(PEERS))
    assert row.arrived == if_seen(tracing, "arrived", 4)


def test_accepts_without_a_free_descriptor_are_counted_while_the_queue_grows(
    tracing: Tracing,
) -> None:
    with own_network(), listen(64) as server:
        port = port_of(server)
        account = begin(tracing, port)
        for queued in (3, 6):
            with Clients(address_of("ipv4", port), 3) as clients:
                with no_descriptor_left():
                    for _ in range(ATTEMPTS):
                        with pytest.raises(OSError, match=r"Errno 24"):
                            server.accept()
                assert clients.connected() == 3
                row = only(account)
                shown = listening(port)[number_of(row)]
            assert row.queue == shown.queue == queued  # a client that gives up stays in the queue
            assert row.refused_accepts == if_seen(tracing, "refused", queued)
            assert_balanced(row)
