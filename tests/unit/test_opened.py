"""What is said of connections that processes hold, and of their processor time."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import pytest

from accepttrace.config import By, Filters
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Counts,
    CpuTime,
    Inventory,
    Listener,
    Locality,
    LocalPort,
    Opened,
    Process,
)
from accepttrace.model.cpu import Cpus
from accepttrace.model.entries import Bygone, plus
from accepttrace.model.listeners import Listeners
from accepttrace.model.opened import port_of
from accepttrace.model.places import ELSEWHERE, Place
from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.probe.holders import HolderIterator, Holdings, Table
from accepttrace.sockets import fromkernel, procfs
from accepttrace.sockets import opened as opened_module
from accepttrace.sockets.diag.tcp import Connection, Look
from accepttrace.sockets.facts import Facts
from accepttrace.sockets.fromkernel import KernelSource
from accepttrace.sockets.helper import Helper
from accepttrace.sockets.opened import OpenedByProc
from accepttrace.views import csvrows, jsonl

from .pictures import count, holder, listener, tracker

NETNS = listener().netns
FOUR, SIX = LocalPort(NETNS, 80, "ipv4"), LocalPort(NETNS, 80, "ipv6")
Held = Mapping[tuple[int, LocalPort], int]


def opened(counts: Held, *pids: int, at_s: float = 1.0) -> Opened:
    """Of these processes; each started at the tick that is its PID."""
    return Opened(at_s, frozenset({80}), {pid: pid for pid in pids}, counts)


def picture(
    found: Opened | None,
    sockets: Sequence[Listener],
    acceptors: Sequence[AcceptorCount],
    by: By = "worker",
    *,
    model: Tracker | None = None,
    at_s: float = 1.0,
    others: Collection[int] = (),
) -> Snapshot:
    model = model or tracker()
    inventory = Inventory(tuple(sockets), opened=found)
    processes = {pid: Process(pid, pid) for pid in others}
    model.update(Reading(Counts(tuple(acceptors), at_s=at_s), inventory, processes))
    return model.snapshot(by)


def held(snapshot: Snapshot) -> list[tuple[int | None, int | None, int | None]]:
    return sorted(
        ((row.pid, row.listener_inode, row.open_connections) for row in snapshot.acceptors),
        key=str,
    )


def two_families() -> list[Listener]:
    return [listener(100, [holder(7), holder(8)]), listener(101, [holder(7)], address="::")]


def test_each_family_has_its_own_and_a_process_all() -> None:
    found = opened({(7, FOUR): 3, (7, SIX): 40, (9, FOUR): 5}, 7, 8, 9)
    taken = [count(7, 1), count(7, 1, 101), count(8, 1)]
    assert held(picture(found, two_families(), taken)) == [(7, 100, 3), (7, 101, 40), (8, 100, 0)]
    by_process = {pid: n for pid, _, n in held(picture(found, two_families(), taken, "process"))}
    assert by_process == {7: 43, 8: 0}


@pytest.mark.parametrize("by", ["thread", "socket", "group"])
def test_neither_a_thread_nor_a_socket_holds_any(by: By) -> None:
    rows = picture(opened({(7, FOUR): 3}, 7), two_families(), [count(7, 1)], by).acceptors
    assert {row.open_connections for row in rows} == {None}


def test_of_two_listeners_at_one_port_nobody_knows_whose_they_are() -> None:
    sockets = [listener(100, [holder(7)], group=1, size=2), listener(101, [holder(7)], group=1)]
    taken = [count(7, 1), count(7, 1, 101)]
    found = opened({(7, FOUR): 3}, 7)
    assert held(picture(found, sockets, taken)) == [(7, 100, None), (7, 101, None)]
    assert [n for _, _, n in held(picture(found, sockets, taken, "process"))] == [3]


def test_a_closed_listener_stands_back_for_the_open_one() -> None:
    model, found = tracker(), opened({(7, FOUR): 3}, 7)
    taken = [count(7, 1), count(7, 1, 101)]
    picture(None, [listener(100, [holder(7)]), listener(101, [holder(7)])], taken, model=model)
    after = picture(found, [listener(101, [holder(7)])], taken, model=model, at_s=2)
    assert held(after) == [(7, 100, None), (7, 101, 3)]


def test_who_gave_up_its_listener_still_holds_its_connections() -> None:
    """As a worker of nginx after a reload."""
    model, taken = tracker(), [count(7, 1), count(8, 1)]
    picture(None, [listener(100, [holder(7), holder(8)])], taken, model=model)
    found = opened({(7, FOUR): 3, (8, FOUR): 1}, 7, 8)
    after = picture(found, [listener(100, [holder(8)])], taken, model=model, at_s=9, others=[7])
    assert held(after) == [(7, 100, 3), (8, 100, 1)]


@pytest.mark.parametrize(
    "found",
    [
        None,
        opened({(7, FOUR): 3}),  # the process was not looked at
        Opened(1, frozenset({81}), {7: 7}, {}),  # the port
        Opened(1, frozenset({80}), {7: 6}, {(7, FOUR): 3}),  # another process had that PID
        Opened(1, frozenset({80}), {7: 7}, {}, frozenset({1})),  # the namespace
    ],
)
def test_what_was_not_looked_at_is_unknown_and_not_0(found: Opened | None) -> None:
    assert held(picture(found, [listener(100, [holder(7)])], [count(7, 1)])) == [(7, 100, None)]


def test_what_needs_no_descriptor_is_unknown() -> None:
    sockets = [listener(100, [holder(7)])]
    kernel = picture(opened({}, 7), sockets, [count(7, 1, via="kernel")])
    assert held(kernel) == [(7, 100, None)]
    for number in (0, 3):
        ring = picture(opened({(7, FOUR): number}, 7), sockets, [count(7, 1, via="io_uring")])
        assert held(ring) == [(7, 100, number or None)]


def test_one_that_ended_since_holds_nothing_that_is_known() -> None:
    model, found = tracker(), opened({(7, FOUR): 3, (8, FOUR): 1}, 7, 8)
    picture(found, [listener(100, [holder(7), holder(8)])], [count(7, 1)], model=model)
    after = picture(found, [listener(100, [holder(8)])], [count(7, 1)], model=model, at_s=3.5)
    assert held(after) == [(7, 100, None), (8, 100, 1)]
    assert after.open_age_s == 2.5


def test_programs_read_it_with_its_age() -> None:
    found = opened({(7, FOUR): 3}, 7, at_s=0.25)
    snapshot = picture(found, [listener(100, [holder(7)])], [count(7, 1)])
    line = json.loads(jsonl.snapshot_line(snapshot))
    assert (line["open_age_s"], line["acceptors"][0]["open_connections"]) == (0.75, 3)
    text = "\n".join((csvrows.header("worker"), csvrows.rows(snapshot)))
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["open_age_s"], row["open_connections"]) == ("0.75", "3")
    assert "open_age_s" not in csvrows.header("socket")
    unknown = json.loads(jsonl.snapshot_line(picture(None, [], [])))
    assert unknown["open_age_s"] is None


class Files:
    """An iterator whose passes take as long as the test says."""

    def __init__(self) -> None:
        self.took_s = 0.001
        self.asked: list[tuple[frozenset[int], bool]] = []

    def ask(self, _: Collection[int], open_ports: Collection[int] = ()) -> None:
        self.asked.append((frozenset(open_ports), False))

    def read(self, limit_s: float, *, count: bool = False) -> Holdings:  # noqa: ARG002
        self.asked[-1] = (self.asked[-1][0], count)
        table = Table(7, 7, NETNS, 70_000_000, "w")
        return Holdings([table], opened={(7, FOUR): 3} if count else None)


def test_a_pass_that_takes_long_counts_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    files, now = Files(), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    source = KernelSource(cast("HolderIterator", files), frozenset({80}), Helper())

    def counts(after_s: float, took_s: float) -> bool:
        now[0] += after_s
        files.took_s = took_s
        source.pass_over(full=False, limit_s=1, open_ports=frozenset({80}))
        return files.asked[-1][1]

    quick, slow = fromkernel.QUICK_S, 0.03
    assert [counts(1, quick), counts(1, quick)] == [True, True]
    assert counts(1, slow)
    assert [counts(1, slow), counts(0.49, slow), counts(0.31, slow)] == [False, False, True]
    assert source.opened == Opened(now[0], frozenset({80}), {7: 7}, {(7, FOUR): 3}, comms={7: "w"})
    source.pass_over(full=False, limit_s=1, open_ports=frozenset())
    assert source.opened is not None


def cpu(used_s: float, at_s: float, start: int = 7) -> Mapping[int, CpuTime]:
    return {7: CpuTime(start, used_s, at_s)}


def test_processor_time_is_that_between_two_readings() -> None:
    cpus, me = Cpus(), (7, 7)
    cpus.update(cpu(5, 10))
    assert cpus.of(me, whole=False) is None
    cpus.update(cpu(6, 12))
    cpus.update(cpu(6.5, 14))
    assert (cpus.of(me, whole=False), cpus.of(me, whole=True)) == (0.25, 0.375)
    assert cpus.of(Bygone("w", kept=True), whole=False) is None
    cpus.update(cpu(9, 15, start=8))
    assert [cpus.of(key, whole=False) for key in (me, (7, 8))] == [None, None]
    cpus.update(cpu(8, 16, start=8))  # of a third process, that has the PID now
    assert cpus.of((7, 8), whole=False) is None


def test_rows_of_a_process_have_its_processor_time() -> None:
    def row(by: By) -> AcceptorRow:
        model = tracker()
        for at_s in (1.0, 2.0):
            inventory = Inventory((listener(100, [holder(7)]),))
            counts = Counts((count(7, round(at_s)),), at_s=at_s)
            model.update(Reading(counts, inventory, cpu=cpu(at_s / 2, at_s)))
        return model.snapshot(by).acceptors[0]

    shares = {by: row(cast("By", by)).cpu for by in ("worker", "process", "thread", "socket")}
    assert shares == {"worker": 0.5, "process": 0.5, "thread": None, "socket": None}


def test_the_parts_accepted_where_they_came_in_are_weighed_by_accepts() -> None:
    """Of a worker that nobody looked at nothing is known."""
    looked = [(7, 1, Locality(3, 4)), (7, 2, Locality(1, 6)), (8, 3, None)]
    taken = [replace(count(pid, 10, tid=tid), locality=found) for pid, tid, found in looked]
    sockets = [listener(100, [holder(7), holder(8)])]
    by_thread = {row.tid: row.local for row in picture(None, sockets, taken, "thread").acceptors}
    assert by_thread == {1: 0.75, 2: 1 / 6, 3: None}
    assert {row.pid: row.local for row in picture(None, sockets, taken).acceptors} == {
        7: 0.4,
        8: None,
    }
    nothing = replace(count(7, 1), locality=Locality(0, 0))
    assert {row.local for row in picture(None, sockets, [nothing]).acceptors} == {None}
    assert plus(taken[0], plus(taken[2], taken[1])).locality == Locality(4, 10)


def test_proc_says_who_holds_what_was_listed_and_rests_then() -> None:
    me, (_, start) = os.getpid(), procfs.stat(os.getpid())
    helper = Helper()
    reader = OpenedByProc(helper)
    with socket.socket() as held_here:
        copy = held_here.dup()
        inode = os.fstat(held_here.fileno()).st_ino
        found = Look((), connections=(Connection(inode, "ipv4", 80),))
        facts = {me: Facts(me, me, start, "w", {}, {}, sure=False)}
        try:
            assert reader.due
            reader.read(frozenset({80}), [(5, found), (6, Look(()))], facts, took_s=100.0)
        finally:
            helper.close()
            copy.close()
    assert not reader.due
    assert reader.last is not None
    where = LocalPort(5, 80, "ipv4")
    assert reader.last.of(me, start, where) == 1
    assert reader.last.of(me, start, where._replace(family="ipv6")) == 0
    assert reader.last.of(me, start, where._replace(netns=6)) is None  # that could not be listed
    assert reader.last.of(me, start + 1, where) is None


class Answering:
    """In place of a Helper: each process answers for itself, or not at all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.asked: list[tuple[int, int]] = []
        self.for_s = 0.0
        self.answers: dict[int, tuple[int, Counter[LocalPort]]] = {}
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.reader = OpenedByProc(cast("Helper", self))

    def map(
        self, _: object, threads: Collection[tuple[int, int]], until_s: float
    ) -> Iterator[tuple[tuple[int, int], tuple[int, Counter[LocalPort]] | None]]:
        self.asked, self.for_s = list(threads), until_s - self.now
        self.now += 0.1
        yield from ((thread, self.answers.get(thread[0])) for thread in threads)


