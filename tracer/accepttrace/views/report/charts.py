"""Charts of a run over time, as a Vega-Lite specification: data and what is drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from accepttrace.model.endpoint import Endpoint
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.timeline import Part, Timeline, Worker, leading
from accepttrace.views.events import text as words_of
from accepttrace.views.formats import duration, endpoint
from accepttrace.views.text import clean

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"  # its name; nothing is fetched
RED: Final = "#d62728"
HEIGHT: Final = 160
STEP: Final = 11  # of one level of waits
LOW: Final = 60  # of the charts below the shares
OTHERS: Final = "all others"
Spec = dict[str, Any]


def charts(timeline: Timeline, summary: Snapshot) -> list[Spec]:
    """Those of a place one after the other, the busiest place first; all of the same width."""
    found: list[Spec] = []
    clock = _Clock(summary)
    for place, parts in timeline.busiest():
        found += _place(place, parts, summary, clock)
    return [{"$schema": SCHEMA, **_LOOK, "width": "container", **one} for one in found]


def together(specs: Sequence[Spec], width: int) -> Spec:
    """All in one picture, one below the other."""
    left_out = ("$schema", *_LOOK)
    rows = [{key: one[key] for key in one if key not in left_out} for one in specs]
    rows = [{**row, "width": width} for row in rows]
    resolve = {"scale": {"color": "independent", "x": "independent"}}
    return {"$schema": SCHEMA, "config": _LOOK["config"], "vconcat": rows, "resolve": resolve}


_LOOK: Final[Spec] = {
    "background": None,
    "autosize": {"type": "fit-x", "contains": "padding"},
    "config": {"view": {"stroke": None}, "axis": {"gridOpacity": 0.3}},
}


def _place(place: Endpoint, parts: Sequence[Part], summary: Snapshot, clock: _Clock) -> list[Spec]:
    name = endpoint(place.local_address, place.local_port, place.family, None)
    rate = _series(parts, clock, _rate)
    opened = _series(parts, clock, lambda part: part.opened)
    lost = _series(parts, clock, lambda part: part.lost)
    return [
        _shares(name, parts, clock, _events(place, summary, clock)),
        _row("accepts/s", rate, "area", clock),
        _waits(parts, clock),
        *([_queue(parts, clock)] if any(part.queue for part in parts) else []),
        *([_row("open", opened, "line", clock)] if any(part.opened for part in parts) else []),
        *([_row("lost", lost, "bar", clock, RED)] if any(part.lost for part in parts) else []),
    ]


class _Clock:
    """Seconds since the start as times of the day, UTC."""

    def __init__(self, summary: Snapshot) -> None:
        end = datetime.fromisoformat(summary.time.replace("Z", "+00:00"))
        self._began = end - timedelta(seconds=summary.elapsed_s)
        self.axis: Spec = {
            "field": "time",
            "type": "temporal",
            "title": None,
            "scale": {"type": "utc", "domain": [self(0.0), self(summary.elapsed_s)]},
            "axis": {"format": "%H:%M:%S"},
        }

    def __call__(self, elapsed_s: float) -> str:
        return (self._began + timedelta(seconds=elapsed_s)).isoformat(timespec="milliseconds")


def _shares(name: str, parts: Sequence[Part], clock: _Clock, events: list[Spec]) -> Spec:
    """Of each worker, before the band in which chance alone leaves it."""
    bands = [
        {"time": clock(part.until_s), "low": fair[0], "high": fair[1]}
        for part in parts
        if (fair := part.fair) is not None
    ]
    share = {"type": "quantitative", "title": "share", "axis": {"format": "%"}}
    band = {
        "data": {"values": bands},
        "mark": {"type": "area", "color": "#888888", "opacity": 0.35},
        "encoding": {
            "x": clock.axis,
            "y": {"field": "low", **share},
            "y2": {"field": "high"},
        },
    }
    lines = {
        "data": {"values": _worker_shares(parts, clock)},
        "mark": {"type": "line", "strokeWidth": 1.5, "tooltip": True},
        "encoding": {
            "x": clock.axis,
            "y": {"field": "share", **share},
            "color": {"field": "worker", "type": "nominal", "title": None, "sort": None},
        },
    }
    rules = {
        "data": {"values": events},
        "mark": {"type": "rule", "strokeDash": [4, 2], "tooltip": True},
        "encoding": {
            "x": {**clock.axis, "field": "time"},
            "tooltip": [{"field": "kind"}, {"field": "text"}],
            "color": {"value": RED},
        },
    }
    title = {"text": name, "subtitle": "shares; grey: where chance leaves an even one, 99 of 100"}
    return {
        "title": {**title, "anchor": "start"},
        "height": HEIGHT,
        "layer": [band, lines, *([rules] if events else [])],
    }


def _worker_shares(parts: Sequence[Part], clock: _Clock) -> list[Spec]:
    leaders = leading(parts)
    found: list[Spec] = []
    for part in parts:
        if not part.accepts:
            continue
        rest = part.accepts
        time = clock(part.until_s)
        for worker in leaders:
            accepts = part.taken[worker]
            rest -= accepts
            found.append(_share(time, _called(worker), accepts, part.accepts))
        if rest:
            found.append(_share(time, OTHERS, rest, part.accepts))
    return found


def _share(time: str, worker: str, accepts: int, total: int) -> Spec:
    return {"time": time, "worker": worker, "accepts": accepts, "share": round(accepts / total, 5)}


def _called(worker: Worker) -> str:
    name = clean(worker.name)
    return f"{name} (ended)" if worker.pid is None else f"{worker.pid} {name}"


def _waits(parts: Sequence[Part], clock: _Clock) -> Spec:
    """How many connections waited how long: by powers of two, the longest on top."""
    values = [
        {
            "from": clock(part.began_s),
            "time": clock(part.until_s),
            "wait": f"to {duration((1 << bits) - 1)}",
            "order": bits,
            "connections": count,
        }
        for part in parts
        for bits, count in part.waits.items()
    ]
    return {
        "data": {"values": values},
        "height": STEP * max(len({one["order"] for one in values}), 1),
        "mark": {"type": "rect", "tooltip": True},
        "encoding": {
            "x": {**clock.axis, "field": "from", "scale": {"type": "utc", "nice": False}},
            "x2": {"field": "time"},
            "y": {
                "field": "wait",
                "type": "ordinal",
                "title": "wait",
                "sort": {"field": "order", "order": "descending"},
            },
            "color": {
                "field": "connections",
                "type": "quantitative",
                "scale": {"type": "symlog", "scheme": "viridis"},
            },
        },
    }


def _queue(parts: Sequence[Part], clock: _Clock) -> Spec:
    chart = _row("queue", _series(parts, clock, lambda part: part.queue), "area", clock, "#ff7f0e")
    queues = [part.queue for part in parts if part.queue]
    limits = [part.limit for part in parts if part.limit is not None and part.queue]
    if not limits or max(queues) * 4 < max(limits):
        return chart
    limit = {
        "data": {"values": [{"limit": max(limits)}]},
        "mark": {"type": "rule", "color": RED, "tooltip": True},
        "encoding": {"y": {"field": "limit", "type": "quantitative"}},
    }
    return {"height": chart.pop("height"), "layer": [chart, limit]}


def _row(title: str, values: list[Spec], mark: str, clock: _Clock, color: str = "#4c78a8") -> Spec:
    return {
        "data": {"values": values},
        "height": LOW,
        "mark": {"type": mark, "color": color, "tooltip": True},
        "encoding": {
            "x": clock.axis,
            "y": {"field": "value", "type": "quantitative", "title": title},
        },
    }


def _series(parts: Sequence[Part], clock: _Clock, value: Any) -> list[Spec]:
    """What is not known is left out."""
    found = ((clock(part.until_s), value(part)) for part in parts)
    return [{"time": time, "value": number} for time, number in found if number is not None]


def _rate(part: Part) -> float | None:
    length_s = part.until_s - part.began_s
    return part.accepts / length_s if length_s else None


def _events(place: Endpoint, summary: Snapshot, clock: _Clock) -> list[Spec]:
    return [
        {
            "time": clock(event.began_s),
            "kind": event.kind,
            "text": clean(words_of(summary, event)),
        }
        for event in summary.events
        if event.local_port in (None, place.local_port)
    ]
