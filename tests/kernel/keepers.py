"""Processes that keep connections open, and do with them what the test says."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from .clients import address_of

MOST_FDS = 65536
ORDER_BYTES = 64
Order = Callable[[list[socket.socket]], object]


class Keeper:
    """A forked process that holds what it accepted, connected or was given.

    `orders`: what it can be asked to do with that.
    """

    def __init__(self, orders: Mapping[str, Order]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if not self.pid:
            try:
                self._channel.close()
                _serve(theirs, orders)
            finally:
                os._exit(0)
        theirs.close()

    def ask(self, order: str) -> int:
        """Have it done; how many connections it keeps then, by its own count."""
        self._channel.sendall(order.encode())
        return int(self._channel.recv(ORDER_BYTES))

    def give(self, sock: socket.socket) -> int:
        """Pass it a descriptor by SCM_RIGHTS; as `ask`."""
        socket.send_fds(self._channel, [b"given"], [sock.fileno()])
        return int(self._channel.recv(ORDER_BYTES))

    def end(self) -> None:
        """Its children see that, and end."""
        self._channel.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextmanager
def keepers(number: int, **orders: Order) -> Iterator[list[Keeper]]:
    """So many, until the block ends."""
    found: list[Keeper] = []
    try:
        while len(found) < number:
            found.append(Keeper(orders))
        yield found
    finally:
        for keeper in found:
            keeper.end()


def _serve(channel: socket.socket, orders: Mapping[str, Order]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(hard, MOST_FDS)
    with suppress(ValueError):  # only with CAP_SYS_RESOURCE
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        hard = most
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kept: list[socket.socket] = []
    while True:
        order, fds, _, _ = socket.recv_fds(channel, ORDER_BYTES, 1)
        if not order:
            return
        if fds:
            kept += [socket.socket(fileno=fd) for fd in fds]
        else:
            orders[order.decode()](kept)
        channel.sendall(str(len(kept)).encode())


def accept(listener: socket.socket, number: int) -> Order:
    """Accept so many."""

    def order(kept: list[socket.socket]) -> None:
        listener.setblocking(True)
        kept += [listener.accept()[0] for _ in range(number)]

    return order


def connect(family: str, port: int, number: int) -> Order:
    """Open so many."""
    come = partial(socket.create_connection, address_of(family, port), 10)
    return lambda kept: kept.extend(come() for _ in range(number))


def close(number: int) -> Order:
    """Close the first of them."""

    def order(kept: list[socket.socket]) -> None:
        for sock in kept[:number]:
            sock.close()
        del kept[:number]

    return order


def duplicate(kept: list[socket.socket]) -> None:
    """Two more descriptors of each."""
    for sock in kept:
        os.dup(os.dup(sock.fileno()))


def inherit(kept: list[socket.socket]) -> None:  # noqa: ARG001
    """A child that holds all of it until this process has gone."""
    here, there = os.pipe()
    if not os.fork():
        os.close(there)
        os.read(here, 1)
        os._exit(0)
    os.close(here)


def ss_open(port: int) -> Counter[int]:
    """Established connections by PID, as `ss -tnp` shows them, each once a process."""
    command = ["ss", "-Htnp", "state", "established", f"sport = :{port}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Counter(
        int(pid) for line in lines.splitlines() for pid in set(re.findall(r"pid=(\d+)", line))
    )
