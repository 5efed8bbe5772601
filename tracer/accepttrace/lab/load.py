"""Load on a server: connections opened in a bounded number and time, from one or more processes."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from accepttrace.errors import AcceptTraceError
from accepttrace.lab.children import Child, end_all, fork
from accepttrace.lab.clients import Client, LoadResult, Plan
from accepttrace.lab.listeners import Address

__all__ = ["Load", "LoadResult", "run_load"]

_GRACE_S = 5.0


def run_load(
    addresses: Sequence[Address],
    connections: int,
    *,
    concurrency: int = 1,
    processes: int = 1,
    rate: float | None = None,
    timeout: float = 10.0,
    request: bytes = b"",
    local_ports: bool = False,
) -> LoadResult:
    """Open `connections` connections and wait until the server closed each of them.

    Up to `concurrency` are open at once in each process; `rate` is connections/s of all processes
    together; `addresses` are taken in turn; `timeout` (seconds) is for each connection.
    One process: no fork, all sockets are the caller's own.
    """
    plan = Plan(connections, None, rate, concurrency, timeout, request, local_ports)
    if processes == 1:
        return Client(addresses, plan).run()
    with Load(addresses, plan, processes=processes) as load:
        return load.result()


class Load:
    """Load in the background, from forked processes; it stops by itself when its plan is done.

    `with Load(addresses, Plan(duration_s=10, rate=1000)) as load: ...; load.stop()`. The plan is
    for all processes together, but for `concurrency`: that is each process's. Start it before
    other threads (fork).
    """

    def __init__(self, addresses: Sequence[Address], plan: Plan, *, processes: int = 1) -> None:
        self._addresses = tuple(addresses)
        self._plans = _split(plan, processes)
        self._clients: list[Child] = []
        self._result: LoadResult | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that connect."""
        return tuple(client.pid for client in self._clients)

    def start(self) -> None:
        """Begin to connect."""
        for plan in self._plans:
            self._clients.append(fork(partial(_work, self._addresses, plan)))

    def stop(self) -> LoadResult:
        """Open no more connections, see the open ones through, and give the result."""
        for client in self._clients:
            client.finish_asking()
        return self.result()

    def result(self) -> LoadResult:
        """Wait until the plan is done. AcceptTraceError if a process died of something else."""
        if self._result is None:
            limits = [_limit_s(plan) for plan in self._plans]
            parts = [_collect(*pair) for pair in zip(self._clients, limits, strict=True)]
            self._result = _merge(parts)
            end_all(self._clients)
        return self._result

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        end_all(self._clients)


def _work(addresses: Sequence[Address], plan: Plan, channel: socket.socket) -> None:
    """In the child."""
    result = Client(addresses, plan).run(channel)
    channel.sendall(json.dumps(asdict(result)).encode())


def _limit_s(plan: Plan) -> float | None:
    """Longest silence of a process that does as planned."""
    if plan.duration_s is not None:
        return plan.duration_s + plan.timeout_s + _GRACE_S
    if plan.rate is not None and plan.connections is not None:
        return plan.connections / plan.rate + plan.timeout_s + _GRACE_S
    return None


def _collect(client: Child, limit_s: float | None) -> LoadResult:
    """The result that a process sends before it ends."""
    client.channel.settimeout(limit_s)
    text = b""
    try:
        while part := client.channel.recv(65536):
            text += part
        values = json.loads(text)
    except (OSError, ValueError):
        raise AcceptTraceError(
            f"load process {client.pid} ended without a result", "its error is on stderr"
        ) from None
    values["local_ports"] = tuple((host, port) for host, port in values["local_ports"])
    return LoadResult(**values)


def _merge(parts: Sequence[LoadResult]) -> LoadResult:
    failed: Counter[str] = Counter()
    for part in parts:
        failed.update(part.failed)
    return LoadResult(
        sum(part.attempted for part in parts),
        sum(part.connected for part in parts),
        dict(failed),
        sum(part.reset for part in parts),
        tuple(port for part in parts for port in part.local_ports),
        max((part.seconds for part in parts), default=0.0),
    )


def _split(plan: Plan, processes: int) -> list[Plan]:
    """One plan a process; together they make the whole."""
    rate = None if plan.rate is None else plan.rate / processes
    if plan.connections is None:
        return [replace(plan, rate=rate)] * processes
    whole, rest = divmod(plan.connections, processes)
    return [replace(plan, rate=rate, connections=whole + (i < rest)) for i in range(processes)]
