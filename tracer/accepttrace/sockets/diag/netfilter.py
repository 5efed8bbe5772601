"""Which tables of netfilter a packet passes before any socket is looked for."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from accepttrace.sockets.diag import netlink

NFT_MSG_GETCHAIN: Final = 0xA04  # NFNL_SUBSYS_NFTABLES << 8 | 4
NFTA_CHAIN_TABLE: Final = 1
NFTA_CHAIN_HOOK: Final = 4  # only of a chain that packets enter
NFTA_CHAIN_POLICY: Final = 5
NFTA_CHAIN_USE: Final = 6  # rules in it, and jumps to it
NF_DROP: Final = bytes(4)
NFGENMSG: Final = struct.Struct("=B3x")  # the family, and nothing that is needed
FAMILIES: Final = {1: "inet", 2: "ip", 5: "netdev", 10: "ip6"}
LEGACY: Final = {"ip_tables_names": "iptables-legacy", "ip6_tables_names": "ip6tables-legacy"}
MOST: Final = 64  # tables


def tables() -> tuple[str, ...] | None:
    """`ip nat`, `inet filter`: in the network namespace of the calling thread, those with rules.

    None: it may not be asked. Of the older iptables, all tables that are loaded.
    """
    try:
        found = [*_nftables(), *_legacy()]
    except PermissionError:
        return None
    return tuple(dict.fromkeys(filter(None, found)))[:MOST]


def _nftables() -> tuple[str, ...]:
    try:
        return netlink.dump_netfilter(
            NFT_MSG_GETCHAIN, NFGENMSG.pack(socket.AF_UNSPEC), _table_with_rules
        )
    except PermissionError:
        raise
    except OSError:  # this kernel has none
        return ()


def _table_with_rules(body: bytes) -> str:
    """That of a chain; empty where packets pass the chain and nothing is done to them."""
    (family,) = NFGENMSG.unpack_from(body)
    table, hook, policy, rules = (
        netlink.attribute(body, kind, NFGENMSG.size)
        for kind in (NFTA_CHAIN_TABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_USE)
    )
    if family not in FAMILIES or not hook or not (any(rules) or policy == NF_DROP):
        return ""
    return f"{FAMILIES[family]} {os.fsdecode(table.rstrip(bytes(1)))}"


def _legacy() -> Iterator[str]:
    for file, name in LEGACY.items():
        path = Path("/proc/thread-self/net") / file
        if path.exists():
            yield from (f"{name} {table}" for table in path.read_text().split())
