"""Attach types as data: their hooks, what proves each of them, what stays unseen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from accepttrace.facts.sight import Fact, Sight

AttachType = Literal["fentry", "kprobe", "tracepoint"]
Detail = Literal["accepts", "waits", "full"]
Listing = Literal["iter_members", "iter_receivers"]


@dataclass(frozen=True, slots=True)
class Hook:
    """One BPF program and where it sits.

    `proves`: the count that shows that it fired. `parameters`: of the kernel function; None: any.
    `without`: a function or tracepoint in whose absence alone it is needed. `optional`: a kernel
    that lacks the function does not do what it would see, or it is not seen there. `counts`:
    fields of `struct listener` that it adds to, and that no other number rests on.
    """

    program: str
    site: str
    proves: Fact
    parameters: int | None = None
    without: str | None = None
    optional: bool = False
    counts: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The first word of its name: fentry, fexit, kprobe, kretprobe, or raw (tracepoint)."""
        return self.program.partition("_")[0]

    @property
    def is_kprobe(self) -> bool:
        """Whether it is one, at the entry or the return."""
        return self.kind in ("kprobe", "kretprobe")

    @property
    def is_trampoline(self) -> bool:
        """Whether it is one, at the entry or the return."""
        return self.kind in ("fentry", "fexit")


@dataclass(frozen=True, slots=True)
class Plan:
    """All hooks of an attach type, and the facts that it yields.

    `listing`: the program that lists sockets. `locality`: the CPUs that receive and accept a
    connection are compared. `patterns`: it is noted who accepts after whom. `events`: each
    connection is written to a ring buffer.
    """

    attach: AttachType
    hooks: tuple[Hook, ...]
    sees: Sight
    blind_spots: tuple[str, ...]
    detail: Detail = "full"
    fallback: Plan | None = None  # what to try where this one does not work
    listing: Listing = "iter_members"
    locality: bool = False
    patterns: bool = False
    events: bool = False

    def __post_init__(self) -> None:
        counts = dict.fromkeys(name for hook in self.hooks for name in hook.counts)
        object.__setattr__(self, "sees", replace(self.sees, counted=tuple(counts)))

    @property
    def needs_kprobes(self) -> bool:
        """Whether there are kprobes among its hooks."""
        return any(hook.is_kprobe for hook in self.hooks)

    @property
    def uses_trampolines(self) -> bool:
        """Whether it attaches trampolines wherever it runs: not without BTF."""
        return any(hook.is_trampoline and not hook.optional for hook in self.hooks)

    @property
    def needs_trampolines(self) -> bool:
        """Whether what it falls back to does so, too."""
        fallback = self.fallback
        return self.uses_trampolines and (fallback is None or fallback.needs_trampolines)

    @property
    def infers_failures(self) -> bool:
        """Whether calls are seen at their entry alone, so that a failure shows in what follows."""
        return any(hook.is_kprobe and hook.proves == "empty" for hook in self.hooks)

    def with_hooks(self, hooks: Iterable[Hook]) -> Plan:
        """As this kernel lets it be: without its place for a hook nobody knows who reads."""
        if not self.sees.read or any(hook.proves == "read" for hook in hooks):
            return self
        spots = (*self.blind_spots, READS_BLIND)
        return replace(self, sees=replace(self.sees, read=False), blind_spots=spots)

    def at(self, detail: Detail) -> Plan:
        """The same with so much detail: below `full` only the hooks that count accepts."""
        if detail == "full":
            return self
        accepts = tuple(hook for hook in self.hooks if hook.proves == "accepts")
        spots = (*self.blind_spots, "all but accepts and who took them (--detail)")
        sees = Sight(accepts=True, waits=detail == "waits")
        return replace(
            self, hooks=accepts, sees=sees, blind_spots=spots, detail=detail, fallback=None
        )

    def looking(self, locality: bool, patterns: bool, events: bool = False) -> Plan:
        """The same with what is looked at only when it is asked for."""
        fallback = self.fallback and self.fallback.looking(locality, patterns, events)
        return replace(self, locality=locality, patterns=patterns, events=events, fallback=fallback)


