"""The proof that every hook fires exactly as often as it must: loopback connections of our own."""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass

from accepttrace.errors import UnsupportedError
from accepttrace.model.records import AcceptorCount, Counts

CONNECTIONS = 3
EMPTY = 2
_TIMEOUT_S = 2.0
_MAX_WAIT_US = int(_TIMEOUT_S * 1e6)


@dataclass(slots=True)
class Traffic:
    """A private listener on loopback, in a reuseport group of one, and what was done to it."""

    listener: socket.socket
    port: int
    inode: int

    @classmethod
    def prepare(cls) -> Traffic:
        """Listen on a free port of 127.0.0.1."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind(("127.0.0.1", 0))
        except OSError as error:
            listener.close()
            raise _no_loopback(error) from None
        listener.listen(CONNECTIONS)
        listener.settimeout(0)
        return cls(listener, listener.getsockname()[1], os.fstat(listener.fileno()).st_ino)

    def make(self) -> None:
        """`CONNECTIONS` accepts that succeed and `EMPTY` that return EAGAIN."""
        for _ in range(CONNECTIONS):
            self._connect_and_accept()
        for _ in range(EMPTY):
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                continue
            raise UnsupportedError("cannot prove the hooks: a stranger connected to the self-test")

    def _connect_and_accept(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.port), _TIMEOUT_S):
                if not select.select([self.listener], [], [], _TIMEOUT_S)[0]:
                    raise TimeoutError("no connection arrived")
                self.listener.accept()[0].close()
        except OSError as error:
            raise _no_loopback(error) from None


def _no_loopback(error: OSError) -> UnsupportedError:
    return UnsupportedError(
        f"cannot prove the hooks over loopback: {error}",
        "bring it up with `ip link set lo up`, and allow TCP on 127.0.0.1",
    )


def verdicts(counts: Counts, inode: int, sees: frozenset[str]) -> dict[str, str]:
    """By fact, what is wrong with it; empty when every hook told the truth."""
    mine = [a for a in counts.acceptors if a.listener_inode == inode]
    if len(mine) != 1:
        return {"accepts": f"{CONNECTIONS} accepts by 1 thread were counted for {len(mine)}"}
    wrong = _acceptor_faults(mine[0], sees)
    if "selected" in sees:
        chosen = sum(item.selected or 0 for item in counts.listeners if item.inode == inode)
        if chosen != CONNECTIONS:
            wrong["selected"] = f"{chosen} of {CONNECTIONS} selections were counted"
    return wrong


def _acceptor_faults(mine: AcceptorCount, sees: frozenset[str]) -> dict[str, str]:
    wrong = {}
    if mine.accepts != CONNECTIONS:
        wrong["accepts"] = f"{mine.accepts} of {CONNECTIONS} accepts were counted"
    if "empty" in sees and mine.empty != EMPTY:
        wrong["empty"] = f"{mine.empty} of {EMPTY} EAGAIN were counted"
    if mine.wait_unknown or sum(mine.wait_us) != CONNECTIONS or mine.wait_max_us > _MAX_WAIT_US:
        wrong["wait"] = "the time in the accept queue is not readable"
    return wrong
