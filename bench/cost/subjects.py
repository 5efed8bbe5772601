"""What is measured: every way accepttrace can count, empty programs as the floor, two peers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

BENCH = Path(__file__).resolve().parents[1]
INTERVAL_S = 10
NOBODYS_PORT = 9  # discard: no loop listens there
ANOTHER_PORT = ", another port"  # ends the names of subjects that filter for it
# What is looked at only for those who ask: the end of the subject's name, and how they ask.
ASKED = {", locality": ("--columns", "local"), ", patterns": ("--patterns",)}
TYPES = ("fentry", "kprobe", "tracepoint")
LOADERS = ("libbpf", "bcc")
EMPTY = ("fentry", "fexit", "kprobe", "kretprobe", "raw_tp")
# The first that is there: Debian and Fedora put them in different places.
TCPACCEPT_BCC = ("/usr/sbin/tcpaccept-bpfcc", "/usr/share/bcc/tools/tcpaccept")
TCPACCEPT_BT = ("/usr/sbin/tcpaccept.bt", "/usr/share/bpftrace/tools/tcpaccept.bt")

# Of bench/loop.c: over TCP, and over a UNIX socket.
LOOPS = ("plain", "reuseport")
UNIX_LOOPS = ("unix",)
ALL_LOOPS = LOOPS + UNIX_LOOPS
UNIX_NAME = "@loop"

Kind = Literal["nothing", "empty", "accepttrace", "peer"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One line of the table. `call` may hold {port} and {ready}.

    A call with {ready} creates that file when it traces; the others are known to trace by what
    they write.
    """

    kind: Kind
    name: str
    call: tuple[str, ...] = ()
    prints_each: bool = False  # a line for each connection: it reads all the time
    loops: tuple[str, ...] = LOOPS  # where it is measured

    @property
    def tells_ready(self) -> bool:
        return "{ready}" in self.call


def subjects(details: Sequence[str]) -> tuple[Subject, ...]:
    """All, in the order of the table. `details`: levels of `--detail`, none where it has none."""
    return (
        Subject("nothing", "untraced", loops=ALL_LOOPS),
        *(_empty(program) for program in EMPTY),
        *(
            _accepttrace(attach, loader, detail)
            for attach in TYPES
            for loader in LOADERS
            for detail in details or ("",)
        ),
        *(_uninvolved(attach, details) for attach in TYPES),
        *(_asked(attach, details, what) for attach in TYPES for what in ASKED),
        *map(_events, TYPES if details else ()),
        *(_of_unix(attach, detail) for attach in TYPES for detail in details),
        _peer("tcpaccept of bcc", TCPACCEPT_BCC),
        _peer("tcpaccept.bt of bpftrace", TCPACCEPT_BT),
    )


def _peer(name: str, paths: Sequence[str]) -> Subject:
    return Subject("peer", name, (_first(paths),), prints_each=True)


def _empty(program: str) -> Subject:
    call = (str(BENCH / "empty"), str(BENCH / "empty.bpf.o"), program, "{ready}")
    return Subject("empty", f"an empty {program}", call)


def _uninvolved(attach: str, details: Sequence[str]) -> Subject:
    """What its filter costs the connections of others."""
    other = _accepttrace(attach, "libbpf", "full" if details else "", port=str(NOBODYS_PORT))
    return replace(other, name=f"{other.name}{ANOTHER_PORT}")


def _asked(attach: str, details: Sequence[str], what: str) -> Subject:
    """What it costs to be looked at more closely."""
    plain = _accepttrace(attach, "libbpf", "full" if details else "")
    return replace(plain, name=f"{plain.name}{what}", call=(*plain.call, *ASKED[what]))


def _events(attach: str) -> Subject:
    """A line of JSON for each connection: what the peers print, too."""
    way = ("--attach", attach, "--loader", "libbpf", "-o", "jsonl", "--ready-file", "{ready}")
    call = (sys.executable, "-m", "accepttrace", "events", "--port", "{port}", *way)
    return Subject("accepttrace", f"{attach} libbpf, events", call, prints_each=True)


def _of_unix(attach: str, detail: str) -> Subject:
    of_tcp = _accepttrace(attach, "libbpf", detail)
    at = of_tcp.call.index("--port")
    call = (*of_tcp.call[:at], "--unix", UNIX_NAME, *of_tcp.call[at + 2 :])
    return replace(of_tcp, name=f"{of_tcp.name}, UNIX", call=call, loops=UNIX_LOOPS)


def _accepttrace(attach: str, loader: str, detail: str, port: str = "{port}") -> Subject:
    way = ("--attach", attach, "--loader", loader, *(("--detail", detail) if detail else ()))
    shown = ("-o", "jsonl", "--interval", str(INTERVAL_S), "--ready-file", "{ready}")
    call = (sys.executable, "-m", "accepttrace", "--port", port, *way, *shown)
    return Subject("accepttrace", " ".join(filter(None, (attach, loader, detail))), call)


def _first(paths: Sequence[str]) -> str:
    return next((path for path in paths if Path(path).exists()), paths[0])
