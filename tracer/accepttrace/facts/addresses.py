"""IP addresses and their families, as the kernel gives them and as `ss` spells them."""

from __future__ import annotations

import errno
import socket
from typing import Final

from accepttrace.facts.records import Family

FAMILIES: Final[dict[int, Family]] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}


def family_of(number: int) -> Family:
    """An address family by name. OSError if it is none of IP."""
    if number not in FAMILIES:
        raise OSError(errno.EBADMSG, f"address family {number}, which is none of IP")
    return FAMILIES[number]


def spelled(family: int, raw: bytes) -> str:
    """An address as `ss` spells it: the one spelling. `raw` has room for one of IPv6."""
    return socket.inet_ntop(family, raw[:4] if family == socket.AF_INET else raw)
