"""Filters: which sockets serve whom, and which processes are meant."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accepttrace.config import Filters
from accepttrace.errors import UsageError
from accepttrace.facts.matching import (
    cut,
    is_any,
    is_within,
    listener_matches,
    process_matches,
    same_address,
    unmapped,
)
from accepttrace.facts.records import Inventory
from accepttrace.probe import filtering, wire
from accepttrace.sockets.inventory import InventoryReader, held_by
from tests.unit.pictures import holder, listener

# Bound to, IPV6_V6ONLY, and whether clients of IPv4, of IPv6, of 127.0.0.1 and of ::1 reach it.
PLACES = (
    ("0.0.0.0", None, True, False, True, False),
    ("127.0.0.1", None, True, False, True, False),
    ("127.0.0.2", None, True, False, False, False),
    ("::", False, True, True, True, True),
    ("::", True, False, True, False, True),
    ("::", None, True, True, True, True),
    ("::1", False, False, True, False, True),
    ("::ffff:127.0.0.1", False, True, False, True, False),
    ("::ffff:0.0.0.0", False, True, False, True, False),
    ("2001:db8::1", False, False, True, False, False),
)


@pytest.mark.parametrize(("address", "v6only", "four", "six", "loop4", "loop6"), PLACES)
def test_a_listener_is_found_by_those_whom_it_serves(
    address: str, v6only: bool | None, four: bool, six: bool, loop4: bool, loop6: bool
) -> None:
    row = listener(address=address)
    for filters, expected in (
        (Filters(family="ipv4"), four),
        (Filters(family="ipv6"), six),
        (Filters(addresses=frozenset({"127.0.0.1"})), loop4),
        (Filters(addresses=frozenset({"::ffff:127.0.0.1"})), loop4),
        (Filters(addresses=frozenset({"::1"})), loop6),
        (Filters(addresses=frozenset({"127.0.0.1", "::1"})), loop4 or loop6),
        (Filters(), True),
    ):
        assert listener_matches(filters, row, v6only) is expected, filters


@given(st.ip_addresses(v=4), st.ip_addresses(v=6))
def test_any_address_finds_itself_and_both_spellings(four: object, six: object) -> None:
    for own, asked in ((f"{four}", f"::ffff:{four}"), (f"::ffff:{four}", f"{four}")):
        assert listener_matches(Filters(addresses=frozenset({asked})), listener(address=own))
    assert listener_matches(Filters(addresses=frozenset({str(six)})), listener(address=str(six)))


@pytest.mark.parametrize(
    ("bound", "v6only", "family", "found"),
    [
        ("::", 0, "ipv4", True),
        ("::", 1, "ipv4", False),
        ("::", 0, "ipv6", True),
        ("::ffff:127.0.0.1", 0, "ipv4", True),
        ("::ffff:127.0.0.1", 0, "ipv6", False),
    ],
)
def test_the_inventory_knows_who_is_served(
    bound: str, v6only: int, family: str, found: bool
) -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        server.bind((bound, 0))
        server.listen()
        port = server.getsockname()[1]
        filters = Filters(ports=frozenset({port}), family=family)  # type: ignore[arg-type]
        rows = InventoryReader(filters).read().listeners
        assert [row.inode for row in rows] == [os.fstat(server.fileno()).st_ino] * found
        by_address = Filters(ports=frozenset({port}), addresses=frozenset({"127.0.0.1"}))
        rows = InventoryReader(by_address).read().listeners
        assert bool(rows) is (not v6only)


def test_the_kernel_is_asked_for_the_family_of_the_clients() -> None:
    for filters, family in (
        (Filters(), 0),
        (Filters(family="ipv4"), socket.AF_INET),
        (Filters(family="ipv6"), socket.AF_INET6),
        (Filters(addresses=frozenset({"10.0.0.1", "::ffff:10.0.0.2"})), socket.AF_INET),
        (Filters(addresses=frozenset({"10.0.0.1", "::1"})), 0),
        (Filters(addresses=frozenset({"::1"})), 0),
    ):
        assert filtering.settings_of(filters).family == family


def test_an_address_of_ipv4_may_stand_in_one_of_ipv6() -> None:
    for address, plain in (
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
    ):
        assert unmapped(address) == plain
        assert same_address(address, plain)
    for other in ("10.0.0.0", "10.0.0.2", "::1"):
        assert not same_address("10.0.0.1", other)
    every = ("0.0.0.0", "::", "::ffff:0.0.0.0", "127.0.0.1", "::1", "::ffff:10.0.0.1")
    assert [is_any(address) for address in every] == [True] * 3 + [False] * 3


def test_an_address_is_in_a_network_or_beside_it() -> None:
    mapped = bytes(10) + b"\xff\xff"
    four = mapped + bytes([10, 1, 0, 0]), b"\xff" * 14 + bytes(2)
    six = bytes([0x20, 1, 0xD, 0xB8]) + bytes(12), b"\xff" * 4 + bytes(12)
    inside = {"10.1.0.0": four, "10.1.255.255": four, "::ffff:10.1.2.3": four, "2001:db8::7": six}
    outside = {"10.0.255.255": four, "10.2.0.0": four, "::10.1.2.3": four, "2001:db9::": six}
    assert all(is_within(address, network) for address, network in inside.items())
    assert not any(is_within(address, network) for address, network in outside.items())


LONG = "prometheus-node-exporter"


@pytest.mark.parametrize(
    ("asked", "comm", "name", "thread", "found"),
    [
        ("nginx", "nginx", "nginx: worker", "", True),
        ("nginx: worker", "nginx", "nginx: worker", "", True),
        ("gunicorn", "python3", "gunicorn", "", True),
        (LONG, LONG[:15], LONG, "", True),
        (LONG[:15], LONG[:15], LONG, "", True),
        (LONG, "x", "x", LONG[:15], True),
        ("wrk:0", "envoy", "envoy", "wrk:0", True),
        ("ngin", "nginx", "nginx", "", False),
        ("d\u00e9mon-de-la-poste", "d\u00e9mon-de-la-po", "x", "", True),
        ("日本語の名前", "日本語の名", "x", "", True),
    ],
)
def test_a_process_is_found_by_any_of_its_names(
    asked: str, comm: str, name: str, thread: str, found: bool
) -> None:
    process = replace(holder(1, name=name), comm=comm)
    filters = Filters(comms=frozenset({asked}))
    assert process_matches(filters, process, thread) is found
    if not thread:
        inventory = held_by(Inventory((listener(100, [process]),)), filters)
        assert bool(inventory.listeners) is found


def test_the_kernel_cuts_by_bytes() -> None:
    assert cut("日本語の名前") == "日本語の名"
    assert cut("d\u00e9mon-de-la-poste") == "d\u00e9mon-de-la-po"


@pytest.mark.parametrize(
    ("cgroup", "found"),
    [("/a/b", True), ("/a", True), ("/ab", False), (None, False), ("/", False), ("/b/a", False)],
)
def test_a_control_group_is_found_with_all_below(cgroup: str | None, found: bool) -> None:
    for top in ("/a", "a", "/a/"):
        filters = Filters(cgroups=frozenset({top}))
        assert process_matches(filters, holder(1, cgroup=cgroup)) is found
    everything = Filters(cgroups=frozenset({"/"}))
    assert process_matches(everything, holder(1, cgroup=cgroup)) is (cgroup is not None)


def test_the_kernel_is_asked_for_what_the_user_asked_for() -> None:
    asked = Filters(ports=frozenset({80, 443}), netns=frozenset({7, 5}), pids=frozenset({9}))
    settings = filtering.settings_of(asked)
    assert (settings.netns_count, settings.any_place, settings.any_pid) == (2, 0, 0)
    assert list(settings.netns[:3]) == [5, 7, 0]
    assert [port for port in range(wire.PORTS) if settings.ports[port]] == [80, 443]
    assert {settings.ports[port] for port in asked.ports} == {1}
    everything = filtering.settings_of(Filters())
    assert (everything.netns_count, everything.family) == (0, 0)
    assert (everything.any_place, everything.any_pid) == (1, 1)
    assert bytes(everything.ports) == b"\1" * wire.PORTS
    for filters in (Filters(netns=frozenset({5})), Filters(family="ipv4")):
        assert not filtering.settings_of(filters).any_place


@pytest.mark.parametrize(("name", "room"), [("netns", wire.MAX_NETNS), ("pids", wire.MAX_PIDS)])
def test_more_than_the_kernel_side_has_room_for_is_refused(name: str, room: int) -> None:
    def given(number: int) -> Filters:
        asked: dict[str, Any] = {name: frozenset(range(1, number + 1))}
        return Filters(**asked)

    filtering.settings_of(given(room))
    with pytest.raises(UsageError, match=rf"^{room + 1} .* are too many: at most {room}$"):
        filtering.settings_of(given(room + 1))
