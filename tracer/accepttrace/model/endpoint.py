"""Where clients connect to, on whatever network namespace: by that two runs are compared."""

from __future__ import annotations

from typing import NamedTuple

from accepttrace.facts.records import Family
from accepttrace.model.snapshot import AcceptorRow, ListenerRow, Verdict


class Endpoint(NamedTuple):
    """An address to connect to."""

    local_port: int
    family: Family
    local_address: str


def endpoint_of(row: AcceptorRow | ListenerRow | Verdict) -> Endpoint | None:
    """None: a row that is of several."""
    if row.local_port is None or row.family is None or row.local_address is None:
        return None
    return Endpoint(row.local_port, row.family, row.local_address)
