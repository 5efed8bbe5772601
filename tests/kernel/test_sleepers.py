"""Threads that already sleep in accept() when the tracer attaches: nothing may be lost."""

from __future__ import annotations

from typing import Any

import pytest

from accepttrace.config import Filters
from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.model.tallies import LAST

from .conftest import Account, Way, attached, complete, name, offered

SLEEPERS = 50


@pytest.mark.parametrize("mode", ["blocking", "threads"])
@pytest.mark.parametrize("way", offered(), ids=name)
def test_sleepers_at_attach_are_counted_from_their_first_accept(way: Way, mode: str) -> None:
    with Server(mode, workers=SLEEPERS) as server, attached(way) as session:
        account = _account(session, server.port)
        run_load(server.addresses, SLEEPERS)
        all_counted = complete(session, account.snapshot("thread"), SLEEPERS)
        run_load(server.addresses, SLEEPERS)
        server.stop()
        second = account.snapshot("thread")
        all_counted &= complete(session, second, 2 * SLEEPERS)
    if not all_counted:
        return
    counted = {c.tid: c.accepts for c in server.counts()}
    apart = {r.tid: r.accepts for r in second.acceptors if r.accepts and r.tid is not None}
    assert apart == {tid: counted[tid] for tid in apart}
    # They have ended: all but the last ones are one sum.
    folded = sum(r.accepts for r in second.acceptors if r.tid is None)
    assert folded == sum(accepts for tid, accepts in counted.items() if tid not in apart)
    assert len(apart) == min(LAST, sum(accepts > 0 for accepts in counted.values()))


def _account(session: Any, port: int) -> Account:
    filters = Filters(ports=frozenset({port}))
    session.filter(filters)
    session.reset()
    return Account(session, filters)
