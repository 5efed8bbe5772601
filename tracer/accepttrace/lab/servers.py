"""A real TCP server on loopback, in any sharing mode, whose workers count what they accept."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Any

from accepttrace.errors import AcceptTraceError
from accepttrace.lab.acceptors import Acceptor, Habits
from accepttrace.lab.board import Board, WorkerCount
from accepttrace.lab.children import READY, Child, end_all, fork
from accepttrace.lab.listeners import Address, Family, addresses, bind
from accepttrace.lab.loops import PAUSE, RESUME, block_forever, poll_forever
from accepttrace.lab.modes import MODES, find_mode

__all__ = ["MODES", "Server", "WorkerCount"]


class Server:
    """`with Server("reuseport", workers=4) as server:` serves until the end of the block.

    `mode` is one of MODES (see `modes` for what each does):
    - reuseport: an SO_REUSEPORT socket a worker; epoll, one accept a wake-up, hence no EAGAIN.
    - shared: one non-blocking socket opened before the fork; every worker has it in its own epoll,
      level-triggered, and accepts once a wake-up: workers that lose the race count an EAGAIN.
    - blocking: one blocking socket opened before the fork; every worker sleeps in accept().
    - epoll: as shared, but a wake-up accepts until EAGAIN, so every burst ends with one.
    - exclusive: as shared, registered with EPOLLEXCLUSIVE.
    - passed: as shared, but workers are forked first and get the socket by SCM_RIGHTS.
    - threads: one process; `workers` threads sleep in accept() on one blocking socket.

    `family`: "ipv4" (127.0.0.1), "ipv6" (::1), or "mapped" ([::] dual-stack, reached by 127.0.0.x).
    `port` 0: a free one. `hold` (seconds): a woken worker waits so long before it accepts. Exact
    with reuseport or one worker, one connection at a time; where workers share a socket, one that
    lost a race is still in its hold when the next connection comes, and takes it sooner.
    `reply`: send a short HTTP answer. `linger0`: close with RST, else with FIN.
    The parent holds no copy of a listening socket once workers run.
    Start it before other threads (fork). Errors: AcceptTraceError, UsageError.
    """

    def __init__(
        self,
        mode: str,
        *,
        workers: int = 4,
        family: Family = "ipv4",
        port: int = 0,
        backlog: int = 4096,
        hold: float = 0.0,
        reply: bool = False,
        linger0: bool = True,
    ) -> None:
        self._mode = find_mode(mode)
        if hold and self._mode.blocks:
            raise AcceptTraceError(
                f"mode {mode} cannot hold connections: its workers sleep in accept()",
                "use a mode that polls, such as shared or reuseport",
            )
        self.workers = workers
        self.family = family
        self.port = port
        self.backlog = backlog
        self._habits = Habits(hold, reply, linger0)
        self._board = Board(workers)
        self._children: list[Child] = []

    @property
    def mode(self) -> str:
        """The name of the sharing mode."""
        return self._mode.name

    @property
    def addresses(self) -> tuple[Address, ...]:
        """(host, port) pairs that clients connect to."""
        return addresses(self.family, self.port)

    @property
    def pids(self) -> tuple[int, ...]:
        """Worker processes that run now."""
        return tuple(child.pid for child in self._children)

    def counts(self) -> tuple[WorkerCount, ...]:
        """What each worker counted so far; final once stopped.

        A connection is in `accepts` before its client sees it closed. Workers killed while a
        client is still being served (blocking, threads) may have accepted one more than counted.
        """
        return tuple(tally.read() for tally in self._board.tallies)

    def pause(self) -> None:
        """Return once no worker accepts any more: connections stay in the accept queue."""
        self._order(PAUSE)

    def resume(self) -> None:
        """Return once every worker accepts again."""
        self._order(RESUME)

    def start(self) -> None:
        """Start the workers; return once each is on the board and about to wait for connections."""
        try:
            if self._mode.late:
                self._fork_workers(None)
                self._pass_listener()
            else:
                self._fork_workers_with_listener()
            for child in self._children:
                child.await_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every worker and reap it; `counts` stays readable."""
        self._board.call_attention(True)
        end_all(self._children)
        self._children = []

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def _bind(self) -> socket.socket:
        bound = bind(self.family, self.port, reuseport=self._mode.own_socket)
        self.port = bound.getsockname()[1]
        return bound

    def _listen(self, bound: socket.socket) -> None:
        bound.setblocking(self._mode.blocks)
        bound.listen(self.backlog)

    def _fork_workers(self, bound: socket.socket | None) -> None:
        for index in range(1 if self._mode.threads else self.workers):
            self._children.append(fork(partial(self._work, index, bound)))

    def _fork_workers_with_listener(self) -> None:
        """Workers with sockets of their own use this one, which then never listens, to reserve."""
        with self._bind() as bound:
            if self._mode.own_socket:
                self._fork_workers(bound)
                for child in self._children:
                    child.await_ready()  # bound; the reservation is needed no more
            else:
                self._listen(bound)
                self._fork_workers(bound)

    def _pass_listener(self) -> None:
        with self._bind() as bound:
            self._listen(bound)
            for child in self._children:
                socket.send_fds(child.channel, [b"s"], [bound.fileno()])

    def _work(self, index: int, bound: socket.socket | None, channel: socket.socket) -> None:
        """In the child: get the listening socket, then serve until the channel ends."""
        mode = self._mode
        Path("/proc/self/comm").write_text(f"lab worker {index + 1}")
        listener = self._own_listener(bound, channel)
        tallies = self._board.tallies if mode.threads else self._board.tallies[index : index + 1]
        acceptors = [Acceptor(listener, tally, self._habits) for tally in tallies]
        if mode.blocks:
            block_forever(acceptors, channel)
        else:
            poll_forever(acceptors[0], channel, self._board, mode)

    def _own_listener(self, bound: socket.socket | None, channel: socket.socket) -> socket.socket:
        if bound is None:
            return _receive(channel)
        if not self._mode.own_socket:
            return bound
        bound.close()
        own = self._bind()
        self._listen(own)
        channel.sendall(READY)
        return own

    def _order(self, order: bytes) -> None:
        if self._mode.blocks:
            raise AcceptTraceError(
                f"mode {self.mode} cannot pause: its workers sleep in accept()",
                "use a mode that polls, such as shared or reuseport",
            )
        self._board.call_attention(True)
        for child in self._children:
            child.ask(order)
        self._board.call_attention(False)


def _receive(channel: socket.socket) -> socket.socket:
    """The listening socket that the parent passes."""
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not descriptors:
        raise AcceptTraceError("no listening socket came over the channel")
    listener = socket.socket(fileno=descriptors[0])
    listener.setblocking(False)  # as the parent set it: Python keeps a copy of its own
    return listener
