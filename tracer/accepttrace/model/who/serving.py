"""Who serves beside who accepts: connections by process, as far as they belong to a listener.

A connection names the port that it came to, and not the listener: what is said here is said of a
port of one network namespace and version of IP.
"""

from __future__ import annotations

from collections.abc import Iterable

from accepttrace.facts.records import Holder, Inventory, Listener, LocalPort, Serving


def port_of(row: Listener) -> LocalPort | None:
    """Where its connections end; None: it is no listener of TCP."""
    return None if row.family == "unix" else LocalPort(row.netns, row.local_port, row.family)


def open_of(holder: Holder, row: Listener, inventory: Inventory) -> int | None:
    """Established connections to the port of `row` that a holder has open; None: not known.

    What io_uring accepted may have no descriptor.
    """
    where = port_of(row)
    if where is None or inventory.opened is None:
        return None
    number = inventory.opened.of(holder.pid, holder.start_ticks, where)
    return number if number or holder.waits_in != "io_uring" else None


def serving_at(rows: Iterable[Listener], inventory: Inventory) -> tuple[Serving, ...]:
    """Those that serve connections of the ports of these listeners and hold none of them."""
    ports = {port_of(row) for row in rows}
    return tuple(one for one in inventory.serving if one.where in ports)
