"""The page: self-contained, without network; what others chose is escaped wherever it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from accepttrace.model.snapshot import ListenerRow, Snapshot
from accepttrace.views import verdicts
from accepttrace.views.closing import closing
from accepttrace.views.columns.tcp import TABLE, rows_of
from accepttrace.views.formats import NA, endpoint, known, span
from accepttrace.views.text import Line, clean, plain

WIDTH: Final = 10_000  # cells of a line: a browser breaks it
PAGE: Final = files(__package__).joinpath("page.html")
_ENDS: Final = re.compile(r"<(/script|!--)", re.IGNORECASE)  # what ends a script
ROWS: Final = 100  # of a table
COLUMNS: Final = (
    *("pid", "name", "accepts", "share", "fair_ratio", "wait_p50_us", "wait_p99_us"),
    *("wait_max_us", "open_connections", "empty_accepts"),
)


def page(name: str, summary: Snapshot, specs: Sequence[dict[str, Any]], library: str) -> str:
    """`library`: the JavaScript of `vegaEmbed`. `name`: of the recording."""
    meta = summary.meta
    sentences = closing(summary, WIDTH)
    ledger = closing(summary, WIDTH, ledger=True)[len(sentences) :]
    parts = {
        "title": _safe(f"accepttrace {meta.asked}"),
        "when": _safe(f"{name}: {span(summary.elapsed_s)}, {meta.started} to {summary.time}"),
        "verdicts": _verdicts(summary),
        "sentences": _paragraphs(sentences, verdicts.sentences(summary)),
        "places": "\n".join(
            f'<div class="chart" id="chart{at}"></div>' for at in range(len(specs))
        ),
        "workers": _workers(summary),
        "listeners": _listeners(summary.listeners),
        "books": _paragraphs(ledger),
        "measured": _measured(summary),
        "library": _ENDS.sub(r"<\\\1", library),
        "specs": _data(specs),
    }
    return Template(PAGE.read_text(encoding="utf-8")).substitute(parts)


def _safe(text: str) -> str:
    return escape(clean(text))


def _data(value: object) -> str:
    """JSON that ends no script and begins no comment."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _verdicts(summary: Snapshot) -> str:
    lines = []
    for sentence in verdicts.sentences(summary):
        word, _, rest = sentence.partition(": ")
        style = verdicts.style(word)
        lines.append(f'<p class="verdict {style}"><b>{_safe(word)}</b> {_safe(rest)}</p>')
    return "".join(lines)


def _paragraphs(lines: Sequence[Line], said: Sequence[str] = ()) -> str:
    """But those that were `said` before."""
    texts = (line.strip() for line in plain(lines).splitlines())
    return "".join(
        f"<p>{_safe(line)}</p>" for line in texts if line and line.rstrip(".") not in said
    )


def _workers(summary: Snapshot) -> str:
    columns = [column for column in TABLE.columns if column.key in COLUMNS]
    shown = rows_of(summary, summary.acceptors[:ROWS])
    cells = [column.text(column.shown(shown)) for column in columns]
    head = [column.title for column in columns]
    return _table(head, zip(*cells, strict=True), len(summary.acceptors) - len(shown))


def _listeners(rows: Sequence[ListenerRow]) -> str:
    head = ("LISTENER", "SHARING", "GROUP SIZE", "SELECTOR", "HOLDERS", "QUEUE", "ACCEPTED", "BOOK")
    lines = [
        (
            endpoint(row.local_address, row.local_port, row.family, row.inode),
            row.sharing or NA,
            known(row.group_size),
            row.selector or NA,
            str(len({holder.pid for holder in row.holders})),
            f"{known(row.queue)}/{known(row.capacity)}",
            f"{row.accepted:,}",
            row.book,
        )
        for row in rows[:ROWS]
    ]
    return _table(head, lines, len(rows) - len(lines))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], more: int) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_safe(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row([cell.strip() for cell in cells], "td") for cells in rows)
    rest = f"<p>{more:,} more are in the recording.</p>" if more > 0 else ""
    return f'<div class="scroll"><table>{row(head, "th")}{body}</table></div>{rest}'


def _measured(summary: Snapshot) -> str:
    meta = summary.meta
    lines = [
        f"accepttrace {meta.version} on {meta.kernel}: {meta.attach}, loaded by {meta.loader}.",
        f"Not visible in this way: {', '.join(meta.blind_spots)}." if meta.blind_spots else "",
        "Waits run from the end of the handshake to accept(), by the kernel's own time stamps;"
        " they are upper bounds of buckets at most 12.5 % wide.",
    ]
    return "".join(f"<p>{_safe(line)}</p>" for line in lines if line)
