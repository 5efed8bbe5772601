"""The screen as lines: what stands where in every size of window, for servers of every kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from accepttrace.config import By
from accepttrace.facts.records import Losses, Overflow
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.views.screen.board import Item, Section, board
from accepttrace.views.screen.draw import Drawing, Picture, Sight, Window
from accepttrace.views.screen.foot import notes
from accepttrace.views.screen.glyphs import ASCII, BLOCKS, Glyphs, bar, trend
from accepttrace.views.screen.head import open_connections
from accepttrace.views.screen.state import Page, State, Wish, press
from accepttrace.views.screen.table import entries, in_view
from accepttrace.views.screen.words import sharing
from accepttrace.views.text import Line, cells, plain
from tests.unit.pictures import (
    META,
    SEES,
    count,
    counted,
    feed,
    four_workers,
    holder,
    listener,
    reuseport,
    seen,
)

SIZES = [(80, 24), (120, 35), (200, 50), (60, 16), (40, 12), (10, 3), (1, 1), (80, 5), (20, 40)]


def drawn(
    snapshot: Snapshot,
    size: tuple[int, int] = (80, 24),
    glyphs: Glyphs = BLOCKS,
    sight: dict[str, Any] | None = None,
    **state: Any,
) -> Picture:
    wish = Wish(snapshot.by, snapshot.window_s)
    one = Sight(snapshot, **(sight or {}))
    return Drawing(glyphs).draw(one, State(wish, **state), Window(*size))


def text(picture: Picture) -> list[str]:
    return plain(picture.lines).splitlines()


def found(picture: Picture, word: str) -> str:
    """The one line with a word."""
    (line,) = [line for line in text(picture) if word in line]
    return line


def spans(line: Line) -> list[tuple[str, str]]:
    """Its parts with their styles, without blanks around them."""
    return [(text.strip(), style) for text, style in line]


def ended(*names: str, aside: str = "") -> Snapshot:
    """A shared socket whose workers ended, the first with the most; another one has come."""
    model = Tracker(META, None, 0.0, SEES)
    old = [holder(pid, name=name) for pid, name in enumerate(names, 1)]
    rest = [holder(9, False, name=aside)] if aside else []
    taken = [count(one.pid, 10 - one.pid) for one in old]
    feed(model, 1, taken, [listener(100, [*rest, *old])])
    for second in (2, 3, 4):
        feed(model, second, taken, [listener(100, [*rest, holder(100, name="new")])])
    return model.snapshot()


def several_ports(
    ports: int = 3, workers: int = 4, by: By = "worker", first: int = 100
) -> Snapshot:
    """A shared socket at each port; at the second one worker takes all. `first`: their inodes."""
    model = Tracker(META, None, 0.0, SEES, windows=(60.0,))
    listeners, taken = [], []
    for number in range(ports):
        pids = [1000 * (number + 1) + worker for worker in range(workers)]
        listeners.append(listener(first + number, [*map(holder, pids)], port=80 + number))
        for place, pid in enumerate(pids):
            accepts = 100 if number != 1 else 400 * (place == 0)
            taken.append(count(pid, accepts, first + number, waits_us=[50 + number] * accepts))
    feed(model, 5, taken, listeners)
    return model.snapshot(by)


def reloaded() -> Snapshot:
    """Two workers ended, two came."""
    model = Tracker(META, None, 0.0, SEES)
    feed(model, 1, [count(1, 30), count(2, 20)], [listener(100, [holder(1), holder(2)])])
    later = [count(1, 30), count(2, 20), count(3, 25), count(4, 25)]
    feed(model, 2, later, [listener(100, [holder(3), holder(4)])])
    return model.snapshot()


def hostile() -> Snapshot:
    names = ("\x1b[2J\x1b]0;x\x07", "\u202eevil\u2066", "世" * 90, "e" + "\u0301" * 200, "a\nb\r")
    model = Tracker(META, None, 0.0, SEES)
    holders = [holder(10 + i, name=name) for i, name in enumerate(names)]
    feed(model, 1, [count(h.pid, 10) for h in holders], [listener(100, holders)])
    return model.snapshot()


SNAPSHOTS: dict[str, Callable[[], Snapshot]] = {
    "shared": four_workers,
    "nothing": lambda: four_workers((0, 0, 0, 0)),
    "nobody": lambda: Tracker(META, None, 0.0, SEES).snapshot(),
    "group": lambda: reuseport([310, 140, 140, 140, 138, 132]),
    "many": lambda: reuseport([5, *range(1, 512)]),
    "ports": several_ports,
    "thousand": lambda: several_ports(1000, 1),
    "reloaded": reloaded,
    "hostile": hostile,
    "by process": lambda: four_workers(by="process"),
    "by thread": lambda: reuseport([3, 4, 5], by="thread"),
    "by socket": lambda: reuseport([3, 4, 5], by="socket"),
    "by group": lambda: reuseport([3, 4, 5], by="group"),
    "lossy": lambda: four_workers(losses=Losses(map_full=3)),
}


@cache
def snapshot_of(name: str) -> Snapshot:
    return SNAPSHOTS[name]()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", SNAPSHOTS)
def test_every_picture_fills_its_window_and_no_more(name: str, size: tuple[int, int]) -> None:
    snapshot = snapshot_of(name)
    pages = ("table", "worker", "histogram", "explain", "keys")
    for page in pages if len(snapshot.acceptors) < 100 else pages[:2]:
        for glyphs in (BLOCKS, ASCII):
            picture = drawn(snapshot, size, glyphs, page=page)
            assert len(picture.lines) == size[1]
            for line in picture.lines:
                words = "".join(part for part, _ in line)
                assert cells(words) <= size[0]
                assert words.isprintable()


def test_the_first_screen_answers_in_order() -> None:
    lines = text(drawn(four_workers(), sight={"cost": 0.0123}))
    assert lines[0].startswith("accepttrace :80  nginx  1 socket, shared by 4  on 0.0.0.0:80")
    assert lines[0].endswith("all 3s  12:00:03Z")
    assert lines[1].startswith("UNEVEN  worker 1001 took 2.44x its share (610 of 1,000)")
    assert lines[3].split() == "its connections wait 127us at p99 (others 127us) e: explain".split()
    assert lines[4].startswith(" 250/s")
    assert "queue 2/512" in lines[4]
    assert "nothing lost" in lines[4]
    assert lines[6].split() == "WORKER SHARE, ALL 3s xFAIR /s QUEUE WAIT p99 ACCEPTS".split()
    assert lines[7].split()[0] == "▶1001"
    assert lines[11].split()[:3] == ["TOTAL", "4", "100.0%"]
    assert lines[12].strip() == "holds, not waiting: nginx: master 1000"
    footer = "tracepoint/libbpf tracer lost 0 books unchecked cost 1.2% CPU up 3s"
    assert lines[-2].split() == footer.split()
    assert lines[-1].split()[:4] == ["q", "quit", "↑↓", "select"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ([{}, {}], "2 reuseport sockets by hash"),
        ([{}, {"selector": "cbpf"}], "2 reuseport sockets"),
        ([{"selector": None}], "1 reuseport socket"),
        ([{"folded": 300}, {}], "301 reuseport sockets by hash"),
        ([{"sharing": "sole"}, {"sharing": "shared"}], "2 sockets"),
        ([{"sharing": "shared"}], "1 socket, shared by 2"),
        ([{"sharing": "shared", "folded": 2}], "2 sockets"),
        ([], ""),
    ],
)
def test_how_a_place_is_shared_is_a_few_words(facts: Sequence[dict[str, Any]], words: str) -> None:
    row = replace(
        reuseport([1, 2]).listeners[0], holders=(holder(1), holder(2, None), holder(3, False))
    )
    assert sharing([replace(row, **changes) for changes in facts]) == words


def test_a_narrower_window_has_the_beginning_of_what_a_wide_one_says_first() -> None:
    def said(width: int) -> str:
        first = next(
            line for line in text(drawn(four_workers(), (width, 24))) if "12:00:03Z" in line
        )
        return first.partition("  all 3s")[0].rstrip()

    whole = said(160)
    assert whole.count("  ") >= 3
    for width in range(40, 160):
        assert f"{whole}  ".startswith(f"{said(width)}  ")


def test_the_last_line_says_which_keys_the_page_has() -> None:
    pages: dict[Page, tuple[str, str]] = {
        "table": ("quit", "select"),
        "worker": ("back", "scroll"),
        "histogram": ("back", "scroll"),
        "explain": ("back", "scroll"),
        "keys": ("back", "scroll"),
    }
    for page, (q, arrows) in pages.items():
        last = text(drawn(four_workers(), page=page))[-1]
        assert last.split()[:4] == ["q", q, "↑↓", arrows], page


def lossy(events: int = 1) -> Snapshot:
    """15 SYNs were dropped; as often as that is an event."""
    model = Tracker(META, None, 0.0, SEES)
    there = listener(100, [holder(1), holder(2)])
    for second, syns in ((1, 0), (2, 15)):
        lost = replace(counted(), overflow=Overflow(syns, 0, 0, 4))
        feed(model, second, [count(1, 5), count(2, 5)], [there], counted=[lost])
        snapshot = model.snapshot()
    (event,) = snapshot.events
    return replace(snapshot, events=(event,) * events)


@pytest.mark.parametrize("events", [0, 1])
def test_what_clients_lost_is_said_once_below_the_table(events: int) -> None:
    below = [line for line in text(drawn(lossy(events), (100, 40)))[4:] if "SYNs" in line]
    assert len(below) == 1
    assert "15 SYNs" in below[0]


@pytest.mark.parametrize(("height", "shown"), [(14, 4), (24, 12), (40, 28)])
def test_events_take_the_room_that_workers_leave(height: int, shown: int) -> None:
    lines = text(drawn(lossy(60), (80, height)))
    assert sum("nginx: worker" in line for line in lines) == 2
    assert sum("Z LOST 15 SYNs dropped" in line for line in lines) == shown


@pytest.mark.parametrize(("height", "shown"), [(6, 0), (7, 0), (8, 0), (9, 2)])
def test_in_a_low_window_workers_come_before_events(height: int, shown: int) -> None:
    lines = text(drawn(lossy(9), (80, height)))
    assert sum("nginx: worker" in line for line in lines) == 2
    assert sum("15 SYNs dropped (queue full)" in line for line in lines) == shown


@pytest.mark.parametrize(("height", "shown"), [(20, 4), (30, 7)])
def test_events_have_a_third_of_the_room_where_workers_need_more(height: int, shown: int) -> None:
    busy = replace(several_ports(2, 40), events=lossy(60).events)
    lines = text(drawn(busy, (80, height)))
    assert sum("15 SYNs dropped" in line for line in lines) == shown
    assert any("of 82 lines" in line for line in lines)


@pytest.mark.parametrize("name", ["group", "ports", "many"])
def test_80_columns_show_the_queue(name: str) -> None:
    titles = found(drawn(snapshot_of(name)), "WORKER ")
    assert "QUEUE" in titles
    assert "xFAIR" in titles


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_what_clients_lost_and_a_full_queue_are_there_in_every_width(width: int) -> None:
    snapshot = seen(four_workers(), {100: {"overflow_syn": 15, "overflow_peers": 9}})
    full = [replace(row, queue=512, queue_full_s=2.0) for row in snapshot.listeners]
    words = " ".join(
        " ".join(text(drawn(replace(snapshot, listeners=tuple(full)), (width, 24)))).split()
    )
    assert "LOST 15 SYNs" in words
    assert "queue full (512" in words
    assert "UNEVEN" in words


def test_a_full_queue_has_the_word_and_others_do_not() -> None:
    snapshot = reuseport([30, 40, 50])
    full, *others = snapshot.listeners
    rows = (replace(full, queue=512, queue_full_s=2.0), *(replace(row, queue=3) for row in others))
    picture = drawn(replace(snapshot, listeners=rows), (120, 30))
    workers = [line for line in picture.lines if "nginx: worker " in plain([line])]
    shown = [[style for word, style in spans(line) if word == "512 FULL"] for line in workers]
    assert shown == [["bad reverse"], [], []]
    assert ["3" in dict(spans(line)) for line in workers] == [False, True, True]


@pytest.mark.parametrize("facts", [{"queue_full_s": 2.0}, {"oldest_wait_us": 1_000_000}])
def test_who_is_behind_is_the_first_and_sorted_by_a_column_where_it_belongs(
    facts: dict[str, Any],
) -> None:
    snapshot = reuseport([30, 40, 50])
    first, *others = snapshot.listeners
    stuck = replace(snapshot, listeners=(replace(first, queue=9, **facts), *others))

    def order(**state: Any) -> list[str]:
        lines = text(drawn(stuck, (80, 24), **state))
        return [line[1:5] for line in lines if "nginx: worker " in line]

    assert order() == ["1001", "1003", "1002"]
    assert order(reverse=True) == ["1002", "1003", "1001"]
    assert order(sort="accepts") == ["1003", "1002", "1001"]
    lately = replace(first, oldest_wait_us=999_999)
    stuck = replace(snapshot, listeners=(lately, *others))
    assert order() == ["1003", "1002", "1001"]


def test_what_the_tracer_lost_is_said_above_and_below() -> None:
    picture = drawn(four_workers(losses=Losses(map_full=3)))
    lines = text(picture)
    assert lines[1].startswith("INCOMPLETE")
    own = "LOST by the tracer: 3 map full"
    assert any((own, "bad") in spans(line) for line in picture.lines[:6])
    assert own in " ".join(lines[:6])
    assert "tracer lost 3" in lines[-2]
    assert ("tracer lost 3", "bad") in picture.lines[-2]


def test_a_row_has_a_bar_as_long_as_its_part_of_the_longest() -> None:
    lines = text(drawn(reuseport([40, 20, 10]), (120, 24)))
    lengths = [line.count("█") for line in lines if "nginx: worker " in line]
    assert lengths[0] > 10
    assert lengths[1:] == pytest.approx([lengths[0] / 2, lengths[0] / 4], abs=1)


def test_bars_have_a_mark_where_the_fair_share_ends() -> None:
    rows = [line for line in text(drawn(four_workers())) if "nginx: worker" in line]
    assert {line.index("┊") for line in rows[:3]} == {rows[0].index("┊")}
    filled = [line.count("█") for line in rows]
    assert filled == sorted(filled, reverse=True)
    assert filled[3] == 0


@pytest.mark.parametrize(
    ("part", "fair", "expected"),
    [
        (0.0, None, "        "),
        (1.0, None, "████████"),
        (0.5, None, "████    "),
        (0.55, None, "████▍   "),
        (0.001, None, "▏       "),
        (1.0, 0.5, "████┊███"),
        (0.25, 0.5, "██  ┊   "),
        (0.25, 1.0, "██     ┊"),
    ],
)
def test_a_bar_is_as_long_as_the_part(part: float, fair: float | None, expected: str) -> None:
    assert "".join(word for word, _ in bar(part, fair, 8, BLOCKS)) == expected
    ascii_only = "".join(word for word, _ in bar(part, fair, 8, ASCII))
    assert ascii_only.isascii()
    assert len(ascii_only) == 8


def test_a_trend_tells_the_unknown_from_nothing() -> None:
    assert trend([None, 0.0, 0.1, 50.0, 100.0], 100.0, BLOCKS) == " ▁▂▅█"
    assert trend([0.0, 0.0], 0.0, BLOCKS) == "▁▁"
    assert trend([None, 0.0, 100.0], 100.0, ASCII) == " _#"


def test_several_places_have_a_heading_each_the_wrong_one_first() -> None:
    picture = drawn(several_ports(), (100, 40))
    lines = text(picture)
    headings = [line for line in lines if line.startswith(" 0.0.0.0:8")]
    assert [line.split()[0] for line in headings] == ["0.0.0.0:81", "0.0.0.0:80", "0.0.0.0:82"]
    assert "ONE ACCEPTOR" in headings[0]
    assert all("queue 0/512" in line and "nginx" in line for line in headings)
    assert "3 listeners at 3 addresses" in lines[0]
    first = several_ports().verdicts[0]
    assert lines[1].startswith(f"{first.finding.word}  0.0.0.0:{first.local_port}: ")


def test_places_at_fault_stand_as_their_verdicts_do_however_busy_they_are() -> None:
    snapshot = several_ports()
    of = {one.local_port: one for one in snapshot.verdicts}
    uneven = replace(of[81], finding=replace(of[81].finding, word="UNEVEN"))
    stuck = replace(of[82], finding=replace(of[82].finding, word="STUCK"))
    fewer = [replace(row, accepts=1) for row in snapshot.acceptors if row.local_port == 82]
    rows = (*(row for row in snapshot.acceptors if row.local_port != 82), *fewer)
    for first, ports in (((stuck, uneven), [82, 81, 80]), ((uneven, stuck), [81, 82, 80])):
        judged = replace(snapshot, verdicts=(*first, of[80]), acceptors=rows)
        places = [section.items[0].row.local_port for section in board(judged).sections]
        assert places == ports


def test_a_row_without_a_heading_keeps_its_port_where_its_address_has_no_room() -> None:
    snapshot = several_ports(by="socket", first=449591815)
    narrow, wide = text(drawn(snapshot, (70, 24))), text(drawn(snapshot, (160, 24)))
    for number in range(3):
        inode, port = str(449591815 + number), f":{80 + number}"
        (row,) = [line for line in narrow if line[1:].startswith(inode)]
        assert row.split()[1] == port
        (row,) = [line for line in wide if line[1:].startswith(inode)]
        assert row.split()[1] == f"0.0.0.0{port}"


def test_a_thousand_listeners_have_a_line_each_and_can_be_reached() -> None:
    snapshot = snapshot_of("thousand")
    picture = drawn(snapshot)
    assert len(picture.drawn.order) == 1000
    assert "of 1000 lines" in " ".join(text(picture))
    end = press(State(Wish()), "end", picture.drawn)
    last = Drawing(BLOCKS).draw(Sight(snapshot), end, Window(80, 24))
    assert last.drawn.order[-1] == end.selected
    assert "▶" in "".join(text(last))


def test_the_selected_row_is_followed_wherever_it_goes() -> None:
    before, after = reuseport([*range(100, 164)]), reuseport([*range(164, 100, -1)])
    picture = drawn(before)
    state = press(State(Wish()), "down", picture.drawn)
    first = found(Drawing(BLOCKS).draw(Sight(before), state, Window(80, 24)), "▶")
    then = Drawing(BLOCKS).draw(Sight(after), state, Window(80, 24))
    assert found(then, "▶").split()[:1] == first.split()[:1]
    assert then.drawn.at == 62


def test_who_is_gone_leaves_the_mark_at_its_place() -> None:
    state = State(Wish(), selected=("nobody",), at=2)
    picture = Drawing(BLOCKS).draw(Sight(four_workers()), state, Window(80, 24))
    assert found(picture, "▶").startswith("▶1003")


def test_those_that_ended_are_one_line_and_no_rows() -> None:
    picture = drawn(reloaded())
    assert len(picture.drawn.order) == 2
    assert found(picture, "ended").strip() == "2 ended workers (nginx: worker) took 50"
    assert "TOTAL 2" in found(picture, "TOTAL")


def test_programs_that_ended_have_a_line_each_beside_who_holds_the_socket() -> None:
    lines = text(drawn(ended("a", "b", "c", aside="master")))
    assert [line for line in lines if "ended" in line] == [
        " 1 ended worker (a) took 9",
        " 1 ended worker (b) took 8",
        " 1 ended worker (c) took 7" + " " * 26 + "holds, not waiting: master 9",
    ]
    reload = replace(lossy().events[0], kind="RELOAD")
    events = tuple(replace(reload, began_s=second) for second in (1.0, 2.0, 3.0))
    after = text(drawn(replace(ended("a"), events=events)))
    assert " 1 ended worker (a, reload 12:00:03Z) took 9" in after
    narrow = text(drawn(ended("a", aside="master"), (40, 24)))
    at = narrow.index(" 1 ended worker (a) took 9")
    assert narrow[at + 1] == " holds, not waiting: master 9"


@pytest.mark.parametrize("row", [0, 60, -1])
def test_the_strip_says_which_lines_are_shown(row: int) -> None:
    busy = several_ports(2, 40)
    keys = drawn(busy).drawn.order
    picture = drawn(busy, selected=keys[row])
    lines = [line for line in text(picture) if "nginx" in line and "accepttrace" not in line]
    said = re.search(r" (\d+)-(\d+) of 82 lines", found(picture, "of 82 lines"))
    assert said is not None
    assert int(said[2]) - int(said[1]) + 1 == len(lines)
    place = 1 + row % 80 + 1 + (row % 80 >= 40)  # after one heading, or two
    at = next(number for number, line in enumerate(lines) if line.startswith("▶"))
    assert int(said[1]) + at == place


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_notes_that_find_no_room_are_in_the_summary(limit: int) -> None:
    snapshot = seen(lossy(0), {100: {"overflow_syn": 15, "overflow_peers": 9}})
    full = [replace(row, queue=512, queue_full_s=2.0) for row in snapshot.listeners]
    lines = plain(notes(replace(snapshot, listeners=tuple(full)), 100, limit)).splitlines()
    whole = [
        " lost on 0.0.0.0:80: 15 SYNs dropped from 9 clients (queue full)",
        " queue full on 0.0.0.0:80: 512 of 512 connections wait all the time",
    ]
    assert lines == ([" ... more of this in the summary at the end"] if limit == 1 else whole)


def test_what_is_held_open_is_known_where_it_is_of_each() -> None:
    rows = four_workers().acceptors

    def held(*numbers: int | None, **facts: Any) -> int | None:
        each = [
            replace(row, open_connections=number, **facts)
            for row, number in zip(rows, numbers, strict=False)
        ]
        return open_connections(replace(four_workers(), acceptors=tuple(each)))

    assert held(3, 4, 0) == 7
    assert held(3, None, 0) is None
    assert held(None, None) is None
    assert held(3, 4, left=True) is None
    assert held(3, 4, alive=False) is None


def test_the_first_of_a_place_is_shown_with_its_heading_where_there_is_room() -> None:
    everything = entries(board(several_ports()))
    heading, first = everything[5:7]
    assert (isinstance(heading, Section), isinstance(first, Item)) == (True, True)
    assert isinstance(first, Item)
    for room, shown in ((1, [first]), (2, [heading, first]), (3, everything[5:8])):
        view = in_view(everything, first, top=9, room=room)
        assert (list(view.entries), view.hidden) == (shown, len(everything) - room)


def test_the_strip_shows_all_in_a_line() -> None:
    line = found(drawn(reuseport([50] * 32 + [0] * 32)), "64 workers")
    strip = line.split()[2]
    assert abs(strip.count("█") - strip.count("▁")) <= 1 < len(strip) / 4
    assert "32 took nothing" in line


@pytest.mark.parametrize("height", [12, 14, 24, 40])
def test_as_many_rows_are_shown_as_there_is_room_for(height: int) -> None:
    lines = text(drawn(reuseport([50] * 100), (80, height)))
    space = 2 if height >= 14 else 0  # above the table and below
    assert sum(not line.strip() for line in lines) == space
    assert any("TOTAL" in line for line in lines)


@pytest.mark.parametrize(
    ("sort", "reverse", "first"),
    [
        (None, False, "1001"),
        (None, True, "1004"),
        ("pid", False, "1001"),
        ("pid", True, "1004"),
        ("wait_p99_us", False, "1001"),
        ("wait_p99_us", True, "1003"),  # the unknown are last in both directions
    ],
)
def test_rows_are_sorted_as_asked(sort: str | None, reverse: bool, first: str) -> None:
    picture = drawn(four_workers(), sort=sort, reverse=reverse)
    assert found(picture, "▶").startswith(f"▶{first}")


def test_who_took_as_many_stand_by_number_whatever_socket_they_have() -> None:
    model = Tracker(META, None, 0.0, SEES)
    there = [listener(100 + n, [holder(9 - n)], group=7, size=3) for n in range(3)]
    feed(model, 1, [count(9 - n, 5, 100 + n) for n in range(3)], there)
    assert [key[0] for key in drawn(model.snapshot()).drawn.order] == [7, 8, 9]


def test_the_filter_leaves_what_has_the_text_and_the_total_of_all() -> None:
    picture = drawn(several_ports(), filter="2001")
    assert [key[0] for key in picture.drawn.order] == [2001]
    assert "filter: 2001" in text(picture)[-1]
    assert len(board(several_ports(), text=":82").items) == 4
    assert len(board(several_ports(), text="NGINX").items) == 12
    assert "no row has this text" in " ".join(text(drawn(several_ports(), filter="nobody")))


def test_what_is_wished_for_is_said_until_it_is_there() -> None:
    state = State(Wish("thread", 60.0))
    lines = text(Drawing(BLOCKS).draw(Sight(four_workers()), state, Window(80, 24)))
    assert "by thread ..." in lines[0]
    assert "PAUSED" in text(drawn(four_workers(), paused=True))[0]


def test_a_worker_has_its_sockets_waits_and_threads() -> None:
    threads = four_workers(by="thread")
    picture = drawn(four_workers(), (80, 60), sight={"threads": threads}, page="worker")
    words = " ".join(text(picture))
    for part in ("pid 1001 nginx: worker", "fd 6  0.0.0.0:80  inode 100", "p99 127us", "THREADS 1"):
        assert part in words
    assert "clients: not known" in words
    unread = " ".join(text(drawn(four_workers(), (80, 60), page="worker")))
    assert "threads: being read" in unread


def test_explain_is_about_the_verdict_shown() -> None:
    words = " ".join(text(drawn(four_workers(), (80, 60), page="explain")))
    assert "UNEVEN (verdict)" in words
    assert "What to do:" in words
    assert "TOO FEW" not in words


def test_columns_that_are_asked_for_are_the_only_ones() -> None:
    picture = drawn(four_workers(), sight={"columns": ("pid", "accepts", "local")})
    assert found(picture, "ACCEPTS").split() == ["PID", "ACCEPTS", "LOCAL"]


def test_names_of_strangers_are_harmless() -> None:
    words = "\n".join(text(drawn(hostile(), (120, 35))))
    assert "\x1b" not in words
    assert "\u202e" not in words
    assert "?[2J?]0;x?" in words


def test_the_highest_of_a_trend_is_full_however_low_it_is() -> None:
    snapshot = four_workers()
    rows = [replace(row, trend=(0.0, 0.05, 0.1)) for row in snapshot.acceptors]
    picture = drawn(replace(snapshot, acceptors=tuple(rows)), (120, 24))
    assert "▁▅█" in "".join(text(picture)[:5])
    assert sum("▁▅█" in line for line in text(picture)[5:]) == 4


def test_trends_are_of_each_worker_and_of_all() -> None:
    model = Tracker(META, None, 0.0, SEES, window_s=60.0, windows=(10.0,))
    there = [listener(100, [holder(1), holder(2)])]
    for second in range(1, 41):
        feed(model, second, [count(1, 10 * second), count(2, 90 * max(second - 20, 0))], there)
    rows = {row.pid: row.trend for row in model.snapshot().acceptors}
    assert rows[1] == pytest.approx([10.0] * 8)
    assert rows[2] == pytest.approx([0.0] * 4 + [90.0] * 4)
    assert board(model.snapshot()).trend == pytest.approx([10.0] * 4 + [100.0] * 4)
    model.look_back(10.0)
    rows = {row.pid: row.trend for row in model.snapshot().acceptors}
    assert rows[2] == pytest.approx([90.0] * 8)


def test_a_trend_does_not_speak_of_times_before_the_start_or_invent_quiet_ones() -> None:
    model = Tracker(META, None, 0.0, SEES, window_s=60.0, windows=(60.0,))
    there = [listener(100, [holder(1), holder(2)])]
    for second in range(2, 13, 2):  # slots of 5 s, intervals of 2 s
        feed(model, second, [count(1, 10 * second)], there)
    (row,) = [row for row in model.snapshot().acceptors if row.pid == 1]
    assert row.trend[:5] == [None] * 5
    assert [value for value in row.trend if value is not None] == pytest.approx([10.0, 10.0])
    feed(model, 30, [count(1, 120)], there)
    (row,) = [row for row in model.snapshot().acceptors if row.pid == 1]
    assert row.trend[-3:] == [0.0] * 3


def test_a_replay_says_so_and_has_keys_of_its_own() -> None:
    lines = text(drawn(four_workers(), (120, 30), replays=True))
    assert lines[0].startswith("accepttrace replay :80  ")
    assert lines[-1].startswith(" q quit  ←→ time  p stop ")
    page = text(drawn(four_workers(), (120, 40), page="keys", replays=True))
    assert sum(line.startswith(" p ") for line in page) == 1
    assert any(line.startswith(" left right ") for line in page)
    assert "p pause" not in page[-1]
    assert not any("left right" in line for line in text(drawn(four_workers(), page="keys")))


def test_a_page_says_which_lines_are_in_view_where_not_all_are() -> None:
    picture = drawn(four_workers(), page="keys")
    (where,) = [line.strip() for line in text(picture) if line.strip().startswith("lines ")]
    first, rest = where.split()[1].split("-")[0], where.split()[-1]
    whole = text(drawn(four_workers(), (80, 60), page="keys"))
    assert (first, rest) == ("1", str(picture.drawn.length))
    assert not any(line.strip().startswith("lines ") for line in whole)
    last = drawn(four_workers(), page="keys", scroll=1_000)
    room = picture.drawn.room
    end = int(rest)
    assert found(last, "lines ").strip() == f"lines {end - room + 1}-{end} of {end}"
    assert "`accepttrace explain WORD`" in " ".join(text(last))
