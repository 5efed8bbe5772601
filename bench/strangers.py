"""What an unprivileged user may do beside the tracer, for as long as it lives. Bounded in count.

`python -m bench.strangers KIND PORT`, started without privileges; ends when its parent does.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
EPOLL_SETS = 2_000  # duplicates of a set of as many entries
MOST_DESCRIPTORS = 100_000
PAUSE_S = 0.02  # the machine is shared: none of them takes more than a part of a core


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _namespace_of_my_own() -> None:
    if _libc().unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")


def _listener(host: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setblocking(False)
    sock.bind((host, port))
    sock.listen(1)
    return sock


def _many_descriptors() -> int:
    """As many as an unprivileged user may have, less a few for other things."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(hard - 100, MOST_DESCRIPTORS)


def junk(port: int) -> None:
    """Listeners in a namespace of its own, on the traced port, opened and closed."""
    _namespace_of_my_own()
    while True:
        for _ in range(400):
            with _listener("0.0.0.0", port) as sock, suppress(BlockingIOError):
                sock.accept()
        time.sleep(PAUSE_S)


def addresses(port: int) -> None:
    """Listeners on the traced port beside the real one, on other addresses of the loopback net."""
    number = 0
    while True:
        for _ in range(50):
            number = (number + 1) % 60_000
            host = f"127.1.{number >> 8}.{number & 255 or 1}"
            with _listener(host, port) as sock, suppress(BlockingIOError):
                sock.accept()
        time.sleep(PAUSE_S)


def epolls(port: int) -> None:
    """Many descriptors of a large epoll set, in a process that holds a traced listener."""
    _many_descriptors()
    held = _listener("127.2.0.1", port)
    poll = select.epoll()
    for _ in range(EPOLL_SETS):
        poll.register(os.dup(held.fileno()), select.EPOLLIN)
    copies = [os.dup(poll.fileno()) for _ in range(EPOLL_SETS)]
    signal.pause()
    del copies


def descriptors(port: int) -> None:  # noqa: ARG001
    """A large table of descriptors that has nothing to do with any listener."""
    null = os.open(os.devnull, os.O_RDONLY)
    held = [os.dup(null) for _ in range(_many_descriptors())]
    signal.pause()
    del held


def processes(port: int) -> None:
    """Processes that hold a traced listener and end at once, one of them a zombie at any time."""
    held = _listener("127.3.0.1", port)
    while True:
        child = os.fork()
        if child == 0:
            held.getsockname()
            os._exit(0)
        time.sleep(PAUSE_S)
        os.waitpid(child, 0)


KINDS: dict[str, Callable[[int], None]] = {
    kind.__name__: kind for kind in (junk, addresses, epolls, descriptors, processes)
}


def main() -> None:
    """Until the parent ends."""
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    KINDS[sys.argv[1]](int(sys.argv[2]))


if __name__ == "__main__":
    main()
