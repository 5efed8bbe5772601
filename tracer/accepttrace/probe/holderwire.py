"""The Python mirror of bpf/holders/holders.h. tests/contract compares it with the object's BTF."""

from __future__ import annotations

import ctypes as c
from typing import Final

from accepttrace.probe.wire import U64

__all__ = ["U64"]

ASKED_PORT_WORDS = 1024
MAX_EPOLLS = 65536
MAX_WALKED = 65536
MAX_OPENED = 65536
MAX_COUNTED = 65536
MAX_RECEIVED = 1024

RECEIVED_MESSAGE = 1
RECEIVED_GETFD = 2
RECEIVED_OTHER = 3

PIECE_PROCESS = 1
PIECE_EPOLLS = 2
PIECE_SOCKET = 3

EPOLL_ASLEEP = 1 << 30

WAITS_CALL = 1
WAITS_POLL = 2
WAITS_SELECT = 3
WAITS_EPOLL = 4
WAITS_URING = 5
WAITS_OTHER = 6
WAITS_MORE = 7
WAITS_KIND = 0xFF
WAITS_EXCLUSIVE = 0x100
WAITS_NEW = 0x200
WAITS_NO_INPUT = 0x400

MARK: Final = b"\xff" * 16  # where a piece begins


class Asked(c.Structure):
    """struct asked: which sockets."""

    _fields_ = (
        ("ports", c.c_uint64 * ASKED_PORT_WORDS),
        ("open_ports", c.c_uint64 * ASKED_PORT_WORDS),
        ("any_port", c.c_uint32),
        ("protocol", c.c_uint16),
        ("family", c.c_uint16),
    )


class Progress(c.Structure):
    """struct progress: where a pass is."""

    _fields_ = (
        ("pass_number", c.c_uint32),
        ("epolls", c.c_uint32),
        ("walked", c.c_uint32),
        ("kind", c.c_uint32),
        ("id", c.c_uint32),
        ("tid", c.c_uint32),
        ("tgid", c.c_uint32),
        ("counts", c.c_uint32),
        ("counted", c.c_uint32),
        ("uncounted", c.c_uint32),
        ("pidns", c.c_uint32),
    )


class OpenKey(c.Structure):
    """struct open_key: a process and a port whose connections it holds."""

    _fields_ = (
        ("tgid", c.c_uint32),
        ("netns", c.c_uint32),
        ("port", c.c_uint16),
        ("family", c.c_uint16),
    )


class OpenCount(c.Structure):
    """struct open_count: so many."""

    _fields_ = (
        ("connections", c.c_uint32),
        ("pass_number", c.c_uint32),
    )


class CountedKey(c.Structure):
    """struct counted_key: a connection in a process."""

    _fields_ = (
        ("inode", c.c_uint32),
        ("tgid", c.c_uint32),
    )


class ReceivedKey(c.Structure):
    """struct received_key: a socket in a process."""

    _fields_ = (
        ("inode", c.c_uint32),
        ("tgid", c.c_uint32),
    )


class Received(c.Structure):
    """struct received: that it was handed over, and how."""

    _fields_ = (
        ("start_ns", c.c_uint64),
        ("by", c.c_uint32),
        ("pad", c.c_uint32),
    )
