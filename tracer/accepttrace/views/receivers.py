"""The table of `--udp`: header, one row a socket, totals and notes, laid out for a window."""

from __future__ import annotations

from collections.abc import Sequence

from accepttrace.model.datagrams import ReceiverBooks, ReceiverRow, ReceiverSnapshot
from accepttrace.views.closing import lost_by_tracer
from accepttrace.views.columns import udp
from accepttrace.views.formats import NA, known, plural, rate
from accepttrace.views.header import loss, namespaces, title, unread_lines
from accepttrace.views.layout import TITLE_AND_TOTAL, limited, lines, strips
from accepttrace.views.losses import sentence
from accepttrace.views.readers import shared_reads
from accepttrace.views.sameplace import alone
from accepttrace.views.text import Line, Span, clean, cut, flow


def render(
    snapshot: ReceiverSnapshot,
    width: int,
    height: int | None,
    *,
    rows: int | None = None,
    columns: Sequence[str] = (),
    footer: bool = True,
) -> list[Line]:
    """All lines: at most `width` cells each, at most `height` of them, `rows` rows in the table.

    Without a height nothing is cut, and a `footer` of all that could be lost ends it.
    """
    books, above = snapshot.books, header(snapshot, width)
    below = [line for text in alone(snapshot.sockets) for line in _said(text, width)]
    below += [line for text in shared_reads(snapshot.sockets) for line in _said(text, width)]
    below += _unlisted(snapshot, width)
    if height is None and footer:
        below = below + _by_clients(books, width) + lost_by_tracer(books.losses, width)
    if snapshot.sockets:
        room = None if height is None else height - len(above) - len(below) - TITLE_AND_TOTAL
        body = _body(snapshot.sockets, width, limited(len(snapshot.sockets), room, rows), columns)
    else:
        body = flow([(f"no socket: {clean(snapshot.meta.asked)}", "")], width)
    frame = [cut(line, width) for line in (*above, *body, *below)]
    return frame if height is None else frame[:height]


def _said(text: str, width: int) -> list[Line]:
    return sentence(text, [], width, "")


def header(snapshot: ReceiverSnapshot, width: int) -> list[Line]:
    """Two lines where they fit; more in a narrow window."""
    books, rows = snapshot.books, [row for row in snapshot.sockets if row.open]
    workers = {holder.pid for row in rows for holder in udp.owners(row)}
    number = len(workers) + sum(row.holders_more for row in rows)
    sockets = sum(row.folded or 1 for row in rows)
    second: list[Span] = [
        *_traffic(snapshot),
        (f"{plural(number, 'worker')} on {plural(sockets, 'socket')}", ""),
        namespaces(snapshot.sockets),
        *loss(books.losses, _dropped(books)),
    ]
    first = title(snapshot.meta, snapshot.time, snapshot.elapsed_s)
    found = flow(first, width) + flow(second, width)
    return found + unread_lines(snapshot.unread, width)


def _dropped(books: ReceiverBooks) -> Span | None:
    """Only the kernel's own count has what was dropped for another reason than a full queue."""
    if not books.lost:
        return None
    source = " (kernel's own count)" if books.lost > (books.dropped or 0) else ""
    return (f"{plural(books.lost, 'datagram')} dropped{source}", "bold red")


def _traffic(snapshot: ReceiverSnapshot) -> list[Span]:
    if snapshot.books.datagrams is None:
        return [(f"datagrams: {NA}", "bold")]
    number = rate(sum(row.rate or 0 for row in snapshot.sockets))
    return [(plural(snapshot.books.datagrams, "datagram"), "bold"), (f"{number}/s", "")]


def _body(
    rows: Sequence[ReceiverRow], width: int, limit: int, columns: Sequence[str]
) -> list[Line]:
    titles, *texts, total = lines(strips(udp.TABLE, "socket", rows[:limit], rows, width, columns))
    body: list[Line] = [((titles, "bold"),)]
    body += [((text, _style(row)),) for text, row in zip(texts, rows, strict=False)]
    rest = rows[limit:]
    if rest:
        taken = udp.TABLE.total(udp.TABLE.column("datagrams"), rest)
        more = "" if taken is None else f" ({plural(int(taken), 'datagram')})"
        body.append(((f"… {plural(len(rest), 'more row')}{more}", "dim"),))
    return [*body, ((total, "bold"),)]


def _style(row: ReceiverRow) -> str:
    return "" if row.open else "dim"


def _by_clients(books: ReceiverBooks, width: int) -> list[Line]:
    parts = [
        f"{known(books.dropped)} datagrams dropped (queue full)",
        f"{known(books.drops)} packets dropped in all by the kernel's own count",
    ]
    return sentence("lost by clients:", parts, width, "dim")


def _unlisted(snapshot: ReceiverSnapshot, width: int) -> list[Line]:
    books = snapshot.books
    if not books.unlisted_sockets:
        return []
    taken = plural(books.unlisted_datagrams or 0, "datagram")
    text = f"and {plural(books.unlisted_sockets, 'socket')} without a row, gone by now: {taken}"
    return [cut(((text, "dim"),), width)]
