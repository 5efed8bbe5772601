"""`--histogram`: the waiting times of each row as bars."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from accepttrace.config import By, Filters
from accepttrace.facts.buckets import BUCKETS, bucket_of
from accepttrace.facts.records import Losses
from accepttrace.model.histogram import filled, octaves
from accepttrace.model.snapshot import Snapshot
from accepttrace.views.histogram import render
from accepttrace.views.text import cells, plain
from tests.unit.pictures import count, feed, four_workers, holder, listener, reuseport, tracker

BAR = re.compile(r"^ +(\S+) - +(\S+) +([\d,]+) +([\d.]+)% ?(#*)(.*)$")


def bars(text: str) -> list[tuple[str, str, int, float, int, str]]:
    """From, to, connections, percent, cells of the bar, marks: of every bar of a view."""
    found = [match.groups() for match in map(BAR.match, text.splitlines()) if match]
    return [
        (low, high, int(n.replace(",", "")), float(share), len(bar), marks.strip())
        for low, high, n, share, bar, marks in found
    ]


def waits(*values: int, pid: int = 1, accepts: int | None = None) -> Snapshot:
    """One worker whose connections waited so long."""
    model = tracker(Filters())
    taken = count(pid, len(values) if accepts is None else accepts, waits_us=values)
    feed(model, 1, [taken], [listener(100, [holder(pid)])])
    return model.snapshot()


def test_octaves_adjoin_and_keep_every_count() -> None:
    histogram = [bucket % 3 for bucket in range(BUCKETS)]
    parts = octaves(histogram)
    assert sum(number for _, _, number in parts) == sum(histogram)
    for (_, high, _), (low, _, _) in pairwise(parts):
        assert low == high + 1
    for low, high, number in parts:
        inside = range(bucket_of(low), bucket_of(high) + 1)
        assert number == sum(histogram[bucket] for bucket in inside)


def test_octaves_begin_and_end_with_something_and_show_the_gap() -> None:
    histogram = [0] * BUCKETS
    for us in (0, 5, 5, 40):
        histogram[bucket_of(us)] += 1
    assert octaves(histogram) == [
        (0, 0, 1), (1, 1, 0), (2, 3, 0), (4, 7, 2), (8, 15, 0), (16, 31, 0), (32, 63, 1),
    ]  # fmt: skip
    assert octaves([0] * BUCKETS) == octaves(()) == []


def test_only_buckets_with_something_in_them_are_reported() -> None:
    histogram = [0] * BUCKETS
    histogram[bucket_of(3)] = 2
    histogram[bucket_of(1_000)] = 1
    assert filled(histogram) == [(3, 3, 2), (960, 1023, 1)]
    assert filled(()) == []


def test_a_bar_says_from_where_to_where_how_many_and_how_much_of_all() -> None:
    text = plain(render(waits(*[20] * 6, *[100] * 3, 3_000), 80, 24))
    found = bars(text)
    assert [bar[:4] for bar in found] == [
        ("16us", "31us", 6, 60.0),
        ("32us", "63us", 0, 0.0),
        ("64us", "127us", 3, 30.0),
        ("128us", "255us", 0, 0.0),
        ("256us", "511us", 0, 0.0),
        ("512us", "1.1ms", 0, 0.0),
        ("1.1ms", "2.1ms", 0, 0.0),
        ("2.1ms", "4.1ms", 1, 10.0),
    ]
    lengths = {bar[0]: bar[4] for bar in found}
    assert lengths["32us"] == 0
    assert lengths["64us"] == pytest.approx(lengths["16us"] / 2, abs=1)
    assert lengths["2.1ms"] == pytest.approx(lengths["16us"] / 6, abs=1)


def test_the_percentiles_stand_on_top_and_beside_their_bars() -> None:
    text = plain(render(waits(*[20] * 6, *[100] * 3, 3_000), 80, 24))
    assert "  10 waits  p50 21us  p90 103us  p99 3.0ms  max 3.0ms" in text.splitlines()
    marks = {low: marks for low, *_, marks in bars(text) if marks}
    assert marks == {"16us": "p50", "64us": "p90", "2.1ms": "p99"}


def test_one_connection_in_a_million_is_still_a_bar() -> None:
    found = bars(plain(render(waits(*[20] * 1000, 70_000), 80, 24)))
    assert found[-1][2:5] == (1, 0.1, 1)


def test_accepts_without_a_time_are_counted() -> None:
    assert "2 waits (3 not measured)" in plain(render(waits(1, 2, accepts=5), 80, 24))


def test_each_row_has_a_block_below_the_one_of_all() -> None:
    text = plain(render(four_workers(), 80, None))
    blocks = [line for line in text.splitlines() if line.endswith("0.0.0.0:80")]
    assert blocks == [f"pid {pid} nginx: worker on 0.0.0.0:80" for pid in (1001, 1002, 1003)]
    numbers = [bar[2] for bar in bars(text) if bar[0] == "64us"]
    assert numbers == [997, 609, 249, 139]
    assert "all rows\n  1,000 waits  p50 127us" in text


def test_a_single_row_is_not_told_twice() -> None:
    text = plain(render(four_workers(by="socket"), 80, None))
    assert "all rows" not in text
    assert "inode 100 3 x nginx: worker" not in text
    assert "inode 100 4 x nginx: worker on 0.0.0.0:80\n" in text
    assert [bar[2] for bar in bars(text) if bar[2]] == [997, 3]


@pytest.mark.parametrize(
    ("by", "title"),
    [
        ("process", "pid 1001 nginx: worker on 0.0.0.0:80"),
        ("thread", "thread 1001 nginx: worker on 0.0.0.0:80"),
    ],
)
def test_a_block_is_named_by_what_a_row_is(by: By, title: str) -> None:
    assert title in plain(render(four_workers(by=by), 80, None)).splitlines()


def test_who_is_gone_is_named_by_a_word() -> None:
    model = tracker()
    feed(model, 1, [count(55, 2, waits_us=[5, 6])], [listener(100, [holder(55)])])
    feed(model, 2, [count(55, 2, waits_us=[5, 6])], [listener(100, [holder(56)])])
    assert "pid 55 gone nginx: worker on" in plain(render(model.snapshot(), 80, 24))


@pytest.mark.parametrize("width", [1, 10, 40, 79, 80, 100, 143, 144, 160, 240])
@pytest.mark.parametrize("height", [1, 4, 8, 24, 40])
def test_it_fits_every_window(width: int, height: int) -> None:
    for snapshot in (four_workers(), four_workers(tuple(range(64, 0, -1))), waits(0)):
        lines = render(snapshot, width, height)
        assert len(lines) <= height
        assert max(sum(cells(text) for text, _ in line) for line in lines) <= width


def test_a_wide_window_sets_blocks_side_by_side() -> None:
    narrow = plain(render(four_workers(), 120, None)).splitlines()
    wide = plain(render(four_workers(), 160, None)).splitlines()
    assert len(wide) < len(narrow)
    (titles,) = [line for line in wide if line.startswith("all rows")]
    assert titles.index("pid 1001") == 82
    assert sum(line.count("#") > 0 for line in wide) < sum(line.count("#") > 0 for line in narrow)


@pytest.mark.parametrize("height", [12, 14, 24, 27, 40])
def test_every_row_is_a_block_or_a_line_or_counted(height: int) -> None:
    text = plain(render(four_workers(), 80, height))
    shown = sum(line.endswith("on 0.0.0.0:80") for line in text.splitlines())
    left = [int(n) for n in re.findall(r"… (\d+) more row", text)]
    assert shown + sum(left) == 3
    brief = [line for line in text.splitlines() if line.startswith("p50")]
    assert all(line.startswith("p50 127us  p90 127us  p99 127us  max 3.4ms  pid") for line in brief)


def twelve_workers() -> Snapshot:
    """Worker N took 20 - N connections, which waited N hundred microseconds each."""
    model = tracker(Filters())
    taken = [count(pid, 20 - pid, waits_us=[100 * pid] * (20 - pid)) for pid in range(1, 13)]
    feed(model, 1, taken, [listener(100, [holder(pid) for pid in range(1, 13)])])
    return model.snapshot()


@pytest.mark.parametrize(
    ("width", "height", "blocks", "brief", "hidden"),
    [
        # Above: three lines. The block of all has seven lines, one of a worker three.
        (80, 5, 0, 0, "12 more rows (162 accepts)"),
        (80, 10, 0, 0, "12 more rows (162 accepts)"),
        (80, 11, 0, 0, "12 more rows (162 accepts)"),
        (80, 12, 0, 1, "11 more rows (143 accepts)"),
        (80, 13, 0, 2, "10 more rows (125 accepts)"),
        (80, 14, 1, 0, "11 more rows (143 accepts)"),
        (80, 25, 4, 2, "6 more rows (63 accepts)"),
        (80, 46, 12, 0, ""),
        (200, 25, 9, 3, ""),
        (200, 24, 9, 1, "2 more rows (17 accepts)"),
        (200, 28, 12, 0, ""),
        (200, None, 12, 0, ""),
    ],
)
def test_as_much_is_drawn_as_there_is_room_for(
    width: int, height: int | None, blocks: int, brief: int, hidden: str
) -> None:
    lines = plain(render(twelve_workers(), width, height)).splitlines()
    assert height is None or len(lines) == height
    titles = [pid for one in lines for pid in re.findall(r"pid (\d+)", one) if one[:3] != "p50"]
    assert titles == [str(pid) for pid in range(1, blocks + 1)]
    told = [one for one in lines if one.startswith("p50")]
    assert [one.partition(" pid ")[2].split()[0] for one in told] == [
        str(pid) for pid in range(blocks + 1, blocks + brief + 1)
    ]
    assert [one for one in lines if one.startswith("…")] == ([f"… {hidden}"] if hidden else [])


def test_a_limit_of_rows_counts_what_it_hides() -> None:
    text = plain(render(four_workers(), 80, None, rows=1))
    assert "… 2 more rows (390 accepts)" in text
    assert "pid 1001" in text
    assert "pid 1002" not in text


@pytest.mark.parametrize("height", range(6, 30))
def test_a_limit_of_rows_leaves_room_for_what_it_hides(height: int) -> None:
    lines = plain(render(four_workers(), 80, height, rows=1)).splitlines()
    assert len(lines) <= height
    assert re.search(r"^… [23] more rows \([\d,]+ accepts\)$", lines[-1])


def test_a_wait_of_nothing_is_the_longest_where_there_is_no_other() -> None:
    assert "  1 wait  p50 0us  p90 0us  p99 0us  max 0us" in plain(render(waits(0), 80, 24))


def test_without_waiting_times_it_says_so() -> None:
    model = tracker()
    feed(model, 1, [], [listener(1)])
    assert "0 accepts on :80 so far; 1 listener there\n" in plain(render(model.snapshot(), 80, 24))
    assert "no waiting time was measured\n" in plain(render(reuseport((3, 1)), 80, 24))


def test_it_has_the_header_and_the_footer_of_every_view() -> None:
    losses = Losses(map_full=3)
    assert "LOST by the tracer: 3 map full" in plain(render(four_workers(losses=losses), 80, 24))
    text = plain(render(four_workers(losses=losses), 80, None, full=True))
    assert "LOST by the tracer: 3 map full." in text
    assert text.endswith("recursion misses, 0\n  unattributed\n")


def test_the_sum_of_all_has_the_percentiles_of_all() -> None:
    model = tracker()
    feed(
        model,
        1,
        [count(1, 90, waits_us=[10] * 90), count(2, 10, waits_us=[900] * 10)],
        [listener(100, [holder(1), holder(2)])],
    )
    lines = plain(render(model.snapshot(), 80, None)).splitlines()
    assert lines[lines.index("all rows") + 1] == (
        "  100 waits  p50 10us  p90 10us  p99 900us  max 900us"
    )


def test_names_cannot_steer_the_terminal() -> None:
    snapshot = waits(5)
    rows = tuple(replace(row, name="x\x1b[31m") for row in snapshot.acceptors)
    assert "\x1b" not in plain(render(replace(snapshot, acceptors=rows), 80, 24))


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_longest_bar_leaves_room_for_all_marks(width: int) -> None:
    lines = plain(render(waits(*[20] * 8, 40, 40), width, 24)).splitlines()
    first, second = (line for line in lines if BAR.match(line))
    assert first.endswith(" p50")
    assert second.endswith(" p90 p99")
    room = width - len("   16us -  31us  8  80.0%  p50 p90 p99")
    assert (first.count("#"), second.count("#")) == (room, -(-room // 4))
    (only,) = [one for one in plain(render(waits(*[20] * 8), width, 24)).splitlines() if "#" in one]
    assert len(only) == width


@pytest.mark.parametrize(
    ("width", "columns"), [(70, 1), (143, 1), (144, 2), (217, 2), (218, 3), (900, 4)]
)
def test_blocks_stand_beside_each_other_where_each_has_room(width: int, columns: int) -> None:
    lines = plain(render(four_workers(), width, None)).splitlines()
    (titles,) = [line for line in lines if line.startswith("all rows")]
    assert titles.count("pid ") == columns - 1
    share = (width - (columns - 1) * 4) // columns
    assert [found.start() for found in re.finditer("pid ", titles)] == [
        column * (share + 4) for column in range(1, columns)
    ]


def test_a_block_says_what_became_of_its_row_and_where_it_was() -> None:
    row = replace(waits(5).acceptors[0], name="w", pid=7, netns=5)

    def title(**facts: object) -> str:
        shown = replace(waits(5), acceptors=(replace(row, **facts),))  # type: ignore[arg-type]
        lines = plain(render(shown, 80, 24)).splitlines()
        return next(line for line in lines if " on 0.0.0.0" in line and "worker" not in line)

    assert title() == "pid 7 w on 0.0.0.0:80"
    assert title(alive=False) == "pid 7 gone w on 0.0.0.0:80"
    assert title(alive=False, pid=None) == "closed w on 0.0.0.0:80"
    assert title(device="eth0") == "pid 7 w on 0.0.0.0%eth0:80"
    others = tuple(replace(row, pid=pid, netns=netns) for pid, netns in ((7, 5), (8, 6), (9, None)))
    lines = plain(render(replace(waits(5), acceptors=others), 80, None)).splitlines()
    assert [line for line in lines if line.startswith("pid ")] == [
        "pid 7 w on 0.0.0.0:80 in netns 5",
        "pid 8 w on 0.0.0.0:80 in netns 6",
        "pid 9 w on 0.0.0.0:80",
    ]


def test_waits_without_a_time_are_told_only_where_there_are_some() -> None:
    assert "  2 waits  p50" in plain(render(waits(1, 2, accepts=2), 80, 24))
    assert "  1 wait (1,234 not measured)" in plain(render(waits(1, accepts=1235), 80, 24))
    assert "  2 waits  p50" in plain(render(waits(1, 2, accepts=1), 80, 24))