def _process_entries(kind: str) -> tuple[Hook, ...]:
    """What fentry and kprobe share: entries of functions that run in processes."""
    return (
        Hook(f"{kind}_io_accept", "io_accept", "accepts", optional=True),
        Hook(f"{kind}_listen_stop", "inet_csk_listen_stop", "closed"),
        Hook(f"{kind}_child_forget", "inet_child_forget", "closed"),
    )


def _softirq_entries(kind: str) -> tuple[Hook, ...]:
    """The same for functions that run in softirqs."""
    cookie = Hook("", "", "selected", optional=True, counts=("cookies_sent",))
    return (
        Hook(f"{kind}_conn_request", "tcp_conn_request", "selected"),
        replace(cookie, program=f"{kind}_cookie_v4", site="cookie_v4_init_sequence"),
        replace(cookie, program=f"{kind}_cookie_v6", site="cookie_v6_init_sequence"),
        Hook(f"{kind}_queue_add", "inet_csk_reqsk_queue_add", "arrived", optional=True),
    )


_SOFTIRQ_TRAMPOLINES = (
    *_softirq_entries("fentry"),
    Hook("fexit_cookie_sock_4", "tcp_get_cookie_sock", "selected", 4, optional=True),
    Hook("fexit_cookie_sock_5", "tcp_get_cookie_sock", "selected", 5, optional=True),
    Hook("fexit_check_req_5", "tcp_check_req", "arrived", parameters=5),
    Hook("fexit_check_req_6", "tcp_check_req", "arrived", parameters=6),
)
_SOFTIRQ_KPROBES = (
    *_softirq_entries("kprobe"),
    Hook("kprobe_cookie_sock", "tcp_get_cookie_sock", "selected", optional=True),
    Hook("kretprobe_cookie_sock", "tcp_get_cookie_sock", "selected", optional=True),
    Hook("kprobe_check_req", "tcp_check_req", "arrived"),
    Hook("kretprobe_check_req", "tcp_check_req", "arrived"),
)

_INTERRUPTED = "what a softirq does that interrupts another kprobe"
_KPROBE_BLIND = (
    "the errno of failed accepts",
    "EAGAIN of calls that slept first (SO_RCVTIMEO), and of io_uring",
)
FENTRY = Plan(
    "fentry",
    (
        Hook("fentry_inet_accept", "__inet_accept", "accepts"),
        Hook("fentry_csk_accept", "inet_csk_accept", "accepts", without="__inet_accept"),
        Hook("fentry_sock_graft", "security_sock_graft", "accepts", without="__inet_accept"),
        Hook("fexit_sys_accept4", "__sys_accept4", "empty"),
        Hook("fexit_io_accept", "io_accept", "accepts", optional=True),
        Hook("fexit_migrate_sock", "reuseport_migrate_sock", "migrated", optional=True),
        *_process_entries("fentry"),
        *_SOFTIRQ_TRAMPOLINES,
    ),
    Sight.of(
        *("accepts", "waits", "empty", "errors", "refused", "selected"),
        *("overflow", "arrived", "closed", "migrated", "unseen"),
    ),
    ("EAGAIN and errors of io_uring and of kernel threads",),
)
KPROBE = Plan(
    "kprobe",
    (
        Hook("kprobe_inet_accept", "__inet_accept", "accepts"),
        Hook("kprobe_csk_accept_called", "inet_csk_accept", "accepts", without="__inet_accept"),
        Hook("kprobe_sock_graft", "security_sock_graft", "accepts", without="__inet_accept"),
        Hook("kprobe_csk_accept", "inet_csk_accept", "empty"),
        Hook("kprobe_sys_accept4", "__sys_accept4", "refused"),
        Hook("kretprobe_io_accept", "io_accept", "accepts", optional=True),
        Hook("kprobe_migrate_sock", "reuseport_migrate_sock", "migrated", optional=True),
        Hook("kretprobe_migrate_sock", "reuseport_migrate_sock", "migrated", optional=True),
        *_process_entries("kprobe"),
        *_SOFTIRQ_KPROBES,
    ),
    Sight.of(
        *("accepts", "waits", "empty", "refused", "selected", "overflow"),
        *("arrived", "closed", "migrated", "unseen"),
    ),
    (*_KPROBE_BLIND, _INTERRUPTED),
)
# On one CPU no kprobe program runs while another does: a softirq that interrupts one is not seen. A
# trampoline keeps only itself out, which matters where a task is preempted inside it. So a kernel
# that preempts itself is traced by kprobes in processes and by trampolines in softirqs.
KPROBE_IN_PROCESSES = replace(
    KPROBE,
    hooks=(
        *(hook for hook in KPROBE.hooks if hook not in _SOFTIRQ_KPROBES),
        *_SOFTIRQ_TRAMPOLINES,
    ),
    blind_spots=_KPROBE_BLIND,
    fallback=KPROBE,
)
TRACEPOINT = Plan(
    "tracepoint",
    (
        Hook("raw_tp_sys_exit", "sys_exit", "accepts"),
        Hook("raw_tp_set_state", "inet_sock_set_state", "closed"),
    ),
    Sight.of("accepts", "waits", "empty", "errors", "refused", "closed", "unseen"),
    (
        "reuseport selection, overflow of the queue and migration",
        "who accepts through io_uring, as a kernel thread or a 32-bit program",
        "that a descriptor became another listener of the same port during accept()",
    ),
)

