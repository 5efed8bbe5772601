"""What is said of the sockets and the processes at one place, in a few words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from accepttrace.model.snapshot import ListenerRow
from accepttrace.views import formats
from accepttrace.views.formats import NA, plural
from accepttrace.views.screen.board import Section
from accepttrace.views.text import clean

_NUMBER: Final = re.compile(r"[\s:#/_-]*\d+$")  # `lab worker 1` is one of several


def queue(sockets: Sequence[ListenerRow]) -> str:
    """`43/3072`: what waits in all of them together, of what they hold; empty: not known."""
    number = waiting(sockets)
    limits = [None if s.capacity is None else s.capacity * max(s.folded, 1) for s in sockets]
    if number in ("", NA):
        return number
    known = [limit for limit in limits if limit is not None]
    return f"{number}/{sum(known)}" if len(known) == len(limits) else f"{number}/{NA}"


def waiting(sockets: Sequence[ListenerRow]) -> str:
    """The same without the limit."""
    if not sockets:
        return ""
    known = [socket.queue for socket in sockets if socket.queue is not None]
    return f"{sum(known):,}" if len(known) == len(sockets) else NA


def server(section: Section) -> str:
    """`nginx, 6 reuseport sockets by hash`: who listens, and how they share."""
    parts = [name_of(section), sharing(section.open_sockets)]
    return ", ".join(part for part in parts if part)


def name_of(section: Section) -> str:
    """What those who accept there are called, as far as that is one name."""
    rows = [item.row for item in section.items if not item.row.serves]
    for names in ({row.name for row in rows}, {row.comm for row in rows}):
        found = {_NUMBER.sub("", name).partition(": ")[0] for name in names if name}
        if len(found) == 1:
            return clean(found.pop())
    return plural(len({row.comm for row in rows}), "program")


def sharing(sockets: Sequence[ListenerRow]) -> str:
    """`6 reuseport sockets by hash`, `1 socket, shared by 4`."""
    if not sockets:
        return ""
    number = sum(max(socket.folded, 1) for socket in sockets)
    kinds = {socket.sharing for socket in sockets}
    if kinds == {"reuseport"}:
        chosen = {(s.selector, s.selector_program) for s in sockets if s.selector}
        by = f" by {formats.selector(*chosen.pop())}" if len(chosen) == 1 else ""
        return plural(number, "reuseport socket") + by
    text = plural(number, "socket")
    if kinds == {"shared"} and number == 1:
        text += f", shared by {sum(h.waits is not False for h in sockets[0].holders)}"
    return text
