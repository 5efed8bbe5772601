"""A report of a recording: it is replayed once, and what it shows is written to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from accepttrace.errors import UsageError
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.timeline import Timeline
from accepttrace.run.replay import Recording, whole
from accepttrace.views import jsonl
from accepttrace.views.report.charts import charts, together
from accepttrace.views.report.page import page

SVG_WIDTH: Final = 900  # pixels of a chart


def write_report(recording: Recording, target: Path) -> None:
    """In the form of the suffix. UsageError: it cannot be written."""
    subject, timeline = whole(recording), Timeline()
    for picture in subject.pictures():
        timeline.take(picture)
    text = _MAKERS[target.suffix](recording, timeline, subject.summary())
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from None


def _html(recording: Recording, timeline: Timeline, summary: Snapshot) -> str:
    from vl_convert import javascript_bundle

    return page(recording.path.name, summary, charts(timeline, summary), javascript_bundle())  # type: ignore[call-arg]


def _svg(recording: Recording, timeline: Timeline, summary: Snapshot) -> str:  # noqa: ARG001
    from vl_convert import vegalite_to_svg

    made: str = vegalite_to_svg(together(charts(timeline, summary), SVG_WIDTH))
    return made


def _json(recording: Recording, timeline: Timeline, summary: Snapshot) -> str:  # noqa: ARG001
    whole = {
        "type": "report",
        "meta": json.loads(jsonl.meta_line(summary.meta)),
        "summary": json.loads(jsonl.summary_line(summary, histogram=True)),
        "charts": charts(timeline, summary),
    }
    return jsonl.dump(whole) + "\n"


_MAKERS: Final = {".html": _html, ".svg": _svg, ".json": _json}