PLANS: tuple[Plan, ...] = (FENTRY, KPROBE, TRACEPOINT)

# "sock: add tracepoint for send recv length", 6.3 (commit not looked up).
_READS = Hook("raw_tp_recv_length", "sock_recv_length", "read", optional=True)
# Before that. No kprobe, for it would keep those of softirqs from running when they interrupt it.
_READS_BEFORE = Hook(
    "fentry_consume_udp", "skb_consume_udp", "read", without="sock_recv_length", optional=True
)
READS_BLIND = (
    "which process reads a socket that several hold (from kernel 6.3 on, or where fentry works)"
)
_UDP = Sight.of("selected", "datagrams", "dropped", "read")
_UDP_BLIND = "datagrams that a selector, a socket filter or a tunnel took away"
_UDP_KPROBE = Plan(
    "kprobe",
    (
        Hook("kprobe_select_sock", "reuseport_select_sock", "selected"),
        Hook("kretprobe_select_sock", "reuseport_select_sock", "selected"),
        Hook("kprobe_udp_enqueue", "__udp_enqueue_schedule_skb", "datagrams"),
        Hook("kretprobe_udp_enqueue", "__udp_enqueue_schedule_skb", "dropped"),
        _READS,
    ),
    _UDP,
    (_UDP_BLIND, _INTERRUPTED),
    listing="iter_receivers",
)
# In this order everywhere: UDP is received in softirqs, which no task preempts.
UDP_PLANS: tuple[Plan, ...] = (
    Plan(
        "fentry",
        (
            Hook("fexit_select_sock", "reuseport_select_sock", "selected"),
            Hook("fentry_udp_enqueue", "__udp_enqueue_schedule_skb", "datagrams"),
            Hook("fexit_udp_enqueue", "__udp_enqueue_schedule_skb", "dropped"),
            _READS,
            _READS_BEFORE,
        ),
        _UDP,
        (_UDP_BLIND,),
        listing="iter_receivers",
    ),
    replace(_UDP_KPROBE, hooks=(*_UDP_KPROBE.hooks, _READS_BEFORE), fallback=_UDP_KPROBE),
    Plan(
        "tracepoint",
        (_READS,),
        Sight.of("read"),
        ("selections and datagrams; drops and queues are the kernel's own counts",),
        listing="iter_receivers",
    ),
)

