"""The table as a person sees it. `ACCEPTTRACE_SNAPSHOTS=write` stores new pictures."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accepttrace.config import By, Filters
from accepttrace.facts.records import Losses
from accepttrace.model.grains import GRAINS
from accepttrace.model.snapshot import Snapshot
from accepttrace.views import formats
from accepttrace.views.columns import tcp
from accepttrace.views.table import render
from accepttrace.views.text import Line, cells, clip, cut, flow, plain
from tests.unit.pictures import (
    count,
    feed,
    four_workers,
    holder,
    listener,
    reuseport,
    seen,
    tracker,
    troubled,
    unbalanced,
)

OWN = "LOST by the tracer:"
STORED = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("ACCEPTTRACE_SNAPSHOTS") == "write"


def busy(by: By = "worker") -> Snapshot:
    """Two ports, IPv6, threads, a container, a dead worker, errors, and odd names."""
    model = tracker(Filters(ports=frozenset({80, 8443})))
    group = "/system.slice/docker-0123456789abcdef.scope"
    web = [
        holder(1000, False, name="nginx: master"),
        holder(120_001, cgroup=group),
        holder(120_002, name="名前\x1b[31m", cgroup=group),
    ]
    api = [holder(4_194_303, name="gunicorn: worker"), holder(77, None, name="python3")]
    sockets = [
        listener(9_001, web, queue=3),
        listener(9_002, api, port=8443, address="2001:db8:85a3::8a2e:370:7334", queue=None),
    ]
    feed(model, 1, [count(55, 12, 9_001)], [replace(sockets[0], holders=(holder(55), *web))])
    taken = [
        count(55, 12, 9_001, waits_us=[80] * 12),
        count(120_001, 1_234_567, 9_001, waits_us=[900, 1_200, 950_000], empty=88_000),
        count(120_002, 40, 9_001, waits_us=[3] * 40, errors={24: 2}),
        count(4_194_303, 7, 9_002, waits_us=[12_000_000] * 7, comm="gthread-0"),
        count(4_194_303, 9, 9_002, tid=4_194_310, waits_us=[2_000] * 9, comm="gthread-1"),
    ]
    feed(model, 3725, taken, sockets, losses=Losses(map_full=3, probe_misses=1))
    return model.snapshot(by)


PICTURES = {
    "shared-seen": seen(four_workers()),
    "shared": four_workers(),
    "reuseport": reuseport((30, 10, 0, 5)),
    "blind": four_workers(losses=Losses(probe_misses=None, recursion_misses=None)),
    **{f"busy-{by}": busy(by) for by in GRAINS},
    **{f"troubled-{by}": troubled(by) for by in GRAINS},
    "unbalanced": unbalanced(),
}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_the_stored_one(name: str, width: int) -> None:
    text = plain(render(PICTURES[name], width, 24))
    path = STORED / f"{name}-{width}.txt"
    if WRITE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_stored_picture_is_left_over() -> None:
    expected = {f"{name}-{width}.txt" for name in PICTURES for width in (80, 120)}
    assert {path.name for path in STORED.iterdir()} == expected


@pytest.mark.parametrize("width", [1, 10, 40, 60, 79, 80, 100, 120, 200])
@pytest.mark.parametrize("height", [1, 4, 8, 24])
@pytest.mark.parametrize("name", PICTURES)
def test_it_fits_every_window(name: str, width: int, height: int) -> None:
    lines = render(PICTURES[name], width, height)
    assert len(lines) <= height
    assert max(map(line_width, lines)) <= width


def line_width(line: Line) -> int:
    return sum(cells(text) for text, _ in line)


def many(workers: int) -> Snapshot:
    return four_workers(tuple(range(workers, 0, -1)))


@pytest.mark.parametrize("height", [10, 24, 71, 72])
def test_what_is_cut_is_counted(height: int) -> None:
    text = plain(render(many(64), 80, height))
    shown = sum(
        line.lstrip()[:1].isdigit() and "nginx: worker" in line for line in text.splitlines()
    )
    hidden = 64 - shown
    assert len(text.splitlines()) == min(height, 64 + 2 + 2 + 1 + 1)
    accepts = sum(range(1, hidden + 1))
    assert (f"… {hidden} more rows ({accepts:,} accepts)" in text) == (hidden > 0)
    *_, total_line, note = text.splitlines()
    total = total_line.split()
    assert note.startswith("not waiting")
    assert total[:2] == ["TOTAL", "2,080"]  # of all rows, not of those shown


def test_a_limit_of_rows_leaves_room_for_what_it_hides() -> None:
    lines = plain(render(many(64), 80, 12, rows=5)).splitlines()
    assert lines[-3].startswith("… 59 more rows")
    assert lines[-2].split()[:2] == ["TOTAL", "2,080"]
    lines = plain(render(many(64), 80, 11, rows=5)).splitlines()
    assert lines[-3].startswith("… 60 more rows")


def test_rows_limit_the_table_also_without_a_height() -> None:
    lines = plain(render(many(9), 80, None, rows=2)).splitlines()
    assert "… 7 more rows (28 accepts)" in lines
    assert sum("nginx: worker" in line for line in lines) == 2


def test_one_row_too_many_is_named_in_the_singular() -> None:
    assert "… 1 more row (1 accept)" in plain(render(many(3), 80, None, rows=2))


def test_a_window_of_80_columns_has_the_columns_of_the_contract() -> None:
    text = plain(render(four_workers(), 80, 24))
    titles = next(line for line in text.splitlines() if "ACCEPTS" in line).split()
    assert titles == "PID WORKER LISTENER ACCEPTS /s SHARE xFAIR WAIT p50 p99 WASTED".split()


def test_large_numbers_still_leave_80_columns_their_columns() -> None:
    model = tracker(Filters())
    workers = [holder(4_000_000 + own) for own in range(3)]
    taken = [
        count(4_000_000 + own, 999_999, waits_us=[123_000, 45_000_000], empty=999_999)
        for own in range(3)
    ]
    feed(model, 60, taken, [listener(100, workers, address="192.168.100.200", port=65535)])
    lines = plain(render(model.snapshot(), 80, 24)).splitlines()
    titles = next(number for number, line in enumerate(lines) if "ACCEPTS" in line)
    assert "WASTED" in lines[titles]
    assert "999,999" in lines[titles + 1]
    assert ":65535" in lines[titles + 1]


def test_a_wider_window_shows_no_less() -> None:
    seen: set[str] = set()
    for width in (40, 60, 80, 100, 120, 160):
        lines = plain(render(busy(), width, 24)).splitlines()
        (titles,) = [set(line.split()) for line in lines if "ACCEPTS" in line]
        assert seen <= titles
        seen = titles
    assert {"INODE", "QUEUE", "FAILED", "UNIT"} <= seen


def shown_with(*changes: dict[str, Any]) -> str:
    """Of two workers, in a window with room for all."""
    workers = [
        replace(holder(pid, cgroup="/x.service"), **changed)
        for pid, changed in zip((10, 11), changes, strict=True)
    ]
    model = tracker(Filters())
    feed(model, 1, [count(one.pid, 5, 100) for one in workers], [listener(100, workers)])
    return plain(render(model.snapshot(), 180, 24))


def test_where_workers_belong_is_a_column_where_they_differ_and_else_in_the_header() -> None:
    web = {"container": "web", "pod": "shop/web-0", "ns_pid": 7}
    alike = shown_with(web, web)
    assert "2 workers on 1 listener  pod shop/web-0 container web  " in alike
    assert not {"POD", "CONTAINER", "UNIT"} & {*alike.split()}
    assert "NSPID" in alike.split()
    differ = shown_with(web, {"container": "\x1b[2J", "ns_pid": 11})
    assert {"POD", "CONTAINER", "shop/web-0", "?[2J"} <= {*differ.split()}
    assert "\x1b" not in differ
    assert not {"pod", "container"} & {*differ.split()}
    assert "  unit x.service  " in shown_with({"ns_pid": 10}, {"ns_pid": 11})
    assert "NSPID" not in shown_with({"ns_pid": 10}, {"ns_pid": 11})
    long = shown_with(*[{"container": "c" * 320}] * 2)
    assert f"container {'c' * 39}…  " in long
    assert "unit x" not in long


def test_a_further_column_does_not_shrink_the_listener() -> None:
    model = tracker(Filters())
    workers = [holder(4711, cgroup="/system.slice/" + "x" * 64)]
    feed(model, 1, [count(4711, 5)], [listener(100, workers, address="127.0.0.1", port=48985)])
    texts = [plain(render(model.snapshot(), width, 24)) for width in range(80, 200)]
    wide = [text for text in texts if "CGROUP" in text]
    assert 0 < len(wide) < len(texts)
    assert all("127.0.0.1:48985" in text for text in wide)


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (Losses(), "nothing lost"),
        (Losses(map_full=3, probe_misses=2), f"{OWN} 3 map full, 2 probe misses"),
        (
            Losses(events_lost=1, recursion_misses=1),
            f"{OWN} 1 event, 1 recursion miss",
        ),
        (Losses(unattributed=4), f"{OWN} 4 unattributed"),
        (Losses(probe_misses=None), "nothing lost  (probe misses: n/a)"),
        (
            Losses(over_share=1200, over_whose=("uid 33",)),
            "nothing lost  1,200 events of uid 33 not counted: share used up",
        ),
    ],
)
def test_losses_are_words(losses: Losses, words: str) -> None:
    assert words in plain(render(four_workers(losses=losses), 120, 24))


def test_rows_of_those_that_ended_are_dim() -> None:
    styles = {line[0][0].split()[0]: line[0][1] for line in render(busy(), 120, None)}
    assert (styles["120001"], styles["55"]) == ("", "dim")


def test_the_whole_footer_ends_what_is_printed_uncut() -> None:
    shown = render(four_workers(losses=Losses(probe_misses=None)), 120, None, full=True)
    assert plain(shown).endswith(
        "lost by the tracer: 0 events, 0 map full, n/a probe misses, 0 recursion misses,"
        " 0 unattributed\n"
    )


def test_an_idle_master_is_a_note_and_no_row() -> None:
    lines = plain(render(reuseport((30, 10, 0, 5)), 80, 24)).splitlines()
    assert lines[-1] == "not waiting for connections: nginx: master (pid 1000) holds 4 listeners"
    assert sum("1000" in line for line in lines) == 1


def test_whoever_accepted_is_a_row() -> None:
    snapshot = four_workers()
    rows = tuple(replace(row, waits=False) for row in snapshot.acceptors)
    text = plain(render(replace(snapshot, acceptors=rows), 80, 24))
    assert [pid for pid in ("1001", "1002", "1003") if f"{pid} nginx: worker" in text]
    assert text.splitlines()[-1].startswith("not waiting for connections: nginx: worker (pid 1004)")


def test_an_empty_table_says_why() -> None:
    model = tracker()
    feed(model, 1, [], [])
    assert "nobody listens on :80\n" in plain(render(model.snapshot(), 80, 24))
    feed(model, 2, [], [listener(1), listener(2)])
    text = plain(render(model.snapshot(), 80, 24))
    assert "0 accepts on :80 so far; 2 listeners there\n" in text


def test_processes_that_cannot_be_seen_are_reported() -> None:
    model = tracker()
    feed(model, 1, [], [listener(1)], partial=True)
    assert "1 process could not be read (PID 1 systemd: permission denied)" in plain(
        render(model.snapshot(), 80, 24)
    )
    feed(model, 2, [], [listener(1)])
    assert "processes are hidden" not in plain(render(model.snapshot(), 80, 24))


def test_names_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in plain(render(busy(), 120, None))


def test_the_dead_are_named_by_a_word() -> None:
    lines = plain(render(busy(), 120, 24)).splitlines()
    assert [line.split()[0] for line in lines if " gone " in line] == ["55"]


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0us"),
        (999, "999us"),
        (1000, "1.0ms"),
        (1001, "1.1ms"),  # rounded up: it is an upper bound
        (9900, "9.9ms"),
        (9901, "10ms"),
        (999_000, "999ms"),
        (999_001, "1.0s"),
        (9_950_000, "10s"),
        (2**32 - 1, "4295s"),
    ],
)
def test_times_carry_their_unit(us: int, text: str) -> None:
    assert formats.duration(us) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0s"), (59, "59s"), (185, "3m05s"), (7620, "2h07m"), (273_600, "3d04h")],
)
def test_the_age_of_a_run(seconds: float, text: str) -> None:
    assert formats.span(seconds) == text


def test_rates_have_decimals_only_while_all_are_small() -> None:
    assert formats.rates([0.25, 99.9]) == ["0.2", "99.9"]
    assert formats.rates([0.25, 1234.5]) == ["0", "1,234"]


@pytest.mark.parametrize("format", [formats.counts, formats.rates, formats.times, formats.ratios])
def test_the_unknown_is_na(format: object) -> None:
    assert callable(format)
    assert format([None]) == ["n/a"]


def test_a_place_keeps_its_port() -> None:
    assert formats.shorten("[2001:db8::1]:443", 12) == "[2001:d…:443"
    assert formats.shorten("10.0.0.1:80", 11) == "10.0.0.1:80"


def test_a_listener_that_nothing_describes_is_na_and_not_several() -> None:
    assert formats.endpoint(None, None, None, inode=5) == "n/a"
    assert formats.endpoint(None, None, None, inode=None) == "several"
    assert formats.endpoint(None, 80, "ipv4", inode=None) == "*:80"


def test_text_is_measured_in_cells() -> None:
    assert (cells("名前"), cells("a\u0301")) == (4, 1)
    assert clip("名前", 3) == "名…"
    assert cut((("abc", "bold"), ("def", "")), 4) == (("abc", "bold"), ("…", ""))
    assert flow([("aa", ""), ("bb", ""), ("cc", "")], 6) == [
        (("aa", ""), ("  ", ""), ("bb", "")),
        (("cc", ""),),
    ]


def test_every_column_explains_itself_and_sorts() -> None:
    assert all(one.title and one.help for one in tcp.COLUMNS)
    keys = tcp.TABLE.keys()
    assert {"accepts", "rate", "fair_ratio", "wait_p99_us", "pid", "name", "queue"} <= {*keys}
    model = tracker()
    feed(model, 1, [count(1, 1)], [listener()])
    for key in keys:
        for by in GRAINS:
            assert tcp.ordered(model.snapshot(by), key).acceptors


def test_columns_that_are_asked_for_stand_as_they_are_named_whatever_they_show() -> None:
    shown = plain(render(four_workers(), 80, None, columns=("queue", "accepts", "unseen", "pid")))
    titles = next(line for line in shown.splitlines() if "ACCEPTS" in line)
    assert titles.split() == ["QUEUE", "ACCEPTS", "UNSEEN", "PID"]
    assert ["2/511", "610", "n/a", "1001"] in [line.split() for line in shown.splitlines()]
    total = shown.splitlines()[shown.splitlines().index(titles) + 5]
    assert total.split() == ["TOTAL", "1,000"]
