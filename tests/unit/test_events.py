"""What happened, with its time: made from one reading to the next, and said in one line each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import Filters
from accepttrace.facts.kin import Kin, NetSettings, Surroundings
from accepttrace.facts.records import Flow, Inventory, Listener, ListenerCount, Overflow
from accepttrace.model import events
from accepttrace.model.findings import Findings
from accepttrace.model.snapshot import Event, Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.model.who.diagnoses import diagnoses
from accepttrace.model.who.tree import answer
from accepttrace.views import events as view
from accepttrace.views import table
from accepttrace.views.screen.pages import explained
from accepttrace.views.text import plain
from tests.unit.pictures import count, feed, holder, listener, tracker

NETNS = 4026531840
MASTER = holder(1000, False, name="nginx: master")


def members(sockets: int, *, size: int | None = None, first: int = 200) -> list[Any]:
    """A reuseport group in which worker 1001 waits on the first socket, and so on."""
    return [
        listener(first + own, [holder(1001 + own)], group=7, size=sockets if size is None else size)
        for own in range(sockets)
    ]


def seen(
    inode: int = 100,
    overflow: Sequence[int] = (0, 0, 0, 0),
    lost: int = 0,
    port: int = 80,
) -> ListenerCount:
    """A listener as hooks counted it: `overflow` as SYNs, ACKs, aborted, clients."""
    return ListenerCount(
        inode, NETNS, "ipv4", "0.0.0.0", port, 0, flow=Flow(10, lost, 0, 0, 0),
        overflow=Overflow(*overflow), cut_off=0,
    )  # fmt: skip


def words(snapshot: Snapshot) -> list[str]:
    """The lines of all events, without the clock."""
    lines = [plain(view.line_of(snapshot, event, 300)).strip() for event in snapshot.events]
    return [line.partition("Z ")[2] for line in lines]


def only(snapshot: Snapshot) -> Event:
    (event,) = snapshot.events
    return event


def found_by(it: Findings, rows: Sequence[Listener], elapsed_s: float) -> list[str]:
    return [one.kind for one in it.update(Inventory(tuple(rows)), 1, elapsed_s)]


def test_what_is_wrong_with_a_group_is_looked_for_again_and_said_once_it_has_lasted() -> None:
    it, (first, second) = Findings(), members(2)
    found_by(it, [], 4.0)
    mixed = (first, replace(second, backlog=9))
    for elapsed_s, kinds in ((13.9, []), (14.0, []), (15.9, []), (16.0, ["MIXED BACKLOGS"])):
        assert found_by(it, mixed, elapsed_s) == kinds
    # Nobody says that it is otherwise by now.
    for elapsed_s, kinds in ((23.9, ["MIXED BACKLOGS"]), (24.0, [])):
        assert found_by(it, (first, second), elapsed_s) == kinds


def test_what_was_wrong_before_anybody_looked_is_said_with_the_second_look() -> None:
    it, (first, second) = Findings(), members(2)
    dead = (first, replace(second, holders=(holder(1002, False),)))
    assert [found_by(it, dead, elapsed_s) for elapsed_s in (0.1, 0.5)] == [[], []]
    assert found_by(it, dead, 1.1) == ["NOBODY WAITS"]
    assert found_by(it, (first, second), 1.2) == []  # it is looked for at once
    assert [found_by(it, dead, elapsed_s) for elapsed_s in (12.0, 13.9)] == [[], []]


def test_where_connections_wait_each_look_is_a_new_one() -> None:
    it = Findings()
    texts = []
    for elapsed_s in (0.0, 1.0, 2.0):
        late = replace(listener(100, [holder(1)]), queue=3, oldest_us=int(1e6 + 1e6 * elapsed_s))
        texts += [one.text for one in it.update(Inventory((late,)), 1, elapsed_s)]
    assert [text.partition("oldest for ")[2][:5] for text in texts] == ["2.0 s", "3.0 s"]
    assert it.update(Inventory((listener(100, [holder(1)]),)), 1, 3.0) == []


def test_of_very_many_holders_not_each_look_is_a_new_one() -> None:
    it, many = Findings(), [holder(pid) for pid in range(1000)]
    rows = [replace(listener(i, many), queue=600, backlog=511) for i in range(300)]
    assert len(found_by(it, rows, 0.0) + found_by(it, rows, 1.0)) == 300
    emptied = [replace(row, queue=0) for row in rows]
    assert len(found_by(it, emptied, 2.9)) == 300
    assert found_by(it, emptied, 3.0) == []


def test_packets_that_were_dropped_are_one_event_while_it_goes_on() -> None:
    model, there = tracker(), [listener(100, [holder(1)])]
    feed(model, 1, [count(1, 5)], there, counted=[seen()])
    assert model.snapshot().events == ()
    feed(model, 2, [count(1, 5)], there, counted=[seen(100, (4, 0, 0, 2))])
    model.snapshot()
    feed(model, 9, [count(1, 5)], there, counted=[seen(100, (12, 3, 0, 9))])
    snapshot = model.snapshot()
    event = only(snapshot)
    assert (event.began_s, event.until_s, event.going_on) == (2.0, 9.0, True)
    assert words(snapshot) == [
        "LOST 12 SYNs and 3 final ACKs dropped from 9 clients (queue full); the last at 12:00:09Z"
    ]


def losses(model: Tracker, steps: Mapping[float, Sequence[int]]) -> Snapshot:
    """By second, what hooks had counted; a picture at each."""
    for second, overflow in steps.items():
        feed(model, second, [], [listener(100, [holder(1)])], counted=[seen(100, overflow)])
        snapshot = model.snapshot()
    return snapshot


def test_losses_that_follow_soon_belong_together_and_later_ones_are_another_event() -> None:
    snapshot = losses(
        tracker(),
        {1: (0, 0, 0, 0), 2: (4, 0, 0, 2), 12: (6, 0, 0, 3), 13: (6, 0, 0, 3), 22.1: (7, 0, 0, 4)},
    )
    first, second = snapshot.events
    assert (first.began_s, first.until_s, first.going_on) == (2.0, 12.0, False)
    assert (first.lost, first.clients) == ({"overflow_syn": 6}, 3)
    assert (second.began_s, second.lost, second.going_on) == (22.1, {"overflow_syn": 1}, True)
    # Of the four clients, those of the second event are not known apart.
    assert second.clients is None
    assert (first.number, second.number) == (1, 2)


def test_what_is_not_known_any_more_was_not_lost_anew() -> None:
    model, there = tracker(), [listener(100, [holder(1)])]
    known = seen(100, (4, 0, 0, 2))
    for second, count_now in enumerate((known, replace(known, overflow=None), known), 1):
        feed(model, second, [], there, counted=[count_now])
        model.snapshot()
    assert only(model.snapshot()).lost == {"overflow_syn": 4}


def test_a_reload_is_one_event_with_what_it_cost() -> None:
    model = tracker()
    old, new = [holder(pid) for pid in (1, 2)], [holder(pid) for pid in (11, 12)]
    taken = [count(1, 5), count(2, 5)]
    feed(model, 1, taken, [listener(100, [MASTER, *old])], counted=[seen()])
    model.snapshot()
    feed(model, 2, taken, [listener(100, [MASTER, *old[:1], *new])], counted=[seen()])
    assert words(model.snapshot()) == [
        "WORKERS 1 of 2 workers gone, 2 new workers (nginx: worker), 0 connections reset"
    ]
    feed(model, 3, taken, [listener(100, [MASTER, *new])], counted=[seen()])
    snapshot = model.snapshot()
    assert words(snapshot) == ["RELOAD 2 workers (nginx: worker) replaced, 0 connections reset"]
    assert (only(snapshot).began_s, only(snapshot).until_s) == (2.0, 3.0)


def test_where_resets_are_not_visible_none_are_spoken_of() -> None:
    model = tracker()
    feed(model, 1, [count(1, 5)], [listener(100, [holder(1)])])
    model.snapshot()
    feed(model, 2, [count(1, 5)], [listener(100, [holder(9)])])
    snapshot = model.snapshot()
    assert words(snapshot) == ["RELOAD 1 worker (nginx: worker) replaced"]
    assert only(snapshot).lost == {}


def test_a_restart_in_between_which_the_port_is_closed_is_one_reload() -> None:
    model = tracker()
    feed(model, 1, [count(1, 5)], [listener(100, [holder(1)])], counted=[seen()])
    model.snapshot()
    gone = [replace(seen(lost=3), stops=1)]
    feed(model, 2, [count(1, 5)], [], counted=gone)
    assert words(model.snapshot()) == [
        "CLOSED 1 socket closed, held by 1 worker (nginx: worker), 3 connections reset -> Where no"
        " other socket takes its connections, clients are refused: have its program listen there"
        " again"
    ]
    feed(model, 4, [count(1, 5)], [listener(101, [holder(2)])], counted=[*gone, seen(101)])
    assert words(model.snapshot()) == [
        "RELOAD 1 worker (nginx: worker) replaced, 3 connections reset"
    ]


def test_a_port_that_nobody_used_closes_in_silence() -> None:
    model = tracker()
    feed(model, 1, [], [listener(100, [holder(1)])])
    model.snapshot()
    feed(model, 2, [], [])
    assert model.snapshot().events == ()


def test_a_group_that_changed_is_reported_once() -> None:
    model = tracker(Filters())
    for second, sockets in enumerate((4, 4, 5, 3), 1):
        feed(model, second, [], members(sockets))
        snapshot = model.snapshot()
    assert words(snapshot) == [
        "GROUP shrank from 4 to 3 sockets, 1 of 4 workers gone (nginx: worker)"
    ]
    assert (only(snapshot).began_s, only(snapshot).until_s) == (3.0, 4.0)
    feed(model, 20, [], members(4))
    assert words(model.snapshot())[1:] == [
        "GROUP grew from 3 to 4 sockets, 1 new worker (nginx: worker)"
    ]


def test_what_starts_while_tracing_runs_has_not_changed() -> None:
    model = tracker(Filters())
    feed(model, 1, [], [])
    model.snapshot()
    for second, sockets in enumerate((1, 3, 4), 2):
        feed(model, second, [], members(sockets))
        snapshot = model.snapshot()
    assert snapshot.events == ()


def test_who_held_the_socket_before_has_not_come_when_it_first_waits() -> None:
    model = tracker()
    for second, waits in enumerate((None, True), 1):
        feed(model, second, [], [listener(100, [holder(1), holder(2, waits)])])
        snapshot = model.snapshot()
    assert snapshot.events == ()


def test_a_queue_that_nobody_empties_began_and_ended() -> None:
    model = tracker()
    full = replace(listener(100, [holder(1)], queue=3), oldest_us=2_000_000)
    feed(model, 1, [count(1, 5)], [listener(100, [holder(1)])])
    model.snapshot()
    for second in (2, 3):
        feed(model, second, [count(1, 5)], [full])
        snapshot = model.snapshot()
    event = only(snapshot)
    assert (event.kind, event.began_s, event.going_on) == ("STUCK", 2.0, True)
    assert words(snapshot) == ["STUCK since then"]  # the verdict above says the rest
    feed(model, 4, [count(1, 8)], [listener(100, [holder(1)])])
    snapshot = model.snapshot()
    assert (only(snapshot).until_s, only(snapshot).going_on) == (4.0, False)
    assert words(snapshot)[0].startswith("STUCK nobody accepts from socket 100 (pid 1): 3 of 512")
    assert words(snapshot)[0].endswith("; until 12:00:04Z")
    feed(model, 5, [count(1, 8)], [full])
    assert (only(model.snapshot()).number, only(model.snapshot()).going_on) == (1, True)


def test_a_fault_lasts_however_seldom_it_is_looked_at() -> None:
    model = tracker()
    full = replace(listener(100, [holder(1)], queue=3), oldest_us=2_000_000)
    for second in (0, 60, 120):
        feed(model, second, [], [full])
        found = {one.kind: (one.began_s, one.until_s) for one in model.snapshot().events}
    assert found == {"STUCK": (0.0, 120.0), "WAITS LONG": (60.0, 120.0)}


def test_looking_twice_changes_nothing() -> None:
    model = tracker()
    feed(model, 1, [count(1, 5)], [listener(100, [holder(1)])], counted=[seen()])
    model.snapshot()
    feed(model, 2, [count(1, 5)], [listener(100, [holder(9)])], counted=[seen(100, (4, 0, 0, 2))])
    once = model.snapshot().events
    assert len(once) == 2
    assert model.snapshot("socket").events == model.snapshot().events == once
    assert model.summary().events == once


def test_of_too_many_events_those_without_a_loss_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 3)
    model = tracker(Filters())
    steps = {second: (second // 30, 0, 0, 1) for second in range(0, 150, 15)}
    for second, overflow in steps.items():
        there = [listener(100, [holder(1 + second)])]
        feed(model, second, [count(1 + second, 5)], there, counted=[seen(100, overflow)])
        snapshot = model.snapshot()
    assert [event.kind for event in snapshot.events] == ["LOST", "LOST", "RELOAD"]
    assert snapshot.earlier_events == snapshot.events[-1].number - 3 == 10
    assert f"… {snapshot.earlier_events} earlier events" in plain(
        table.render(model.summary(), 120, None)
    )


def test_an_event_says_where_if_there_are_several_places() -> None:
    model = tracker(Filters())
    there = [listener(100, [holder(1)]), listener(101, [holder(2)], port=81)]
    for second, syns in ((1, 0), (2, 4)):
        feed(
            model, second, [], there, counted=[seen(), seen(101, (syns, 0, 0, syns // 4), port=81)]
        )
        snapshot = model.snapshot()
    assert words(snapshot) == ["LOST 0.0.0.0:81: 4 SYNs dropped from 1 client (queue full)"]


def test_a_table_of_an_interval_has_the_changes_of_it_and_the_summary_has_all() -> None:
    model = tracker()
    for second, pid in ((1, 1), (2, 9), (3, 9)):
        feed(model, second, [], [listener(100, [holder(pid)])])
        shown = plain(table.render(model.snapshot(), 120, None, footer=False))
        assert ("RELOAD" in shown) == (second == 2)
    assert "12:00:02Z RELOAD 1 worker" in plain(table.render(model.summary(), 120, None))


def test_a_member_that_nobody_waits_on_is_an_event_once_that_has_lasted() -> None:
    model = tracker()
    dead = listener(201, [holder(1001, False)], group=7, size=2)
    there = [listener(200, [holder(1001)], group=7, size=2), dead]
    feed(model, 0, [], [])
    feed(model, 1, [count(1001, 5, 200)], there)
    assert model.snapshot().events == ()
    feed(model, 2, [count(1001, 6, 200)], there)
    assert model.snapshot().events == ()
    feed(model, 3, [count(1001, 7, 200)], there)
    event = only(model.snapshot())
    assert (event.kind, event.began_s, event.inode, event.going_on) == (
        "NOBODY WAITS",
        3.0,
        201,
        True,
    )
    assert words(model.snapshot())[0].startswith(
        "NOBODY WAITS socket 201, 1 of 2 of the group: nobody waits on it; 50% of all new"
    )
    feed(model, 4, [count(1001, 8, 200)], there)
    assert only(model.snapshot()).until_s == 4.0
    feed(model, 5, [count(1001, 9, 200)], members(2))
    ended = [one for one in model.snapshot().events if one.kind == "NOBODY WAITS"]
    assert [(one.until_s, one.going_on) for one in ended] == [(5.0, False)]


def test_what_to_do_stands_in_its_line_while_it_goes_on_and_on_the_page_that_explains() -> None:
    model = tracker()
    dead = listener(201, [holder(1001, False)], group=7, size=2)
    for second in range(1, 4):
        there = [listener(200, [holder(1001)], group=7, size=2), dead]
        feed(model, second, [count(1001, second, 200)], there)
        snapshot = model.snapshot()
    remedy = "-> Close the socket in whoever holds it, or have that accept again"
    for width in (80, 200):
        lines = plain(view.line_of(snapshot, only(snapshot), width)).splitlines()
        assert " ".join(" ".join(lines).split()).endswith(remedy)
        assert all(len(line) <= width for line in lines)
    assert remedy in " ".join(plain(table.render(model.summary(), 120, None)).split())
    page = " ".join(plain(explained(snapshot, 80)).split())
    assert "NOBODY WAITS (found by who)" in page
    assert "What to do: Close the socket" in page
    feed(model, 4, [count(1001, 9, 200)], members(2))
    model.snapshot()
    assert remedy not in " ".join(words(model.snapshot()))


def relatives(
    *parents: tuple[int, int], cpus: str = "0-3", stopped: bool = False, **more: Any
) -> Surroundings:
    kin = {pid: Kin(pid, pid, "srv", parent, parent, 33, cpus, stopped) for pid, parent in parents}
    return Surroundings({1: Kin(1, 1, "systemd", 0, 1, 0, cpus)} | kin, **more)


SERVER, HELPER = holder(1001), holder(1002, False, name="logger")
WORKERS = [holder(1001), holder(1002)]
APART = [replace(one, backlog=number) for one, number in zip(members(2), (64, 128), strict=True)]
TWO_PROGRAMS = [
    listener(200, [holder(1001, name="one")], group=7, size=2),
    listener(201, [holder(1002, name="other")], group=7, size=2),
]
FOUR_SIX = [
    listener(200, [holder(1001, name="one")]),
    listener(201, [holder(1002, name="other")], address="::"),
]
SMALL = {NETNS: NetSettings(511, False)}
RELOADED = [
    listener(200 + n, [MASTER, holder(1001 + n, start=100_000)], group=7, size=2) for n in (0, 1)
]


@pytest.mark.parametrize(
    ("kind", "there", "around"),
    [
        ("HELPER HOLDS IT", [listener(100, [SERVER, HELPER])], relatives((1001, 1), (1002, 1001))),
        ("OLD WORKERS", [listener(100, WORKERS)], relatives((1001, 1), (1002, 1))),
        ("FOREIGN PROGRAM", TWO_PROGRAMS, relatives((1001, 7), (1002, 8))),
        ("SECOND INSTANCE", members(2), relatives((1001, 7), (1002, 8))),
        ("TWO PROGRAMS", FOUR_SIX, relatives((1001, 7), (1002, 8))),
        ("OTHER OWNER", [replace(one, uid=n) for n, one in enumerate(FOUR_SIX)], relatives()),
        ("MIXED BACKLOGS", APART, relatives()),
        ("BACKLOG CUT", [replace(listener(100, [SERVER]), drops=1)], relatives(settings=SMALL)),
        ("NO MIGRATION", RELOADED, relatives((1001, 1000), (1002, 1000), settings=SMALL)),
    ],
)
def test_what_who_finds_wrong_is_an_event_in_the_words_of_who(
    kind: str, there: list[Listener], around: Surroundings
) -> None:
    model = tracker()
    feed(model, 0, [], [])
    for second in range(1, 5):
        feed(model, second, [], there, around=around if second == 1 else None)
        found = [one for one in model.snapshot().events if one.kind == kind]
        assert len(found) == (second > 2)
    of_who = diagnoses(answer(Inventory(tuple(there)), around))
    assert found[0].text in [one.text for one in of_who if one.kind == kind]
    feed(model, 5, [], [listener(100, [holder(1001, name="srv")])], around=relatives((1001, 1)))
    assert not [one for one in model.snapshot().events if one.kind == kind and one.going_on]


def test_workers_on_unlike_cpus_are_an_event() -> None:
    model, wide, small = tracker(), relatives((1001, 7)), relatives((1002, 7), cpus="0")
    for second in range(1, 4):
        feed(model, second, [], members(2), around=Surroundings({**wide.kin, **small.kin}))
        model.snapshot()
    (event,) = [one for one in model.snapshot().events if one.kind == "UNEQUAL PLACES"]
    assert event.text == "its workers may run on 1 to 4 CPUs"


@pytest.mark.parametrize("facts", [{}, {"group": 7, "size": 1}])
def test_a_lone_socket_that_nobody_waits_on_is_an_event_before_any_client_comes(
    facts: dict[str, Any],
) -> None:
    model = tracker()
    for second in range(1, 6):
        feed(model, second, [], [listener(100, [holder(1, False)], **facts)])
        found = model.snapshot().events
    assert [(one.kind, one.inode) for one in found] == [("NOBODY WAITS", 100)]


def test_a_full_queue_and_who_is_stopped_are_events_with_what_to_do() -> None:
    model = tracker()
    full = replace(listener(100, [holder(1001)], queue=513), backlog=512, oldest_us=3_000_000)
    for second in range(1, 4):
        feed(model, second, [], [full], around=relatives((1001, 1), stopped=True))
        snapshot = model.snapshot()
    by_kind = {
        one.kind: " ".join(plain(view.line_of(snapshot, one, 80)).split())
        for one in snapshot.events
    }
    assert "513 connections wait where backlog 512 lets one more wait" in by_kind["QUEUE FULL"]
    assert by_kind["QUEUE FULL"].endswith("-> Find out why nobody accepts faster")
    assert (
        "(pid 1001) STOPPED -> Continue (SIGCONT), thaw (docker unpause) or"
        in by_kind["WAITS LONG"]
    )
    shown = plain(table.render(snapshot, 80, None, footer=False))
    assert all(f"Z {kind} " in shown for kind in ("QUEUE FULL", "WAITS LONG"))


def test_where_there_are_several_namespaces_an_event_says_in_which() -> None:
    model = tracker()
    dead = listener(100, [holder(1, False)])
    for second in range(1, 6):
        feed(model, second, [], [dead, replace(listener(101, [holder(2)]), netns=7)])
        shown = words(model.snapshot())
    assert shown[0].startswith(f"NOBODY WAITS 0.0.0.0:80 in netns {NETNS}: socket 100: nobody")


def test_only_those_that_were_asked_for_have_findings() -> None:
    there = [replace(listener(100 + pid, [holder(pid, False)]), local_port=pid) for pid in (1, 2)]
    for filters, ports in ((Filters(pids=frozenset({2})), [2]), (Filters(), [1, 2])):
        model = tracker(filters)
        for second in range(1, 6):
            feed(model, second, [], there)
            found = model.snapshot().events
        assert [one.local_port for one in found] == ports


def test_what_comes_back_soon_had_not_ended() -> None:
    model = tracker()
    well = listener(100, [holder(1)])
    full = replace(well, queue=6, backlog=5)
    for second, row in ((0, well), (1, full), (3, full), (4, well), (11, full), (13, full)):
        feed(model, second, [], [row])
        found = [one for one in model.snapshot().events if one.kind == "QUEUE FULL"]
    assert [(one.began_s, one.until_s, one.going_on) for one in found] == [(3.0, 13.0, True)]
    for second, row in ((14, well), (25, full), (27, full)):
        feed(model, second, [], [row])
        found = [one for one in model.snapshot().events if one.kind == "QUEUE FULL"]
    assert [(one.began_s, one.going_on) for one in found] == [(3.0, False), (27.0, True)]


def test_two_findings_of_a_kind_at_one_place_are_two_events() -> None:
    model = tracker()
    kin = relatives((1001, 1), (1002, 1), (1003, 1), (1004, 1)).kin
    near = Surroundings(
        {pid: one._replace(session=7 + pid % 2) for pid, one in kin.items() if pid > 1}
        | {1: kin[1]}
    )
    for second in range(1, 4):
        feed(
            model, second, [], [listener(100, [holder(pid) for pid in kin if pid > 1])], around=near
        )
        found = model.snapshot().events
    assert [one.kind for one in found] == ["OLD WORKERS", "OLD WORKERS"]
    assert [re.findall(r"pid (\d+)", one.text or "") for one in found] == [
        ["1001", "1003"],
        ["1002", "1004"],
    ]
