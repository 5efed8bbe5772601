"""The order in which nginx's workers accept, beside its own log."""

from __future__ import annotations

import pytest

from accepttrace.lab import nginx
from accepttrace.lab.load import run_load
from accepttrace.lab.nginx import Nginx
from accepttrace.model.pattern import Pattern
from tests.kernel.conftest import Tracing, wait_until
from tests.kernel.network import own_network
from tests.kernel.orders import Log, assert_exact, found, noting
from tests.kernel.reading import begin

from .test_real_servers import needs

__all__ = ["noting"]

CONNECTIONS = 320
ATTEMPTS = 6
IN_A_ROW = 16  # since 1.21.6 a worker goes to the end of the line after so many


def pids_of(server: Nginx) -> list[int]:
    """In the order of the log."""
    return [int(line.split()[0]) for line in (server.folder / "access.log").open()]


def one_at_a_time(noting: Tracing, *, reuseport: bool) -> tuple[Pattern, list[int]]:
    needs("nginx")
    with own_network(), Nginx(4, reuseport=reuseport) as server:
        account = begin(noting, server.port)
        for _ in range(CONNECTIONS):
            run_load(server.addresses, 1, concurrency=1, request=nginx.REQUEST)
        wait_until(lambda: len(pids_of(server)) == CONNECTIONS, "all are logged")
        return found(account), pids_of(server)


def test_a_shared_socket_is_emptied_in_runs_of_16(noting: Tracing) -> None:
    for _ in range(ATTEMPTS):
        pattern, pids = one_at_a_time(noting, reuseport=False)
        assert_exact(pattern, Log(pids))
        by_length = {run.low: run.runs for run in pattern.runs}
        if by_length.get(IN_A_ROW, 0) >= 0.5 * CONNECTIONS / IN_A_ROW:
            break  # else the machine did something else, and nginx was not back in time
    else:
        pytest.fail(f"nginx took no {IN_A_ROW} in a row: {by_length}")
    assert pattern.word == "BURSTY"


def test_the_hash_draws_by_chance(noting: Tracing) -> None:
    pattern, pids = one_at_a_time(noting, reuseport=True)
    assert pattern.again == sum(Log(pids).again.values())  # each has a socket of its own
    assert pattern.word == "NONE" or (pattern.p or 0) < 0.01  # 1 time in 100 by chance
    assert pattern.mean_run == pytest.approx(pattern.chance_run, rel=0.25)
