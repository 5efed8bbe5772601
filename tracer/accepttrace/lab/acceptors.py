"""What a worker does with its listening socket: take connections and count them.

Python's accept() makes exactly one accept4 system call on a socket without a timeout, so these
counts are those of the kernel, call for call.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Final

from accepttrace.lab.board import Tally

# struct linger {1, 0}: close with RST, which leaves no TIME_WAIT behind
RESET_ON_CLOSE: Final = (1).to_bytes(4, sys.byteorder) + bytes(4)
_ANSWER: Final = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


@dataclass(frozen=True, slots=True)
class Habits:
    """How connections are treated: seconds between wake-up and accept, answer, kind of close."""

    hold_s: float = 0.0
    reply: bool = False
    linger0: bool = True


class Acceptor:
    """One listening socket, as one worker uses it. Nothing here waits for a client."""

    def __init__(self, listener: socket.socket, tally: Tally, habits: Habits) -> None:
        self.listener = listener
        self._tally = tally
        self.habits = habits

    def sign(self) -> None:
        """Enter this process, thread and socket on the board."""
        inode = os.fstat(self.listener.fileno()).st_ino
        self._tally.sign(os.getpid(), threading.get_native_id(), inode)

    def take(self) -> bool:
        """Accept once, then close; True if there was a connection."""
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            self._tally.found_empty()
            return False
        except OSError:
            self._tally.failed()
            return False
        # counted before it is closed: a client that saw the end finds itself in the count
        self._tally.accepted()
        with connection:
            self._say_goodbye(connection)
        return True

    def _say_goodbye(self, connection: socket.socket) -> None:
        try:
            if self.habits.reply:
                connection.send(_ANSWER, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            if self.habits.linger0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        except OSError:  # the client was faster; it is counted all the same
            pass
