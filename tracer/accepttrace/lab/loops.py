"""What a worker does all its life, until its parent hangs up."""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Final

from accepttrace.lab.acceptors import Acceptor
from accepttrace.lab.board import Board
from accepttrace.lab.children import READY, hear
from accepttrace.lab.modes import Mode

PAUSE: Final = b"p"
RESUME: Final = b"r"


def poll_forever(acceptor: Acceptor, channel: socket.socket, board: Board, mode: Mode) -> None:
    """An epoll loop, level-triggered, until `channel` reads end of file.

    Each wake-up accepts once, or until EAGAIN (or the parent's order) with `mode.drain`.
    An order is obeyed before connections that are reported at the same time.
    """
    acceptor.sign()
    with select.epoll() as poll:
        poll.register(channel, select.EPOLLIN)
        poll.register(acceptor.listener, mode.events)
        channel.sendall(READY)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if channel.fileno() in ready:
                if not _obey(channel, poll, acceptor.listener, mode.events):
                    return
            elif not _held(channel, acceptor.habits.hold_s):
                while acceptor.take() and mode.drain and not board.wants_attention():
                    pass


def block_forever(acceptors: list[Acceptor], channel: socket.socket) -> None:
    """Threads that sleep in accept(), one an acceptor, until `channel` reads end of file.

    One acceptor is served by the main thread, as prefork servers do; the other thread then only
    watches the channel. The end of file ends the process at once, asleep in accept() or not.
    """
    if len(acceptors) == 1:
        threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
        acceptors[0].sign()
        channel.sendall(READY)
        _take_forever(acceptors[0])
    signed = threading.Barrier(len(acceptors) + 1)
    for acceptor in acceptors:
        threading.Thread(target=_take_forever, args=(acceptor, signed), daemon=True).start()
    signed.wait()
    channel.sendall(READY)
    _end_with(channel)


def _take_forever(acceptor: Acceptor, signed: threading.Barrier | None = None) -> None:
    if signed is not None:
        acceptor.sign()
        signed.wait()
    while True:
        acceptor.take()


def _end_with(channel: socket.socket) -> None:
    """Sleep until the parent hangs up or dies, then end the process."""
    hear(channel)
    os._exit(0)


def _held(channel: socket.socket, hold_s: float) -> bool:
    """Let the connection wait in the queue for `hold_s`; True if an order came meanwhile."""
    if not hold_s:
        return False
    return bool(select.select([channel], [], [], hold_s)[0])


def _obey(channel: socket.socket, poll: select.epoll, listener: socket.socket, events: int) -> bool:
    """Carry out one order and report it done; False at end of file."""
    order = hear(channel)
    if order == PAUSE:
        poll.unregister(listener)
    elif order == RESUME:
        poll.register(listener, events)
    else:
        return False
    channel.sendall(READY)
    return True
