"""The filters of the user, applied to sockets and to those who hold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from accepttrace.config import Filters
from accepttrace.model.records import Family, Holder


class Bound(Protocol):
    """Any socket with a local address."""

    @property
    def family(self) -> Family: ...
    @property
    def local_address(self) -> str: ...
    @property
    def local_port(self) -> int: ...


def passes(filters: Filters, sock: Bound) -> bool:
    """By port, family and local address."""
    return (
        (not filters.ports or sock.local_port in filters.ports)
        and (filters.family is None or sock.family == filters.family)
        and (not filters.addresses or sock.local_address in filters.addresses)
    )


def is_held(filters: Filters, holders: Iterable[Holder]) -> bool:
    """Whether a holder passes the filters for pid, comm and cgroup; True without such filters."""
    if not (filters.pids or filters.comms or filters.cgroups):
        return True
    return any(_is(filters, holder) for holder in holders)


def _is(filters: Filters, holder: Holder) -> bool:
    return (
        (not filters.pids or holder.pid in filters.pids)
        and (not filters.comms or holder.comm in filters.comms)
        and (not filters.cgroups or any(_below(holder.cgroup, top) for top in filters.cgroups))
    )


def _below(path: str | None, top: str) -> bool:
    whole = "/" + top.strip("/")
    return path is not None and (path + "/").startswith(whole.rstrip("/") + "/")
