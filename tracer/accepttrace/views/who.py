"""The answer of `accepttrace who`: listeners, their holders, and what the sharing means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from accepttrace.facts.records import Holder, Inventory, Listener, Unread
from accepttrace.model.labels import few
from accepttrace.views.formats import endpoint, selector
from accepttrace.views.frame import elsewhere
from accepttrace.views.jsonl import dump
from accepttrace.views.text import cells, clean, pad
from accepttrace.views.unread import objects, sentence

IDLE_SHOWN: Final = 4  # holders of one listener that do not wait, shown a line each
PORTS_NOTED: Final = 8  # ports that get a note of their own
UNSEEN: Final = ("queue_max", "arrived", "accepted", "selected", "dropped_overflow",
                 "lost_on_close", "migrated_in", "migrated_out")  # fmt: skip


def text_lines(inventory: Inventory, asked: str) -> Iterator[str]:
    """Lines for people. `asked` is `Filters.describe()`."""
    listeners = inventory.listeners
    if not listeners:
        place = f" on {clean(asked)}" if asked else ""
        yield f"nobody listens{place}{elsewhere(inventory.unix)}"
        return
    several = len({row.netns for row in listeners}) > 1
    rank: dict[object, int] = {}
    for row in listeners:
        rank[_group(row)] = rank.get(_group(row), 0) + 1
        yield _listener_line(row, rank[_group(row)], several, inventory.partial)
        yield from holder_lines(row.holders)
    yield from _notes(listeners)


def json_lines(inventory: Inventory) -> Iterator[str]:
    """One JSON object a listener, named as `listeners[]`; null: only BPF could show it."""
    for row in inventory.listeners:
        yield dump(
            {
                "type": "listener",
                "inode": row.inode,
                "netns": row.netns,
                "family": row.family,
                "local_address": row.local_address,
                "local_port": row.local_port,
                "device": row.device,
                "v6only": row.v6only,
                "backlog": row.backlog,
                "queue": row.queue,
                **dict.fromkeys(UNSEEN),
                "sharing": row.sharing,
                "group": row.group,
                "group_size": row.group_size,
                "selector": row.selector,
                "holders": [holder_object(holder) for holder in row.holders],
                "partial": inventory.partial,
                "unread": objects(inventory.unread),
            }
        )


def partial_line(unread: Sequence[Unread], root: bool) -> str:
    """What could not be read, and what to do."""
    return sentence(unread) + ("" if root else "; run as root to see all holders")


def address_text(row: Listener) -> str:
    """`0.0.0.0:80`, `[::]%eth0:80`."""
    return endpoint(row.local_address, row.local_port, row.family, row.inode, row.device)


def _group(row: Listener) -> tuple[object, ...]:
    """What the sharing units on one port are: a reuseport group, or a lone socket."""
    own = row.group if row.sharing == "reuseport" else row.inode
    return (row.local_port, row.netns, row.family, row.local_address, row.device, row.uid, own)


def _listener_line(row: Listener, rank: int, several: bool, partial: bool) -> str:
    parts = [address_text(row), f"inode {row.inode}"]
    if several:
        parts.append(f"netns {row.netns}")
    if row.local_address == "::" and row.v6only is False:
        parts.append("IPv4 too")
    parts += [_queue(row), _sharing(row, rank, partial)]
    return "  ".join(parts)


def _queue(row: Listener) -> str:
    length = "queue n/a" if row.queue is None else f"queue {row.queue}"
    return f"{length}, backlog {'n/a' if row.backlog is None else row.backlog}"


def _sharing(row: Listener, rank: int, partial: bool) -> str:
    count = len(row.holders)
    if not count:
        held = "held by nobody visible"
    elif count == 1:
        held = "one process, as far as can be seen" if partial else "one process"
    else:
        held = f"held by {count} processes"
    if row.sharing == "reuseport":
        size = "" if row.group_size is None else f" of {row.group_size}"
        by = f" by {selector(row.selector, row.program)}" if row.selector else ""
        return f"reuseport {rank}{size}{by}, {held}"
    if row.sharing == "shared":
        return f"shared by {count} processes (likely inherited)"
    return "sole" if row.sharing == "sole" else held


def holder_lines(holders: tuple[Holder, ...]) -> Iterator[str]:
    """One line each, but for many that do not wait."""
    idle = [holder for holder in holders if holder.waits is False]
    folded = set(idle) if len(idle) > IDLE_SHOWN else set()
    shown = [holder for holder in holders if holder not in folded]
    pid_width = max((len(str(holder.pid)) for holder in shown), default=0)
    names = [clean(holder.name) for holder in shown]
    width = max(map(cells, names), default=0)
    for holder, name in zip(shown, names, strict=True):
        line = f"  {holder.pid:>{pid_width}}  {pad(name, width, 'left')}  fd {holder.fd:<4} "
        yield line + _waits(holder) + _place(holder)
    if folded:
        idlers = sorted({clean(holder.name) for holder in folded})
        yield f"  {len(folded)} more hold it and do not wait: {few(idlers)}"


def _waits(holder: Holder) -> str:
    if holder.waits is None:
        return "waits: not known"
    return f"waits: {holder.waits_in or 'yes'}" if holder.waits else "waits: no"


def _place(holder: Holder) -> str:
    return f"  container {clean(holder.container)}" if holder.container else ""


def holder_object(holder: Holder) -> dict[str, object]:
    """As in `holders[]`, with where the process belongs."""
    return {
        "pid": holder.pid,
        "comm": holder.comm,
        "name": holder.name,
        "fd": holder.fd,
        "waits": holder.waits,
        "waits_in": holder.waits_in,
        "cgroup": holder.cgroup,
        "container": holder.container,
        "ns_pid": holder.ns_pid,
    }


def _notes(listeners: tuple[Listener, ...]) -> Iterator[str]:
    """What the picture means, one line each."""
    if any(row.sharing == "shared" for row in listeners):
        yield (
            "note: a socket shared by several processes has one queue; whether it set "
            "SO_REUSEPORT cannot be seen without BPF"
        )
    at_port: defaultdict[int, dict[object, Listener]] = defaultdict(dict)
    for row in listeners:
        at_port[row.local_port][_group(row)] = row
    crowded = [(port, groups) for port, groups in at_port.items() if len(groups) > 1]
    for port, groups in crowded[:PORTS_NOTED]:
        yield (
            f"note: :{port} has {len(groups)} groups ({_differ(list(groups.values()))}); the kernel"
            " balances within a group, never between them"
        )


def _differ(rows: list[Listener]) -> str:
    """In what the groups on one port differ."""
    counts = {
        "netns": len({row.netns for row in rows}),
        "family": len({row.family for row in rows}),
        "address": len({(row.family, row.local_address) for row in rows}),
        "device": len({row.device for row in rows}),
        "uid": len({row.uid for row in rows}),
    }
    words = [word for word, count in counts.items() if count > 1]
    return "by " + ", ".join(words or ["socket"])