_REFUSED_BLIND = "connections refused because the queue is full"
_ARRIVALS_BLIND = "arrivals and waiting times"
_CLOSED_BLIND = "connections reset on close"
# By trampolines alone: a thread sleeps in these calls as long as it likes, so that kretprobes would
# run out of instances.
_UNIX_REFUSALS = (
    Hook("fexit_unix_find_4", "unix_find_other", "overflow", 4),
    Hook("fexit_unix_find_5", "unix_find_other", "overflow", 5),
    Hook("fexit_unix_find_6", "unix_find_other", "overflow", 6),
    Hook("fentry_unix_wait", "unix_wait_for_peer", "overflow", counts=("blocked",)),
    Hook("fexit_unix_sys_connect", "__sys_connect", "overflow"),
)
_UNIX_FENTRY = Plan(
    "fentry",
    (
        Hook("fentry_unix_taken", "skb_free_datagram", "accepts"),
        Hook("fexit_unix_connect", "security_unix_stream_connect", "arrived"),
        Hook("fentry_unix_release", "unix_release_sock", "closed"),
        Hook("fexit_unix_sys_accept4", "__sys_accept4", "empty"),
        Hook("fentry_io_accept", "io_accept", "accepts", optional=True),
        Hook("fexit_io_accept", "io_accept", "accepts", optional=True),
        *_UNIX_REFUSALS,
    ),
    Sight.of(
        *("accepts", "waits", "empty", "errors", "refused"),
        *("overflow", "arrived", "closed", "unseen"),
    ),
    FENTRY.blind_spots,
)
_UNIX_KPROBE = Plan(
    "kprobe",
    (
        Hook("kprobe_unix_taken", "skb_free_datagram", "accepts"),
        Hook("kprobe_unix_connect", "security_unix_stream_connect", "arrived"),
        Hook("kretprobe_unix_connect", "security_unix_stream_connect", "arrived"),
        Hook("kprobe_unix_release", "unix_release_sock", "closed"),
        Hook("kprobe_unix_accept", "unix_accept", "empty"),
        Hook("kprobe_unix_sys_accept4", "__sys_accept4", "refused"),
        Hook("kprobe_io_accept", "io_accept", "accepts", optional=True),
        Hook("kretprobe_io_accept", "io_accept", "accepts", optional=True),
        *_UNIX_REFUSALS,
    ),
    Sight.of(
        *("accepts", "waits", "empty", "refused"),
        *("overflow", "arrived", "closed", "unseen"),
    ),
    _KPROBE_BLIND,
)


def _unix(plan: Plan) -> Plan:
    """With what is left of it where the kernel has no place for hooks that cannot be dropped alone.

    First those of trampolines, then also security hooks (CONFIG_SECURITY_NETWORK).
    """
    counted = _without(plan, "overflow", _REFUSED_BLIND)
    counted = replace(counted, sees=replace(plan.sees, overflow=False))
    least = _without(counted, "arrived", _ARRIVALS_BLIND)
    least = replace(least, sees=replace(counted.sees, arrived=False, waits=False, unseen=False))
    return replace(plan, fallback=replace(counted, fallback=least))


def _without(plan: Plan, fact: Fact, spot: str) -> Plan:
    hooks = tuple(hook for hook in plan.hooks if hook.proves != fact)
    return replace(plan, hooks=hooks, blind_spots=(spot, *plan.blind_spots))


_UNIX_TRACEPOINT = Plan(
    "tracepoint",
    (Hook("raw_tp_unix_exit", "sys_exit", "accepts"),),
    Sight.of("accepts", "empty", "errors", "refused"),
    (
        _ARRIVALS_BLIND,
        _REFUSED_BLIND,
        _CLOSED_BLIND,
        "who accepts through io_uring, as a kernel thread or a 32-bit program",
    ),
)
UNIX_PLANS: tuple[Plan, ...] = (_unix(_UNIX_FENTRY), _unix(_UNIX_KPROBE), _UNIX_TRACEPOINT)


def by_preference(preempts: bool | None) -> tuple[Plan, ...]:
    """The order in which `auto` tries: the cheapest first, unless it would lose events."""
    return (KPROBE_IN_PROCESSES, FENTRY, TRACEPOINT) if preempts else PLANS


def of_unix_by_preference(preempts: bool | None) -> tuple[Plan, ...]:
    """The same of AF_UNIX."""
    fentry, kprobe, tracepoint = UNIX_PLANS
    return (kprobe, fentry, tracepoint) if preempts else UNIX_PLANS


def knows_rings(hooks: Iterable[Hook]) -> bool:
    """Whether they know accepts through io_uring from others. At sys_exit there are none."""
    return any(hook.site in ("io_accept", "sys_exit") for hook in hooks)


PROGRAMS = tuple(hook.program for plan in PLANS + UDP_PLANS + UNIX_PLANS for hook in plan.hooks)
LISTINGS: tuple[Listing, ...] = get_args(Listing)
