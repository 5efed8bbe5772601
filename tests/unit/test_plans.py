"""Attach types as data: what each detail hooks, and what a preempting kernel gets."""

from __future__ import annotations

from typing import get_args

import pytest

from accepttrace.facts.sight import Fact, Sight
from accepttrace.probe.plans import (
    FENTRY,
    KPROBE,
    KPROBE_IN_PROCESSES,
    PLANS,
    READS_BLIND,
    TRACEPOINT,
    UDP_PLANS,
    UNIX_PLANS,
    Plan,
    by_preference,
    knows_rings,
)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.attach)
def test_below_full_only_accepts_are_hooked_and_seen(plan: Plan) -> None:
    waits, accepts = plan.at("waits"), plan.at("accepts")
    assert plan.at("full") is plan
    assert {hook.proves for hook in waits.hooks} == {"accepts"}
    assert set(waits.hooks) < set(plan.hooks)
    assert sorted(waits.sees.facts) == ["accepts", "waits"]
    assert sorted(accepts.sees.facts) == ["accepts"]
    assert set(plan.blind_spots) < set(accepts.blind_spots)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.attach)
def test_every_hook_proves_what_its_plan_sees(plan: Plan) -> None:
    assert {hook.proves for hook in plan.hooks} <= plan.sees.facts


def test_what_is_not_said_to_be_seen_is_not() -> None:
    assert Sight().facts == frozenset()
    for fact in get_args(Fact):
        assert Sight.of(fact).facts == {fact}


@pytest.mark.parametrize("plan", [*PLANS, *UDP_PLANS], ids=lambda plan: plan.attach)
def test_where_no_hook_sees_who_reads_that_is_said(plan: Plan) -> None:
    assert plan.with_hooks(plan.hooks) is plan
    others = plan.with_hooks(hook for hook in plan.hooks if hook.proves != "read")
    assert (others is plan) is not plan.sees.read
    assert not others.sees.read
    assert (READS_BLIND in others.blind_spots) is plan.sees.read


@pytest.mark.parametrize("plan", [*PLANS, *UDP_PLANS], ids=lambda plan: plan.attach)
def test_cpus_and_the_order_of_accepts_are_looked_at_when_asked_for(plan: Plan) -> None:
    def looks(one: Plan) -> tuple[bool, bool]:
        return one.locality, one.patterns

    assert looks(plan) == (False, False)
    assert looks(plan.looking(True, False)) == (True, False)
    both = KPROBE_IN_PROCESSES.looking(False, True)
    assert both.fallback is not None
    assert looks(both) == looks(both.fallback) == (False, True)
    assert not both.events
    assert not both.fallback.events


def test_a_kernel_that_preempts_itself_gets_kprobes_where_tasks_run_and_trampolines_elsewhere() -> (
    None
):
    first, *others = by_preference(True)
    assert (first.attach, first.fallback, others[0]) == ("kprobe", KPROBE, FENTRY)
    trampolines = {hook.site for hook in first.hooks if not hook.is_kprobe}
    assert trampolines == {
        "tcp_conn_request",
        "tcp_check_req",
        "tcp_get_cookie_sock",
        "cookie_v4_init_sequence",
        "cookie_v6_init_sequence",
        "inet_csk_reqsk_queue_add",
    }
    assert {hook.site for hook in first.hooks} == {hook.site for hook in KPROBE.hooks}
    assert not trampolines & {hook.site for hook in first.hooks if hook.is_kprobe}


@pytest.mark.parametrize(
    ("plan", "trampolines", "kprobes", "infers"),
    [
        (FENTRY, (True, True), False, False),
        (KPROBE, (False, False), True, True),
        (KPROBE_IN_PROCESSES, (True, False), True, True),  # without them it has its fallback
        (UNIX_PLANS[1], (True, False), True, True),
        (TRACEPOINT, (False, False), False, False),
    ],
)
def test_what_a_plan_needs_of_the_kernel_follows_from_its_hooks(
    plan: Plan, trampolines: tuple[bool, bool], kprobes: bool, infers: bool
) -> None:
    assert (plan.uses_trampolines, plan.needs_trampolines) == trampolines
    assert plan.needs_kprobes == kprobes
    assert plan.infers_failures is infers
    assert not plan.at("waits").infers_failures
    assert knows_rings(plan.hooks)
    assert not knows_rings([hook for hook in FENTRY.hooks if hook.site != "io_accept"])


