"""Who reads a UDP socket: the model's rows, and the sentences below the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.facts.datagrams import ReaderCount
from accepttrace.facts.records import OUTSIDE, Holder
from accepttrace.facts.sight import Sight
from accepttrace.model.datagrams import Reader, ReceiverSnapshot
from accepttrace.probe.load import btf, loaders
from accepttrace.probe.plans import READS_BLIND, UDP_PLANS
from accepttrace.views import receivers as table
from accepttrace.views.readers import shared_reads
from accepttrace.views.receiverlines import csv_fields, csv_rows, snapshot_line
from accepttrace.views.text import plain

from .pictures import holder
from .udppictures import READS, feed, receiver, tracker

SCHEMA = Draft202012Validator(
    json.loads((Path(accepttrace.views.__file__).parent / "udp.schema.json").read_text())
)


def count(pid: int, packets: int, inode: int = 1, start_ticks: int | None = None) -> ReaderCount:
    start = holder(pid).start_ticks if start_ticks is None else start_ticks
    return ReaderCount(inode, pid, start, "comm", packets)


def picture(
    *counts: ReaderCount, holders: tuple[Holder, ...] = (), sees: Sight = READS, sockets: int = 1
) -> ReceiverSnapshot:
    model = tracker(sees=sees)
    rows = [receiver(inode, holders, queue=1) for inode in range(1, sockets + 1)]
    feed(model, 1, [], rows, readers=counts)
    snapshot = model.snapshot()
    SCHEMA.validate(json.loads(snapshot_line(snapshot)))
    return snapshot


def sentences(snapshot: ReceiverSnapshot) -> list[str]:
    return list(shared_reads(snapshot.sockets))


def test_those_outside_of_the_pid_namespace_are_one_reader_without_a_pid() -> None:
    outsiders = ReaderCount(1, 0, 0, OUTSIDE, 10)
    snapshot = picture(count(2, 30), outsiders, holders=(holder(2),))
    (row,) = snapshot.sockets
    assert row.readers is not None
    assert [(one.pid, one.name, one.packets) for one in row.readers] == [
        (2, "nginx: worker", 30),
        (None, OUTSIDE, 10),
    ]
    assert sentences(snapshot) == [
        "127.0.0.1:53 (inode 1): 40 packets read: pid 2 nginx: worker 30 (75.0%),"
        " outside this PID namespace 10 (25.0%)"
    ]
    values = dict(zip(csv_fields(), csv_rows(snapshot).split(","), strict=False))
    assert values["readers"] == "2:30;:10"


def test_holders_that_read_nothing_are_among_the_readers_and_the_gone_have_their_comm() -> None:
    snapshot = picture(count(2, 30), count(9, 10), holders=(holder(1), holder(2)))
    (row,) = snapshot.sockets
    assert row.read == 40
    assert row.readers == (
        Reader(2, holder(2).start_ticks, "nginx: worker", 30, 0.75),
        Reader(9, holder(9).start_ticks, "comm", 10, 0.25),
        Reader(1, holder(1).start_ticks, "nginx: worker", 0, 0.0),
    )
    assert sentences(snapshot) == [
        "127.0.0.1:53 (inode 1): 2 of 3 processes read 40 packets: pid 2 nginx: worker 30 (75.0%),"
        " pid 9 comm 10 (25.0%)"
    ]
    assert " ".join(plain(table.render(snapshot, 80, None)).split()).count("pid 9 comm 10") == 1


def test_a_pid_that_is_used_again_is_another_process() -> None:
    snapshot = picture(count(2, 3, start_ticks=0), holders=(holder(2),))
    (row,) = snapshot.sockets
    assert [(one.pid, one.packets) for one in row.readers or ()] == [(2, 3), (2, 0)]


def test_where_nobody_has_read_there_are_no_shares() -> None:
    snapshot = picture(holders=(holder(1), holder(2)))
    (row,) = snapshot.sockets
    assert (row.read, {one.share for one in row.readers or ()}) == (0, {None})
    assert sentences(snapshot) == ["127.0.0.1:53 (inode 1): none of 2 processes has read anything"]


def test_a_socket_of_one_process_gets_no_sentence() -> None:
    assert sentences(picture(count(1, 5), holders=(holder(1),))) == []


def test_what_is_not_seen_is_unknown() -> None:
    snapshot = picture(holders=(holder(1), holder(2)), sees=Sight.of("datagrams"))
    (row,) = snapshot.sockets
    assert (row.read, row.readers, sentences(snapshot)) == (None, None, [])
    assert "READ" not in plain(table.render(snapshot, 200, None))
    values = dict(zip(csv_fields(), csv_rows(snapshot).split(","), strict=False))
    assert values["read"] == values["readers"] == ""


def test_csv_has_what_each_read() -> None:
    snapshot = picture(count(2, 30), holders=(holder(1), holder(2)))
    values = dict(zip(csv_fields(), csv_rows(snapshot).split(","), strict=False))
    assert (values["read"], values["readers"]) == ("30", "2:30;1:0")


def test_sentences_and_the_names_in_one_are_bounded() -> None:
    counts = [count(pid, 1, inode) for inode in range(1, 7) for pid in range(1, 12)]
    found = sentences(picture(*counts, sockets=6))
    assert len(found) == 4 + 1
    assert found[0].endswith(f" pid 8 comm 1 ({1 / 11:.1%}) and 3 more")
    assert found[-1] == "2 more sockets with several readers: see JSON"
    for number in (4, 5):
        last = sentences(picture(*counts, sockets=number))[-1]
        assert last.startswith("127.0.0.1:53 (inode 4)" if number == 4 else "1 more socket with")
    eight = [count(pid, 1) for pid in range(1, 9)]
    assert sentences(picture(*eight))[0].endswith(" pid 8 comm 1 (12.5%)")


def test_sockets_that_are_read_most_come_first() -> None:
    counts = [
        count(pid, pid * n, inode) for inode, n in ((1, 5), (2, 50), (3, 7)) for pid in (1, 2)
    ]
    found = sentences(picture(*counts, sockets=3))
    assert [line.split()[2].rstrip("):") for line in found] == ["2", "3", "1"]


def test_a_socket_that_was_read_has_a_row_of_its_own() -> None:
    model = tracker(sees=READS)
    sockets = [receiver(inode) for inode in range(1, 400)]
    feed(model, 1, [], sockets, readers=[count(1, 5, inode=7)])
    first, crowd = sorted(model.snapshot().sockets, key=lambda row: row.folded)
    assert (first.inode, first.read) == (7, 5)
    assert (crowd.folded, crowd.read, crowd.readers) == (398, 0, ())


def test_one_hook_sees_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracepoint, before it a trampoline, and none where there is neither."""
    monkeypatch.setattr(loaders, "has_function", lambda name: name != "sock_recv_length")
    monkeypatch.setattr(btf, "parameters", lambda _: 2)
    for tracepoint, expected in ((True, ["raw_tp_recv_length"]), (False, ["fentry_consume_udp"])):
        monkeypatch.setattr(loaders, "has_tracepoint", lambda _, there=tracepoint: there)
        for plan in UDP_PLANS[:2]:
            found = loaders.usable_hooks(plan)
            assert [one.program for one in found if one.proves == "read"] == expected
    fallback = UDP_PLANS[1].fallback
    assert fallback
    assert not fallback.needs_trampolines
    assert fallback.with_hooks(loaders.usable_hooks(fallback)).blind_spots[-1] == READS_BLIND


def test_a_kernel_without_the_tracepoint_says_so() -> None:
    for plan in UDP_PLANS:
        assert plan.with_hooks(plan.hooks) is plan
        without = plan.with_hooks([hook for hook in plan.hooks if hook.proves != "read"])
        assert without.sees == replace(plan.sees, read=False)
        assert without.blind_spots[-1] == READS_BLIND
        assert without.with_hooks(()) is without
