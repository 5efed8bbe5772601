"""Even splits of real servers are called even, whoever came and went meanwhile."""

from __future__ import annotations

import pytest

from accepttrace.lab import nginx
from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.nginx import Nginx
from tests.kernel.conftest import Account, Tracing, tracing, wait_until
from tests.kernel.network import own_network
from tests.kernel.reading import begin, settled

from .test_real_servers import needs

__all__ = ["tracing"]

RATE, SOME = 3000, 6000  # connections a second, and between two reloads
OFF = 0.2  # of an even split; chance alone: 3 % in a standard deviation


def word(account: Account) -> str:
    return account.snapshot().verdicts[0].finding.word


@pytest.mark.parametrize("looks", ["once", "often"])
def test_an_even_split_stays_even_through_reloads(tracing: Tracing, looks: str) -> None:
    """The hash is fair. Who was there for a part of an interval is held to that part of it."""
    needs("nginx")
    with own_network(), Nginx(4, reuseport=True) as server:
        account = begin(tracing, server.port)
        words: set[str] = set()
        plan = Plan(duration_s=60, rate=RATE, concurrency=8, request=nginx.REQUEST)

        def serve() -> None:
            before = sum(server.accepts_by_pid().values())
            wait_until(lambda: sum(server.accepts_by_pid().values()) > before + SOME, "accepts")

        with Load(server.addresses, plan) as load:
            for workers in (2, 4):
                serve()
                if looks == "often":
                    words.add(word(account))
                server.reload(workers)
            serve()
            load.stop()
        snapshot = settled(account, "worker")
        words.add(snapshot.verdicts[0].finding.word)
        logged = server.accepts_by_pid()
    rows = {row.pid: row for row in snapshot.acceptors if row.accepts}
    assert {pid: row.accepts for pid, row in rows.items()} == logged
    assert len(rows) == 10
    assert words == {"FAIR"}
    ratios = [row.fair_ratio or 0.0 for row in rows.values()]
    assert max(abs(ratio - 1) for ratio in ratios) < OFF, ratios
