"""What a number of sockets and holders proves, and which listeners a filter keeps."""

from __future__ import annotations

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Holder, Inventory, Listener, LocalPort, Process, Serving
from accepttrace.sockets.inventory import held_by
from accepttrace.sockets.sharing import Share, share_of


def holder(pid: int, comm: str = "nginx", cgroup: str | None = "/a/b") -> Holder:
    return Holder(pid, 1, comm, comm, 3, True, cgroup)


@pytest.mark.parametrize(
    ("together", "holders", "partial", "share"),
    [
        (1, 0, False, Share(None)),
        (1, 1, False, Share("sole")),
        (1, 1, True, Share(None)),
        (1, 2, True, Share("shared")),
        (3, 2, False, Share("reuseport", None, 3)),
    ],
)
def test_sharing(together: int, holders: int, partial: bool, share: Share) -> None:
    held = tuple(holder(pid) for pid in range(holders))
    assert share_of(together, held, None, partial) == share


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(), True),
        (Filters(pids=frozenset({2})), True),
        (Filters(pids=frozenset({3})), False),
        (Filters(comms=frozenset({"nginx"}), pids=frozenset({2})), True),
        (Filters(comms=frozenset({"caddy"}), pids=frozenset({2})), False),
        (Filters(cgroups=frozenset({"/a"})), True),
        (Filters(cgroups=frozenset({"a/b/"})), True),
        (Filters(cgroups=frozenset({"/a/bb"})), False),
        (Filters(cgroups=frozenset({"/"})), True),
    ],
)
def test_filters_of_the_holder_keep_all_who_share(filters: Filters, kept: bool) -> None:
    row = Listener(
        7, 1, "ipv4", "127.0.0.1", 80, 5, 0, "shared", None, None, None, (holder(1), holder(2))
    )
    assert held_by(Inventory((row,)), filters).listeners == ((row,) if kept else ())


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(pids=frozenset({9})), [7]),
        (Filters(comms=frozenset({"old"})), [7]),
        (Filters(pids=frozenset({9}), comms=frozenset({"nginx"})), []),
        (Filters(pids=frozenset({10})), []),
    ],
)
def test_who_serves_connections_of_a_listener_is_shown_with_it(
    filters: Filters, kept: list[int]
) -> None:
    first, other = (
        Listener(inode, 1, "ipv4", "::1", port, 5, 0, "sole", None, None, None, (holder(1),))
        for inode, port in ((7, 80), (8, 81))
    )
    its = Serving(Process(9, 1, "old", "old"), LocalPort(1, 80, "ipv4"), 3)
    found = held_by(Inventory((first, other), serving=(its,)), filters)
    assert [row.inode for row in found.listeners] == kept
