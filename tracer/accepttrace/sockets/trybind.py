"""Tries bind() for real, as another user and in another network namespace where that may be.

A child of ours does it, which may change both. It does not listen: so it takes no connection, and
has the port for some microseconds.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from accepttrace.facts.binding import Attempt, Wish
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.helper import Helper

IP_FREEBIND: Final = 15
IPV6_FREEBIND: Final = 78
LIMIT_S: Final = 3.0  # for all of them


class Trial(NamedTuple):
    """A wish, and the path of the network namespace (None: our own)."""

    wish: Wish
    netns_path: str | None


def try_all(wishes: Sequence[Wish], netns_path: str | None) -> list[Attempt]:
    """What came of each, in their order."""
    helper = Helper()
    codes: dict[Trial, int | None] = {}
    try:
        trials = [Trial(wish, netns_path) for wish in wishes]
        all_of_them = [each for trial in trials for each in (trial, *_undoing(trial))]
        for trial, code in helper.map(code_of, all_of_them, time.monotonic() + LIMIT_S):
            codes.setdefault(trial, code)
    finally:
        helper.close()
    return [Attempt(trial.wish, codes.get(trial)) for trial in trials]


def _undoing(trial: Trial) -> tuple[Trial, ...]:
    """What is to follow it.

    After a bind() that worked with SO_REUSEPORT, and only as nothing overlapped or by SO_REUSEADDR,
    the kernel lets in the next one of the same user and address unasked, whatever is in the way by
    then; it stops to once one without it is bound.
    """
    wish = trial.wish
    return (trial._replace(wish=replace(wish, reuseport=False)),) if wish.reuseport else ()


def code_of(trial: Trial) -> int | None:
    """In the child: 0, or the errno with which it was refused. None: it may not be tried."""
    before = os.geteuid()
    try:
        if trial.wish.uid != before:
            os.seteuid(trial.wish.uid)
        return _inside(trial)
    except OSError:
        return None
    finally:
        with suppress(OSError):
            os.seteuid(before)


def _inside(trial: Trial) -> int:
    def bind() -> int:
        return _bind(trial.wish)

    return call_inside(trial.netns_path, bind) if trial.netns_path else bind()


def _bind(wish: Wish) -> int:
    family = socket.AF_INET6 if wish.family == "ipv6" else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            _set_options(sock, wish)
            sock.bind((wish.address, wish.port))
    except OSError as error:
        return error.errno or 0
    return 0


def _set_options(sock: socket.socket, wish: Wish) -> None:
    level = socket.SOL_SOCKET
    sock.setsockopt(level, socket.SO_REUSEADDR, wish.reuseaddr)
    sock.setsockopt(level, socket.SO_REUSEPORT, wish.reuseport)
    if wish.family == "ipv6":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, wish.v6only)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, wish.freebind)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, wish.freebind)
    if wish.device is not None:
        sock.setsockopt(level, socket.SO_BINDTODEVICE, wish.device.encode())
