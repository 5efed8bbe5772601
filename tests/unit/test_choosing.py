"""Which attach type is chosen, and what is said where none works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accepttrace.config import Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.probe import choosing, lockdown, privileges
from accepttrace.probe.load import loaders
from accepttrace.probe.plans import FENTRY, KPROBE, KPROBE_IN_PROCESSES, PLANS, TRACEPOINT, Plan
from accepttrace.probe.selftest import LoopbackError

FILTERS = Filters(ports=frozenset({80}))


class FakeTracer:
    """Proves what its plan says, or raises what `faults` has for it."""

    def __init__(self, plan: Plan, faults: dict[Plan, Exception]) -> None:
        self.plan, self.closed = plan, False
        self.filters: Filters | None = None
        self._fault = faults.get(plan)

    def prove(self) -> None:
        if self._fault:
            raise self._fault

    def close(self) -> None:
        self.closed = True

    def filter(self, filters: Filters) -> None:
        self.filters = filters


class Machine:
    """What it refuses to load, and what fails to be proved; `made`: of what it loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[FakeTracer] = []
        self.faults: dict[Plan, Exception] = {}
        self.unloadable: tuple[Plan, ...] = ()
        monkeypatch.setattr(loaders, "choose", lambda _: "libbpf")
        monkeypatch.setattr(loaders, "load", self._load)

    def _load(self, _: str, plan: Plan) -> Plan:
        if plan in self.unloadable:
            raise UnsupportedError("cannot be loaded", detail=f"log of {plan.attach}")
        return plan

    def _make(self, plan: Any) -> Any:
        self.made.append(FakeTracer(plan, self.faults))
        return self.made[-1]

    def first(self, config: Config, plans: tuple[Plan, ...] = PLANS) -> Any:
        return choosing.first(config, plans, self._make)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def silent(word: str) -> UnsupportedError:
    return UnsupportedError(f"{word} is silent", detail=f"log of {word}")


def test_the_first_that_is_proved_gets_the_filters_and_the_others_are_closed(
    machine: Machine,
) -> None:
    machine.faults, machine.unloadable = {KPROBE: silent("kprobe")}, (FENTRY,)
    found = machine.first(Config(filters=FILTERS))
    assert (found.plan, found.filters, found.closed) == (TRACEPOINT, FILTERS, False)
    assert [(tracer.plan, tracer.closed) for tracer in machine.made] == [
        (KPROBE, True),
        (TRACEPOINT, False),
    ]


def test_only_what_was_asked_for_is_tried(machine: Machine) -> None:
    assert machine.first(Config(attach="kprobe")).plan is KPROBE
    assert [tracer.plan for tracer in machine.made] == [KPROBE]


def test_a_plan_that_fails_has_its_fallback_before_the_next(
    machine: Machine,
) -> None:
    machine.unloadable = (KPROBE_IN_PROCESSES,)
    assert machine.first(Config(), (KPROBE_IN_PROCESSES, FENTRY)).plan is KPROBE


def test_traffic_that_does_not_arrive_is_no_fault_of_a_hook(
    machine: Machine,
) -> None:
    machine.faults = {FENTRY: LoopbackError("the firewall drops it")}
    with pytest.raises(LoopbackError, match="firewall"):
        machine.first(Config())
    assert [tracer.plan for tracer in machine.made] == [FENTRY]
    machine.unloadable = (FENTRY,)
    machine.faults = {KPROBE: LoopbackError("the firewall drops it")}
    with pytest.raises(LoopbackError, match="firewall"):
        machine.first(Config(), (FENTRY, KPROBE, TRACEPOINT))


@pytest.mark.parametrize(
    ("may_trace", "locked", "message", "hint"),
    [
        (False, False, "no permission to trace", privileges.ADVICE),
        (True, True, "kernel lockdown (confidentiality)", lockdown.ADVICE),
        (
            True,
            False,
            "this kernel cannot be traced"
            " (fentry: cannot be loaded; kprobe: kprobe is silent; tracepoint: cannot be loaded)",
            "see `accepttrace doctor`",
        ),
    ],
)
def test_where_nothing_works_the_deepest_reason_is_given(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    may_trace: bool,
    locked: bool,
    message: str,
    hint: str,
) -> None:
    monkeypatch.setattr(privileges, "may_trace", lambda: may_trace)
    monkeypatch.setattr(lockdown, "forbids_tracing", lambda: locked)
    machine.faults, machine.unloadable = {KPROBE: silent("kprobe")}, (FENTRY, TRACEPOINT)
    with pytest.raises(UnsupportedError) as raised:
        machine.first(Config())
    assert raised.value.message.startswith(message)
    assert raised.value.hint == hint
    assert raised.value.detail.endswith("log of fentry\nlog of kprobe\nlog of tracepoint")


@pytest.mark.parametrize(
    ("text", "mode", "forbidden"),
    [
        ("[none] integrity confidentiality\n", "none", False),
        ("none [integrity] confidentiality\n", "integrity", False),
        ("none integrity [confidentiality]\n", "confidentiality", True),
        (None, None, False),
    ],
)
def test_lockdown_is_what_stands_in_brackets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    mode: str | None,
    forbidden: bool,
) -> None:
    file = tmp_path / "lockdown"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(lockdown, "_FILE", file)
    assert (lockdown.mode(), lockdown.forbids_tracing()) == (mode, forbidden)


@pytest.mark.parametrize(
    ("effective", "names", "may"),
    [
        # Bits as in linux/capability.h; may trace, administer, hold a priority.
        (0, set(), (False, False, False)),
        (1 << 39, {"CAP_BPF"}, (False, False, False)),
        (1 << 39 | 1 << 38, {"CAP_BPF", "CAP_PERFMON"}, (True, False, False)),
        (1 << 21, {"CAP_SYS_ADMIN"}, (True, True, False)),
        (1 << 23, {"CAP_SYS_NICE"}, (False, False, True)),
        (1 << 19 | 1 << 2, {"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}, (False, False, False)),
        (1 << 20 | 1 << 22 | 1 << 40 | 1 << 1, set(), (False, False, False)),
    ],
)
def test_capabilities_are_the_effective_ones(
    monkeypatch: pytest.MonkeyPatch,
    effective: int,
    names: set[str],
    may: tuple[bool, bool, bool],
) -> None:
    text = f"Name:\tx\nCapPrm:\t{2**41 - 1:016x}\nCapEff:\t{effective:016x}\nCapBnd:\t{0:016x}\n"
    monkeypatch.setattr(Path, "read_text", lambda _: text)
    assert privileges.held() == names
    asked = (privileges.may_trace, privileges.may_administer, privileges.may_hold_priority)
    assert tuple(ask() for ask in asked) == may
    monkeypatch.setattr(Path, "read_text", lambda _: "Name:\tx\n")
    assert privileges.held() == set()
