"""Parts of the screen at their limits: who stands where, what is left out, what is cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.config import By
from accepttrace.model.snapshot import Snapshot, Verdict
from accepttrace.model.tracker import Tracker
from accepttrace.views.screen import foot, head, pages
from accepttrace.views.screen.board import board
from accepttrace.views.screen.draw import Drawing, Picture, Sight, Window, distribution
from accepttrace.views.screen.glyphs import ASCII, BLOCKS, bar, trend
from accepttrace.views.screen.state import State, Wish
from accepttrace.views.screen.table import Canvas, entries, in_view
from accepttrace.views.screen.words import queue, waiting
from accepttrace.views.text import Line, plain
from tests.unit.pictures import META, SEES, count, feed, four_workers, holder, listener, reuseport
from tests.unit.test_screen_draw import drawn, ended, found, lossy, several_ports, spans, text


def ports(snapshot: Snapshot) -> list[int | None]:
    """Of the places, in the order of the screen."""
    return [section.items[0].row.local_port for section in board(snapshot).sections]


def with_rows(snapshot: Snapshot, *facts: dict[str, Any]) -> Snapshot:
    """Its rows changed, one after the other; `facts` for each, or for all."""
    each = facts * len(snapshot.acceptors) if len(facts) == 1 else facts
    rows = [replace(row, **some) for row, some in zip(snapshot.acceptors, each, strict=False)]
    return replace(snapshot, acceptors=(*rows, *snapshot.acceptors[len(rows) :]))


def judged(verdict: Verdict, word: str) -> Verdict:
    return replace(verdict, finding=replace(verdict.finding, word=word))  # type: ignore[arg-type]


def test_places_with_a_fault_come_first_then_those_that_took_most() -> None:
    snapshot = with_rows(
        several_ports(),
        *({"accepts": 100 * (1 + (row.local_port or 0) % 80)} for row in several_ports().acceptors),
    )
    calm = [judged(one, "FAIR") for one in snapshot.verdicts]
    assert ports(replace(snapshot, verdicts=tuple(calm))) == [82, 81, 80]
    stuck = [judged(one, "STUCK" if one.local_port == 80 else "FAIR") for one in snapshot.verdicts]
    assert ports(replace(snapshot, verdicts=tuple(stuck))) == [80, 82, 81]


def test_all_rows_are_there_in_either_direction() -> None:
    def pids(reverse: bool) -> list[int | None]:
        return [item.row.pid for item in board(four_workers(), reverse=reverse).items]

    assert pids(reverse=False) == [1001, 1002, 1003, 1004]
    assert pids(reverse=True) == [1004, 1003, 1002, 1001]


def test_the_filter_finds_numbers_of_processes_and_threads() -> None:
    threads = with_rows(four_workers(by="thread"), *({"tid": 77 + n} for n in range(4)))
    assert [item.row.tid for item in board(threads, text="79").items] == [79]
    assert [item.row.pid for item in board(threads, text="1002").items] == [1002]
    nameless = with_rows(threads, {"pid": None, "tid": None, "name": "w", "comm": "c"})
    assert board(nameless, text="None").items == []
    assert board(nameless, text="1").items == []


def rows_of(picture: Picture) -> list[Line]:
    return [line for line in picture.lines if "nginx: worker " in plain([line])]


def test_a_queue_is_shown_with_its_row_where_the_row_is_alone_on_it() -> None:
    def queues(snapshot: Snapshot) -> list[bool]:
        rows = tuple(replace(row, queue=37) for row in snapshot.listeners)
        shown = drawn(replace(snapshot, listeners=rows), (120, 24))
        return ["37" in dict(spans(line)) for line in rows_of(shown)]

    assert queues(four_workers((5, 4))) == [False, False]
    assert queues(four_workers((5,))) == [True]
    assert queues(reuseport([5, 4])) == [True, True]
    assert queues(reuseport([5, 4], by="process")) == [False, False]
    group = reuseport([5, 4], by="group")
    rows = tuple(replace(row, queue=37) for row in group.listeners)
    assert " 74 " in found(drawn(replace(group, listeners=rows), (120, 24)), "▶")


@pytest.mark.parametrize(
    ("room", "top", "selected", "shown"),
    [
        (5, 0, 0, (0, 5)),
        (5, 0, 4, (0, 5)),
        (5, 0, 5, (1, 6)),  # as little as it takes
        (5, 7, 9, (5, 10)),  # no room is left empty
        (5, 3, 3, (3, 8)),
        (5, 4, 3, (3, 8)),
        (1, 0, 6, (6, 7)),
        (0, 0, 6, (6, 7)),
        (20, 3, 6, (0, 10)),
    ],
)
def test_the_selected_row_is_always_in_view(
    room: int, top: int, selected: int, shown: tuple[int, int]
) -> None:
    everything = entries(board(reuseport([1] * 10)))
    one = everything[selected]
    view = in_view(everything, one, top, room)  # type: ignore[arg-type]
    assert (view.top, view.top + len(view.entries)) == shown
    assert view.entries == everything[slice(*shown)]
    assert view.hidden == 10 - (shown[1] - shown[0])


def test_a_new_order_or_filter_is_drawn_at_once() -> None:
    drawing, snapshot = Drawing(BLOCKS), four_workers()

    def pids(**state: Any) -> list[object]:
        one = State(Wish(snapshot.by), **state)
        return [key[0] for key in drawing.draw(Sight(snapshot), one, Window(80, 24)).drawn.order]

    for _ in range(2):
        assert pids(filter="1003") == [1003]
        assert pids(filter="1002") == [1002]
        assert pids() == [1001, 1002, 1003, 1004]
        assert pids(reverse=True) == [1004, 1003, 1002, 1001]


def test_a_page_key_moves_by_the_rows_in_view_but_one() -> None:
    def rooms(workers: int, height: int) -> int:
        return drawn(reuseport([1] * workers), (80, height)).drawn.room

    assert (rooms(1, 24), rooms(2, 24), rooms(3, 24)) == (1, 1, 2)
    assert rooms(100, 24) == len(rows_of(drawn(reuseport([1] * 100)))) - 1


def test_on_a_page_nobody_is_selected_where_there_is_nobody() -> None:
    nobody = drawn(Tracker(META, None, 0.0, SEES).snapshot(), page="keys", at=7, selected=("x",))
    assert (nobody.drawn.at, nobody.drawn.order) == (0, [])
    picture = drawn(four_workers(), page="keys", at=2, selected=("x",))
    assert (picture.drawn.at, len(picture.drawn.order)) == (2, 4)
    assert drawn(four_workers(), page="keys", at=2).drawn.at == 0


def test_a_fair_part_is_never_more_than_all() -> None:
    (first, *_) = board(four_workers()).items
    assert replace(first, part=0.5, ratio=0.25).fair == 1.0
    assert replace(first, part=0.5, ratio=2.0).fair == 0.25
    assert replace(first, part=None).fair is replace(first, ratio=0.0).fair is None


def test_the_mark_stays_at_the_end_where_fewer_are_left() -> None:
    picture = drawn(four_workers(), selected=("nobody",), at=9)
    assert found(picture, "▶").startswith("▶1004")
    assert picture.drawn.at == 3


def test_the_column_that_sorts_is_marked() -> None:
    def marked(sort: str | None) -> list[str]:
        picture = drawn(four_workers(), sort=sort)
        (titles,) = [line for line in picture.lines if "WORKER" in plain([line])]
        return [word for word, style in spans(titles) if style == "reverse"]

    assert marked(None) == []
    assert marked("rate") == ["/s"]
    assert marked("queue") == ["QUEUE"]
    assert marked("accepts") == ["ACCEPTS"]


@pytest.mark.parametrize(
    ("by", "title", "number"),
    [
        ("worker", "WORKER", 4),
        ("process", "WORKER", 4),
        ("thread", "THREAD", 4),
        ("socket", "SOCKET", 1),
        ("group", "GROUP", 1),
    ],
)
def test_the_first_column_says_what_a_row_is_and_how_many_there_are(
    by: By, title: str, number: int
) -> None:
    lines = text(drawn(four_workers(by=by), (120, 24)))
    assert any(line.startswith(f" {title} ") for line in lines)
    assert any(line.startswith(f" TOTAL {number} ") for line in lines)


def test_those_without_a_number_are_as_many_as_their_names() -> None:
    nameless = ({"pid": None, "name": name} for name in ("a", "b", "b"))
    lines = text(drawn(with_rows(four_workers(), *nameless), (120, 24)))
    assert any(line.startswith(" TOTAL 3 ") for line in lines)


def test_the_word_of_the_fair_mark_stands_where_it_has_room() -> None:
    said = []
    for counts in (*([most, 10, 5] for most in range(10, 150, 5)), [5, 4, 3], [10, 10, 10]):
        picture = drawn(reuseport(counts), (160, 24))
        titles, row = found(picture, "SHARE, ALL"), plain([rows_of(picture)[0]])
        begin, mark, end = titles.index("SHARE"), row.index("┊"), row.index("%") - 6
        assert {plain([one]).index("┊") for one in rows_of(picture)} == {mark}
        said.append(mark > begin + len("SHARE, ALL 2s") and mark + len("┊fair") <= end)
        assert ("┊fair" in titles) is said[-1]
        assert not said[-1] or titles.index("┊fair") == mark
    assert (said[0], said[-3:]) == (True, [True, True, False])


def test_columns_that_are_asked_for_are_there_as_far_as_they_fit() -> None:
    def titles(width: int) -> list[str]:
        keys = ("pid", "accepts", "local", "listener")
        picture = drawn(four_workers(), (width, 24), sight={"columns": keys})
        return found(picture, "PID").split()

    assert titles(30) == titles(200) == ["PID", "ACCEPTS", "LOCAL", "LISTENER"]
    assert titles(29) == titles(19) == ["PID", "ACCEPTS", "LOCAL"]
    assert titles(18) == ["PID", "ACCEPTS"]


def long_named() -> Snapshot:
    names = ({"name": "nginx: a worker with a long name, really"}, {"name": "w"})
    return with_rows(four_workers((5, 4)), *names)


def test_room_is_handed_out_to_names_and_bars_by_turns() -> None:
    """A name has 7 cells, then 14, then 32; a bar 6, then 15 before the name has more, then 40."""

    def widths(width: int) -> tuple[int, int]:
        titles = found(drawn(long_named(), (width, 24)), "WORKER")
        assert titles.endswith("WAIT p99")
        share = titles.index("SHARE")
        return share - 2, titles.index("xFAIR") - len("100.0% ") - 1 - share

    for spare in range(40):
        who = 7 + min(spare, 7) + min(max(spare - 7 - 9, 0), 18)
        bar = 6 + min(max(spare - 7, 0), 9) + max(spare - 7 - 9 - 18, 0)
        assert widths(47 + spare) == (who, bar)
    titles = found(drawn(long_named(), (400, 24)), "WORKER")
    assert titles.index("xFAIR") - titles.index("SHARE") - len("100.0% ") - 1 == 40


def test_another_column_comes_as_soon_as_it_fits_beside_a_bar_of_15_cells() -> None:
    def titles(width: int) -> str:
        return found(drawn(four_workers(), (width, 24)), "WORKER").replace("┊fair", "")

    came = [w for w in range(70, 150) if len(titles(w).split()) > len(titles(w - 1).split())]
    bars = [titles(w).index("xFAIR") - len("100.0% ") - 1 - titles(w).index("SHARE") for w in came]
    assert len(bars) >= 5
    assert {*bars} == {15}
    assert {titles(w).split()[-1] for w in came} == {titles(w + 1).split()[-1] for w in came}


def test_what_is_the_same_for_all_takes_no_room_beside_them() -> None:
    """Each worker of a reuseport group has its own socket; those of a shared one have the same."""

    def titles(snapshot: Snapshot) -> set[str]:
        return {*found(drawn(snapshot, (200, 24)), "WORKER").split()}

    group, shared = reuseport([3, 2, 1]), four_workers()
    assert "INODE" in titles(group)
    assert "INODE" not in titles(shared)
    assert "INODE" in titles(four_workers((5,)))  # of one row all is said
    assert "CGROUP" not in titles(with_rows(shared, *[{"cgroup": "/a"}] * 4))
    assert "CGROUP" in titles(with_rows(shared, {"cgroup": "/b"}, *[{"cgroup": "/a"}] * 3))


def test_a_window_of_few_lines_has_rows_alone() -> None:
    shown = [text(drawn(four_workers(), (80, height)))[2:] for height in (3, 4, 5)]
    assert [[line[:5].strip("▶ ") for line in lines] for lines in shown] == [
        *(["1001"], ["1001", "1002"], ["WORK", "1001", "TOTA"])
    ]


def test_names_stand_on_the_left_and_numbers_on_the_right() -> None:
    lines = text(drawn(long_named(), (100, 24)))
    (long,), (short,) = ([one for one in lines if one[1:5] == pid] for pid in ("1001", "1002"))
    assert short.startswith(" 1002 w   ")
    assert [line.rindex("%") for line in (long, short)] == [long.rindex("%")] * 2


def test_what_does_not_fit_is_left_out_with_all_that_matters_less() -> None:
    order = ["WORKER", "xFAIR", "QUEUE", "/s", "WAIT", "p99"]
    shown = []
    for width in range(12, 60):
        titles = found(drawn(long_named(), (width, 24)), "WORKER").split()
        known = [title for title in titles if title in order]
        assert {*known} == {*order[: len(known)]}
        shown.append(len(known))
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == (1, 6)


def test_how_many_sockets_share_is_said_where_what_chooses_among_them_has_no_room() -> None:
    def title(width: int) -> str:
        return plain(drawn(reuseport([3, 2, 1]), (width, 24)).lines[:1]).partition("  all ")[0]

    begin = "accepttrace :80  nginx  3 reuseport sockets"
    end = "  all 1s  12:00:01Z"
    assert title(len(begin + " by hash" + end)) == f"{begin} by hash"
    assert title(len(begin + " by hash" + end) - 1).rstrip() == begin
    assert title(len(begin + end)) == begin
    assert title(len(begin + end) - 1).rstrip() == "accepttrace :80  nginx"


def test_what_shares_are_of_is_their_title() -> None:
    def title(window_s: float | None, recent: int | None) -> str:
        snapshot = with_rows(four_workers(), {"recent_accepts": recent, "recent_ratio": None})
        line = found(drawn(replace(snapshot, window_s=window_s), (120, 24)), "SHARE")
        return line.partition("SHARE, ")[2].partition("  ")[0]

    assert title(None, None) == title(10.0, None) == title(None, 5) == "ALL 3s"
    assert title(10.0, 5) == "LAST 10s"


def test_a_row_of_several_places_is_named_by_what_they_have_in_common() -> None:
    def label(**facts: Any) -> str:
        rows = with_rows(four_workers(by="process"), facts)
        picture = drawn(rows, (160, 24))
        return plain([rows_of(picture)[0]]).partition("worker ")[2].partition(" ")[0]

    shown: dict[str, dict[str, Any]] = {
        "*:80": {"local_address": None},
        "0.0.0.0:*": {"local_port": None},
        "0.0.0.0%lo:80": {"device": "lo"},
    }
    for place, facts in shown.items():
        assert label(**facts) == place
    assert label(local_address=None, local_port=None)[:1] in "█▏▎▍▌▋▊▉┊"


def test_queues_of_several_sockets_are_one_number() -> None:
    def of(*facts: tuple[int | None, int | None, int]) -> tuple[str, str]:
        (one, *_) = reuseport([1]).listeners
        rows = [replace(one, queue=q, capacity=c, folded=n) for q, c, n in facts]
        return queue(rows), waiting(rows)

    assert of((1000, 4000, 0), (43, 512, 0)) == ("1,043/4512", "1,043")
    assert of((43, 512, 6)) == ("43/3072", "43")
    assert of((43, 512, 1), (2, None, 0)) == ("45/n/a", "45")
    assert of((None, 512, 0), (2, 512, 0)) == ("n/a", "n/a")
    assert of() == ("", "")


def canvas(width: int) -> Canvas:
    return Canvas(width, ASCII)


def lines_of(found: Sequence[Line]) -> list[str]:
    return plain(found).splitlines()


def test_how_long_it_runs_stands_at_the_end_of_the_footer_where_there_is_room() -> None:
    def last(width: int) -> str:
        return lines_of(foot.footer(four_workers(), 0.0123, canvas(width)))[1]

    whole = " tracepoint/libbpf  tracer lost 0  books unchecked  cost 1.2% CPU"
    assert last(80) == f"{whole}{'up 3s':>{79 - len(whole)}}"
    assert last(len(whole) + len(" up 3s") + 1) == f"{whole} up 3s"
    assert last(len(whole) + len(" up 3s")) == whole
    assert "cost" not in last(len(whole) - 1)


@pytest.mark.parametrize(
    ("number", "more"), [(2, ""), (3, ""), (4, " and 1 more"), (6, " and 3 more")]
)
def test_three_that_only_hold_the_socket_are_named(number: int, more: str) -> None:
    aside = [holder(pid, False, name=f"m{pid}") for pid in range(1, number + 1)]
    model = Tracker(META, None, 0.0, SEES)
    feed(model, 1, [count(50, 5)], [listener(100, [*aside, holder(50), holder(51)])])
    names = ", ".join(f"m{pid} {pid}" for pid in range(1, min(number, 3) + 1))
    assert found(drawn(model.snapshot()), "holds").strip() == f"holds, not waiting: {names}{more}"


def test_three_programs_that_ended_are_named_and_the_others_one_line() -> None:
    def said(*names: str) -> list[str]:
        lines = text(drawn(ended(*names)))
        return [line.strip() for line in lines if " ended worker" in line or " more took" in line]

    three = [f"1 ended worker ({name}) took {9 - place}" for place, name in enumerate("abc")]
    assert said(*"abc") == three
    assert said(*"abcd") == [*three, "1 more took 6"]
    assert said(*"abcde") == [*three, "2 more took 11"]


def test_who_ended_has_its_part_of_the_window() -> None:
    snapshot = ended("a")
    recent = with_rows(
        snapshot, *({"recent_accepts": 3 if row.alive else 1} for row in snapshot.acceptors)
    )
    rows = len([row for row in snapshot.acceptors if row.alive])
    line = found(drawn(replace(recent, window_s=10.0)), "ended")
    assert line.strip() == f"1 ended worker (a) took 9, {1 / (3 * rows + 1):.1%} of the last 10s"
    none = with_rows(
        recent, *({"recent_accepts": 0 if not row.alive else 3} for row in recent.acceptors)
    )
    assert (
        found(drawn(replace(none, window_s=10.0)), "ended").strip() == "1 ended worker (a) took 9"
    )
    assert found(drawn(recent), "ended").strip() == "1 ended worker (a) took 9"


@pytest.mark.parametrize("narrower", [False, True])
def test_who_holds_the_socket_stands_beside_who_ended_where_there_are_three_cells_between(
    narrower: bool,
) -> None:
    left, right = " 1 ended worker (a) took 9", "holds, not waiting: m 9"
    width = len(left) + 3 + len(right) - narrower
    lines = text(drawn(ended("a", aside="m"), (width, 24)))
    assert (f"{left}   {right}" in lines) is not narrower
    assert (left in lines) is narrower
    assert (f" {right}" in lines) is narrower


def test_keys_that_do_not_fit_are_left_out_but_the_last_one() -> None:
    def last(width: int) -> str:
        return lines_of([foot.keys(State(), "worker", "", canvas(width))])[0]

    assert last(200) == (
        " q quit  up/down select  Enter worker  g by worker  s sort  w window  / filter  h hist  ?"
    )
    assert last(len(" q quit  ?")) == " q quit  ?"
    assert last(len(" q quit  ?") - 1) == " ?"
    # One that is too long leaves room for a shorter one.
    assert last(len(" q quit  up/down select  ?") - 1) == " q quit  Enter worker  ?"


def said_first(snapshot: Snapshot, width: int = 160, **state: Any) -> str:
    return text(drawn(snapshot, (width, 24), **state))[0]


def test_what_is_watched_is_left_out_part_by_part() -> None:
    whole = said_first(four_workers())
    left, right = whole.partition("   ")[0], "all 3s  12:00:03Z"
    assert whole.endswith(right)
    parts = left.split("  ")
    assert parts[-1] == "netns 4026531840"
    for number in range(len(parts), 0, -1):
        shown = "  ".join(parts[:number])
        width = len(shown) + 2 + len(right)
        assert said_first(four_workers(), width) == f"{shown}  {right}"
        fewer = "  ".join(parts[: number - 1]) or "accepttrace"
        space = " " * (width - 1 - len(fewer) - len(right)) if number > 1 else " "
        assert said_first(four_workers(), width - 1) == f"{fewer}{space}{right}"[: width - 1]


def test_the_time_that_shares_are_of_is_said_and_what_is_on_its_way() -> None:
    model = Tracker(META, None, 0.0, SEES, window_s=10.0, windows=(60.0,))
    for second in range(1, 14):
        feed(model, second, [count(1, 10 * second)], [listener(100, [holder(1), holder(2)])])
        if second == 3:
            early = model.snapshot()
    late = model.snapshot()
    assert said_first(early).endswith("   3s of 10s  12:00:03Z")
    assert said_first(late).endswith("   last 10s  12:00:13Z")
    assert said_first(late, paused=True).endswith("   PAUSED  last 10s  12:00:13Z")

    def wished(wish: Wish) -> str:
        board_ = board(late)
        return lines_of(head.head(board_, State(wish), canvas(160), 24))[0].split("   ")[-1].strip()

    assert wished(Wish("worker", 60.0)) == "last 60s ...  12:00:13Z"
    assert wished(Wish("worker", None)) == "all ...  12:00:13Z"
    assert wished(Wish("thread", 10.0)) == "by thread ...  12:00:13Z"


def test_a_time_of_day_is_without_its_fraction() -> None:
    assert head.clock("2026-01-02T12:00:01.250Z") == "12:00:01Z"
    assert head.clock("2026-01-02T12:00:01Z") == "12:00:01Z"
    assert head.clock("12:00:01") == "12:00:01"


@pytest.mark.parametrize(
    ("height", "words"),
    [
        (3, ["UNEVEN", "250/s"]),
        (5, ["UNEVEN", "250/s"]),
        (7, ["UNEVEN", "250/s"]),
        (8, ["UNEVEN", "250/s", "accepttrace"]),
        (15, ["UNEVEN", "250/s", "accepttrace"]),
    ],
)
def test_a_low_window_keeps_the_answer_and_the_rate(height: int, words: list[str]) -> None:
    lines = lines_of(head.head(board(four_workers()), State(), canvas(80), height))
    assert [line.split()[0] for line in lines] == words
    assert len(lines_of(head.head(board(four_workers()), State(), canvas(80), 16))) > 3


def test_the_second_line_of_totals_is_there_from_six_lines_on() -> None:
    def lines(height: int) -> int:
        return len(head.head(board(four_workers()), State(), canvas(12), height))

    assert (lines(5), lines(6), lines(7), lines(8)) == (2, 3, 3, 4)


def test_waits_of_who_stands_out_are_beside_those_of_the_others() -> None:
    def said(snapshot: Snapshot, width: int = 80) -> str:
        lines = lines_of(head.head(board(snapshot), State(), canvas(width), 40))
        return next((line for line in lines if "its connections" in line), "")

    def waited(*us: int | None) -> Snapshot:
        model = Tracker(META, None, 0.0, SEES)
        taken = [
            count(pid, 900 if pid == 1 else 50, waits_us=() if wait is None else [wait] * 50)
            for pid, wait in enumerate(us, 1)
        ]
        feed(model, 3, taken, [listener(100, [holder(pid) for pid in range(1, len(us) + 1)])])
        return model.snapshot()

    beside = "  its connections wait 2.0ms at p99 (others 100us)"
    assert said(waited(2000, 100, 100, 100)) == f"{beside}{'e: explain':>{80 - len(beside)}}"
    assert said(waited(2000, 100, 100, 100), len(beside) + 12) == f"{beside}  e: explain"
    assert said(waited(2000, 100, 100, 100), len(beside) + 11) == beside
    assert said(waited(2000, 100, 100, 100), len(beside) - 1).endswith("100u…")
    alone = said(waited(2000, None, None, None))
    assert alone.startswith("  its connections wait 2.0ms at p99  ")
    assert said(waited(None, 100, 100, 100)) == ""
    model = Tracker(META, None, 0.0, SEES)
    most = count(1, 900, waits_us=[9000, *[2000] * 148, *[5] * 50])
    feed(model, 3, [most, count(2, 50)], [listener(100, [holder(1), holder(2)])])
    assert "wait 2.1ms at p99" in said(model.snapshot())
    assert said(waited(0, 0, 0, 0)).startswith("  its connections wait 0us at p99 (others 0us)  ")
    # Those of other places are no others of this one, and those that ended have their own times.
    snapshot = waited(2000, 100, 100, 100)
    long = {"wait_histogram": [0] * 40 + [50], "wait_max_us": 9000}
    assert "(others 100us)" not in said(with_rows(snapshot, {}, {}, long))
    for elsewhere in ({"alive": False}, {"local_port": 81}):
        assert "(others 100us)" in said(with_rows(snapshot, {}, {}, {**long, **elsewhere}))


def test_what_is_held_open_stands_above_where_it_is_known() -> None:
    def total(*held: int | None) -> str:
        snapshot = with_rows(four_workers(), *({"open_connections": one} for one in (*held, 0)))
        return found(drawn(snapshot), " 250/s")

    assert "  open 1,240  " in total(1000, 200, 40, 0)
    assert "open" not in total(1000, None, 40, 0)
    assert "open" not in total(None, None, None, None)


def page(
    name: str, snapshot: Snapshot, size: tuple[int, int] = (100, 200), **sight: Any
) -> list[str]:
    return text(drawn(snapshot, size, page=name, sight=sight))


def test_the_page_of_a_worker_says_how_it_waits_at_each_socket() -> None:
    def said(**facts: Any) -> list[str]:
        (row,) = four_workers().listeners
        mine, *_ = [one for one in row.holders if one.pid == 1001]
        there = replace(row, holders=(replace(mine, **facts),), queue=2)
        lines = page("worker", replace(four_workers(), listeners=(there,)))
        return [line for line in lines if " fd " in line]

    start = " fd 6  0.0.0.0:80  inode 100  queue 2/512  "
    assert said() == [f"{start}waits"]
    assert said(waits=False) == [f"{start}does not wait"]
    assert said(waits=None) == [f"{start}waits: not known"]
    assert said(waits_in="epoll_wait") == [f"{start}waits in epoll_wait"]


def test_the_page_of_a_worker_has_its_threads_and_how_many_more() -> None:
    (row, *_) = four_workers(by="thread").acceptors

    def threads(number: int, **facts: Any) -> list[str]:
        rows = [replace(row, tid=5000 + n, rate=1234.56, **facts) for n in range(number)]
        other = replace(row, pid=7, tid=7)
        snapshot = replace(four_workers(by="thread"), acceptors=(*rows, other))
        lines = page("worker", four_workers(), threads=snapshot)
        at = next(i for i, line in enumerate(lines) if "THREADS" in line or "threads" in line)
        return lines[at : lines.index("", at)]

    one = "     5,000         610 accepts   1,234.6/s  nginx"
    assert threads(1) == [" THREADS 1", one]
    assert threads(1, alive=False)[1] == f"{one}  ended"
    assert threads(1, accepts=1)[1].split()[1:3] == ["1", "accept"]
    assert len(threads(64)) == 1 + 64
    assert threads(65)[1 + 64 :] == [" ... 1 more"]
    assert threads(1300)[1 + 64 :] == [" ... 1,236 more"]
    assert threads(0) == [" threads: none is known"]
    unknown = replace(four_workers(by="thread"), acceptors=(replace(row, tid=None),))
    lines = page("worker", four_workers(), threads=unknown)
    assert any(line.startswith("       n/a         610 accepts") for line in lines)


def test_the_page_of_a_worker_draws_its_waits() -> None:
    assert any("###" in line for line in page("worker", four_workers()))
    assert any("###" in line for line in page("histogram", four_workers()))
    nobody = Tracker(META, None, 0.0, SEES).snapshot()
    assert any("nobody listens" in line for line in page("histogram", nobody))


def test_a_row_of_no_process_has_no_sockets_or_threads_of_its_own() -> None:
    lines = page(
        "worker", with_rows(four_workers(), {"pid": None}), threads=four_workers(by="thread")
    )
    assert " nginx: worker" in lines
    assert not any(" fd " in line or "threads" in line.lower() for line in lines)


@pytest.mark.parametrize(("width", "columns"), [(37, 1), (75, 1), (76, 2), (113, 2), (114, 3)])
def test_facts_of_a_worker_stand_side_by_side_where_they_fit(width: int, columns: int) -> None:
    lines = page("worker", four_workers(), (width, 200))
    first, last = (next(i for i, s in enumerate(lines) if w in s) for w in (" COMM ", " SOCKETS"))
    facts = [line for line in lines[first:last] if line]
    starts = {at * 38 + 1 for at in range(columns)}
    assert all(line[start - 1] == " " != line[start] for line in facts[:-1] for start in starts)
    assert max(map(len, facts)) <= columns * 38


def test_the_page_of_keys_breaks_what_they_do_below_itself() -> None:
    lines = lines_of(pages.keys(60))
    at = next(i for i, line in enumerate(lines) if line.startswith(" PgUp"))
    assert lines[at].index("the same") == 1 + len("PgUp PgDn Home End") + 2
    assert lines[at + 1].index("last") >= lines[at].index("the same") == 21
    assert len(lines[at + 1]) - len(lines[at + 1].lstrip()) == 21
    assert max(map(len, lines)) <= 60
    narrow = lines_of(pages.keys(25))
    assert any(line.startswith(f" q{'':19}qui…") for line in narrow)
    assert max(map(len, narrow)) <= 25


@pytest.mark.parametrize(
    ("scroll", "room", "where", "shown"),
    [
        (0, 10, "", (0, 10)),
        (0, 11, "", (0, 10)),
        (0, 9, "lines 1-9 of 10", (0, 9)),
        (1, 9, "lines 2-10 of 10", (1, 10)),
        (7, 4, "lines 7-10 of 10", (6, 10)),
        (-3, 4, "lines 1-4 of 10", (0, 4)),
    ],
)
def test_a_page_says_which_of_its_lines_are_in_view(
    scroll: int, room: int, where: str, shown: tuple[int, int]
) -> None:
    lines: list[Line] = [((str(number), ""),) for number in range(10)]
    above, body = pages.part(lines, scroll, room, 40)
    assert plain([above]) == (f"{where:>40}" if where else "") + "\n"
    assert list(body) == lines[slice(*shown)]


def test_the_distribution_has_a_level_for_each_or_a_mean_of_several() -> None:
    assert distribution([8, 4, 0], 10, BLOCKS) == trend([8, 4, 0], 8, BLOCKS)
    assert distribution([8, 4, 2, 2, 0, 0], 3, BLOCKS) == trend([6, 2, 0], 6, BLOCKS)
    assert distribution([9, 9, 9, 1, 1], 2, BLOCKS) == trend([9, 11 / 3], 9, BLOCKS)
    assert distribution([0, 0], 4, BLOCKS) == "▁▁"


@pytest.mark.parametrize("width", range(50, 66, 3))
def test_the_strip_is_drawn_from_eight_cells_on(width: int) -> None:
    line = found(drawn(reuseport([50] * 40 + [0] * 60), (width, 24)), "100 workers")
    said = re.search(r" 1-\d+ of 100", line)
    assert said is not None
    begin, end = " 100 workers ", f"{said[0]} lines, 60 took nothing"
    room = width - len(begin) - len(end)
    bars = trend([1] * (room * 2 // 5), 1, BLOCKS) if room >= 8 else ""
    assert line.startswith(begin + bars)
    assert (len(line), line.endswith(end)) == (width, True) or room < 8
    assert ("█" in line) is (room >= 8)


@pytest.mark.parametrize(
    ("part", "expected"),
    [(0.0, "        "), (1e-9, "▏       "), (0.01, "▏       "), (1.0, "█" * 8)],
)
def test_whoever_took_something_has_a_bar(part: float, expected: str) -> None:
    ((words, style),) = bar(part, None, 8, BLOCKS, "bold")
    assert (words, style) == (expected, "bold")


def test_a_level_is_never_that_of_nothing_for_something() -> None:
    levels = trend([0, 0.01, 1, 3.5, 7], 7, BLOCKS)
    assert levels == "▁▂▂▅█"
    assert trend([9.0], 7, BLOCKS) == "█"


def test_notes_are_as_many_as_there_is_room_for() -> None:
    snapshot = several_ports(5)
    full = tuple(replace(row, queue=512, queue_full_s=2.0) for row in snapshot.listeners)
    snapshot = replace(snapshot, listeners=full)
    whole = lines_of(foot.notes(snapshot, 200, 100))
    assert len(whole) == 5
    for limit in range(1, 8):
        rest = [" ... more of this in the summary at the end"] if limit < 5 else []
        shown = lines_of(foot.notes(snapshot, 200, limit))
        assert shown == [*whole[: limit - len(rest)], *rest]


@pytest.mark.parametrize("events", [0, 1])
def test_a_note_may_fill_the_window(events: int) -> None:
    def first(width: int) -> str:
        return lines_of(foot.notes(lossy(events), width, 10))[0]

    whole = first(200)
    assert whole.endswith("(queue full)")
    assert first(len(whole)) == whole
    assert first(len(whole) - 1) != whole


@pytest.mark.parametrize("height", [16, 19, 20, 24])
def test_what_is_judged_takes_a_quarter_of_the_window(height: int) -> None:
    (first, *_) = four_workers().verdicts
    words = "; ".join(f"word {number}" for number in range(40))
    long = replace(first, finding=replace(first.finding, text=words))
    lines = text(drawn(replace(four_workers(), verdicts=(long,)), (40, height)))
    assert sum("word" in line for line in lines) == height // 4
