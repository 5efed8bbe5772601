"""UDP servers in processes of their own, which count what they receive: the independent witness."""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
from collections.abc import Sequence
from typing import Any

from accepttrace.lab import children

LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
UDP_SEGMENT = 103
UDP_GRO = 104
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_COUNTS = struct.Struct("=QQ")  # of one socket: datagrams, and packets that held them
_LARGEST = 65536
_WAKE = b"w"


def member(family: int, port: int = 0, **options: int) -> socket.socket:
    """A socket on loopback in the reuseport group of that port; `buffer` is SO_RCVBUF in bytes."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if "buffer" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["buffer"])
    if options.get("gro"):
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    sock.bind((LOOPBACK[family], port))
    return sock


def inode_of(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


class UdpServer:
    """Sockets handed to processes, each of which reads its own with epoll.

    `asleep`: nobody reads before `wake`. The parent keeps copies in `sockets` only while the server
    is made: afterwards each socket has one holder.
    """

    def __init__(self, workers: Sequence[Sequence[socket.socket]], asleep: bool = False) -> None:
        self.inodes = [[inode_of(sock) for sock in own] for own in workers]
        flat = [sock for own in workers for sock in own]
        self._counts = mmap.mmap(-1, _COUNTS.size * len(flat))
        self._places = {inode_of(sock): place for place, sock in enumerate(flat)}
        self._children = [self._fork(own, flat, asleep) for own in workers]
        for child in self._children:
            child.await_ready()
        for sock in flat:
            sock.close()

    def __enter__(self) -> UdpServer:
        return self

    def __exit__(self, *_: object) -> None:
        children.end_all(self._children)

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    @property
    def owners(self) -> dict[int, int]:
        """inode → the process that has the socket."""
        return {i: pid for pid, own in zip(self.pids, self.inodes, strict=True) for i in own}

    def wake(self) -> None:
        for child in self._children:
            child.ask(_WAKE)

    def stop(self, worker: int) -> None:
        """End one process, and so its sockets."""
        child = self._children[worker]
        child.hang_up()
        child.reap()

    def received(self) -> dict[int, int]:
        """inode → datagrams that its process has read."""
        return {inode: self._read_counts(inode)[0] for inode in self._places}

    def packets(self) -> dict[int, int]:
        """inode → packets that its process has read."""
        return {inode: self._read_counts(inode)[1] for inode in self._places}

    def _read_counts(self, inode: int) -> tuple[int, int]:
        datagrams, packets = _COUNTS.unpack_from(self._counts, self._places[inode] * _COUNTS.size)
        return datagrams, packets

    def _fork(
        self, own: Sequence[socket.socket], everybody: Sequence[socket.socket], asleep: bool
    ) -> children.Child:
        def run(channel: socket.socket) -> None:
            for sock in everybody:
                if sock not in own:
                    sock.close()
            channel.sendall(children.READY)
            if asleep:
                if not children.hear(channel):
                    return
                channel.sendall(children.READY)
            self._serve(channel, own)

        return children.fork(run)

    def _serve(self, channel: socket.socket, own: Sequence[socket.socket]) -> None:
        with select.epoll() as poll:
            poll.register(channel, select.EPOLLIN)
            for sock in own:
                sock.setblocking(False)
                poll.register(sock, select.EPOLLIN)
            by_fd = {sock.fileno(): sock for sock in own}
            while True:
                for fd, _ in poll.poll():
                    if fd not in by_fd:
                        return
                    self._read(by_fd[fd])

    def _read(self, sock: socket.socket) -> None:
        inode = inode_of(sock)
        datagrams, packets = self._read_counts(inode)
        try:
            data, control, _, _ = sock.recvmsg(_LARGEST, socket.CMSG_SPACE(4))
        except BlockingIOError:
            return
        now = datagrams + _datagrams(data, control), packets + 1
        _COUNTS.pack_into(self._counts, self._places[inode] * _COUNTS.size, *now)


def _datagrams(data: bytes, control: Any) -> int:
    """One, or as many as GRO put together: it has their size."""
    for level, kind, value in control:
        if (level, kind) == (socket.IPPROTO_UDP, UDP_GRO):
            return -(-len(data) // int(struct.unpack("=i", value[:4])[0]))
    return 1
