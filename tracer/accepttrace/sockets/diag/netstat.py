"""What the kernel counted of TCP in a network namespace: TcpExt of /proc/net/netstat (`nstat`)."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from accepttrace.facts.records import TcpCounters

NETSTAT: Final = "/proc/thread-self/net/netstat"  # of the namespace that the thread is in
LONGEST: Final = 65536  # of that file, in characters; 7.3 needs about 6,000
# By the names of the kernel; one that it does not know yet is one that it never counts.
NAMES: Final = {
    "overflows": "ListenOverflows",
    "listen_drops": "ListenDrops",
    "syn_queue_full": "TCPReqQFullDrop",
    "deferred": "TCPDeferAcceptDrop",
    "cookies_failed": "SyncookiesFailed",
}


def tcp_counters() -> TcpCounters:
    """Those of the namespace of the calling thread. OSError where they cannot be read."""
    with open(NETSTAT, encoding="ascii") as file:
        return parse(file.read(LONGEST))


def parse(text: str) -> TcpCounters:
    """From pairs of lines: names, then values. OSError where there is no TcpExt in it."""
    lines = text.splitlines()
    for names, values in pairwise(lines):
        if names.startswith("TcpExt:") and values.startswith("TcpExt:"):
            pairs = zip(names.split()[1:], values.split()[1:], strict=False)
            found = {name: int(value) for name, value in pairs}
            return TcpCounters(**{field: found.get(name, 0) for field, name in NAMES.items()})
    raise OSError(f"no TcpExt in {NETSTAT}")
