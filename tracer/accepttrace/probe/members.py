"""Members of reuseport groups, as the BPF socket iterators write them."""

from __future__ import annotations

from dataclasses import dataclass

from accepttrace.facts.records import Program, Selector
from accepttrace.probe import wire


@dataclass(frozen=True, slots=True)
class Member:
    """A socket in a reuseport group. Source: a BPF socket iterator."""

    inode: int
    group: int
    size: int
    selector: Selector
    program: Program | None


def member_of(found: wire.Member) -> Member:
    """What an iterator wrote."""
    return Member(found.inode, found.group, found.size, _selector(found), _program(found))


def _selector(member: wire.Member) -> Selector:
    if member.program == wire.PROGRAM_EXTENDED:
        return "ebpf"
    if member.program == wire.PROGRAM_CLASSIC:
        return "cbpf"
    return "incoming_cpu" if member.incoming_cpu else "hash"


def _program(member: wire.Member) -> Program | None:
    if member.program != wire.PROGRAM_EXTENDED:
        return None
    return Program(member.program_id, member.program_name.decode(errors="replace"))
