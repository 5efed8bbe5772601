"""Who is handed a socket while that is watched: a program beside the iterator over open files.

Before a process gets a descriptor that another one had, the kernel asks `security_file_receive()`:
of a message (SCM_RIGHTS) as of pidfd_getfd(). Source: bpf/holders/received.bpf.h.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from accepttrace.facts.records import Came
from accepttrace.probe import _syscall as sys
from accepttrace.probe import holderwire as wire
from accepttrace.probe.clock import start_shown
from accepttrace.probe.load import loaders
from accepttrace.probe.maps import Map
from accepttrace.probe.plans import AttachType

SITE: Final = "security_file_receive"  # absent without CONFIG_SECURITY
PROGRAMS: Final[Mapping[AttachType, str]] = {
    "fentry": "fentry_file_receive",
    "kprobe": "kprobe_file_receive",
}
CAME: Final[Mapping[int, Came]] = {
    wire.RECEIVED_MESSAGE: "SCM_RIGHTS",
    wire.RECEIVED_GETFD: "pidfd_getfd",
    wire.RECEIVED_OTHER: "other",
}


class Receipt(NamedTuple):
    """That a process was handed a socket. `start_ns`: of the process, as /proc shows it here."""

    start_ns: int
    came: Came


def usable(attach: Collection[AttachType]) -> Iterator[str]:
    """The programs for these attach types, as far as can be known without trying them."""
    for each in attach:
        can = not sys.trampoline_error() if each == "fentry" else loaders.has_kprobes()
        if each in PROGRAMS and can and loaders.has_function(SITE):
            yield PROGRAMS[each]


def receipts(received: Map[wire.ReceivedKey, wire.Received]) -> dict[tuple[int, int], Receipt]:
    """The last ones, by PID in the initial PID namespace and inode of the socket."""
    return {
        (key.tgid, key.inode): Receipt(start_shown(one.start_ns), CAME[one.by])
        for key, one in received.items()
    }
