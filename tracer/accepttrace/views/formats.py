"""Numbers and places as text. Each function formats a whole column, so that its cells align."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from accepttrace.facts.records import Family, Program
from accepttrace.views.text import clean

NA: Final = "n/a"  # not measured, or not visible in this way of tracing; never 0


def counts(values: Sequence[object]) -> list[str]:
    """12345 → `12,345`."""
    return [f"{value:,}" if isinstance(value, int) else NA for value in values]


def numbers(values: Sequence[object]) -> list[str]:
    """Identities: never with separators."""
    return [NA if value is None else str(value) for value in values]


def rates(values: Sequence[object]) -> list[str]:
    """One decimal while all are below 100, else none."""
    known = [value for value in values if isinstance(value, int | float)]
    decimals = 0 if max(known, default=0) >= 100 else 1
    return [f"{v:,.{decimals}f}" if isinstance(v, int | float) else NA for v in values]


def rate(value: float) -> str:
    """One of them alone."""
    (text,) = rates([value])
    return text


def shares(values: Sequence[object]) -> list[str]:
    """0.613 → `61.3%`."""
    return [f"{value:.1%}" if isinstance(value, int | float) else NA for value in values]


def ratios(values: Sequence[object]) -> list[str]:
    """2.4 → `2.40`."""
    return [f"{value:.2f}" if isinstance(value, int | float) else NA for value in values]


def times(values: Sequence[object]) -> list[str]:
    """Microseconds as `120us`, `1.2ms`, `12ms`, `3.4s`; rounded up, as they are upper bounds."""
    return [duration(value) if isinstance(value, int) else NA for value in values]


def duration(us: int) -> str:
    """One time of at most five characters up to 9,999 s, rounded up."""
    if us < 1000:
        return f"{us}us"
    for unit, size in (("ms", 1_000), ("s", 1_000_000)):
        tenths = -(-us * 10 // size)
        if tenths < 100:
            return f"{tenths / 10:.1f}{unit}"
        if tenths <= 9990 or unit == "s":
            return f"{-(-us // size)}{unit}"
    raise AssertionError("seconds have no end")


def plural(number: int, noun: str) -> str:
    """`1 accept`, `2 accepts`, `3 probe misses`, `4 map full`."""
    return f"{number:,} {noun if number == 1 else many(noun)}"


def many(noun: str) -> str:
    """The plural of a noun used here."""
    if noun.endswith(("full", "unattributed")):
        return noun
    return noun + ("es" if noun.endswith("s") else "s")


def seconds(number: float) -> str:
    """A length that somebody chose: `2.5s`, `90s`, `5m00s`."""
    return f"{number:g}s" if number < 120 else span(number)


def span(lasted_s: float) -> str:
    """How long something has lasted: `12s`, `3m05s`, `2h07m`, `3d04h`."""
    whole = int(lasted_s)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02}h"


def endpoint(
    address: str | None,
    port: int | None,
    family: str | None,
    inode: int | None,
    device: str | None = None,
) -> str:
    """`127.0.0.1:80`, `[::]%eth0:80`, as `ss` has it; the name of a UNIX socket.

    `several` where sockets differ.
    """
    if address is None and port is None:
        return "several" if inode is None else NA
    if family == "unix":
        return quoted(clean(address or ""))
    host = "*" if address is None else f"[{address}]" if family == "ipv6" else address
    bound = "" if device is None else f"%{clean(device)}"
    return f"{host}{bound}:{'*' if port is None else port}"


def quoted(name: str) -> str:
    """A name as others chose it. With spaces in it, it might look like what stands around it."""
    if not any(char.isspace() for char in name):
        return name
    return '"' + name.replace('"', "'") + '"'


class Placed(Protocol):
    """A socket, or a row about one or several; None: not known, or they differ."""

    @property
    def inode(self) -> int | None: ...
    @property
    def family(self) -> Family | None: ...
    @property
    def local_address(self) -> str | None: ...
    @property
    def local_port(self) -> int | None: ...
    @property
    def device(self) -> str | None: ...


def place_of(row: Placed) -> str:
    """Where a socket is bound, as `endpoint` has it."""
    return endpoint(row.local_address, row.local_port, row.family, row.inode, row.device)


def selector(kind: str, program: Program | None) -> str:
    """`hash`; `ebpf 12 steer`, with the id and the name of the program; `cbpf cpu modulo 4`."""
    words = (kind, program.id, clean(program.name)) if program else (kind,)
    return " ".join(str(word) for word in words if word is not None)


def known(number: int | None) -> str:
    """`1,234`, or `n/a` where it is not visible."""
    return NA if number is None else f"{number:,}"


def shorten(place: str, width: int) -> str:
    """An endpoint in `width` cells: the port stays, the middle of the address goes."""
    if len(place) <= width:
        return place
    host, _, port = place.rpartition(":")
    room = width - len(port) - 2
    return f"{host[:room]}…:{port}" if room > 0 else place[:width]
