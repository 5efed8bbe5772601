"""Pages over the table: one worker, histograms, what a verdict means, the keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from accepttrace.facts.records import Holder
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Snapshot
from accepttrace.views.columns.tcp import TABLE
from accepttrace.views.formats import NA, endpoint, known, plural
from accepttrace.views.histogram import block, blocks
from accepttrace.views.screen.board import Board, Item
from accepttrace.views.screen.state import LEAP
from accepttrace.views.screen.table import Canvas
from accepttrace.views.text import Line, clean, clip, cut, pad

NARROW: Final = 20  # cells that words need to be broken into lines
THREADS: Final = 64  # of a process that are listed
KEYS: Final = (
    ("up down j k", "select a row, or scroll a page"),
    ("PgUp PgDn Home End", "the same by a screen, to the first and the last"),
    ("Enter", "one worker: its waits, descriptors, container and threads"),
    ("g", "group rows by worker, process, thread, socket, group"),
    ("s", "sort by the next column that is shown; the one in use is marked"),
    ("S", "sort in the other direction"),
    ("w", "window of shares and verdicts: 10s, 60s, all since the start"),
    ("z", "begin anew: everything counted so far is forgotten, also for the summary"),
    ("/", "show rows whose name, PID or address has this text; Esc shows all again"),
    ("h", "how long connections waited, as bars"),
    ("e", "what the verdict means, why it happens, what people do about it"),
    ("p", "pause: the numbers stand still, counting goes on; g, w and z end it"),
    ("?", "this page"),
    ("q", "quit with a summary; from a page: back to the table, as Esc does"),
)
# In place of those of the same keys, and of one more.
REPLAY_KEYS: Final = (
    ("left right", f"back and ahead by {LEAP} readings; by one while it stands still"),
    ("p", "the replay stands still, or goes on"),
    ("z", "from the beginning"),
)


def worker(board: Board, item: Item | None, threads: Snapshot | None, canvas: Canvas) -> list[Line]:
    """All that is known of one row."""
    if item is None:
        return [((" it is not there any more", ""),)]
    row, width = item.row, canvas.width
    name = "" if row.pid is None else f"pid {row.pid} "
    lines: list[Line] = [((f" {name}{clean(row.name)}", "bold"),), ()]
    lines += _facts(item, width)
    lines += [(), ((" SOCKETS", "bold"),), *_sockets(board, row, width)]
    if any(row.wait_histogram):
        lines += [(), ((" WAITS", "bold"),), *block(board.snapshot, row, width)[1:]]
    lines += [(), *_threads(row, threads, width), ()]
    text = " clients: not known; connections are counted, not who made them"
    return [cut(line, width) for line in (*lines, ((text, ""),))]


def _facts(item: Item, width: int) -> Iterator[Line]:
    """Each column that has something to say, in as many as fit side by side."""
    pairs: list[tuple[str, str]] = []
    for column in TABLE.columns:
        (value,) = column.shown([item.line])
        if value in (*column.hide_if, None, "") or column.key in ("pid", "name"):
            continue
        pairs.append((column.title, column.text([value])[0]))
    titles = max(len(title) for title, _ in pairs)
    texts = [f" {title:<{titles}}  {text}" for title, text in pairs]
    share = 38
    columns = max(width // share, 1)
    height = -(-len(texts) // columns)
    for number in range(height):
        cells = texts[number::height]
        yield (("".join(pad(text, share, "left") for text in cells), ""),)


def _sockets(board: Board, row: AcceptorRow, width: int) -> Iterator[Line]:
    """Listening sockets that it holds, with their descriptors."""
    for socket in board.snapshot.listeners if row.pid is not None else ():
        for holder in socket.holders:
            if holder.pid == row.pid:
                yield ((clip(f" {_socket(socket, holder)}", width), ""),)


def _socket(socket: ListenerRow, holder: Holder) -> str:
    place = endpoint(
        socket.local_address, socket.local_port, socket.family, socket.inode, socket.device
    )
    how = {True: "waits", False: "does not wait", None: "waits: not known"}[holder.waits]
    if holder.waits_in:
        how = f"waits in {holder.waits_in}"
    limit = f"{known(socket.queue)}/{NA if socket.capacity is None else socket.capacity}"
    return f"fd {holder.fd}  {place}  inode {socket.inode}  queue {limit}  {how}"


def _threads(row: AcceptorRow, threads: Snapshot | None, width: int) -> list[Line]:
    """Those that accepted, or wait."""
    if row.pid is None:
        return []
    found = [one for one in (threads.acceptors if threads else ()) if one.pid == row.pid]
    if not found:
        text = " threads: being read ..." if threads is None else " threads: none is known"
        return [((text, ""),)]
    lines: list[Line] = [((f" THREADS {len(found)}", "bold"),)]
    for one in found[:THREADS]:
        who = f"{known(one.tid):>9}" if one.tid else f"{NA:>9}"
        end = "" if one.alive else "  ended"
        count = f"{plural(one.accepts, 'accept'):>18}  {one.rate:>8,.1f}/s"
        text = f" {who}  {count}  {clean(one.comm)}{end}"
        lines.append(((clip(text, width), ""),))
    if len(found) > THREADS:
        lines.append(((f" ... {len(found) - THREADS:,} more", ""),))
    return lines


def histograms(snapshot: Snapshot, width: int) -> list[Line]:
    """Of all rows together, and of each."""
    return blocks(snapshot, width)


def explained(snapshot: Snapshot, width: int) -> list[Line]:
    """What `accepttrace explain` says of the verdicts on the screen, and of what goes on."""
    from accepttrace.views.explain import WIDTH, lines
    from accepttrace.views.explanations import find

    going_on = (one.kind for one in reversed(snapshot.events) if one.going_on)
    words = dict.fromkeys([*(one.finding.word for one in snapshot.verdicts), *going_on])
    found: list[Line] = []
    for word in words:
        for one in find(word):
            found += [
                *(((f" {text}", ""),) for text in lines(one, min(max(width - 2, NARROW), WIDTH))),
                (),
            ]
    return found or [((" nothing to explain: no verdict yet", ""),)]


def keys(width: int, *, replays: bool = False) -> list[Line]:
    """What each does."""
    table = {**dict(KEYS), **dict(REPLAY_KEYS)} if replays else dict(KEYS)
    room = max(map(len, table))
    found: list[Line] = [((" KEYS", "bold"),), ()]
    for key, what in table.items():
        first, *rest = wrap(what, max(width - room - 3, NARROW))
        found.append(((f" {key:<{room}}", "bold"), (f"  {first}", "")))
        found += [((f"{'':{room + 3}}{text}", ""),) for text in rest]
    more = "The words in capitals are explained by e, and by `accepttrace explain WORD`."
    return [cut(line, width) for line in (*found, (), ((f" {more}", ""),))]


def part(lines: Sequence[Line], scroll: int, room: int, width: int) -> tuple[Line, Sequence[Line]]:
    """A line that says which of them are in view, where that is not all of them; and these."""
    if len(lines) <= room:
        return (), lines
    first = max(min(scroll, len(lines) - room), 0)
    where = f"lines {first + 1}-{first + room} of {len(lines)}"
    return ((clip(f"{where:>{width}}", width), ""),), lines[first : first + room]
