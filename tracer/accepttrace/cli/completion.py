"""What a shell offers where a word is begun: ports that have a listener now, names of columns.

click has the scripts for the shells, and what stands in `Choice`s. Ports and columns are looked
for only when a shell asks.
"""

from __future__ import annotations

from collections.abc import Iterable

import click


def ports(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Of TCP listeners in this network namespace; of `80,4` the last is completed."""
    from accepttrace.sockets.diag.proctcp import listening

    try:
        found = sorted({entry.port for entry in listening("/proc/self/net")})
    except (OSError, ValueError):
        return []
    return _last_of(incomplete, map(str, found))


def columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Of the table that would be shown; of `pid,acc` the last is completed."""
    from accepttrace.cli.views import columns_of

    return _last_of(incomplete, columns_of(udp=bool(ctx.params.get("udp"))))


def _last_of(incomplete: str, offered: Iterable[str]) -> list[str]:
    """Those that begin like the last of a list, behind the rest of it."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{each}" for each in offered if each.startswith(last)]
