"""The running kernel, traced: attached and proved once per attach type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pytest

from accepttrace.config import By, Config, Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.meta import Meta
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.tracker import Tracker
from accepttrace.probe.holders import HolderIterator
from accepttrace.probe.plans import Plan
from accepttrace.probe.preemption import preempts
from accepttrace.probe.session import Session, open_session
from accepttrace.probe.tracer import Tracer
from accepttrace.run.tcp import TcpSource
from accepttrace.sockets.holding import open_iterator
from accepttrace.sockets.inventory import InventoryReader

from .network import own_namespace

ACCEPTTRACE = (sys.executable, "-m", "accepttrace")
# A VM names the attach types that its kernel must offer; elsewhere whatever works is tested.
EXPECTED = tuple(filter(None, os.environ.get("ACCEPTTRACE_EXPECTED_TYPES", "").split(",")))
ROW = os.environ.get("ACCEPTTRACE_VM_ROW", "")  # the machine's name in vm/matrix.py
NOBODY = Filters(ports=frozenset({1}))
ATTEMPTS = 5
LOADERS = tuple(os.environ.get("ACCEPTTRACE_LOADER", "libbpf").split(","))


class Way(NamedTuple):
    """An attach type with a loader."""

    attach: str
    loader: str


@dataclass
class Tracing:
    """A live session; `of` starts a fresh account for some ports."""

    session: Session

    @property
    def plan(self) -> Plan:
        return self.session.plan

    @property
    def way(self) -> Way:
        return Way(self.plan.attach, self.session.loader)

    def of(
        self, *ports: int, filters: Filters | None = None, window_s: float | None = None
    ) -> Account:
        # What has the same port in another namespace is a stranger's.
        chosen = filters or Filters(ports=frozenset(ports), netns=own_namespace())
        self.session.filter(NOBODY)  # no row is made while they are all forgotten
        self.session.reset()
        self.session.filter(chosen)
        return Account(self.session, chosen, window_s)


class Account:
    """What the tracer says of a few ports, as any view would get it."""

    def __init__(self, session: Session, filters: Filters, window_s: float | None = None) -> None:
        self._session = session
        reader = InventoryReader(filters, iterator(), ask_facts=session.listening)
        self._source = TcpSource(session, reader)
        meta = Meta("test", "", session.plan.attach, session.loader, (), "", "")
        self._tracker = Tracker(
            meta, filters, session.began_s, session.plan.sees, window_s=window_s
        )
        self._tracker.start(reader.baseline())

    def snapshot(self, by: By = "worker") -> Snapshot:
        reading = self._source.read(self._tracker.pids, full=True)
        self._session.forget(self._tracker.update(reading))
        return self._tracker.snapshot(by)


@cache
def iterator() -> HolderIterator | None:
    """One for all accounts: loading it takes seconds in an emulated machine."""
    return open_iterator()


def attached(way: Way, **options: bool) -> Session:
    """A proved session, or a skip with the kernel's reason. `options`: of `Config`."""
    try:
        return open_session(Config(attach=way.attach, loader=way.loader, **options))  # type: ignore[arg-type]
    except UnsupportedError as error:
        if way.attach in EXPECTED:
            pytest.fail(f"{way} is expected here: {error.message}\n{error.detail}")
        pytest.skip(f"{way}: {error.message}")


def offered() -> tuple[Way, ...]:
    """The ways to test: the attach types expected here, or the default one, by each loader."""
    types = EXPECTED or ("tracepoint",)
    return tuple(Way(attach, loader) for loader in LOADERS for attach in types)


def exact() -> tuple[Way, ...]:
    """Those of them that lose nothing: where the kernel preempts itself, kprobes alone."""
    ways = offered()
    return tuple(way for way in ways if way.attach == "kprobe") or ways if preempts() else ways


@cache
def doctor() -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of `accepttrace doctor`, once.

    In a machine of vm/ without bcc, which would compile for a minute (and see test_loaders).
    """
    loaders = ("--loader", "libbpf") if ROW else ()
    command = (*ACCEPTTRACE, "doctor", "-o", "json", *loaders)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def name(way: Way) -> str:
    """What pytest calls a test of this way."""
    return "-".join(way)


@pytest.fixture(scope="session", params=offered(), ids=name)
def tracing(request: pytest.FixtureRequest) -> Iterator[Tracing]:
    """Every way. Where it may lose events, a test is tried until none was (see below)."""
    with attached(request.param) as session:
        yield Tracing(session)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Try a test again whose traced events were not all seen, where the tracer says so.

    A kernel that preempts itself skips trampolines and raw tracepoints often; any may, where an
    interrupt meets a program. A number that is wrong without a loss reported fails at once.
    """
    sessions = (getattr(each, "session", None) for each in pyfuncitem.funcargs.values())
    session = next((each for each in sessions if isinstance(each, Tracer)), None)
    if session is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {each: pyfuncitem.funcargs[each] for each in names}
    for attempt in range(ATTEMPTS):
        try:
            pyfuncitem.obj(**arguments)
            break
        except (AssertionError, pytest.fail.Exception):
            skipped = session.skipped() or {}
            print(f"attempt {attempt}: skipped {skipped}")
            if not any(skipped.values()) or attempt == ATTEMPTS - 1:
                raise
    return True


def complete(session: Session, snapshot: Snapshot, expected: int) -> bool:
    """Whether all were counted; if not, what is missing must be reported, and to the last one.

    A kernel that preempts itself may skip trampolines and raw tracepoints.
    """
    skipped = session.skipped() or {}
    missing = expected - snapshot.books.accepts
    if not any(skipped.values()):
        assert missing == 0
        assert snapshot.books.balanced
        return True
    assert preempts()
    assert session.plan.attach != "kprobe"
    assert not snapshot.books.balanced
    if session.plan.attach == "fentry":
        assert missing == skipped["fentry_inet_accept"]
    else:  # the skipped returns of all system calls, accept() among them
        assert 0 <= missing <= skipped["raw_tp_sys_exit"]
    return False


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Poll until it holds; fails, naming what did not happen, after the time limit."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.005)