# What every kernel from 5.10 on has by that name, and what only some have (then: which plan asks).
ALWAYS = {
    "__sys_accept4",
    "inet_child_forget",
    "inet_csk_listen_stop",
    "inet_sock_set_state",
    "sys_exit",
    "tcp_conn_request",
}
# fexit programs of a kernel function that takes another number of arguments are left out.
BY_PARAMETERS = {"tcp_get_cookie_sock": {4, 5}, "tcp_check_req": {5, 6}}
BEFORE_INET_ACCEPT = {"inet_csk_accept", "security_sock_graft"}
MAY_BE_ABSENT = {
    "cookie_v4_init_sequence",  # no CONFIG_SYN_COOKIES
    "cookie_v6_init_sequence",  # no IPv6
    "inet_csk_reqsk_queue_add",  # inlined
    "io_accept",  # no io_uring
    "reuseport_migrate_sock",  # since 5.14
    "tcp_get_cookie_sock",
}


@pytest.mark.parametrize("plan", [*PLANS, KPROBE_IN_PROCESSES], ids=lambda plan: plan.attach)
def test_a_kernel_that_lacks_what_not_all_have_is_not_refused(plan: Plan) -> None:
    optional = {hook.site for hook in plan.hooks if hook.optional}
    assert optional <= MAY_BE_ABSENT
    assert not optional & {hook.site for hook in plan.hooks if not hook.optional}
    stand_ins = {hook.site for hook in plan.hooks if hook.without}
    assert {hook.without for hook in plan.hooks if hook.without} <= {"__inet_accept"}
    assert stand_ins <= BEFORE_INET_ACCEPT
    needed = {hook.site for hook in plan.hooks if not hook.optional and not hook.without}
    first = {"__inet_accept", "inet_csk_accept", "tcp_check_req"}
    assert needed <= ALWAYS | first


def test_trampolines_fit_the_parameters_of_the_kernel_function() -> None:
    found: dict[str, set[int]] = {}
    for hook in FENTRY.hooks:
        if hook.parameters is not None:
            assert hook.program.endswith(f"_{hook.parameters}")
            found.setdefault(hook.site, set()).add(hook.parameters)
    assert found == BY_PARAMETERS
    assert {hook.parameters for hook in (*KPROBE.hooks, *TRACEPOINT.hooks)} == {None}


@pytest.mark.parametrize("plan", UNIX_PLANS[:2], ids=lambda plan: plan.attach)
def test_a_kernel_that_lacks_hooks_of_unix_sockets_shows_the_rest(plan: Plan) -> None:
    """First without trampolines that a kprobe cannot stand in for, then without security hooks."""
    counted = plan.fallback
    assert counted is not None
    least = counted.fallback
    assert least is not None
    assert plan.sees.facts - counted.sees.facts == {"overflow"}
    assert (plan.sees.counted, counted.sees.counted) == (("blocked",), ())
    assert counted.sees.facts - least.sees.facts == {"arrived", "waits", "unseen"}
    assert {"accepts", "closed"} < least.sees.facts
    assert least.blind_spots[1:] == counted.blind_spots
    assert counted.blind_spots[1:] == plan.blind_spots
    assert counted.needs_trampolines == least.needs_trampolines == (plan.attach == "fentry")


def test_what_a_hook_adds_to_is_seen_with_it_alone() -> None:
    assert FENTRY.sees.counted == KPROBE.sees.counted == ("cookies_sent",)
    assert TRACEPOINT.sees.counted == FENTRY.at("accepts").sees.counted == ()


def test_softirqs_that_trampolines_see_are_no_blind_spot() -> None:
    (spot,) = set(KPROBE.blind_spots) - set(KPROBE_IN_PROCESSES.blind_spots)
    assert "softirq" in spot
    assert set(KPROBE_IN_PROCESSES.blind_spots) < set(KPROBE.blind_spots)


def test_elsewhere_the_cheapest_is_tried_first() -> None:
    assert by_preference(False) == by_preference(None) == PLANS
