"""Sockets with every option that binding and lookup heed, and a wire to a second namespace."""

from __future__ import annotations

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from accepttrace.lab.acceptors import RESET_ON_CLOSE

from .clients import drain, inode_of
from .conftest import wait_until
from .network import own_network, visited

IP_FREEBIND, IPV6_FREEBIND = 15, 78
SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
SERVER_6, CLIENT_6 = "fd77::1", "fd77::2"


def bound(
    address: str,
    port: int = 0,
    *,
    reuseport: bool = False,
    reuseaddr: bool = False,
    v6only: bool = False,
    freebind: bool = False,
    device: str = "",
) -> socket.socket:
    """A TCP socket that does not listen yet."""
    six = ":" in address
    opened = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuseport)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuseaddr)
        if six:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
            opened.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, freebind)
        else:
            opened.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, freebind)
        if device:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        opened.bind((address, port))
    except OSError:
        opened.close()
        raise
    return opened


@dataclass
class Port:
    """Listeners on one port, in the order in which they began to listen."""

    number: int
    stack: ExitStack

    def listen(self, address: str, **options: object) -> socket.socket:
        """One more."""
        opened = self.stack.enter_context(bound(address, self.number, **options))  # type: ignore[arg-type]
        opened.setblocking(False)
        opened.listen(64)
        return opened

    def takers(
        self, address: str, listeners: Sequence[socket.socket], count: int = 6
    ) -> Counter[int]:
        """Who gets so many connections, by inode; nobody: all were refused."""
        clients = [client for _ in range(count) if (client := self._connect(address))]
        found: Counter[int] = Counter()

        def all_there() -> bool:
            found.update({inode_of(each): drain(each) for each in listeners})
            return found.total() == len(clients)

        try:
            wait_until(all_there, "connections at their listeners")
        finally:
            for client in clients:
                client.close()
        assert len(clients) in (0, count)
        return +found

    def _connect(self, address: str) -> socket.socket | None:
        opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        opened.settimeout(5)
        # With the number of the device behind a `%`.
        place = socket.getaddrinfo(address, self.number, flags=socket.AI_NUMERICHOST)[0][4]
        try:
            opened.connect(place)
        except ConnectionRefusedError:
            opened.close()
            return None
        return opened


@contextmanager
def free_port() -> Iterator[Port]:
    """In a network of its own every port is; who tests beside us uses another one in his."""
    number = 20_000 + os.getpid() % 10_000
    with ExitStack() as stack:
        yield Port(number, stack)


@contextmanager
def wired() -> Iterator[int]:
    """In a namespace with SERVER on the device `va`; yields one with CLIENT on `vb`, as a file."""
    with own_network():
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        with own_network():
            there = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            ip(f"link add vb type veth peer name va netns /proc/{os.getpid()}/fd/{here}")
            _address("vb", CLIENT, CLIENT_6)
        os.close(here)
        _address("va", SERVER, SERVER_6)
        try:
            yield there
        finally:
            os.close(there)


@contextmanager
def across(there: int) -> Iterator[None]:
    """At the client's side of the wire."""
    with visited(os.dup(there)):
        yield


def ip(arguments: str) -> None:
    """One command of iproute2, in the namespace of the caller."""
    subprocess.run(["ip", *arguments.split()], check=True)


def _address(device: str, address: str, address_6: str) -> None:
    ip(f"address add {address}/24 dev {device}")
    ip(f"address add {address_6}/64 dev {device} nodad")
    ip(f"link set {device} up")