def test_who_did_not_answer_holds_what_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = Answering(monkeypatch)
    helper.answers = {7: (70, Counter({FOUR: 3, SIX: 1})), 9: (90, Counter())}
    holders = {pid: Facts(pid, pid + 1, 5, "w", {}, {}, sure=False) for pid in (7, 8, 9)}
    helper.reader.read(frozenset({80}), [(NETNS, Look((), connections=()))], holders, took_s=0.3)
    assert (helper.asked, helper.for_s) == ([(7, 8), (8, 9), (9, 10)], 0.5)
    found = helper.reader.last
    assert found is not None
    assert (found.at_s, found.started) == (1000.1, {7: 70, 9: 90})
    assert found.counts == {(7, FOUR): 3, (7, SIX): 1}
    assert found.namespaces == frozenset({NETNS})
    for after_s, due in ((19.9, False), (0.2, True)):  # 50 times 0.3 s and 0.1 s
        helper.now += after_s
        assert helper.reader.due is due


def test_what_a_process_holds_counts_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {3: 100, 4: 100, 5: 101, 6: 102, 7: 999}
    where = {100: FOUR, 101: FOUR, 102: SIX, 103: SIX}
    monkeypatch.setattr(procfs, "stat", lambda pid: ("w", 10 * pid))
    monkeypatch.setattr(procfs, "descriptors", lambda *_: (held, [], True))
    assert opened_module.count(where, (7, 8)) == (70, {FOUR: 2, SIX: 1})
    monkeypatch.setattr(procfs, "descriptors", lambda *_: (held, [], False))
    with pytest.raises(OSError, match="too many open files"):
        opened_module.count(where, (7, 8))


@pytest.mark.parametrize(
    ("place", "port"),
    [
        (Place(1, "ipv4", None, 80), LocalPort(1, 80, "ipv4")),
        (Place(1, "ipv4", "10.0.0.1", 80), LocalPort(1, 80, "ipv4")),
        (Place(None, "ipv4", None, 80), None),
        (Place(1, None, None, 80), None),
        (Place(1, "ipv4"), None),
        (ELSEWHERE, None),
    ],
)
def test_closed_listeners_have_a_port_where_all_had_the_same(
    place: Place, port: LocalPort | None
) -> None:
    assert port_of(place, Listeners(Filters())) == port
