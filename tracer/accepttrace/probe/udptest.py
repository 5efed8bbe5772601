"""The proof that every UDP hook fires exactly as often as it must: datagrams of our own."""

from __future__ import annotations

import os
import socket
import struct
import time
from dataclasses import dataclass

from accepttrace.facts.datagrams import ReceiverCounts
from accepttrace.facts.sight import Fact, Sight
from accepttrace.probe.selftest import Fault, not_arrived, not_in_time

SENT = 12  # of SIZE bytes: more than the smallest receive buffer takes
SIZE = 1000
_HOST = "127.0.0.1"
_PAUSE_S = 0.001  # for what other CPUs are about to deliver
_SO_MEMINFO = 55  # the same on x86 and arm64
_MEMINFO = struct.Struct("=9I")
_DROPS = 8  # index of SK_MEMINFO_DROPS


@dataclass(slots=True)
class Traffic:
    """A private receiver on loopback, in a reuseport group of one, and what it got.

    Anybody on the machine may send to it. So what the hooks count is compared with what came to
    the socket in all: `received` and, the kernel's own count, `dropped`; `strange` of those
    received were not ours.
    """

    receiver: socket.socket
    client: socket.socket
    port: int
    inode: int
    limit_s: float
    received: int = 0
    strange: int = 0
    dropped: int = 0

    @classmethod
    def prepare(cls, limit_s: float) -> Traffic:
        """Bind to a free port of 127.0.0.1, with the smallest buffer that the kernel allows."""
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        try:
            receiver.bind((_HOST, 0))
            client.bind((_HOST, 0))
        except OSError as error:
            receiver.close()
            client.close()
            raise not_arrived(error, "UDP") from None
        receiver.setblocking(False)
        inode = os.fstat(receiver.fileno()).st_ino
        return cls(receiver, client, receiver.getsockname()[1], inode, limit_s)

    def make(self) -> None:
        """`SENT` datagrams to the receiver, which takes some of them and drops the others."""
        deadline = time.monotonic() + self.limit_s
        self.client.settimeout(self.limit_s)
        try:
            for _ in range(SENT):
                self.client.sendto(bytes(SIZE), (_HOST, self.port))
            while self.received + self._drops() < SENT:
                if time.monotonic() > deadline:
                    raise TimeoutError
                if not self.dropped or not self._receive():  # the queue must overflow first
                    time.sleep(_PAUSE_S)
            self._shut()
        except TimeoutError:
            raise not_in_time("datagram", "UDP", self.limit_s) from None
        except OSError as error:
            raise not_arrived(error, "UDP") from None

    def end(self) -> None:
        """Close both sockets."""
        self.receiver.close()
        self.client.close()

    def _shut(self) -> None:
        """Nothing more reaches the receiver; take all that did."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind((_HOST, 0))
            self.receiver.connect(nobody.getsockname())
        before = -1
        while before != (before := self.received + self._drops()):
            time.sleep(_PAUSE_S)
            while self._receive():
                pass

    def _receive(self) -> bool:
        try:
            _, sender = self.receiver.recvfrom(SIZE)
        except BlockingIOError:
            return False
        self.received += 1
        self.strange += sender != self.client.getsockname()
        return True

    def _drops(self) -> int:
        """The kernel's own count, at a socket that drops for no other reason."""
        found = self.receiver.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        self.dropped = int(_MEMINFO.unpack(found)[_DROPS])
        return self.dropped


def verdicts(counts: ReceiverCounts, traffic: Traffic, sees: Sight) -> dict[Fact, Fault]:
    """By fact, what is wrong with it; empty when every hook counted right."""
    mine = next((item for item in counts.receivers if item.inode == traffic.inode), None)
    came = traffic.received + traffic.dropped
    expected: dict[Fact, tuple[int, str]] = {
        "selected": (came, "selections"),
        "datagrams": (traffic.received, "datagrams"),
        "dropped": (traffic.dropped, "dropped datagrams"),
    }
    wrong: dict[Fact, Fault] = {}
    if "read" in sees.facts:
        taken = sum(one.packets for one in counts.readers if one.inode == traffic.inode)
        if taken != traffic.received:
            wrong["read"] = Fault.of(taken, traffic.received, "packets read")
    for fact, (number, noun) in expected.items():
        found = getattr(mine, fact) if mine else 0
        # The kernel may choose once for many datagrams, which ours are not (UDP_SEGMENT).
        fewer = fact == "selected" and came > SENT and SENT <= found <= number
        if fact in sees.facts and found != number and not fewer:
            wrong[fact] = Fault.of(found, number, noun)
    return wrong
