"""Clients with real sockets that keep count of what became of them."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import Any

from accepttrace.lab.acceptors import RESET_ON_CLOSE
from accepttrace.lab.listeners import Address, bind, find_place

IPPROTO_MPTCP = 262


def listen(
    backlog: int, *, family: str = "ipv4", port: int = 0, reuseport: bool = False
) -> socket.socket:
    """A listener of our own that does not block; nobody accepts unless the test does."""
    opened = bind(family, port, reuseport=reuseport)
    opened.setblocking(False)
    opened.listen(backlog)
    return opened


def inode_of(listener: socket.socket) -> int:
    return os.fstat(listener.fileno()).st_ino


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def address_of(family: str, port: int) -> Address:
    return find_place(family).reached_by[0], port


def drain(listener: socket.socket, most: int | None = None) -> int:
    """Accept until EAGAIN, or `most`; how many it were. Each is closed with RST."""
    taken = 0
    while most is None or taken < most:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            break
        taken += 1
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.close()
    return taken


class Clients:
    """So many sockets that connect to one address; closed with RST at the end of the block."""

    def __init__(
        self, address: Address, count: int, *, wait: bool = True, protocol: int = 0
    ) -> None:
        """`wait`: all connect, one after the other; else whatever comes of it."""
        self.sockets: list[socket.socket] = []
        self._errors: dict[socket.socket, int] = {}
        domain = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        for _ in range(count):
            opened = socket.socket(domain, socket.SOCK_STREAM, protocol)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.sockets.append(opened)
            if wait:
                opened.settimeout(10)
                try:
                    opened.connect(address)
                except ConnectionResetError as error:  # served and reset before this thread ran
                    self._errors[opened] = error.errno or errno.ECONNRESET
            opened.setblocking(False)
            if not wait:
                assert opened.connect_ex(address) == errno.EINPROGRESS

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """What still tries to connect stops to."""
        for opened in self.sockets:
            opened.close()

    def connected(self) -> int:
        """How many are connected now."""
        poll = select.poll()
        for opened in self.sockets:
            poll.register(opened, select.POLLOUT)
        return sum(1 for _, event in poll.poll(0) if event == select.POLLOUT)

    def failed(self, code: int) -> int:
        """How many ended with that errno so far: ECONNRESET, ECONNREFUSED, ..."""
        for opened in self.sockets:
            if found := opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # shown only once
                self._errors[opened] = found
        return sum(1 for found in self._errors.values() if found == code)

    def resets(self) -> int:
        """How many were reset so far."""
        return self.failed(errno.ECONNRESET)


def has_mptcp() -> bool:
    """Whether this kernel is built with MPTCP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError:
        return False
    return True
