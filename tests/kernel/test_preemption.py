"""Whoever reads the maps keeps kprobes on its CPU from running meanwhile: nobody may pay for it."""

from __future__ import annotations

import os
import time

from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.servers import Server
from accepttrace.probe.preemption import not_preempted

from .conftest import Tracing, complete

LONG_S = 4.0  # without not_preempted() dozens are lost meanwhile, where the kernel preempts itself
SHORT_S = 0.5


def test_reading_without_a_pause_loses_nothing(tracing: Tracing) -> None:
    duration_s = LONG_S if tracing.plan.attach == "kprobe" else SHORT_S
    with Server("threads", workers=8) as server:
        account = tracing.of(server.port)
        plan = Plan(duration_s=duration_s, concurrency=8)
        with Load(server.addresses, plan) as load:
            end = time.monotonic() + duration_s
            while time.monotonic() < end:
                tracing.session.counts()
            connected = load.result().connected
        server.stop()
        complete(tracing.session, account.snapshot(), connected)


def test_a_priority_is_held_no_longer_than_asked_for() -> None:
    before = os.sched_getscheduler(0)
    with not_preempted():
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert os.sched_getscheduler(0) == before
