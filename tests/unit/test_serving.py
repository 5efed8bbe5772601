"""Processes that hold connections without having accepted them, and how few rows they take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from accepttrace.config import By, Filters
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import Counts, Inventory, LocalPort, Opened, Process, Serving
from accepttrace.model.serving import EACH, MOST, piles_of
from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.serving import NAMED, ServingReader
from accepttrace.views.header import header
from accepttrace.views.text import plain

from .pictures import count, holder, listener, tracker

NETNS = listener().netns
AT, BESIDE = LocalPort(NETNS, 80, "ipv4"), LocalPort(NETNS, 81, "ipv4")


def one(pid: int, connections: int = 1, where: LocalPort = AT, comm: str = "sshd") -> Serving:
    return Serving(Process(pid, pid, comm, f"{comm}: {pid}"), where, connections)


def picture(
    serving: Iterable[Serving], by: By = "worker", *, model: Tracker | None = None
) -> Snapshot:
    """Beside process 7, which accepts at both ports, and holds nothing."""
    model = model or tracker(Filters())
    sockets = [listener(100, [holder(7)]), listener(101, [holder(8)], port=81)]
    found = Opened(1.0, frozenset({80, 81}), {7: 7}, {})
    taken = (count(7, 3), count(8, 4, 101))
    inventory = Inventory(tuple(sockets), opened=found, serving=tuple(serving))
    model.update(Reading(Counts(taken, at_s=1.0), inventory))
    return model.snapshot(by)


def rows(snapshot: Snapshot) -> list[AcceptorRow]:
    return [row for row in snapshot.acceptors if row.serves]


def test_one_that_serves_has_a_row_of_its_listener_and_changes_no_other() -> None:
    snapshot, without = picture([one(20, 5)]), picture([])
    (row,) = rows(snapshot)
    assert (row.pid, row.name, row.listener_inode, row.local_port) == (20, "sshd: 20", 100, 80)
    assert (row.accepts, row.rate, row.waits, row.open_connections) == (0, 0.0, False, 5)
    assert (row.fair_ratio, row.share) == (None, 0.0)
    assert [each for each in snapshot.acceptors if not each.serves] == list(without.acceptors)
    assert (snapshot.verdicts, snapshot.books) == (without.verdicts, without.books)
    assert plain(header(snapshot, 200)) == plain(header(without, 200))


@pytest.mark.parametrize("by", ["thread", "socket", "group"])
def test_neither_threads_nor_sockets_serve(by: By) -> None:
    assert rows(picture([one(20)], by)) == []


def test_by_process_all_its_ports_are_one_row_and_an_acceptor_keeps_its_own() -> None:
    found = [one(20, 5), one(20, 2, BESIDE), one(7, 4, BESIDE)]
    snapshot = picture(found, "process")
    assert [(row.pid, row.open_connections, row.local_port) for row in rows(snapshot)] == [
        (20, 7, None)
    ]
    held = {row.pid: row.open_connections for row in snapshot.acceptors if not row.serves}
    assert held[7] == 4
    by_worker = {(row.pid, row.local_port): row.open_connections for row in rows(picture(found))}
    assert by_worker == {(20, 80): 5, (20, 81): 2, (7, 81): 4}


def test_who_accepted_there_and_gave_up_its_listener_is_no_other() -> None:
    assert rows(picture([one(7, 4)])) == []


def test_filters_of_processes_are_asked() -> None:
    model = tracker(Filters(comms=frozenset({"postgres"})))
    found = rows(picture([one(20), one(21, comm="postgres")], model=model))
    assert [row.pid for row in found] == [21]


def sizes(found: Sequence[Serving]) -> list[tuple[int, int]]:
    return [(len(p.processes), p.connections) for p in piles_of(found, by_process=False)]


def test_many_of_one_program_share_a_row() -> None:
    few, many = range(EACH), range(EACH + 1)
    assert sizes([one(pid) for pid in few]) == [(1, 1)] * EACH
    assert sizes([one(pid, 2) for pid in many]) == [(EACH + 1, 2 * EACH + 2)]
    (row,) = rows(picture([one(20 + pid, 2) for pid in many]))
    assert (row.pid, row.name, row.serves, row.open_connections) == (None, "sshd", 9, 18)
    others = [one(20 + pid) for pid in few] + [one(40, comm="nc"), one(50, 1, BESIDE)]
    assert len(rows(picture(others))) == EACH + 2


def test_programs_without_number_do_not_fill_the_screen() -> None:
    """Whoever is connected to can call itself as it likes."""
    found = [one(pid, 1000 - pid, comm=f"x{pid}") for pid in range(1, 501)]
    those = piles_of(found, by_process=False)
    assert len(those) == MOST
    assert [pile.connections for pile in those[:2]] == [999, 998]
    assert len(those[-1].processes) == 500 - (MOST - 1)
    assert sum(pile.connections for pile in those) == sum(each.connections for each in found)
    assert those[-1].name == "x64, x65, x66, x67 and 433 more"


def test_who_holds_a_listener_is_none_and_only_the_first_are_named() -> None:
    pids = range(100_000, 100_000 + NAMED + 5)
    held = {(pid, AT): 1 for pid in pids} | {(7, AT): 9, (8, AT): 9, (9, BESIDE): 1}
    started = dict.fromkeys((7, 8, 9, *pids), 5)
    found = Opened(1.0, frozenset({80}), started, held, comms=dict.fromkeys(started, "sshd"))
    helper = Helper()
    try:
        reader = ServingReader(helper)
        serving = reader.read(found, {AT: {7}})
        assert reader.read(found, {AT: set()}) is serving  # nobody looked again
    finally:
        helper.close()
    assert [each.process.pid for each in serving] == [8, *pids]
    assert {each.process.comm for each in serving} == {"sshd"}
    assert {each.process.start_ticks for each in serving} == {5}
