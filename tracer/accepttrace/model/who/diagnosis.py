"""What can be wrong with the listeners of a port, as words that mean one thing each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from accepttrace.facts.records import Family, Listener

Kind = Literal[
    "NOBODY WAITS",
    "QUEUE FULL",
    "WAITS LONG",
    "NEVER SELECTED",
    "ONE SOCKET",
    "FOREIGN PROGRAM",
    "CLOSED",
    "OLD WORKERS",
    "SECOND INSTANCE",
    "HELPER HOLDS IT",
    "OTHER OWNER",
    "TWO PROGRAMS",
    "MIXED BACKLOGS",
    "BACKLOG CUT",
    "UNEQUAL PLACES",
    "NO MIGRATION",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
# Clients lose something by these, or wait for ever; the others are worth knowing.
FAULTS: Final[tuple[Kind, ...]] = (
    "NOBODY WAITS",
    "QUEUE FULL",
    "WAITS LONG",
    "NEVER SELECTED",
    "FOREIGN PROGRAM",
)


class Advice(NamedTuple):
    """What a word means, how it comes about, and what people do about it."""

    means: str
    why: str
    do: str


ADVICE: Final[Mapping[Kind, Advice]] = {
    "NOBODY WAITS": Advice(
        "A listening socket that no process waits on. The kernel still completes handshakes for it:"
        " clients are connected, and nobody ever answers them.",
        "A worker that has stopped taking connections but not closed its socket; a second"
        " descriptor that a reload left; a process that got all sockets of a group by fork() and"
        " serves its own alone, after the owner of another has ended.",
        "Close the socket in whoever holds it, or have that accept again. In a group,"
        " net.ipv4.tcp_migrate_req=1 moves what is queued to the other sockets on close.",
    ),
    "QUEUE FULL": Advice(
        "The accept queue holds one connection more than its backlog allows: SYNs and final ACKs"
        " are dropped until somebody accepts. At a UNIX socket connect() blocks until then, or"
        " fails with EAGAIN.",
        "Whoever should accept is busy, stuck or out of descriptors.",
        "Find out why nobody accepts faster. A larger backlog (listen(), net.core.somaxconn) only"
        " helps against bursts.",
    ),
    "WAITS LONG": Advice(
        "A connection has waited in the accept queue for a second or more, though somebody may"
        " accept it.",
        "All who could are stopped, busy, stuck or too slow. Each socket of a reuseport group has a"
        " queue of its own: the kernel sends its part there whatever becomes of it.",
        "Continue (SIGCONT), thaw (docker unpause) or end those that are stopped; else look at what"
        " they do (strace -p, perf top -p).",
    ),
    "NEVER SELECTED": Advice(
        "The BPF selector of a reuseport group never returns the place of some socket in it.",
        "The selector was made for a group of another size, or for one CPU a worker.",
        "Attach a selector for the group as it is now (SO_ATTACH_REUSEPORT_CBPF, on any of its"
        " sockets).",
    ),
    "ONE SOCKET": Advice(
        "SO_REUSEPORT is set, but one socket is shared by several processes: the kernel balances"
        " nothing among them.",
        "The option was set before fork(), and the workers inherited the socket.",
        "Have each worker make a socket of its own, with SO_REUSEPORT, after fork().",
    ),
    "FOREIGN PROGRAM": Advice(
        "Programs that have nothing to do with each other are in one reuseport group: each takes a"
        " part of the other's connections.",
        "SO_REUSEPORT lets any process of the same user join.",
        "Give one of them another port.",
    ),
    "CLOSED": Advice(
        "A listening socket has closed.",
        "Its program ended, reloads, or has given up the port.",
        "Where no other socket takes its connections, clients are refused: have its program listen"
        " there again.",
    ),
    "OLD WORKERS": Advice(
        "Workers whose master has ended still hold the socket.",
        "The master was killed, and did not end them first.",
        "End them; SIGQUIT lets nginx and others finish what they serve. No reload reaches them.",
    ),
    "SECOND INSTANCE": Advice(
        "The same program runs twice in one reuseport group, started apart.",
        "A reload or an upgrade has left the older one, or several are meant to share the port.",
        "If it was left over, end the older one: both take connections.",
    ),
    "HELPER HOLDS IT": Advice(
        "A program that the server has started holds its listener, and was not seen to wait on it.",
        "The descriptor was inherited through fork() and exec().",
        "Open the listener with SOCK_CLOEXEC, or close it before exec(). What runs now keeps it for"
        " as long as it runs.",
    ),
    "OTHER OWNER": Advice(
        "Sockets of several users listen on one port, one of them on every address.",
        "Another address, device or version of IP makes that possible.",
        "See that each is meant to have it: the more specific address or device comes first.",
    ),
    "TWO PROGRAMS": Advice(
        "IPv4 and IPv6 of a port, or of localhost there, are served by different programs.",
        "One is bound to 0.0.0.0 or 127.0.0.1, the other to [::] with IPV6_V6ONLY or to [::1].",
        "If one should have both, bind it to [::] without IPV6_V6ONLY, and end the other.",
    ),
    "MIXED BACKLOGS": Advice(
        "The sockets of a reuseport group have different backlogs.",
        "They were made by different versions of the configuration, or before and after"
        " net.core.somaxconn changed.",
        "Give all the same: the hash fills the smallest first.",
    ),
    "BACKLOG CUT": Advice(
        "The backlog equals net.core.somaxconn: listen() may have asked for more.",
        "The kernel cuts what listen() asks for to that limit, silently.",
        "Raise net.core.somaxconn, then have the server listen again.",
    ),
    "UNEQUAL PLACES": Advice(
        "The workers of a reuseport group may use different amounts of CPU, or are in different"
        " control groups, while the hash gives each as many connections.",
        "Affinity or limits were set for some of them.",
        "Give all as many CPUs, and see that the limits (cpu.max, cpu.weight) are alike.",
    ),
    "NO MIGRATION": Advice(
        "The workers of a reuseport group began long after their master, as after a reload, and"
        " net.ipv4.tcp_migrate_req is 0: what is queued at a socket that closes is reset.",
        "That is the default.",
        "sysctl net.ipv4.tcp_migrate_req=1",
    ),
}
# What people do, where that differs for AF_UNIX: it has no groups and no ports.
UNIX_ADVICE: Final[Mapping[Kind, str]] = {
    "NOBODY WAITS": "Close the socket in whoever holds it, or have that accept again.",
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that is wrong, or worth knowing, with a group of sockets.

    `text`: the fact that it rests on, with names as processes chose them. `inodes`, `pids`: whom
    it is about.
    """

    kind: Kind
    netns: int
    family: Family
    local_address: str
    local_port: int
    device: str | None
    text: str
    inodes: tuple[int, ...] = ()
    pids: tuple[int, ...] = ()

    @property
    def is_fault(self) -> bool:
        """Whether clients lose by it."""
        return self.kind in FAULTS

    @property
    def do(self) -> str:
        """What people do about it."""
        of_unix = UNIX_ADVICE.get(self.kind) if self.family == "unix" else None
        return of_unix or ADVICE[self.kind].do

    @classmethod
    def of(
        cls,
        kind: Kind,
        row: Listener,
        text: str,
        inodes: tuple[int, ...] = (),
        pids: tuple[int, ...] = (),
    ) -> Diagnosis:
        """Where this listener is."""
        place = (row.netns, row.family, row.local_address, row.local_port, row.device)
        return cls(kind, *place, text, inodes, pids)
