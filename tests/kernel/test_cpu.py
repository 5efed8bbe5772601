"""Processor time of workers, against what they measure of themselves."""

from __future__ import annotations

import os
import socket
import threading
import time

from accepttrace.facts.records import TICKS_PER_S, Process
from accepttrace.sockets import procfs
from accepttrace.sockets.cputime import cpu_times

from .clients import listen, port_of
from .conftest import Tracing
from .keepers import keepers

BURNED_S = 0.3
SLACK_S = 0.02  # for the reading itself, and what the test's own messages take


def burn(kept: list[socket.socket]) -> None:
    """In two threads; `kept` then has so many sockets as milliseconds were taken."""
    began = time.process_time()

    def spin() -> None:
        while time.process_time() - began < BURNED_S:
            pass

    threads = [threading.Thread(target=spin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken_ms = round((time.process_time() - began) * 1e3)
    kept[:] = [socket.socket()] * taken_ms


def test_share_of_a_processor_is_what_the_worker_took(tracing: Tracing) -> None:
    with listen(8) as listener, keepers(2, burn=burn) as (worker, idle):
        account = tracing.of(port_of(listener))
        times = [time.monotonic()]  # before and after each reading
        first = account.snapshot()
        assert {row.cpu for row in first.acceptors} == {None}
        times.append(time.monotonic())
        taken_s = worker.ask("burn") / 1e3
        times.append(time.monotonic())
        snapshot = account.snapshot("process")
        times.append(time.monotonic())
        least_s, most_s = times[2] - times[1], times[3] - times[0]
        shares = {row.pid: row.cpu for row in snapshot.acceptors if row.cpu is not None}
        assert (taken_s - SLACK_S) / most_s < shares[worker.pid] < (taken_s + SLACK_S) / least_s
        assert 0 <= shares[idle.pid] < SLACK_S / least_s
        assert shares[os.getpid()] > 0


def test_it_is_the_user_and_system_time_of_stat() -> None:
    me = Process(os.getpid(), 7)
    while time.process_time() < 1:
        os.getppid()
    before = stat_s()
    (found,) = cpu_times([me, Process(2**22 + 1)]).values()
    after = stat_s()
    tick_s = 1 / TICKS_PER_S
    assert before - 2 * tick_s <= found.used_s <= after + 2 * tick_s
    assert found.start_ticks == 7


def stat_s() -> float:
    fields = procfs.text("/proc/self/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
