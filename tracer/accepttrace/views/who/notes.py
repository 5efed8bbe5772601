"""What the whole picture means, and what could not be seen: a sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from accepttrace.facts.records import Listener
from accepttrace.model.who.tree import Answer, GroupKey, group_key
from accepttrace.views.text import flowed
from accepttrace.views.who.holders import Style

PORTS_NOTED: Final = 8  # ports that get a note of their own
BY_BPF: Final = (
    "groups and their selectors, a lone SO_REUSEPORT, TCP_DEFER_ACCEPT, Fast Open, MPTCP,"
    " SO_INCOMING_CPU, the oldest waiting"
)


def notes(answer: Answer, style: Style) -> Iterator[str]:
    """Below the tree."""
    for text in (*_crowds(answer.inventory.listeners), *_serving(answer), *_blind(answer)):
        yield from flowed(f"note: {text}".split(" "), style.width, "  ", " ")


def _blind(answer: Answer) -> Iterator[str]:
    if answer.blind:
        yield f"n/a without BPF ({answer.blind}): {BY_BPF}"


def _serving(answer: Answer) -> Iterator[str]:
    if answer.inventory.serving:
        yield (
            "who serves holds no listener there: it inherited its connections, got them over a"
            " UNIX socket, or has closed the listener"
        )


def _crowds(listeners: Sequence[Listener]) -> Iterator[str]:
    at_port: defaultdict[int, dict[GroupKey, Listener]] = defaultdict(dict)
    for row in listeners:
        if row.family == "unix":
            continue
        at_port[row.local_port][group_key(row)] = row
    crowded = [(port, groups) for port, groups in at_port.items() if len(groups) > 1]
    for port, groups in crowded[:PORTS_NOTED]:
        yield (
            f":{port} has {len(groups)} groups ({_differ(list(groups.values()))}); the kernel"
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
