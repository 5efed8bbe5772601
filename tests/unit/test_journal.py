"""The journal by itself: when an event goes on, when it ends, and which are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import Filters
from accepttrace.facts.records import Came, Holder, Listener
from accepttrace.model import events
from accepttrace.model.census import Census
from accepttrace.model.events import SOON_S, Journal
from accepttrace.model.listeners import Listeners
from accepttrace.model.snapshot import Event, NamespaceLoss, Verdict
from accepttrace.model.verdict import Finding, Word
from tests.unit.pictures import count, feed, four_workers, holder, listener, seen, tracker

ROW = seen(four_workers()).listeners[0]
NETNS = ROW.netns or 0
PLACE = (NETNS, "ipv4", "0.0.0.0", 80)


class Scene:
    """What is said at each second."""

    def __init__(self) -> None:
        self.it = Journal(Listeners(Filters()), Census())

    def lose(self, now_s: float, *shared: NamespaceLoss, **facts: Any) -> None:
        """By one listener, so far."""
        self.it.begin(now_s, f"at {now_s}")
        self.it.lose([replace(ROW, **facts)], shared)

    def judge(self, now_s: float, *words: Word, text: str = "why", **facts: Any) -> None:
        self.it.begin(now_s, f"at {now_s}")
        here = Verdict(NETNS, "ipv4", "0.0.0.0", 80, None, 100, 1.0, None, Finding("FAIR", ""))
        found = [replace(here, finding=Finding(word, text), **facts) for word in words]
        self.it.judge(found)

    @property
    def told(self) -> list[tuple[str, float, float, bool]]:
        return [(e.kind, e.began_s, e.until_s, e.going_on) for e in self.it.events]


def test_losses_at_most_so_far_apart_are_one_event() -> None:
    scene = Scene()
    scene.lose(1)
    assert scene.told == []
    scene.lose(2, dropped_other=1)
    scene.lose(2 + SOON_S, dropped_other=3, lost_on_close=2)
    (one,) = scene.it.events
    assert one == Event(
        *(1, "LOST", "at 2", 2, 2 + SOON_S, True, NETNS, "ipv4", "0.0.0.0", 80),
        inode=100,
        lost={"dropped_other": 3, "lost_on_close": 2},
    )
    scene.lose(2 + 2 * SOON_S, dropped_other=3, lost_on_close=2)
    assert scene.told == [("LOST", 2, 12, True)]
    scene.lose(2.1 + 2 * SOON_S, dropped_other=3, lost_on_close=2)
    assert scene.told == [("LOST", 2, 12, False)]
    scene.lose(23, dropped_other=4, lost_on_close=2)
    assert scene.told == [("LOST", 2, 12, False), ("LOST", 23, 23, True)]
    assert scene.it.events[1].lost == {"dropped_other": 1}
    assert scene.it.earlier == 0


def test_packets_of_a_full_queue_are_by_kind_where_hooks_tell_them_apart() -> None:
    scene = Scene()
    facts: dict[str, Any] = {"dropped_overflow": 5, "overflow_syn": 3, "overflow_ack": 2}
    scene.lose(1, **facts, overflow_peers=4)
    assert scene.it.events[0].lost == {"overflow_syn": 3, "overflow_ack": 2}
    assert scene.it.events[0].clients == 4
    other = Scene()
    other.lose(1, **{**facts, "overflow_syn": None, "overflow_ack": None})
    assert other.it.events[0].lost == {"dropped_overflow": 5}
    assert other.it.events[0].clients is None


def test_clients_are_known_of_one_listener_alone() -> None:
    scene = Scene()
    scene.lose(1, overflow_syn=3, overflow_peers=2)
    scene.lose(2, overflow_syn=4, overflow_peers=3)
    assert (scene.it.events[0].clients, scene.it.events[0].inode) == (3, 100)
    scene.lose(3, overflow_syn=1, overflow_peers=1, inode=101)
    assert (scene.it.events[0].clients, scene.it.events[0].inode) == (None, None)
    assert scene.it.events[0].lost == {"overflow_syn": 5}
    scene.lose(4, overflow_syn=5, overflow_peers=4)
    assert scene.it.events[0].clients is None
    folded = Scene()
    folded.lose(1, inode=None, overflow_syn=3)
    assert folded.told == []


def test_what_was_lost_at_one_of_several_is_of_the_namespace() -> None:
    scene = Scene()
    loss = NamespaceLoss(NETNS, "overflow", 5, (100, 101), sure=True)
    scene.lose(1, replace(loss, sure=False))
    assert scene.told == []
    scene.lose(2, replace(loss, packets=7), replace(loss, cause="cookie", packets=2))
    # Fewer by now: some turned out to be of a listener that is gone.
    scene.lose(3, replace(loss, packets=3), replace(loss, cause="cookie", packets=2))
    (one,) = scene.it.events
    assert one.lost == {"dropped_overflow": 2, "cookie": 2}
    assert (one.netns, one.family, one.local_address, one.local_port, one.until_s) == (
        *(NETNS, None, None, None, 2),
    )


def test_a_listener_that_is_gone_tells_its_last_once() -> None:
    scene = Scene()
    scene.lose(1, dropped_other=1)
    scene.it.close(100, replace(ROW, dropped_other=3))
    scene.it.close(100, replace(ROW, dropped_other=9))
    scene.it.close(999, replace(ROW, dropped_other=9))
    assert scene.it.events[0].lost == {"dropped_other": 3}
    scene.lose(2, dropped_other=2)
    scene.it.close(100, None)
    assert scene.it.events[0].lost == {"dropped_other": 5}


def test_a_fault_is_one_event_though_it_pauses() -> None:
    scene = Scene()
    scene.judge(1, "UNEVEN", text="first")
    scene.judge(2, "UNEVEN", text="second")
    assert scene.told == [("UNEVEN", 1, 2, True)]
    assert (scene.it.events[0].text, scene.it.events[0].inode) == ("second", 100)
    scene.judge(3, "FAIR")
    scene.judge(4, "FAIR")
    assert scene.told == [("UNEVEN", 1, 3, False)]
    scene.judge(3 + SOON_S, "UNEVEN")
    assert scene.told == [("UNEVEN", 1, 13, True)]
    scene.judge(14, "FAIR")
    scene.judge(14.1 + SOON_S, "UNEVEN")
    assert scene.told == [("UNEVEN", 1, 14, False), ("UNEVEN", 24.1, 24.1, True)]


def test_another_fault_is_another_event() -> None:
    scene = Scene()
    scene.judge(1, "UNEVEN")
    scene.judge(2, "INCOMPLETE", "UNEVEN")
    assert scene.told == [("UNEVEN", 1, 1, True)]
    scene.judge(3, "STUCK")
    assert scene.told == [("UNEVEN", 1, 3, False), ("STUCK", 3, 3, True)]
    scene.judge(4, "STUCK", inode=101)
    scene.judge(5, "IDLE WORKERS", group=7, inode=101)
    scene.judge(6, "IDLE WORKERS", group=7, inode=102)
    scene.judge(7, "UNEVEN OPEN", group=8)
    assert scene.told[2:] == [
        *(("STUCK", 4, 5, False), ("IDLE WORKERS", 5, 7, False), ("UNEVEN OPEN", 7, 7, True))
    ]
    assert [event.number for event in scene.it.events] == [1, 2, 3, 4, 5]


def test_the_first_event_makes_room_if_all_are_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 2)
    scene = Scene()
    for step in range(1, 5):
        scene.lose(20.0 * step, dropped_other=step)
    assert [event.number for event in scene.it.events] == [3, 4]
    assert scene.it.earlier == 2


def kinds(*steps: Sequence[Listener]) -> list[str]:
    model = tracker()
    for second, there in enumerate(steps, 1):
        feed(model, second, [count(1, 5), count(2, 5)], there)
        snapshot = model.snapshot()
    return [event.kind for event in snapshot.events]


def members(*inodes: int, pid: int = 1) -> list[Listener]:
    return [listener(inode, [holder(pid)], group=7, size=len(inodes)) for inode in inodes]


def one(*holders: Holder) -> list[Listener]:
    return [listener(100, holders)]


def test_a_change_is_called_by_the_gravest_that_is_true_of_it() -> None:
    first, second, third = holder(1), holder(2), holder(3)
    assert kinds(one(first, second), one(first)) == ["WORKERS"]
    assert kinds(one(first), one(first, third)) == ["WORKERS"]
    assert kinds(one(first), one(third)) == ["RELOAD"]
    assert kinds(one(first, second), one(holder(1, False), second)) == []
    assert kinds(members(100, 101), members(100, 101, 102)) == ["GROUP"]
    assert kinds(members(100, 101), members(100)) == ["GROUP"]
    assert kinds(members(100, 101), members(100, 102)) == ["CLOSED"]
    assert kinds(members(100, 101), members(200, 201, 202, pid=2)) == ["RELOAD"]
    assert kinds(one(first), []) == ["CLOSED"]


def test_what_a_change_cost_is_part_of_it() -> None:
    model = tracker()
    feed(model, 1, [count(1, 5), count(2, 5)], one(holder(1), holder(2)))
    model.snapshot()
    feed(model, 2, [count(1, 5), count(2, 5)], one(holder(1)))
    (event,) = model.snapshot().events
    assert (event.workers, event.left, event.came, event.program) == (2, 1, 0, "nginx: worker")
    assert (event.sockets, event.closed, event.opened, event.group, event.text) == (
        *(1, 0, 0, None, None),
    )
    scene = Scene()
    scene.it._begun = 1
    change = Event(1, "WORKERS", "", 1, 1, True, NETNS, "ipv4", "0.0.0.0", 80)
    scene.it._kept[1], scene.it._changes[PLACE] = change, 1
    scene.lose(2, lost_on_close=3, half_open_lost=None, dropped_other=1)
    first, second = scene.it.events
    assert first.lost == {"lost_on_close": 3}
    assert second.lost == {"dropped_other": 1}


def test_who_was_handed_a_listener_is_an_event_of_its_place_at_once() -> None:
    def handed(pid: int, came: Came | None) -> Holder:
        return replace(holder(pid, waits=True), came=came)

    scene = Scene()
    first = listener(100, [handed(10, None), handed(11, "SCM_RIGHTS")])
    second = listener(101, [handed(pid, "SCM_RIGHTS") for pid in (11, 12, 13, 14, 9)])
    third = listener(102, [handed(20, "pidfd_getfd"), handed(21, "other")], port=81)
    for now_s, rows in ((1.0, [first]), (2.0, [first]), (3.0, [first, second, third])):
        scene.it.begin(now_s, f"at {now_s}")
        scene.it.hand_over(rows)
    name = first.holders[0].name
    found = {(e.local_port, e.began_s, e.going_on, e.inode, e.text) for e in scene.it.events}
    four = ", ".join(f"pid {pid} {name}" for pid in (9, 11, 12, 13))
    assert found == {
        (80, 1.0, False, 100, f"pid 11 {name} got socket 100 over a UNIX socket (SCM_RIGHTS)"),
        (80, 3.0, False, 101, f"{four} and 1 more got socket 101 over a UNIX socket (SCM_RIGHTS)"),
        (81, 3.0, False, 102, f"pid 20 {name} got socket 102 by pidfd_getfd"),
        (81, 3.0, False, 102, f"pid 21 {name} got socket 102 from another process"),
    }
    scene.it.begin(4.0, "at 4")
    scene.it.hand_over([])
    scene.it.hand_over([first])  # as if for the first time: it was closed in between
    assert len(scene.it.events) == 5
