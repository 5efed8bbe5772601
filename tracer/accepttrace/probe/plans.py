"""Attach types as data: their hooks, what proves each of them, what stays unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AttachType = Literal["fentry", "kprobe", "tracepoint"]
Fact = Literal["accepts", "empty", "errors", "selected"]


@dataclass(frozen=True, slots=True)
class Hook:
    """One BPF program and where it sits.

    `proves`: the count that tells it fired. `parameters`: those of the kernel function, None: any.
    `without`: a function in whose absence alone it is needed.
    """

    program: str
    site: str
    proves: Fact
    parameters: int | None = None
    without: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All hooks of an attach type, and the facts that it yields."""

    attach: AttachType
    hooks: tuple[Hook, ...]
    sees: frozenset[Fact]
    blind_spots: tuple[str, ...]


_REFUSED_EARLY = "accepts refused before the queue is looked at (EMFILE, ENFILE)"

FENTRY = Plan(
    "fentry",
    (
        Hook("fentry_inet_accept", "__inet_accept", "accepts"),
        Hook("fentry_csk_accept", "inet_csk_accept", "accepts", without="__inet_accept"),
        Hook("fentry_sock_graft", "security_sock_graft", "accepts", without="__inet_accept"),
        Hook("fexit_csk_accept_2", "inet_csk_accept", "empty", parameters=2),
        Hook("fexit_csk_accept_4", "inet_csk_accept", "empty", parameters=4),
        Hook("fexit_select_sock", "reuseport_select_sock", "selected"),
    ),
    frozenset({"accepts", "empty", "errors", "selected"}),
    (_REFUSED_EARLY,),
)
KPROBE = Plan(
    "kprobe",
    (
        Hook("kprobe_inet_accept", "__inet_accept", "accepts"),
        Hook("kprobe_csk_accept_called", "inet_csk_accept", "accepts", without="__inet_accept"),
        Hook("kprobe_sock_graft", "security_sock_graft", "accepts", without="__inet_accept"),
        Hook("kprobe_csk_accept", "inet_csk_accept", "empty"),
        Hook("kprobe_select_sock", "reuseport_select_sock", "selected"),
        Hook("kretprobe_select_sock", "reuseport_select_sock", "selected"),
    ),
    frozenset({"accepts", "empty", "selected"}),
    (
        _REFUSED_EARLY,
        "the errno of failed accepts",
        "EAGAIN of calls that slept first (SO_RCVTIMEO)",
    ),
)
TRACEPOINT = Plan(
    "tracepoint",
    (Hook("raw_tp_sys_exit", "sys_exit", "accepts"),),
    frozenset({"accepts", "empty", "errors"}),
    (
        "reuseport selection",
        "accepts through io_uring, by kernel threads and by 32-bit programs",
    ),
)

PLANS: tuple[Plan, ...] = (FENTRY, KPROBE, TRACEPOINT)


def by_preference(preempts: bool | None) -> tuple[Plan, ...]:
    """The order in which `auto` tries: the cheapest first, unless it would lose events."""
    return (KPROBE, FENTRY, TRACEPOINT) if preempts else PLANS


PROGRAMS = tuple(hook.program for plan in PLANS for hook in plan.hooks)
MEMBERS_PROGRAM = "iter_members"
