"""The proof that every UDP hook fires exactly as often as it must: datagrams of our own."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass

from accepttrace.errors import UnsupportedError
from accepttrace.model.datagrams import ReceiverCounts

SENT = 12  # of SIZE bytes: more than the smallest receive buffer takes
SIZE = 1000
_TIMEOUT_S = 2.0
_SO_MEMINFO = 55  # the same on x86 and arm64
_MEMINFO = struct.Struct("=9I")
_DROPS = 8  # index of SK_MEMINFO_DROPS


@dataclass(slots=True)
class Traffic:
    """A private receiver on loopback, in a reuseport group of one, and what it got."""

    receiver: socket.socket
    port: int
    inode: int
    received: int = 0
    dropped: int = 0

    @classmethod
    def prepare(cls) -> Traffic:
        """Bind to a free port of 127.0.0.1, with the smallest buffer that the kernel allows."""
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        try:
            receiver.bind(("127.0.0.1", 0))
        except OSError as error:
            receiver.close()
            raise _no_loopback(error) from None
        inode = os.fstat(receiver.fileno()).st_ino
        return cls(receiver, receiver.getsockname()[1], inode)

    def make(self) -> None:
        """`SENT` datagrams to the receiver, which takes some of them and drops the others."""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                for _ in range(SENT):
                    client.sendto(bytes(SIZE), ("127.0.0.1", self.port))
        except OSError as error:
            raise _no_loopback(error) from None
        deadline = time.monotonic() + _TIMEOUT_S
        self.receiver.settimeout(_TIMEOUT_S / 100)
        while self.received + self.dropped < SENT:
            if time.monotonic() > deadline:
                raise _no_loopback(TimeoutError("datagrams did not arrive"))
            if self.dropped:  # not before: the queue must overflow
                with suppress(TimeoutError):
                    self.receiver.recv(SIZE)
                    self.received += 1
            # The kernel's own count, at a socket that drops for no other reason.
            found = self.receiver.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            self.dropped = _MEMINFO.unpack(found)[_DROPS]


def _no_loopback(error: OSError) -> UnsupportedError:
    return UnsupportedError(
        f"cannot prove the hooks over loopback: {error}",
        "bring it up with `ip link set lo up`, and allow UDP on 127.0.0.1",
    )


def verdicts(counts: ReceiverCounts, traffic: Traffic, sees: frozenset[str]) -> dict[str, str]:
    """By fact, what is wrong with it; empty when every hook told the truth."""
    mine = next((item for item in counts.receivers if item.inode == traffic.inode), None)
    expected = {
        "selected": (SENT, "selections"),
        "datagrams": (traffic.received, "datagrams"),
        "dropped": (traffic.dropped, "dropped datagrams"),
    }
    wrong = {}
    for fact, (number, noun) in expected.items():
        found = getattr(mine, fact) if mine else 0
        if fact in sees and found != number:
            wrong[fact] = f"{found} of {number} {noun} were counted"
    return wrong
