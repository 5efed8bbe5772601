"""The table: column titles, rows and total, laid out for a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from accepttrace.model.grains import GRAINS
from accepttrace.model.snapshot import AcceptorRow, Snapshot
from accepttrace.views.columns import tcp
from accepttrace.views.formats import plural
from accepttrace.views.frame import framed, nothing
from accepttrace.views.layout import TITLE_AND_TOTAL, limited, lines, strips
from accepttrace.views.text import Line, clean, cut, flow


def render(
    snapshot: Snapshot,
    width: int,
    height: int | None,
    *,
    rows: int | None = None,
    columns: Sequence[str] = (),
    footer: bool = True,
    full: bool = False,
) -> list[Line]:
    """All lines, as `framed` says; at most `rows` rows in the table, with these `columns`."""
    shown = [row for row in snapshot.acceptors if not _aside(snapshot, row)]

    def body(room: int | None) -> list[Line]:
        if not shown:
            return flow([(nothing(snapshot), "")], width)
        for_rows = None if room is None else room - TITLE_AND_TOTAL
        return _body(snapshot, shown, width, limited(len(shown), for_rows, rows), columns)

    return framed(
        snapshot, width, height, body, _waiting_aside(snapshot, width), footer=footer, full=full
    )


def _body(
    snapshot: Snapshot,
    shown: Sequence[AcceptorRow],
    width: int,
    limit: int,
    columns: Sequence[str],
) -> list[Line]:
    rows = tcp.rows_of(snapshot, shown)
    chosen = strips(tcp.TABLE, snapshot.by, rows[:limit], rows, width, columns)
    titles, *texts, total = lines(chosen)
    body: list[Line] = [((titles, "bold"),)]
    body += [((text, _style(row)),) for text, row in zip(texts, shown, strict=False)]
    rest = shown[limit:]
    if rest:
        accepts = plural(sum(row.accepts for row in rest), "accept")
        body.append(((f"… {plural(len(rest), 'more row')} ({accepts})", "dim"),))
    return [*body, ((total, "bold"),)]


def _style(row: AcceptorRow) -> str:
    return "" if row.alive else "dim"


def _aside(snapshot: Snapshot, row: AcceptorRow) -> bool:
    """A holder that accepts nothing and does not wait either: a master process."""
    of_sockets = GRAINS[snapshot.by].of_sockets
    return not of_sockets and row.waits is False and not (row.accepts or row.serves) and row.alive


def _waiting_aside(snapshot: Snapshot, width: int) -> list[Line]:
    rows = [row for row in snapshot.acceptors if _aside(snapshot, row)]
    if not rows:
        return []
    names = {row.pid: clean(row.name) for row in rows}
    holds: Counter[int | None] = Counter(
        pid for row in snapshot.listeners if not row.folded for pid in {h.pid for h in row.holders}
    )
    for row in rows:
        holds[row.pid] += row.folded
    texts = [
        f"{name} (pid {pid}) holds {plural(holds[pid], 'listener')}" for pid, name in names.items()
    ]
    return [cut(((f"not waiting for connections: {', '.join(texts)}", "dim"),), width)]
