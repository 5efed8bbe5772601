"""What a report draws and says, against the run that it is of."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.model.snapshot import Event, Snapshot
from accepttrace.model.timeline import WORKERS, Timeline
from accepttrace.model.tracker import Tracker
from accepttrace.run.replay import Recording
from accepttrace.run.report import write_report
from accepttrace.views.report.charts import OTHERS, charts, together
from accepttrace.views.report.page import ROWS, page

from .pictures import META, SEES, count, counted, feed, holder, listener
from .test_recording import recorded
from .test_table import WRITE

BEGAN = datetime(2026, 1, 2, 12, 0, 0, tzinfo=timezone.utc)


def run(
    *seconds: tuple[int, ...], queue: int = 0, name: str = "nginx: worker"
) -> tuple[Timeline, Snapshot]:
    """Workers of a shared socket, and what each took in each second, after 9 us of waiting."""
    model, line = Tracker(META, None, 0.0, SEES), Timeline()
    pids = range(1001, 1001 + len(seconds[0]))
    holders = [holder(pid, name=name) for pid in pids]
    taken = Counter[int]()
    for second, each in enumerate(seconds, 1):
        taken.update(dict(zip(pids, each, strict=True)))
        counts = [count(pid, taken[pid], waits_us=[9] * taken[pid]) for pid in pids]
        feed(model, second, counts, [listener(100, holders, queue=queue)], counted=[counted()])
        line.take(model.snapshot("process"))
    return line, model.summary("process")


def values(chart: dict[str, Any], layer: int | None = None) -> list[dict[str, Any]]:
    data = (chart if layer is None else chart["layer"][layer])["data"]
    return list(data["values"])


def at(second: int) -> str:
    return (BEGAN + timedelta(seconds=second)).isoformat(timespec="milliseconds")


def titles(found: list[dict[str, Any]]) -> list[str]:
    return [one["encoding"]["y"]["title"] for one in found if "encoding" in one]


def run_with_everything() -> tuple[Timeline, Snapshot]:
    """A place with a chart of each kind."""
    line, summary = run((30, 10), (5, 5), queue=400)
    ((_, (first, last)),) = line.busiest()
    first.opened, last.opened, last.lost = 3, 4, 7
    event = Event(
        number=1, kind="RELOAD", time=at(1), began_s=1.0, until_s=1.5, going_on=False,
        netns=None, family="ipv4", local_address="0.0.0.0", local_port=80,
        workers=2, left=2, came=2, program="nginx: worker",
    )  # fmt: skip
    return line, replace(summary, events=(event,))


def test_the_charts_are_the_stored_ones() -> None:
    found = charts(*run_with_everything())
    assert titles(found) == ["accepts/s", "wait", "open", "lost"]
    specs = json.dumps([found[0], together(found[1:], 900)], indent=1) + "\n"
    path = Path(__file__).parent / "snapshots_report" / "charts.json"
    if WRITE:
        path.write_text(specs)
    assert specs == path.read_text()


def test_shares_are_those_of_each_second() -> None:
    first, *_ = charts(*run((3, 1), (5, 5)))
    shares = {(one["time"], one["worker"]): one["share"] for one in values(first, 1)}
    assert shares == {
        (at(1), "1001 nginx: worker"): 0.75,
        (at(1), "1002 nginx: worker"): 0.25,
        (at(2), "1001 nginx: worker"): 0.5,
        (at(2), "1002 nginx: worker"): 0.5,
    }
    assert first["title"]["text"] == "0.0.0.0:80"


def test_the_band_is_there_where_somebody_shares() -> None:
    first, *_ = charts(*run((50, 50), (0, 0), (200, 200)))
    bands = {one["time"]: (one["low"], one["high"]) for one in values(first, 0)}
    assert set(bands) == {at(1), at(3)}
    assert bands[at(1)] == pytest.approx((0.5 - 0.1288, 0.5 + 0.1288))
    assert bands[at(3)] == pytest.approx((0.5 - 0.0644, 0.5 + 0.0644))
    alone, *_ = charts(*run((50,)))
    assert values(alone, 0) == []


def test_beyond_so_many_workers_the_rest_is_one() -> None:
    taken = tuple(range(100, 100 - WORKERS - 5, -1))
    first, *_ = charts(*run(taken))
    shown = {one["worker"]: one["accepts"] for one in values(first, 1)}
    assert len(shown) == WORKERS + 1
    assert shown[OTHERS] == sum(taken[WORKERS:])
    assert sum(shown.values()) == sum(taken)


def test_rates_and_waits_are_those_of_each_second() -> None:
    _, rate, waits = charts(*run((3, 1), (5, 5)))
    assert [(one["time"], one["value"]) for one in values(rate)] == [(at(1), 4.0), (at(2), 10.0)]
    assert [(one["from"], one["time"], one["connections"]) for one in values(waits)] == [
        (at(0), at(1), 4),
        (at(1), at(2), 10),
    ]
    assert {one["wait"] for one in values(waits)} == {"to 15us"}  # 9 us are between 8 and 15
    assert waits["height"] == 11


def test_shares_have_five_digits() -> None:
    first, *_ = charts(*run((2, 1)))
    assert [one["share"] for one in values(first, 1)] == [0.66667, 0.33333]


def test_a_rate_is_by_the_length_of_its_part() -> None:
    line, summary = run((3, 1), (5, 5))
    ((_, (first, last)),) = line.busiest()
    first.until_s, last.began_s = 0.5, 2.0  # half a second; no time at all
    rate = charts(line, summary)[1]
    assert [one["value"] for one in values(rate)] == [8.0]


def test_waits_that_were_not_measured_leave_an_empty_chart() -> None:
    line, summary = run((3, 1))
    ((_, (part,)),) = line.busiest()
    part.waits.clear()
    waits = charts(line, summary)[2]
    assert (values(waits), waits["height"]) == ([], 11)
    part.waits.update({4: 1, 5: 2, 7: 3})
    assert charts(line, summary)[2]["height"] == 33


def test_only_what_happened_is_drawn() -> None:
    assert titles(charts(*run((1, 1)))) == ["accepts/s", "wait"]
    with_queue = charts(*run((1, 1), queue=3))
    assert titles(with_queue) == ["accepts/s", "wait", "queue"]
    assert [one["value"] for one in values(with_queue[-1])] == [3]


def test_the_limit_is_drawn_where_the_queue_comes_near_it() -> None:
    near = charts(*run((1, 1), queue=400))[-1]
    assert values(near, 1) == [{"limit": 512}]
    assert values(near, 0)[0]["value"] == 400
    assert values(charts(*run((1, 1), queue=128))[-1], 1) == [{"limit": 512}]
    far = charts(*run((1, 1), queue=127))[-1]
    assert "layer" not in far
    line, summary = run((1, 1), (1, 1), queue=400)
    ((_, (first, last)),) = line.busiest()
    first.limit, last.queue = None, 0  # one is not known, at the other nobody waited
    assert "layer" not in charts(line, summary)[-1]
    first.limit, last.limit = 512, 1024
    assert values(charts(line, summary)[-1], 1) == [{"limit": 512}]


def test_events_are_marks_with_their_words() -> None:
    line, summary = run((3, 1), (5, 5))
    event = Event(
        number=1, kind="RELOAD", time=f"{at(1)}", began_s=1.0, until_s=1.5, going_on=False,
        netns=None, family="ipv4", local_address="0.0.0.0", local_port=80,
        workers=2, left=2, came=2, program="nginx: worker",
    )  # fmt: skip
    elsewhere = replace(event, number=2, local_port=81)
    first, *_ = charts(line, replace(summary, events=(event, elsewhere)))
    (mark,) = values(first, 2)
    assert (mark["time"], mark["kind"]) == (at(1), "RELOAD")
    assert "2" in mark["text"]
    assert len(charts(line, summary)[0]["layer"]) == 2


def test_nothing_accepted_is_nothing_drawn() -> None:
    assert charts(*run((0, 0))) == []


def test_all_are_one_picture_with_the_same_data() -> None:
    specs = charts(*run((3, 1), (5, 5), queue=2))
    whole = together(specs, 700)
    assert [one["width"] for one in whole["vconcat"]] == [700] * len(specs)
    assert [values(one, 1) if "layer" in one else values(one) for one in whole["vconcat"]] == [
        values(one, 1) if "layer" in one else values(one) for one in specs
    ]
    assert not any("$schema" in one for one in whole["vconcat"])


def tables(text: str) -> list[list[list[str]]]:
    """Cells by table and row."""
    found = defaultdict(list)
    for number, table in enumerate(re.findall(r"<table>(.*?)</table>", text, re.DOTALL)):
        for row in re.findall(r"<tr>(.*?)</tr>", table):
            found[number].append(re.findall(r"<t[hd]>(.*?)</t[hd]>", row))
    return list(found.values())


def test_the_page_has_the_numbers_of_the_summary() -> None:
    line, summary = run((300, 100), (500, 100), queue=2)
    text = page("run.gz", summary, charts(line, summary), "")
    workers, listeners = tables(text)
    assert workers[0][:4] == ["PID", "WORKER", "ACCEPTS", "SHARE"]
    assert [row[:4] for row in workers[1:]] == [
        ["1001", "nginx: worker", "800", "80.0%"],
        ["1002", "nginx: worker", "200", "20.0%"],
    ]
    assert listeners[1] == [
        *("0.0.0.0:80", "shared", "n/a", "n/a", "2", "2/512", "1,000"),
        summary.listeners[0].book,
    ]
    assert '<p class="verdict warn"><b>UNEVEN</b> ' in text
    assert "<p>UNEVEN: " not in text  # what is said first is not said again
    assert "<h1>accepttrace :80</h1>" in text
    assert "run.gz: 2s, 2026-01-02T12:00:00.000Z to 2026-01-02T12:00:02.000Z" in text
    assert "1,000 connections accepted in 2s" in text
    assert "books" in text.partition("<h2>The books</h2>")[2].partition("<h2>")[0]
    assert "reuseport selection" in text  # a blind spot
    assert text.count('<div class="chart"') == len(charts(line, summary)) == 4


def test_long_tables_say_how_much_more_there_is() -> None:
    line, summary = run((1,) * (ROWS + 7))
    workers, _ = tables(text := page("x", summary, charts(line, summary), ""))
    assert len(workers) == 100 + 1
    assert "7 more are in the recording." in text


def test_a_table_that_is_just_as_long_as_may_be_says_nothing_of_more() -> None:
    line, summary = run((1,) * ROWS)
    rows = summary.listeners * ROWS
    text = page("x", replace(summary, listeners=rows), charts(line, summary), "")
    assert [len(table) for table in tables(text)] == [1 + ROWS, 1 + ROWS]
    assert "in the recording" not in text
    text = page("x", replace(summary, listeners=rows + rows[:1]), [], "")
    assert [len(table) for table in tables(text)] == [1 + ROWS, 1 + ROWS]
    assert "<p>1 more are in the recording.</p>" in text


def test_what_is_not_known_of_a_listener_is_said() -> None:
    line, summary = run((1, 1))
    unknown = replace(
        summary.listeners[0],
        sharing=None,
        selector=None,
        group_size=None,
        queue=None,
        capacity=None,
    )
    grouped = replace(summary.listeners[0], sharing="reuseport", selector="hash", group_size=4)
    text = page("x", replace(summary, listeners=(unknown, grouped)), charts(line, summary), "")
    _, (_, *rows) = tables(text)
    assert [row[1:6] for row in rows] == [
        ["n/a", "n/a", "n/a", "2", "n/a/n/a"],
        ["reuseport", "4", "hash", "2", "0/512"],
    ]


def test_what_ends_a_script_ends_none() -> None:
    line, summary = run((1, 1), name="</script><!-- &")
    text = page("x", summary, charts(line, summary), "a</script>b<!--c</g")
    assert r"a<\/script>b<\!--c</g" in text
    assert text.count("</script>") == 2
    data = json.loads(re.findall(r"const specs = (\[.*\]);", text)[0])
    assert any("</script><!-- &" in one["worker"] for one in values(data[0], 1))


def test_a_report_for_programs_follows_its_schema(tmp_path: Path) -> None:
    recorded(tmp_path / "run.gz")
    write_report(Recording(tmp_path / "run.gz"), tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text())
    schema = Path(accepttrace.views.__file__).parent / "report.schema.json"
    validator = Draft202012Validator(json.loads(schema.read_text()))
    validator.validate(found)
    del found["summary"]["books"]["accepts"]
    assert not validator.is_valid(found)
