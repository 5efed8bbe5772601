"""Which listeners and which processes the filters let through."""

from __future__ import annotations

from typing import Protocol

from accepttrace.config import Filters
from accepttrace.model.records import Family, Process

COMM_LENGTH = 15  # the kernel cuts names of tasks to it


class Local(Protocol):
    """What the filters ask of a listener, whichever record describes it."""

    @property
    def netns(self) -> int: ...
    @property
    def family(self) -> Family: ...
    @property
    def local_address(self) -> str: ...
    @property
    def local_port(self) -> int: ...


def listener_matches(filters: Filters, listener: Local) -> bool:
    """Port, network namespace, family and local address; the last compared as addresses."""
    return (
        (not filters.ports or listener.local_port in filters.ports)
        and (not filters.netns or listener.netns in filters.netns)
        and (filters.family is None or listener.family == filters.family)
        and (not filters.addresses or _address_matches(filters, listener.local_address))
    )


def process_matches(filters: Filters, process: Process, comm: str = "") -> bool:
    """Pid, name and cgroup. `comm` is the name of the thread, which may differ."""
    return (
        (not filters.pids or process.pid in filters.pids)
        and (not filters.comms or _name_matches(filters, {process.comm, process.name, comm}))
        and (not filters.cgroups or _cgroup_matches(filters, process.cgroup))
    )


def by_process(filters: Filters) -> bool:
    """Whether some connections of a listener may be left out because of who took them."""
    return bool(filters.pids or filters.comms or filters.cgroups)


def _name_matches(filters: Filters, names: set[str]) -> bool:
    return any(comm in names or comm[:COMM_LENGTH] in names for comm in filters.comms)


def _cgroup_matches(filters: Filters, cgroup: str | None) -> bool:
    if cgroup is None:
        return False
    path = cgroup.strip("/") + "/"
    return any(
        path.startswith(prefix.strip("/") + "/") or not prefix.strip("/")
        for prefix in filters.cgroups
    )


def _address_matches(filters: Filters, address: str) -> bool:
    return address in filters.addresses or _canonical(address) in map(_canonical, filters.addresses)


def _canonical(address: str) -> str:
    from ipaddress import ip_address  # 5 ms: only for those who ask by address

    try:
        return str(ip_address(address.strip("[]")))
    except ValueError:
        return address
