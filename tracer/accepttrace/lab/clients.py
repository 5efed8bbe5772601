"""A TCP client that opens many connections and sees each one through to its end."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from accepttrace.lab.acceptors import RESET_ON_CLOSE
from accepttrace.lab.listeners import Address

_READ: Final = select.EPOLLIN
_WRITE: Final = select.EPOLLOUT
_IDLE_S: Final = 0.1  # longest sleep while nothing happens: deadlines are looked at so often


@dataclass(frozen=True, slots=True)
class Plan:
    """What to open: at most `connections`, for at most `duration_s`, at most `rate` a second.

    `concurrency` are open at the same time. Each must end within `timeout_s`. `request` is sent as
    soon as a connection stands. `keep_ports`: list the client's addresses in the result.
    """

    connections: int | None = None
    duration_s: float | None = None
    rate: float | None = None
    concurrency: int = 1
    timeout_s: float = 10.0
    request: bytes = b""
    keep_ports: bool = False


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What became of the connections: `attempted == connected + sum(failed.values())`.

    `connected`: the server closed it, so it was accepted; but see `reset`. `reset`: those of
    `connected` that ended with RST; a server with `linger0` ends all so, and a connection that
    was reset while it was queued looks the same. `failed` maps errno names to counts; ETIMEDOUT
    includes connections that the server did not close in time. `local_ports`: (address, port)
    of each connection's client side, in the order of opening, when asked for.
    """

    attempted: int = 0
    connected: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    reset: int = 0
    local_ports: tuple[Address, ...] = ()
    seconds: float = 0.0


class Client:
    """Carries out one plan, in one thread. Closes with RST, so that no TIME_WAIT heaps up."""

    def __init__(self, addresses: Sequence[Address], plan: Plan) -> None:
        if plan.connections is None and plan.duration_s is None:
            raise ValueError("a load needs an end: a number of connections or a duration")
        self._addresses = tuple(addresses)
        self._plan = plan
        self._open: dict[int, tuple[socket.socket, float]] = {}  # oldest first
        self._attempted = self._connected = self._reset = 0
        self._failed: Counter[str] = Counter()
        self._ports: list[Address] = []
        self._started = 0.0
        self._stopped = False

    def run(self, channel: socket.socket | None = None) -> LoadResult:
        """Open and see through all connections; anything on `channel` stops opening more."""
        self._started = time.monotonic()
        with select.epoll() as self._poll:
            if channel is not None:
                self._poll.register(channel, _READ)
            while self._launch() or self._open:
                self._handle(self._poll.poll(self._sleep_s()))
                self._expire()
        return LoadResult(
            self._attempted,
            self._connected,
            dict(self._failed),
            self._reset,
            tuple(self._ports),
            time.monotonic() - self._started,
        )

    def _launch(self) -> bool:
        """Open what is due; False once no more will be opened."""
        while self._wants_more():
            if len(self._open) >= self._plan.concurrency or self._due_in_s() > 0:
                return True
            self._connect(self._addresses[self._attempted % len(self._addresses)])
        return False

    def _wants_more(self) -> bool:
        plan = self._plan
        if self._stopped or (plan.connections is not None and self._attempted >= plan.connections):
            return False
        return plan.duration_s is None or time.monotonic() - self._started < plan.duration_s

    def _due_in_s(self) -> float:
        """Seconds until the rate allows the next connection."""
        if self._plan.rate is None:
            return 0.0
        return self._started + self._attempted / self._plan.rate - time.monotonic()

    def _sleep_s(self) -> float:
        if len(self._open) >= self._plan.concurrency or not self._wants_more():
            return _IDLE_S
        return min(max(self._due_in_s(), 0.0), _IDLE_S)

    def _connect(self, address: Address) -> None:
        self._attempted += 1
        domain = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            opened = socket.socket(domain, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._fail(error.errno)
            return
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        code = opened.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            opened.close()
            self._fail(code)
            return
        if self._plan.keep_ports:
            host, port = opened.getsockname()[:2]
            self._ports.append((host, port))
        self._poll.register(opened, _WRITE if self._plan.request else _READ)
        self._open[opened.fileno()] = (opened, time.monotonic())

    def _handle(self, events: list[tuple[int, int]]) -> None:
        for fd, event in events:
            entry = self._open.get(fd)
            if entry is None:
                self._stopped = True
                self._poll.unregister(fd)  # the order, or end of file, stays readable
            elif event & _WRITE and not event & (select.EPOLLERR | select.EPOLLIN):
                self._send(entry[0])
            else:
                self._read(entry[0])

    def _send(self, connection: socket.socket) -> None:
        try:
            connection.send(self._plan.request)  # one small segment: never sent in part
        except OSError as error:
            self._end(connection, error.errno)
        else:
            self._poll.modify(connection, _READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            if not connection.recv(65536):
                self._end(connection, 0)
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(connection, error.errno)

    def _end(self, connection: socket.socket, code: int | None) -> None:
        del self._open[connection.fileno()]
        # close() alone would not do while somebody else looks at it: a reader of /proc/PID/fd does
        self._poll.unregister(connection)
        connection.close()
        if code in (0, errno.ECONNRESET, errno.EPIPE):
            self._connected += 1
            self._reset += code != 0
        else:
            self._fail(code)

    def _fail(self, code: int | None) -> None:
        self._failed[errno.errorcode.get(code or 0, str(code))] += 1

    def _expire(self) -> None:
        """Give up connections that are open too long."""
        limit = time.monotonic() - self._plan.timeout_s
        for connection, since in list(self._open.values()):
            if since > limit:
                return
            self._end(connection, errno.ETIMEDOUT)
