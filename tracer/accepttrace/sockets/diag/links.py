"""Which network devices are of a kind, as `ip -details link` shows it."""

from __future__ import annotations

import os
import struct
from typing import Final

from accepttrace.sockets.diag import netlink

RTM_GETLINK: Final = 18
IFLA_IFNAME: Final = 3
IFLA_LINKINFO: Final = 18
IFLA_INFO_KIND: Final = 1
IFLA_INFO_SLAVE_KIND: Final = 4
IFINFOMSG: Final = struct.Struct("=16x")  # any device


def of_kind(kind: str) -> frozenset[str]:
    """Those of a kind (`vrf`) and those that are in one, in the namespace of the calling thread.

    Empty where the kernel does not say.
    """

    def named(body: bytes) -> str:
        info = netlink.attribute(body, IFLA_LINKINFO, IFINFOMSG.size)
        kinds = (netlink.attribute(info, one, 0) for one in (IFLA_INFO_KIND, IFLA_INFO_SLAVE_KIND))
        name = netlink.attribute(body, IFLA_IFNAME, IFINFOMSG.size)
        found = kind in (os.fsdecode(one.rstrip(b"\0")) for one in kinds)
        return os.fsdecode(name.rstrip(b"\0")) if found else ""

    try:
        found = netlink.dump_routing(RTM_GETLINK, IFINFOMSG.pack(), named)
    except OSError:
        return frozenset()
    return frozenset(found) - {""}
