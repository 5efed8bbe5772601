"""Who reads the sockets that several processes share, as sentences below the table of `--udp`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from accepttrace.model.datagrams import Reader, ReceiverRow
from accepttrace.views.formats import place_of, plural
from accepttrace.views.text import clean

SOCKETS: Final = 4  # that get a sentence: those most read
READERS: Final = 8  # that it names


def shared_reads(rows: Iterable[ReceiverRow]) -> Iterator[str]:
    """A sentence for each socket with several readers, or holders that may read."""
    several = [row for row in rows if row.inode is not None and len(row.readers or ()) > 1]
    several.sort(key=lambda row: -(row.read or 0))
    for row in several[:SOCKETS]:
        yield f"{place_of(row)} (inode {row.inode}): {_split(row.readers or ())}"
    if len(several) > SOCKETS:
        yield f"{plural(len(several) - SOCKETS, 'more socket')} with several readers: see JSON"


def _split(readers: Sequence[Reader]) -> str:
    reading = [one for one in readers if one.packets]
    if not reading:
        return f"none of {plural(len(readers), 'process')} has read anything"
    total = sum(one.packets for one in reading)
    of = f"{len(reading)} of {plural(len(readers), 'process')} read {plural(total, 'packet')}"
    if any(one.pid is None for one in reading):  # nobody knows how many they are
        of = f"{plural(total, 'packet')} read"
    named = ", ".join(map(_one, reading[:READERS]))
    more = len(reading) - READERS
    return f"{of}: {named}" + (f" and {more:,} more" if more > 0 else "")


def _one(reader: Reader) -> str:
    part = f" ({reader.share:.1%})" if reader.share is not None else ""
    who = "" if reader.pid is None else f"pid {reader.pid} "
    return f"{who}{clean(reader.name)} {reader.packets:,}{part}"
