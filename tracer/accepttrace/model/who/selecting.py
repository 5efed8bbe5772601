"""Which members of a reuseport group its selector can return."""

from __future__ import annotations

import re
from typing import Final

from accepttrace.facts.records import Listener

# What a selector of classic BPF returns: see `facts.records.Program`.
MODULO: Final = re.compile(r".* modulo (\d+)$")
MASK: Final = re.compile(r".* and 0x([0-9a-f]+)$")
MEMBER: Final = re.compile(r"member (\d+)$")


def may_be_picked(row: Listener, cpus: int = 0) -> bool:
    """Whether a member of a group ever gets a connection; True also where that is not known.

    `cpus`: of the machine; 0: not known.
    """
    place = row.options.place if row.options else None
    if place is None or row.selector != "cbpf" or row.program is None or row.group_size is None:
        return True
    name = row.program.name
    return place in _picked(name, row.group_size, cpus if cpus and is_by_cpu(name) else None)


def is_by_cpu(name: str) -> bool:
    """Whether a selector of this name returns something of the number of a CPU."""
    return name.split()[:1] == ["cpu"]


def _picked(name: str, size: int, cpus: int | None) -> range:
    """The places that a selector of this name can return; all, where that is not known.

    For what is no place, the hash chooses among all.
    """
    if found := MODULO.match(name):
        return range(min(int(found[1]), cpus or int(found[1])))
    if found := MASK.match(name):
        mask = int(found[1], 16)
        return range(min(mask + 1, cpus or mask + 1) if mask & (mask + 1) == 0 else size)
    if found := MEMBER.match(name):
        member = int(found[1])
        return range(member, member + 1) if member < size else range(size)
    return range(cpus or size)
