"""The proof that every hook fires exactly as often as it must: loopback connections of our own."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
from contextlib import suppress
from dataclasses import dataclass

from accepttrace.errors import UnsupportedError
from accepttrace.model.records import AcceptorCount, Counts, ListenerCount

CONNECTIONS = 3
EMPTY = 2
REFUSED = 1  # for want of a file descriptor
LEFT = 1  # connections that are still queued when the listener closes
_TIMEOUT_S = 2.0
_MAX_WAIT_US = int(_TIMEOUT_S * 1e6)


@dataclass(slots=True)
class Traffic:
    """A private listener on loopback, and what was done to it."""

    listener: socket.socket
    clients: list[socket.socket]
    port: int
    inode: int

    @classmethod
    def prepare(cls) -> Traffic:
        """Listen on a free port of 127.0.0.1."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind(("127.0.0.1", 0))
        except OSError as error:
            listener.close()
            raise _no_loopback(error) from None
        listener.listen(CONNECTIONS)
        listener.settimeout(0)
        return cls(listener, [], listener.getsockname()[1], os.fstat(listener.fileno()).st_ino)

    def make(self) -> None:
        """Accepts that succeed, find nothing or get no descriptor; and `LEFT` not accepted."""
        for number in range(CONNECTIONS):
            with self._connect():
                if number < REFUSED:  # counted only while a connection waits
                    self._accept_without_descriptors()
                self.listener.accept()[0].close()
        for _ in range(EMPTY):
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                continue
            raise UnsupportedError("cannot prove the hooks: a stranger connected to the self-test")

        for _ in range(LEFT):
            self.clients.append(self._connect())

    def end(self) -> None:
        """Close the clients; those left in the queue were reset with the listener."""
        for client in self.clients:
            client.close()

    def _accept_without_descriptors(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with suppress(OSError):
                self.listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def _connect(self) -> socket.socket:
        """Connected, and in the queue."""
        try:
            client = socket.create_connection(("127.0.0.1", self.port), _TIMEOUT_S)
            if not select.select([self.listener], [], [], _TIMEOUT_S)[0]:
                raise TimeoutError("no connection arrived")
        except OSError as error:
            raise _no_loopback(error) from None
        return client


def _no_loopback(error: OSError) -> UnsupportedError:
    return UnsupportedError(
        f"cannot prove the hooks over loopback: {error}",
        "bring it up with `ip link set lo up`, and allow TCP on 127.0.0.1",
    )


def verdicts(counts: Counts, traffic: Traffic, sees: frozenset[str]) -> dict[str, str]:
    """By fact, what is wrong with it; empty when every hook told the truth."""
    mine = [a for a in counts.acceptors if a.listener_inode == traffic.inode]
    if len(mine) != 1:
        return {"accepts": f"{CONNECTIONS} accepts by 1 thread were counted for {len(mine)}"}
    listener = next((x for x in counts.listeners if x.inode == traffic.inode), None)
    if listener is None:
        return {"accepts": "no listener was counted"}
    return _acceptor_faults(mine[0], sees) | _listener_faults(listener, sees)


def _listener_faults(mine: ListenerCount, sees: frozenset[str]) -> dict[str, str]:
    arrived, lost = (mine.flow.arrived, mine.flow.lost) if mine.flow else (None, None)
    made = CONNECTIONS + LEFT
    wrong = {}
    if "selected" in sees and mine.selected != made:
        wrong["selected"] = f"{mine.selected} of {made} requests for a connection were counted"
    if "arrived" in sees and arrived != made:
        wrong["arrived"] = f"{arrived} of {made} arrivals were counted"
    if "closed" in sees and (lost, mine.stops) != (LEFT, 1):
        wrong["closed"] = f"{lost} of {LEFT} connections lost with the listener were counted"
    return wrong


def _acceptor_faults(mine: AcceptorCount, sees: frozenset[str]) -> dict[str, str]:
    wrong = {}
    if mine.accepts != CONNECTIONS:
        wrong["accepts"] = f"{mine.accepts} of {CONNECTIONS} accepts were counted"
    if "empty" in sees and mine.empty != EMPTY:
        wrong["empty"] = f"{mine.empty} of {EMPTY} EAGAIN were counted"
    if "refused" in sees and mine.refused != REFUSED:
        wrong["refused"] = f"{mine.refused} of {REFUSED} calls without a descriptor were counted"
    if "errors" in sees and mine.errors != {errno.EMFILE: REFUSED}:
        wrong["errors"] = f"{mine.errors} is not the errno of {REFUSED} calls without a descriptor"
    measured = sum(mine.wait_us) == CONNECTIONS and mine.wait_max_us <= _MAX_WAIT_US
    if "waits" in sees and (mine.wait_unknown or not measured):
        wrong["wait"] = "the time in the accept queue is not readable"
    return wrong
