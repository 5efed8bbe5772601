"""TCP spoken packet by packet, by clients for whom no socket answers.

So a handshake can be left open, and its last packet sent when the test wants it. Peers live in
networks made for documentation, routed to loopback: what the kernel sends them is seen by a packet
socket there and by nobody else. One set of peers to a network namespace.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
SYN_ACK = SYN | ACK
FLAGS = FIN | SYN | RST | ACK
FIRST_SEQUENCE = 1000
TCP = struct.Struct("!HHIIBBHHH")  # ports, sequence, acknowledged, length, flags, window, sum, -
DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Link:
    """How one address family is spoken."""

    domain: int
    ethertype: int
    peer: str
    server: str
    setup: tuple[str, ...]


LINKS = {
    "ipv4": Link(
        socket.AF_INET, 0x0800, "192.0.2.1", "127.0.0.1", ("route replace 192.0.2.0/24 dev lo",)
    ),
    # IPv6 has no route of others over loopback. So the peers are our own addresses, and what the
    # kernel would answer for them (RST: no socket is there) finds no way.
    "ipv6": Link(
        socket.AF_INET6,
        0x86DD,
        "2001:db8::1",
        "::1",
        (
            "-6 route replace local 2001:db8::/64 dev lo",
            "-6 rule add pref 1 from 2001:db8::/64 blackhole",
            "-6 rule add pref 2 table local",
            "-6 rule del pref 0",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Segment:
    """What the server sent to the peer at `port`."""

    port: int
    sequence: int
    flags: int


@dataclass
class Peers:
    """Clients of the server at `port`, known by their own port.

    `family`: "ipv4", "ipv6", or "mapped" (IPv4 to a dual-stack listener).
    """

    port: int
    family: str = "ipv4"
    heard: list[Segment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._link = link = LINKS["ipv6" if self.family == "ipv6" else "ipv4"]
        for change in link.setup:
            subprocess.run(["ip", *change.split()], check=True)
        self._out = socket.socket(link.domain, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._in = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(link.ethertype))
        self._in.bind(("lo", link.ethertype))
        self._in.setblocking(False)

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: Any) -> None:
        self._out.close()
        self._in.close()

    def open(self, ports: Iterable[int]) -> None:
        """A SYN of each, and its answer."""
        wanted = set(ports)
        for port in wanted:
            self.send(port, SYN, FIRST_SEQUENCE)
        self.await_answers(SYN_ACK, lambda found: wanted <= found.keys(), "SYN-ACKs")

    def finish(self, ports: Iterable[int]) -> None:
        """The last ACK of each handshake; may be called again, as a client would send it again."""
        answers = self.answers(SYN_ACK)
        for port in ports:
            self.send(port, ACK, FIRST_SEQUENCE + 1, answers[port].sequence + 1)

    def send(self, port: int, flags: int, sequence: int, acknowledged: int = 0) -> None:
        """One segment without data."""
        segment = TCP.pack(
            port, self.port, sequence, acknowledged & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0
        )
        segment = segment[:16] + _checksum(self._pseudo(len(segment)) + segment) + segment[18:]
        self._out.sendto(self._header(len(segment)) + segment, (self._link.server, 0))
        self._listen()  # else its buffer may fill up

    def answers(self, flags: int) -> dict[int, Segment]:
        """The last segment with just these flags that each peer was sent so far."""
        self._listen()
        return {segment.port: segment for segment in self.heard if segment.flags == flags}

    def await_answers(
        self, flags: int, enough: Callable[[dict[int, Segment]], bool], what: str
    ) -> None:
        """Wait until `enough` of them are there."""
        deadline = time.monotonic() + DEADLINE_S
        while not enough(self.answers(flags)):
            assert time.monotonic() < deadline, f"no {what} within {DEADLINE_S} s"
            select.select([self._in], [], [], 0.05)

    def _listen(self) -> None:
        while True:
            try:
                self._hear(self._in.recv(65536))
            except BlockingIOError:
                return

    def _hear(self, packet: bytes) -> None:
        six = self._link.domain == socket.AF_INET6
        start = 40 if six else (packet[0] & 0xF) * 4
        target = packet[24:40] if six else packet[16:20]
        protocol = packet[6 if six else 9]
        peer = socket.inet_pton(self._link.domain, self._link.peer)
        if protocol != socket.IPPROTO_TCP or target != peer:
            return
        sport, port, sequence, _, _, flags, *_rest = TCP.unpack_from(packet, start)
        if sport == self.port:
            self.heard.append(Segment(port, sequence, flags & FLAGS))

    def _addresses(self) -> bytes:
        link = self._link
        return b"".join(socket.inet_pton(link.domain, name) for name in (link.peer, link.server))

    def _pseudo(self, length: int) -> bytes:
        return self._addresses() + struct.pack("!II", length, socket.IPPROTO_TCP)

    def _header(self, length: int) -> bytes:
        if self._link.domain == socket.AF_INET6:
            start = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_TCP, 64)
        else:  # the kernel fills in length and checksum
            start = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0)
        return start + self._addresses()


def _checksum(data: bytes) -> bytes:
    total = sum(value for (value,) in struct.iter_unpack("!H", data))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
